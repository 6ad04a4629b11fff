/* SPDX-License-Identifier: MIT */
/*
 * One-shot, periodic and legacy timer: an event not before its time, at once for a time that has
 * passed, -ETIME when asked to say so, never for a time that never comes; the periods are bounded.
 */
#include "lib.h"

static volatile uint32_t ticks;

static void on_timer(uint32_t port)
{
    (void)port;
    ticks++;
}

static long singleshot(unsigned vcpu, uint64_t at, uint32_t flags)
{
    struct vcpu_set_singleshot_timer set = {.timeout_abs_ns = at, .flags = flags};
    return vcpu_op(VCPUOP_set_singleshot_timer, vcpu, &set);
}

static long periodic(unsigned vcpu, uint64_t period)
{
    struct vcpu_set_periodic_timer set = {.period_ns = period};
    return vcpu_op(VCPUOP_set_periodic_timer, vcpu, &set);
}

static void wait_ticks(uint32_t wanted)
{
    uint64_t until = now_ns() + 10000000000;
    while (ticks < wanted && now_ns() < until) {
        (void)sched_op(SCHEDOP_yield, 0);
    }
}

void test_main(void)
{
    long port = event_bind_virq(VIRQ_TIMER, 0);
    NEED_OK(port);
    event_handlers[port] = on_timer;
    event_mask((uint32_t)port, false);
    events_on();

    uint64_t at = now_ns() + 20000000;
    CHECK_IS(singleshot(0, at, 0), 0);
    wait_ticks(1);
    CHECK_IS(ticks, 1);
    CHECK(now_ns() >= at);
    CHECK_IS(singleshot(0, 1, 0), 0);
    wait_ticks(2);
    CHECK_IS(ticks, 2);
    CHECK_IS(singleshot(0, 1, VCPU_SSHOTTMR_future), -ETIME);
    CHECK_IS(singleshot(0, ~0UL, 0), 0);
    CHECK_IS(singleshot(0, 1UL << 63, 0), 0);
    CHECK_IS(singleshot(0, (1UL << 63) - 1, VCPU_SSHOTTMR_future), 0);
    CHECK_IS(singleshot(1, at, 0), -EINVAL);
    CHECK_IS(singleshot(2, at, 0), -ENOENT);
    CHECK_IS(vcpu_op(VCPUOP_stop_singleshot_timer, 1, 0), -EINVAL);
    CHECK_IS(singleshot(0, now_ns() + 30000000, 0), 0);
    CHECK_IS(vcpu_op(VCPUOP_stop_singleshot_timer, 0, 0), 0);
    sleep_ns(60000000);
    CHECK_IS(ticks, 2);

    CHECK_IS(periodic(0, 0), -EINVAL);
    CHECK_IS(periodic(0, 1), -EINVAL);
    CHECK_IS(periodic(0, ~0UL), -EINVAL);
    CHECK_IS(periodic(0, 1UL << 63), -EINVAL);
    CHECK_IS(periodic(0, 10000000), 0);
    wait_ticks(6);
    CHECK(ticks >= 6);
    CHECK_IS(vcpu_op(VCPUOP_stop_periodic_timer, 0, 0), 0);
    CHECK_IS(vcpu_op(VCPUOP_stop_periodic_timer, 1, 0), 0);

    ticks = 0;
    CHECK_IS(HC1(__HYPERVISOR_set_timer_op, now_ns() + 10000000), 0);
    wait_ticks(1);
    CHECK_IS(ticks, 1);
    CHECK_IS(HC1(__HYPERVISOR_set_timer_op, ~0UL), 0);
    CHECK_IS(HC1(__HYPERVISOR_set_timer_op, 0), 0);
    CHECK_IS(vcpu_op(VCPUOP_set_singleshot_timer, 0, HYP_START), -EFAULT);
    CHECK_IS(vcpu_op(VCPUOP_set_periodic_timer, 0, NONCANONICAL), -EFAULT);
}
