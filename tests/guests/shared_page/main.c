/* SPDX-License-Identifier: MIT */
/*
 * All of the shared page is the guest's to write: nonsense in it (pending words, selectors, the
 * time and wall clock areas) harms nobody but the guest; the time is put right again, events work
 * once the words are sane.
 */
#include "lib.h"

static volatile uint32_t count;

static void on_event(uint32_t port)
{
    (void)port;
    count++;
}

void test_main(void)
{
    static uint8_t copy[PAGE_BYTES];
    static const uint8_t patterns[] = {0xff, 0x00, 0x55, 0x80};
    long port = event_bind_ipi(0);
    NEED_OK(port);
    uint64_t before = now_ns();
    memcpy(copy, shared_info, PAGE_BYTES);
    events_off();
    for (unsigned i = 0; i < ARRAY_SIZE(patterns); i++) {
        memset(shared_info, patterns[i], PAGE_BYTES);
        shared_info->vcpu_info[0].evtchn_upcall_mask = 1;
        CHECK_IS(event_send((uint32_t)port), 0);
        CHECK_IS(event_bind_ipi(1), port + 1);
        CHECK_IS(event_close((uint32_t)port + 1), 0);
        struct evtchn_unmask unmask = {.port = (uint32_t)port};
        CHECK_IS(evtchn_op(EVTCHNOP_unmask, &unmask), 0);
        for (unsigned k = 0; k < 20; k++) {
            struct sched_poll poll = {.nr_ports = 0, .timeout = 1};
            CHECK_IS(sched_op(SCHEDOP_poll, &poll), 0);
            CHECK_IS(sched_op(SCHEDOP_yield, 0), 0);
        }
    }
    memcpy(shared_info, copy, PAGE_BYTES);
    memset(&shared_info->vcpu_info[0].time, 0xff, sizeof(struct vcpu_time_info));
    /* Scheduled away and back the vCPU finds its time again. */
    for (unsigned i = 0; i < 200; i++) {
        struct sched_poll poll = {.nr_ports = 0, .timeout = ~0UL >> 2};
        (void)poll;
        struct vcpu_set_singleshot_timer set = {.timeout_abs_ns = before + (i + 1) * 20000000UL};
        long timer = event_bind_virq(VIRQ_TIMER, 0);
        NEED_OK(timer);
        evtchn_port_t list[1] = {(evtchn_port_t)timer};
        set_xen_guest_handle(poll.ports, list);
        poll.nr_ports = 1;
        NEED_OK(vcpu_op(VCPUOP_set_singleshot_timer, 0, &set));
        CHECK_IS(sched_op(SCHEDOP_poll, &poll), 0);
        NEED_OK(event_close((uint32_t)timer));
        if (!(shared_info->vcpu_info[0].time.version & 1)) {
            break;
        }
    }
    CHECK(!(shared_info->vcpu_info[0].time.version & 1));
    CHECK(now_ns() > before && now_ns() < before + 600000000000);

    event_handlers[port] = on_event;
    event_clear((uint32_t)port);
    event_mask((uint32_t)port, false);
    events_on();
    CHECK_IS(event_send((uint32_t)port), 0);
    CHECK_IS(count, 1);
}
