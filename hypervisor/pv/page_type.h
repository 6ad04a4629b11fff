// SPDX-License-Identifier: MIT
/*
 * The type state machine of page tables and descriptor pages: how a frame becomes a table of some
 * level (validation), stays one, and stops being one. This is what keeps a guest from writing its
 * own page tables. All functions here need the mmu_lock of the domain that owns the frame.
 *
 *                 first get: flush, validate                last put: drop entries' references
 *   NONE/WRITABLE ---------------------------> VALIDATED -----------------------------> count 0
 *     (count 0)          |        ^                              |
 *                  preempted      | next get, same type    preempted
 *                        v        |                              v
 *                       PARTIAL: entries [0, pt_done) hold references
 *
 * A PARTIAL frame stands by itself: it owns one type and one general reference. Whoever asks for
 * the type next continues validation and takes the two over; whoever wants it gone continues
 * taking it apart. The parent that caused it remembers so by PT_CHILD_PARTIAL. A VALIDATED table
 * counts its present entries in pt_done: one that has none left is gone without a look at it.
 */
#pragma once

#include "arch/layout.h"
#include "core/domain.h"

/* Level of a page table of this type, 0 for other types. */
static inline unsigned page_type_level(uint32_t type)
{
    unsigned level = (type & TYPE_MASK) >> TYPE_SHIFT;
    return level <= 4 ? level : 0;
}

/* Take a type and a general reference on d's frame: TYPE_L1 to TYPE_L4, TYPE_SEGDESC. Validates on
 * the first one. *out may be NULL. Errors: -EINVAL (not d's frame, other use, bad content),
 * -ERESTART (preempted: ask again). */
must_check int page_type_get(mfn_t mfn, struct domain *d, uint32_t type, struct frame **out);
/* Drop both references. The last one takes the table apart; what does not fit in this call is put
 * on the current vCPU's mmu_deferred list. */
void page_type_put(struct frame *f);

/* Pin: the guest's own type reference. -EINVAL: already pinned or not possible; -ERESTART. */
must_check int page_type_pin(mfn_t mfn, struct domain *d, uint32_t type);
/* -EINVAL: not pinned. */
must_check int page_type_unpin(mfn_t mfn, struct domain *d);

/* Continue with what page_type_put left on the current vCPU's list, for a bounded while. True when
 * the list is empty. Takes the locks itself. */
bool page_type_finish_deferred(struct vcpu *v);

/* References of one entry of a table of d at `level` (1: frames of `foreign`). get may adjust *pte
 * (see pte_adjust). -ERESTART only for level > 1. */
must_check int page_type_entry_get(unsigned level, uint64_t *pte, struct domain *d,
                                   struct domain *foreign);
void page_type_entry_put(unsigned level, uint64_t pte);

/* Take a PARTIAL frame apart as far as this call may; true when it is done (both its references
 * are gone). For domain death. */
bool page_type_dismantle(struct frame *f);

/* ---- what one entry may say, level by level: pure rules, no locks ---- */

/* SAFETY: a processor with L1TF goes on with the address in an entry that is not present, as wide
 * as it has addresses, and finds what the cache has there: it must be no RAM. Frame 0, which is
 * nobody's, may be named, as an entry that is just 0 does, but not with all that a large page
 * spans. Linux, for one, inverts the addresses in such entries. */
static inline bool pte_absent_ok(unsigned level, uint64_t pte)
{
    maddr_t address = pte & X86_PTE_ADDR & ((1UL << arch_facts.maddr_bits) - 1);
    return address >= arch_facts.absent_top || (!address && (level == 1 || !(pte & X86_PTE_PSE)));
}

/* True for the L4 slots only the hypervisor may fill. */
static inline bool pte_slot_reserved(unsigned level, unsigned index)
{
    return level == 4 && index >= HYP_L4_FIRST && index <= HYP_L4_LAST;
}

/* The entry's bits are allowed at this level for a table of d. */
static inline bool pte_bits_ok(unsigned level, uint64_t pte, struct domain *d)
{
    const uint64_t cache = X86_PTE_PWT | X86_PTE_PCD | X86_PTE_PAT; /* above L1: PSE */
    /* Address bits beyond what the processor implements would be reserved-bit faults. */
    uint64_t refused = pte & ((X86_PTE_ADDR & ~0UL << arch_facts.maddr_bits) | cache |
                              (level == 1 ? 0 : X86_PTE_G));
    if (!(pte & X86_PTE_P)) {
        return !pte || pte_absent_ok(level, pte);
    }
    return !refused || (level == 1 && !(refused & ~cache) &&
                        (d->privileged || domain_may_reach(d, d->pv.mmio, PTE_MFN(pte), 1)));
}

/* What is really stored for a guest's wish: the guest kernel runs at CPL 3, so user access is
 * forced on; global entries would survive address-space switches, so that bit is forced off. */
static inline uint64_t pte_adjust(unsigned level, uint64_t pte)
{
    if (!(pte & X86_PTE_P)) {
        return pte;
    }
    return level == 1 ? (pte | X86_PTE_US) & ~X86_PTE_G : pte | X86_PTE_US | X86_PTE_A;
}

/* Both entries are present, name the same frame with the same rights that references depend on:
 * replacing one by the other needs no reference changed. Writability, presence, page size and
 * cache attributes must never be in the list of harmless bits. */
static inline bool pte_same_references(uint64_t a, uint64_t b)
{
    const uint64_t harmless = X86_PTE_NX | X86_PTE_AVAIL | X86_PTE_AVAIL_HIGH | X86_PTE_A |
                              X86_PTE_D | X86_PTE_US | X86_PTE_G;
    return (a & X86_PTE_P) && ((a ^ b) & ~harmless) == 0;
}

/* ---- level-1 entries: inline, since every change of one comes by here ---- */

/* A present entry names device memory that a table of d may map: it holds no references. */
static inline bool page_type_device_ok(uint64_t pte, struct domain *d)
{
    mfn_t mfn = PTE_MFN(pte);
    return !arch_mfn_is_ram(mfn) && !arch_mmio_denied(mfn) &&
           (d->privileged || domain_may_reach(d, d->pv.mmio, mfn, 1));
}

/* References of a present entry of a table of d that maps frames of `foreign`; false: none may. */
static inline_always must_check bool page_type_leaf_get(uint64_t pte, struct domain *d,
                                                        const struct domain *foreign)
{
    struct frame *f = frame_get_from_mfn(PTE_MFN(pte), foreign);
    if (!f) {
        return page_type_device_ok(pte, d);
    }
    if ((pte & X86_PTE_RW) && frame_get_writable(f)) {
        frame_put(f);
        return false;
    }
    return true;
}

/* The frame a present entry holds references on, NULL for device memory: that has no owner and so
 * never any references. */
static inline_always struct frame *page_type_leaf_frame(uint64_t pte)
{
    mfn_t mfn = PTE_MFN(pte);
    struct frame *f = mfn_to_frame(mfn);
    if (unlikely(!mfn_valid(mfn) || !(read_once(f->count) & FRAME_COUNT_MASK))) {
        BUG_ON(arch_mfn_is_ram(mfn));
        return NULL;
    }
    return f;
}

static inline_always void page_type_leaf_put(uint64_t pte)
{
    struct frame *f = page_type_leaf_frame(pte);
    if (f && (pte & X86_PTE_RW)) {
        frame_put_writable_and_ref(f);
    } else if (f) {
        frame_put(f);
    }
}
