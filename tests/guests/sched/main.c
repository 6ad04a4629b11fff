/* SPDX-License-Identifier: MIT */
/*
 * sched_op: yield and block return, poll wakes by event, by time-out and at once when a port is
 * pending; its port list is checked. Reasons for a shutdown that do not exist are refused.
 */
#include "lib.h"

static long poll(evtchn_port_t *ports, unsigned count, uint64_t timeout)
{
    struct sched_poll arg = {.nr_ports = count, .timeout = timeout};
    set_xen_guest_handle(arg.ports, ports);
    return sched_op(SCHEDOP_poll, &arg);
}

static volatile uint32_t events;

static void on_event(uint32_t port)
{
    (void)port;
    events++;
}

static void errors(void)
{
    static evtchn_port_t ports[200];
    evtchn_port_t bad = 0;
    struct sched_shutdown reason = {.reason = SHUTDOWN_MAX + 1};
    struct sched_remote_shutdown remote = {.domain_id = 0, .reason = SHUTDOWN_poweroff};

    CHECK_IS(poll(&bad, 1, 0), -EINVAL);
    bad = 1u << 20;
    CHECK_IS(poll(&bad, 1, 0), -EINVAL);
    bad = ~0u;
    CHECK_IS(poll(&bad, 1, 0), -EINVAL);
    CHECK_IS(poll(ports, 129, 0), -EINVAL);
    CHECK_IS(poll(ports, 0x40000001, 0), -EINVAL);
    CHECK_IS(poll((evtchn_port_t *)HYP_START, 1, 0), -EFAULT);
    CHECK_IS(poll((evtchn_port_t *)NONCANONICAL, 1, 0), -EFAULT);
    CHECK_IS(sched_op(SCHEDOP_poll, 8), -EFAULT);

    CHECK_IS(sched_op(SCHEDOP_shutdown, &reason), -EINVAL);
    CHECK_IS(sched_op(SCHEDOP_shutdown, HYP_START), -EFAULT);
    CHECK_IS(sched_op(SCHEDOP_shutdown_code, &reason), -EINVAL);
    CHECK_IS(sched_op(SCHEDOP_remote_shutdown, &remote), -EPERM);
    remote.domain_id = own_domid();
    CHECK_IS(sched_op(SCHEDOP_remote_shutdown, &remote), -EPERM);
    CHECK_IS(sched_op(SCHEDOP_watchdog, &reason), -ENOSYS);
    CHECK_IS(sched_op(SCHEDOP_pin_override, &reason), -ENOSYS);
    CHECK_IS(sched_op(1000, &reason), -ENOSYS);
}

void test_main(void)
{
    long port = event_bind_ipi(0);
    NEED_OK(port);
    evtchn_port_t list[2] = {(evtchn_port_t)port, 1};

    CHECK_IS(sched_op(SCHEDOP_yield, 0), 0);
    /* A masked port ends a poll, too. */
    CHECK_IS(event_send((uint32_t)port), 0);
    CHECK_IS(poll(list, 1, 0), 0);
    CHECK(event_is_pending((uint32_t)port));
    CHECK_IS(poll(list, 2, 0), 0);
    event_clear((uint32_t)port);

    uint64_t before = now_ns();
    CHECK_IS(poll(list, 1, before + 30000000), 0);
    CHECK(now_ns() >= before + 30000000);
    CHECK_IS(poll(list, 1, 1), 0); /* long past */

    /* block unmasks and comes back once an event is delivered. */
    event_handlers[port] = on_event;
    event_mask((uint32_t)port, false);
    events_off();
    CHECK_IS(event_send((uint32_t)port), 0);
    CHECK_IS(events, 0);
    CHECK_IS(sched_op(SCHEDOP_block, 0), 0);
    CHECK_IS(events, 1);
    CHECK_IS(my_vcpu_info()->evtchn_upcall_mask, 0);
    errors();
}
