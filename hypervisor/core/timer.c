// SPDX-License-Identifier: MIT
/*
 * Timer queues: one heap a pcpu, linked through the timers themselves, so that arming never
 * allocates and never fails. Arming, disarming and taking the first are O(log n) each.
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
    struct heap_node *root;
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

static struct timer *first_locked(const struct timer_queue *q)
{
    return q->root ? container_of(q->root, struct timer, node) : NULL;
}

static void remove_locked(struct timer_queue *q, struct timer *t)
{
    heap_remove(&q->root, &t->node);
    t->armed = false;
}

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
    heap_insert(&q->root, &t->node, (uint64_t)deadline);
    /* A new first timer needs the hardware of its pcpu: only that pcpu can program it. */
    if (q->root == &t->node && t->cpu == arch_cpu_id()) {
        arch_timer_set(deadline);
    } else if (q->root == &t->node) {
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
    struct timer *t;
    for (unsigned i = 0; (t = first_locked(q)) && t->deadline <= now && i < RUN_MAX; i++) {
        remove_locked(q, t);
        q->running = t;
        spin_unlock(&q->lock);
        t->fn(t->arg);
        spin_lock(&q->lock);
        q->running = NULL;
    }
    arch_timer_set(t ? t->deadline : INT64_MAX);
    spin_unlock(&q->lock);
}
