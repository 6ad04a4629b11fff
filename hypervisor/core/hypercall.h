// SPDX-License-Identifier: MIT
/*
 * One call of a guest into the hypervisor, and how it is dispatched: pv-abi/hypercalls.def lists
 * the calls, pv-abi/ops/<family>.def the sub-operations (core/subop.h runs them). The prototypes of
 * all handlers come from the same rows.
 */
#pragma once

#include "base/types.h"
#include "core/domain.h"
#include "pv-abi/accounting.h"
#include "pv-abi/changed_domain.h"
#include "pv-abi/write_pages.h"

struct hypercall {
    struct vcpu *v;   /* caller: the current vCPU */
    struct domain *d; /* its domain */
    /* laid out as struct multicall_entry */
    uint64_t nr;
    uint64_t result; /* not used */
    uint64_t arg[6]; /* copies of the argument registers; a handler that returns -ERESTART leaves
                        here what the next round shall be called with */
    struct domain *target; /* of a sub-operation: referenced, and allowed by its row */
    bool in_multicall;
    bool registers_replaced; /* iret: rax and the rest were loaded from the guest's frame */
};

/* Handle the hypercall in regs (rax, rdi, rsi, rdx, r10, r8, r9) and put
 * the result into rax; a call that is to be continued gets its arguments updated and rip moved back
 * to the `syscall`. */
void hypercall_from_regs(struct cpu_user_regs *regs);
/* ABI: the guest executes the same `syscall` again, with what is left to do in its registers;
 * events are delivered in between. */
static inline void hypercall_again(struct cpu_user_regs *regs)
{
    regs->rip -= 2;
    regs->entry_vector = 0;
}
/* grant_table_op on one element, from the registers: the result. */
int grant_single(struct vcpu *v, const struct cpu_user_regs *regs);
/* Dispatch one call; the result, or -ERESTART with hc->arg updated. */
long hypercall_dispatch(struct hypercall *hc);
/* Long operations ask this between steps: true when they should return -ERESTART (something waits
 * for this pcpu, or page tables of this vCPU are still to be taken apart). */
bool hypercall_preempt_check(void);
/* Something was done that took more than some 10,000 instructions: the next question counts. */
void hypercall_preempt_soon(void);

/* ---- the handlers ---- */

#define CALL(nr, name, nargs, handler, doc) long handler(struct hypercall *hc);
#include "pv-abi/hypercalls.def"
#undef CALL

#define OP(nr, name, type, dir, who, handler, doc) long handler(struct hypercall *hc, type *arg);
#define OP_VOID(nr, name, who, handler, doc) long handler(struct hypercall *hc);
#define OP_EACH(nr, name, type, handler, doc) long handler(struct hypercall *hc, type *arg);
#define OP_PCI(nr, name, type, segment, handler, doc) long handler(uint16_t bdf);
#include "pv-abi/ops/evtchn.def"
#include "pv-abi/ops/gnttab.def"
#include "pv-abi/ops/memory.def"
#include "pv-abi/ops/physdev.def"
#include "pv-abi/ops/sched.def"
#undef OP
#undef OP_VOID
#undef OP_EACH
#undef OP_PCI

/* vcpu_op names a vCPU of the caller besides its argument. */
#define VOP(nr, name, type, handler, doc) long handler(struct vcpu *v, type *arg);
#define VOP_VOID(nr, name, handler, doc) long handler(struct vcpu *v);
#define VOP_AT(nr, name, handler, doc) long handler(struct vcpu *v, vaddr_t arg);
#include "pv-abi/ops/vcpu.def"
#undef VOP
#undef VOP_VOID
#undef VOP_AT

/* What the control domain asks comes in an envelope: its handlers get the member of the union. */
#define MEMBER(envelope, member) __typeof__(((struct envelope *)0)->u.member)
#define DOMCTL(nr, name, member, handler, doc)                                                     \
    long handler(struct domain *d, MEMBER(xen_domctl, member) * arg);
#define DOMCTL_VOID(nr, name, handler, doc) long handler(struct domain *d);
#define DOMCTL_WHOLE(nr, name, handler, doc) long handler(struct xen_domctl *op);
#include "pv-abi/ops/domctl.def"
#undef DOMCTL
#undef DOMCTL_VOID
#undef DOMCTL_WHOLE
#define ENV(nr, name, member, handler, doc) long handler(MEMBER(xen_sysctl, member) * arg);
#define EXT(nr, name, type, handler, doc) long handler(type *arg);
#include "pv-abi/ops/sysctl.def"
#undef ENV
#undef EXT
#define ENV(nr, name, member, handler, doc) long handler(MEMBER(xen_platform_op, member) * arg);
#include "pv-abi/ops/platform.def"
#undef ENV
#undef MEMBER
