// SPDX-License-Identifier: MIT
/* The entries by which machine code enters the portable hypervisor. */
#pragma once

#include "base/types.h"

struct cpu_user_regs;
struct vcpu;
struct boot_info;

/* An interrupt came in guest mode: first thing, whatever it is. */
void upcall_enter(void);
/* `syscall` executed at CPL 3, in 32-bit code when cs says so: hypercall from guest kernel mode,
 * system call of the guest otherwise. */
void upcall_syscall(struct cpu_user_regs *regs);
/* The same of the current vCPU v and upcall_exit(), where it is a hypercall and what comes next is
 * canonical. False: upcall_exit() is still to be called. */
bool upcall_hypercall(struct cpu_user_regs *regs, struct vcpu *v);
/* v, which is current, sends an event; not accounted for. Returns the hypercall's result or, after
 * which upcall_enter() and upcall_exit() are to be called, 1 for 0. */
long upcall_event_send(struct vcpu *v, uint32_t port);
/* Exception in guest mode: vector and error code are in regs, cr2 valid for #PF. */
void upcall_guest_trap(struct cpu_user_regs *regs, vaddr_t cr2);
/* Exception in the hypervisor that the exception table does not cover. True: it was fixed up
 * (lazy LDT page), retry. False: our bug, the caller panics. */
bool upcall_hyp_fault(vaddr_t cr2);
/* Loading guest selectors or returning to the guest faulted: deliver the failsafe callback. */
void upcall_failsafe(void);
/* Interrupts. */
void upcall_timer(void);
void upcall_irq(unsigned token);
void upcall_console_input(void);
/* A non-maskable interrupt that is not the machine's end, in a place where interrupts were on or
 * not; true: report this CPU's state and stop. Takes no lock. */
bool upcall_nmi(bool interruptible);
/* This CPU has waited for others through a million more turns of arch_relax(). */
void upcall_waiting(void);
/* Last thing before every return to a guest: deferred work, scheduling, events. */
void upcall_exit(void);
/* Start-up: page tables, frame allocator's memory map and console are there. */
noreturn void upcall_boot(const struct boot_info *info);
/* Another CPU takes part, once upcall_boot() has called arch_release_cpus(). */
noreturn void upcall_cpu_online(void);
