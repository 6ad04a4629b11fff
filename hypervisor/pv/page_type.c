// SPDX-License-Identifier: MIT
/*
 * See page_type.h. The frame's two words change by compare-and-swap because WRITABLE references
 * come and go without the lock; everything about tables happens under the owner's mmu_lock
 * (RANK_DOM_MMU), so no second validator ever has to be waited for.
 */
#include "pv/page_type.h"

#include "base/assert.h"
#include "core/deferred.h"
#include "core/hooks.h"
#include "core/hypercall.h"
#include "pv/descriptor.h"

/* ---- references of single entries ---- */

int page_type_entry_get(unsigned level, uint64_t *pte, struct domain *d, struct domain *foreign)
{
    int rc = pte_bits_ok(level, *pte, d) ? 0 : -EINVAL;
    if (rc || !(*pte & X86_PTE_P)) {
        return rc;
    }
    if (level > 1) {
        rc = page_type_get(PTE_MFN(*pte), d, (level - 1) << TYPE_SHIFT, NULL);
    } else if (!page_type_leaf_get(*pte, d, foreign)) {
        rc = -EINVAL;
    }
    if (rc == 0) {
        *pte = pte_adjust(level, *pte);
    }
    return rc;
}

void page_type_entry_put(unsigned level, uint64_t pte)
{
    if (!(pte & X86_PTE_P)) {
        return;
    }
    if (level == 1) {
        page_type_leaf_put(pte);
    } else {
        page_type_put(mfn_to_frame(PTE_MFN(pte)));
    }
}

/* ---- validation ---- */

/* Time to stop between two tables: also when another CPU waits for the lock, with interrupts off.
 */
static bool give_way(const struct frame *f)
{
    return hypercall_preempt_check() || spin_contended(&frame_owner(f)->mmu_lock);
}

/* Most of most tables is empty: eight entries at a time, which begin at a multiple of eight. */
static inline bool eight_empty(const uint64_t *e)
{
    return !(e[0] | e[1] | e[2] | e[3] | e[4] | e[5] | e[6] | e[7]);
}

static unsigned count_present(const uint64_t *table, unsigned level, unsigned end)
{
    unsigned count = 0;
    for (unsigned i = 0; i < end; i++) {
        count += (table[i] & X86_PTE_P) && !pte_slot_reserved(level, i);
    }
    return count;
}

/* Entries pt_done..511; then pt_done is the number of present ones. 0, -ERESTART, or the error of
 * the entry at pt_done. */
static int validate_entries(struct frame *f, unsigned level)
{
    uint64_t *table = frame_to_virt(f);
    unsigned i = f->pt_done, looked_at = 0, present = count_present(table, level, i);
    while (i < PT_ENTRIES) {
        if (i % 8 == 0 && eight_empty(&table[i])) {
            i += 8;
            continue;
        }
        uint64_t pte = read_once(table[i]), wish = pte;
        if (pte_slot_reserved(level, i)) {
            i++;
            continue;
        }
        int rc = page_type_entry_get(level, &pte, frame_owner(f), frame_owner(f));
        if (rc) {
            f->pt_flags = rc == -ERESTART ? PT_CHILD_PARTIAL : 0;
            f->pt_done = (uint16_t)i;
            return rc;
        }
        f->pt_flags = 0;
        if (pte != wish) {
            write_once(table[i], pte);
        }
        i++;
        present += pte & X86_PTE_P;
        if (++looked_at % 128 == 0) {
            irq_window(false);
        }
        /* L1 tables are short enough to be checked in one go, with windows. */
        if (level > 1 && i < PT_ENTRIES && (pte & X86_PTE_P) && give_way(f)) {
            f->pt_done = (uint16_t)i;
            return -ERESTART;
        }
    }
    f->pt_done = (uint16_t)present;
    hypercall_preempt_soon();
    if (level == 4) {
        arch_l4_install(table);
    }
    return 0;
}

static bool dismantle(struct frame *f, unsigned left);

/* Drop a type and a general reference. The last type reference stays with the frame, which becomes
 * PARTIAL and is taken apart: the count never shows 0 while entries still hold references. False:
 * that is not finished. */
static bool put_references(struct frame *f)
{
    uint32_t old = __atomic_load_n(&f->type, __ATOMIC_SEQ_CST);
    ASSERT(page_type_level(old) || (old & TYPE_MASK) == TYPE_SEGDESC);
    ASSERT(old & TYPE_COUNT_MASK);
    if ((old & TYPE_COUNT_MASK) > 1) {
        __atomic_fetch_sub(&f->type, 1, __ATOMIC_SEQ_CST);
        frame_put(f);
        return true;
    }
    /* Until now pt_done was the number of present entries: none in a descriptor page. */
    unsigned left = f->pt_done;
    f->pt_done = left ? PT_ENTRIES : 0;
    __atomic_store_n(&f->type, (old & TYPE_MASK) | TYPE_PARTIAL | 1, __ATOMIC_SEQ_CST);
    return dismantle(f, left);
}

/* Drop entries pt_done-1 down to 0, of which no more than `left` are present. False: interrupted,
 * pt_done says where. */
static bool drop_entries(struct frame *f, unsigned level, unsigned left)
{
    const uint64_t *table = frame_to_virt(f);
    if (f->pt_flags & PT_CHILD_PARTIAL) {
        /* The entry at pt_done holds no reference, but its table may be standing half-done on our
         * behalf. If somebody else has taken it up meanwhile it is no longer ours to touch. */
        uint64_t pte = read_once(table[f->pt_done]);
        if ((pte & X86_PTE_P) && mfn_valid(PTE_MFN(pte))) {
            struct frame *child = mfn_to_frame(PTE_MFN(pte));
            if (child->owner_page == f->owner_page && (read_once(child->type) & TYPE_PARTIAL) &&
                page_type_level(child->type) == level - 1 && !page_type_dismantle(child)) {
                return false;
            }
        }
        f->pt_flags &= (uint8_t)~PT_CHILD_PARTIAL;
    }
    unsigned i = f->pt_done, looked_at = 0;
    while (i && left) {
        if (i % 8 == 0 && eight_empty(&table[i - 8])) {
            i -= 8;
            continue;
        }
        i--;
        uint64_t pte = read_once(table[i]);
        if (pte_slot_reserved(level, i) || !(pte & X86_PTE_P)) {
            continue;
        }
        left--;
        if (level == 1) {
            page_type_leaf_put(pte);
            if (++looked_at % 128 == 0) {
                irq_window(false);
            }
            continue;
        }
        bool done = put_references(mfn_to_frame(PTE_MFN(pte)));
        if (!done || (i && give_way(f))) {
            /* A child that is not done keeps our two references and stands by itself. */
            f->pt_flags |= done ? 0 : PT_CHILD_PARTIAL;
            f->pt_done = (uint16_t)i;
            return false;
        }
    }
    f->pt_done = 0;
    hypercall_preempt_soon();
    return true;
}

static bool dismantle(struct frame *f, unsigned left)
{
    ASSERT(spin_is_mine(&frame_owner(f)->mmu_lock));
    ASSERT(read_once(f->type) & TYPE_PARTIAL);
    if (!drop_entries(f, page_type_level(f->type), left)) {
        return false;
    }
    frame_link(f)->tlb_stamp = arch_tlb_clock();
    /* ORDER: the stamp is in place before the count can be seen to be 0. */
    __atomic_store_n(&f->type, f->type & TYPE_MASK, __ATOMIC_SEQ_CST);
    frame_put(f);
    return true;
}

bool page_type_dismantle(struct frame *f)
{
    return dismantle(f, PT_ENTRIES);
}

/* What is left to do of a PARTIAL frame, for later. */
static void defer(struct frame *f)
{
    struct vcpu *v = current_vcpu();
    BUG_ON(v->mmu_deferred_count == ARRAY_SIZE(v->mmu_deferred));
    /* A reference of the list's own: somebody else may finish the job before us. */
    frame_get_held(f);
    v->mmu_deferred[v->mmu_deferred_count++] = f;
}

bool page_type_finish_deferred(struct vcpu *v)
{
    while (v->mmu_deferred_count) {
        /* Off the list while we work on it: an entry there is a reason to stop. */
        struct frame *f = v->mmu_deferred[--v->mmu_deferred_count];
        /* The list's reference keeps frame and owner; only a PARTIAL one is left to be done. */
        struct domain *d = frame_owner(f);
        spin_lock(&d->mmu_lock);
        bool done = !(read_once(f->type) & TYPE_PARTIAL) || page_type_dismantle(f);
        spin_unlock(&d->mmu_lock);
        if (!done) {
            v->mmu_deferred[v->mmu_deferred_count++] = f;
            return false;
        }
        frame_put(f);
    }
    return true;
}

/* First reference of a type: the word says `type`, count 1, not validated. */
static int validate(struct frame *f, uint32_t type)
{
    unsigned level = page_type_level(type);
    int rc = level ? validate_entries(f, level) : descriptor_page_check(frame_to_virt(f));
    /* Preempted or refused: either way the frame stands by itself with what it holds. */
    __atomic_fetch_or(&f->type, rc ? TYPE_PARTIAL : TYPE_VALIDATED, __ATOMIC_SEQ_CST);
    if (rc && rc != -ERESTART && !page_type_dismantle(f)) {
        defer(f);
    }
    return rc;
}

/* The caller holds a general reference, which success passes on to the type reference. */
static int type_acquire(struct frame *f, uint32_t type)
{
    for (;;) {
        uint32_t old = __atomic_load_n(&f->type, __ATOMIC_SEQ_CST), fresh;
        uint32_t count = old & TYPE_COUNT_MASK;
        if (old & TYPE_LOCKED) {
            arch_relax(); /* somebody is between two steps of giving up the old use */
            continue;
        }
        if (count && ((old & TYPE_MASK) != type || count == TYPE_COUNT_MASK)) {
            frame_put(f);
            return -EINVAL;
        }
        if (count == 0) {
            fresh = type | 1;
        } else {
            fresh = old & TYPE_PARTIAL ? old & ~TYPE_PARTIAL : old + 1;
        }
        if (!__atomic_compare_exchange_n(&f->type, &old, fresh, false, __ATOMIC_SEQ_CST,
                                         __ATOMIC_SEQ_CST)) {
            continue;
        }
        if (count == 0) {
            /* Stale writable translations must be gone before the content is trusted. They may be
             * on any CPU: foreign and granted mappings are not in the owner's mask. */
            frame_tlb_flush(f, NULL);
            f->pt_done = 0;
            f->pt_flags = 0;
        } else if (old & TYPE_PARTIAL) {
            /* Continue, taking over the two references the state owned: ours is one too many. */
            frame_put(f);
        } else {
            return 0;
        }
        return validate(f, type);
    }
}

int page_type_get(mfn_t mfn, struct domain *d, uint32_t type, struct frame **out)
{
    ASSERT(spin_is_mine(&d->mmu_lock));
    struct frame *f = frame_get_from_mfn(mfn, d);
    if (!f) {
        return -EINVAL;
    }
    if (read_once(f->count) & FRAME_HYP) {
        /* Shared info and grant frames are written by the hypervisor: never tables. */
        frame_put(f);
        return -EINVAL;
    }
    int rc = type_acquire(f, type);
    if (rc == 0 && out) {
        *out = f;
    }
    return rc;
}

void page_type_put(struct frame *f)
{
    ASSERT(spin_is_mine(&frame_owner(f)->mmu_lock));
    if (!put_references(f)) {
        defer(f);
    }
}

void pv_page_type_put(struct frame *f)
{
    SPIN_GUARD(&frame_owner(f)->mmu_lock);
    page_type_put(f);
}

/* ---- pins ---- */

int page_type_pin(mfn_t mfn, struct domain *d, uint32_t type)
{
    struct frame *f;
    int rc = page_type_get(mfn, d, type, &f);
    if (rc) {
        return rc;
    }
    if (__atomic_fetch_or(&f->type, TYPE_PINNED, __ATOMIC_SEQ_CST) & TYPE_PINNED) {
        page_type_put(f);
        return -EINVAL;
    }
    return 0;
}

int page_type_unpin(mfn_t mfn, struct domain *d)
{
    struct frame *f = frame_get_from_mfn(mfn, d);
    if (!f) {
        return -EINVAL;
    }
    bool pinned = __atomic_fetch_and(&f->type, ~TYPE_PINNED, __ATOMIC_SEQ_CST) & TYPE_PINNED;
    if (pinned) {
        page_type_put(f);
    }
    frame_put(f);
    return pinned ? 0 : -EINVAL;
}
