/* SPDX-License-Identifier: MIT */
/*
 * Event channels between two domains that do not trust each other: only the port made for us can be
 * bound; a notification goes over and the answer comes back; closing lets it be bound again.
 *
 * Not alone: it needs the canary.
 */
#include "canary.h"
#include "lib.h"

static volatile uint32_t answers;

static void on_answer(uint32_t port)
{
    (void)port;
    answers++;
}

void test_main(void)
{
    domid_t canary = canary_domid();
    uint32_t port = CANARY_PORT + canary_distance();
    for (unsigned round = 0; round < 3; round++) {
        CHECK_IS(event_bind_interdomain(canary, port + 1), -EINVAL);
        CHECK_IS(event_bind_interdomain(canary, 1), -EINVAL);
        long local = event_bind_interdomain(canary, port);
        CHECK(local > 0);
        CHECK_IS(event_bind_interdomain(canary, port), -EINVAL);
        struct evtchn_status status;
        CHECK_IS(event_status((uint32_t)local, &status), 0);
        CHECK_IS(status.status, EVTCHNSTAT_interdomain);
        CHECK_IS(status.u.interdomain.dom, canary);
        CHECK_IS(status.u.interdomain.port, port);
        event_handlers[local] = on_answer;
        event_clear((uint32_t)local);
        event_mask((uint32_t)local, false);
        events_on();
        answers = 0;
        CHECK_IS(event_send((uint32_t)local), 0);
        CHECK(wait_for(&answers, 10000));
        events_off();
        CHECK_IS(event_close((uint32_t)local), 0);
    }
    /* Its other ports and its status are not ours to see. */
    struct evtchn_status status = {.dom = canary, .port = port};
    CHECK_IS(evtchn_op(EVTCHNOP_status, &status), -EPERM);
    CHECK_IS(event_alloc_unbound(canary, DOMID_SELF), -EPERM);
}
