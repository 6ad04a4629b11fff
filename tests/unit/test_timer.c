// SPDX-License-Identifier: MIT
/* The per-pcpu timer queues: order, arming and disarming at any moment, other pcpus, the heap's
 * shape under random use. */
#include "suite.h"

#include "core/deferred.h"

#define TIMERS 300

static unsigned fired_count;
static int fired[4 * TIMERS];

static void note(void *arg)
{
    fired[fired_count++] = (int)(intptr_t)arg;
}

static void forget(void)
{
    fired_count = 0;
}

static void test_timer__fires_in_order_of_deadlines(void)
{
    struct timer t[3];
    forget();
    for (int i = 0; i < 3; i++) {
        timer_init(&t[i], note, (void *)(intptr_t)i, 0);
    }
    timer_set(&t[0], host.now + 300);
    timer_set(&t[1], host.now + 100);
    timer_set(&t[2], host.now + 200);
    CU_ASSERT_EQUAL(host.timer_deadline[0], host.now + 100);
    host_advance(99);
    timer_run();
    CU_ASSERT_EQUAL(fired_count, 0);
    host_advance(101);
    timer_run();
    CU_ASSERT_EQUAL(fired_count, 2);
    CU_ASSERT_EQUAL(fired[0], 1);
    CU_ASSERT_EQUAL(fired[1], 2);
    CU_ASSERT_EQUAL(host.timer_deadline[0], host.now + 100);
    host_advance(100);
    timer_run();
    CU_ASSERT_EQUAL(fired_count, 3);
    CU_ASSERT_EQUAL(host.timer_deadline[0], INT64_MAX);
    CU_ASSERT_FALSE(t[0].armed);
}

static void test_timer__interrupt_raises_deferred_work(void)
{
    struct timer t;
    forget();
    timer_init(&t, note, NULL, 0);
    timer_set(&t, host.now + 10);
    host_advance(10);
    CU_ASSERT_TRUE(deferred_pending());
    host_exit_path();
    CU_ASSERT_EQUAL(fired_count, 1);
}

static void test_timer_set__again_moves_the_deadline(void)
{
    struct timer t;
    forget();
    timer_init(&t, note, NULL, 0);
    timer_set(&t, host.now + 10);
    timer_set(&t, host.now + 500);
    host_advance(10);
    timer_run();
    CU_ASSERT_EQUAL(fired_count, 0);
    timer_set(&t, host.now + 20);
    host_advance(20);
    timer_run();
    timer_run();
    CU_ASSERT_EQUAL(fired_count, 1);
}

static void test_timer_set__past_deadline_fires_at_once(void)
{
    struct timer t;
    forget();
    timer_init(&t, note, NULL, 0);
    timer_set(&t, 1);
    timer_run();
    CU_ASSERT_EQUAL(fired_count, 1);
    timer_set(&t, -5);
    timer_run();
    CU_ASSERT_EQUAL(fired_count, 2);
}

static void test_timer_set__never(void)
{
    struct timer t;
    forget();
    timer_init(&t, note, NULL, 0);
    timer_set(&t, INT64_MAX);
    host_advance(1000 * NS_PER_SEC);
    timer_run();
    CU_ASSERT_EQUAL(fired_count, 0);
    timer_stop(&t);
}

static void test_timer_stop__before_twice_and_unarmed(void)
{
    struct timer t;
    forget();
    timer_init(&t, note, NULL, 0);
    timer_stop(&t);
    timer_set(&t, host.now + 10);
    timer_stop(&t);
    timer_stop(&t);
    host_advance(20);
    timer_run();
    CU_ASSERT_EQUAL(fired_count, 0);
}

static struct timer chain;
static void rearm(void *arg)
{
    note(arg);
    timer_set(&chain, host.now + 1);
}

static void test_timer_run__callback_rearms_for_later(void)
{
    forget();
    timer_init(&chain, rearm, NULL, 0);
    timer_set(&chain, host.now);
    timer_run();
    CU_ASSERT_EQUAL(fired_count, 1);
    CU_ASSERT_TRUE(chain.armed);
    host_advance(1);
    timer_run();
    CU_ASSERT_EQUAL(fired_count, 2);
    timer_stop(&chain);
}

static void stop_self(void *arg)
{
    note(arg);
    timer_stop(&chain);
}

static void test_timer_stop__from_its_own_callback(void)
{
    forget();
    timer_init(&chain, stop_self, NULL, 0);
    timer_set(&chain, host.now);
    timer_run();
    CU_ASSERT_EQUAL(fired_count, 1);
}

static void test_timer_set__other_pcpu_is_kicked(void)
{
    struct timer t;
    forget();
    timer_init(&t, note, NULL, 1);
    timer_set(&t, host.now + 50);
    CU_ASSERT_EQUAL(host.kicks[1], 1);
    host_play(1);
    CU_ASSERT_TRUE(deferred_pending());
    host_exit_path();
    CU_ASSERT_EQUAL(host.timer_deadline[1], host.now + 50);
    host_advance(50);
    host_exit_path();
    CU_ASSERT_EQUAL(fired_count, 1);
    host_play(0);
}

static void test_timer_migrate__keeps_the_deadline(void)
{
    struct timer t;
    forget();
    timer_init(&t, note, NULL, 0);
    timer_set(&t, host.now + 50);
    timer_migrate(&t, 1);
    CU_ASSERT_EQUAL(t.cpu, 1);
    host_advance(50);
    host_exit_path();
    CU_ASSERT_EQUAL(fired_count, 0);
    host_play(1);
    host_exit_path();
    CU_ASSERT_EQUAL(fired_count, 1);
    host_play(0);
    timer_migrate(&t, 0);
    CU_ASSERT_EQUAL(t.cpu, 0);
    CU_ASSERT_FALSE(t.armed);
}

static struct timer stopped_elsewhere;
static unsigned relaxed;

/* CPU 1 wants the timer gone while CPU 0 is in its callback: it must wait for the end of it. */
static void callback_on_cpu0(void *arg);
static void finish(void)
{
    relaxed++;
    if (relaxed > 3) {
        longjmp(host_end_jump, 9);
    }
}

static bool migrates;
static void migrate_here(struct timer *t)
{
    timer_migrate(t, 1);
}

static void callback_on_cpu0(void *arg)
{
    note(arg);
    host_play(1);
    host.on_relax = finish;
    if (setjmp(host_end_jump) == 0) {
        (migrates ? migrate_here : timer_stop)(&stopped_elsewhere);
        CU_FAIL("it returned while the callback was running");
    }
    host.on_relax = NULL;
    host_play(0);
}

static void wait_for_callback(bool by_migrating)
{
    forget();
    relaxed = 0;
    migrates = by_migrating;
    timer_init(&stopped_elsewhere, callback_on_cpu0, NULL, 0);
    timer_set(&stopped_elsewhere, host.now);
    timer_run();
    CU_ASSERT_EQUAL(fired_count, 1);
    CU_ASSERT_TRUE(relaxed > 3);
}

static void test_timer_stop__waits_for_a_running_callback(void)
{
    wait_for_callback(false);
}

/* Or timer_stop() would look for the callback on the wrong pcpu. */
static void test_timer_migrate__waits_for_a_running_callback(void)
{
    wait_for_callback(true);
}

/* Longest path along right children: logarithmic in a leftist heap. */
static unsigned right_spine(const struct heap_node *t)
{
    unsigned length = 0;
    for (; t; t = t->right) {
        length++;
    }
    return length;
}

static unsigned check_heap(const struct heap_node *t, const struct heap_node *parent)
{
    if (!t) {
        return 0;
    }
    CU_ASSERT_PTR_EQUAL(t->parent, parent);
    CU_ASSERT_TRUE(!parent || parent->key <= t->key);
    unsigned left = check_heap(t->left, t), right = check_heap(t->right, t);
    CU_ASSERT_TRUE(left >= right);
    CU_ASSERT_EQUAL(t->rank, right + 1);
    return t->rank;
}

static void test_timer__random_use_keeps_order_and_shape(void)
{
    static struct timer t[TIMERS];
    uint64_t seed = 0x1234567;
    forget();
    for (int i = 0; i < TIMERS; i++) {
        timer_init(&t[i], note, (void *)(intptr_t)i, 0);
        timer_set(&t[i], host.now + 1000000);
    }
    for (int round = 0; round < 20000; round++) {
        seed = seed * 6364136223846793005UL + 1442695040888963407UL;
        struct timer *one = &t[(seed >> 33) % TIMERS];
        if ((seed >> 20) % 3 == 0) {
            timer_stop(one);
        } else {
            timer_set(one, host.now + 1 + (ns_t)((seed >> 40) % 100000));
        }
        if (round % 500 == 0) {
            for (int i = 0; i < TIMERS; i++) {
                if (t[i].armed && !t[i].node.parent) {
                    check_heap(&t[i].node, NULL);
                    CU_ASSERT_TRUE(right_spine(&t[i].node) <= 9); /* log2(TIMERS + 1) */
                }
            }
        }
    }
    unsigned armed = 0;
    for (int i = 0; i < TIMERS; i++) {
        armed += t[i].armed;
    }
    CU_ASSERT_TRUE(armed > TIMERS / 2);
    host_advance(NS_PER_SEC);
    for (unsigned i = 0; i < TIMERS / 64 + 1; i++) {
        timer_run();
    }
    CU_ASSERT_EQUAL(fired_count, armed);
    for (unsigned i = 1; i < fired_count; i++) {
        CU_ASSERT_TRUE(t[fired[i - 1]].deadline <= t[fired[i]].deadline);
    }
}

static void test_deferred__bits_collect_and_kick_once(void)
{
    deferred_raise(1, DEFER_SCHED);
    deferred_raise(1, DEFER_SCHED);
    deferred_raise(1, DEFER_CONSOLE);
    CU_ASSERT_EQUAL(host.kicks[1], 2);
    CU_ASSERT_FALSE(deferred_pending());
    host_play(1);
    CU_ASSERT_TRUE(deferred_pending());
    CU_ASSERT_EQUAL(deferred_take(), DEFER_SCHED | DEFER_CONSOLE);
    CU_ASSERT_EQUAL(deferred_take(), 0);
    host_play(0);
    deferred_raise(0, DEFER_TIMER);
    CU_ASSERT_EQUAL(host.kicks[0], 0);
    CU_ASSERT_EQUAL(deferred_take(), DEFER_TIMER);
}

static void timer_comes_in(void)
{
    deferred_raise(host_cpu, DEFER_TIMER);
}

static void test_deferred__preempt_needed_opens_a_window(void)
{
    CU_ASSERT_FALSE(preempt_needed());
    CU_ASSERT_EQUAL(host.windows, 1);
    host.on_window = timer_comes_in;
    CU_ASSERT_TRUE(preempt_needed());
    (void)deferred_take();
}

int main(void)
{
    static const struct suite_case cases[] = {
        CASE(test_timer__fires_in_order_of_deadlines),
        CASE(test_timer__interrupt_raises_deferred_work),
        CASE(test_timer_set__again_moves_the_deadline),
        CASE(test_timer_set__past_deadline_fires_at_once),
        CASE(test_timer_set__never),
        CASE(test_timer_stop__before_twice_and_unarmed),
        CASE(test_timer_run__callback_rearms_for_later),
        CASE(test_timer_stop__from_its_own_callback),
        CASE(test_timer_set__other_pcpu_is_kicked),
        CASE(test_timer_migrate__keeps_the_deadline),
        CASE(test_timer_stop__waits_for_a_running_callback),
        CASE(test_timer_migrate__waits_for_a_running_callback),
        CASE(test_timer__random_use_keeps_order_and_shape),
        CASE(test_deferred__bits_collect_and_kick_once),
        CASE(test_deferred__preempt_needed_opens_a_window),
    };
    return SUITE("timer", 2, cases);
}
