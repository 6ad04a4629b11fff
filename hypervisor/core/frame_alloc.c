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
 * Lock: heap_lock (RANK_HEAP) for lists and heads; a domain's page list: its pages_lock.
 */
#include "core/frame_alloc.h"

#include "core/domain.h"

#define ZONES 40 /* bits of a frame number: 52-bit machine addresses */
#define ORDERS (FRAME_ORDER_MAX + 1)

static struct spinlock heap_lock = SPINLOCK_INIT(RANK_HEAP);
/* under heap_lock */
static uint32_t heap_list[ZONES + 1][ORDERS]; /* first frame number, 0 none: never frame 0 */
static uint32_t heap_orders[ZONES + 1];       /* bit per order whose list is not empty */
static uint64_t free_frames;
static uint64_t total_frames;

static unsigned zone_of(mfn_t mfn)
{
    return 64 - (unsigned)__builtin_clzl(mfn);
}

/* ---- lists of free blocks ---- */

static void list_insert(mfn_t mfn, unsigned order)
{
    unsigned zone = zone_of(mfn);
    struct frame *f = mfn_to_frame(mfn);
    uint32_t *head = &heap_list[zone][order];
    f->pt_flags = FRAME_IS_FREE;
    f->order = (uint8_t)order;
    f->prev = 0;
    f->next = *head;
    if (*head) {
        mfn_to_frame(*head)->prev = (uint32_t)mfn;
    }
    *head = (uint32_t)mfn;
    heap_orders[zone] |= 1u << order;
}

static void list_remove(mfn_t mfn, unsigned order)
{
    unsigned zone = zone_of(mfn);
    struct frame *f = mfn_to_frame(mfn);
    if (f->prev) {
        mfn_to_frame(f->prev)->next = f->next;
    } else {
        heap_list[zone][order] = f->next;
        if (!f->next) {
            heap_orders[zone] &= ~(1u << order);
        }
    }
    if (f->next) {
        mfn_to_frame(f->next)->prev = f->prev;
    }
    f->pt_flags = 0;
}

static bool is_free_block(mfn_t mfn, unsigned order)
{
    if (mfn == 0 || !mfn_valid(mfn)) {
        return false;
    }
    const struct frame *f = mfn_to_frame(mfn);
    return (read_once(f->pt_flags) & FRAME_IS_FREE) && f->order == order;
}

/* Put a block back, merging it with its free neighbours. `stamp` is the present flush clock, hence
 * not older than any neighbour's. */
static void heap_insert_locked(mfn_t mfn, unsigned order, uint32_t stamp)
{
    while (order < FRAME_ORDER_MAX) {
        mfn_t buddy = mfn ^ (1UL << order);
        if (!is_free_block(buddy, order)) {
            break;
        }
        list_remove(buddy, order);
        mfn = MIN(mfn, buddy);
        order++;
    }
    mfn_to_frame(mfn)->tlb_stamp = stamp;
    list_insert(mfn, order);
}

static void heap_free(mfn_t mfn, unsigned order)
{
    BUG_ON(mfn & ((1UL << order) - 1));
    BUG_ON(mfn_to_frame(mfn)->pt_flags & FRAME_IS_FREE);
    spin_lock(&heap_lock);
    heap_insert_locked(mfn, order, arch_tlb_clock());
    free_frames += 1UL << order;
    spin_unlock(&heap_lock);
}

/* Take a block of exactly `order` out of the heap, splitting a larger one; 0 when there is none. */
static mfn_t heap_take(unsigned order, unsigned addr_bits)
{
    if (order > FRAME_ORDER_MAX || (addr_bits && addr_bits <= PAGE_SHIFT)) {
        return 0;
    }
    unsigned top = addr_bits ? MIN(addr_bits - PAGE_SHIFT, ZONES) : ZONES;
    mfn_t mfn = 0;
    spin_lock(&heap_lock);
    for (unsigned zone = top; zone > 0 && !mfn; zone--) {
        uint32_t usable = heap_orders[zone] >> order << order;
        if (!usable) {
            continue;
        }
        unsigned have = (unsigned)__builtin_ctz(usable);
        mfn = heap_list[zone][have];
        uint32_t stamp = mfn_to_frame(mfn)->tlb_stamp;
        list_remove(mfn, have);
        /* The lower half stays free at each step. */
        while (have > order) {
            have--;
            mfn_to_frame(mfn)->tlb_stamp = stamp;
            list_insert(mfn, have);
            mfn += 1UL << have;
        }
        mfn_to_frame(mfn)->tlb_stamp = stamp;
        free_frames -= 1UL << order;
    }
    spin_unlock(&heap_lock);
    return mfn;
}

/* ---- what a frame goes through on its way out of the heap ---- */

static void flush_stale(uint32_t stamp)
{
    cpumask_t mask = {{0}};
    for (unsigned cpu = 0; cpu < arch_cpus_online(); cpu++) {
        cpumask_set(&mask, cpu);
    }
    arch_tlb_filter(&mask, stamp);
    if (!cpumask_empty(&mask)) {
        arch_tlb_flush_mask(&mask, FLUSH_TLB, 0);
    }
}

/* Plain stores: under emulation they are several times faster than a string instruction, and on
 * hardware not slower. */
void page_clear(void *page)
{
    uint64_t *word = page;
    for (unsigned i = 0; i < PAGE_SIZE / sizeof(*word); i += 8) {
        word[i] = 0;
        word[i + 1] = 0;
        word[i + 2] = 0;
        word[i + 3] = 0;
        word[i + 4] = 0;
        word[i + 5] = 0;
        word[i + 6] = 0;
        word[i + 7] = 0;
        barrier(); /* keeps the compiler from making a memset() of this */
    }
}

static struct frame *take_block(unsigned order, unsigned addr_bits, bool clear)
{
    mfn_t mfn = heap_take(order, addr_bits);
    if (!mfn) {
        return NULL;
    }
    /* SAFETY: whoever had these frames mapped has no translation left once this returns. */
    uint32_t stamp = mfn_to_frame(mfn)->tlb_stamp;
    flush_stale(stamp);
    for (uint64_t i = 0; i < 1UL << order; i++) {
        struct frame *f = mfn_to_frame(mfn + i);
        *f = (struct frame){.next = INVALID_LINK, .prev = INVALID_LINK, .tlb_stamp = stamp};
        if (clear) {
            page_clear(mfn_to_virt(mfn + i));
        }
    }
    return mfn_to_frame(mfn);
}

/* ---- the heap as a whole ---- */

void frame_alloc_add(mfn_t first, uint64_t count)
{
    mfn_t end = first + count;
    if (first == 0) {
        first = 1;
    }
    while (first < end) {
        unsigned order = MIN((unsigned)__builtin_ctzl(first), FRAME_ORDER_MAX);
        while (1UL << order > end - first) {
            order--;
        }
        heap_free(first, order);
        spin_lock(&heap_lock);
        total_frames += 1UL << order;
        spin_unlock(&heap_lock);
        first += 1UL << order;
    }
}

void frame_alloc_init(void)
{
    for (unsigned i = 0; i < arch_free_range_count(); i++) {
        mfn_t first;
        uint64_t count;
        arch_free_range(i, &first, &count);
        frame_alloc_add(first, count);
    }
}

uint64_t frame_free_count(void)
{
    spin_lock(&heap_lock);
    uint64_t count = free_frames;
    spin_unlock(&heap_lock);
    return count;
}

uint64_t frame_total_count(void)
{
    spin_lock(&heap_lock);
    uint64_t count = total_frames;
    spin_unlock(&heap_lock);
    return count;
}

/* ---- frames of the hypervisor ---- */

struct frame *frame_alloc_hyp(unsigned order, unsigned addr_bits)
{
    return take_block(order, addr_bits, true);
}

void frame_free_hyp(struct frame *f, unsigned order)
{
    for (uint64_t i = 0; i < 1UL << order; i++) {
        BUG_ON(f[i].count || f[i].owner || (f[i].type & TYPE_COUNT_MASK));
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

static void page_list_add_locked(struct domain *d, struct frame *f)
{
    uint32_t nr = (uint32_t)frame_to_mfn(f);
    f->prev = INVALID_LINK;
    f->next = d->page_list;
    if (d->page_list != INVALID_LINK) {
        mfn_to_frame(d->page_list)->prev = nr;
    }
    d->page_list = nr;
}

static void page_list_remove_locked(struct domain *d, struct frame *f)
{
    if (f->prev == INVALID_LINK) {
        d->page_list = f->next;
    } else {
        mfn_to_frame(f->prev)->next = f->next;
    }
    if (f->next != INVALID_LINK) {
        mfn_to_frame(f->next)->prev = f->prev;
    }
}

/* Take f off d's books; true when it was the last frame, whose domain reference the caller drops
 * after unlocking. */
static bool disown_locked(struct domain *d, struct frame *f)
{
    BUG_ON(d->page_count == 0);
    page_list_remove_locked(d, f);
    f->owner = NULL;
    return --d->page_count == 0;
}

int frame_assign(struct domain *d, struct frame *f, unsigned order)
{
    uint64_t count = 1UL << order;
    int rc = -ENOMEM;
    /* A stolen frame comes here without a visit to the heap. */
    for (uint64_t i = 0; i < count; i++) {
        BUG_ON(f[i].count || f[i].owner || f[i].type);
        if (i == 0 || f[i].tlb_stamp != f[i - 1].tlb_stamp) {
            flush_stale(f[i].tlb_stamp);
        }
    }
    spin_lock(&d->pages_lock);
    /* SAFETY: a domain is marked as dying before its page list is emptied under this lock, so what
     * is added here is found there. */
    if (read_once(d->state) == DOM_ALIVE && d->page_count <= d->max_pages &&
        count <= d->max_pages - d->page_count) {
        if (d->page_count == 0) {
            domain_get_held(d); /* frames keep their owner in existence */
        }
        d->page_count += count;
        /* Last first: a walk of the list then sees ascending frame numbers. */
        for (uint64_t i = count; i-- > 0;) {
            f[i].owner = d;
            page_list_add_locked(d, &f[i]);
            /* ORDER: owner before the count, which opens the frame to others. */
            __atomic_store_n(&f[i].count, FRAME_ALLOCATED | 1, __ATOMIC_SEQ_CST);
        }
        rc = 0;
    }
    spin_unlock(&d->pages_lock);
    return rc;
}

static struct frame *alloc_for(struct domain *d, unsigned order, unsigned addr_bits, bool clear)
{
    /* Not worth clearing memory for a domain that cannot have it; frame_assign() decides. */
    if (order > FRAME_ORDER_MAX || read_once(d->page_count) + (1UL << order) > d->max_pages) {
        return NULL;
    }
    struct frame *f = take_block(order, addr_bits, clear);
    if (f && frame_assign(d, f, order)) {
        frame_free_hyp(f, order);
        f = NULL;
    }
    return f;
}

struct frame *frame_alloc_domain(struct domain *d, unsigned order, unsigned addr_bits)
{
    return alloc_for(d, order, addr_bits, true);
}

struct frame *frame_alloc_control(struct domain *d, unsigned order)
{
    /* SAFETY: the control domain may read all memory anyway, and no guest has been there yet. */
    BUG_ON(!d->privileged);
    return alloc_for(d, order, 0, false);
}

void frame_free(struct frame *f)
{
    uint64_t flags = f->count;
    BUG_ON((f->type & TYPE_COUNT_MASK) || (flags & (FRAME_ALLOCATED | FRAME_COUNT_MASK)));
    struct domain *last_of = NULL;
    m2p_set(frame_to_mfn(f), INVALID_M2P);
    if (!(flags & FRAME_HYP)) {
        struct domain *d = f->owner;
        BUG_ON(!d);
        spin_lock(&d->pages_lock);
        if (disown_locked(d, f)) {
            last_of = d;
        }
        spin_unlock(&d->pages_lock);
    }
    f->owner = NULL;
    f->count = 0;
    f->type = TYPE_NONE;
    heap_free(frame_to_mfn(f), 0);
    if (last_of) {
        domain_put(last_of);
    }
}

bool frame_steal(struct domain *d, struct frame *f)
{
    bool last = false;
    spin_lock(&d->pages_lock);
    /* Only the owner's own reference: no mapping, no type, no grant. Others can take a reference at
     * any time, so the test is the swap. */
    uint64_t alone = FRAME_ALLOCATED | 1;
    bool stolen = f->owner == d && __atomic_compare_exchange_n(&f->count, &alone, 0, false,
                                                               __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
    if (stolen) {
        f->type = TYPE_NONE;
        f->tlb_stamp = arch_tlb_clock();
        last = disown_locked(d, f);
    }
    spin_unlock(&d->pages_lock);
    if (last) {
        domain_put(d);
    }
    return stolen;
}

struct frame *frame_list_next(struct domain *d, const struct frame *f)
{
    struct frame *found = NULL;
    spin_lock(&d->pages_lock);
    uint32_t link = f ? f->next : d->page_list;
    while (link != INVALID_LINK && !found) {
        struct frame *next = mfn_to_frame(link);
        link = next->next;
        /* Fails for a frame whose last reference has just gone and that waits for our lock. */
        if (frame_get(next, d)) {
            found = next;
        }
    }
    spin_unlock(&d->pages_lock);
    return found;
}
