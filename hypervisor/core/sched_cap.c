// SPDX-License-Identifier: MIT
/*
 * Caps: a domain with one gets `cap` percent of a pcpu as credit while time passes, and spends it
 * while its vCPUs run. When the credit is spent each of them is stopped (PAUSE_CAP) at its next
 * pick, until there is enough again for a while. What was spent too much, up to a slice a vCPU, is
 * paid back first: in the long run the cap is exact.
 *
 * Lock: the domain's cap_lock (RANK_CAP), taken under run-queue locks. Domains without a cap never
 * come here. Called by the policy.
 */
#include "core/sched_policy.h"

#define WEIGHT_DEFAULT 256
#define BURST_NS (10 * NS_PER_MS)
#define SLICE_MIN_NS (NS_PER_MS / 2)
#define SLICE_MAX_NS (10 * NS_PER_MS)
/* More than this at once fills any burst and pays any debt. */
#define FILL_MAX_NS (100 * NS_PER_SEC)

/* With this the domain goes on. */
static ns_t enough(const struct sched_domain *s)
{
    return BURST_NS / 2 * MAX(s->cap, 100) / 100;
}

/* More than this is not saved up; what other vCPUs have used since they were last charged comes
 * on top, or credit that is spent already would be thrown away. */
static ns_t most(const struct sched_domain *s)
{
    return 2 * enough(s) + SLICE_MAX_NS * (MAX(read_once(s->active), 1) - 1);
}

static void fill_locked(struct sched_domain *s, ns_t ran, ns_t now)
{
    ns_t passed = MIN(MAX(now - s->cap_filled, 0), FILL_MAX_NS);
    s->cap_credit = MIN(s->cap_credit + passed * s->cap / 100 - ran, most(s));
    s->cap_filled = MAX(now, s->cap_filled);
}

static void arm_locked(struct sched_domain *s, ns_t when)
{
    s->cap_armed = true;
    timer_set(&s->cap_timer, when);
}

ns_t sched_cap_charge(struct domain *d, ns_t ran, ns_t now)
{
    struct sched_domain *s = &d->sched;
    if (!read_once(s->cap)) {
        return INT64_MAX;
    }
    SPIN_GUARD(&s->cap_lock);
    fill_locked(s, ran, now);
    return s->cap_credit;
}

ns_t sched_cap_slice(struct domain *d, ns_t now)
{
    ns_t left = sched_cap_charge(d, 0, now);
    if (left == INT64_MAX) {
        return left;
    }
    return MIN(MAX(left / MAX(read_once(d->sched.active), 1), SLICE_MIN_NS), SLICE_MAX_NS);
}

void sched_cap_stop(struct vcpu *v, ns_t now)
{
    struct sched_domain *s = &v->domain->sched;
    /* ORDER: first the bit, then the timer that clears it. */
    __atomic_fetch_or(&v->sched.pause_bits, (uint32_t)PAUSE_CAP, __ATOMIC_SEQ_CST);
    SPIN_GUARD(&s->cap_lock);
    if (!s->cap_armed) {
        arm_locked(s, now + MAX(enough(s) - s->cap_credit, 0) * 100 / MAX(s->cap, 1));
    }
}

static void go_on(void *domain)
{
    struct domain *d = domain;
    spin_lock(&d->sched.cap_lock);
    d->sched.cap_armed = false;
    spin_unlock(&d->sched.cap_lock);
    for (unsigned i = 0; i < d->max_vcpus; i++) {
        if (__atomic_load_n(&d->vcpu[i]->sched.pause_bits, __ATOMIC_SEQ_CST) & PAUSE_CAP) {
            sched_resume(d->vcpu[i], PAUSE_CAP);
        }
    }
}

void sched_cap_set(struct domain *d, unsigned cap)
{
    struct sched_domain *s = &d->sched;
    SPIN_GUARD(&s->cap_lock);
    write_once(s->cap, (uint16_t)cap);
    s->cap_credit = MIN(s->cap_credit, most(s));
    s->cap_filled = arch_now_ns();
    arm_locked(s, s->cap_filled); /* whoever was stopped looks again */
}

void sched_domain_init(struct domain *d)
{
    d->sched = (struct sched_domain){
        .weight = WEIGHT_DEFAULT, .cap_lock = SPINLOCK_INIT(RANK_CAP), .cap_credit = BURST_NS};
    timer_init(&d->sched.cap_timer, go_on, d, d->id % arch_facts.cpus_online);
}

void sched_domain_destroy(struct domain *d)
{
    timer_stop(&d->sched.cap_timer);
}
