// SPDX-License-Identifier: MIT
/*
 * Dispatch of hypercalls from the table, argument registers, continuations, and the common part of
 * sub-operations: who may call, on which domain. No locks.
 */
#include "core/hypercall.h"

#include "base/assert.h"
#include "core/deferred.h"
#include "core/span.h"
#include "core/subop.h"

long hypercall_dispatch(struct hypercall *hc)
{
    /* The sub-operation for those that have one; low bits of something for others. */
    span_note(SPAN_HYPERCALL, hc->nr, hc->arg[0] & 63);
    /* Direct calls from a switch: a number given by a guest indexes nothing. */
    switch (hc->nr) {
#define CALL(nr, name, nargs, handler, doc)                                                        \
    case nr:                                                                                       \
        return handler(hc);
#include "pv-abi/hypercalls.def"
#undef CALL
    }
    return -ENOSYS;
}

void hypercall_from_regs(struct cpu_user_regs *regs)
{
    struct vcpu *v = current_vcpu();
    struct hypercall hc = {
        .v = v,
        .d = v->domain,
        .nr = regs->rax,
        .result = regs->rax, /* anything: spares clearing it all first */
        .arg = {regs->rdi, regs->rsi, regs->rdx, regs->r10, regs->r8, regs->r9},
    };
    long rc = hypercall_dispatch(&hc);
    spin_assert_none_held();
    if (rc == -ERESTART) {
        regs->rdi = hc.arg[0];
        regs->rsi = hc.arg[1];
        regs->rdx = hc.arg[2];
        regs->r10 = hc.arg[3];
        regs->r8 = hc.arg[4];
        regs->r9 = hc.arg[5];
        hypercall_again(regs);
    } else if (!hc.registers_replaced) {
        regs->rax = (uint64_t)rc;
    }
}

/* Whatever their arguments, or they see to it themselves. */
#define SHORT_CALLS                                                                                \
    (1UL << __HYPERVISOR_mmu_update | 1UL << __HYPERVISOR_update_va_mapping |                      \
     1UL << __HYPERVISOR_mmuext_op | 1UL << __HYPERVISOR_stack_switch |                            \
     1UL << __HYPERVISOR_update_descriptor | 1UL << __HYPERVISOR_set_segment_base |                \
     1UL << __HYPERVISOR_fpu_taskswitch)

_Static_assert(offsetof(struct hypercall, arg) - offsetof(struct hypercall, nr) ==
                   offsetof(struct multicall_entry, args),
               "read as one");

/* Several hypercalls in one entry. Each gets its own result; a failed one does not stop the rest.
 * iret ends the batch, since the registers it leaves belong to another context. */
long hc_multicall(struct hypercall *hc)
{
    if (hc->in_multicall) {
        return -EINVAL;
    }
    /* The list and what is left of it, always right for a continuation. */
    uint64_t *list = &hc->arg[0], *count = &hc->arg[1];
    const size_t bytes = sizeof(struct multicall_entry);
    struct hypercall inner = {.v = hc->v, .d = hc->d, .in_multicall = true};
    while (*count) {
        if (guest_read(&inner.nr, *list, bytes)) {
            return -EFAULT;
        }
        long rc = hypercall_dispatch(&inner);
        if (inner.registers_replaced) {
            /* SAFETY: the caller's page tables may have changed with the mode; nothing of the batch
             * is touched again. */
            hc->registers_replaced = true;
            return 0;
        }
        if (rc == -ERESTART) {
            return guest_write(*list, &inner.nr, bytes) ?: -ERESTART;
        }
        if (guest_write(*list + offsetof(struct multicall_entry, result), &rc, sizeof(rc))) {
            return -EFAULT;
        }
        *list += bytes;
        --*count;
        if (!(SHORT_CALLS >> (inner.nr & 63) & 1)) {
            hypercall_preempt_soon();
        }
        if (*count && hypercall_preempt_check()) {
            return -ERESTART;
        }
    }
    return 0;
}

/* A window costs little, but not nothing: it is opened on every 8th question, or on the next one
 * after something long. */
#define PREEMPT_STRIDE 8
static uint32_t preempt_questions[MAX_PCPUS];

void hypercall_preempt_soon(void)
{
    preempt_questions[arch_cpu_id()] = 0;
}

bool hypercall_preempt_check(void)
{
    return current_vcpu()->mmu_deferred_count ||
           (preempt_questions[arch_cpu_id()]++ % PREEMPT_STRIDE == 0 && preempt_needed());
}

/* ---- sub-operations ---- */

long subop_enter(struct hypercall *hc, enum subop_who who, domid_t id)
{
    bool own = id == DOMID_SELF || id == hc->d->id;
    if (!hc->d->privileged && (who == WHO_CONTROL || (who == WHO_TARGET && !own))) {
        return -EPERM;
    }
    hc->target = own ? hc->d : domain_get(id);
    return hc->target ? 0 : -ESRCH;
}

long envelope_in(const struct hypercall *hc, void *op, size_t bytes, uint32_t version)
{
    if (!hc->d->privileged) {
        return -EPERM;
    }
    if (guest_read(op, hc->arg[0], bytes)) {
        return -EFAULT;
    }
    span_note(SPAN_HYPERCALL, hc->nr, *(const uint32_t *)op);
    return ((const uint32_t *)op)[1] == version ? 0 : -EACCES;
}

long envelope_out(const struct hypercall *hc, const void *op, size_t bytes, long rc)
{
    return rc < 0 ? rc : guest_write(hc->arg[0], op, bytes) ?: rc;
}
