// SPDX-License-Identifier: MIT
/* What the scheduler promises, as numbers, on one pcpu over ten seconds of the fake clock: shares
 * by weight, caps, how long a sleeper waits, what a cheat gains, and that every ns is accounted
 * for. */
#include "suite.h"

#include "core/deferred.h"
#include "core/sched_policy.h"

#define DOMAINS 10
#define STEP (100 * NS_PER_US)
#define TEN_SECONDS (10 * NS_PER_SEC)
static struct domain *d[DOMAINS];
static struct vcpu *v[DOMAINS]; /* the first of each */

static void bring_up(struct vcpu *one)
{
    one->initialised = true;
    sched_resume(one, PAUSE_DOWN);
}

/* Guests of one vCPU each, runnable. */
static void begin(unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        d[i] = suite_domain((domid_t)(30 + i), 1);
        v[i] = d[i]->vcpu[0];
    }
}

static void end(unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        domain_pause(d[i]);
    }
    host_exit_path();
    for (unsigned i = 0; i < n; i++) {
        suite_destroy(d[i]);
    }
}

static void step(void)
{
    host_advance(STEP);
    host_exit_path();
}

static void run(ns_t ns)
{
    for (ns_t until = host.now + ns; host.now < until;) {
        step();
    }
}

static ns_t used(const struct domain *dom)
{
    ns_t sum = 0;
    for (unsigned i = 0; i < dom->max_vcpus; i++) {
        sum += sched_used_ns(dom->vcpu[i]);
    }
    return sum;
}

static ns_t state_ns(const struct vcpu *one, int state)
{
    vcpu_runstate_info_t r;
    (void)sched_get_runstate(one, &r);
    return (ns_t)r.time[state];
}

#define NEAR(value, want, tolerance)                                                               \
    CU_ASSERT_TRUE((ns_t)(value) >= (ns_t)(want) - (ns_t)(tolerance) &&                            \
                   (ns_t)(value) <= (ns_t)(want) + (ns_t)(tolerance))
#define PERCENT (TEN_SECONDS / 100)

/* ---- weights ---- */

static void test_fair__weights_1_2_4(void)
{
    begin(3);
    for (unsigned i = 0; i < 3; i++) {
        CU_ASSERT_EQUAL(sched_set_params(d[i], 256u << i, 0), 0);
    }
    run(TEN_SECONDS);
    for (unsigned i = 0; i < 3; i++) {
        ns_t want = TEN_SECONDS * (1 << i) / 7;
        NEAR(used(d[i]), want, want * 2 / 100);
    }
    end(3);
}

static void test_fair__weight_is_the_domains(void)
{
    begin(1);
    d[1] = suite_domain(50, 4);
    for (unsigned i = 1; i < 4; i++) {
        bring_up(d[1]->vcpu[i]);
    }
    CU_ASSERT_EQUAL(d[1]->sched.active, 4);
    run(TEN_SECONDS);
    NEAR(used(d[0]), 50 * PERCENT, PERCENT);
    NEAR(used(d[1]), 50 * PERCENT, PERCENT);
    for (unsigned i = 0; i < 4; i++) {
        NEAR(sched_used_ns(d[1]->vcpu[i]), used(d[1]) / 4, PERCENT);
    }
    /* Three stop: the fourth has the whole weight. */
    for (unsigned i = 1; i < 4; i++) {
        sched_pause(d[1]->vcpu[i], PAUSE_BLOCKED);
    }
    ns_t before = used(d[1]);
    run(TEN_SECONDS);
    CU_ASSERT_EQUAL(d[1]->sched.active, 1);
    NEAR(used(d[1]) - before, 50 * PERCENT, PERCENT);
    end(2);
}

static void test_fair__change_of_weight_counts_from_then_on(void)
{
    begin(2);
    run(TEN_SECONDS);
    ns_t before = used(d[0]);
    CU_ASSERT_EQUAL(sched_set_params(d[0], 768, 0), 0);
    run(TEN_SECONDS);
    NEAR(before, 50 * PERCENT, PERCENT);
    NEAR(used(d[0]) - before, 75 * PERCENT, PERCENT);
    end(2);
}

/* ---- caps ---- */

static void test_fair__cap_of_a_quarter(void)
{
    begin(1);
    CU_ASSERT_EQUAL(sched_set_params(d[0], 256, 25), 0);
    run(TEN_SECONDS);
    NEAR(used(d[0]), 25 * PERCENT, PERCENT / 2);
    /* It wanted more all the time: the rest is ready time, which its guest sees as stolen. */
    NEAR(state_ns(v[0], RUNSTATE_runnable), 75 * PERCENT, PERCENT);
    CU_ASSERT_EQUAL(state_ns(v[0], RUNSTATE_blocked), 0);
    end(1);
}

static void test_fair__caps_leave_the_rest_to_others(void)
{
    begin(3);
    CU_ASSERT_EQUAL(sched_set_params(d[0], 1024, 25), 0);
    CU_ASSERT_EQUAL(sched_set_params(d[1], 1024, 7), 0);
    run(TEN_SECONDS);
    NEAR(used(d[0]), 25 * PERCENT, PERCENT);
    NEAR(used(d[1]), 7 * PERCENT, PERCENT);
    NEAR(used(d[2]), 68 * PERCENT, PERCENT);
    /* A cap above the share is none. */
    CU_ASSERT_EQUAL(sched_set_params(d[0], 256, 90), 0);
    CU_ASSERT_EQUAL(sched_set_params(d[1], 256, 0), 0);
    ns_t before = used(d[0]);
    run(TEN_SECONDS);
    NEAR(used(d[0]) - before, TEN_SECONDS / 3, PERCENT);
    end(3);
}

static void test_fair__cap_is_for_all_vcpus_together(void)
{
    d[0] = suite_domain(50, 4);
    for (unsigned i = 1; i < 4; i++) {
        bring_up(d[0]->vcpu[i]);
    }
    CU_ASSERT_EQUAL(sched_set_params(d[0], 256, 40), 0);
    run(TEN_SECONDS);
    NEAR(used(d[0]), 40 * PERCENT, PERCENT);
    for (unsigned i = 0; i < 4; i++) {
        CU_ASSERT_TRUE(sched_used_ns(d[0]->vcpu[i]) > 5 * PERCENT);
    }
    end(1);
}

static void test_fair__cap_taken_away_frees_at_once(void)
{
    begin(1);
    CU_ASSERT_EQUAL(sched_set_params(d[0], 256, 1), 0);
    run(NS_PER_SEC);
    CU_ASSERT_TRUE(v[0]->sched.pause_bits & PAUSE_CAP);
    CU_ASSERT_EQUAL(sched_set_params(d[0], 256, 0), 0);
    ns_t before = used(d[0]);
    run(NS_PER_SEC);
    NEAR(used(d[0]) - before, NS_PER_SEC, 2 * STEP);
    CU_ASSERT_EQUAL(v[0]->sched.pause_bits, 0);
    end(1);
}

static void test_fair__stopped_by_cap_and_paused(void)
{
    begin(1);
    CU_ASSERT_EQUAL(sched_set_params(d[0], 256, 1), 0);
    run(NS_PER_SEC);
    CU_ASSERT_TRUE(v[0]->sched.pause_bits & PAUSE_CAP);
    sched_pause(v[0], PAUSE_BLOCKED);
    ns_t before = used(d[0]);
    run(3 * NS_PER_SEC); /* the cap would let it run again */
    CU_ASSERT_EQUAL(used(d[0]), before);
    CU_ASSERT_EQUAL(v[0]->sched.pause_bits, PAUSE_BLOCKED);
    sched_wake(v[0]);
    run(NS_PER_SEC);
    NEAR(used(d[0]) - before, NS_PER_SEC / 100, 11 * NS_PER_MS);
    end(1);
}

/* ---- waking ---- */

static void test_fair__sleeper_waits_at_most_a_slice(void)
{
    begin(9);
    sched_pause(v[8], PAUSE_BLOCKED);
    run(NS_PER_SEC);
    ns_t worst = 0;
    for (int i = 0; i < 500; i++) {
        run(10 * NS_PER_MS);
        ns_t asked = host.now;
        sched_wake(v[8]);
        while (host_exit_path() != v[8]) {
            host_advance(STEP);
        }
        worst = MAX(worst, host.now - asked);
        host_advance(STEP);
        sched_pause(v[8], PAUSE_BLOCKED);
        host_exit_path();
    }
    CU_ASSERT_TRUE(worst <= 10 * NS_PER_MS);
    end(9);
}

/* Runs until `share` percent of a slice are left, sleeps for `nap`, again and again, so as to be
 * woken with precedence and to be away when its turn ends. */
static void cheat(unsigned vcpus, ns_t turn, ns_t nap)
{
    struct vcpu *who[4];
    ns_t wake_at[4] = {0}, turn_used[4] = {0};
    begin(8);
    d[8] = suite_domain(50, vcpus);
    for (unsigned i = 0; i < vcpus; i++) {
        who[i] = d[8]->vcpu[i];
        if (i) {
            bring_up(who[i]);
        }
    }
    for (ns_t until = host.now + TEN_SECONDS; host.now < until;) {
        step();
        for (unsigned i = 0; i < vcpus; i++) {
            if (wake_at[i] && host.now >= wake_at[i]) {
                wake_at[i] = 0;
                turn_used[i] = sched_used_ns(who[i]);
                sched_wake(who[i]);
            } else if (!wake_at[i] && sched_used_ns(who[i]) - turn_used[i] >= turn) {
                wake_at[i] = host.now + nap;
                sched_pause(who[i], PAUSE_BLOCKED);
            }
        }
        host_exit_path();
    }
    CU_ASSERT_TRUE(used(d[8]) <= TEN_SECONDS / 9 + 2 * PERCENT);
    CU_ASSERT_TRUE(used(d[8]) > PERCENT);
    end(9);
}

static void test_fair__cheats_gain_nothing(void)
{
    static const ns_t turns[] = {100 * NS_PER_US, 400 * NS_PER_US, 2 * NS_PER_MS, 9 * NS_PER_MS};
    static const ns_t naps[] = {100 * NS_PER_US, NS_PER_MS, 6 * NS_PER_MS};
    for (unsigned t = 0; t < ARRAY_SIZE(turns); t++) {
        for (unsigned n = 0; n < ARRAY_SIZE(naps); n++) {
            cheat(1, turns[t], naps[n]);
        }
    }
}

static void test_fair__cheats_with_several_vcpus_gain_nothing(void)
{
    cheat(4, 400 * NS_PER_US, 6 * NS_PER_MS);
    cheat(4, 2 * NS_PER_MS, 6 * NS_PER_MS);
    cheat(2, 5 * NS_PER_MS, 5 * NS_PER_MS);
}

/* ---- accounts ---- */

/* Sleeps, wakes, is paused, capped and weighed at random: no ns is lost or counted twice. */
static void test_account__adds_up(void)
{
    begin(6);
    uint64_t before[6], seed = 4711;
    ns_t start = host.now, all = used(d[0]);
    for (unsigned i = 0; i < 6; i++) {
        vcpu_runstate_info_t r;
        (void)sched_get_runstate(v[i], &r);
        before[i] = r.time[0] + r.time[1] + r.time[2] + r.time[3];
    }
    ns_t idle = sched_used_ns(vcpu_idle(0)), ran[6];
    for (unsigned i = 0; i < 6; i++) {
        ran[i] = used(d[i]);
    }
    for (int i = 0; i < 50000; i++) {
        seed = seed * 6364136223846793005UL + 1442695040888963407UL;
        unsigned one = (unsigned)(seed >> 33) % 6;
        switch ((seed >> 50) % 6) {
        case 0:
            sched_pause(v[one], PAUSE_BLOCKED);
            break;
        case 1:
            sched_wake(v[one]);
            break;
        case 2:
            sched_pause(v[one], PAUSE_DOMAIN);
            break;
        case 3:
            sched_resume(v[one], PAUSE_DOMAIN);
            break;
        case 4:
            CU_ASSERT_EQUAL(
                sched_set_params(d[one], 1 + seed % 1000, (seed >> 20) % 2 ? 0 : seed % 90), 0);
            break;
        default:
            host_advance((ns_t)((seed >> 20) % (3 * NS_PER_MS)));
        }
        host_exit_path();
    }
    all = sched_used_ns(vcpu_idle(0)) - idle;
    for (unsigned i = 0; i < 6; i++) {
        vcpu_runstate_info_t r;
        ns_t system = sched_get_runstate(v[i], &r);
        CU_ASSERT_EQUAL(r.time[0] + r.time[1] + r.time[2] + r.time[3] - before[i],
                        (uint64_t)(host.now - start));
        CU_ASSERT_TRUE(system >= 0 && system <= (ns_t)r.time[RUNSTATE_running]);
        all += used(d[i]) - ran[i];
        bool wants = !(v[i]->sched.pause_bits & ~(uint32_t)PAUSE_CAP);
        CU_ASSERT_EQUAL(d[i]->sched.active, wants);
        sched_resume(v[i], PAUSE_DOMAIN);
    }
    /* The pcpu was always somebody's. */
    CU_ASSERT_EQUAL(all, host.now - start);
    end(6);
}

int main(void)
{
    static const struct suite_case cases[] = {
        CASE(test_fair__weights_1_2_4),
        CASE(test_fair__weight_is_the_domains),
        CASE(test_fair__change_of_weight_counts_from_then_on),
        CASE(test_fair__cap_of_a_quarter),
        CASE(test_fair__caps_leave_the_rest_to_others),
        CASE(test_fair__cap_is_for_all_vcpus_together),
        CASE(test_fair__cap_taken_away_frees_at_once),
        CASE(test_fair__stopped_by_cap_and_paused),
        CASE(test_fair__sleeper_waits_at_most_a_slice),
        CASE(test_fair__cheats_gain_nothing),
        CASE(test_fair__cheats_with_several_vcpus_gain_nothing),
        CASE(test_account__adds_up),
    };
    return SUITE("shares on one pcpu", 1, cases);
}
