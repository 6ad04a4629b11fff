/* SPDX-License-Identifier: MIT */
/*
 * EVTCHNOP_reset on oneself closes all ports, the console's too (what is said after that is found
 * in the ring at the end); all can be bound anew and nothing stays pending.
 */
#include "lib.h"

void test_main(void)
{
    struct evtchn_reset reset = {.dom = DOMID_SELF};
    long ipi = event_bind_ipi(0);
    NEED_OK(ipi);
    NEED_OK(event_send((uint32_t)ipi));
    CHECK_IS(evtchn_op(EVTCHNOP_reset, &reset), 0);
    CHECK(!event_is_pending((uint32_t)ipi));
    CHECK_IS(event_send((uint32_t)ipi), -EINVAL);
    CHECK_IS(event_send(start_info->console.domU.evtchn), -EINVAL);
    CHECK_IS(event_send(start_info->store_evtchn), -EINVAL);
    CHECK_IS(event_bind_virq(VIRQ_TIMER, 0), 1);
    CHECK_IS(event_bind_ipi(0), 2);
    CHECK_IS(evtchn_op(EVTCHNOP_reset, &reset), 0);
    CHECK_IS(event_bind_virq(VIRQ_TIMER, 0), 1);
}
