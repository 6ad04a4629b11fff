// SPDX-License-Identifier: MIT
/*
 * Ticket spinlocks with ranks. While it spins, a CPU services TLB-flush requests of others
 * (arch_relax), so a flush may be waited for with locks held. Debug builds keep the ranks held by
 * each CPU and stop on a wrong order.
 */
#pragma once

#include "base/compiler.h"
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
/* Hold `l` from here to the end of the enclosing block, whichever way that is left. */
#define SPIN_GUARD(l)                                                                              \
    struct spinlock *SPIN_GUARD_NAME(__LINE__)                                                     \
        __attribute__((__unused__, cleanup(spin_guard_end))) = spin_guard_begin(l)
#define SPIN_GUARD_NAME(line) SPIN_GUARD_PASTE(line)
#define SPIN_GUARD_PASTE(line) spin_guard_##line
static inline struct spinlock *spin_guard_begin(struct spinlock *l)
{
    spin_lock(l);
    return l;
}
static inline void spin_guard_end(struct spinlock *const *l)
{
    spin_unlock(*l);
}

/* True when this CPU holds it. */
bool spin_is_mine(const struct spinlock *l);
/* Two locks of one rank, `first` being the one whose domain id is lower; they may be the same. */
void spin_lock_pair(struct spinlock *first, struct spinlock *second);
void spin_unlock_pair(struct spinlock *first, struct spinlock *second);
/* Stop if this CPU holds any lock: called before leaving the hypervisor or switching vCPUs. */
void spin_assert_none_held(void);
