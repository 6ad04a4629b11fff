/* SPDX-License-Identifier: MIT */
/*
 * A vCPU without a failsafe callback whose segments cannot be loaded: the domain is ended as a
 * crash.
 */
#include "lib.h"

static void nothing(uint64_t arg)
{
    (void)arg;
}

void test_main(void)
{
    cpu_fill_context(&cpu_context, 1, nothing, 0);
    cpu_context.failsafe_callback_eip = 0;
    cpu_context.user_regs.cs = 0xe008;
    CHECK_IS(vcpu_op(VCPUOP_initialise, 1, &cpu_context), 0);
    expect_crash("no failsafe callback");
    (void)vcpu_op(VCPUOP_up, 1, 0);
    for (;;) {
        (void)sched_op(SCHEDOP_yield, 0);
    }
}
