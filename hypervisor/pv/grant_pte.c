// SPDX-License-Identifier: MIT
/*
 * Granted frames in the current vCPU's page tables. An entry made here holds references like any
 * other level-1 entry, so taking page tables apart needs to know nothing of grants. Lock: mmu_lock
 * of the mapping domain.
 */
#include "core/hooks.h"
#include "pv/mmu_update.h"
#include "pv/page_type.h"

/* The level-1 table and slot of host_addr, with a general reference on the table. */
static struct frame *find_slot(struct vcpu *v, uint64_t host_addr, bool contains_pte,
                               unsigned *index)
{
    const struct frame *l1 = contains_pte ? NULL : mmu_find_l1(v, host_addr);
    mfn_t mfn = contains_pte ? host_addr >> PAGE_SHIFT : l1 ? frame_to_mfn(l1) : INVALID_MFN;
    *index = contains_pte ? (unsigned)(host_addr & ~PAGE_MASK) / 8 : PT_INDEX(host_addr, 1);
    if (contains_pte && (host_addr & 7)) {
        return NULL;
    }
    struct frame *f = frame_get_from_mfn(mfn, v->domain);
    if (f && mmu_table_level(f) != 1) {
        frame_put(f);
        f = NULL;
    }
    return f;
}

int pv_grant_map(struct vcpu *v, uint64_t host_addr, bool contains_pte, mfn_t mfn, bool writable,
                 uint64_t avail)
{
    uint64_t pte = mfn << PAGE_SHIFT | X86_PTE_P | X86_PTE_US | X86_PTE_A | X86_PTE_D | avail |
                   (writable ? X86_PTE_RW : 0) | X86_PTE_NX;
    unsigned index;
    SPIN_GUARD(&v->domain->mmu_lock);
    struct frame *l1 = find_slot(v, host_addr, contains_pte, &index);
    if (!l1) {
        return -EINVAL;
    }
    int rc = mmu_entry_set(l1, index, pte, v->domain, mfn_to_frame(mfn)->owner, false);
    frame_put(l1);
    return rc;
}

int pv_grant_unmap(struct vcpu *v, uint64_t host_addr, bool contains_pte, mfn_t mfn, bool writable)
{
    struct domain *d = v->domain;
    unsigned index;
    SPIN_GUARD(&d->mmu_lock);
    struct frame *l1 = find_slot(v, host_addr, contains_pte, &index);
    if (!l1) {
        return -EINVAL;
    }
    int rc = -EINVAL;
    uint64_t pte = read_once(((uint64_t *)frame_to_virt(l1))[index]);
    if ((pte & X86_PTE_P) && PTE_MFN(pte) == mfn && !!(pte & X86_PTE_RW) == writable) {
        rc = mmu_entry_set(l1, index, 0, d, d, false);
    }
    frame_put(l1);
    return rc;
}
