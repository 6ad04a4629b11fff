/* SPDX-License-Identifier: MIT */
/*
 * When events are delivered to a vCPU: on unmasking by the hypervisor's call and on return from any
 * call, never while masked; the handler runs masked, the frame shows the old mask and iret restores
 * it; from user mode the kernel's stack is used.
 */
#include "lib.h"

static volatile uint32_t count;
static volatile uint64_t in_handler, frame_mask, frame_cs;
static long port;

static void on_event(uint32_t p)
{
    (void)p;
    in_handler = my_vcpu_info()->evtchn_upcall_mask;
    count++;
}

static uint64_t spin(uint64_t until)
{
    while (count < until) {
        cpu_relax();
    }
    return count;
}

static volatile uint32_t stop;

static void sender(uint64_t arg)
{
    (void)arg;
    while (!stop) {
        (void)event_send((uint32_t)port);
        for (volatile unsigned i = 0; i < 20000; i++) {
        }
    }
    stop = 2;
}

void test_main(void)
{
    user_tables_init();
    port = event_bind_ipi(0);
    NEED_OK(port);
    event_handlers[port] = on_event;
    event_mask((uint32_t)port, false);
    events_off();
    CHECK_IS(event_send((uint32_t)port), 0);
    CHECK_IS(count, 0);
    CHECK_IS(my_vcpu_info()->evtchn_upcall_pending, 1);
    my_vcpu_info()->evtchn_upcall_mask = 0;
    CHECK_IS(count, 0);
    CHECK_IS(xen_version(XENVER_version, 0), 4 << 16 | 17);
    CHECK_IS(count, 1);
    CHECK_IS(in_handler, 1);
    CHECK_IS(my_vcpu_info()->evtchn_upcall_mask, 0);

    /* Into user mode that does nothing but wait. */
    NEED_OK(cpu_start(1, sender, 0));
    struct fault f = try_user(spin, 20);
    CHECK_FAULT(f, NO_FAULT, 0);
    CHECK(f.value >= 20);
    CHECK_IS(in_handler, 1);
    CHECK_IS(my_vcpu_info()->evtchn_upcall_mask, 0);
    stop = 1;
    uint64_t until = now_ns() + 10000000000;
    while (stop != 2 && now_ns() < until) {
        (void)sched_op(SCHEDOP_yield, 0);
    }
    CHECK_IS(stop, 2);
}
