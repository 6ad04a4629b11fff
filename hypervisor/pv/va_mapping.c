// SPDX-License-Identifier: MIT
/*
 * update_va_mapping: the L1 entry of a linear address in the caller's present page tables, with the
 * TLB flush the caller asks for; and the flushes of mmuext that name sets of vCPUs. Lock: mmu_lock.
 */
#include "pv/va_mapping.h"

#include "base/log.h"
#include "core/guest_access.h"
#include "core/hypercall.h"
#include "pv/mmu_update.h"

int va_mapping_flush_vcpus(struct domain *d, vaddr_t bitmap_va, unsigned flags, vaddr_t va)
{
    uint64_t bitmap = 0;
    cpumask_t mask = {{0}};
    int rc = guest_read(&bitmap, bitmap_va, DIV_ROUND_UP(d->max_vcpus, 8));
    if (rc) {
        return rc;
    }
    for (unsigned id = 0; id < d->max_vcpus; id++) {
        struct vcpu *v = d->vcpu[id];
        if ((bitmap >> id & 1) && v && cpumask_test(&d->dirty_cpus, v->sched.pcpu)) {
            cpumask_set(&mask, v->sched.pcpu);
        }
    }
    if (!cpumask_empty(&mask)) {
        arch_tlb_flush_mask(&mask, flags, va);
    }
    return 0;
}

static int flush_as_asked(struct domain *d, vaddr_t va, uint64_t flags)
{
    unsigned kind;
    switch (flags & UVMF_FLUSHTYPE_MASK) {
    case UVMF_TLB_FLUSH:
        kind = FLUSH_TLB;
        break;
    case UVMF_INVLPG:
        kind = FLUSH_ONE;
        break;
    case UVMF_NONE:
        return 0;
    default:
        return -EINVAL;
    }
    uint64_t where = flags & ~UVMF_FLUSHTYPE_MASK;
    if (where == UVMF_LOCAL) {
        arch_tlb_flush_local(kind, va);
        return 0;
    }
    if (where == UVMF_ALL) {
        arch_tlb_flush_mask(&d->dirty_cpus, kind, va);
        return 0;
    }
    return va_mapping_flush_vcpus(d, where, kind, va);
}

static long update(struct hypercall *hc, struct domain *foreign)
{
    vaddr_t va = hc->arg[0];
    long rc = -EINVAL;
    spin_lock(&hc->d->mmu_lock);
    struct frame *l1 = mmu_find_l1(hc->v, va);
    if (l1 && l1->owner == hc->d) {
        rc = mmu_entry_set(l1, PT_INDEX(va, 1), hc->arg[1], hc->d, foreign, false);
    }
    spin_unlock(&hc->d->mmu_lock);
    int flushed = flush_as_asked(hc->d, va, hc->arg[2]);
    if (rc) {
        log_guest(hc->d, "update_va_mapping of %lx to %lx refused (%ld)", va, hc->arg[1], rc);
        return rc;
    }
    return flushed;
}

long hc_update_va_mapping(struct hypercall *hc)
{
    return update(hc, hc->d);
}

long hc_update_va_mapping_otherdomain(struct hypercall *hc)
{
    struct domain *foreign;
    long rc = mmu_foreign_get(hc->d, (domid_t)hc->arg[3], &foreign);
    if (rc) {
        return rc;
    }
    rc = update(hc, foreign);
    domain_put(foreign);
    return rc;
}
