// SPDX-License-Identifier: MIT
/*
 * The scheduler's mechanism: reasons not to run, switching, moving between pcpus, runstates. Whom a
 * pcpu runs, and for how long, is the policy's: see core/sched_policy.h.
 *
 * Lock: the lock (RANK_RUNQ) of the run queue of the pcpu that sched.pcpu names; that field changes
 * only under the lock of the queue that is left. pause_bits changes only under the lock and may be
 * read without. Only sched_run(), on the exit path, switches.
 */
#include "core/account.h"
#include "core/deferred.h"
#include "core/sched_policy.h"
#include "core/time.h"

struct runq sched_queues[MAX_PCPUS];
cpumask_t sched_idle_pcpus;

static struct runq *lock_runq(const struct vcpu *v)
{
    for (;;) {
        unsigned cpu = read_once(v->sched.pcpu);
        spin_lock(&sched_queues[cpu].lock);
        if (read_once(v->sched.pcpu) == cpu) {
            return &sched_queues[cpu];
        }
        spin_unlock(&sched_queues[cpu].lock);
    }
}

/* ---- runstates ---- */

/* A vCPU that only its cap stops is ready: it wants a pcpu. */
static int waiting_state(const struct vcpu *v)
{
    uint32_t bits = v->sched.pause_bits & ~(uint32_t)PAUSE_CAP;
    return bits & PAUSE_BLOCKED ? RUNSTATE_blocked : bits ? RUNSTATE_offline : RUNSTATE_runnable;
}

static bool is_active(int state)
{
    return state == RUNSTATE_running || state == RUNSTATE_runnable;
}

static void set_state(struct vcpu *v, int state, ns_t now)
{
    int change = is_active(state) - is_active(v->runstate.state);
    if (change) {
        __atomic_fetch_add(&v->domain->sched.active, (uint32_t)change, __ATOMIC_RELAXED);
    }
    vcpu_runstate_change(v, state, now);
}

/* ---- pausing and waking ---- */

/* v's reasons not to run have changed: queue it or not, accordingly. */
static void follow_locked(struct runq *rq, struct vcpu *v)
{
    if (rq->curr == v && v->sched.pause_bits) {
        deferred_raise(sched_cpu_of(rq), DEFER_SCHED);
    } else if (v->sched.running) {
        /* If it is still being switched out, finish_prev() follows. */
    } else if (v->sched.pause_bits) {
        policy_depart(rq, v, NULL);
        set_state(v, waiting_state(v), arch_now_ns());
    } else if (!sched_queued(v)) {
        ns_t now = arch_now_ns();
        set_state(v, RUNSTATE_runnable, now);
        policy_enqueue(rq, v, true, now);
    }
}

void sched_pause(struct vcpu *v, enum vcpu_pause_reason why)
{
    struct runq *rq = lock_runq(v);
    __atomic_fetch_or(&v->sched.pause_bits, (uint32_t)why, __ATOMIC_SEQ_CST);
    follow_locked(rq, v);
    spin_unlock(&rq->lock);
}

void sched_resume(struct vcpu *v, enum vcpu_pause_reason why)
{
    struct runq *rq = lock_runq(v);
    __atomic_fetch_and(&v->sched.pause_bits, ~(uint32_t)why, __ATOMIC_SEQ_CST);
    follow_locked(rq, v);
    spin_unlock(&rq->lock);
}

void sched_wake(struct vcpu *v)
{
    if (__atomic_load_n(&v->sched.pause_bits, __ATOMIC_SEQ_CST) & PAUSE_BLOCKED) {
        sched_resume(v, PAUSE_BLOCKED);
    }
    unsigned cpu = read_once(v->sched.pcpu);
    if (read_once(v->sched.running) && cpu != arch_cpu_id()) {
        arch_kick_cpu(cpu);
    }
}

bool sched_is_running(const struct vcpu *v)
{
    return __atomic_load_n(&v->sched.running, __ATOMIC_ACQUIRE);
}

void sched_vcpu_sync(struct vcpu *v)
{
    while (sched_is_running(v)) {
        arch_relax();
        irq_window(false);
    }
}

void sched_yield(void)
{
    struct vcpu *v = current_vcpu();
    struct runq *rq = lock_runq(v);
    policy_yield(rq);
    spin_unlock(&rq->lock);
}

/* ---- moving ---- */

/* Between the two locks v is on no queue; whoever pauses or resumes it meanwhile finds it on the
 * books of the new one, and we look again. SAFETY: the caller's reference keeps its domain. */
void sched_move(struct runq *rq, struct vcpu *v, unsigned cpu)
{
    struct runq *to = &sched_queues[cpu];
    policy_depart(rq, v, to);
    rq->members--;
    write_once(v->sched.pcpu, cpu);
    spin_unlock(&rq->lock);
    SPIN_GUARD(&to->lock);
    to->members++;
    if (v->sched.pcpu == cpu && !v->sched.running && !sched_queued(v) && v->sched.pause_bits == 0) {
        policy_enqueue(to, v, false, arch_now_ns());
    }
}

int sched_set_affinity(struct vcpu *v, const cpumask_t *mask)
{
    if (find_next_bit(mask->word, MAX_PCPUS, 0) >= arch_facts.cpus_online) {
        return -EINVAL;
    }
    struct runq *rq = lock_runq(v);
    v->sched.affinity = *mask;
    if (sched_may_use(v, sched_cpu_of(rq))) {
        spin_unlock(&rq->lock);
    } else if (v->sched.running) {
        /* finish_prev() moves it. */
        deferred_raise(sched_cpu_of(rq), DEFER_SCHED);
        spin_unlock(&rq->lock);
    } else {
        sched_move(rq, v, policy_place(v));
    }
    return 0;
}

cpumask_t sched_affinity(const struct vcpu *v)
{
    struct runq *rq = lock_runq(v);
    cpumask_t mask = v->sched.affinity;
    spin_unlock(&rq->lock);
    for (unsigned cpu = arch_facts.cpus_online; cpu < MAX_PCPUS; cpu++) {
        cpumask_clear(&mask, cpu);
    }
    return mask;
}

/* ---- switching ---- */

/* prev's registers are saved: it may run elsewhere from now on. */
static void finish_prev(struct runq *rq, struct vcpu *prev)
{
    spin_lock(&rq->lock);
    bool moves = prev != rq->idle && !sched_may_use(prev, sched_cpu_of(rq));
    struct domain *d = moves ? domain_get_held(prev->domain) : NULL;
    __atomic_store_n(&prev->sched.running, false, __ATOMIC_RELEASE);
    if (prev != rq->idle) {
        /* It may have been paused, resumed or pinned since it was decided to leave. */
        ns_t now = arch_now_ns();
        set_state(prev, waiting_state(prev), now);
        if (moves) {
            sched_move(rq, prev, policy_place(prev));
            domain_put(d);
            return;
        }
        if (prev->sched.pause_bits == 0) {
            policy_enqueue(rq, prev, false, now);
        } else {
            policy_depart(rq, prev, NULL);
        }
    }
    spin_unlock(&rq->lock);
}

void sched_run(void)
{
    struct runq *rq = &sched_queues[arch_cpu_id()];
    struct vcpu *prev = rq->curr;
    policy_balance(rq, arch_now_ns());

    spin_lock(&rq->lock);
    /* ORDER: prev's system time ends before its time does and next's begins after: it is a part of
     * it, however long this pcpu may be held up here by whatever is below us. */
    uint64_t tsc = arch_rdtsc();
    ns_t now = arch_now_ns();
    policy_charge(rq, now);
    struct vcpu *next = policy_pick(rq, now);
    prev->sched.yielded = false;
    if (next != prev) {
        next->sched.running = true;
        next->sched.started = now;
        rq->curr = next;
        set_state(prev, waiting_state(prev), now);
        set_state(next, RUNSTATE_running, now);
        account_leave(&prev->system, tsc);
        account_enter(&next->system, arch_rdtsc());
    }
    spin_unlock(&rq->lock);

    if (next != prev) {
        spin_assert_none_held();
        arch_context_switch(prev, next);
        finish_prev(rq, prev);
    }
    if (next != rq->idle && next != prev) {
        time_vcpu_update(next);
        vcpu_runstate_update_area(next);
    }
    /* ORDER: `running` before the exit path's look at pending events: see evtchn_bits.c. */
    smp_mb();
}

/* ---- set-up and accounting ---- */

void sched_init_pcpu(unsigned cpu)
{
    struct runq *rq = &sched_queues[cpu];
    rq->lock = SPINLOCK_INIT(RANK_RUNQ);
    policy_init(rq);
    rq->idle = rq->curr = vcpu_idle_create(cpu);
    rq->idle->sched = (struct sched_unit){.pcpu = cpu, .running = true, .started = arch_now_ns()};
    rq->idle->runstate = (vcpu_runstate_info_t){.state = RUNSTATE_running,
                                                .state_entry_time = (uint64_t)arch_now_ns()};
    cpumask_set(&sched_idle_pcpus, cpu);
}

void sched_vcpu_init(struct vcpu *v)
{
    v->sched = (struct sched_unit){.pause_bits = PAUSE_DOWN | PAUSE_DOMAIN};
    for (unsigned i = 0; i < ARRAY_SIZE(v->sched.affinity.word); i++) {
        v->sched.affinity.word[i] = ~0UL;
    }
    v->sched.pcpu = policy_place(v);
    struct runq *rq = &sched_queues[v->sched.pcpu];
    SPIN_GUARD(&rq->lock);
    rq->members++;
    policy_join(rq, v);
    v->runstate = (vcpu_runstate_info_t){.state = RUNSTATE_offline,
                                         .state_entry_time = (uint64_t)arch_now_ns()};
}

void sched_vcpu_destroy(struct vcpu *v)
{
    struct runq *rq = lock_runq(v);
    BUG_ON(v->sched.running || sched_queued(v));
    rq->members--;
    spin_unlock(&rq->lock);
}

int sched_set_params(struct domain *d, unsigned weight, unsigned cap)
{
    if (weight == 0 || weight > UINT16_MAX || cap > UINT16_MAX) {
        return -EINVAL;
    }
    for (unsigned i = 0; i < d->max_vcpus; i++) {
        struct runq *rq = lock_runq(d->vcpu[i]);
        if (rq->curr == d->vcpu[i]) {
            policy_charge(rq, arch_now_ns()); /* at the old weight until now */
        }
        spin_unlock(&rq->lock);
    }
    write_once(d->sched.weight, (uint16_t)weight);
    sched_cap_set(d, cap);
    for (unsigned i = 0; i < d->max_vcpus; i++) {
        if (sched_is_running(d->vcpu[i])) {
            /* Alone, it might have no end of its turn. */
            deferred_raise(read_once(d->vcpu[i]->sched.pcpu), DEFER_SCHED);
        }
    }
    return 0;
}

ns_t sched_get_runstate(const struct vcpu *v, vcpu_runstate_info_t *out)
{
    struct runq *rq = lock_runq(v);
    ns_t now, system = account_system_ns(&v->system, &now);
    *out = v->runstate;
    if ((uint64_t)now > out->state_entry_time) {
        out->time[out->state] += (uint64_t)now - out->state_entry_time;
    }
    spin_unlock(&rq->lock);
    /* Clocks of two pcpus may differ by some ns when it has moved. */
    return MIN(system, (ns_t)out->time[RUNSTATE_running]);
}

ns_t sched_used_ns(const struct vcpu *v)
{
    vcpu_runstate_info_t r;
    (void)sched_get_runstate(v, &r);
    return (ns_t)r.time[RUNSTATE_running];
}
