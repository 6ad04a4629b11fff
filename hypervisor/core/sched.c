// SPDX-License-Identifier: MIT
/*
 * Proportional share by weight. Each pcpu has a queue of vCPUs that could run, ordered by virtual
 * runtime: the time a vCPU has used, divided by its weight. The least goes first and keeps the pcpu
 * for a slice, or until somebody who is well behind it wakes up.
 *
 * Why waking often gains nothing: a vCPU that wakes up keeps its virtual runtime, raised to at most
 * WAKE_LAG behind the queue's clock. It can only be behind by time it did not use while others ran,
 * so preemption moves its share forward but never makes it larger; and MIN_RUN bounds how often a
 * pcpu changes hands.
 *
 * A pcpu without work takes a waiting vCPU from another one, and an enqueueing pcpu pokes one that
 * is idle, so nobody waits while a pcpu idles.
 *
 * Lock: the runq_lock (RANK_RUNQ) of the pcpu that sched.pcpu names; that field changes only under
 * the lock of the queue that is left. pause_bits changes only under the lock and may be read
 * without. Only sched_run(), on the exit path, switches.
 */
#include "core/sched.h"

#include "base/lock.h"
#include "core/account.h"
#include "core/deferred.h"
#include "core/domain.h"
#include "core/time.h"

#define SLICE_NS (10 * NS_PER_MS)
#define MIN_RUN_NS (NS_PER_MS / 2)
#define WAKE_LAG_NS (5 * NS_PER_MS)
/* Closer than this is a draw: no switch is worth it. */
#define PREEMPT_LEAD_NS (NS_PER_MS / 2)
#define WEIGHT_DEFAULT 256

static struct runq {
    struct spinlock lock;
    /* under lock */
    struct list queue;        /* by vruntime */
    struct vcpu *idle, *curr; /* idle: NULL before this pcpu takes part */
    uint64_t clock;           /* least vruntime around; never goes back */
    unsigned members;         /* vCPUs that live here */
    struct timer slice;       /* ends curr's slice, or its minimum */
    ns_t slice_end;           /* for which it is set, INT64_MAX none */
} queues[MAX_PCPUS];

static cpumask_t idle_pcpus; /* atomic */

static struct runq *lock_runq(const struct vcpu *v)
{
    for (;;) {
        unsigned cpu = read_once(v->sched.pcpu);
        spin_lock(&queues[cpu].lock);
        if (read_once(v->sched.pcpu) == cpu) {
            return &queues[cpu];
        }
        spin_unlock(&queues[cpu].lock);
    }
}

/* ---- virtual time ---- */

static uint64_t weighted(const struct vcpu *v, ns_t ns)
{
    return (uint64_t)ns * WEIGHT_DEFAULT / v->sched.weight;
}

/* a is earlier than b; both wrap. */
static bool vtime_before(uint64_t a, uint64_t b)
{
    return (int64_t)(a - b) < 0;
}

static uint64_t vtime_later(uint64_t a, uint64_t b)
{
    return vtime_before(a, b) ? b : a;
}

static bool queued(const struct vcpu *v)
{
    return !list_empty(&v->sched.queue);
}

static struct vcpu *first_waiting(const struct runq *rq)
{
    return list_empty(&rq->queue) ? NULL : list_entry(rq->queue.next, struct vcpu, sched.queue);
}

/* Charge curr for the time since `started`, and move the clock. */
static void account_locked(struct runq *rq, ns_t now)
{
    struct vcpu *v = rq->curr;
    const struct vcpu *first = first_waiting(rq);
    ns_t ran = MAX(now - v->sched.started, 0);
    v->sched.used_ns += ran;
    v->sched.started = now;
    if (v != rq->idle) {
        v->sched.vruntime += weighted(v, ran);
        bool waits = first && vtime_before(first->sched.vruntime, v->sched.vruntime);
        rq->clock = vtime_later(rq->clock, (waits ? first : v)->sched.vruntime);
    }
}

/* ---- queue ---- */

static void insert_locked(struct runq *rq, struct vcpu *v)
{
    struct list *pos;
    list_for_each(pos, &rq->queue)
    {
        const struct vcpu *other = list_entry(pos, struct vcpu, sched.queue);
        if (vtime_before(v->sched.vruntime, other->sched.vruntime)) {
            break;
        }
    }
    list_add_before(pos, &v->sched.queue);
}

/* Have curr's turn end at `end` unless it ends before. */
static void limit_slice_locked(struct runq *rq, ns_t end)
{
    if (end < rq->slice_end) {
        rq->slice_end = end;
        timer_set(&rq->slice, end);
    }
}

static unsigned cpu_of(const struct runq *rq)
{
    return (unsigned)(rq - queues);
}

/* v is so far behind curr that it does not wait for the end of curr's turn. */
static bool well_behind(const struct vcpu *v, const struct vcpu *curr)
{
    return vtime_before(v->sched.vruntime + weighted(v, PREEMPT_LEAD_NS), curr->sched.vruntime);
}

/* v, which is on the queue, may be due before curr, whose account is up to date. */
static void preempt_locked(struct runq *rq, const struct vcpu *v, ns_t now)
{
    const struct vcpu *curr = rq->curr;
    ns_t end = curr->sched.slice_start + (well_behind(v, curr) ? MIN_RUN_NS : SLICE_NS);
    if (curr == rq->idle || end <= now) {
        deferred_raise(cpu_of(rq), DEFER_SCHED);
    } else {
        limit_slice_locked(rq, end);
    }
}

/* Somebody waits here although another pcpu has nothing to do: have it look. */
static void poke_idle(const struct runq *rq)
{
    for_each_cpu(cpu, &idle_pcpus)
    {
        if (cpu != cpu_of(rq)) {
            deferred_raise(cpu, DEFER_SCHED);
            return;
        }
    }
}

/* v has become runnable: not running, not queued. */
static void enqueue_locked(struct runq *rq, struct vcpu *v, ns_t now)
{
    account_locked(rq, now); /* the clock stands still while curr is alone */
    v->sched.vruntime = vtime_later(v->sched.vruntime, rq->clock - weighted(v, WAKE_LAG_NS));
    insert_locked(rq, v);
    vcpu_runstate_change(v, RUNSTATE_runnable, now);
    preempt_locked(rq, v, now);
    if (rq->curr != rq->idle) {
        poke_idle(rq);
    }
}

static int waiting_state(const struct vcpu *v)
{
    return v->sched.pause_bits & PAUSE_BLOCKED ? RUNSTATE_blocked
           : v->sched.pause_bits               ? RUNSTATE_offline
                                               : RUNSTATE_runnable;
}

/* ---- pausing and waking ---- */

/* v's reasons not to run have changed: queue it or not, accordingly. */
static void follow_locked(struct runq *rq, struct vcpu *v)
{
    if (rq->curr == v && v->sched.pause_bits) {
        deferred_raise(cpu_of(rq), DEFER_SCHED);
    } else if (v->sched.running) {
        /* If it is still being switched out, finish_prev() follows. */
    } else if (v->sched.pause_bits) {
        list_del(&v->sched.queue);
        vcpu_runstate_change(v, waiting_state(v), arch_now_ns());
    } else if (!queued(v)) {
        enqueue_locked(rq, v, arch_now_ns());
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
    if (!list_empty(&rq->queue)) {
        v->sched.yielded = true;
        deferred_raise(cpu_of(rq), DEFER_SCHED);
    }
    spin_unlock(&rq->lock);
}

/* ---- switching ---- */

/* Take a waiting vCPU from another pcpu. Between the two locks it is on no queue; whoever pauses or
 * resumes it meanwhile finds it on our queue's books, and we look again. */
static void steal(struct runq *mine)
{
    for (unsigned cpu = 0; cpu < arch_facts.cpus_online; cpu++) {
        struct runq *rq = &queues[cpu];
        if (rq == mine || !rq->idle || list_empty(&rq->queue)) {
            continue;
        }
        spin_lock(&rq->lock);
        struct vcpu *v = first_waiting(rq);
        if (!v) {
            spin_unlock(&rq->lock);
            continue;
        }
        list_del(&v->sched.queue);
        rq->members--;
        uint64_t lag = v->sched.vruntime - rq->clock;
        write_once(v->sched.pcpu, cpu_of(mine));
        spin_unlock(&rq->lock);
        SPIN_GUARD(&mine->lock);
        mine->members++;
        if (!queued(v)) {
            /* Its place relative to the others goes with it, not the other queue's clock. */
            v->sched.vruntime = mine->clock + lag;
            if (v->sched.pause_bits == 0) {
                insert_locked(mine, v);
            }
        }
        return;
    }
}

static struct vcpu *pick_locked(const struct runq *rq, ns_t now)
{
    struct vcpu *curr = rq->curr, *first = first_waiting(rq);
    bool stays = curr != rq->idle && curr->sched.pause_bits == 0;
    if (!first) {
        return stays ? curr : rq->idle;
    }
    if (stays && curr->sched.yielded) {
        /* Behind the one that goes first, or it would have the pcpu back at once. */
        curr->sched.vruntime = vtime_later(curr->sched.vruntime, first->sched.vruntime);
        return first;
    }
    if (stays && now - curr->sched.slice_start < SLICE_NS) {
        return well_behind(first, curr) ? first : curr;
    }
    return stays && vtime_before(curr->sched.vruntime, first->sched.vruntime) ? curr : first;
}

/* curr starts a turn, or goes on with the one it has; it ends when somebody else waits. */
static void start_slice_locked(struct runq *rq, bool new_turn, ns_t now)
{
    struct sched_unit *curr = &rq->curr->sched;
    if (new_turn || now - curr->slice_start >= SLICE_NS) {
        curr->slice_start = now;
    }
    rq->slice_end = INT64_MAX;
    timer_stop(&rq->slice);
    if (rq->curr != rq->idle && !list_empty(&rq->queue)) {
        limit_slice_locked(rq, curr->slice_start + SLICE_NS);
    }
}

/* prev's registers are saved: it may run elsewhere from now on. */
static void finish_prev(struct runq *rq, struct vcpu *prev)
{
    spin_lock(&rq->lock);
    __atomic_store_n(&prev->sched.running, false, __ATOMIC_RELEASE);
    if (prev != rq->idle) {
        /* It may have been paused or resumed since it was decided to leave. */
        vcpu_runstate_change(prev, waiting_state(prev), arch_now_ns());
        if (prev->sched.pause_bits == 0) {
            insert_locked(rq, prev);
            limit_slice_locked(rq, rq->curr->sched.slice_start + SLICE_NS);
        }
    }
    if (rq->curr == rq->idle && !list_empty(&rq->queue)) {
        deferred_raise(cpu_of(rq), DEFER_SCHED);
    } else if (!list_empty(&rq->queue)) {
        poke_idle(rq);
    }
    spin_unlock(&rq->lock);
}

void sched_run(void)
{
    struct runq *rq = &queues[arch_cpu_id()];
    struct vcpu *prev = rq->curr;
    if (list_empty(&rq->queue) && (prev == rq->idle || prev->sched.pause_bits)) {
        steal(rq);
    }

    ns_t now = arch_now_ns();
    spin_lock(&rq->lock);
    account_locked(rq, now);
    struct vcpu *next = pick_locked(rq, now);
    prev->sched.yielded = false;
    if (next != prev) {
        list_del(&next->sched.queue);
        next->sched.running = true;
        next->sched.started = now;
        rq->curr = next;
        vcpu_runstate_change(prev, waiting_state(prev), now);
        vcpu_runstate_change(next, RUNSTATE_running, now);
        account_leave(&prev->sched.system, now);
        account_enter(&next->sched.system, now);
        (next == rq->idle ? cpumask_set : cpumask_clear)(&idle_pcpus, cpu_of(rq));
    }
    start_slice_locked(rq, next != prev, now);
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

static void slice_over(void *arg)
{
    struct runq *rq = arg;
    deferred_raise(cpu_of(rq), DEFER_SCHED);
}

void sched_init_pcpu(unsigned cpu)
{
    struct runq *rq = &queues[cpu];
    rq->lock = SPINLOCK_INIT(RANK_RUNQ);
    list_init(&rq->queue);
    timer_init(&rq->slice, slice_over, rq, cpu);
    rq->slice_end = INT64_MAX;
    rq->idle = rq->curr = vcpu_idle_create(cpu);
    rq->idle->sched = (struct sched_unit){
        .pcpu = cpu, .running = true, .weight = WEIGHT_DEFAULT, .started = arch_now_ns()};
    list_init(&rq->idle->sched.queue);
    cpumask_set(&idle_pcpus, cpu);
}

void sched_vcpu_init(struct vcpu *v)
{
    unsigned best = 0;
    for (unsigned cpu = 0; cpu < arch_facts.cpus_online; cpu++) {
        if (queues[cpu].idle && read_once(queues[cpu].members) < queues[best].members) {
            best = cpu;
        }
    }
    SPIN_GUARD(&queues[best].lock);
    queues[best].members++;
    v->sched = (struct sched_unit){.pcpu = best,
                                   .pause_bits = PAUSE_DOWN | PAUSE_DOMAIN,
                                   .weight = WEIGHT_DEFAULT,
                                   .vruntime = queues[best].clock};
    list_init(&v->sched.queue);
    v->runstate = (vcpu_runstate_info_t){.state = RUNSTATE_offline,
                                         .state_entry_time = (uint64_t)arch_now_ns()};
}

void sched_vcpu_destroy(struct vcpu *v)
{
    struct runq *rq = lock_runq(v);
    BUG_ON(v->sched.running || queued(v));
    rq->members--;
    spin_unlock(&rq->lock);
}

int sched_set_params(struct domain *d, unsigned weight, unsigned cap)
{
    if (weight == 0 || weight > UINT16_MAX || cap > UINT16_MAX) {
        return -EINVAL;
    }
    for (unsigned i = 0; i < d->max_vcpus; i++) {
        struct vcpu *v = d->vcpu[i];
        struct runq *rq = lock_runq(v);
        if (rq->curr == v) {
            account_locked(rq, arch_now_ns()); /* at the old weight until now */
        }
        v->sched.weight = (uint16_t)weight;
        v->sched.cap = (uint16_t)cap;
        spin_unlock(&rq->lock);
    }
    return 0;
}

ns_t sched_used_ns(const struct vcpu *v)
{
    struct runq *rq = lock_runq(v);
    if (rq->curr == v) {
        account_locked(rq, arch_now_ns());
    }
    ns_t used = v->sched.used_ns;
    spin_unlock(&rq->lock);
    return used;
}

ns_t sched_get_runstate(const struct vcpu *v, vcpu_runstate_info_t *out)
{
    struct runq *rq = lock_runq(v);
    ns_t now, system = account_system_ns(&v->sched.system, &now);
    *out = v->runstate;
    if ((uint64_t)now > out->state_entry_time) {
        out->time[out->state] += (uint64_t)now - out->state_entry_time;
    }
    spin_unlock(&rq->lock);
    /* Clocks of two pcpus may differ by some ns when it has moved. */
    return MIN(system, (ns_t)out->time[RUNSTATE_running]);
}
