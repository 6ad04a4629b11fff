/* SPDX-License-Identifier: MIT */
/*
 * Virtual interrupts: a per-vCPU one is bound once a vCPU, a global one belongs to the control
 * domain, one that does not exist is an error. Nobody can send through such a port or move it.
 */
#include "lib.h"

void test_main(void)
{
    long timer0 = event_bind_virq(VIRQ_TIMER, 0), timer1 = event_bind_virq(VIRQ_TIMER, 1);
    CHECK(timer0 > 0 && timer1 > 0);
    CHECK_IS(event_bind_virq(VIRQ_TIMER, 0), -EEXIST);
    CHECK_IS(event_bind_virq(VIRQ_TIMER, 1), -EEXIST);
    CHECK(event_bind_virq(VIRQ_DEBUG, 0) > 0);

    struct evtchn_status status;
    CHECK_IS(event_status((uint32_t)timer1, &status), 0);
    CHECK_IS(status.status, EVTCHNSTAT_virq);
    CHECK_IS(status.u.virq, VIRQ_TIMER);
    CHECK_IS(status.vcpu, 1);
    CHECK_IS(event_send((uint32_t)timer0), -EINVAL);
    struct evtchn_bind_vcpu move = {.port = (uint32_t)timer0, .vcpu = 1};
    CHECK_IS(evtchn_op(EVTCHNOP_bind_vcpu, &move), -EINVAL);
    CHECK_IS(event_close((uint32_t)timer0), 0);
    timer0 = event_bind_virq(VIRQ_TIMER, 0);
    CHECK(timer0 > 0);

    static const uint32_t global[] = {VIRQ_CONSOLE,  VIRQ_DOM_EXC,    VIRQ_TBUF,
                                      VIRQ_CON_RING, VIRQ_PCPU_STATE, VIRQ_MEM_EVENT,
                                      VIRQ_ENOMEM,   VIRQ_ARCH_0,     VIRQ_ARCH_7};
    for (unsigned i = 0; !alone() && i < ARRAY_SIZE(global); i++) {
        CHECK_IS(event_bind_virq(global[i], 0), -EPERM);
        CHECK_IS(event_bind_virq(global[i], 1), -EPERM);
    }
    static const uint32_t unknown[] = {5, 14, 15, NR_VIRQS, 64, 0x10000, 0xffffffff};
    for (unsigned i = 0; i < ARRAY_SIZE(unknown); i++) {
        CHECK_IS(event_bind_virq(unknown[i], 0), -EINVAL);
    }
}
