// SPDX-License-Identifier: MIT
/*
 * Granted frames in the current vCPU's page tables. An entry made here holds references like any
 * other level-1 entry, so taking page tables apart needs to know nothing of grants. Lock: mmu_lock
 * of the mapping domain.
 */
#include "core/hooks.h"
#include "pv/mmu_update.h"
#include "pv/page_type.h"

/* The level-1 entry at host_addr in a table in use, which stays one under the lock; or NULL. */
static inline_always uint64_t *find_slot(const struct vcpu *v, uint64_t host_addr,
                                         bool contains_pte)
{
    if (!contains_pte) {
        return mmu_find_slot(v, host_addr);
    }
    mfn_t mfn = host_addr >> PAGE_SHIFT;
    struct frame *f = host_addr & 7 ? NULL : frame_get_from_mfn(mfn, v->domain);
    bool good = f && mmu_is_l1(f);
    if (f) {
        frame_put(f);
    }
    return good ? (uint64_t *)mfn_to_virt(mfn) + (host_addr & ~PAGE_MASK) / 8 : NULL;
}

int pv_grant_map(struct vcpu *v, uint64_t host_addr, bool contains_pte, mfn_t mfn, bool writable,
                 uint64_t avail)
{
    uint64_t pte = mfn << PAGE_SHIFT | X86_PTE_P | X86_PTE_US | X86_PTE_A | X86_PTE_D | avail |
                   (writable ? X86_PTE_RW : 0) | X86_PTE_NX;
    SPIN_GUARD(&v->domain->mmu_lock);
    uint64_t *slot = find_slot(v, host_addr, contains_pte);
    return slot ? mmu_leaf_set(slot, pte, v->domain, mfn_to_frame(mfn)->owner) : -EINVAL;
}

int pv_grant_unmap(struct vcpu *v, uint64_t host_addr, bool contains_pte, mfn_t mfn, bool writable)
{
    SPIN_GUARD(&v->domain->mmu_lock);
    uint64_t *slot = find_slot(v, host_addr, contains_pte), pte = slot ? read_once(*slot) : 0;
    bool same = (pte & X86_PTE_P) && PTE_MFN(pte) == mfn && !!(pte & X86_PTE_RW) == writable;
    return same ? mmu_leaf_set(slot, 0, v->domain, v->domain) : -EINVAL;
}
