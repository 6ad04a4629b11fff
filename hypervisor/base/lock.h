// SPDX-License-Identifier: MIT
/*
 * Ticket spinlocks with ranks. While it spins, a CPU services TLB-flush requests of others
 * (arch_relax), so a flush may be waited for with locks held. Debug builds keep the ranks held by
 * each CPU and stop on a wrong order.
 */
#pragma once

#include "base/lock_ranks.h"
#include "base/types.h"

struct spinlock {
    uint32_t next, serving;
    uint16_t rank;  /* enum lock_rank */
    uint16_t owner; /* pcpu + 1 while held, for assertions */
};

#define SPINLOCK_INIT(r)                                                                           \
    {                                                                                              \
        .next = 0, .serving = 0, .rank = (r), .owner = 0                                           \
    }

void spin_lock_init(struct spinlock *l, enum lock_rank rank);
void spin_lock(struct spinlock *l);
bool spin_trylock(struct spinlock *l);
void spin_unlock(struct spinlock *l);
/* True when this CPU holds it. */
bool spin_is_mine(const struct spinlock *l);
/* Two locks of one rank, `first` being the one whose domain id is lower; they may be the same. */
void spin_lock_pair(struct spinlock *first, struct spinlock *second);
void spin_unlock_pair(struct spinlock *first, struct spinlock *second);
/* Stop if this CPU holds any lock: called before leaving the hypervisor or switching vCPUs. */
void spin_assert_none_held(void);
