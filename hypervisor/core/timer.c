// SPDX-License-Identifier: MIT
/*
 * Timer queues: one leftist heap a pcpu, linked through the timers themselves, so that arming never
 * allocates and never fails. Each node's rank is its distance to the nearest free place below; a
 * left child's rank is never below its sibling's, so the right spine, along which heaps are merged,
 * is O(log n) long. Arming, disarming and taking the first are one merge each.
 *
 * Lock: the queue's (RANK_TIMERS); a timer belongs to the queue of timer.cpu, which only changes
 * under the lock of the queue it leaves. Callers: vCPU timers, the scheduler's slices.
 */
#include "core/timer.h"

#include "arch/arch.h"
#include "base/config.h"
#include "base/lock.h"
#include "core/deferred.h"

static struct timer_queue {
    struct spinlock lock;
    /* under lock */
    struct timer *root;
    const struct timer *running; /* its callback is being called */
} queues[MAX_PCPUS];

void timer_init_pcpu(unsigned cpu)
{
    queues[cpu].lock = SPINLOCK_INIT(RANK_TIMERS);
    queues[cpu].root = NULL;
    queues[cpu].running = NULL;
}

void timer_init(struct timer *t, void (*fn)(void *arg), void *arg, unsigned cpu)
{
    *t = (struct timer){.fn = fn, .arg = arg, .cpu = cpu};
}

/* ---- the heap ---- */

static unsigned rank_of(const struct timer *t)
{
    return t ? t->rank : 0;
}

/* Restore order of ranks at t; true if its own rank changed. */
static bool fix_rank(struct timer *t)
{
    if (rank_of(t->left) < rank_of(t->right)) {
        struct timer *child = t->left;
        t->left = t->right;
        t->right = child;
    }
    unsigned rank = rank_of(t->right) + 1;
    bool changed = rank != t->rank;
    t->rank = (uint8_t)rank;
    return changed;
}

/* Merge two heaps: down both right spines, earlier deadline first, then ranks on the way up. */
static struct timer *merge(struct timer *a, struct timer *b)
{
    struct timer *root = NULL, *last = NULL;
    while (a && b) {
        if (b->deadline < a->deadline) {
            struct timer *swap = a;
            a = b;
            b = swap;
        }
        struct timer *rest = a->right;
        a->parent = last;
        *(last ? &last->right : &root) = a;
        last = a;
        a = rest;
    }
    struct timer *tail = a ? a : b;
    *(last ? &last->right : &root) = tail;
    if (tail) {
        tail->parent = last;
    }
    for (; last; last = last->parent) {
        fix_rank(last);
    }
    return root;
}

static void insert_locked(struct timer_queue *q, struct timer *t)
{
    t->armed = true;
    t->rank = 1;
    t->parent = t->left = t->right = NULL;
    q->root = merge(q->root, t);
}

static void remove_locked(struct timer_queue *q, struct timer *t)
{
    struct timer *parent = t->parent, *rest = merge(t->left, t->right);
    if (rest) {
        rest->parent = parent;
    }
    if (!parent) {
        q->root = rest;
    } else {
        *(parent->left == t ? &parent->left : &parent->right) = rest;
        /* Ranks above change only as long as they are those of a right spine: O(log n) steps. */
        while (parent && fix_rank(parent)) {
            parent = parent->parent;
        }
    }
    t->armed = false;
}

/* ---- interface ---- */

static struct timer_queue *lock_queue(const struct timer *t)
{
    for (;;) {
        unsigned cpu = read_once(t->cpu);
        spin_lock(&queues[cpu].lock);
        if (read_once(t->cpu) == cpu) {
            return &queues[cpu];
        }
        spin_unlock(&queues[cpu].lock);
    }
}

/* A new first timer needs the hardware of its pcpu: only that pcpu can program it. */
static void announce(unsigned cpu, ns_t deadline)
{
    if (cpu == arch_cpu_id()) {
        arch_timer_set(deadline);
    } else {
        deferred_raise(cpu, DEFER_TIMER);
    }
}

void timer_set(struct timer *t, ns_t deadline)
{
    struct timer_queue *q = lock_queue(t);
    if (t->armed) {
        remove_locked(q, t);
    }
    t->deadline = deadline;
    insert_locked(q, t);
    bool first = q->root == t;
    unsigned cpu = t->cpu;
    spin_unlock(&q->lock);
    if (first) {
        announce(cpu, deadline);
    }
}

void timer_stop(struct timer *t)
{
    for (;;) {
        struct timer_queue *q = lock_queue(t);
        if (t->armed) {
            /* The hardware stays as it is: an interrupt with nothing due reprograms it. */
            remove_locked(q, t);
        }
        bool busy = q->running == t && t->cpu != arch_cpu_id();
        spin_unlock(&q->lock);
        if (!busy) {
            return;
        }
        arch_relax();
    }
}

void timer_migrate(struct timer *t, unsigned cpu)
{
    struct timer_queue *q = lock_queue(t);
    bool armed = t->armed, moves = t->cpu != cpu;
    if (armed && moves) {
        remove_locked(q, t);
    }
    if (moves) {
        write_once(t->cpu, cpu);
    }
    spin_unlock(&q->lock);
    if (armed && moves) {
        timer_set(t, t->deadline);
    }
}

void timer_run(void)
{
    struct timer_queue *q = &queues[arch_cpu_id()];
    /* Read once: a callback that arms timers for "now" cannot keep us here for ever. */
    ns_t now = arch_now_ns();
    spin_lock(&q->lock);
    while (q->root && q->root->deadline <= now) {
        struct timer *t = q->root;
        remove_locked(q, t);
        q->running = t;
        void (*fn)(void *arg) = t->fn;
        void *arg = t->arg;
        spin_unlock(&q->lock);
        fn(arg);
        spin_lock(&q->lock);
        q->running = NULL;
    }
    arch_timer_set(q->root ? q->root->deadline : INT64_MAX);
    spin_unlock(&q->lock);
}
