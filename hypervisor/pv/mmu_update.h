// SPDX-License-Identifier: MIT
/*
 * Changing one entry of a page table in use, and finding it. Needs the mmu_lock of the table's
 * owner.
 */
#pragma once

#include "core/hypercall.h"
#include "pv/page_type.h"

/* Store `pte` into entry `index` of table f (VALIDATED, level 1-4, owned by d): references of the
 * new entry first, then the store, then references of the old. foreign owns what a level-1 entry
 * maps. keep_ad: accessed and dirty bits of the old entry survive. Errors: -EINVAL, -ERESTART. */
must_check int mmu_entry_set(struct frame *f, unsigned index, uint64_t pte, struct domain *d,
                             struct domain *foreign, bool keep_ad);
/* The same for a level-1 entry of a table of d in use. */
must_check int mmu_leaf_set(uint64_t *slot, uint64_t pte, struct domain *d, struct domain *foreign);
/* The same, d's own frames, only if the entry still is `old`: -EAGAIN otherwise. */
must_check int mmu_leaf_cmpxchg(uint64_t *slot, uint64_t old, uint64_t pte, struct domain *d);
/* Level of a VALIDATED page table, 0 for any other frame. */
static inline unsigned mmu_table_level(const struct frame *f)
{
    uint32_t type = read_once(f->type);
    bool usable = (type & (TYPE_VALIDATED | TYPE_PARTIAL)) == TYPE_VALIDATED;
    return usable && (type & TYPE_COUNT_MASK) ? page_type_level(type) : 0;
}
/* The same as mmu_table_level(f) == 1. */
static inline bool mmu_is_l1(const struct frame *f)
{
    uint32_t type = read_once(f->type);
    return (type & (TYPE_MASK | TYPE_VALIDATED | TYPE_PARTIAL)) == (TYPE_L1 | TYPE_VALIDATED) &&
           (type & TYPE_COUNT_MASK);
}

/* From a table to the one that its entry names; false: it names none. */
static inline bool mmu_next_table(uint64_t **table, unsigned index)
{
    uint64_t pte = read_once((*table)[index]);
    *table = mfn_to_virt(PTE_MFN(pte));
    return pte & X86_PTE_P;
}

/* The level-1 entry of va in v's kernel page tables; NULL when there is none. Under the lock.
 * SAFETY: a present entry of a table in use names a table in use, one level down. */
static inline uint64_t *mmu_find_slot(const struct vcpu *v, vaddr_t va)
{
    ASSERT(spin_is_mine(&v->domain->mmu_lock));
    if (!v->pv.l4 || !is_guest_address(va)) {
        return NULL;
    }
    uint64_t *table = frame_to_virt(v->pv.l4);
    bool found = mmu_next_table(&table, PT_INDEX(va, 4)) &&
                 mmu_next_table(&table, PT_INDEX(va, 3)) && mmu_next_table(&table, PT_INDEX(va, 2));
    return found ? &table[PT_INDEX(va, 1)] : NULL;
}

/* Store 8 bytes into a frame that is no table or descriptor page; a general reference is held.
 * -EINVAL: it is one. */
must_check int mmu_plain_store(struct frame *f, unsigned index, uint64_t value);

/* mmu_update and mmuext_op of one request of the caller's about itself, no continuation and without
 * a place for the count, and update_va_mapping, from the registers. -ERESTART: the same again. */
int mmu_update_single(struct vcpu *v, const struct cpu_user_regs *regs);
int mmu_ext_single(struct vcpu *v, const struct cpu_user_regs *regs);
int mmu_va_single(struct vcpu *v, const struct cpu_user_regs *regs);
