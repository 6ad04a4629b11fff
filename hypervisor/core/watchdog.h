// SPDX-License-Identifier: MIT
/*
 * Every pcpu is watched by the one before it: once it has not come to the end of its work in the
 * hypervisor for cmdline.watchdog seconds, the machine stops and shows where it hangs. Where that
 * one cannot look, because it waits for the same thing itself, the waiting ends after three times
 * as long. No locks: every word here has one writer, or is atomic.
 */
#pragma once

#include "arch/arch.h"
#include "core/timer.h"

enum watchdog_nmi { WATCHDOG_NONE, WATCHDOG_PROBE, WATCHDOG_ANSWERED, WATCHDOG_REPORT };

struct watch {
    uint32_t beats; /* of this pcpu, which alone writes it */
    uint32_t nmi;   /* atomic, enum watchdog_nmi: what it was asked last */
    /* what this pcpu knows of the next one; only touched by its own timer */
    uint32_t seen;   /* its beats */
    unsigned rounds; /* looks since they changed */
    ns_t since;      /* when they were last seen to have changed */
    struct timer timer;
    /* its own waiting for others, in the hypervisor */
    uint32_t waited_at; /* beats before it */
    ns_t waited, waited_until;
} __attribute__((aligned(64)));
extern struct watch watches[MAX_PCPUS];

/* Progress: this pcpu is about to idle or to run a guest. */
static inline void watchdog_beat(void)
{
    struct watch *mine = &watches[arch_cpu_id()];
    write_once(mine->beats, mine->beats + 1);
}

/* Start the watch that this pcpu keeps; its timer queue must be there. */
void watchdog_init_pcpu(unsigned cpu);
/* Hang this pcpu with a lock held, to see the watchdog find it. */
noreturn void watchdog_provoke(void);
