// SPDX-License-Identifier: MIT
/* Shares, demand, balance and pins on two pcpus of the fake clock. */
#include "suite.h"

#include "core/account.h"
#include "core/sched_policy.h"

#define CPUS 2
#define DOMAINS 12
#define STEP (200 * NS_PER_US)
static struct domain *d[DOMAINS];
static struct vcpu *v[DOMAINS];

static void all_exit(void)
{
    for (unsigned cpu = 0; cpu < CPUS; cpu++) {
        host_play(cpu);
        host_exit_path();
    }
    host_play(0);
}

static void begin(unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        d[i] = suite_domain((domid_t)(30 + i), 1);
        v[i] = d[i]->vcpu[0];
    }
    all_exit();
}

static void end(unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        domain_pause(d[i]);
    }
    all_exit();
    all_exit();
    for (unsigned i = 0; i < n; i++) {
        suite_destroy(d[i]);
    }
}

static void run(ns_t ns)
{
    for (ns_t until = host.now + ns; host.now < until;) {
        host_advance(STEP);
        all_exit();
    }
}

static unsigned idle_pcpus(void)
{
    return (unsigned)vcpu_is_idle(host_current[0]) + (unsigned)vcpu_is_idle(host_current[1]);
}

#define NEAR(value, want, tolerance)                                                               \
    CU_ASSERT_TRUE((ns_t)(value) >= (ns_t)(want) - (ns_t)(tolerance) &&                            \
                   (ns_t)(value) <= (ns_t)(want) + (ns_t)(tolerance))

/* ---- demand ---- */

struct reading {
    ns_t used, ready, wait, offline, system;
};

static struct reading read_account(const struct vcpu *one)
{
    vcpu_runstate_info_t r;
    ns_t system = sched_get_runstate(one, &r);
    return (struct reading){(ns_t)r.time[RUNSTATE_running] - system,
                            (ns_t)r.time[RUNSTATE_runnable], (ns_t)r.time[RUNSTATE_blocked],
                            (ns_t)r.time[RUNSTATE_offline], system};
}

/* The guests of both pcpus run for a step, of which the hypervisor has 5 % at its end. */
static void guests_run(void)
{
    for (unsigned cpu = 0; cpu < CPUS; cpu++) {
        account_leave(&host_current[cpu]->system, host_tsc);
    }
    host_advance(STEP - STEP / 20);
    for (unsigned cpu = 0; cpu < CPUS; cpu++) {
        account_enter(&host_current[cpu]->system, host_tsc);
    }
    host_advance(STEP / 20);
    all_exit();
}

/* Ten guests on two pcpus, each running for four ticks of 10 ms, then sleeping for one: each gets
 * 20 %, but wants 80 %. */
static void test_account__demand_is_what_they_want(void)
{
    const ns_t tick = 10 * NS_PER_MS, period = 20 * NS_PER_SEC;
    struct reading before[10], after;
    ns_t turn_start[10], wake_at[10] = {0};
    begin(10);
    for (unsigned i = 0; i < 10; i++) {
        before[i] = read_account(v[i]);
        turn_start[i] = sched_used_ns(v[i]);
    }
    ns_t start = host.now;
    while (host.now - start < period) {
        guests_run();
        for (unsigned i = 0; i < 10; i++) {
            if (wake_at[i] && host.now >= wake_at[i]) {
                wake_at[i] = 0;
                turn_start[i] = sched_used_ns(v[i]);
                sched_wake(v[i]);
            } else if (!wake_at[i] && sched_used_ns(v[i]) - turn_start[i] >= 4 * tick) {
                wake_at[i] = host.now + tick;
                sched_pause(v[i], PAUSE_BLOCKED);
            }
        }
        all_exit();
    }
    for (unsigned i = 0; i < 10; i++) {
        after = read_account(v[i]);
        ns_t used = after.used - before[i].used, system = after.system - before[i].system;
        ns_t ready = after.ready - before[i].ready, wait = after.wait - before[i].wait;
        CU_ASSERT_EQUAL(used + system + ready + wait + after.offline - before[i].offline, period);
        NEAR((used + system) * 1000 / period, 200, 10);
        NEAR((used + system) * 1000 / (period - ready), 800, 20);
        NEAR(system * 1000 / (used + system), 50, 5);
    }
    end(10);
}

/* ---- balance ---- */

static void test_share__three_on_two_take_turns(void)
{
    begin(3);
    run(12 * NS_PER_SEC);
    for (unsigned i = 0; i < 3; i++) {
        NEAR(sched_used_ns(v[i]), 8 * NS_PER_SEC, 8 * NS_PER_SEC / 20);
    }
    CU_ASSERT_EQUAL(idle_pcpus(), 0);
    end(3);
}

static void test_share__weights_over_pcpus(void)
{
    static const unsigned weight[] = {256, 256, 512, 512, 1024, 1024};
    begin(6);
    for (unsigned i = 0; i < 6; i++) {
        CU_ASSERT_EQUAL(sched_set_params(d[i], weight[i], 0), 0);
    }
    run(14 * NS_PER_SEC);
    for (unsigned i = 0; i < 6; i++) {
        ns_t want = 2 * 14 * NS_PER_SEC * weight[i] / 3584;
        NEAR(sched_used_ns(v[i]), want, want / 10);
    }
    end(6);
}

/* A weight that no single pcpu can satisfy: it gets a whole one, the others share the rest. */
static void test_share__heavy_one_has_a_pcpu(void)
{
    begin(4);
    CU_ASSERT_EQUAL(sched_set_params(d[0], 60000, 0), 0);
    run(10 * NS_PER_SEC);
    CU_ASSERT_TRUE(sched_used_ns(v[0]) >= 97 * NS_PER_SEC / 10);
    for (unsigned i = 1; i < 4; i++) {
        NEAR(sched_used_ns(v[i]), 10 * NS_PER_SEC / 3, NS_PER_SEC / 3);
    }
    end(4);
}

static void test_share__many_vcpus_weigh_what_one_does(void)
{
    begin(2);
    d[2] = suite_domain(60, 4);
    for (unsigned i = 1; i < 4; i++) {
        d[2]->vcpu[i]->initialised = true;
        sched_resume(d[2]->vcpu[i], PAUSE_DOWN);
    }
    run(12 * NS_PER_SEC);
    ns_t many = 0;
    for (unsigned i = 0; i < 4; i++) {
        many += sched_used_ns(d[2]->vcpu[i]);
    }
    NEAR(many, 8 * NS_PER_SEC, NS_PER_SEC);
    NEAR(sched_used_ns(v[0]), 8 * NS_PER_SEC, NS_PER_SEC);
    end(3);
}

static void test_share__cap_above_one_pcpu(void)
{
    d[0] = suite_domain(60, 2);
    d[0]->vcpu[1]->initialised = true;
    sched_resume(d[0]->vcpu[1], PAUSE_DOWN);
    CU_ASSERT_EQUAL(sched_set_params(d[0], 256, 150), 0);
    run(10 * NS_PER_SEC);
    ns_t both = sched_used_ns(d[0]->vcpu[0]) + sched_used_ns(d[0]->vcpu[1]);
    NEAR(both, 15 * NS_PER_SEC, NS_PER_SEC / 10);
    end(1);
}

/* A timer of a blocked guest while a pcpu is free: it runs within 1 ms. */
static void wake_timer(void *arg)
{
    sched_wake(arg);
}

static void test_share__timer_wakes_on_a_free_pcpu(void)
{
    begin(2);
    /* Both live on the pcpu where one of them runs alone. */
    cpumask_t zero = {{1}}, any = {{3}};
    CU_ASSERT_EQUAL(sched_set_affinity(v[0], &zero), 0);
    CU_ASSERT_EQUAL(sched_set_affinity(v[1], &zero), 0);
    run(30 * NS_PER_MS);
    sched_pause(v[1], PAUSE_BLOCKED);
    run(30 * NS_PER_MS);
    CU_ASSERT_EQUAL(sched_set_affinity(v[1], &any), 0);
    CU_ASSERT_EQUAL(v[1]->sched.pcpu, 0);
    struct timer t;
    timer_init(&t, wake_timer, v[1], 0);
    for (int i = 0; i < 100; i++) {
        ns_t due = host.now + 3 * NS_PER_MS;
        timer_set(&t, due);
        while (!sched_is_running(v[1])) {
            host_advance(STEP);
            all_exit();
        }
        CU_ASSERT_TRUE(host.now >= due && host.now - due <= NS_PER_MS);
        run(NS_PER_MS);
        sched_pause(v[1], PAUSE_BLOCKED);
        all_exit();
    }
    end(2);
}

/* ---- what guests see ---- */

/* How a guest computes the time from its words and the TSC. */
static ns_t guest_clock(const struct vcpu *one)
{
    const struct vcpu_time_info *t = &one->info->time;
    uint64_t tsc = arch_facts.tsc.tsc_at_zero + (uint64_t)host.now; /* 1 GHz */
    uint64_t delta = tsc - t->tsc_timestamp;
    delta = t->tsc_shift < 0 ? delta >> -t->tsc_shift : delta << t->tsc_shift;
    return (ns_t)(t->system_time +
                  (uint64_t)((unsigned __int128)delta * t->tsc_to_system_mul >> 32));
}

static ns_t wall_clock(const struct domain *dom)
{
    const shared_info_t *s = dom->shared_info;
    return ((ns_t)s->wc_sec_hi << 32 | s->wc_sec) * NS_PER_SEC + s->wc_nsec;
}

/* A minute of five guests on two pcpus, which move and are paused: no clock ever goes back, or away
 * from ours; nor does the wall clock, which is right from the start and after a pause. */
static void test_time__never_steps_back(void)
{
    ns_t last[5] = {0}, wall_base = 1700000000 * NS_PER_SEC - NS_PER_SEC;
    unsigned moves = 0, cpu_of[5] = {0}, seen = 0;
    begin(5);
    for (unsigned i = 0; i < 5; i++) {
        CU_ASSERT_EQUAL(wall_clock(d[i]), wall_base);
    }
    for (unsigned step = 0; step < 60000; step++) {
        host_advance(NS_PER_MS);
        if (step % 500 == 250) {
            domain_pause(d[step / 500 % 5]);
        } else if (step % 500 == 499) {
            domain_unpause(d[step / 500 % 5]);
        }
        all_exit();
        for (unsigned i = 0; i < 5; i++) {
            if (sched_is_running(v[i])) {
                ns_t reads = guest_clock(v[i]);
                CU_ASSERT_TRUE(reads >= last[i] && reads == host.now);
                CU_ASSERT_EQUAL(wall_clock(d[i]), wall_base);
                moves += cpu_of[i] != v[i]->sched.pcpu;
                cpu_of[i] = v[i]->sched.pcpu;
                last[i] = reads;
                seen++;
            }
        }
    }
    CU_ASSERT_TRUE(moves > 50 && seen > 100000);
    end(5);
}

/* The area a guest registers, which Linux takes its stolen time from: exact when it runs again. */
static void test_time__stolen_time_in_the_runstate_area(void)
{
    begin(5);
    ns_t stolen[5] = {0}, wanted_since[5];
    vcpu_runstate_info_t *area[5];
    bool ran[5];
    unsigned checks = 0;
    for (unsigned i = 0; i < 5; i++) {
        v[i]->runstate_va = host_guest_alloc(sizeof(**area));
        area[i] = host_guest_ptr(v[i]->runstate_va);
        vcpu_runstate_info_t r;
        (void)sched_get_runstate(v[i], &r);
        stolen[i] = (ns_t)r.time[RUNSTATE_runnable];
        wanted_since[i] = host.now;
        ran[i] = sched_is_running(v[i]);
    }
    CU_ASSERT_EQUAL(sched_set_params(d[4], 256, 10), 0);
    for (unsigned step = 0; step < 20000; step++) {
        host_advance(STEP);
        all_exit();
        for (unsigned i = 0; i < 5; i++) {
            bool runs = sched_is_running(v[i]);
            if (runs && !ran[i]) {
                stolen[i] += host.now - wanted_since[i];
                CU_ASSERT_EQUAL((ns_t)area[i]->time[RUNSTATE_runnable], stolen[i]);
                CU_ASSERT_EQUAL(area[i]->state, RUNSTATE_running);
                CU_ASSERT_EQUAL(area[i]->state_entry_time, (uint64_t)host.now);
                checks++;
            } else if (!runs && ran[i]) {
                wanted_since[i] = host.now;
            }
            ran[i] = runs;
        }
    }
    CU_ASSERT_TRUE(checks > 500);
    for (unsigned i = 0; i < 5; i++) {
        v[i]->runstate_va = 0;
    }
    end(5);
}

/* ---- pins ---- */

static void test_pin__moves_and_holds(void)
{
    begin(4);
    for (unsigned to = 0; to < CPUS; to++) {
        cpumask_t mask = {{1UL << to}};
        for (unsigned i = 0; i < 4; i++) { /* running, waiting */
            CU_ASSERT_EQUAL(sched_set_affinity(v[i], &mask), 0);
        }
        all_exit();
        all_exit();
        for (int i = 0; i < 1000; i++) {
            host_advance(STEP);
            all_exit();
            CU_ASSERT_TRUE(vcpu_is_idle(host_current[1 - to]));
            CU_ASSERT_FALSE(vcpu_is_idle(host_current[to]));
        }
    }
    /* Set free again, they spread. */
    cpumask_t any = {{~0UL}};
    for (unsigned i = 0; i < 4; i++) {
        CU_ASSERT_EQUAL(sched_set_affinity(v[i], &any), 0);
    }
    run(100 * NS_PER_MS);
    CU_ASSERT_EQUAL(idle_pcpus(), 0);
    end(4);
}

static void test_pin__while_blocked_and_on_wake_up(void)
{
    begin(1);
    sched_pause(v[0], PAUSE_BLOCKED);
    all_exit();
    for (unsigned to = 0; to < CPUS; to++) {
        cpumask_t mask = {{1UL << to}};
        CU_ASSERT_EQUAL(sched_set_affinity(v[0], &mask), 0);
        CU_ASSERT_EQUAL(v[0]->sched.pcpu, to);
        sched_wake(v[0]);
        all_exit();
        CU_ASSERT_PTR_EQUAL(host_current[to], v[0]);
        sched_pause(v[0], PAUSE_BLOCKED);
        all_exit();
    }
    end(1);
}

static void test_pin__to_nowhere_changes_nothing(void)
{
    begin(1);
    cpumask_t none = {{0}}, absent = {{~3UL, ~0UL, ~0UL, ~0UL}};
    cpumask_t before = sched_affinity(v[0]), after;
    CU_ASSERT_EQUAL(sched_set_affinity(v[0], &none), -EINVAL);
    CU_ASSERT_EQUAL(sched_set_affinity(v[0], &absent), -EINVAL);
    after = sched_affinity(v[0]);
    CU_ASSERT(after.word[0] == before.word[0] && after.word[0] == 3);
    end(1);
}

/* Pinned ones in front do not keep a free one from an idle pcpu. */
static void test_pin__idle_pcpu_finds_who_may_come(void)
{
    begin(9);
    cpumask_t zero = {{1}};
    for (unsigned i = 0; i < 8; i++) {
        CU_ASSERT_EQUAL(sched_set_affinity(v[i], &zero), 0);
    }
    run(50 * NS_PER_MS);
    for (int i = 0; i < 500; i++) {
        host_advance(STEP);
        all_exit();
        CU_ASSERT_PTR_EQUAL(host_current[1], v[8]);
        CU_ASSERT_EQUAL(idle_pcpus(), 0);
    }
    /* It sleeps and wakes where they are. */
    sched_pause(v[8], PAUSE_BLOCKED);
    all_exit();
    CU_ASSERT_EQUAL(idle_pcpus(), 1);
    sched_wake(v[8]);
    all_exit();
    CU_ASSERT_EQUAL(idle_pcpus(), 0);
    end(9);
}

/* Two that live on one idle pcpu wake up at once: the other pcpu takes one, at once. */
static void test_share__two_wake_on_one_idle_pcpu(void)
{
    cpumask_t zero = {{1}}, any = {{~0UL}};
    begin(2);
    for (unsigned i = 0; i < 2; i++) {
        CU_ASSERT_EQUAL(sched_set_affinity(v[i], &zero), 0);
        sched_pause(v[i], PAUSE_BLOCKED);
    }
    all_exit();
    all_exit();
    CU_ASSERT_EQUAL(idle_pcpus(), 2);
    for (unsigned i = 0; i < 2; i++) {
        CU_ASSERT_EQUAL(sched_set_affinity(v[i], &any), 0);
        CU_ASSERT_EQUAL(v[i]->sched.pcpu, 0);
        sched_wake(v[i]);
    }
    all_exit();
    CU_ASSERT_EQUAL(idle_pcpus(), 0);
    end(2);
}

static void test_pin__random_life(void)
{
    begin(DOMAINS);
    uint64_t seed = 77, mask[DOMAINS];
    uint64_t sum[DOMAINS];
    for (unsigned i = 0; i < DOMAINS; i++) {
        vcpu_runstate_info_t r;
        (void)sched_get_runstate(v[i], &r);
        sum[i] = r.time[0] + r.time[1] + r.time[2] + r.time[3];
        mask[i] = 3;
    }
    ns_t start = host.now;
    for (int i = 0; i < 40000; i++) {
        seed = seed * 6364136223846793005UL + 1442695040888963407UL;
        unsigned one = (unsigned)(seed >> 33) % DOMAINS;
        host_play((unsigned)(seed >> 44) % CPUS);
        cpumask_t pin = {{1 + (seed >> 20) % 3}};
        switch ((seed >> 50) % 6) {
        case 0:
            sched_pause(v[one], PAUSE_BLOCKED);
            break;
        case 1:
        case 2:
            sched_wake(v[one]);
            break;
        case 3:
            CU_ASSERT_EQUAL(sched_set_affinity(v[one], &pin), 0);
            mask[one] = pin.word[0];
            break;
        case 4:
            CU_ASSERT_EQUAL(sched_set_params(d[one], 1 + seed % 999, seed & 64 ? 0 : 50), 0);
            break;
        default:
            host_advance((ns_t)((seed >> 20) % (2 * NS_PER_MS)));
        }
        host_exit_path();
        if (i % 16 == 0) {
            all_exit();
            all_exit();
            for (unsigned cpu = 0; cpu < CPUS; cpu++) {
                for (unsigned k = 0; k < DOMAINS; k++) {
                    bool allowed = mask[k] >> cpu & 1, waits = sched_queued(v[k]);
                    CU_ASSERT_TRUE(host_current[cpu] != v[k] || allowed);
                    CU_ASSERT_FALSE(vcpu_is_idle(host_current[cpu]) && waits && allowed);
                }
            }
        }
    }
    unsigned load[CPUS] = {0};
    all_exit();
    for (unsigned i = 0; i < DOMAINS; i++) {
        vcpu_runstate_info_t r;
        (void)sched_get_runstate(v[i], &r);
        CU_ASSERT_EQUAL(r.time[0] + r.time[1] + r.time[2] + r.time[3] - sum[i],
                        (uint64_t)(host.now - start));
        load[v[i]->sched.pcpu] += v[i]->sched.load;
    }
    for (unsigned cpu = 0; cpu < CPUS; cpu++) {
        CU_ASSERT_EQUAL(sched_queues[cpu].load, load[cpu]);
    }
    end(DOMAINS);
}

int main(void)
{
    static const struct suite_case cases[] = {
        CASE(test_account__demand_is_what_they_want),
        CASE(test_share__three_on_two_take_turns),
        CASE(test_share__weights_over_pcpus),
        CASE(test_share__heavy_one_has_a_pcpu),
        CASE(test_share__many_vcpus_weigh_what_one_does),
        CASE(test_share__cap_above_one_pcpu),
        CASE(test_share__timer_wakes_on_a_free_pcpu),
        CASE(test_time__never_steps_back),
        CASE(test_time__stolen_time_in_the_runstate_area),
        CASE(test_pin__moves_and_holds),
        CASE(test_pin__while_blocked_and_on_wake_up),
        CASE(test_pin__to_nowhere_changes_nothing),
        CASE(test_pin__idle_pcpu_finds_who_may_come),
        CASE(test_share__two_wake_on_one_idle_pcpu),
        CASE(test_pin__random_life),
    };
    return SUITE("shares and pins on two pcpus", CPUS, cases);
}
