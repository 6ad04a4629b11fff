// SPDX-License-Identifier: MIT
/*
 * Changing one entry of a page table in use, and finding it. Needs the mmu_lock of the table's
 * owner.
 */
#pragma once

#include "core/hypercall.h"

/* ABI: in the count argument of mmu_update and mmuext_op, a continuation: done is being summed. */
#define MMU_COUNT_PREEMPTED 0x80000000U

/* Store `pte` into entry `index` of table f (VALIDATED, level 1-4, owned by d): references of the
 * new entry first, then the store, then references of the old. foreign owns what a level-1 entry
 * maps. keep_ad: accessed and dirty bits of the old entry survive. Errors: -EINVAL, -ERESTART. */
must_check int mmu_entry_set(struct frame *f, unsigned index, uint64_t pte, struct domain *d,
                             struct domain *foreign, bool keep_ad);
/* The same, only if the entry still is `old`: -EAGAIN otherwise. */
must_check int mmu_entry_cmpxchg(struct frame *f, unsigned index, uint64_t old, uint64_t pte,
                                 struct domain *d);
/* The L1 table that maps va in v's kernel page tables; NULL when there is none. */
struct frame *mmu_find_l1(const struct vcpu *v, vaddr_t va);
/* Level of a VALIDATED page table, 0 for any other frame. */
unsigned mmu_table_level(const struct frame *f);
/* End of a round of either call, `done` of its elements handled: add to the guest's count (on error
 * too) and, for -ERESTART, leave what remains in hc->arg. Returns rc or -EFAULT. */
must_check long mmu_batch_end(struct hypercall *hc, long rc, unsigned done, size_t element_bytes);
/* Domain whose frames a request maps: DOMID_SELF, or one that d may control. Referenced; -ESRCH,
 * -EPERM. DOMID_IO and DOMID_XEN are accepted from the control domain. */
must_check int mmu_foreign_get(struct domain *d, domid_t id, struct domain **out);
