// SPDX-License-Identifier: MIT
/*
 * The heap: alignment, splitting and merging, address limits, clearing, flushes before reuse, and
 * the books of domains: quota, page list, stealing and assigning.
 */
#include <stdlib.h>
#include <string.h>

#include "core/frame.h"
#include "suite.h"

/* Take everything that is left, frame by frame, in a chain through `next`. */
static struct frame *drain(unsigned addr_bits)
{
    struct frame *chain = NULL;
    struct frame *f;
    while ((f = frame_alloc_hyp(0, addr_bits))) {
        frame_link(f)->next = chain ? (uint32_t)frame_to_mfn(chain) : INVALID_LINK;
        chain = f;
    }
    return chain;
}

static uint64_t refill(struct frame *chain)
{
    uint64_t count = 0;
    while (chain) {
        struct frame *f = chain;
        chain = frame_link(f)->next == INVALID_LINK ? NULL : mfn_to_frame(frame_link(f)->next);
        frame_free_hyp(f, 0);
        count++;
    }
    return count;
}

static bool is_clear(const struct frame *f, unsigned order)
{
    const uint8_t *byte = frame_to_virt(f);
    for (size_t i = 0; i < PAGE_SIZE << order; i++) {
        if (byte[i]) {
            return false;
        }
    }
    return true;
}

/* ---- the heap ---- */

static void test_frame_alloc_hyp__orders(void)
{
    for (unsigned order = 0; order <= 10; order++) {
        uint64_t free_before = frame_free_count();
        struct frame *f = frame_alloc_hyp(order, 0);
        CU_ASSERT_PTR_NOT_NULL_FATAL(f);
        CU_ASSERT_EQUAL(frame_to_mfn(f) & ((1UL << order) - 1), 0);
        CU_ASSERT_EQUAL(frame_free_count(), free_before - (1UL << order));
        CU_ASSERT(is_clear(f, order));
        memset(frame_to_virt(f), 0xa5, PAGE_SIZE << order);
        frame_free_hyp(f, order);
        CU_ASSERT_EQUAL(frame_free_count(), free_before);
        f = frame_alloc_hyp(order, 0);
        CU_ASSERT(is_clear(f, order));
        CU_ASSERT_EQUAL(f->count, 0);
        CU_ASSERT_PTR_NULL(frame_owner(f));
        frame_free_hyp(f, order);
    }
    CU_ASSERT_PTR_NULL(frame_alloc_hyp(FRAME_ORDER_MAX + 1, 0));
    CU_ASSERT_PTR_NULL(frame_alloc_hyp(FRAME_ORDER_MAX, 0));
}

static unsigned largest_order(void)
{
    unsigned order = FRAME_ORDER_MAX;
    for (;; order--) {
        struct frame *f = frame_alloc_hyp(order, 0);
        if (f) {
            frame_free_hyp(f, order);
            return order;
        }
    }
}

static void test_frame_alloc_hyp__splits_and_merges(void)
{
    unsigned largest = largest_order();
    CU_ASSERT(largest >= 11);
    uint64_t free_before = frame_free_count();
    struct frame *chain = drain(0);
    CU_ASSERT_EQUAL(frame_free_count(), 0);
    CU_ASSERT_PTR_NULL(hyp_alloc(PAGE_SIZE));
    CU_ASSERT_EQUAL(refill(chain), free_before);
    CU_ASSERT_EQUAL(frame_free_count(), free_before);
    CU_ASSERT_EQUAL(largest_order(), largest);
}

static void test_frame_alloc_hyp__every_second_frame(void)
{
    unsigned largest = largest_order();
    struct frame *chain = drain(0);
    /* Free the odd frames only: nothing can merge. */
    struct frame *even = NULL;
    while (chain) {
        struct frame *f = chain;
        chain = frame_link(f)->next == INVALID_LINK ? NULL : mfn_to_frame(frame_link(f)->next);
        if (frame_to_mfn(f) & 1) {
            frame_free_hyp(f, 0);
        } else {
            frame_link(f)->next = even ? (uint32_t)frame_to_mfn(even) : INVALID_LINK;
            even = f;
        }
    }
    CU_ASSERT_EQUAL(largest_order(), 0);
    refill(even);
    CU_ASSERT_EQUAL(largest_order(), largest);
}

static void test_frame_alloc_hyp__address_limit(void)
{
    /* Unlimited requests are served from the top. */
    struct frame *f = frame_alloc_hyp(0, 0);
    CU_ASSERT(frame_to_mfn(f) >= HOST_FRAMES / 2);
    frame_free_hyp(f, 0);
    for (unsigned bits = 17; bits <= 25; bits++) {
        struct frame *chain = drain(bits);
        CU_ASSERT_PTR_NOT_NULL(chain);
        for (f = chain; f;
             f = frame_link(f)->next == INVALID_LINK ? NULL : mfn_to_frame(frame_link(f)->next)) {
            CU_ASSERT(frame_to_mfn(f) >> (bits - PAGE_SHIFT) == 0);
        }
        CU_ASSERT_EQUAL(frame_free_count() == 0, bits == 25);
        refill(chain);
    }
    CU_ASSERT_PTR_NULL(frame_alloc_hyp(0, 12));
    CU_ASSERT_PTR_NULL(frame_alloc_hyp(0, 1));
    CU_ASSERT_PTR_NULL(frame_alloc_hyp(5, 16));
    f = frame_alloc_hyp(0, 64);
    CU_ASSERT_PTR_NOT_NULL_FATAL(f);
    frame_free_hyp(f, 0);
}

static void test_frame_free_hyp__wrong(void)
{
    struct frame *f = frame_alloc_hyp(1, 0);
    CU_ASSERT(HOST_ENDS_IN(HOST_PANIC, frame_free_hyp(f + 1, 1)));
    f->count = 1;
    CU_ASSERT(HOST_ENDS_IN(HOST_PANIC, frame_free_hyp(f, 1)));
    f->count = 0;
    f[1].type = TYPE_L1 | 1;
    CU_ASSERT(HOST_ENDS_IN(HOST_PANIC, frame_free_hyp(f, 1)));
    f[1].type = TYPE_NONE;
    frame_free_hyp(f, 1);
}

static void test_hyp_alloc__sizes(void)
{
    static const struct {
        size_t bytes, frames;
    } sizes[] = {{1, 1},
                 {PAGE_SIZE, 1},
                 {PAGE_SIZE + 1, 2},
                 {2 * PAGE_SIZE, 2},
                 {3 * PAGE_SIZE, 4},
                 {4 * PAGE_SIZE + 8, 8}};
    for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
        uint64_t free_before = frame_free_count();
        char *object = hyp_alloc(sizes[i].bytes);
        CU_ASSERT_PTR_NOT_NULL_FATAL(object);
        CU_ASSERT_EQUAL((uintptr_t)object % PAGE_SIZE, 0);
        CU_ASSERT_EQUAL(object[0] | object[sizes[i].bytes - 1], 0);
        CU_ASSERT_EQUAL(frame_free_count(), free_before - sizes[i].frames);
        object[sizes[i].bytes - 1] = 1;
        hyp_free(object);
        CU_ASSERT_EQUAL(frame_free_count(), free_before);
    }
    CU_ASSERT_PTR_NULL(hyp_alloc(SIZE_MAX));
}

/* Memory that comes late (boot modules), next to blocks that are free. */
static void test_frame_alloc_add__merges(void)
{
    struct frame *f = frame_alloc_hyp(4, 0);
    mfn_t mfn = frame_to_mfn(f);
    uint64_t total = frame_total_count();
    uint64_t free_before = frame_free_count();
    frame_alloc_add(mfn, mfn + 3);
    frame_alloc_add(mfn + 3, mfn + 16);
    CU_ASSERT_EQUAL(frame_free_count(), free_before + 16);
    CU_ASSERT_EQUAL(frame_total_count(), total + 16);
    frame_alloc_add(mfn, mfn);
    CU_ASSERT_EQUAL(frame_total_count(), total + 16);
    CU_ASSERT_FALSE(f[1].pt_flags & FRAME_IS_FREE);
}

static void test_frame_alloc__flush_before_reuse(void)
{
    host.tlb_clock = 1000;
    struct frame *a = frame_alloc_hyp(0, 0);
    struct frame *b = frame_alloc_hyp(0, 0);
    frame_free_hyp(a, 0);
    frame_free_hyp(b, 0);
    host.flush_count = 0;
    a = frame_alloc_hyp(0, 0);
    /* One flush serves all that was freed before it. */
    CU_ASSERT_EQUAL_FATAL(host.flush_count, 1);
    CU_ASSERT_EQUAL(host.flush[0].flags, FLUSH_TLB);
    CU_ASSERT(cpumask_test(&host.flush[0].mask, 0));
    CU_ASSERT(cpumask_test(&host.flush[0].mask, 1));
    CU_ASSERT_FALSE(cpumask_test(&host.flush[0].mask, 2));
    b = frame_alloc_hyp(0, 0);
    CU_ASSERT_EQUAL(host.flush_count, 1);
    frame_free_hyp(a, 0);
    host.tlb_clock++;
    /* All CPUs have flushed since. */
    a = frame_alloc_hyp(0, 0);
    CU_ASSERT_EQUAL(host.flush_count, 1);
    frame_free_hyp(a, 0);
    frame_free_hyp(b, 0);
}

#define STRESS_BLOCKS 64
static void test_frame_alloc_hyp__random(void)
{
    static uint8_t used[HOST_FRAMES];
    struct {
        struct frame *f;
        unsigned order;
    } block[STRESS_BLOCKS] = {{NULL, 0}};
    unsigned largest = largest_order();
    unsigned overlaps = 0;
    memset(used, 0, sizeof(used));
    srand(20221);
    for (unsigned i = 0; i < 20000; i++) {
        unsigned slot = (unsigned)rand() % STRESS_BLOCKS;
        if (block[slot].f) {
            memset(&used[frame_to_mfn(block[slot].f)], 0, 1UL << block[slot].order);
            frame_free_hyp(block[slot].f, block[slot].order);
            block[slot].f = NULL;
            continue;
        }
        unsigned order = (unsigned)rand() % 8;
        struct frame *f = frame_alloc_hyp(order, 0);
        if (f) {
            mfn_t mfn = frame_to_mfn(f);
            for (mfn_t k = mfn; k < mfn + (1UL << order); k++) {
                overlaps += used[k]++;
            }
            block[slot].f = f;
            block[slot].order = order;
        }
    }
    CU_ASSERT_EQUAL(overlaps, 0);
    for (unsigned slot = 0; slot < STRESS_BLOCKS; slot++) {
        if (block[slot].f) {
            frame_free_hyp(block[slot].f, block[slot].order);
        }
    }
    CU_ASSERT_EQUAL(largest_order(), largest);
}

/* ---- domains ---- */

static uint64_t list_length(const struct domain *d)
{
    uint64_t count = 0;
    uint32_t before = INVALID_LINK;
    for (uint32_t nr = d->page_list; nr != INVALID_LINK; nr = frame_links[nr].next) {
        CU_ASSERT_EQUAL(frame_links[nr].prev, before);
        CU_ASSERT_PTR_EQUAL(frame_owner(mfn_to_frame(nr)), d);
        before = nr;
        count++;
    }
    return count;
}

static void test_frame_alloc_domain__books(void)
{
    struct domain *d = suite_domain(1, 1);
    uint64_t pages = d->page_count;
    struct frame *f = frame_alloc_domain(d, 3, 0);
    CU_ASSERT_PTR_NOT_NULL_FATAL(f);
    CU_ASSERT_EQUAL(d->page_count, pages + 8);
    CU_ASSERT_EQUAL(list_length(d), d->page_count);
    CU_ASSERT(is_clear(f, 3));
    for (unsigned i = 0; i < 8; i++) {
        CU_ASSERT_EQUAL(f[i].count, FRAME_ALLOCATED | 1);
        CU_ASSERT_EQUAL(f[i].type, TYPE_NONE);
    }
    /* Out of the middle, the end and the beginning of the list. */
    static const unsigned order_of_death[] = {3, 7, 0, 4, 1, 6, 2, 5};
    for (unsigned i = 0; i < 8; i++) {
        CU_ASSERT(frame_drop_allocation(&f[order_of_death[i]]));
        CU_ASSERT_EQUAL(list_length(d), pages + 7 - i);
    }
    CU_ASSERT_EQUAL(d->page_count, pages);
    suite_destroy(d);
}

static void test_frame_alloc_domain__quota(void)
{
    struct domain *d = suite_domain(1, 1);
    uint64_t free_before = frame_free_count();
    d->max_pages = d->page_count + 5;
    CU_ASSERT_PTR_NULL(frame_alloc_domain(d, 3, 0));
    CU_ASSERT_PTR_NULL(frame_alloc_domain(d, FRAME_ORDER_MAX + 1, 0));
    CU_ASSERT_PTR_NOT_NULL(frame_alloc_domain(d, 2, 0));
    CU_ASSERT_PTR_NULL(frame_alloc_domain(d, 1, 0));
    CU_ASSERT_PTR_NOT_NULL(frame_alloc_domain(d, 0, 0));
    CU_ASSERT_PTR_NULL(frame_alloc_domain(d, 0, 0));
    d->max_pages = 1; /* below what it has */
    CU_ASSERT_PTR_NULL(frame_alloc_domain(d, 0, 0));
    CU_ASSERT_EQUAL(frame_free_count(), free_before - 5);
    d->max_pages = HOST_FRAMES;
    d->state = DOM_DYING;
    CU_ASSERT_PTR_NULL(frame_alloc_domain(d, 0, 0));
    d->state = DOM_ALIVE;
    CU_ASSERT_EQUAL(frame_free_count(), free_before - 5);
    suite_destroy(d);
}

static void test_frame_alloc_domain__heap_empty(void)
{
    struct domain *d = suite_domain(1, 1);
    struct frame *chain = drain(0);
    CU_ASSERT_PTR_NULL(frame_alloc_domain(d, 0, 0));
    refill(chain);
    CU_ASSERT_EQUAL(list_length(d), d->page_count);
    suite_destroy(d);
}

static void test_frame_alloc_control__as_it_was(void)
{
    struct domain *control = suite_control();
    struct domain *d = suite_domain(1, 1);
    uint64_t pages = control->page_count;
    struct frame *before = frame_alloc_hyp(3, 0);
    memset(frame_to_virt(before), 0xc3, PAGE_SIZE << 3);
    frame_free_hyp(before, 3);
    struct frame *f = frame_alloc_control(control, 3);
    CU_ASSERT_PTR_EQUAL_FATAL(f, before);
    const uint8_t *byte = frame_to_virt(f);
    CU_ASSERT(byte[0] == 0xc3 && byte[(PAGE_SIZE << 3) - 1] == 0xc3);
    arch_page_clear(frame_to_virt(f));
    CU_ASSERT(is_clear(f, 0));
    CU_ASSERT_EQUAL(byte[PAGE_SIZE], 0xc3);
    CU_ASSERT_EQUAL(control->page_count, pages + 8);
    CU_ASSERT_EQUAL(f->count, FRAME_ALLOCATED | 1);
    CU_ASSERT(HOST_ENDS_IN(HOST_PANIC, (void)frame_alloc_control(d, 0)));
    suite_destroy(d);
    suite_destroy(control);
}

static void test_frame_steal__only_unused(void)
{
    struct domain *d = suite_domain(1, 1);
    struct domain *other = suite_domain(2, 1);
    struct frame *f = frame_alloc_domain(d, 0, 0);
    uint64_t pages = d->page_count;
    CU_ASSERT_FALSE(frame_steal(other, f));
    CU_ASSERT(frame_get(f, d));
    CU_ASSERT_FALSE(frame_steal(d, f));
    frame_put(f);
    CU_ASSERT_EQUAL(d->page_count, pages);
    CU_ASSERT(frame_steal(d, f));
    CU_ASSERT_EQUAL(d->page_count, pages - 1);
    CU_ASSERT_EQUAL(list_length(d), pages - 1);
    CU_ASSERT_EQUAL(f->count, 0);
    CU_ASSERT_PTR_NULL(frame_owner(f));
    CU_ASSERT_FALSE(frame_steal(d, f));
    CU_ASSERT_FALSE(frame_get(f, d));

    /* To another domain: its old owner's translations must be gone first. */
    host.flush_count = 0;
    CU_ASSERT_EQUAL(frame_assign(other, f, 0), 0);
    CU_ASSERT_EQUAL(host.flush_count, 1);
    CU_ASSERT_PTR_EQUAL(frame_owner(f), other);
    CU_ASSERT_EQUAL(f->count, FRAME_ALLOCATED | 1);
    suite_destroy(other);
    suite_destroy(d);
}

static void test_frame_assign__refused(void)
{
    struct domain *d = suite_domain(1, 1);
    struct frame *f = frame_alloc_hyp(1, 0);
    d->max_pages = d->page_count + 1;
    CU_ASSERT_EQUAL(frame_assign(d, f, 1), -ENOMEM);
    d->max_pages = HOST_FRAMES;
    d->state = DOM_DYING;
    CU_ASSERT_EQUAL(frame_assign(d, f, 1), -ENOMEM);
    d->state = DOM_ALIVE;
    CU_ASSERT_PTR_NULL(frame_owner(f));
    f[1].count = 1;
    volatile int rc = 0;
    CU_ASSERT(HOST_ENDS_IN(HOST_PANIC, rc = frame_assign(d, f, 1)));
    CU_ASSERT_EQUAL(rc, 0);
    f[1].count = 0;
    CU_ASSERT_EQUAL(frame_assign(d, f, 1), 0);
    suite_destroy(d);
}

static void test_frame_clear_idle__dirty_memory(void)
{
    unsigned largest = largest_order();
    uint64_t free_before = frame_free_count();
    struct frame *chain = drain(0);
    for (struct frame *f = chain; f;
         f = frame_link(f)->next == INVALID_LINK ? NULL : mfn_to_frame(frame_link(f)->next)) {
        memset(frame_to_virt(f), 0xa5, PAGE_SIZE);
    }
    refill(chain);
    /* Some of it, then all. */
    CU_ASSERT(frame_clear_idle());
    CU_ASSERT_EQUAL(frame_free_count(), free_before);
    struct frame *f = frame_alloc_hyp(9, 0), *g = frame_alloc_hyp(0, 0);
    CU_ASSERT_FATAL(f && g);
    CU_ASSERT(is_clear(f, 9) && is_clear(g, 0));
    while (frame_clear_idle()) {
    }
    /* What comes back is dirty, whatever is beside it; it merges when it is clean again. */
    memset(frame_to_virt(f), 0x5a, PAGE_SIZE << 9);
    memset(frame_to_virt(g), 0x5a, PAGE_SIZE);
    frame_free_hyp(f, 9);
    frame_free_hyp(g, 0);
    CU_ASSERT_EQUAL(frame_free_count(), free_before);
    while (frame_clear_idle()) {
    }
    CU_ASSERT_EQUAL(largest_order(), largest);
    CU_ASSERT(frame_clear_idle()); /* that has been given out meanwhile */
    chain = drain(0);
    for (f = chain; f;
         f = frame_link(f)->next == INVALID_LINK ? NULL : mfn_to_frame(frame_link(f)->next)) {
        CU_ASSERT(is_clear(f, 0));
    }
    CU_ASSERT_EQUAL(refill(chain), free_before);
    CU_ASSERT_EQUAL(frame_free_count(), free_before);
}

/* What has not been cleared comes out clear all the same, from low addresses too. */
static void test_frame_clear_idle__mixed(void)
{
    uint64_t free_before = frame_free_count();
    for (unsigned round = 0; round < 40; round++) {
        CU_ASSERT(frame_clear_idle());
        struct frame *f = frame_alloc_hyp(round % 8, round % 2 ? 0 : 24);
        CU_ASSERT_PTR_NOT_NULL_FATAL(f);
        CU_ASSERT(is_clear(f, round % 8));
        memset(frame_to_virt(f), 0xa5, PAGE_SIZE << round % 8);
        frame_free_hyp(f, round % 8);
    }
    CU_ASSERT_EQUAL(refill(drain(0)), free_before);
}

/* What nobody seems to want is not touched. */
static void test_frame_clear_idle__enough(void)
{
    uint64_t most = frame_clean_most, free_before = frame_free_count();
    struct frame *chain = drain(0);
    for (struct frame *f = chain; f;
         f = frame_link(f)->next == INVALID_LINK ? NULL : mfn_to_frame(frame_link(f)->next)) {
        memset(frame_to_virt(f), 0xa5, PAGE_SIZE);
    }
    refill(chain);
    frame_clean_most = 100;
    while (frame_clear_idle()) {
    }
    uint64_t clear = 0;
    for (mfn_t mfn = 1; mfn < arch_facts.max_mfn; mfn++) {
        clear += !frame_owner(mfn_to_frame(mfn)) && is_clear(mfn_to_frame(mfn), 0);
    }
    CU_ASSERT(clear >= 100 && clear < 100 + 64 + free_before / 4);
    frame_clean_most = most;
    CU_ASSERT_EQUAL(refill(drain(0)), free_before);
}

static uint64_t free_while_clearing;

static void note_free(void)
{
    free_while_clearing = frame_free_count();
}

/* Those whose TLBs may know a block flush before it is cleared, and it counts as free all the time.
 */
static void test_frame_clear_idle__flush_before(void)
{
    host.tlb_clock = 1000;
    struct frame *chain = drain(0);
    host.tlb_clock = 2000;
    refill(chain);
    host.flush_count = 0;
    host.on_flush = note_free;
    CU_ASSERT(frame_clear_idle());
    CU_ASSERT_EQUAL(host.flush_count, 1);
    CU_ASSERT_EQUAL(free_while_clearing, frame_free_count());
}

static void test_frame_free_behind__stops_at_a_reference(void)
{
    struct domain *d = suite_domain(1, 1);
    uint64_t had = d->page_count, free_before = frame_free_count();
    struct frame *f = frame_alloc_hyp(4, 0);
    CU_ASSERT_EQUAL(frame_assign(d, f, 4), 0);
    CU_ASSERT(frame_get(&f[5], d));
    CU_ASSERT(frame_get(&f[0], d));
    m2p_set(frame_to_mfn(&f[3]), 77);
    m2p_set(frame_to_mfn(&f[5]), 78);
    frame_free_behind(d, &f[0]);
    CU_ASSERT_EQUAL(d->page_count, had + 12);
    CU_ASSERT_EQUAL(frame_free_count(), free_before - 12);
    CU_ASSERT_EQUAL(arch_m2p()[frame_to_mfn(&f[3])], INVALID_M2P);
    CU_ASSERT_EQUAL(arch_m2p()[frame_to_mfn(&f[5])], 78);
    CU_ASSERT_PTR_NULL(frame_owner(&f[1]));
    CU_ASSERT_FALSE(frame_get(&f[4], d));
    CU_ASSERT_EQUAL(frame_link(&f[0])->next, frame_to_mfn(&f[5]));
    CU_ASSERT_EQUAL(frame_link(&f[5])->prev, frame_to_mfn(&f[0]));
    /* What does not follow in memory stays. */
    frame_free_behind(d, &f[0]);
    CU_ASSERT_EQUAL(d->page_count, had + 12);
    frame_free_behind(d, &f[5]);
    CU_ASSERT_EQUAL(d->page_count, had + 2);
    CU_ASSERT(frame_drop_allocation(&f[5]));
    frame_put(&f[5]);
    CU_ASSERT(frame_drop_allocation(&f[0]));
    frame_put(&f[0]);
    CU_ASSERT_EQUAL(d->page_count, had);
    CU_ASSERT_EQUAL(frame_free_count(), free_before);
    /* It has become whole again. */
    struct frame *again = frame_alloc_hyp(4, 0);
    CU_ASSERT_PTR_EQUAL(again, f);
    frame_free_hyp(again, 4);
    suite_destroy(d);
}

static void test_frame_list_next__types(void)
{
    struct domain *d = suite_domain(1, 1);
    struct frame *f = frame_alloc_hyp(10, 0);
    CU_ASSERT_EQUAL(frame_assign(d, f, 10), 0);
    f[3].type = f[1000].type = TYPE_PINNED;
    struct frame *found = frame_list_next(d, NULL, TYPE_PINNED | TYPE_PARTIAL);
    CU_ASSERT_PTR_EQUAL(found, &f[3]);
    /* Not all are left out: a walk stops for breath. */
    struct frame *next = frame_list_next(d, found, TYPE_PINNED);
    CU_ASSERT(next > found && next < &f[1000]);
    frame_put(found);
    for (found = next; found != &f[1000]; found = next) {
        next = frame_list_next(d, found, TYPE_PINNED);
        frame_put(found);
        CU_ASSERT_PTR_NOT_NULL_FATAL(next);
    }
    frame_put(found);
    f[3].type = f[1000].type = TYPE_NONE;
    suite_destroy(d);
}

int main(void)
{
    static const struct suite_case cases[] = {
        CASE(test_frame_alloc_hyp__orders),
        CASE(test_frame_alloc_hyp__splits_and_merges),
        CASE(test_frame_alloc_hyp__every_second_frame),
        CASE(test_frame_alloc_hyp__address_limit),
        CASE(test_frame_free_hyp__wrong),
        CASE(test_hyp_alloc__sizes),
        CASE(test_frame_alloc_add__merges),
        CASE(test_frame_alloc__flush_before_reuse),
        CASE(test_frame_alloc_hyp__random),
        CASE(test_frame_alloc_domain__books),
        CASE(test_frame_alloc_domain__quota),
        CASE(test_frame_alloc_domain__heap_empty),
        CASE(test_frame_alloc_control__as_it_was),
        CASE(test_frame_steal__only_unused),
        CASE(test_frame_assign__refused),
        CASE(test_frame_free_behind__stops_at_a_reference),
        CASE(test_frame_clear_idle__dirty_memory),
        CASE(test_frame_clear_idle__mixed),
        CASE(test_frame_clear_idle__enough),
        CASE(test_frame_clear_idle__flush_before),
        CASE(test_frame_list_next__types),
    };
    return SUITE("frame_alloc", 2, cases);
}
