// SPDX-License-Identifier: MIT
/*
 * The frame table: one struct frame for each machine frame of RAM, saying who owns it, how many
 * references it has, and what it is used as.
 *
 * Two counts guard every frame.
 *  - The general count (`count`) keeps the frame from being freed. A frame a domain owns starts
 * with one reference, marked ALLOCATED, which decrease_reservation or domain death takes away.
 *  - The type count (`type`) keeps the frame from changing its use. A frame has one type at a time:
 *    writable, page table of level 1 to 4, descriptor table, or none. The type may change only when
 *    its count is 0, so no frame is writable and a page table at once. Every type reference comes
 *    with a general reference.
 *
 * Both words change by compare-and-swap. References to WRITABLE need no lock. Page-table and
 * descriptor types (validation and its undoing) change only under the owner's mmu_lock.
 *
 * Frames leave the allocator cleared. Locks: heap_lock (RANK_HEAP); a domain's page list: its
 * pages_lock.
 */
#pragma once

#include "arch/arch.h"
#include "base/assert.h"
#include "base/checked.h"
#include "base/types.h"

struct domain;

/* general count word */
#define FRAME_ALLOCATED (1U << 31) /* the owner's own reference is still there */
#define FRAME_HYP (1U << 30)       /* lent by the hypervisor (frame_share): freed by us alone */
#define FRAME_COUNT_MASK ((1U << 30) - 1)
#define FRAME_COUNT_MANY (1U << 29) /* as many as guests may ask for; some of ours fit above */

/* type word */
#define TYPE_SHIFT 29
#define TYPE_MASK (7U << TYPE_SHIFT)
#define TYPE_NONE (0U << TYPE_SHIFT)
#define TYPE_L1 (1U << TYPE_SHIFT)
#define TYPE_L2 (2U << TYPE_SHIFT)
#define TYPE_L3 (3U << TYPE_SHIFT)
#define TYPE_L4 (4U << TYPE_SHIFT)
#define TYPE_SEGDESC (5U << TYPE_SHIFT)
#define TYPE_WRITABLE (7U << TYPE_SHIFT)
#define TYPE_PINNED (1U << 28)    /* the guest holds one type reference by pinning */
#define TYPE_VALIDATED (1U << 27) /* contents have been checked and hold references */
/* Entries [0, pt_done) hold references; the state itself owns the one type reference and one
 * general reference. */
#define TYPE_PARTIAL (1U << 26)
/* WRITABLE with count 1, coming or going: a TLB stamp or flush is under way; whoever wants a
 * reference waits. */
#define TYPE_LOCKED (1U << 25)
#define TYPE_COUNT_MASK ((1U << 25) - 1)

struct frame {
    uint32_t count;      /* atomic */
    uint32_t type;       /* atomic */
    uint32_t owner_page; /* frame_owner(); changes only while count is 0 */
    /* PARTIAL: entries [0, pt_done) hold references; VALIDATED tables: how many are present. */
    uint16_t pt_done;
    uint8_t order;    /* of the block this frame heads, if it is free or from hyp_alloc() */
    uint8_t pt_flags; /* PT_CHILD_PARTIAL; free frames: FRAME_IS_FREE */
};
/* The rest, apart: what is looked at often is small and indexed by a shift. */
struct frame_link {
    /* Owned frames: links of the owner's page list, by frame number, under its pages_lock.
     * Free frames: links of the allocator, under heap_lock. */
    uint32_t next, prev;
    uint32_t tlb_stamp; /* flush clock when the last mapping of the present use went away */
};
_Static_assert(sizeof(struct frame) + sizeof(struct frame_link) == 28, "what a frame costs");
#define INVALID_LINK 0      /* ends a list: frame 0 is in none */
#define PT_CHILD_PARTIAL 1u /* entry pt_done's table may be PARTIAL on our behalf */
#define FRAME_IS_FREE 2u    /* heads a free block of the allocator */
#define FRAME_IS_CLEAN 4u   /* and all of it is zero */

extern struct frame *frame_table;
extern struct frame_link *frame_links;

/* The frame exists in the table (it is RAM). Every guest-supplied number is tested first. */
static inline bool mfn_valid(mfn_t mfn)
{
    return arch_mfn_has_frame(mfn);
}

static inline struct frame *mfn_to_frame(mfn_t mfn)
{
    struct frame *f = &frame_table[mfn];
    if (!f) {
        __builtin_unreachable(); /* spares callers a look */
    }
    return f;
}

static inline mfn_t frame_to_mfn(const struct frame *f)
{
    return (mfn_t)(f - frame_table);
}

static inline struct frame_link *frame_link(const struct frame *f)
{
    return &frame_links[frame_to_mfn(f)];
}

static inline void *frame_to_virt(const struct frame *f)
{
    return mfn_to_virt(frame_to_mfn(f));
}

/* How frames name a domain, so that a comparison takes no conversion: the page number of its
 * structure's address, whose upper bits are those of all memory. */
static inline uint32_t owner_page(const void *d)
{
    return (uint32_t)((uintptr_t)d >> PAGE_SHIFT);
}

/* NULL: free or the hypervisor's. */
static inline struct domain *frame_owner(const struct frame *f)
{
    uint32_t page = read_once(f->owner_page);
    return page ? mfn_to_virt((uint32_t)(page - owner_page(mfn_to_virt(0)))) : NULL;
}

static inline bool frame_is_of(const struct frame *f, const struct domain *d)
{
    return read_once(f->owner_page) == owner_page(d);
}

static inline void frame_set_owner(struct frame *f, const struct domain *d)
{
    write_once(f->owner_page, owner_page(d));
}

/* ---- references; inline is what every change of a level-1 entry does ---- */

/* Called by frame_put when the last reference goes. A domain's first frame takes a reference of the
 * domain, which its last frame drops: memory mapped elsewhere keeps its owner in existence. */
void frame_free(struct frame *f);
must_check int frame_get_writable_slow(struct frame *f);
void frame_put_writable_slow(struct frame *f);

static inline bool frame_cas(uint32_t *word, uint32_t *expected, uint32_t desired)
{
    return __atomic_compare_exchange_n(word, expected, desired, false, __ATOMIC_SEQ_CST,
                                       __ATOMIC_SEQ_CST);
}

/* Drop a general reference; the last one frees the frame. */
static inline void frame_put(struct frame *f)
{
    uint32_t old = __atomic_fetch_sub(&f->count, 1, __ATOMIC_SEQ_CST);
    if (unlikely((old & FRAME_COUNT_MASK) <= 1)) {
        frame_free(f); /* stops where there was none */
    }
}

/* Take a general reference if the frame is owned by d (d may be dying); false otherwise. */
static inline must_check bool frame_get(struct frame *f, const struct domain *d)
{
    uint32_t old = __atomic_load_n(&f->count, __ATOMIC_SEQ_CST);
    do {
        /* Neither 0 nor the most there may be: FRAME_COUNT_MANY. */
        if (((old - 1) & FRAME_COUNT_MANY) || !frame_is_of(f, d)) {
            return false;
        }
    } while (!frame_cas(&f->count, &old, old + 1));
    /* SAFETY: between the look at the owner and the swap the frame may have been freed and given to
     * somebody else, or taken back by frame_unshare(). With our reference in place the owner can
     * only be d from here on, or is not d. */
    if (unlikely(!frame_is_of(f, d))) {
        frame_put(f);
        return false;
    }
    return true;
}

/* Take another reference where the caller already holds one. */
static inline void frame_get_held(struct frame *f)
{
    uint32_t old = __atomic_fetch_add(&f->count, 1, __ATOMIC_SEQ_CST);
    BUG_ON(((old - 1) & FRAME_COUNT_MASK) >= FRAME_COUNT_MASK - 1);
}

/* Look a guest-supplied frame number up and take a general reference; NULL if it is not d's. */
static inline must_check struct frame *frame_get_from_mfn(mfn_t mfn, const struct domain *d)
{
    if (!mfn_valid(mfn)) {
        return NULL;
    }
    /* SAFETY: tested above; clamped so that no table entry beyond the end is touched in
     * speculation either. */
    struct frame *f = mfn_to_frame(clamp_index(mfn, arch_facts.max_mfn));
    return frame_get(f, d) ? f : NULL;
}

/* Give up the owner's own reference (once). False if somebody did already. */
must_check bool frame_drop_allocation(struct frame *f);

/* References to a WRITABLE frame: general reference must be held for get. get fails with -EBUSY
 * when the frame is in use as something else. A change of type, the last one, and what waits, are
 * the slow form's. */
static inline must_check int frame_get_writable(struct frame *f)
{
    uint32_t old = __atomic_load_n(&f->type, __ATOMIC_SEQ_CST);
    /* WRITABLE, nothing else, and not the most there may be. */
    bool more = old - TYPE_WRITABLE < TYPE_COUNT_MASK && frame_cas(&f->type, &old, old + 1);
    return more ? 0 : frame_get_writable_slow(f);
}

static inline void frame_put_writable(struct frame *f)
{
    uint32_t old = __atomic_load_n(&f->type, __ATOMIC_SEQ_CST);
    bool one_less =
        old - (TYPE_WRITABLE + 2) < TYPE_COUNT_MASK - 1 && frame_cas(&f->type, &old, old - 1);
    if (!one_less) {
        frame_put_writable_slow(f);
    }
}

/* Both at once, from a guest-supplied number: NULL when not d's or not usable as writable. */
static inline must_check struct frame *frame_get_writable_mfn(mfn_t mfn, const struct domain *d)
{
    struct frame *f = frame_get_from_mfn(mfn, d);
    if (f && frame_get_writable(f)) {
        frame_put(f);
        f = NULL;
    }
    return f;
}

static inline void frame_put_writable_and_ref(struct frame *f)
{
    frame_put_writable(f);
    frame_put(f);
}

/* Flush those of `cpus` (NULL: of all CPUs) that have not flushed since f's stamp. */
void frame_tlb_flush(const struct frame *f, const cpumask_t *cpus);

/* Share a hypervisor-owned frame with d, so that d (or a privileged domain) may map it. It stays
 * the hypervisor's: frame_unshare() waits for no one, the frame is freed when the last mapping
 * goes. */
void frame_share(struct frame *f, struct domain *d);
void frame_unshare(struct frame *f);

static inline void m2p_set(mfn_t mfn, pfn_t pfn)
{
    write_once(arch_m2p()[mfn], pfn);
}

/* ---- frame_alloc.c: a buddy allocator over all free RAM, and the frames of domains ---- */

#define FRAME_ORDER_MAX 18 /* 1 GiB blocks */

/* Take over the free ranges of the machine. Called once, with frame_table set and zeroed. */
void frame_alloc_init(void);
/* Add frames [first, end) to the heap (boot modules, once used up). */
void frame_alloc_add(mfn_t first, mfn_t end);

/* 2^order contiguous, naturally aligned frames for the hypervisor itself, cleared, below
 * `addr_bits` (0: anywhere). NULL when there are none. */
struct frame *frame_alloc_hyp(unsigned order, unsigned addr_bits);
void frame_free_hyp(struct frame *f, unsigned order);
/* Cleared memory for an object of the hypervisor, in whole pages. NULL when there is none. */
void *hyp_alloc(size_t bytes);
void hyp_free(void *object); /* or NULL */

/* Clear some of the free memory, on a CPU with nothing else to do. False: enough of it is clean. */
bool frame_clear_idle(void);
extern uint64_t frame_clean_most; /* frames that are enough: 256 MiB */

/* Frames of the control domain while it is built, as frame_assign() gives them, with whatever
 * start-up and firmware left in them: it clears what matters to it (arch_page_clear). Scrubbing all
 * of its memory would be most of the time the hypervisor needs to start. */
struct frame *frame_alloc_control(struct domain *d, unsigned order);
/* Remove a frame from its owner's page list without freeing it (exchange); it must have only the
 * ALLOCATED reference. False, with nothing changed, otherwise. */
must_check bool frame_steal(struct domain *d, struct frame *f);
/* Give ownerless allocated frames to d: owner set, ALLOCATED reference taken, on d's page list.
 * Errors: -ENOMEM d is at its max_pages, or dying. */
must_check int frame_assign(struct domain *d, struct frame *f, unsigned order);
/* Walk d's page list: the frame after `f` (NULL: the first) with a general reference taken, NULL at
 * the end. The caller holds a reference on f, which keeps it on the list. With `types` some frames,
 * not all, are left out whose type word has none of these bits. */
struct frame *frame_list_next(struct domain *d, const struct frame *f, uint64_t types);
/* Free frames that come right after f both on d's list and in memory and that nobody but d, which
 * is dying, refers to: some of these, at best all. The caller holds a reference on f. */
void frame_free_behind(struct domain *d, struct frame *f);

uint64_t frame_free_count(void);
uint64_t frame_total_count(void);
