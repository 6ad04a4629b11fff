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

/* Callbacks in one go; if more are due, the hardware interrupts again at once. */
#define RUN_MAX 64

static struct timer_queue {
    struct spinlock lock;
    /* under lock */
    struct timer *root;
    const struct timer *running; /* its callback is being called */
} queues[MAX_PCPUS];

void timer_init_pcpu(unsigned cpu)
{
    queues[cpu] = (struct timer_queue){.lock = SPINLOCK_INIT(RANK_TIMERS)};
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

/* Merge two heaps, `parent` becoming the parent of their root: down both right spines, which bounds
 * the depth of recursion by their lengths, then ranks on the way up. */
static struct timer *merge(struct timer *a, struct timer *b, struct timer *parent)
{
    if (a && b && b->deadline < a->deadline) {
        return merge(b, a, parent);
    }
    if (a && b) {
        a->right = merge(a->right, b, a);
        fix_rank(a);
    }
    struct timer *root = a ?: b;
    if (root) {
        root->parent = parent;
    }
    return root;
}

static void remove_locked(struct timer_queue *q, struct timer *t)
{
    struct timer *parent = t->parent, *rest = merge(t->left, t->right, parent);
    *(!parent ? &q->root : parent->left == t ? &parent->left : &parent->right) = rest;
    /* Ranks above change only as long as they are those of a right spine: O(log n) steps. */
    while (parent && fix_rank(parent)) {
        parent = parent->parent;
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

void timer_set(struct timer *t, ns_t deadline)
{
    struct timer_queue *q = lock_queue(t);
    if (t->armed) {
        remove_locked(q, t);
    }
    t->armed = true;
    t->deadline = deadline;
    t->rank = 1;
    t->left = t->right = NULL;
    q->root = merge(q->root, t, NULL);
    /* A new first timer needs the hardware of its pcpu: only that pcpu can program it. */
    if (q->root == t && t->cpu == arch_cpu_id()) {
        arch_timer_set(deadline);
    } else if (q->root == t) {
        deferred_raise(t->cpu, DEFER_TIMER);
    }
    spin_unlock(&q->lock);
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
    /* timer_stop() waits for the callback on the queue the timer belongs to: it stays there until
     * that is over. */
    while (q->running == t && t->cpu != arch_cpu_id()) {
        spin_unlock(&q->lock);
        arch_relax();
        q = lock_queue(t);
    }
    bool moves = t->armed && t->cpu != cpu;
    if (moves) {
        remove_locked(q, t);
    }
    write_once(t->cpu, cpu);
    spin_unlock(&q->lock);
    if (moves) {
        timer_set(t, t->deadline);
    }
}

void timer_run(void)
{
    struct timer_queue *q = &queues[arch_cpu_id()];
    /* Read once: a callback that arms timers for "now" cannot keep us here for ever. */
    ns_t now = arch_now_ns();
    spin_lock(&q->lock);
    for (unsigned i = 0; i < RUN_MAX && q->root && q->root->deadline <= now; i++) {
        struct timer *t = q->root;
        remove_locked(q, t);
        q->running = t;
        spin_unlock(&q->lock);
        t->fn(t->arg);
        spin_lock(&q->lock);
        q->running = NULL;
    }
    arch_timer_set(q->root ? q->root->deadline : INT64_MAX);
    spin_unlock(&q->lock);
}
