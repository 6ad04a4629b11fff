/* SPDX-License-Identifier: MIT */
/*
 * VCPUOP_send_nmi: to oneself and to another vCPU; it is delivered once, masked events or not, and
 * needs the guest's handler.
 */
#include "lib.h"

static volatile uint32_t nmis[2], ready, stop, done;

static bool hook(struct regs *regs)
{
    if (regs->vector == VEC_NMI) {
        nmis[this_cpu()->id]++;
        return true;
    }
    return false;
}

static void second(uint64_t arg)
{
    (void)arg;
    ready = 1;
    while (!stop) {
        cpu_relax();
    }
    done = 1;
}

void test_main(void)
{
    trap_hook = hook;
    events_off();
    CHECK_IS(vcpu_op(VCPUOP_send_nmi, 0, 0), 0);
    CHECK(wait_for(&nmis[0], 5000));
    CHECK_IS(nmis[0], 1);
    CHECK_IS(vcpu_op(VCPUOP_send_nmi, 2, 0), -ENOENT);
    NEED_OK(cpu_start(1, second, 0));
    NEED(wait_for(&ready, 10000));
    CHECK_IS(vcpu_op(VCPUOP_send_nmi, 1, 0), 0);
    CHECK(wait_for(&nmis[1], 10000));
    stop = 1;
    CHECK(wait_for(&done, 10000));
    CHECK_IS(nmis[0], 1);
    CHECK_IS(nmis[1], 1);
}
