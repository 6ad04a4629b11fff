// SPDX-License-Identifier: MIT
/*
 * Where a vCPU's time goes. The scheduler's runstate says when it had a pcpu, waited for one, was
 * blocked or offline; here is how much of the first the hypervisor took, measured at every entry
 * from the guest and every exit to it.
 *
 * Interrupts are charged to the vCPU they interrupt, whoever they are for: it is its turn on the
 * pcpu that they shorten, and they are short. What they cause is charged to whom they wake.
 *
 * One word a vCPU, so that readers on other pcpus see no half of a change and need no lock. Highest
 * bit: it is in the hypervisor. The rest counts ticks of the TSC: the hypervisor's time so far,
 * minus the clock at entry while it is there. Written by the pcpu it runs on; the short ways of
 * entry.S add a whole stay at its end.
 */
#pragma once

#include "arch/arch.h"
#include "base/types.h"

#define ACCOUNT_INSIDE (1UL << 63)

/* v, on this pcpu, has come into the hypervisor (at `tsc`); nothing when it is there already. */
static inline void account_enter(uint64_t *word, uint64_t tsc)
{
    if (!(*word & ACCOUNT_INSIDE)) {
        write_once(*word, (*word - tsc) | ACCOUNT_INSIDE);
    }
}

/* It goes back to its guest, or leaves its pcpu, at `tsc`. */
static inline void account_leave(uint64_t *word, uint64_t tsc)
{
    if (*word & ACCOUNT_INSIDE) {
        write_once(*word, (*word + tsc) & ~ACCOUNT_INSIDE);
    }
}

/* It came less than 2^32 ticks ago, when the clock ended in `low`, goes now, and has not been said
 * to be inside; or that is said late. */
static inline void account_stay(uint64_t *word, uint32_t low)
{
    write_once(*word, *word + (arch_rdtsc_low() - low));
}
static inline void account_late(uint64_t *word, uint32_t low)
{
    uint64_t tsc = arch_rdtsc();
    account_enter(word, tsc - ((uint32_t)tsc - low));
}

/* The hypervisor's time until *now, which it sets to a moment at which this was so. */
static inline ns_t account_system_ns(const uint64_t *word, ns_t *now)
{
    uint64_t value, tsc;
    do {
        value = read_once(*word);
        tsc = arch_rdtsc();
        *now = arch_now_ns();
    } while (read_once(*word) != value);
    value += value & ACCOUNT_INSIDE ? tsc : 0;
    return arch_ticks_ns(value & ~ACCOUNT_INSIDE);
}
