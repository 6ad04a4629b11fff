// SPDX-License-Identifier: MIT
/*
 * mmuext_op: pins, base pointers, flushes, LDT, page clear and copy. Lock: mmu_lock of the domain
 * that owns the frames (the caller, or for pins a domain under construction).
 */
#include "base/assert.h"
#include "base/log.h"
#include "base/string.h"
#include "core/guest_access.h"
#include "core/hypercall.h"
#include "pv/descriptor.h"
#include "pv/mmu_update.h"
#include "pv/page_type.h"
#include "pv/va_mapping.h"

#define MMUEXT(nr, name, handler, doc)                                                             \
    static int handler(struct hypercall *hc, struct domain *d, const struct mmuext_op *op);
#include "pv-abi/ops/mmuext.def"
#undef MMUEXT

static int mmuextop_pin(struct hypercall *hc, struct domain *d, const struct mmuext_op *op)
{
    (void)hc;
    spin_lock(&d->mmu_lock);
    int rc = page_type_pin(op->arg1.mfn, d, (uint64_t)(op->cmd + 1) << TYPE_SHIFT);
    spin_unlock(&d->mmu_lock);
    return rc;
}

static int mmuextop_unpin(struct hypercall *hc, struct domain *d, const struct mmuext_op *op)
{
    (void)hc;
    spin_lock(&d->mmu_lock);
    int rc = page_type_unpin(op->arg1.mfn, d);
    spin_unlock(&d->mmu_lock);
    return rc;
}

/* Exchange a base pointer; the processor gets the new one before the old tables may go. */
static int replace_base(struct vcpu *v, struct frame **slot, mfn_t mfn)
{
    struct domain *d = v->domain;
    struct frame *fresh = NULL, *old = *slot;
    if (old && frame_to_mfn(old) == mfn) {
        return 0;
    }
    spin_lock(&d->mmu_lock);
    int rc = mfn ? page_type_get(mfn, d, TYPE_L4, &fresh) : 0;
    if (rc == 0) {
        *slot = fresh;
        arch_load_page_tables(v);
        if (old) {
            page_type_put(old);
        }
    }
    spin_unlock(&d->mmu_lock);
    return rc;
}

static int mmuextop_new_baseptr(struct hypercall *hc, struct domain *d, const struct mmuext_op *op)
{
    if (d != hc->d || op->arg1.mfn == 0) {
        return -EINVAL;
    }
    return replace_base(hc->v, &hc->v->pv.l4, op->arg1.mfn);
}

static int mmuextop_new_user_baseptr(struct hypercall *hc, struct domain *d,
                                     const struct mmuext_op *op)
{
    if (d != hc->d) {
        return -EPERM;
    }
    return replace_base(hc->v, &hc->v->pv.l4_user, op->arg1.mfn);
}

static int mmuextop_flush(struct hypercall *hc, struct domain *d, const struct mmuext_op *op)
{
    vaddr_t va = op->arg1.linear_addr;
    if (d != hc->d) {
        return -EPERM;
    }
    bool one = op->cmd == MMUEXT_INVLPG_LOCAL || op->cmd == MMUEXT_INVLPG_MULTI ||
               op->cmd == MMUEXT_INVLPG_ALL;
    unsigned kind = one ? FLUSH_ONE : FLUSH_TLB;
    if (one && !is_canonical(va)) {
        return 0; /* ABI: nothing can be cached for such an address */
    }
    switch (op->cmd) {
    case MMUEXT_TLB_FLUSH_LOCAL:
    case MMUEXT_INVLPG_LOCAL:
        arch_tlb_flush_local(kind, va);
        return 0;
    case MMUEXT_TLB_FLUSH_ALL:
    case MMUEXT_INVLPG_ALL:
        arch_tlb_flush_mask(&d->dirty_cpus, kind, va);
        return 0;
    default:
        return va_mapping_flush_vcpus(d, GUEST_ADDR(op->arg2.vcpumask), kind, va);
    }
}

static int mmuextop_flush_cache(struct hypercall *hc, struct domain *d, const struct mmuext_op *op)
{
    (void)op;
    if (d != hc->d) {
        return -EPERM;
    }
    if (!d->privileged) {
        return -EACCES;
    }
    arch_tlb_flush_mask(&d->dirty_cpus, FLUSH_CACHE, 0);
    return 0;
}

static int mmuextop_set_ldt(struct hypercall *hc, struct domain *d, const struct mmuext_op *op)
{
    vaddr_t base = op->arg1.linear_addr;
    unsigned entries = op->arg2.nr_ents;
    struct pv_vcpu *pv = &hc->v->pv;
    if (d != hc->d) {
        return -EPERM;
    }
    if (entries > 8192 || (base & ~PAGE_MASK) ||
        (entries && (!is_canonical(base) || (base >= HYP_VIRT_START && base < HYP_VIRT_END)))) {
        return -EINVAL;
    }
    if (pv->ldt_base == base && pv->ldt_entries == entries) {
        return 0;
    }
    descriptor_drop_ldt(hc->v);
    pv->ldt_base = base;
    pv->ldt_entries = entries;
    arch_load_ldt(hc->v);
    return 0;
}

static int mmuextop_clear_page(struct hypercall *hc, struct domain *d, const struct mmuext_op *op)
{
    (void)hc;
    struct frame *f = frame_get_writable_mfn(op->arg1.mfn, d);
    if (!f) {
        return -EINVAL;
    }
    memset(frame_to_virt(f), 0, PAGE_SIZE);
    frame_put_writable_and_ref(f);
    return 0;
}

static int mmuextop_copy_page(struct hypercall *hc, struct domain *d, const struct mmuext_op *op)
{
    (void)hc;
    struct frame *src = frame_get_from_mfn(op->arg2.src_mfn, d);
    if (!src) {
        return -EINVAL;
    }
    struct frame *dst = frame_get_writable_mfn(op->arg1.mfn, d);
    if (!dst) {
        frame_put(src);
        return -EINVAL;
    }
    memcpy(frame_to_virt(dst), frame_to_virt(src), PAGE_SIZE);
    frame_put_writable_and_ref(dst);
    frame_put(src);
    return 0;
}

static int run_op(struct hypercall *hc, struct domain *d, const struct mmuext_op *op)
{
    switch (op->cmd) {
#define MMUEXT(nr, name, handler, doc)                                                             \
    case nr:                                                                                       \
        return handler(hc, d, op);
#include "pv-abi/ops/mmuext.def"
#undef MMUEXT
    default:
        return -ENOSYS;
    }
}

long hc_mmuext_op(struct hypercall *hc)
{
    vaddr_t ops = hc->arg[0];
    unsigned count = (unsigned)hc->arg[1] & ~MMU_COUNT_PREEMPTED, i;
    struct domain *d;
    long rc = mmu_foreign_get(hc->d, (domid_t)hc->arg[3], &d);
    if (rc) {
        return rc;
    }
    for (i = 0; i < count; i++) {
        struct mmuext_op op;
        if (i && hypercall_preempt_check()) {
            rc = -ERESTART;
            break;
        }
        rc = guest_read_element(&op, ops, i, sizeof(op));
        if (rc == 0) {
            rc = run_op(hc, d, &op);
        }
        if (rc) {
            if (rc != -ERESTART) {
                log_guest(hc->d, "mmuext_op %u of %lx refused (%ld)", op.cmd,
                          (unsigned long)op.arg1.mfn, rc);
            }
            break;
        }
    }
    domain_put(d);
    return mmu_batch_end(hc, rc, i, sizeof(struct mmuext_op));
}
