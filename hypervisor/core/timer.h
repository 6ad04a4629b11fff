// SPDX-License-Identifier: MIT
/*
 * Per-pcpu timer queue, ordered by deadline. Callbacks run from the deferred work of that pcpu, in
 * hypervisor context with interrupts off and no lock held. Lock: the queue's (RANK_TIMERS).
 */
#pragma once

#include "base/list.h"
#include "base/types.h"

struct timer {
    struct list node;     /* on a queue while armed */
    ns_t deadline;        /* arch_now_ns() clock */
    void (*fn)(void *arg);
    void *arg;
    unsigned cpu;         /* queue it is on */
};

void timer_init_pcpu(unsigned cpu);
void timer_init(struct timer *t, void (*fn)(void *arg), void *arg, unsigned cpu);
/* Arm (or re-arm) for an absolute time; a past deadline fires at the next chance. */
void timer_set(struct timer *t, ns_t deadline);
/* Disarm; the callback is not running and will not run when this returns. */
void timer_stop(struct timer *t);
/* Move a timer to the queue of another pcpu, keeping its deadline. */
void timer_migrate(struct timer *t, unsigned cpu);
/* Run what is due on this pcpu and program the hardware for the next one. */
void timer_run(void);
