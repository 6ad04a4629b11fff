// SPDX-License-Identifier: MIT
/* What guests are told about time: the words of a vCPU's clock and their protocol, the wall clock,
 * set_timer_op. */
#include "suite.h"

#include "core/evtchn.h"
#include "core/time.h"

static struct domain *dom0, *d;
static struct vcpu *v;

static void begin(void)
{
    dom0 = suite_control();
    d = suite_domain(11, 1);
    v = d->vcpu[0];
    suite_enter(v);
}

static void end(void)
{
    suite_destroy(d);
    suite_destroy(dom0);
}

/* A guest's way to compute the system time. */
static uint64_t guest_ns(const struct vcpu_time_info *t, uint64_t tsc)
{
    uint64_t delta = tsc - t->tsc_timestamp;
    delta = t->tsc_shift < 0 ? delta >> -t->tsc_shift : delta << t->tsc_shift;
    return t->system_time + (uint64_t)((unsigned __int128)delta * t->tsc_to_system_mul >> 32);
}

static void test_time_vcpu_update__guest_computes_our_time(void)
{
    begin();
    const struct vcpu_time_info *t = &v->info->time;
    CU_ASSERT_EQUAL(t->version % 2, 0);
    CU_ASSERT_TRUE(t->version != 0);
    for (unsigned i = 0; i < 5; i++) {
        uint64_t tsc = arch_facts.tsc.tsc_at_zero + (uint64_t)host.now; /* 1 GHz */
        CU_ASSERT_EQUAL(guest_ns(t, tsc), (uint64_t)host.now);
        host_advance(12345678901);
    }
    CU_ASSERT_EQUAL(t->flags, XEN_PVCLOCK_TSC_STABLE_BIT);
    end();
}

static void test_time_vcpu_update__restored_when_overwritten(void)
{
    begin();
    struct vcpu_time_info *t = &v->info->time;
    uint32_t version = t->version;
    time_vcpu_update(v);
    CU_ASSERT_EQUAL(t->version, version); /* nothing to do */
    memset(t, 0, sizeof(*t));             /* a builder clears the shared page */
    time_vcpu_update(v);
    CU_ASSERT_EQUAL(t->version, version + 2);
    CU_ASSERT_EQUAL(t->tsc_to_system_mul, arch_facts.tsc.mul);
    memset(t, 0xff, sizeof(*t));
    time_vcpu_update(v);
    CU_ASSERT_EQUAL(t->version, version + 4);
    CU_ASSERT_EQUAL(t->tsc_timestamp, arch_facts.tsc.tsc_at_zero);
    vcpu_info_t *info = v->info;
    v->info = NULL;
    time_vcpu_update(v);
    v->info = info;
    end();
}

static void test_time__written_when_a_vcpu_gets_a_pcpu(void)
{
    begin();
    suite_enter(NULL);
    memset(&v->info->time, 0, sizeof(v->info->time));
    domain_pause(dom0);
    CU_ASSERT_PTR_EQUAL(host_exit_path(), v);
    CU_ASSERT_EQUAL(v->info->time.tsc_to_system_mul, arch_facts.tsc.mul);
    domain_pause(d);
    host_exit_path();
    end();
}

/* ---- wall clock ---- */

static uint64_t guest_wall_ns(const struct domain *of)
{
    const shared_info_t *s = of->shared_info;
    CU_ASSERT_EQUAL(s->wc_version % 2, 0);
    uint64_t sec = (uint64_t)s->wc_sec_hi << 32 | s->wc_sec;
    return sec * NS_PER_SEC + s->wc_nsec + (uint64_t)host.now;
}

static void test_time__wall_clock_from_the_battery_clock(void)
{
    begin();
    /* host_start() says 1700000000 at system time 1 s. */
    uint64_t want = 1700000000UL * NS_PER_SEC - NS_PER_SEC + (uint64_t)host.now;
    CU_ASSERT_EQUAL(guest_wall_ns(d), want);
    CU_ASSERT_EQUAL(guest_wall_ns(dom0), want);
    CU_ASSERT_TRUE(d->shared_info->wc_version != 0);
    end();
}

static void test_time_wallclock_set__all_domains(void)
{
    begin();
    uint32_t version = d->shared_info->wc_version;
    CU_ASSERT_EQUAL(time_wallclock_set(1800000000, 123456789, (uint64_t)host.now), 0);
    CU_ASSERT_EQUAL(guest_wall_ns(d), 1800000000UL * NS_PER_SEC + 123456789);
    CU_ASSERT_EQUAL(guest_wall_ns(dom0), guest_wall_ns(d));
    CU_ASSERT_TRUE(d->shared_info->wc_version != version);
    host_advance(NS_PER_SEC);
    CU_ASSERT_EQUAL(guest_wall_ns(d), 1800000001UL * NS_PER_SEC + 123456789);
    struct domain *late = suite_domain(12, 1);
    CU_ASSERT_EQUAL(guest_wall_ns(late), guest_wall_ns(d));
    suite_destroy(late);
    /* Year 2106 and after needs the high word. */
    CU_ASSERT_EQUAL(time_wallclock_set(5000000000, 0, (uint64_t)host.now), 0);
    CU_ASSERT_EQUAL(guest_wall_ns(d), 5000000000UL * NS_PER_SEC);
    CU_ASSERT_EQUAL(time_wallclock_set(1700000000, 0, NS_PER_SEC), 0);
    end();
}

/* 1970 only begins after the machine has: the seconds at its start are negative. */
static void test_time_wallclock_set__before_1970(void)
{
    begin();
    CU_ASSERT_EQUAL(time_wallclock_set(2, 0, 3 * NS_PER_SEC + 250000000), 0);
    const shared_info_t *s = d->shared_info;
    CU_ASSERT_EQUAL((int64_t)((uint64_t)s->wc_sec_hi << 32 | s->wc_sec), -2);
    CU_ASSERT_EQUAL(s->wc_nsec, 750000000);
    CU_ASSERT_EQUAL(time_wallclock_set(1700000000, 0, NS_PER_SEC), 0);
    end();
}

static void test_time_wallclock_set__range(void)
{
    begin();
    uint64_t before = guest_wall_ns(d);
    CU_ASSERT_EQUAL(time_wallclock_set(1700000000, 1000000000, 0), -EINVAL);
    CU_ASSERT_EQUAL(time_wallclock_set(UINT64_MAX, 0, 0), -EINVAL);
    CU_ASSERT_EQUAL(time_wallclock_set(1700000000, 0, UINT64_MAX), -EINVAL);
    CU_ASSERT_EQUAL(guest_wall_ns(d), before);
    end();
}

static void test_time_set_offset__one_domain(void)
{
    begin();
    uint64_t before = guest_wall_ns(d);
    time_set_offset(d, 3600);
    CU_ASSERT_EQUAL(guest_wall_ns(d), before + 3600UL * NS_PER_SEC);
    CU_ASSERT_EQUAL(guest_wall_ns(dom0), before);
    time_set_offset(d, -3600);
    CU_ASSERT_EQUAL(guest_wall_ns(d), before - 3600UL * NS_PER_SEC);
    time_set_offset(d, INT64_MIN); /* nonsense, but defined */
    time_set_offset(d, INT64_MAX);
    time_set_offset(d, 0);
    CU_ASSERT_EQUAL(guest_wall_ns(d), before);
    end();
}

static void test_time__wall_clock_restored_when_the_domain_starts(void)
{
    begin();
    uint64_t before = guest_wall_ns(d);
    domain_pause(d);
    memset(d->shared_info, 0, sizeof(*d->shared_info));
    domain_unpause(d);
    CU_ASSERT_EQUAL(guest_wall_ns(d), before);
    end();
}

/* ---- set_timer_op ---- */

static void test_hc_set_timer_op__arm_stop_past(void)
{
    begin();
    struct evtchn_bind_virq arg = {.virq = VIRQ_TIMER};
    vaddr_t va = host_guest_put(&arg, sizeof(arg));
    CU_ASSERT_EQUAL(suite_call(32, EVTCHNOP_bind_virq, va, 0), 0);
    uint32_t port = ((struct evtchn_bind_virq *)host_guest_ptr(va))->port;

    CU_ASSERT_EQUAL(suite_call(15, (uint64_t)host.now + 100, 0, 0), 0);
    host_advance(99);
    timer_run();
    CU_ASSERT_FALSE(evtchn_is_pending(d, port));
    host_advance(1);
    timer_run();
    CU_ASSERT_TRUE(evtchn_is_pending(d, port));

    clear_bit(port, d->shared_info->evtchn_pending);
    CU_ASSERT_EQUAL(suite_call(15, (uint64_t)host.now + 100, 0, 0), 0);
    CU_ASSERT_EQUAL(suite_call(15, 0, 0, 0), 0);
    host_advance(1000);
    timer_run();
    CU_ASSERT_FALSE(evtchn_is_pending(d, port));

    CU_ASSERT_EQUAL(suite_call(15, 1, 0, 0), 0);
    timer_run();
    CU_ASSERT_TRUE(evtchn_is_pending(d, port));
    clear_bit(port, d->shared_info->evtchn_pending);
    CU_ASSERT_EQUAL(suite_call(15, UINT64_MAX, 0, 0), 0);
    host_advance(NS_PER_SEC);
    timer_run();
    CU_ASSERT_FALSE(evtchn_is_pending(d, port));
    end();
}

int main(void)
{
    static const struct suite_case cases[] = {
        CASE(test_time_vcpu_update__guest_computes_our_time),
        CASE(test_time_vcpu_update__restored_when_overwritten),
        CASE(test_time__written_when_a_vcpu_gets_a_pcpu),
        CASE(test_time__wall_clock_from_the_battery_clock),
        CASE(test_time_wallclock_set__all_domains),
        CASE(test_time_wallclock_set__before_1970),
        CASE(test_time_wallclock_set__range),
        CASE(test_time_set_offset__one_domain),
        CASE(test_time__wall_clock_restored_when_the_domain_starts),
        CASE(test_hc_set_timer_op__arm_stop_past),
    };
    return SUITE("time", 1, cases);
}
