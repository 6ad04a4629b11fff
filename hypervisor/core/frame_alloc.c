// SPDX-License-Identifier: MIT
/*
 * The buddy allocator. Free memory is a set of naturally aligned blocks of 2^order frames; the
 * struct frame of a block's first frame heads it (FRAME_IS_FREE, order, links, TLB stamp). Blocks
 * hang on one list per zone and order, where a frame's zone is the number of bits of its frame
 * number: a limit on addresses is then a limit on zones, and memory is handed out from the top.
 * Frame 0 never enters the heap, so each block lies in one zone.
 *
 * TLBs: freeing does not flush. A free block carries the flush clock of the moment its youngest
 * part was freed; allocation flushes the CPUs that have not flushed since. Allocating many frames
 * costs one flush, because that flush is younger than the stamps of all the others.
 *
 * Memory is cleared when it is allocated, unless a CPU with nothing else to do was faster: clean
 * blocks have lists of their own, are taken first, and merge among themselves only. There are not
 * more of them than guests that start soon may want: what nobody uses is not touched.
 *
 * Lock: heap_lock (RANK_HEAP) for lists and heads; a domain's page list: its pages_lock.
 */
#include "core/frame.h"

#include "core/deferred.h"
#include "core/domain.h"

#define ZONES 40 /* bits of a frame number: 52-bit machine addresses */
#define ORDERS (FRAME_ORDER_MAX + 1)
#define CLEAR_ORDER 6 /* greatest block that is cleared in idle time, in one go */
#define RUN_MAX 512   /* frames of a domain looked at in one go */

static struct spinlock heap_lock = SPINLOCK_INIT(RANK_HEAP);
/* under heap_lock; [true] for what is known to be clear */
static uint32_t heap_list[2][ZONES + 1][ORDERS]; /* first frame */
static uint32_t heap_orders[2][ZONES + 1];       /* bit per order whose list is not empty */
static uint64_t dirty_frames;
static uint64_t free_frames;  /* atomic: with those that are out of the lists to be cleared */
static uint64_t total_frames; /* changes at start-up only */

uint64_t frame_clean_most = 1UL << (28 - PAGE_SHIFT);

/* ---- lists of frames, of the heap and of domains ---- */

static void list_insert(uint32_t *head, const struct frame *f)
{
    struct frame_link *l = frame_link(f);
    l->prev = INVALID_LINK;
    l->next = *head;
    *head = (uint32_t)frame_to_mfn(f);
    if (l->next != INVALID_LINK) {
        frame_links[l->next].prev = *head;
    }
}

static void list_remove(uint32_t *head, const struct frame *f)
{
    const struct frame_link *l = frame_link(f);
    *(l->prev != INVALID_LINK ? &frame_links[l->prev].next : head) = l->next;
    if (l->next != INVALID_LINK) {
        frame_links[l->next].prev = l->prev;
    }
}

/* ---- free blocks ---- */

static unsigned zone_of(mfn_t mfn)
{
    return 64 - (unsigned)__builtin_clzl(mfn);
}

static void block_insert_locked(mfn_t mfn, unsigned order, uint32_t stamp, bool clean)
{
    struct frame *f = mfn_to_frame(mfn);
    f->pt_flags = clean ? FRAME_IS_FREE | FRAME_IS_CLEAN : FRAME_IS_FREE;
    f->order = (uint8_t)order;
    frame_link(f)->tlb_stamp = stamp;
    list_insert(&heap_list[clean][zone_of(mfn)][order], f);
    heap_orders[clean][zone_of(mfn)] |= 1u << order;
    dirty_frames += clean ? 0 : 1UL << order;
}

static void block_remove_locked(mfn_t mfn, unsigned order, bool clean)
{
    uint32_t *list = &heap_list[clean][zone_of(mfn)][order];
    list_remove(list, mfn_to_frame(mfn));
    if (*list == INVALID_LINK) {
        heap_orders[clean][zone_of(mfn)] &= ~(1u << order);
    }
    mfn_to_frame(mfn)->pt_flags = 0;
    dirty_frames -= clean ? 0 : 1UL << order;
}

static bool is_free_block(mfn_t mfn, unsigned order, bool clean)
{
    uint8_t flags = clean ? FRAME_IS_FREE | FRAME_IS_CLEAN : FRAME_IS_FREE;
    return mfn != 0 && mfn_valid(mfn) && read_once(mfn_to_frame(mfn)->pt_flags) == flags &&
           mfn_to_frame(mfn)->order == order;
}

/* Put a block back, merging it with neighbours that are as clean as it is. The present flush clock
 * is not older than any neighbour's. */
static void heap_put(mfn_t mfn, unsigned order, bool clean)
{
    SPIN_GUARD(&heap_lock);
    for (; order < FRAME_ORDER_MAX && is_free_block(mfn ^ 1UL << order, order, clean); order++) {
        block_remove_locked(mfn ^ 1UL << order, order, clean);
        mfn &= ~(1UL << order);
    }
    block_insert_locked(mfn, order, arch_tlb_clock(), clean);
}

static void heap_free(mfn_t mfn, unsigned order)
{
    BUG_ON(mfn & ((1UL << order) - 1));
    BUG_ON(mfn_to_frame(mfn)->pt_flags & FRAME_IS_FREE);
    __atomic_fetch_add(&free_frames, 1UL << order, __ATOMIC_SEQ_CST);
    heap_put(mfn, order, false);
}

/* Take a block of exactly `order` out of the heap, splitting a larger one; 0 when there is none. */
static mfn_t heap_take(unsigned order, unsigned addr_bits, bool clean)
{
    if (order > FRAME_ORDER_MAX || (addr_bits && addr_bits <= PAGE_SHIFT)) {
        return 0;
    }
    SPIN_GUARD(&heap_lock);
    for (unsigned zone = addr_bits ? MIN(addr_bits - PAGE_SHIFT, ZONES) : ZONES; zone > 0; zone--) {
        uint32_t usable = heap_orders[clean][zone] >> order << order;
        if (!usable) {
            continue;
        }
        unsigned have = (unsigned)__builtin_ctz(usable);
        mfn_t mfn = heap_list[clean][zone][have];
        uint32_t stamp = frame_links[mfn].tlb_stamp;
        block_remove_locked(mfn, have, clean);
        /* The lower half stays free at each step. */
        while (have-- > order) {
            block_insert_locked(mfn, have, stamp, clean);
            mfn += 1UL << have;
        }
        frame_links[mfn].tlb_stamp = stamp;
        return mfn;
    }
    return 0;
}

bool frame_clear_idle(void)
{
    mfn_t mfn = 0;
    uint64_t dirty = read_once(dirty_frames);
    unsigned order = dirty && frame_free_count() < dirty + frame_clean_most ? CLEAR_ORDER + 1 : 0;
    while (!mfn && order > 0) {
        mfn = heap_take(--order, 0, false);
    }
    if (!mfn) {
        return false;
    }
    /* SAFETY: nobody writes to it through an old translation once it has been cleared. */
    frame_tlb_flush(mfn_to_frame(mfn), NULL);
    uint64_t done = 0;
    do {
        arch_page_clear(mfn_to_virt(mfn + done++));
    } while (done < 1UL << order && (done % 16 || !preempt_needed()));
    heap_put(mfn, order, done == 1UL << order);
    return true;
}

/* ---- what a frame goes through on its way out of the heap ---- */

static struct frame *take_block(unsigned order, unsigned addr_bits, bool clear)
{
    mfn_t clean = heap_take(order, addr_bits, true);
    mfn_t mfn = clean ?: heap_take(order, addr_bits, false);
    if (!mfn) {
        return NULL;
    }
    __atomic_fetch_sub(&free_frames, 1UL << order, __ATOMIC_SEQ_CST);
    /* SAFETY: whoever had these frames mapped has no translation left once this returns. */
    struct frame *block = mfn_to_frame(mfn);
    frame_tlb_flush(block, NULL);
    uint32_t stamp = frame_links[mfn].tlb_stamp;
    for (uint64_t i = 0; i < 1UL << order; i++) {
        block[i] = (struct frame){0};
        frame_links[mfn + i] = (struct frame_link){.tlb_stamp = stamp};
        if (clear && !clean) {
            arch_page_clear(mfn_to_virt(mfn + i));
        }
        if (i % 128 == 127) {
            irq_window(false); /* nobody allocates this much with a lock held */
        }
    }
    return block;
}

/* ---- the heap as a whole ---- */

/* Put frames [first, end) back, in blocks as large as they come. */
static void heap_free_run(mfn_t first, mfn_t end)
{
    while (first < end) {
        unsigned order = MIN((unsigned)__builtin_ctzl(first), FRAME_ORDER_MAX);
        while (1UL << order > end - first) {
            order--;
        }
        heap_free(first, order);
        first += 1UL << order;
    }
}

void frame_alloc_add(mfn_t first, mfn_t end)
{
    first = MAX(first, 1); /* frame 0 is no number of a list */
    total_frames += end - MIN(first, end);
    heap_free_run(first, end);
}

void frame_alloc_init(void)
{
    for (unsigned i = 0; i < arch_facts.free_count; i++) {
        frame_alloc_add(arch_facts.free[i].first, arch_facts.free[i].end);
    }
}

uint64_t frame_free_count(void)
{
    return read_once(free_frames);
}

uint64_t frame_total_count(void)
{
    return total_frames;
}

/* ---- frames of the hypervisor ---- */

struct frame *frame_alloc_hyp(unsigned order, unsigned addr_bits)
{
    return take_block(order, addr_bits, true);
}

void frame_free_hyp(struct frame *f, unsigned order)
{
    for (uint64_t i = 0; i < 1UL << order; i++) {
        BUG_ON(f[i].count || f[i].owner_page || (f[i].type & TYPE_COUNT_MASK));
    }
    heap_free(frame_to_mfn(f), order);
}

void *hyp_alloc(size_t bytes)
{
    unsigned order =
        bytes <= PAGE_SIZE ? 0 : 64 - (unsigned)__builtin_clzl((bytes - 1) / PAGE_SIZE);
    struct frame *f = take_block(order, 0, true);
    if (!f) {
        return NULL;
    }
    f->order = (uint8_t)order;
    return frame_to_virt(f);
}

void hyp_free(void *object)
{
    if (object) {
        struct frame *f = mfn_to_frame(virt_to_mfn(object));
        frame_free_hyp(f, f->order);
    }
}

/* ---- frames of domains ---- */

/* Take f off d's books. */
static void disown(struct domain *d, struct frame *f)
{
    spin_lock(&d->pages_lock);
    BUG_ON(d->page_count == 0);
    list_remove(&d->page_list, f);
    frame_set_owner(f, NULL);
    bool last = --d->page_count == 0;
    spin_unlock(&d->pages_lock);
    if (last) {
        domain_put(d);
    }
}

int frame_assign(struct domain *d, struct frame *f, unsigned order)
{
    uint64_t count = 1UL << order;
    /* A stolen frame comes here without a visit to the heap. */
    for (uint64_t i = 0; i < count; i++) {
        BUG_ON(f[i].count || f[i].owner_page || f[i].type);
        if (i == 0 || frame_link(&f[i])->tlb_stamp != frame_link(&f[i - 1])->tlb_stamp) {
            frame_tlb_flush(&f[i], NULL);
        }
    }
    SPIN_GUARD(&d->pages_lock);
    /* SAFETY: a domain is marked as dying before its page list is emptied under this lock, so what
     * is added here is found there. */
    if (read_once(d->state) != DOM_ALIVE || d->page_count > d->max_pages ||
        count > d->max_pages - d->page_count) {
        return -ENOMEM;
    }
    if (d->page_count == 0) {
        domain_get_held(d); /* frames keep their owner in existence */
    }
    d->page_count += count;
    /* Last first: a walk of the list then sees ascending frame numbers. */
    for (uint64_t i = count; i-- > 0;) {
        frame_set_owner(&f[i], d);
        list_insert(&d->page_list, &f[i]);
        /* ORDER: owner before the count, which opens the frame to others. */
        __atomic_store_n(&f[i].count, FRAME_ALLOCATED | 1, __ATOMIC_SEQ_CST);
    }
    return 0;
}

struct frame *frame_alloc_control(struct domain *d, unsigned order)
{
    /* SAFETY: the control domain may read all memory anyway, and no guest has been there yet. */
    BUG_ON(!d->privileged);
    struct frame *f = order > FRAME_ORDER_MAX ? NULL : take_block(order, 0, false);
    if (f && frame_assign(d, f, order)) {
        frame_free_hyp(f, order);
        f = NULL;
    }
    return f;
}

void frame_free(struct frame *f)
{
    BUG_ON((f->type & TYPE_COUNT_MASK) || (f->count & (FRAME_ALLOCATED | FRAME_COUNT_MASK)));
    m2p_set(frame_to_mfn(f), INVALID_M2P);
    if (!(f->count & FRAME_HYP)) {
        disown(frame_owner(f), f);
    }
    f->count = 0;
    f->type = TYPE_NONE;
    heap_free(frame_to_mfn(f), 0);
}

bool frame_steal(struct domain *d, struct frame *f)
{
    if (!frame_get(f, d)) {
        return false;
    }
    /* Only the owner's own reference and ours: no mapping, no type, no grant. Others can take one
     * at any time, so the test is the swap. */
    uint32_t alone = FRAME_ALLOCATED | 2;
    if (!__atomic_compare_exchange_n(&f->count, &alone, 0, false, __ATOMIC_SEQ_CST,
                                     __ATOMIC_SEQ_CST)) {
        frame_put(f);
        return false;
    }
    f->type = TYPE_NONE;
    frame_link(f)->tlb_stamp = arch_tlb_clock();
    disown(d, f);
    return true;
}

struct frame *frame_list_next(struct domain *d, const struct frame *f, uint64_t types)
{
    unsigned skips = types ? RUN_MAX : 0;
    SPIN_GUARD(&d->pages_lock);
    for (uint32_t link = f ? frame_link(f)->next : d->page_list; link != INVALID_LINK;) {
        struct frame *next = mfn_to_frame(link);
        link = frame_links[link].next;
        if (skips && !(read_once(next->type) & types)) {
            skips--;
            continue;
        }
        /* Fails for a frame whose last reference has just gone and that waits for our lock. */
        if (frame_get(next, d)) {
            return next;
        }
    }
    return NULL;
}

/* Free f, but for its place in lists, if its owner's own reference is the only one. */
static bool let_go(struct frame *f)
{
    uint32_t alone = FRAME_ALLOCATED | 1;
    if (!frame_cas(&f->count, &alone, 0)) {
        return false;
    }
    BUG_ON(f->type & TYPE_COUNT_MASK);
    m2p_set(frame_to_mfn(f), INVALID_M2P);
    frame_set_owner(f, NULL);
    f->type = TYPE_NONE;
    return true;
}

void frame_free_behind(struct domain *d, struct frame *f)
{
    struct frame_link *l = frame_link(f);
    mfn_t first = frame_to_mfn(f) + 1, end = first;
    spin_lock(&d->pages_lock);
    for (; l->next == end && end - first < RUN_MAX && let_go(mfn_to_frame(end)); end++) {
        l->next = frame_links[end].next;
    }
    if (l->next != INVALID_LINK) {
        frame_links[l->next].prev = (uint32_t)frame_to_mfn(f);
    }
    d->page_count -= end - first;
    spin_unlock(&d->pages_lock);
    heap_free_run(first, end);
}
