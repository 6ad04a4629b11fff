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
/* The same for a level-1 table, only if the entry still is `old`: -EAGAIN otherwise. */
must_check int mmu_leaf_cmpxchg(struct frame *l1, unsigned index, uint64_t old, uint64_t pte,
                                struct domain *d);
/* The L1 table, in use, that maps va in v's kernel page tables; NULL when there is none. Under the
 * lock. */
struct frame *mmu_find_l1(const struct vcpu *v, vaddr_t va);
/* Level of a VALIDATED page table, 0 for any other frame. */
static inline unsigned mmu_table_level(const struct frame *f)
{
    uint64_t type = read_once(f->type);
    bool usable = (type & (TYPE_VALIDATED | TYPE_PARTIAL)) == TYPE_VALIDATED;
    return usable && (type & TYPE_COUNT_MASK) ? page_type_level(type) : 0;
}
/* Store 8 bytes into a frame that is no table or descriptor page; a general reference is held.
 * -EINVAL: it is one. */
must_check int mmu_plain_store(struct frame *f, unsigned index, uint64_t value);
