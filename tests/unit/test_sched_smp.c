// SPDX-License-Identifier: MIT
/* The scheduler on four pcpus: where new vCPUs go, that no pcpu idles while somebody waits, that no
 * vCPU is ever on two, waiting for one to leave, and the moments between two locks. */
#include "suite.h"

#include "base/lock.h"
#include "core/deferred.h"

#define CPUS 4
#define DOMAINS 12
static struct domain *d[DOMAINS];
static struct vcpu *v[DOMAINS];

static void begin(unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        d[i] = suite_domain((domid_t)(30 + i), 1);
        v[i] = d[i]->vcpu[0];
    }
}

/* Each pcpu takes its way out once. */
static void all_exit(void)
{
    for (unsigned cpu = 0; cpu < CPUS; cpu++) {
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
    all_exit();
    for (unsigned i = 0; i < n; i++) {
        suite_destroy(d[i]);
    }
}

static unsigned idle_pcpus(void)
{
    unsigned count = 0;
    for (unsigned cpu = 0; cpu < CPUS; cpu++) {
        count += vcpu_is_idle(host_current[cpu]);
    }
    return count;
}

static void nobody_twice(void)
{
    for (unsigned i = 0; i < CPUS; i++) {
        for (unsigned j = 0; j < i; j++) {
            CU_ASSERT_PTR_NOT_EQUAL(host_current[i], host_current[j]);
        }
        CU_ASSERT_EQUAL(host_current[i]->sched.pcpu, i);
        CU_ASSERT_TRUE(host_current[i]->sched.running);
    }
}

static void test_sched_smp__new_vcpus_are_spread(void)
{
    begin(8);
    unsigned count[CPUS] = {0};
    for (unsigned i = 0; i < 8; i++) {
        count[v[i]->sched.pcpu]++;
    }
    for (unsigned cpu = 0; cpu < CPUS; cpu++) {
        CU_ASSERT_EQUAL(count[cpu], 2);
    }
    end(8);
}

static void test_sched_smp__starting_one_kicks_its_pcpu(void)
{
    d[0] = suite_domain(30, 4);
    for (unsigned i = 1; i < 4; i++) {
        struct vcpu *one = d[0]->vcpu[i];
        unsigned kicks = host.kicks[one->sched.pcpu];
        one->initialised = true;
        sched_resume(one, PAUSE_DOWN);
        CU_ASSERT_TRUE(one->sched.pcpu == 0 || host.kicks[one->sched.pcpu] == kicks + 1);
    }
    all_exit();
    CU_ASSERT_EQUAL(idle_pcpus(), 0);
    nobody_twice();
    end(1);
}

static void test_sched_smp__idle_pcpu_takes_waiting_work(void)
{
    begin(8);
    all_exit();
    CU_ASSERT_EQUAL(idle_pcpus(), 0);
    /* All that remain runnable live on one pcpu: they must not queue up there. */
    unsigned home = v[0]->sched.pcpu;
    for (unsigned i = 0; i < 8; i++) {
        if (v[i]->sched.pcpu != home) {
            sched_pause(v[i], PAUSE_BLOCKED);
        }
    }
    all_exit();
    all_exit();
    CU_ASSERT_EQUAL(idle_pcpus(), 2);
    nobody_twice();
    end(8);
}

static void test_sched_smp__work_conserving_and_fair(void)
{
    begin(DOMAINS);
    for (int step = 0; step < 4000; step++) {
        host_advance(NS_PER_MS);
        all_exit();
        CU_ASSERT_EQUAL(idle_pcpus(), 0);
        if (step % 100 == 0) {
            nobody_twice();
        }
    }
    ns_t total = 0;
    for (unsigned i = 0; i < DOMAINS; i++) {
        total += sched_used_ns(v[i]);
        CU_ASSERT_TRUE(sched_used_ns(v[i]) > 4 * NS_PER_SEC / 4);
    }
    CU_ASSERT_TRUE(total >= CPUS * 4 * NS_PER_SEC - CPUS * 2 * NS_PER_MS);
    CU_ASSERT_TRUE(total <= CPUS * 4 * NS_PER_SEC);
    end(DOMAINS);
}

/* Vcpus block and wake at random for a while: the books must balance all the time. */
static void test_sched_smp__random_life(void)
{
    begin(DOMAINS);
    uint64_t seed = 99;
    bool blocked[DOMAINS] = {false};
    for (int step = 0; step < 40000; step++) {
        seed = seed * 6364136223846793005UL + 1442695040888963407UL;
        unsigned i = (unsigned)(seed >> 33) % DOMAINS;
        host_play((unsigned)(seed >> 40) % CPUS);
        switch ((seed >> 50) % 4) {
        case 0:
            sched_pause(v[i], PAUSE_BLOCKED);
            blocked[i] = true;
            break;
        case 1:
            sched_wake(v[i]);
            blocked[i] = false;
            break;
        case 2:
            sched_yield();
            break;
        default:
            host_advance((ns_t)((seed >> 20) % (2 * NS_PER_MS)));
            break;
        }
        host_exit_path();
        nobody_twice();
    }
    /* All who can run get to run once everything has settled. */
    for (int i = 0; i < 400; i++) {
        host_advance(NS_PER_MS);
        all_exit();
    }
    unsigned runnable = 0;
    ns_t before[DOMAINS];
    for (unsigned i = 0; i < DOMAINS; i++) {
        runnable += !blocked[i];
        before[i] = sched_used_ns(v[i]);
    }
    for (int i = 0; i < 400; i++) {
        host_advance(NS_PER_MS);
        all_exit();
    }
    for (unsigned i = 0; i < DOMAINS; i++) {
        CU_ASSERT_EQUAL(sched_used_ns(v[i]) > before[i], !blocked[i]);
    }
    CU_ASSERT_EQUAL(idle_pcpus(), runnable >= CPUS ? 0 : CPUS - runnable);
    end(DOMAINS);
}

/* ---- waiting for a vCPU to leave ---- */

static unsigned spun;
static void cpu1_exits(void)
{
    if (++spun == 5) {
        unsigned self = host_cpu;
        host_play(1);
        host_exit_path();
        host_play(self);
    }
}

static void test_sched_vcpu_sync__waits_for_another_pcpu(void)
{
    begin(2);
    all_exit();
    struct vcpu *there = host_current[1];
    CU_ASSERT_FALSE_FATAL(vcpu_is_idle(there));
    spun = 0;
    host.on_relax = cpu1_exits;
    domain_pause_sync(there->domain);
    host.on_relax = NULL;
    CU_ASSERT_EQUAL(spun, 5);
    CU_ASSERT_FALSE(sched_is_running(there));
    CU_ASSERT_TRUE(host.kicks[1] > 0);
    domain_unpause(there->domain);
    end(2);
}

/* ---- between saving registers and being queued again ---- */

static struct vcpu *leaving;
static enum { NOTHING, PAUSE, PAUSE_AND_RESUME, WAKE } meanwhile;
void __real_arch_context_switch(struct vcpu *prev, struct vcpu *next);
void __wrap_arch_context_switch(struct vcpu *prev, struct vcpu *next);
void __wrap_arch_context_switch(struct vcpu *prev, struct vcpu *next)
{
    unsigned self = host_cpu;
    if (prev == leaving && meanwhile != NOTHING) {
        /* Another pcpu acts while prev's registers are still being saved here; one that is idle
         * looks for work, too, and must not take prev. */
        host_play(3);
        if (meanwhile == PAUSE || meanwhile == PAUSE_AND_RESUME) {
            sched_pause(prev, PAUSE_DOMAIN);
        }
        if (meanwhile == PAUSE_AND_RESUME) {
            sched_resume(prev, PAUSE_DOMAIN);
        }
        if (meanwhile == WAKE) {
            sched_wake(prev);
        }
        meanwhile = NOTHING;
        CU_ASSERT_TRUE(vcpu_is_idle(host_exit_path()));
        CU_ASSERT_TRUE(sched_is_running(prev));
        host_play(self);
    }
    __real_arch_context_switch(prev, next);
}

static void leave_with(int what, enum vcpu_pause_reason why, bool runs_again)
{
    begin(1);
    all_exit();
    leaving = v[0];
    meanwhile = what;
    host_play(v[0]->sched.pcpu);
    CU_ASSERT_PTR_EQUAL(current_vcpu(), v[0]);
    sched_pause(v[0], why);
    host_exit_path();
    leaving = NULL;
    all_exit();
    vcpu_runstate_info_t r;
    sched_get_runstate(v[0], &r);
    CU_ASSERT_EQUAL(sched_is_running(v[0]), runs_again);
    CU_ASSERT_EQUAL(r.state, runs_again             ? RUNSTATE_running
                             : why == PAUSE_BLOCKED ? RUNSTATE_blocked
                                                    : RUNSTATE_offline);
    v[0]->sched.pause_bits &= ~(uint32_t)PAUSE_DOMAIN;
    end(1);
}

static void test_sched_smp__woken_while_being_switched_out(void)
{
    leave_with(WAKE, PAUSE_BLOCKED, true);
}

static void test_sched_smp__paused_while_being_switched_out(void)
{
    leave_with(PAUSE, PAUSE_BLOCKED, false);
}

static void test_sched_smp__paused_and_resumed_while_being_switched_out(void)
{
    leave_with(PAUSE_AND_RESUME, PAUSE_BLOCKED, false);
}

static void test_sched_smp__wake_of_a_domain_that_is_paused(void)
{
    leave_with(WAKE, PAUSE_DOMAIN, false);
}

/* ---- a waiting vCPU on its way from one pcpu to another ---- */

static struct vcpu *travelling;
static enum { T_NOTHING, T_PAUSE, T_PAUSE_AND_RESUME } on_the_way;
static unsigned travelled;
void __real_spin_lock_checked(struct spinlock *l);
void __wrap_spin_lock_checked(struct spinlock *l);
void __wrap_spin_lock_checked(struct spinlock *l)
{
    /* Only while in transit is it neither queued nor running, though it can run. */
    if (travelling && l->rank == RANK_RUNQ && !heap_has(&travelling->sched.node) &&
        !travelling->sched.running && travelling->sched.pause_bits == 0) {
        struct vcpu *one = travelling;
        unsigned self = host_cpu;
        travelling = NULL;
        travelled++;
        host_play(3);
        if (on_the_way != T_NOTHING) {
            sched_pause(one, PAUSE_DOMAIN);
        }
        if (on_the_way == T_PAUSE_AND_RESUME) {
            sched_resume(one, PAUSE_DOMAIN);
        }
        host_play(self);
    }
    __real_spin_lock_checked(l);
}

static void travel(int what, bool runs)
{
    begin(5);
    all_exit();
    struct vcpu *waiting = NULL, *running = NULL;
    for (unsigned i = 0; i < 5; i++) {
        if (!sched_is_running(v[i])) {
            waiting = v[i];
        }
    }
    CU_ASSERT_PTR_NOT_NULL_FATAL(waiting);
    /* A pcpu that is not the waiting one's home becomes idle and steals. */
    unsigned thief = waiting->sched.pcpu == 1 ? 2 : 1;
    running = host_current[thief];
    host_play(thief);
    sched_pause(running, PAUSE_BLOCKED);
    travelling = waiting;
    on_the_way = what;
    travelled = 0;
    host_exit_path();
    travelling = NULL;
    CU_ASSERT_EQUAL(travelled, 1);
    CU_ASSERT_EQUAL(waiting->sched.pcpu, thief);
    CU_ASSERT_EQUAL(sched_is_running(waiting), runs);
    nobody_twice();
    sched_resume(waiting, PAUSE_DOMAIN);
    end(5);
}

static void test_sched_smp__steal(void)
{
    travel(T_NOTHING, true);
}

static void test_sched_smp__paused_on_the_way(void)
{
    travel(T_PAUSE, false);
}

static void test_sched_smp__paused_and_resumed_on_the_way(void)
{
    travel(T_PAUSE_AND_RESUME, true);
}

int main(void)
{
    static const struct suite_case cases[] = {
        CASE(test_sched_smp__new_vcpus_are_spread),
        CASE(test_sched_smp__starting_one_kicks_its_pcpu),
        CASE(test_sched_smp__idle_pcpu_takes_waiting_work),
        CASE(test_sched_smp__work_conserving_and_fair),
        CASE(test_sched_smp__random_life),
        CASE(test_sched_vcpu_sync__waits_for_another_pcpu),
        CASE(test_sched_smp__woken_while_being_switched_out),
        CASE(test_sched_smp__paused_while_being_switched_out),
        CASE(test_sched_smp__paused_and_resumed_while_being_switched_out),
        CASE(test_sched_smp__wake_of_a_domain_that_is_paused),
        CASE(test_sched_smp__steal),
        CASE(test_sched_smp__paused_on_the_way),
        CASE(test_sched_smp__paused_and_resumed_on_the_way),
    };
    return SUITE("scheduler, four pcpus", CPUS, cases);
}
