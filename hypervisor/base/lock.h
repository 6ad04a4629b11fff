// SPDX-License-Identifier: MIT
/*
 * Ticket spinlocks with ranks. While it spins, a CPU services TLB-flush requests of others
 * (arch_relax), so a flush may be waited for with locks held. The hypervisor runs with interrupts
 * off (see arch/arch.h), so no lock needs an irq variant.
 */
#pragma once

#include "base/types.h"

/* The one list of locks. Take only upwards; two of equal rank only through spin_lock_pair(). Debug
 * builds keep the ranks held by each CPU and stop on a wrong order. */
enum lock_rank {
    RANK_DOMLIST = 10,     /* domain table */
    RANK_DOMBUCKET = 15,   /* a part of it, for look-ups */
    RANK_DOM_LIFE = 20,    /* one domain's pause counts, shutdown state, vCPU creation */
    RANK_DOM_GRANT = 30,   /* one domain's grant table and maptrack */
    RANK_DOM_MMU = 40,     /* page-table types and entries of the frames one domain owns */
    RANK_DOM_EVTCHN = 50,  /* one domain's event channels; pairs */
    RANK_EVTCHN_PORT = 55, /* one event channel's binding */
    RANK_DOM_PAGES = 60,   /* one domain's page list and page counts */
    RANK_IRQ = 65,         /* physical interrupt routing */
    RANK_RUNQ = 70,        /* one pcpu's run queue */
    RANK_CAP = 75,         /* what a domain's cap still allows */
    RANK_TIMERS = 80,      /* one pcpu's timer queue */
    RANK_HEAP = 90,        /* frame allocator */
    RANK_PCI = 95,         /* configuration-space address latch */
    RANK_IOAPIC = 97,      /* I/O APIC registers and interrupt vectors */
    RANK_CONSOLE = 100,    /* log ring and serial port */
};

struct spinlock {
    uint32_t next, serving;
    uint16_t rank;  /* enum lock_rank */
    uint16_t owner; /* pcpu + 1 while held, for assertions */
};

#define SPINLOCK_INIT(r) ((struct spinlock){.rank = (r)})

/* Spin until it is the ticket's turn. */
void spin_wait(const struct spinlock *l, uint32_t ticket);
/* As debug builds take and give locks: spin_lock() and spin_unlock() are to be called. */
void spin_lock_checked(struct spinlock *l);
void spin_unlock_checked(struct spinlock *l);

static inline void spin_take(struct spinlock *l)
{
    uint32_t ticket = __atomic_fetch_add(&l->next, 1, __ATOMIC_RELAXED);
    if (unlikely(__atomic_load_n(&l->serving, __ATOMIC_ACQUIRE) != ticket)) {
        spin_wait(l, ticket);
    }
}

static inline void spin_give(struct spinlock *l)
{
    /* ORDER: x86 stores in program order; one instruction, since only the holder writes it. */
    barrier();
    l->serving++;
}

static inline void spin_lock(struct spinlock *l)
{
    if (DEBUG_BUILD) {
        spin_lock_checked(l);
    } else {
        spin_take(l);
    }
}

static inline void spin_unlock(struct spinlock *l)
{
    if (DEBUG_BUILD) {
        spin_unlock_checked(l);
    } else {
        spin_give(l);
    }
}

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
/* Two locks of one rank, in the order of their addresses; they may be the same. */
void spin_lock_pair(struct spinlock *a, struct spinlock *b);
void spin_unlock_pair(struct spinlock *a, struct spinlock *b);
/* Somebody waits for it. */
static inline bool spin_contended(const struct spinlock *l)
{
    return __atomic_load_n(&l->next, __ATOMIC_RELAXED) -
               __atomic_load_n(&l->serving, __ATOMIC_RELAXED) >
           1;
}
/* Debug builds: stop if this CPU holds a lock above that rank. */
void spin_assert_none_above(unsigned rank);
/* Stop if this CPU holds any lock: called before leaving the hypervisor or switching vCPUs. */
void spin_none_held(void);
static inline void spin_assert_none_held(void)
{
    if (DEBUG_BUILD) {
        spin_none_held();
    }
}
/* Log the locks this CPU holds, as far as the build keeps track. */
void spin_report_held(void);
