// SPDX-License-Identifier: MIT
/*
 * Frame references: general and writable counts, what refuses a reference, flushes that go with a
 * change of use, frames lent by the hypervisor, and frames that outlive their domain. One case
 * lets several threads fight over one frame.
 */
/* The C library and the hypervisor both have a sched_yield(). */
#define sched_yield libc_sched_yield
#include <pthread.h>
#undef sched_yield
#include <poll.h>

#include "core/frame.h"
#include "suite.h"

static struct domain *d;
static struct frame *f;

static void begin(void)
{
    d = suite_domain(1, 1);
    f = frame_alloc_domain(d, 0, 0);
    CU_ASSERT_PTR_NOT_NULL_FATAL(f);
    host.flush_count = 0;
}

static void end(void)
{
    suite_destroy(d);
}

static uint64_t type_count(const struct frame *frame)
{
    return frame->type & TYPE_COUNT_MASK;
}

/* ---- general references ---- */

static void test_frame_get__owner_only(void)
{
    begin();
    struct domain *other = suite_domain(2, 1);
    CU_ASSERT_EQUAL(f->count, FRAME_ALLOCATED | 1);
    CU_ASSERT(frame_get(f, d));
    CU_ASSERT_EQUAL(f->count, FRAME_ALLOCATED | 2);
    CU_ASSERT_FALSE(frame_get(f, other));
    CU_ASSERT_EQUAL(frame_ref_count(f), 2);
    frame_get_held(f);
    CU_ASSERT_EQUAL(frame_ref_count(f), 3);
    frame_put(f);
    frame_put(f);
    CU_ASSERT_EQUAL(frame_ref_count(f), 1);
    suite_destroy(other);
    end();
}

static void test_frame_get__count_full(void)
{
    begin();
    f->count = FRAME_ALLOCATED | FRAME_COUNT_MASK;
    CU_ASSERT_FALSE(frame_get(f, d));
    CU_ASSERT(HOST_ENDS_IN(HOST_PANIC, frame_get_held(f)));
    /* Long before that guests get no more, and we do. */
    f->count = FRAME_ALLOCATED | FRAME_COUNT_MANY;
    CU_ASSERT_TRUE(frame_get(f, d));
    CU_ASSERT_FALSE(frame_get(f, d));
    frame_get_held(f);
    CU_ASSERT_EQUAL(frame_ref_count(f), FRAME_COUNT_MANY + 2);
    f->count = FRAME_ALLOCATED | 1;
    end();
}

static void test_frame_get_from_mfn__numbers(void)
{
    begin();
    CU_ASSERT_PTR_EQUAL(frame_get_from_mfn(frame_to_mfn(f), d), f);
    frame_put(f);
    CU_ASSERT_PTR_NULL(frame_get_from_mfn(HOST_FRAMES, d));
    CU_ASSERT_PTR_NULL(frame_get_from_mfn(INVALID_MFN, d));
    CU_ASSERT_PTR_NULL(frame_get_from_mfn(1UL << 40, d));
    CU_ASSERT_PTR_NULL(frame_get_from_mfn(0, d));
    struct frame *hyp = frame_alloc_hyp(0, 0);
    CU_ASSERT_PTR_NULL(frame_get_from_mfn(frame_to_mfn(hyp), d));
    CU_ASSERT_EQUAL(hyp->count, 0);
    frame_free_hyp(hyp, 0);
    CU_ASSERT_PTR_NULL(frame_get_from_mfn(frame_to_mfn(hyp), d));
    end();
}

static void test_frame_put__without_reference(void)
{
    begin();
    struct frame *hyp = frame_alloc_hyp(0, 0);
    CU_ASSERT(HOST_ENDS_IN(HOST_PANIC, frame_put(hyp)));
    hyp->count = 0;
    frame_free_hyp(hyp, 0);
    end();
}

static void test_frame_drop_allocation__once(void)
{
    begin();
    uint64_t pages = d->page_count;
    uint64_t free_before = frame_free_count();
    mfn_t mfn = frame_to_mfn(f);
    m2p_set(mfn, 77);
    CU_ASSERT(frame_get(f, d));
    CU_ASSERT(frame_drop_allocation(f));
    CU_ASSERT_FALSE(frame_drop_allocation(f));
    CU_ASSERT_EQUAL(f->count, 1);
    CU_ASSERT_EQUAL(d->page_count, pages);
    frame_put(f);
    CU_ASSERT_EQUAL(d->page_count, pages - 1);
    CU_ASSERT_EQUAL(frame_free_count(), free_before + 1);
    CU_ASSERT_PTR_NULL(frame_owner(f));
    CU_ASSERT_EQUAL(m2p_get(mfn), INVALID_M2P);
    end();
}

/* A reference keeps a frame, and the frame its dead owner. */
static void test_frame_put__after_death_of_owner(void)
{
    begin();
    CU_ASSERT(frame_get(f, d));
    uint32_t *byte = frame_to_virt(f);
    *byte = 0x5eed;
    suite_destroy(d);
    CU_ASSERT_PTR_EQUAL(frame_owner(f), d);
    CU_ASSERT_EQUAL(*byte, 0x5eed);
    CU_ASSERT_EQUAL(f->count, 1);
    CU_ASSERT_EQUAL(d->page_count, 1);
    struct domain *found = domain_get(1);
    CU_ASSERT_PTR_NULL(found);
    frame_put(f); /* frees the domain as well: the case's balance tells */
}

/* ---- writable references ---- */

static void test_frame_get_writable__counts(void)
{
    begin();
    CU_ASSERT_EQUAL(frame_get_writable(f), 0);
    CU_ASSERT_EQUAL(f->type, TYPE_WRITABLE | 1);
    CU_ASSERT_EQUAL(frame_get_writable(f), 0);
    CU_ASSERT_EQUAL(type_count(f), 2);
    host.tlb_clock = 40;
    frame_put_writable(f);
    CU_ASSERT_NOT_EQUAL(frame_link(f)->tlb_stamp, 40);
    frame_put_writable(f);
    CU_ASSERT_EQUAL(f->type, TYPE_WRITABLE);
    CU_ASSERT_EQUAL(frame_link(f)->tlb_stamp, 40);
    CU_ASSERT_EQUAL(frame_get_writable(f), 0);
    CU_ASSERT_EQUAL(host.flush_count, 0);
    frame_put_writable(f);
    end();
}

static void test_frame_get_writable__other_use(void)
{
    static const uint64_t types[] = {TYPE_L1, TYPE_L2, TYPE_L3, TYPE_L4, TYPE_SEGDESC};
    begin();
    for (unsigned i = 0; i < ARRAY_SIZE(types); i++) {
        f->type = types[i] | TYPE_VALIDATED | 1;
        CU_ASSERT_EQUAL(frame_get_writable(f), -EBUSY);
        CU_ASSERT_EQUAL(f->type, types[i] | TYPE_VALIDATED | 1);
        CU_ASSERT_PTR_NULL(frame_get_writable_mfn(frame_to_mfn(f), d));
        CU_ASSERT_EQUAL(frame_ref_count(f), 1);
    }
    f->type = TYPE_WRITABLE | TYPE_COUNT_MASK;
    CU_ASSERT_EQUAL(frame_get_writable(f), -EBUSY);
    f->type = TYPE_NONE;
    end();
}

static void test_frame_get_writable__flushes_old_table(void)
{
    begin();
    cpumask_set(&d->dirty_cpus, 0);
    f->type = TYPE_L1;
    frame_link(f)->tlb_stamp = host.tlb_clock;
    CU_ASSERT_EQUAL(frame_get_writable(f), 0);
    CU_ASSERT_EQUAL(f->type, TYPE_WRITABLE | 1);
    CU_ASSERT_EQUAL_FATAL(host.flush_count, 1);
    CU_ASSERT(cpumask_test(&host.flush[0].mask, 0));
    CU_ASSERT_EQUAL(host.flush[0].flags, FLUSH_TLB);
    frame_put_writable(f);

    /* Everybody has flushed since it was a table, or nobody ran the owner: nothing to do. */
    f->type = TYPE_L2;
    frame_link(f)->tlb_stamp = host.tlb_clock++;
    CU_ASSERT_EQUAL(frame_get_writable(f), 0);
    frame_put_writable(f);
    f->type = TYPE_SEGDESC;
    frame_link(f)->tlb_stamp = host.tlb_clock;
    cpumask_clear(&d->dirty_cpus, 0);
    CU_ASSERT_EQUAL(frame_get_writable(f), 0);
    frame_put_writable(f);
    CU_ASSERT_EQUAL(host.flush_count, 1);
    end();
}

static void finish_flush(void)
{
    f->type = TYPE_WRITABLE | 1;
}

static void finish_leaving(void)
{
    f->type = TYPE_WRITABLE;
}

/* Another CPU is between stamp and count, or flushing: whoever comes waits for it. */
static void test_frame_get_writable__waits_for_lock(void)
{
    begin();
    f->type = TYPE_WRITABLE | TYPE_LOCKED | 1;
    host.on_relax = finish_flush;
    CU_ASSERT_EQUAL(frame_get_writable(f), 0);
    CU_ASSERT_EQUAL(f->type, TYPE_WRITABLE | 2);
    f->type = TYPE_WRITABLE | TYPE_LOCKED | 1;
    host.on_relax = finish_leaving;
    CU_ASSERT_EQUAL(frame_get_writable(f), 0);
    CU_ASSERT_EQUAL(f->type, TYPE_WRITABLE | 1);
    CU_ASSERT_EQUAL(host.relaxes, 2);
    host.on_relax = NULL;
    frame_put_writable(f);
    end();
}

static void test_frame_get_writable_mfn__both_references(void)
{
    begin();
    struct domain *other = suite_domain(2, 1);
    CU_ASSERT_PTR_EQUAL(frame_get_writable_mfn(frame_to_mfn(f), d), f);
    CU_ASSERT_EQUAL(frame_ref_count(f), 2);
    CU_ASSERT_EQUAL(type_count(f), 1);
    CU_ASSERT_PTR_NULL(frame_get_writable_mfn(frame_to_mfn(f), other));
    CU_ASSERT_PTR_NULL(frame_get_writable_mfn(INVALID_MFN, d));
    frame_put_writable_and_ref(f);
    CU_ASSERT_EQUAL(frame_ref_count(f), 1);
    CU_ASSERT_EQUAL(type_count(f), 0);
    suite_destroy(other);
    end();
}

static void test_frame_put_writable__without_reference(void)
{
    begin();
    CU_ASSERT(HOST_ENDS_IN(HOST_PANIC, frame_put_writable(f)));
    f->type = TYPE_L1 | 1;
    CU_ASSERT(HOST_ENDS_IN(HOST_PANIC, frame_put_writable(f)));
    f->type = TYPE_NONE;
    end();
}

/* ---- frames of the hypervisor ---- */

static void test_frame_share__writable(void)
{
    begin();
    uint64_t pages = d->page_count;
    struct frame *hyp = frame_alloc_hyp(0, 0);
    frame_share(hyp, d);
    CU_ASSERT_EQUAL(d->page_count, pages);
    CU_ASSERT_PTR_EQUAL(frame_get_writable_mfn(frame_to_mfn(hyp), d), hyp);
    CU_ASSERT_FALSE(frame_drop_allocation(hyp));
    uint64_t free_before = frame_free_count();
    frame_unshare(hyp);
    /* Still mapped: it stays, but is out of reach. */
    CU_ASSERT_EQUAL(frame_free_count(), free_before);
    CU_ASSERT_FALSE(frame_get(hyp, d));
    frame_put_writable_and_ref(hyp);
    CU_ASSERT_EQUAL(frame_free_count(), free_before + 1);
    CU_ASSERT_EQUAL(hyp->count, 0);
    end();
}

static void test_frame_share__keeps_its_use(void)
{
    begin();
    struct frame *hyp = frame_alloc_hyp(0, 0);
    frame_share(hyp, d);
    CU_ASSERT(frame_get(hyp, d));
    CU_ASSERT_EQUAL(frame_get_writable(hyp), 0);
    frame_put_writable_and_ref(hyp);
    CU_ASSERT_EQUAL(hyp->type, TYPE_WRITABLE | 1);
    frame_unshare(hyp);
    CU_ASSERT_EQUAL(hyp->count, 0);
    CU_ASSERT_EQUAL(hyp->type, TYPE_NONE);
    CU_ASSERT(HOST_ENDS_IN(HOST_PANIC, frame_unshare(hyp)));
    CU_ASSERT(HOST_ENDS_IN(HOST_PANIC, frame_share(f, d)));
    end();
}

/* ---- several CPUs ---- */

#define STRESS_CPUS 4
#define STRESS_ROUNDS 20000

static void let_others_run(void)
{
    (void)poll(NULL, 0, 1);
}

static void *stress(void *cpu)
{
    host_play((unsigned)(uintptr_t)cpu);
    uint64_t failed = 0;
    for (unsigned i = 0; i < STRESS_ROUNDS; i++) {
        struct frame *got = frame_get_writable_mfn(frame_to_mfn(f), d);
        if (got) {
            frame_put_writable_and_ref(got);
        } else {
            failed++;
        }
    }
    return (void *)failed;
}

static void test_frame__many_cpus(void)
{
    begin();
    host.on_relax = let_others_run;
    pthread_t thread[STRESS_CPUS];
    for (unsigned i = 0; i < STRESS_CPUS; i++) {
        CU_ASSERT_EQUAL_FATAL(pthread_create(&thread[i], NULL, stress, (void *)(uintptr_t)i), 0);
    }
    for (unsigned i = 0; i < STRESS_CPUS; i++) {
        void *failed;
        pthread_join(thread[i], &failed);
        CU_ASSERT_PTR_NULL(failed);
    }
    host.on_relax = NULL;
    CU_ASSERT_EQUAL(f->count, FRAME_ALLOCATED | 1);
    CU_ASSERT_EQUAL(f->type, TYPE_WRITABLE);
    end();
}

int main(void)
{
    static const struct suite_case cases[] = {
        CASE(test_frame_get__owner_only),
        CASE(test_frame_get__count_full),
        CASE(test_frame_get_from_mfn__numbers),
        CASE(test_frame_put__without_reference),
        CASE(test_frame_drop_allocation__once),
        CASE(test_frame_put__after_death_of_owner),
        CASE(test_frame_get_writable__counts),
        CASE(test_frame_get_writable__other_use),
        CASE(test_frame_get_writable__flushes_old_table),
        CASE(test_frame_get_writable__waits_for_lock),
        CASE(test_frame_get_writable_mfn__both_references),
        CASE(test_frame_put_writable__without_reference),
        CASE(test_frame_share__writable),
        CASE(test_frame_share__keeps_its_use),
        CASE(test_frame__many_cpus),
    };
    return SUITE("frame", STRESS_CPUS, cases);
}
