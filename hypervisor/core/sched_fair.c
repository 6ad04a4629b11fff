// SPDX-License-Identifier: MIT
/*
 * The policy: proportional share by weight. Each pcpu has a queue of vCPUs that could run, ordered
 * by virtual runtime: the time a vCPU has used, divided by its weight. The least goes first and
 * keeps the pcpu for a slice, or until somebody who is well behind it wakes up.
 *
 * The weight is the domain's: each of its vCPUs that run or are ready counts for an equal part of
 * it, so four busy vCPUs get together what one would. Those that take turns on one pcpu also share
 * one place in the order; a domain whose vCPUs take turns on several gets at most one such share on
 * each of these.
 *
 * Why waking often gains nothing: a vCPU that wakes up keeps its virtual runtime, raised to at most
 * WAKE_LAG behind the queue's clock. It can only be behind by time it did not use while others ran,
 * so preemption moves its share forward but never makes it larger; and min_run bounds how often a
 * pcpu changes hands.
 *
 * Balance: a pcpu without work takes a waiting vCPU from another one, and an enqueueing pcpu calls
 * one that is idle, so nobody waits while a pcpu that it may use idles. At the end of a turn a pcpu
 * looks at two others at random and takes from the one with more load if that lessens the
 * difference; now and then also if it only reverses it, so that three vCPUs on two pcpus take turns
 * at being alone. A vCPU keeps its place relative to the clock when it moves.
 *
 * Costs: everything is O(log n) in the length of the queue, moving included: how many places are
 * tried is bounded. Locks: see core/sched_policy.h.
 */
#include "core/deferred.h"
#include "core/sched_policy.h"

#define WEIGHT_DEFAULT 256
#define SLICE_NS (10 * NS_PER_MS)
#define MIN_RUN_LEAST_NS (100 * NS_PER_US)
#define WAKE_LAG_NS (5 * NS_PER_MS)
/* Further ahead nobody gets by running: it has slept for half a turn of the clock, or worse. */
#define AHEAD_MAX_NS NS_PER_SEC
/* Closer than this is a draw: no switch is worth it. Less than WAKE_LAG_NS: who uses less than its
 * share is that far behind and does not wait; two who talk and use theirs take longer turns, in
 * which more goes over at once. */
#define PREEMPT_LEAD_NS (3 * NS_PER_MS)
#define BALANCE_NS SLICE_NS
#define SWAP_NS (100 * NS_PER_MS)
/* With more at once virtual time could overflow. */
#define CHARGE_MAX_NS (3600 * NS_PER_SEC)
/* Pcpus that are asked for work, vCPUs of one that are looked at for one that may leave. */
#define STEAL_TRIES 8
#define LEAVE_TRIES 32
#define PLACE_CPU_MASK 0xffUL

_Static_assert(MAX_PCPUS - 1 <= PLACE_CPU_MASK, "pcpu in sched_domain.last_place");

/* Shorter turns are dear where two domains talk: TCP from the control domain to a guest runs at
 * 1,519 Mbit/s with 0.5 ms, 1,555 with 1 ms and 1,677 with 2 (docs/performance.md). */
static ns_t min_run = 2 * NS_PER_MS; /* atomic */
static cpumask_t waiting_pcpus;      /* atomic: somebody waits there */

/* ---- virtual time ---- */

/* With the part of the domain's weight that is v's now. */
static uint64_t weighted(const struct vcpu *v, ns_t ns)
{
    const struct sched_domain *s = &v->domain->sched;
    return (uint64_t)ns * WEIGHT_DEFAULT * MAX(read_once(s->active), 1U) / read_once(s->weight);
}

static uint64_t vtime_later(uint64_t a, uint64_t b)
{
    return heap_before(a, b) ? b : a;
}

static struct vcpu *first_waiting(const struct runq *rq)
{
    return rq->waiting ? container_of(rq->waiting, struct vcpu, sched.node) : NULL;
}

/* v's part of the load, as it is now. */
static void count_load(struct runq *rq, struct vcpu *v)
{
    const struct sched_domain *s = &v->domain->sched;
    uint32_t load = MAX(read_once(s->weight) / MAX(read_once(s->active), 1U), 1U);
    rq->load += load - v->sched.load;
    v->sched.load = load;
}

static void note_place(const struct runq *rq, const struct vcpu *v)
{
    uint64_t place = (v->sched.vruntime & ~PLACE_CPU_MASK) | sched_cpu_of(rq);
    __atomic_store_n(&v->domain->sched.last_place, place, __ATOMIC_RELAXED);
}

void policy_charge(struct runq *rq, ns_t now)
{
    struct vcpu *v = rq->curr;
    const struct vcpu *first = first_waiting(rq);
    ns_t ran = MAX(now - v->sched.started, 0);
    v->sched.started = now;
    if (v == rq->idle) {
        return;
    }
    v->sched.vruntime += weighted(v, MIN(ran, CHARGE_MAX_NS));
    note_place(rq, v);
    count_load(rq, v);
    (void)sched_cap_charge(v->domain, ran, now);
    bool waits = first && heap_before(first->sched.vruntime, v->sched.vruntime);
    rq->clock = vtime_later(rq->clock, (waits ? first : v)->sched.vruntime);
}

/* ---- queue ---- */

static void insert(struct runq *rq, struct vcpu *v)
{
    heap_insert(&rq->waiting, &v->sched.node, v->sched.vruntime);
    if (!cpumask_test(&waiting_pcpus, sched_cpu_of(rq))) {
        cpumask_set(&waiting_pcpus, sched_cpu_of(rq));
    }
}

static void extract(struct runq *rq, struct vcpu *v)
{
    heap_remove(&rq->waiting, &v->sched.node);
    if (!rq->waiting) {
        cpumask_clear(&waiting_pcpus, sched_cpu_of(rq));
    }
}

/* Have curr's turn end at `end` unless it ends before. */
static void limit_slice(struct runq *rq, ns_t end)
{
    if (end < rq->slice_end) {
        rq->slice_end = end;
        if (!read_once(rq->slice.armed) || end < rq->slice.deadline) {
            timer_set(&rq->slice, end);
        }
    }
}

/* v is so far behind curr that it does not wait for the end of curr's turn. */
static bool well_behind(const struct vcpu *v, const struct vcpu *curr)
{
    return heap_before(v->sched.vruntime + weighted(v, PREEMPT_LEAD_NS), curr->sched.vruntime);
}

/* v, which is on the queue, may be due before curr, whose account is up to date. */
static void preempt(struct runq *rq, const struct vcpu *v, ns_t now)
{
    const struct vcpu *curr = rq->curr;
    ns_t end = curr->sched.slice_start + (well_behind(v, curr) ? sched_min_run() : SLICE_NS);
    if (curr == rq->idle || end <= now) {
        deferred_raise(sched_cpu_of(rq), DEFER_SCHED);
    } else {
        limit_slice(rq, end);
    }
}

/* v waits here: if there is an idle pcpu that it may use, have that look. */
static void call_idle(const struct runq *rq, const struct vcpu *v)
{
    unsigned cpu = sched_next_cpu(&sched_idle_pcpus, &v->sched.affinity, 0);
    if (cpu < MAX_PCPUS && test_and_clear_bit(cpu, sched_idle_pcpus.word)) {
        write_once(sched_queues[cpu].hint, sched_cpu_of(rq));
        deferred_raise(cpu, DEFER_SCHED);
    }
}

void policy_enqueue(struct runq *rq, struct vcpu *v, bool woken, ns_t now)
{
    policy_charge(rq, now); /* the clock stands still while curr is alone */
    uint64_t last = __atomic_load_n(&v->domain->sched.last_place, __ATOMIC_RELAXED);
    if (woken && v->domain->max_vcpus > 1 && (last & PLACE_CPU_MASK) == sched_cpu_of(rq)) {
        v->sched.vruntime = vtime_later(v->sched.vruntime, last & ~PLACE_CPU_MASK);
    }
    v->sched.vruntime = vtime_later(v->sched.vruntime, rq->clock - weighted(v, WAKE_LAG_NS));
    uint64_t most = rq->clock + weighted(v, AHEAD_MAX_NS);
    v->sched.vruntime = heap_before(most, v->sched.vruntime) ? most : v->sched.vruntime;
    count_load(rq, v);
    insert(rq, v);
    preempt(rq, v, now);
    if (rq->curr != rq->idle) {
        call_idle(rq, v);
    }
}

void policy_depart(struct runq *rq, struct vcpu *v, const struct runq *to)
{
    if (sched_queued(v)) {
        extract(rq, v);
    }
    rq->load -= v->sched.load;
    v->sched.load = 0;
    if (to) {
        v->sched.vruntime += read_once(to->clock) - rq->clock;
    }
}

void policy_yield(struct runq *rq)
{
    if (rq->waiting) {
        rq->curr->sched.yielded = true;
        deferred_raise(sched_cpu_of(rq), DEFER_SCHED);
    }
}

/* ---- balance ---- */

static unsigned random_cpu(struct runq *rq)
{
    rq->random = rq->random * 1664525 + 1013904223;
    return (rq->random >> 16) % arch_facts.cpus_online;
}

/* The next pcpu from `from` on, around, where somebody waits; MAX_PCPUS: nowhere. */
static unsigned next_waiting(unsigned from)
{
    unsigned cpu = find_next_bit(waiting_pcpus.word, MAX_PCPUS, from);
    return cpu < MAX_PCPUS ? cpu : find_next_bit(waiting_pcpus.word, MAX_PCPUS, 0);
}

/* One that waits in this part of the heap and may go to `cpu`, with at most `load`. */
static struct vcpu *find_leaver(const struct heap_node *n, unsigned cpu, uint32_t load,
                                unsigned *tries)
{
    if (!n || *tries == 0) {
        return NULL;
    }
    --*tries;
    struct vcpu *v = container_of(n, struct vcpu, sched.node);
    if (sched_may_use(v, cpu) && v->sched.load <= load) {
        return v;
    }
    return find_leaver(n->left, cpu, load, tries) ?: find_leaver(n->right, cpu, load, tries);
}

/* Take one vCPU that waits on rq; returns its load, 0 when there was none. */
static uint32_t take_from(struct runq *rq, const struct runq *mine, uint32_t max_load)
{
    unsigned tries = LEAVE_TRIES;
    spin_lock(&rq->lock);
    struct vcpu *v = find_leaver(rq->waiting, sched_cpu_of(mine), max_load, &tries);
    if (!v) {
        spin_unlock(&rq->lock);
        return 0;
    }
    uint32_t load = v->sched.load;
    struct domain *d = domain_get_held(v->domain);
    sched_move(rq, v, sched_cpu_of(mine));
    domain_put(d);
    return load;
}

/* A pcpu where somebody waits: the one that called us, or any. */
static unsigned take_hint(struct runq *mine)
{
    unsigned cpu = read_once(mine->hint);
    write_once(mine->hint, sched_cpu_of(mine));
    bool good = cpu != sched_cpu_of(mine) && cpumask_test(&waiting_pcpus, cpu);
    return good ? cpu : next_waiting(random_cpu(mine));
}

/* Nothing to do here: take from whoever called us, else from anybody. */
static void steal(struct runq *mine)
{
    unsigned cpu = take_hint(mine);
    for (unsigned tries = STEAL_TRIES; tries && cpu < MAX_PCPUS; tries--) {
        if (cpu != sched_cpu_of(mine) && take_from(&sched_queues[cpu], mine, UINT32_MAX)) {
            return;
        }
        cpu = next_waiting(cpu + 1);
    }
}

/* A pcpu whose vCPU is alone has no end of a turn at which to look for more: have it. */
static void call_other(struct runq *rq, ns_t now)
{
    unsigned cpu = random_cpu(rq);
    struct runq *other = &sched_queues[cpu];
    if (read_once(other->load) < read_once(rq->load) && !cpumask_test(&waiting_pcpus, cpu) &&
        now >= read_once(other->swap_at)) {
        write_once(other->hint, sched_cpu_of(rq));
        deferred_raise(cpu, DEFER_SCHED);
    }
}

void policy_balance(struct runq *rq, ns_t now)
{
    const struct vcpu *curr = rq->curr;
    bool stays = curr != rq->idle && !curr->sched.pause_bits &&
                 sched_may_use(curr, sched_cpu_of(rq)) && !curr->sched.yielded;
    if (!read_once(rq->waiting) && !stays) {
        steal(rq);
        return;
    }
    if (now < rq->balance_at) {
        return;
    }
    rq->balance_at = now + BALANCE_NS;
    if (read_once(rq->waiting)) {
        call_other(rq, now);
    }
    unsigned one = take_hint(rq), two = next_waiting(random_cpu(rq));
    if (one == MAX_PCPUS || two == MAX_PCPUS) {
        return;
    }
    struct runq *from = &sched_queues[sched_queues[one].load < sched_queues[two].load ? two : one];
    int32_t more = (int32_t)(read_once(from->load) - read_once(rq->load));
    uint32_t most = (uint32_t)(now < read_once(rq->swap_at) ? more - 1 : 2 * more);
    if (more > 0 && take_from(from, rq, most) >= (uint32_t)more) {
        rq->swap_at = from->swap_at = now + SWAP_NS;
    }
}

void policy_join(const struct runq *rq, struct vcpu *v)
{
    v->sched.vruntime = rq->clock;
    note_place(rq, v);
}

unsigned policy_place(const struct vcpu *v)
{
    const struct runq *best = NULL;
    for (unsigned cpu = 0; cpu < arch_facts.cpus_online; cpu++) {
        const struct runq *rq = &sched_queues[cpu];
        if (rq->idle && sched_may_use(v, cpu) &&
            (!best || rq->load < best->load ||
             (rq->load == best->load && rq->members < best->members))) {
            best = rq;
        }
    }
    return best ? sched_cpu_of(best) : 0;
}

/* ---- picking ---- */

/* The first one whose domain's cap lets it run. */
static struct vcpu *first_allowed(struct runq *rq, ns_t now)
{
    struct vcpu *v;
    while ((v = first_waiting(rq)) && sched_cap_charge(v->domain, 0, now) <= 0) {
        policy_depart(rq, v, NULL);
        sched_cap_stop(v, now);
    }
    return v;
}

/* curr starts a turn, or goes on with the one it has; it ends when somebody else waits or
 * when the credit does. */
static void start_slice(struct runq *rq, struct vcpu *next, ns_t now)
{
    struct sched_unit *unit = &next->sched;
    if (next != rq->curr || now - unit->slice_start >= SLICE_NS) {
        unit->slice_start = now;
    }
    rq->slice_end = INT64_MAX; /* the timer stays: turns are often short */
    if (next == rq->idle) {
        return;
    }
    if (rq->waiting) {
        limit_slice(rq, unit->slice_start + SLICE_NS);
    }
    ns_t capped = sched_cap_slice(next->domain, now);
    if (capped < INT64_MAX) {
        limit_slice(rq, now + capped);
    }
}

static struct vcpu *choose(struct runq *rq, struct vcpu *first, ns_t now)
{
    struct vcpu *curr = rq->curr;
    bool stays =
        curr != rq->idle && curr->sched.pause_bits == 0 && sched_may_use(curr, sched_cpu_of(rq));
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
    return stays && heap_before(curr->sched.vruntime, first->sched.vruntime) ? curr : first;
}

struct vcpu *policy_pick(struct runq *rq, ns_t now)
{
    struct vcpu *curr = rq->curr;
    if (curr != rq->idle && sched_cap_charge(curr->domain, 0, now) <= 0) {
        sched_cap_stop(curr, now);
    }
    struct vcpu *next = choose(rq, first_allowed(rq, now), now);
    if (next == rq->idle) {
        /* ORDER: idle, for those who have somebody waiting, then a second look for them. */
        if (!test_and_set_bit(sched_cpu_of(rq), sched_idle_pcpus.word) &&
            !cpumask_empty(&waiting_pcpus)) {
            deferred_raise(sched_cpu_of(rq), DEFER_SCHED);
        }
    } else {
        if (cpumask_test(&sched_idle_pcpus, sched_cpu_of(rq))) {
            cpumask_clear(&sched_idle_pcpus, sched_cpu_of(rq));
        }
        if (next != curr) {
            extract(rq, next);
        }
        if (rq->waiting) {
            call_idle(rq, first_waiting(rq)); /* several may have come at once */
        }
    }
    start_slice(rq, next, now);
    return next;
}

/* ---- set-up ---- */

int sched_set_min_run(ns_t ns)
{
    if (ns < MIN_RUN_LEAST_NS || ns > SLICE_NS) {
        return -EINVAL;
    }
    write_once(min_run, ns);
    return 0;
}

ns_t sched_min_run(void)
{
    return read_once(min_run);
}

/* The turn it was set for may be over, and another end later. */
static void slice_over(void *arg)
{
    struct runq *rq = arg;
    SPIN_GUARD(&rq->lock);
    if (rq->slice_end <= arch_now_ns()) {
        deferred_raise(sched_cpu_of(rq), DEFER_SCHED);
    } else if (rq->slice_end < INT64_MAX) {
        timer_set(&rq->slice, rq->slice_end);
    }
}

void policy_init(struct runq *rq)
{
    timer_init(&rq->slice, slice_over, rq, sched_cpu_of(rq));
    rq->slice_end = INT64_MAX;
    rq->random = sched_cpu_of(rq);
    rq->hint = sched_cpu_of(rq);
    /* Virtual time wraps after centuries: have it happen in every test instead. */
    rq->clock = 0UL - 10 * NS_PER_SEC;
}
