// SPDX-License-Identifier: MIT
/*
 * Two pcpus inside the hypervisor at once, as far as one thread can play it: at a point where the
 * call of one holds no lock (it has just dropped the last, or is about to touch guest memory), the
 * other pcpu makes a whole call. Which point is part of the step, so it can be replayed. The locks
 * come through here by --wrap.
 */
#include "base/lock.h"
#include "model.h"

void __real_spin_lock_checked(struct spinlock *l);
void __wrap_spin_lock_checked(struct spinlock *l);
void __real_spin_unlock_checked(struct spinlock *l);
void __wrap_spin_unlock_checked(struct spinlock *l);
void __real_spin_lock_pair(struct spinlock *a, struct spinlock *b);
void __wrap_spin_lock_pair(struct spinlock *a, struct spinlock *b);
void __real_spin_unlock_pair(struct spinlock *a, struct spinlock *b);
void __wrap_spin_unlock_pair(struct spinlock *a, struct spinlock *b);

static unsigned held[HOST_TLB_CPUS];
static unsigned countdown; /* race points until it happens; 0: no race */
static bool just_now;      /* it has happened, and nobody has taken a lock since */
static void (*other)(void);

static void point(void)
{
    if (countdown && held[host_cpu] == 0 && --countdown == 0) {
        other();
        just_now = true;
    }
}

void race_at(unsigned nth, void (*play)(void))
{
    countdown = nth;
    just_now = false;
    other = play;
    host.on_access = nth ? point : NULL;
}

bool race_pending(void)
{
    return countdown != 0;
}

bool race_just_now(void)
{
    return just_now;
}

void __wrap_spin_lock_checked(struct spinlock *l)
{
    __real_spin_lock_checked(l);
    held[host_cpu]++;
    just_now = false;
}

void __wrap_spin_unlock_checked(struct spinlock *l)
{
    __real_spin_unlock_checked(l);
    held[host_cpu]--;
    point();
}

void __wrap_spin_lock_pair(struct spinlock *a, struct spinlock *b)
{
    __real_spin_lock_pair(a, b);
    held[host_cpu]++;
    just_now = false;
}

void __wrap_spin_unlock_pair(struct spinlock *a, struct spinlock *b)
{
    __real_spin_unlock_pair(a, b);
    held[host_cpu]--;
}
