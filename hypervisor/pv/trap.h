// SPDX-License-Identifier: MIT
/*
 * Delivery into a guest: exceptions, events and system calls become bounce frames on the guest
 * kernel's stack. All functions work on the current vCPU and its live registers.
 */
#pragma once

#include "core/domain.h"

/* Deliver an exception through the virtual IDT now. cr2 only for #PF. No handler or a frame that
 * cannot be written: the domain crashes. */
void trap_inject(struct vcpu *v, unsigned vector, uint32_t error);
void trap_inject_page_fault(struct vcpu *v, vaddr_t cr2, uint32_t error);

/* Something is to be delivered to the current vCPU. */
static inline bool trap_pending(const struct vcpu *v)
{
    return v->pv.failsafe_pending || v->pv.nmi_pending || evtchn_upcall_wanted(v);
}
/* Before returning to the guest: deliver what is pending to the current vCPU (failsafe, then NMI,
 * then one event upcall). */
void trap_deliver_pending(struct vcpu *v);
/* A system call of guest user mode: SYSCALL in 64-bit or 32-bit code. */
void trap_syscall(struct vcpu *v, struct cpu_user_regs *regs, bool compat);

/* Selectors a guest may load as cs or ss. ABI: guests give kernel selectors with RPL 0 or 1, too;
 * both run at CPL 3. */
static inline uint16_t trap_fix_selector(uint64_t sel)
{
    return (uint16_t)sel | 3;
}
/* Flags the guest may have in hardware: IF on; IOPL, NT, VM off. */
static inline uint64_t trap_fix_flags(uint64_t flags)
{
    flags &= ~(X86_EFLAGS_IOPL | X86_EFLAGS_VM | X86_EFLAGS_NT | X86_EFLAGS_VIF | X86_EFLAGS_VIP);
    return (flags & 0x3fffff) | X86_EFLAGS_IF | X86_EFLAGS_FIXED;
}
/* An address a guest may be sent to: canonical, not in the hypervisor's range. */
static inline bool trap_address_ok(vaddr_t va)
{
    return is_guest_address(va);
}
