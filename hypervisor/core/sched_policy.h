// SPDX-License-Identifier: MIT
/*
 * Between the scheduler's mechanism (sched.c) and its policy. Another policy is another file with
 * these functions in the place of sched_fair.c; its state goes where "the policy's" is written.
 *
 * All are called with the lock of `rq` held unless it says otherwise. A vCPU that can run is
 * enqueued, and stays the policy's until it is picked or departs; the one picked is rq->curr from
 * then on, and comes back by policy_enqueue() or departs.
 */
#pragma once

#include "core/domain.h"

struct runq {
    struct spinlock lock;
    /* under lock */
    struct vcpu *idle, *curr; /* idle: NULL before this pcpu takes part */
    unsigned members;         /* vCPUs that live here */
    /* the policy's */
    struct heap_node *waiting; /* by vruntime */
    uint64_t clock;            /* least vruntime around; never goes back */
    uint32_t load;             /* sum of the vCPUs that run or wait here */
    struct timer slice;        /* set for slice_end or earlier */
    ns_t slice_end;            /* of curr's turn, or its minimum; INT64_MAX none */
    ns_t balance_at;           /* only by its own pcpu */
    uint32_t random;           /* likewise */
    ns_t swap_at;              /* atomic: not before that a swap of loads */
    unsigned hint;             /* atomic: the pcpu where somebody waits for this one */
};

extern struct runq sched_queues[MAX_PCPUS];
extern cpumask_t sched_idle_pcpus; /* atomic: idle, and nobody has called them */

static inline unsigned sched_cpu_of(const struct runq *rq)
{
    return (unsigned)(rq - sched_queues);
}

static inline bool sched_queued(const struct vcpu *v)
{
    return heap_has(&v->sched.node);
}

/* v may run on this pcpu, as far as its pinning goes. */
static inline bool sched_may_use(const struct vcpu *v, unsigned cpu)
{
    return cpumask_test(&v->sched.affinity, cpu);
}

/* From the first set bit of both masks on: the first at or after `from`, or MAX_PCPUS. */
static inline unsigned sched_next_cpu(const cpumask_t *a, const cpumask_t *b, unsigned from)
{
    cpumask_t both;
    uint64_t any = 0;
    for (unsigned i = 0; i < ARRAY_SIZE(both.word); i++) {
        both.word[i] = read_once(a->word[i]) & read_once(b->word[i]);
        any |= both.word[i];
    }
    return any ? find_next_bit(both.word, MAX_PCPUS, from) : MAX_PCPUS;
}

/* sched.c: v, which waits on rq, goes to another pcpu. Drops the lock of rq. The caller has a
 * reference of v's domain. */
void sched_move(struct runq *rq, struct vcpu *v, unsigned cpu);

/* sched_cap.c. Take `ran`, which may be 0, from d's credit; what is left, INT64_MAX without a cap.
 */
ns_t sched_cap_charge(struct domain *d, ns_t ran, ns_t now);
/* For how long a vCPU of d may run before it has to be charged; INT64_MAX without a cap. */
ns_t sched_cap_slice(struct domain *d, ns_t now);
/* d has no credit: v, which is curr or on no queue, cannot run (PAUSE_CAP) until it has some. */
void sched_cap_stop(struct vcpu *v, ns_t now);
void sched_cap_set(struct domain *d, unsigned cap);

/* A new, empty queue. */
void policy_init(struct runq *rq);
/* Where v, which is new or pinned somewhere else, shall live. No lock. */
unsigned policy_place(const struct vcpu *v);
/* It has been given to rq. */
void policy_join(const struct runq *rq, struct vcpu *v);
/* rq->curr has run from sched.started until now: account for it. */
void policy_charge(struct runq *rq, ns_t now);
/* v can run and waits here from now on. woken: it could not before; else it has just run or moved.
 * Requests a new pick (DEFER_SCHED), here or on an idle pcpu, when there is reason. */
void policy_enqueue(struct runq *rq, struct vcpu *v, bool woken, ns_t now);
/* v cannot run any more, or moves to queue `to` (else NULL); it may be waiting or have just run. */
void policy_depart(struct runq *rq, struct vcpu *v, const struct runq *to);
/* curr wants others to go first. */
void policy_yield(struct runq *rq);
/* Before a pick, without a lock: take waiting vCPUs from other pcpus if this one should. */
void policy_balance(struct runq *rq, ns_t now);
/* Who runs next, off the queue: rq->curr, one that waits or rq->idle. Sets the end of its turn. */
struct vcpu *policy_pick(struct runq *rq, ns_t now);
