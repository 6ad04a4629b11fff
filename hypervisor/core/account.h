// SPDX-License-Identifier: MIT
/*
 * Where a vCPU's time goes. The scheduler's runstate says when it had a pcpu, waited for one, was
 * blocked or offline; here is how much of the first the hypervisor took, measured at every entry
 * from the guest and every exit to it.
 *
 * Interrupts are charged to the vCPU they interrupt, whoever they are for: it is its turn on the
 * pcpu that they shorten, and they are short. What they cause is charged to whom they wake.
 *
 * One word a vCPU, so that readers on other pcpus see no half of a change and need no lock. Bit 0:
 * it is in the hypervisor. The rest is a signed number of ns: the hypervisor's time so far, minus
 * the clock at entry while it is there. Written by the pcpu it runs on.
 */
#pragma once

#include "arch/arch.h"
#include "base/types.h"

/* v, on this pcpu, has come into the hypervisor (at `now`); nothing when it is there already. */
static inline void account_enter(int64_t *word, ns_t now)
{
    if (!(*word & 1)) {
        write_once(*word, (*word - 2 * now) | 1);
    }
}

/* It goes back to its guest, or leaves its pcpu, at `now`. */
static inline void account_leave(int64_t *word, ns_t now)
{
    if (*word & 1) {
        write_once(*word, (*word & ~1L) + 2 * now);
    }
}

/* The hypervisor's time until *now, which it sets to a moment at which this was so. */
static inline ns_t account_system_ns(const int64_t *word, ns_t *now)
{
    int64_t value;
    do {
        value = read_once(*word);
        *now = arch_now_ns();
    } while (read_once(*word) != value);
    return (value >> 1) + (value & 1 ? *now : 0);
}
