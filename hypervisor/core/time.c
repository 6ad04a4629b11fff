// SPDX-License-Identifier: MIT
/*
 * What guests are told about time; see time.h. The scale never changes, so a vCPU's time words are
 * written once and again only when they are not there any more (vcpu_info moved, or a tool or the
 * guest overwrote them). arch_now_ns() uses the same scale, hence guests and hypervisor agree about
 * deadlines to the nanosecond.
 *
 * The machine's wall clock is one number, the time of day at system time 0: atomic. Wall-clock
 * words of a domain are written under its life_lock.
 */
#include "core/time.h"

#include "base/string.h"
#include "core/domain.h"
#include "core/guest_access.h"
#include "core/hypercall.h"

static ns_t wall_base; /* atomic: nanoseconds since 1970 at system time 0 */

/* Later than this the sum with any system time could overflow: the year 2200. */
#define WALL_SEC_MAX 7258118400UL

void time_init(void)
{
    uint64_t sec = MIN(arch_wallclock_sec(), WALL_SEC_MAX);
    __atomic_store_n(&wall_base, (ns_t)sec * NS_PER_SEC - arch_now_ns(), __ATOMIC_RELAXED);
}

void time_wallclock_update_locked(struct domain *d)
{
    shared_info_t *s = d->shared_info;
    if (!s) {
        return;
    }
    ns_t base = __atomic_load_n(&wall_base, __ATOMIC_RELAXED);
    /* An offset can take the clock to before 1970: seconds round down, nanoseconds stay positive.
     */
    int64_t sec = base / NS_PER_SEC, nsec = base % NS_PER_SEC;
    if (nsec < 0) {
        nsec += NS_PER_SEC;
        sec--;
    }
    uint64_t guest_sec = (uint64_t)sec + (uint64_t)d->wallclock_offset_sec;
    /* ORDER: odd version, then the words, then even: a reader retries until it saw one even one. */
    uint32_t version = (read_once(s->wc_version) | 1) + 2;
    write_once(s->wc_version, version);
    smp_wmb();
    write_once(s->wc_sec, (uint32_t)guest_sec);
    write_once(s->wc_sec_hi, (uint32_t)(guest_sec >> 32));
    write_once(s->wc_nsec, (uint32_t)nsec);
    smp_wmb();
    write_once(s->wc_version, version + 1);
}

static void update_domain(struct domain *d)
{
    SPIN_GUARD(&d->life_lock);
    time_wallclock_update_locked(d);
}

int time_wallclock_set(uint64_t sec, uint32_t nsec, uint64_t at)
{
    if (sec > WALL_SEC_MAX || nsec >= NS_PER_SEC || at > WALL_SEC_MAX * NS_PER_SEC) {
        return -EINVAL;
    }
    ns_t base = (ns_t)(sec * NS_PER_SEC + nsec) - (ns_t)at;
    __atomic_store_n(&wall_base, base, __ATOMIC_RELAXED);
    domain_for_each(update_domain);
    return 0;
}

void time_set_offset(struct domain *d, int64_t sec)
{
    SPIN_GUARD(&d->life_lock);
    d->wallclock_offset_sec = sec;
    time_wallclock_update_locked(d);
}

/* ABI: stable, so that Linux reads the clock in user mode: TSCs differ by less than it takes one
 * pcpu to tell another the time (arch/x86_64/clock.c). */
static struct vcpu_time_info time_words(uint32_t version)
{
    const struct arch_tsc_scale *scale = &arch_facts.tsc;
    return (struct vcpu_time_info){.version = version,
                                   .tsc_timestamp = scale->tsc_at_zero,
                                   .tsc_to_system_mul = scale->mul,
                                   .tsc_shift = scale->shift,
                                   .flags = XEN_PVCLOCK_TSC_STABLE_BIT};
}

long vcpuop_register_time(struct vcpu *v unused, struct vcpu_register_time_memory_area *arg)
{
    /* They are the same for all and never change: written once. An area of 0 ends it. */
    struct vcpu_time_info words = time_words(2);
    return arg->addr.p ? guest_write(arg->addr.p, &words, sizeof(words)) : 0;
}

void time_vcpu_update(struct vcpu *v)
{
    if (!v->info) {
        return;
    }
    struct vcpu_time_info *t = &v->info->time;
    struct vcpu_time_info want = time_words(v->time_version);
    if (!memcmp(t, &want, sizeof(want))) {
        return;
    }
    /* ORDER: as above. The version comes from our own count, not from the guest's memory. */
    want.version = v->time_version + 1;
    v->time_version += 2;
    write_once(t->version, want.version);
    smp_wmb();
    *t = want;
    smp_wmb();
    write_once(t->version, v->time_version);
}

long hc_set_timer_op(struct hypercall *hc)
{
    struct vcpu *v = hc->v;
    if (!hc->arg[0]) {
        timer_stop(&v->singleshot);
    } else {
        timer_migrate(&v->singleshot, arch_cpu_id());
        timer_set(&v->singleshot, (ns_t)MIN(hc->arg[0], (uint64_t)INT64_MAX));
    }
    return 0;
}
