// SPDX-License-Identifier: MIT
/*
 * Per-pcpu timer queue, ordered by deadline. Callbacks run from the deferred work of that pcpu, in
 * hypervisor context with interrupts off and no lock held. Lock: the queue's (RANK_TIMERS).
 */
#pragma once

#include "base/heap.h"
#include "base/types.h"

struct timer {
    ns_t deadline; /* arch_now_ns() clock */
    void (*fn)(void *arg);
    void *arg;
    unsigned cpu; /* queue it belongs to */
    /* under that queue's lock: place in the heap while armed */
    bool armed;
    struct heap_node node;
};

void timer_init_pcpu(unsigned cpu);
void timer_init(struct timer *t, void (*fn)(void *arg), void *arg, unsigned cpu);
/* Arm (or re-arm) for an absolute time; a past deadline fires at the next chance. */
void timer_set(struct timer *t, ns_t deadline);
/* Disarm; the callback is not running and will not run when this returns (it may be the caller). */
void timer_stop(struct timer *t);
/* Move a timer to the queue of another pcpu, keeping its deadline. Not while others use it. */
void timer_migrate(struct timer *t, unsigned cpu);
/* Run what is due on this pcpu and program the hardware for the next one. */
void timer_run(void);
