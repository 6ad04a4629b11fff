// SPDX-License-Identifier: MIT
/*
 * A guest that is run twice: by the machine code of arch/x86_64/entry.S and trap_entry.c, and by
 * what pv/ makes of it without them. See real_code.h.
 */
#pragma once

#include <setjmp.h>

#include "arch/upcalls.h"
#include "arch/x86_64/asm.h"
#include "real_code.h"
#include "suite.h"

#define HANDLER 0xffffffff81000000UL
#define STACK_PAGES 2
#define AREA_BYTES (STACK_PAGES * PAGE_SIZE)

/* entry.S, trap_entry.c, and what they look at elsewhere */
extern const uint8_t trap_stubs[256][TRAP_STUB_BYTES];
extern uint64_t short_lowest;
extern uint32_t tlb_clock;
void iret_to_guest(void);
void syscall_stub_write(uint8_t *page, vaddr_t stub);

/* What the machine code has at the top of its stack: struct cpu_info. */
#define INFO (REAL_BLOCK + STACK_BYTES - CPU_INFO_BYTES)
#define INFO_REGS ((struct cpu_user_regs *)INFO)
#define INFO_FIELD(type, offset) (*(type *)(INFO + (offset)))

/* One of the same guest for each of the two ways. */
enum { REAL, PLAIN };
extern struct domain *guest[2];
extern struct vcpu *vcpu[2];
extern vaddr_t area; /* of guest memory: stack and code */

/* A guest, about to be interrupted. */
struct state {
    bool compat;
    unsigned vector; /* VECTOR_SYSCALL or of an exception */
    struct cpu_user_regs regs;
    uint64_t cr2;
    bool kernel, masked, pending, user_tables;
    uint64_t kernel_sp;
    uint32_t shown_iopl;
    struct pv_callback syscall, syscall32;
    struct trap_info trap;
    uint64_t frame[16]; /* at the stack pointer, and code at the start of the area */
    uint32_t code;
    unsigned fault; /* see real_run */
};

/* What has become of it. */
struct outcome {
    struct cpu_user_regs regs;
    struct pv_vcpu pv;
    uint8_t mask, pending;
    uint64_t cr2, gs_base;
    bool crashed, by_sysret;
    uint8_t memory[AREA_BYTES];
};

/* What has been called of C, in this order, each with a space. */
extern char called[200];
extern unsigned interrupts;
extern uint32_t last_flush;
extern bool isolated; /* with PATCH_XPTI */

/* Once; the real value of short_lowest is returned. */
uint64_t real_guest_init(void);
/* Both guests anew. */
void begin(void);
void finish(void);
/* Make it what the state says; it is current then. */
void prepare(unsigned way, const struct state *s);
/* Write down what has become of it, but for its registers. */
void look(unsigned way, struct outcome *out);
/* CPU_INFO_TABLES and CPU_INFO_CR3. */
void tables_update(void);
bool crashed(const struct domain *d);
/* What the processor pushes at an exception; returns the stack pointer. */
vaddr_t push_frame(vaddr_t top, unsigned vector, const struct cpu_user_regs *regs);
#define HAS_ERROR(v) ((v) == 8 || ((v) >= 10 && (v) <= 14) || (v) == 17)

/* One way to go on from a state. */
typedef void way_fn(const struct state *s, struct outcome *out);
way_fn run_real, run_plain;
/* Both end the same; asserted. */
bool same(const struct state *s, way_fn *real_way, way_fn *plain_way);
bool compare(const struct state *s);
/* As compare(), and `called` is this. */
void check(const struct state *s, const char *calls);

/* Without the wrappers around what machine code calls. */
void __real_upcall_enter(void);
void __real_upcall_failsafe(void);
void __real_upcall_exit(void);

/* Numbers that look random; `seed` is not 0. */
extern uint64_t seed;
uint64_t number(void);

/* A guest in kernel mode, at an exception, hypercall, or return from its kernel. */
struct state plain_state(unsigned vector);
struct state hypercall(uint64_t nr, uint64_t a0, uint64_t a1);
struct state iret_to(bool user);
