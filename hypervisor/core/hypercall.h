// SPDX-License-Identifier: MIT
/*
 * One call of a guest into the hypervisor, and how it is dispatched: pv-abi/hypercalls.def lists
 * the calls, pv-abi/ops/<family>.def the sub-operations. Prototypes of all handlers come from the
 * same rows (core/handlers.h).
 */
#pragma once

#include "base/compiler.h"
#include "base/types.h"
#include "core/domain.h"

struct hypercall {
    struct vcpu *v;   /* caller: the current vCPU */
    struct domain *d; /* its domain */
    uint64_t nr;
    uint64_t arg[6]; /* copies of the argument registers; a handler that returns -ERESTART leaves
                        here what the next round shall be called with */
    struct domain
        *target; /* of a sub-operation: referenced by the dispatcher, allowed by its row */
    bool in_multicall;
    bool registers_replaced; /* iret: rax and the rest were loaded from the guest's frame */
};

/* Handle the hypercall in regs (rax, rdi, rsi, rdx, r10, r8, r9) and put the result into rax; a
 * call that is to be continued gets its arguments updated and rip moved back to the `syscall`. */
void hypercall_from_regs(struct cpu_user_regs *regs);
/* Dispatch one call; the result, or -ERESTART with hc->arg updated. */
long hypercall_dispatch(struct hypercall *hc);
/* Name from the table, "?" when unknown. */
const char *hypercall_name(uint64_t nr);

/* Long operations ask this between steps: true when they should return -ERESTART (something waits
 * for this pcpu, or page tables of this vCPU are still to be taken apart). */
bool hypercall_preempt_check(void);
