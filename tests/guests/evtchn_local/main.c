/* SPDX-License-Identifier: MIT */
/*
 * Event channels within a domain: ports of every kind are made, described, connected, sent through
 * and closed as documented; a mask holds an event back, unmasking delivers it.
 */
#include "lib.h"

static volatile uint32_t count;

static void on_event(uint32_t port)
{
    (void)port;
    count++;
}

static void ipi(void)
{
    struct evtchn_status status;
    long port = event_bind_ipi(0);
    CHECK(port > 0);
    CHECK_IS(event_status((uint32_t)port, &status), 0);
    CHECK_IS(status.status, EVTCHNSTAT_ipi);
    CHECK_IS(status.vcpu, 0);

    event_handlers[port] = on_event;
    count = 0;
    CHECK_IS(event_send((uint32_t)port), 0); /* masked */
    CHECK(event_is_pending((uint32_t)port));
    events_on();
    CHECK_IS(count, 0);
    event_mask((uint32_t)port, false);
    CHECK_IS(count, 1);
    CHECK_IS(event_send((uint32_t)port), 0);
    CHECK_IS(count, 2);
    events_off();
    CHECK_IS(event_send((uint32_t)port), 0);
    CHECK_IS(event_send((uint32_t)port), 0);
    CHECK_IS(count, 2);
    events_on();
    CHECK_IS(count, 3); /* two sends, one pending bit */
    events_off();
    CHECK_IS(event_close((uint32_t)port), 0);
    CHECK_IS(event_close((uint32_t)port), -EINVAL);
    CHECK_IS(event_send((uint32_t)port), -EINVAL);
    CHECK_IS(event_status((uint32_t)port, &status), 0);
    CHECK_IS(status.status, EVTCHNSTAT_closed);
}

static void interdomain(void)
{
    struct evtchn_status status;
    domid_t me = own_domid();
    long a = event_alloc_unbound(DOMID_SELF, DOMID_SELF);
    CHECK(a > 0);
    CHECK_IS(event_status((uint32_t)a, &status), 0);
    CHECK_IS(status.status, EVTCHNSTAT_unbound);
    CHECK_IS(status.u.unbound.dom, me);
    CHECK_IS(event_send((uint32_t)a), 0);

    long b = event_bind_interdomain(DOMID_SELF, (uint32_t)a);
    CHECK(b > 0 && b != a);
    CHECK(event_is_pending((uint32_t)b));
    event_clear((uint32_t)b);
    CHECK_IS(event_bind_interdomain(me, (uint32_t)a), -EINVAL);
    CHECK_IS(event_status((uint32_t)a, &status), 0);
    CHECK_IS(status.status, EVTCHNSTAT_interdomain);
    CHECK_IS(status.u.interdomain.dom, me);
    CHECK_IS(status.u.interdomain.port, b);

    CHECK_IS(event_send((uint32_t)a), 0);
    CHECK(event_is_pending((uint32_t)b) && !event_is_pending((uint32_t)a));
    CHECK_IS(event_send((uint32_t)b), 0);
    CHECK(event_is_pending((uint32_t)a));

    struct evtchn_bind_vcpu move = {.port = (uint32_t)a, .vcpu = 1};
    CHECK_IS(evtchn_op(EVTCHNOP_bind_vcpu, &move), 0);
    CHECK_IS(event_status((uint32_t)a, &status), 0);
    CHECK_IS(status.vcpu, 1);

    CHECK_IS(event_close((uint32_t)b), 0);
    CHECK_IS(event_status((uint32_t)a, &status), 0);
    CHECK_IS(status.status, EVTCHNSTAT_unbound);
    CHECK_IS(event_send((uint32_t)a), 0);
    b = event_bind_interdomain(DOMID_SELF, (uint32_t)a);
    CHECK(b > 0);
    CHECK_IS(event_close((uint32_t)a), 0);
    CHECK_IS(event_close((uint32_t)b), 0);
}

void test_main(void)
{
    ipi();
    interdomain();
    CHECK_IS(HC1(__HYPERVISOR_event_channel_op, 99), -ENOSYS);
}
