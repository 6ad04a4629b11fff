// SPDX-License-Identifier: MIT
/*
 * mmuext_op: pins, base pointers, flushes, LDT, page clear and copy. Lock: mmu_lock of the domain
 * that owns the frames (the caller, or for pins a domain under construction).
 */
#include "base/string.h"
#include "core/guest_access.h"
#include "core/hypercall.h"
#include "pv/descriptor.h"
#include "pv/mmu_update.h"
#include "pv/page_type.h"
#include "pv/trap.h"

/* ---- on frames of the caller or of another domain ---- */

static int mmuextop_pin(struct domain *d, const struct mmuext_op *op)
{
    SPIN_GUARD(&d->mmu_lock);
    return page_type_pin(op->arg1.mfn, d, (uint64_t)(op->cmd + 1) << TYPE_SHIFT);
}

static int mmuextop_unpin(struct domain *d, const struct mmuext_op *op)
{
    SPIN_GUARD(&d->mmu_lock);
    return page_type_unpin(op->arg1.mfn, d);
}

static int mmuextop_clear_page(struct domain *d, const struct mmuext_op *op)
{
    struct frame *f = frame_get_writable_mfn(op->arg1.mfn, d);
    if (!f) {
        return -EINVAL;
    }
    memset(frame_to_virt(f), 0, PAGE_SIZE);
    frame_put_writable_and_ref(f);
    return 0;
}

static int mmuextop_copy_page(struct domain *d, const struct mmuext_op *op)
{
    struct frame *src = frame_get_from_mfn(op->arg2.src_mfn, d);
    struct frame *dst = src ? frame_get_writable_mfn(op->arg1.mfn, d) : NULL;
    if (dst) {
        memcpy(frame_to_virt(dst), frame_to_virt(src), PAGE_SIZE);
        frame_put_writable_and_ref(dst);
    }
    if (src) {
        frame_put(src);
    }
    return dst ? 0 : -EINVAL;
}

/* ---- on the calling vCPU ---- */

static int mmuextop_new_baseptr(struct vcpu *v, const struct mmuext_op *op)
{
    bool user = op->cmd == MMUEXT_NEW_USER_BASEPTR;
    struct frame **slot = user ? &v->pv.l4_user : &v->pv.l4, *fresh = NULL, *old = *slot;
    mfn_t mfn = op->arg1.mfn;
    if (old && frame_to_mfn(old) == mfn) {
        return 0;
    }
    SPIN_GUARD(&v->domain->mmu_lock);
    /* User mode may be left without tables; frame 0 is nobody's. */
    int rc = user && !mfn ? 0 : page_type_get(mfn, v->domain, TYPE_L4, &fresh);
    if (rc) {
        return rc;
    }
    /* The processor gets the new tables before the old ones may go. */
    *slot = fresh;
    arch_load_page_tables(v);
    if (old) {
        page_type_put(old);
    }
    return 0;
}

static int mmuextop_flush(struct vcpu *v, const struct mmuext_op *op)
{
    vaddr_t va = op->arg1.linear_addr;
    /* Of each pair of operations the one with the odd number flushes a single address. */
    unsigned kind = op->cmd & 1 ? FLUSH_ONE : FLUSH_TLB, where = op->cmd & ~1U;
    if (kind == FLUSH_ONE && !is_canonical(va)) {
        return 0; /* ABI: nothing can be cached for such an address */
    }
    if (where == MMUEXT_TLB_FLUSH_LOCAL) {
        arch_tlb_flush_local(kind, va);
    } else if (where == MMUEXT_TLB_FLUSH_ALL) {
        arch_tlb_flush_mask(&v->domain->dirty_cpus, kind, va);
    } else {
        return mmu_flush_vcpus(v->domain, GUEST_ADDR(op->arg2.vcpumask), kind, va);
    }
    return 0;
}

static int mmuextop_flush_cache(struct vcpu *v, const struct mmuext_op *op)
{
    (void)op;
    if (!v->domain->privileged) {
        return -EACCES;
    }
    arch_tlb_flush_mask(&v->domain->dirty_cpus, FLUSH_CACHE, 0);
    return 0;
}

static int mmuextop_set_ldt(struct vcpu *v, const struct mmuext_op *op)
{
    vaddr_t base = op->arg1.linear_addr;
    unsigned entries = op->arg2.nr_ents;
    if (entries > 8192 || (base & ~PAGE_MASK) || (entries && !trap_address_ok(base))) {
        return -EINVAL;
    }
    if (v->pv.ldt_base != base || v->pv.ldt_entries != entries) {
        descriptor_drop_ldt(v);
        v->pv.ldt_base = base;
        v->pv.ldt_entries = entries;
        arch_load_ldt(v);
    }
    return 0;
}

static int run_op(struct hypercall *hc, struct domain *self, struct domain *d,
                  const union mmu_request *req)
{
    const struct mmuext_op *op = &req->ext;
    switch (op->cmd) {
#define MMUEXT(nr, name, handler, doc)                                                             \
    case nr:                                                                                       \
        return handler(d, op);
#define MMUEXT_SELF(nr, name, handler, doc)                                                        \
    case nr:                                                                                       \
        return d == self ? handler(hc->v, op) : -EPERM;
#include "pv-abi/ops/mmuext.def"
#undef MMUEXT
#undef MMUEXT_SELF
    default:
        return -ENOSYS;
    }
}

long hc_mmuext_op(struct hypercall *hc)
{
    return mmu_batch(hc, DOMID_SELF, sizeof(struct mmuext_op), run_op);
}
