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

static inline_always struct frame *table_of(const uint64_t *slot)
{
    return mfn_to_frame(virt_to_mfn(slot));
}

int pv_grant_map(struct vcpu *v, uint64_t host_addr, bool contains_pte, struct frame *f,
                 bool writable, uint64_t avail)
{
    uint64_t pte = frame_to_mfn(f) << PAGE_SHIFT | X86_PTE_P | X86_PTE_US | X86_PTE_A | X86_PTE_D |
                   avail | (writable ? X86_PTE_RW : 0) | X86_PTE_NX;
    SPIN_GUARD(&v->domain->mmu_lock);
    uint64_t *slot = find_slot(v, host_addr, contains_pte);
    if (!slot) {
        return -EINVAL;
    }
    if (unlikely(read_once(*slot) & X86_PTE_P)) {
        return mmu_leaf_set(slot, pte, v->domain, frame_owner(f));
    }
    /* SAFETY: the caller's references are of the kinds the entry needs. */
    if (writable && frame_get_writable(f)) {
        return -EINVAL;
    }
    frame_get_held(f);
    write_once(*slot, pte);
    table_of(slot)->pt_done++;
    return 0;
}

int pv_grant_unmap(struct vcpu *v, uint64_t host_addr, bool contains_pte, const struct frame *f,
                   bool writable)
{
    SPIN_GUARD(&v->domain->mmu_lock);
    uint64_t *slot = find_slot(v, host_addr, contains_pte), pte = slot ? read_once(*slot) : 0;
    if (!(pte & X86_PTE_P) || PTE_MFN(pte) != frame_to_mfn(f) || !!(pte & X86_PTE_RW) != writable) {
        return -EINVAL;
    }
    write_once(*slot, 0);
    table_of(slot)->pt_done--;
    page_type_leaf_put(pte);
    return 0;
}
