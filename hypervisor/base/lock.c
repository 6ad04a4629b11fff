// SPDX-License-Identifier: MIT
/*
 * Ticket spinlocks. A CPU that waits calls arch_relax(), which answers TLB-flush requests: the
 * holder may be waiting for just that. In debug builds each CPU keeps the stack of locks it holds,
 * and taking one whose rank is not above the last one's stops the machine.
 */
#include "base/lock.h"

#include "arch/arch.h"
#include "base/assert.h"
#include "base/compiler.h"

#ifdef DEBUG_BUILD

#define HELD_MAX 16

static struct held {
    unsigned count;
    const struct spinlock *lock[HELD_MAX];
} held[MAX_PCPUS];

/* `equal`: the second lock of a pair may have the rank of the first. */
static void check_order(const struct spinlock *l, bool equal)
{
    const struct held *h = &held[arch_cpu_id()];
    BUG_ON(spin_is_mine(l));
    if (h->count) {
        unsigned top = h->lock[h->count - 1]->rank;
        if (l->rank < top || (l->rank == top && !equal)) {
            panic("lock of rank %u taken while holding rank %u", l->rank, top);
        }
    }
}

static void note_taken(const struct spinlock *l)
{
    struct held *h = &held[arch_cpu_id()];
    BUG_ON(h->count == HELD_MAX);
    h->lock[h->count++] = l;
}

static void note_dropped(const struct spinlock *l)
{
    struct held *h = &held[arch_cpu_id()];
    unsigned i = h->count;
    while (i > 0 && h->lock[i - 1] != l) {
        i--;
    }
    BUG_ON(!i);
    for (; i < h->count; i++) {
        h->lock[i - 1] = h->lock[i];
    }
    h->count--;
}

void spin_assert_none_held(void)
{
    const struct held *h = &held[arch_cpu_id()];
    if (h->count) {
        panic("lock of rank %u still held", h->lock[h->count - 1]->rank);
    }
}

#else

static void check_order(const struct spinlock *l, bool equal)
{
    (void)l, (void)equal;
}

static void note_taken(const struct spinlock *l)
{
    (void)l;
}

static void note_dropped(const struct spinlock *l)
{
    (void)l;
}

void spin_assert_none_held(void)
{
}

#endif

void spin_lock_init(struct spinlock *l, enum lock_rank rank)
{
    *l = (struct spinlock)SPINLOCK_INIT(rank);
}

static void lock_checked(struct spinlock *l, bool equal)
{
    check_order(l, equal);
    uint32_t ticket = __atomic_fetch_add(&l->next, 1, __ATOMIC_RELAXED);
    while (__atomic_load_n(&l->serving, __ATOMIC_ACQUIRE) != ticket) {
        arch_relax();
    }
    __atomic_store_n(&l->owner, (uint16_t)(arch_cpu_id() + 1), __ATOMIC_RELAXED);
    note_taken(l);
}

void spin_lock(struct spinlock *l)
{
    lock_checked(l, false);
}

bool spin_trylock(struct spinlock *l)
{
    /* No order check: a try that fails cannot deadlock. */
    uint32_t ticket = __atomic_load_n(&l->serving, __ATOMIC_RELAXED);
    if (!__atomic_compare_exchange_n(&l->next, &ticket, ticket + 1, false, __ATOMIC_ACQUIRE,
                                     __ATOMIC_RELAXED)) {
        return false;
    }
    __atomic_store_n(&l->owner, (uint16_t)(arch_cpu_id() + 1), __ATOMIC_RELAXED);
    note_taken(l);
    return true;
}

void spin_unlock(struct spinlock *l)
{
    ASSERT(spin_is_mine(l));
    note_dropped(l);
    __atomic_store_n(&l->owner, 0, __ATOMIC_RELAXED);
    __atomic_store_n(&l->serving, l->serving + 1, __ATOMIC_RELEASE);
}

bool spin_is_mine(const struct spinlock *l)
{
    return __atomic_load_n(&l->owner, __ATOMIC_RELAXED) == arch_cpu_id() + 1;
}

void spin_lock_pair(struct spinlock *first, struct spinlock *second)
{
    ASSERT(first->rank == second->rank);
    spin_lock(first);
    if (second != first) {
        lock_checked(second, true);
    }
}

void spin_unlock_pair(struct spinlock *first, struct spinlock *second)
{
    if (second != first) {
        spin_unlock(second);
    }
    spin_unlock(first);
}
