/* SPDX-License-Identifier: MIT */
/*
 * Two vCPUs that arm timers in the past and in the next moment in a tight loop, by each of the
 * three ways there are, with a period as short as is allowed running beside, for `seconds` (2 if
 * not said). There is one timer of each kind a vCPU, so nothing piles up: every arming replaces the
 * one before, and the canary's timers are not late.
 */
#include "lib.h"

static volatile uint32_t ticks, stop, stopped;

static void on_timer(uint32_t port)
{
    (void)port;
    ticks++;
}

static void flood(uint64_t vcpu)
{
    for (unsigned i = 0; !stop; i++) {
        uint64_t at = i % 3 == 0 ? 1 : now_ns() + (i % 7) * 500;
        struct vcpu_set_singleshot_timer one = {.timeout_abs_ns = at};
        NEED_OK(vcpu_op(VCPUOP_set_singleshot_timer, vcpu, &one));
        NEED_OK(HC1(__HYPERVISOR_set_timer_op, at));
        struct sched_poll poll = {.nr_ports = 0, .timeout = at};
        (void)sched_op(SCHEDOP_poll, &poll);
    }
}

static void second(uint64_t arg)
{
    flood(1);
    stopped = (uint32_t)arg;
}

void test_main(void)
{
    uint64_t seconds = 2;
    struct vcpu_set_periodic_timer every = {.period_ns = 1000000};
    (void)option_number("seconds", &seconds);
    long port = event_bind_virq(VIRQ_TIMER, 0);
    NEED(port > 0);
    event_handlers[port] = on_timer;
    event_mask((uint32_t)port, false);
    events_on();
    CHECK_IS(vcpu_op(VCPUOP_set_periodic_timer, 0, &every), 0);
    NEED_OK(cpu_start(1, second, 1));
    uint64_t until = now_ns() + seconds * 1000000000UL;
    unsigned armed = 0;
    for (; now_ns() < until; armed++) {
        struct vcpu_set_singleshot_timer one = {.timeout_abs_ns = armed % 2 ? 1 : now_ns() + 300};
        CHECK_IS(vcpu_op(VCPUOP_set_singleshot_timer, 0, &one), 0);
    }
    stop = 1;
    CHECK(wait_for(&stopped, 5000));
    CHECK(ticks > 10);
    CHECK_IS(vcpu_op(VCPUOP_stop_periodic_timer, 0, 0), 0);
    CHECK_IS(vcpu_op(VCPUOP_stop_singleshot_timer, 0, 0), 0);
    /* Nothing is left of them all but what was pending. */
    sleep_ns(20000000);
    uint32_t had = ticks;
    sleep_ns(50000000);
    CHECK_IS(ticks, had);
    say("armed %u times, %u ticks", armed, ticks);
}
