// SPDX-License-Identifier: MIT
/* SCHEDOP_*: blocking and polling with every order of event and sleep, yielding, shutting down. */
#include "suite.h"

#include "core/evtchn.h"

static struct domain *dom0, *d;
static struct vcpu *v;
static uint32_t port; /* IPI port of d, to vCPU 0 */

static long call(unsigned cmd, const void *arg, size_t bytes)
{
    return suite_call(29, cmd, bytes ? host_guest_put(arg, bytes) : HOST_BAD_ADDR, 0);
}
#define OP_CALL(cmd, arg) call(cmd, &(arg), sizeof(arg))
#define OP_PLAIN(cmd) call(cmd, NULL, 0)

static void begin(void)
{
    dom0 = suite_control();
    d = suite_domain(11, 2);
    v = d->vcpu[0];
    suite_enter(v);
    struct evtchn_bind_ipi arg = {.vcpu = 0};
    vaddr_t va = host_guest_put(&arg, sizeof(arg));
    CU_ASSERT_EQUAL(suite_call(32, EVTCHNOP_bind_ipi, va, 0), 0);
    port = ((struct evtchn_bind_ipi *)host_guest_ptr(va))->port;
}

static void end(void)
{
    suite_destroy(d);
    suite_destroy(dom0);
}

static bool blocked(void)
{
    return v->sched.pause_bits & PAUSE_BLOCKED;
}

static bool polling(void)
{
    return test_bit(v->id, d->pollers);
}

static void event(void)
{
    evtchn_set_pending(d, port);
}

static void drain(void)
{
    clear_bit(port, d->shared_info->evtchn_pending);
    v->info->evtchn_pending_sel = 0;
    v->info->evtchn_upcall_pending = 0;
}

/* ---- block ---- */

static void test_schedop_block__sleeps_and_unmasks(void)
{
    begin();
    v->info->evtchn_upcall_mask = 1;
    CU_ASSERT_EQUAL(OP_PLAIN(SCHEDOP_block), 0);
    CU_ASSERT_TRUE(blocked());
    CU_ASSERT_EQUAL(v->info->evtchn_upcall_mask, 0);
    event();
    CU_ASSERT_FALSE(blocked());
    end();
}

static void test_schedop_block__event_came_before(void)
{
    begin();
    v->info->evtchn_upcall_mask = 1;
    event(); /* masked: not delivered */
    CU_ASSERT_EQUAL(OP_PLAIN(SCHEDOP_block), 0);
    CU_ASSERT_FALSE(blocked());
    end();
}

static void test_schedop_block__masked_port_does_not_wake(void)
{
    begin();
    set_bit(port, d->shared_info->evtchn_mask);
    CU_ASSERT_EQUAL(OP_PLAIN(SCHEDOP_block), 0);
    event();
    CU_ASSERT_TRUE(blocked());
    end();
}

/* The event arrives between the moment the vCPU is marked and the second look. */
static bool event_at_pause;
void __real_sched_pause(struct vcpu *which, enum vcpu_pause_reason why);
void __wrap_sched_pause(struct vcpu *which, enum vcpu_pause_reason why);
void __wrap_sched_pause(struct vcpu *which, enum vcpu_pause_reason why)
{
    bool before = event_at_pause && (why & PAUSE_BLOCKED);
    if (before) {
        event_at_pause = false;
        event();
    }
    __real_sched_pause(which, why);
}

static void test_schedop_block__event_at_the_last_moment(void)
{
    begin();
    event_at_pause = true;
    CU_ASSERT_EQUAL(OP_PLAIN(SCHEDOP_block), 0);
    CU_ASSERT_FALSE(event_at_pause);
    CU_ASSERT_FALSE(blocked());
    end();
}

/* ---- poll ---- */

static long poll_ports(const evtchn_port_t *ports, unsigned count, uint64_t timeout)
{
    struct sched_poll arg = {.nr_ports = count, .timeout = timeout};
    arg.ports.p = (evtchn_port_t *)host_guest_put(ports, count * sizeof(*ports));
    return OP_CALL(SCHEDOP_poll, arg);
}

static void test_schedop_poll__one_port_even_masked(void)
{
    begin();
    v->info->evtchn_upcall_mask = 1;
    set_bit(port, d->shared_info->evtchn_mask);
    CU_ASSERT_EQUAL(poll_ports(&port, 1, 0), 0);
    CU_ASSERT_TRUE(blocked());
    CU_ASSERT_TRUE(polling());
    CU_ASSERT_EQUAL(v->info->evtchn_upcall_mask, 1);
    evtchn_set_pending(d, port + 1); /* another one */
    CU_ASSERT_TRUE(blocked());
    event();
    CU_ASSERT_FALSE(blocked());
    CU_ASSERT_FALSE(polling());
    end();
}

static void test_schedop_poll__pending_already(void)
{
    begin();
    v->info->evtchn_upcall_mask = 1;
    event();
    CU_ASSERT_EQUAL(poll_ports(&port, 1, 0), 0);
    CU_ASSERT_FALSE(blocked());
    CU_ASSERT_FALSE(polling());
    end();
}

static void test_schedop_poll__event_at_the_last_moment(void)
{
    begin();
    v->info->evtchn_upcall_mask = 1;
    event_at_pause = true;
    CU_ASSERT_EQUAL(poll_ports(&port, 1, 0), 0);
    CU_ASSERT_FALSE(event_at_pause);
    CU_ASSERT_FALSE(blocked());
    CU_ASSERT_FALSE(polling());
    end();
}

static void test_schedop_poll__several_ports(void)
{
    begin();
    v->info->evtchn_upcall_mask = 1;
    const evtchn_port_t ports[] = {7, port, 9};
    CU_ASSERT_EQUAL(poll_ports(ports, 3, 0), 0);
    CU_ASSERT_TRUE(blocked());
    event();
    CU_ASSERT_FALSE(blocked());
    end();
}

static void test_schedop_poll__deliverable_event_ends_it(void)
{
    begin();
    const evtchn_port_t other = 9;
    v->info->evtchn_upcall_mask = 0;
    event();
    CU_ASSERT_EQUAL(poll_ports(&other, 1, 0), 0);
    CU_ASSERT_FALSE(blocked());
    drain();
    CU_ASSERT_EQUAL(poll_ports(&other, 1, 0), 0);
    CU_ASSERT_TRUE(blocked());
    event();
    CU_ASSERT_FALSE(blocked());
    end();
}

static void test_schedop_poll__timeout(void)
{
    begin();
    v->info->evtchn_upcall_mask = 1;
    CU_ASSERT_EQUAL(poll_ports(&port, 1, (uint64_t)host.now + NS_PER_MS), 0);
    host_advance(NS_PER_MS - 1);
    timer_run();
    CU_ASSERT_TRUE(blocked());
    host_advance(1);
    timer_run();
    CU_ASSERT_FALSE(blocked());
    CU_ASSERT_FALSE(polling());
    /* In the past: over at the next chance. Absurdly far: as good as none. */
    CU_ASSERT_EQUAL(poll_ports(&port, 1, 1), 0);
    timer_run();
    CU_ASSERT_FALSE(blocked());
    CU_ASSERT_EQUAL(poll_ports(&port, 1, UINT64_MAX), 0);
    host_advance(NS_PER_SEC);
    timer_run();
    CU_ASSERT_TRUE(blocked());
    event();
    end();
}

static void test_schedop_poll__old_timeout_does_not_end_a_later_sleep(void)
{
    begin();
    v->info->evtchn_upcall_mask = 0;
    CU_ASSERT_EQUAL(poll_ports(&port, 1, (uint64_t)host.now + NS_PER_MS), 0);
    sched_wake(v); /* an event for the vCPU that no poll asked for */
    CU_ASSERT_EQUAL(OP_PLAIN(SCHEDOP_block), 0);
    host_advance(2 * NS_PER_MS);
    timer_run();
    CU_ASSERT_TRUE(blocked());
    sched_wake(v);
    end();
}

static void test_schedop_poll__errors(void)
{
    begin();
    const evtchn_port_t bad[] = {0, MAX_EVTCHNS, UINT32_MAX};
    for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
        const evtchn_port_t ports[] = {port, bad[i]};
        CU_ASSERT_EQUAL(poll_ports(&bad[i], 1, 0), -EINVAL);
        CU_ASSERT_EQUAL(poll_ports(ports, 2, 0), -EINVAL);
    }
    struct sched_poll arg = {.nr_ports = 129};
    CU_ASSERT_EQUAL(OP_CALL(SCHEDOP_poll, arg), -EINVAL);
    arg.nr_ports = UINT32_MAX;
    CU_ASSERT_EQUAL(OP_CALL(SCHEDOP_poll, arg), -EINVAL);
    arg.nr_ports = 1;
    arg.ports.p = (evtchn_port_t *)HOST_BAD_ADDR;
    CU_ASSERT_EQUAL(OP_CALL(SCHEDOP_poll, arg), -EFAULT);
    CU_ASSERT_EQUAL(OP_PLAIN(SCHEDOP_poll), -EFAULT);
    CU_ASSERT_FALSE(blocked());
    CU_ASSERT_FALSE(polling());
    end();
}

static void test_schedop_poll__128_ports_and_none(void)
{
    begin();
    evtchn_port_t ports[128];
    for (unsigned i = 0; i < ARRAY_SIZE(ports); i++) {
        ports[i] = 100 + i;
    }
    ports[127] = port;
    v->info->evtchn_upcall_mask = 1;
    CU_ASSERT_EQUAL(poll_ports(ports, 128, 0), 0);
    CU_ASSERT_TRUE(blocked());
    event();
    CU_ASSERT_FALSE(blocked());
    CU_ASSERT_EQUAL(poll_ports(ports, 0, (uint64_t)host.now + 5), 0); /* just sleep */
    CU_ASSERT_TRUE(blocked());
    host_advance(5);
    timer_run();
    CU_ASSERT_FALSE(blocked());
    end();
}

/* ---- yield, shutdown ---- */

static void test_schedop_yield__success(void)
{
    begin();
    CU_ASSERT_EQUAL(OP_PLAIN(SCHEDOP_yield), 0);
    CU_ASSERT_FALSE(blocked());
    end();
}

static void test_schedop__unknown(void)
{
    begin();
    for (unsigned cmd = 6; cmd < 12; cmd++) {
        CU_ASSERT_EQUAL(OP_PLAIN(cmd), -ENOSYS);
    }
    end();
}

static uint32_t bind_dom_exc(void)
{
    struct evtchn_bind_virq arg = {.virq = VIRQ_DOM_EXC};
    suite_enter(dom0->vcpu[0]);
    vaddr_t va = host_guest_put(&arg, sizeof(arg));
    CU_ASSERT_EQUAL(suite_call(32, EVTCHNOP_bind_virq, va, 0), 0);
    suite_enter(v);
    return ((struct evtchn_bind_virq *)host_guest_ptr(va))->port;
}

static void test_schedop_shutdown__stops_and_tells(void)
{
    for (unsigned reason = 0; reason <= SHUTDOWN_MAX; reason++) {
        host_guest_reset();
        begin();
        uint32_t exc = bind_dom_exc();
        struct sched_shutdown arg = {.reason = reason};
        CU_ASSERT_EQUAL(OP_CALL(SCHEDOP_shutdown, arg), 0);
        CU_ASSERT_TRUE(d->shut_down);
        CU_ASSERT_EQUAL(d->shutdown_code, reason);
        CU_ASSERT_TRUE(v->sched.pause_bits & PAUSE_DOMAIN);
        CU_ASSERT_TRUE(d->vcpu[1]->sched.pause_bits & PAUSE_DOMAIN);
        CU_ASSERT_TRUE(evtchn_is_pending(dom0, exc));
        end();
    }
}

static void test_schedop_shutdown__errors(void)
{
    begin();
    struct sched_shutdown arg = {.reason = SHUTDOWN_MAX + 1};
    CU_ASSERT_EQUAL(OP_CALL(SCHEDOP_shutdown, arg), -EINVAL);
    arg.reason = UINT32_MAX;
    CU_ASSERT_EQUAL(OP_CALL(SCHEDOP_shutdown, arg), -EINVAL);
    arg.reason = 256; /* would be 0 in a byte */
    CU_ASSERT_EQUAL(OP_CALL(SCHEDOP_shutdown, arg), -EINVAL);
    CU_ASSERT_EQUAL(OP_PLAIN(SCHEDOP_shutdown), -EFAULT);
    CU_ASSERT_FALSE(d->shut_down);
    end();
}

static void test_schedop_shutdown_code__is_reported_later(void)
{
    begin();
    struct sched_shutdown code = {.reason = SHUTDOWN_watchdog};
    struct sched_shutdown crash = {.reason = SHUTDOWN_crash}, bad = {.reason = 99};
    CU_ASSERT_EQUAL(OP_CALL(SCHEDOP_shutdown_code, bad), -EINVAL);
    CU_ASSERT_EQUAL(OP_CALL(SCHEDOP_shutdown_code, code), 0);
    CU_ASSERT_FALSE(d->shut_down);
    CU_ASSERT_EQUAL(OP_CALL(SCHEDOP_shutdown, crash), 0);
    CU_ASSERT_EQUAL(d->shutdown_code, SHUTDOWN_watchdog);
    end();
}

static void test_schedop_remote_shutdown__permission(void)
{
    begin();
    struct sched_remote_shutdown arg = {.domain_id = 0, .reason = SHUTDOWN_crash};
    CU_ASSERT_EQUAL(OP_CALL(SCHEDOP_remote_shutdown, arg), -EPERM);
    arg.domain_id = d->id;
    CU_ASSERT_EQUAL(OP_CALL(SCHEDOP_remote_shutdown, arg), -EPERM);
    suite_enter(dom0->vcpu[0]);
    arg.domain_id = 77;
    CU_ASSERT_EQUAL(OP_CALL(SCHEDOP_remote_shutdown, arg), -ESRCH);
    arg.domain_id = DOMID_SELF;
    CU_ASSERT_EQUAL(OP_CALL(SCHEDOP_remote_shutdown, arg), -EPERM);
    arg = (struct sched_remote_shutdown){.domain_id = d->id, .reason = 6};
    CU_ASSERT_EQUAL(OP_CALL(SCHEDOP_remote_shutdown, arg), -EINVAL);
    CU_ASSERT_FALSE(d->shut_down);
    arg.reason = SHUTDOWN_reboot;
    CU_ASSERT_EQUAL(OP_CALL(SCHEDOP_remote_shutdown, arg), 0);
    CU_ASSERT_TRUE(d->shut_down);
    CU_ASSERT_EQUAL(d->shutdown_code, SHUTDOWN_reboot);
    end();
}

int main(void)
{
    static const struct suite_case cases[] = {
        CASE(test_schedop_block__sleeps_and_unmasks),
        CASE(test_schedop_block__event_came_before),
        CASE(test_schedop_block__masked_port_does_not_wake),
        CASE(test_schedop_block__event_at_the_last_moment),
        CASE(test_schedop_poll__one_port_even_masked),
        CASE(test_schedop_poll__pending_already),
        CASE(test_schedop_poll__event_at_the_last_moment),
        CASE(test_schedop_poll__several_ports),
        CASE(test_schedop_poll__deliverable_event_ends_it),
        CASE(test_schedop_poll__timeout),
        CASE(test_schedop_poll__old_timeout_does_not_end_a_later_sleep),
        CASE(test_schedop_poll__errors),
        CASE(test_schedop_poll__128_ports_and_none),
        CASE(test_schedop_yield__success),
        CASE(test_schedop__unknown),
        CASE(test_schedop_shutdown__stops_and_tells),
        CASE(test_schedop_shutdown__errors),
        CASE(test_schedop_shutdown_code__is_reported_later),
        CASE(test_schedop_remote_shutdown__permission),
    };
    return SUITE("scheduler operations", 1, cases);
}
