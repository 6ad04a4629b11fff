// SPDX-License-Identifier: MIT
/* Work to do on the way out of the hypervisor, per pcpu: bits set by interrupts and other CPUs. */
#pragma once

#include "arch/arch.h"
#include "base/config.h"

enum deferred_work {
    DEFER_TIMER = 1,   /* timer queue has something due */
    DEFER_SCHED = 2,   /* pick again who runs here */
    DEFER_CONSOLE = 4, /* input arrived */
};

void deferred_raise(unsigned cpu, enum deferred_work work);
extern uint32_t deferred_bits[MAX_PCPUS]; /* deferred.c's */
static inline uint32_t deferred_pending(void)
{
    return __atomic_load_n(&deferred_bits[arch_cpu_id()], __ATOMIC_SEQ_CST);
}
/* Take and clear all bits of this pcpu. */
uint32_t deferred_take(void);
/* Let interrupts in, once; or wait for one. Takes no more than RANK_DOM_MMU held. */
void irq_window(bool idle);
/* True when a long operation should return for continuation: opens an interrupt window, then looks
 * whether anything is pending on this pcpu. */
bool preempt_needed(void);
