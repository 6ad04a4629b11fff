// SPDX-License-Identifier: MIT
/* The scheduler against the fake clock: shares by weight, slices, wake-up preemption and why it
 * cannot be used to get more, pausing at every moment. Several pcpus: test_sched_smp.c. */
#include "suite.h"

#include "arch/upcalls.h"
#include "core/deferred.h"
#include "core/sched_policy.h"

#define DOMAINS 8
static struct domain *d[DOMAINS];
static struct vcpu *v[DOMAINS];

/* n guests of one vCPU each, runnable; weights 256. */
static void begin(unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        d[i] = suite_domain((domid_t)(30 + i), 1);
        v[i] = d[i]->vcpu[0];
    }
}

static void leave_pcpus(void)
{
    for (unsigned cpu = 0; cpu < host.cpus; cpu++) {
        host_play(cpu);
        host_exit_path();
    }
    host_play(0);
}

static void end(unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        domain_pause(d[i]);
    }
    leave_pcpus();
    for (unsigned i = 0; i < n; i++) {
        suite_destroy(d[i]);
    }
}

/* Let all pcpus run their guests for `ns` in steps; each step ends in the exit path. */
static void run(ns_t ns, ns_t step)
{
    for (ns_t t = 0; t < ns; t += step) {
        host_advance(step);
        for (unsigned cpu = 0; cpu < host.cpus; cpu++) {
            host_play(cpu);
            host_exit_path();
        }
    }
    host_play(0);
}

#define NEAR(value, want, tolerance)                                                               \
    CU_ASSERT_TRUE((ns_t)(value) >= (want) - (tolerance) && (ns_t)(value) <= (want) + (tolerance))

static void only_one_pcpu(void)
{
    CU_ASSERT_EQUAL_FATAL(host.cpus, 1);
}

/* ---- one pcpu ---- */

static void test_sched__idle_until_somebody_can_run(void)
{
    only_one_pcpu();
    begin(1);
    CU_ASSERT_TRUE(vcpu_is_idle(current_vcpu()));
    CU_ASSERT_PTR_EQUAL(host_exit_path(), v[0]);
    CU_ASSERT_TRUE(sched_is_running(v[0]));
    sched_pause(v[0], PAUSE_BLOCKED);
    CU_ASSERT_TRUE(vcpu_is_idle(host_exit_path()));
    CU_ASSERT_FALSE(sched_is_running(v[0]));
    sched_wake(v[0]);
    CU_ASSERT_PTR_EQUAL(host_exit_path(), v[0]);
    end(1);
}

static void test_sched__alone_runs_without_timer_interrupts(void)
{
    begin(1);
    host_exit_path();
    unsigned switches = host.switches;
    CU_ASSERT_EQUAL(host.timer_deadline[0], INT64_MAX);
    run(NS_PER_SEC, 10 * NS_PER_MS);
    CU_ASSERT_EQUAL(host.switches, switches);
    NEAR(sched_used_ns(v[0]), NS_PER_SEC, 0);
    end(1);
}

static void test_sched__equal_weights_equal_shares(void)
{
    begin(4);
    run(4 * NS_PER_SEC, NS_PER_MS);
    for (unsigned i = 0; i < 4; i++) {
        NEAR(sched_used_ns(v[i]), NS_PER_SEC, 15 * NS_PER_MS);
    }
    end(4);
}

static void test_sched__shares_follow_weights(void)
{
    const unsigned weight[] = {64, 128, 256, 512};
    begin(4);
    for (unsigned i = 0; i < 4; i++) {
        CU_ASSERT_EQUAL(sched_set_params(d[i], weight[i], 0), 0);
    }
    run(15 * NS_PER_SEC, NS_PER_MS);
    for (unsigned i = 0; i < 4; i++) {
        NEAR(sched_used_ns(v[i]), weight[i] * NS_PER_SEC / 64, weight[i] * NS_PER_SEC / 64 / 20);
    }
    end(4);
}

static void test_sched__extreme_weights(void)
{
    begin(2);
    CU_ASSERT_EQUAL(sched_set_params(d[0], 1, 0), 0);
    CU_ASSERT_EQUAL(sched_set_params(d[1], 65535, 0), 0);
    run(100 * NS_PER_SEC, 10 * NS_PER_MS);
    CU_ASSERT_TRUE(sched_used_ns(v[0]) > 0); /* little, but not starved */
    CU_ASSERT_TRUE(sched_used_ns(v[1]) > 99 * NS_PER_SEC);
    end(2);
}

static void test_sched_set_params__range(void)
{
    begin(1);
    CU_ASSERT_EQUAL(sched_set_params(d[0], 0, 0), -EINVAL);
    CU_ASSERT_EQUAL(sched_set_params(d[0], 65536, 0), -EINVAL);
    CU_ASSERT_EQUAL(sched_set_params(d[0], 256, 65536), -EINVAL);
    CU_ASSERT_EQUAL(sched_set_params(d[0], 65535, 50), 0);
    end(1);
}

static void test_sched__nobody_runs_longer_than_a_slice(void)
{
    begin(3);
    host_exit_path();
    struct vcpu *who = current_vcpu();
    ns_t since = host.now, longest = 0;
    for (int i = 0; i < 3000; i++) {
        host_advance(100 * NS_PER_US);
        if (host_exit_path() != who) {
            longest = MAX(longest, host.now - since);
            who = current_vcpu();
            since = host.now;
        }
    }
    CU_ASSERT_TRUE(longest > 5 * NS_PER_MS);
    CU_ASSERT_TRUE(longest <= 10 * NS_PER_MS + 100 * NS_PER_US);
    end(3);
}

static void test_sched__latecomer_gets_no_arrears(void)
{
    begin(2);
    sched_pause(v[1], PAUSE_BLOCKED);
    run(10 * NS_PER_SEC, 10 * NS_PER_MS);
    sched_wake(v[1]);
    ns_t before = sched_used_ns(v[0]);
    run(NS_PER_SEC, NS_PER_MS);
    NEAR(sched_used_ns(v[1]), NS_PER_SEC / 2, 20 * NS_PER_MS);
    NEAR(sched_used_ns(v[0]) - before, NS_PER_SEC / 2, 20 * NS_PER_MS);
    end(2);
}

static void test_sched__wakeup_preempts_a_cpu_hog(void)
{
    begin(2);
    sched_pause(v[1], PAUSE_BLOCKED);
    run(50 * NS_PER_MS, NS_PER_MS);
    sched_wake(v[1]);
    CU_ASSERT_PTR_EQUAL(host_exit_path(), v[1]);
    /* v[0] was only just put off, and v[1] blocks again: back at once. */
    sched_pause(v[1], PAUSE_BLOCKED);
    CU_ASSERT_PTR_EQUAL(host_exit_path(), v[0]);
    /* A wake-up right now must wait for the minimum turn, but not longer. */
    sched_wake(v[1]);
    CU_ASSERT_PTR_EQUAL(host_exit_path(), v[0]);
    host_advance(sched_min_run() - 1);
    CU_ASSERT_PTR_EQUAL(host_exit_path(), v[0]);
    host_advance(1);
    CU_ASSERT_PTR_EQUAL(host_exit_path(), v[1]);
    end(2);
}

/* Two that talk to each other are close together: the one that wakes up lets the other finish. */
static void test_sched__wakeup_close_behind_waits(void)
{
    begin(2);
    sched_pause(v[1], PAUSE_BLOCKED);
    CU_ASSERT_PTR_EQUAL(host_exit_path(), v[0]);
    host_advance(2 * NS_PER_MS);
    sched_wake(v[1]);
    CU_ASSERT_PTR_EQUAL(host_exit_path(), v[0]);
    host_advance(8 * NS_PER_MS - 1);
    CU_ASSERT_PTR_EQUAL(host_exit_path(), v[0]);
    host_advance(1);
    CU_ASSERT_PTR_EQUAL(host_exit_path(), v[1]);
    end(2);
}

/* Sleeps a little, all the time, so as to be woken with precedence all the time. */
static void test_sched__frequent_sleeper_gets_no_more_than_its_share(void)
{
    begin(2);
    host_exit_path();
    ns_t slept = 0;
    for (int i = 0; i < 200000; i++) {
        host_advance(50 * NS_PER_US);
        host_exit_path();
        if (current_vcpu() == v[1] && i % 20 == 0) {
            sched_pause(v[1], PAUSE_BLOCKED);
            host_exit_path();
            host_advance(10 * NS_PER_US);
            slept += 10 * NS_PER_US;
            host_exit_path();
            sched_wake(v[1]);
        }
    }
    ns_t total = sched_used_ns(v[0]) + sched_used_ns(v[1]);
    CU_ASSERT_TRUE(slept > 0);
    CU_ASSERT_TRUE(sched_used_ns(v[1]) <= total / 2 + 20 * NS_PER_MS);
    CU_ASSERT_TRUE(sched_used_ns(v[0]) >= total / 2 - 20 * NS_PER_MS);
    end(2);
}

/* Uses a tenth and sleeps in between: it gets all of what it wants, quickly. */
static void test_sched__light_interactive_load_is_served_at_once(void)
{
    begin(2);
    sched_pause(v[1], PAUSE_BLOCKED);
    run(20 * NS_PER_MS, NS_PER_MS);
    ns_t worst = 0;
    for (int i = 0; i < 200; i++) {
        run(9 * NS_PER_MS, 100 * NS_PER_US);
        sched_wake(v[1]);
        ns_t asked = host.now;
        while (host_exit_path() != v[1]) {
            host_advance(100 * NS_PER_US);
        }
        worst = MAX(worst, host.now - asked);
        host_advance(NS_PER_MS);
        sched_pause(v[1], PAUSE_BLOCKED);
        host_exit_path();
    }
    CU_ASSERT_TRUE(worst <= NS_PER_MS);
    NEAR(sched_used_ns(v[1]), 200 * NS_PER_MS, 5 * NS_PER_MS);
    end(2);
}

static void test_sched_yield__others_go_first_once(void)
{
    begin(3);
    struct vcpu *first = host_exit_path();
    sched_yield();
    struct vcpu *second = host_exit_path();
    CU_ASSERT_PTR_NOT_EQUAL(first, second);
    sched_pause(second, PAUSE_BLOCKED);
    struct vcpu *third = host_exit_path();
    sched_pause(third, PAUSE_BLOCKED);
    host_exit_path();
    CU_ASSERT_TRUE(sched_is_running(first) || sched_is_running(second));
    sched_wake(second);
    sched_wake(third);
    end(3);
}

static void test_sched_yield__alone_is_nothing(void)
{
    begin(1);
    host_exit_path();
    unsigned switches = host.switches;
    sched_yield();
    CU_ASSERT_PTR_EQUAL(host_exit_path(), v[0]);
    CU_ASSERT_EQUAL(host.switches, switches);
    end(1);
}

static void test_sched__yielding_all_the_time_does_not_starve_anybody(void)
{
    begin(3);
    host_exit_path();
    for (int i = 0; i < 30000; i++) {
        host_advance(100 * NS_PER_US);
        if (current_vcpu() == v[0]) {
            sched_yield();
        }
        host_exit_path();
    }
    CU_ASSERT_TRUE(sched_used_ns(v[0]) > 0);
    NEAR(sched_used_ns(v[1]), sched_used_ns(v[2]), 30 * NS_PER_MS);
    CU_ASSERT_TRUE(sched_used_ns(v[1]) >= sched_used_ns(v[0]));
    end(3);
}

/* ---- pausing ---- */

static void test_sched_pause__reasons_add_up(void)
{
    begin(1);
    host_exit_path();
    sched_pause(v[0], PAUSE_BLOCKED);
    sched_pause(v[0], PAUSE_DOMAIN);
    CU_ASSERT_TRUE(vcpu_is_idle(host_exit_path()));
    sched_wake(v[0]);
    CU_ASSERT_TRUE(vcpu_is_idle(host_exit_path()));
    sched_resume(v[0], PAUSE_DOMAIN);
    CU_ASSERT_PTR_EQUAL(host_exit_path(), v[0]);
    end(1);
}

static void test_sched_pause__while_waiting(void)
{
    begin(2);
    struct vcpu *running = host_exit_path(), *waiting = running == v[0] ? v[1] : v[0];
    sched_pause(waiting, PAUSE_DOMAIN);
    run(50 * NS_PER_MS, NS_PER_MS);
    CU_ASSERT_EQUAL(sched_used_ns(waiting), 0);
    sched_resume(waiting, PAUSE_DOMAIN);
    sched_resume(waiting, PAUSE_DOMAIN); /* twice is once */
    run(100 * NS_PER_MS, NS_PER_MS);
    CU_ASSERT_TRUE(sched_used_ns(waiting) > 30 * NS_PER_MS);
    end(2);
}

static void test_sched_pause__undone_before_the_exit_path(void)
{
    begin(1);
    host_exit_path();
    unsigned switches = host.switches;
    sched_pause(v[0], PAUSE_BLOCKED);
    sched_wake(v[0]);
    CU_ASSERT_PTR_EQUAL(host_exit_path(), v[0]);
    CU_ASSERT_EQUAL(host.switches, switches);
    end(1);
}

static void test_sched__registers_travel(void)
{
    begin(2);
    struct vcpu *one = host_exit_path(), *two = one == v[0] ? v[1] : v[0];
    guest_regs()->rax = 1111;
    two->regs.rax = 2222;
    sched_yield();
    CU_ASSERT_PTR_EQUAL(host_exit_path(), two);
    CU_ASSERT_EQUAL(guest_regs()->rax, 2222);
    CU_ASSERT_EQUAL(one->regs.rax, 1111);
    end(2);
}

static void test_sched_get_runstate__adds_up(void)
{
    begin(2);
    vcpu_runstate_info_t r0, r1;
    host_exit_path();
    sched_get_runstate(v[0], &r0);
    uint64_t base = r0.time[0] + r0.time[1] + r0.time[2] + r0.time[3];
    run(100 * NS_PER_MS, NS_PER_MS);
    sched_pause(v[0], PAUSE_BLOCKED);
    run(50 * NS_PER_MS, NS_PER_MS);
    sched_pause(v[0], PAUSE_DOMAIN);
    sched_wake(v[0]);
    run(20 * NS_PER_MS, NS_PER_MS);
    sched_get_runstate(v[0], &r0);
    sched_get_runstate(v[1], &r1);
    CU_ASSERT_EQUAL(r0.state, RUNSTATE_offline);
    CU_ASSERT_EQUAL(r1.state, RUNSTATE_running);
    NEAR(r0.time[RUNSTATE_running], 50 * NS_PER_MS, 11 * NS_PER_MS);
    NEAR((r0.time[RUNSTATE_running] + r0.time[RUNSTATE_runnable]), 100 * NS_PER_MS, NS_PER_MS);
    NEAR(r0.time[RUNSTATE_blocked], 50 * NS_PER_MS, NS_PER_MS);
    NEAR((r0.time[0] + r0.time[1] + r0.time[2] + r0.time[3] - base), 170 * NS_PER_MS, 0);
    CU_ASSERT_EQUAL(r0.time[RUNSTATE_running], (uint64_t)sched_used_ns(v[0]));
    sched_resume(v[0], PAUSE_DOMAIN);
    end(2);
}

/* The guest runs, calls, runs: what the hypervisor takes is told from what the guest does, in the
 * middle of a call too, and everything adds up. */
static void test_account__hypervisor_and_guest(void)
{
    begin(1);
    vcpu_runstate_info_t r;
    host_advance(NS_PER_MS);
    host_exit_path();
    CU_ASSERT_PTR_EQUAL(current_vcpu(), v[0]);
    sched_get_runstate(v[0], &r);
    uint64_t base = r.time[RUNSTATE_running];
    host_advance(5); /* still on its way out */
    CU_ASSERT_EQUAL(sched_get_runstate(v[0], &r), 5);
    upcall_exit();
    host_advance(100);
    CU_ASSERT_EQUAL(sched_get_runstate(v[0], &r), 5);
    upcall_enter();
    host_advance(7);
    upcall_enter(); /* a fault within */
    host_advance(3);
    CU_ASSERT_EQUAL(sched_get_runstate(v[0], &r), 15);
    CU_ASSERT_EQUAL(r.time[RUNSTATE_running] - base, 115);
    upcall_exit();
    host_advance(85);
    upcall_enter();
    host_advance(10);
    sched_pause(v[0], PAUSE_BLOCKED);
    host_exit_path();
    host_advance(1000);
    CU_ASSERT_EQUAL(sched_get_runstate(v[0], &r), 25);
    CU_ASSERT_EQUAL(r.time[RUNSTATE_running] - base, 210);
    CU_ASSERT_EQUAL(r.time[RUNSTATE_blocked], 1000);
    sched_wake(v[0]);
    host_exit_path();
    host_advance(1);
    upcall_exit();
    CU_ASSERT_EQUAL(sched_get_runstate(v[0], &r), 26);
    end(1);
}

static void held_up(void)
{
    host_advance(NS_PER_MS);
}

/* A pcpu that is held up in the middle of a switch: nobody's used time runs backwards. */
static void test_account__held_up_while_switching(void)
{
    begin(2);
    vcpu_runstate_info_t r;
    ns_t used[2] = {0};
    for (unsigned step = 0; step < 50; step++) {
        host_advance(NS_PER_MS / 10);
        upcall_enter();
        struct vcpu *curr = current_vcpu();
        if (step % 3 == 0 && !vcpu_is_idle(curr)) {
            sched_pause(curr, PAUSE_BLOCKED);
        }
        host.on_clock = held_up;
        host_exit_path();
        host.on_clock = NULL;
        upcall_exit();
        for (unsigned i = 0; i < 2; i++) {
            ns_t system = sched_get_runstate(v[i], &r);
            CU_ASSERT((ns_t)r.time[RUNSTATE_running] - system >= used[i]);
            used[i] = (ns_t)r.time[RUNSTATE_running] - system;
            sched_wake(v[i]);
        }
    }
    CU_ASSERT(used[0] > 0 && used[1] > 0);
    end(2);
}

static void test_sched__clock_far_along(void)
{
    begin(2);
    /* Virtual time wraps after centuries; start shortly before. */
    sched_pause(v[0], PAUSE_BLOCKED);
    sched_pause(v[1], PAUSE_BLOCKED);
    host_exit_path();
    sched_queues[0].clock = UINT64_MAX - 400 * NS_PER_MS;
    v[0]->sched.vruntime = v[1]->sched.vruntime = sched_queues[0].clock;
    sched_wake(v[0]);
    sched_wake(v[1]);
    ns_t before = sched_used_ns(v[0]);
    run(2 * NS_PER_SEC, NS_PER_MS);
    NEAR(sched_used_ns(v[0]) - before, NS_PER_SEC, 30 * NS_PER_MS);
    CU_ASSERT_TRUE(sched_queues[0].clock < (uint64_t)NS_PER_SEC);
    end(2);
}

/* After half a turn of the clock what is long past looks like what is far ahead. */
static void test_sched__asleep_for_half_a_turn_of_the_clock(void)
{
    begin(2);
    sched_pause(v[1], PAUSE_BLOCKED);
    run(10 * NS_PER_MS, NS_PER_MS);
    v[1]->sched.vruntime = sched_queues[0].clock + (1UL << 63) - 1;
    sched_wake(v[1]);
    run(4 * NS_PER_SEC, NS_PER_MS);
    CU_ASSERT_TRUE(sched_used_ns(v[1]) > NS_PER_SEC);
    end(2);
}

int main(void)
{
    static const struct suite_case cases[] = {
        CASE(test_sched__idle_until_somebody_can_run),
        CASE(test_sched__alone_runs_without_timer_interrupts),
        CASE(test_sched__equal_weights_equal_shares),
        CASE(test_sched__shares_follow_weights),
        CASE(test_sched__extreme_weights),
        CASE(test_sched_set_params__range),
        CASE(test_sched__nobody_runs_longer_than_a_slice),
        CASE(test_sched__latecomer_gets_no_arrears),
        CASE(test_sched__wakeup_preempts_a_cpu_hog),
        CASE(test_sched__wakeup_close_behind_waits),
        CASE(test_sched__frequent_sleeper_gets_no_more_than_its_share),
        CASE(test_sched__light_interactive_load_is_served_at_once),
        CASE(test_sched_yield__others_go_first_once),
        CASE(test_sched_yield__alone_is_nothing),
        CASE(test_sched__yielding_all_the_time_does_not_starve_anybody),
        CASE(test_sched_pause__reasons_add_up),
        CASE(test_sched_pause__while_waiting),
        CASE(test_sched_pause__undone_before_the_exit_path),
        CASE(test_sched__registers_travel),
        CASE(test_sched_get_runstate__adds_up),
        CASE(test_account__hypervisor_and_guest),
        CASE(test_sched__asleep_for_half_a_turn_of_the_clock),
        CASE(test_account__held_up_while_switching),
        CASE(test_sched__clock_far_along),
    };
    return SUITE("scheduler, one pcpu", 1, cases);
}
