// SPDX-License-Identifier: MIT
/*
 * Ticket spinlocks. A CPU that waits calls arch_relax(), which answers TLB-flush requests: the
 * holder may be waiting for just that. In debug builds each CPU keeps the stack of locks it holds,
 * and taking one whose rank is not above the last one's stops the machine.
 */
#include "base/lock.h"

#include "arch/arch.h"
#include "base/assert.h"
#include "base/log.h"

#define HELD_MAX 16

static struct held {
    unsigned count;
    const struct spinlock *lock[HELD_MAX];
} held[MAX_PCPUS];

void spin_none_held(void)
{
    const struct held *h = &held[arch_cpu_id()];
    if (h->count) {
        panic("lock of rank %u still held", h->lock[h->count - 1]->rank);
    }
}

void spin_report_held(void)
{
    const struct held *h = &held[arch_cpu_id()];
    for (unsigned i = 0; i < h->count; i++) {
        printk("It holds the lock of rank %u at %016lx.\n", h->lock[i]->rank,
               (unsigned long)h->lock[i]);
    }
}

void spin_assert_none_above(unsigned rank)
{
    const struct held *h = &held[arch_cpu_id()];
    ASSERT(h->count == 0 || h->lock[h->count - 1]->rank <= rank);
}

void spin_wait(const struct spinlock *l, uint32_t ticket)
{
    while (__atomic_load_n(&l->serving, __ATOMIC_ACQUIRE) != ticket) {
        arch_relax();
    }
}

/* `equal`: the second lock of a pair may have the rank of the first. */
static void lock_checked(struct spinlock *l, bool equal)
{
    struct held *h = &held[arch_cpu_id()];
    ASSERT(!spin_is_mine(l) && h->count < HELD_MAX);
    if (DEBUG_BUILD && h->count) {
        unsigned top = h->lock[h->count - 1]->rank;
        if (l->rank < top || (l->rank == top && !equal)) {
            panic("lock of rank %u taken while holding rank %u", l->rank, top);
        }
    }
    spin_take(l);
    if (DEBUG_BUILD) {
        __atomic_store_n(&l->owner, (uint16_t)(arch_cpu_id() + 1), __ATOMIC_RELAXED);
        h->lock[h->count++] = l;
    }
}

void spin_lock_checked(struct spinlock *l)
{
    lock_checked(l, false);
}

void spin_unlock_checked(struct spinlock *l)
{
    ASSERT(spin_is_mine(l));
    struct held *h = &held[arch_cpu_id()];
    unsigned i = h->count--;
    do {
        i--; /* found, because it is mine */
    } while (h->lock[i] != l);
    for (; i < h->count; i++) {
        h->lock[i] = h->lock[i + 1];
    }
    __atomic_store_n(&l->owner, 0, __ATOMIC_RELAXED);
    spin_give(l);
}

bool spin_is_mine(const struct spinlock *l)
{
    return __atomic_load_n(&l->owner, __ATOMIC_RELAXED) == arch_cpu_id() + 1;
}

void spin_lock_pair(struct spinlock *a, struct spinlock *b)
{
    ASSERT(a->rank == b->rank);
    spin_lock(MIN(a, b));
    if (a != b) {
        lock_checked(MAX(a, b), true);
    }
}

void spin_unlock_pair(struct spinlock *a, struct spinlock *b)
{
    if (a != b) {
        spin_unlock(a);
    }
    spin_unlock(b);
}
