/* SPDX-License-Identifier: MIT */
/*
 * A context whose code selector is the hypervisor's own: it is not loaded, the vCPU enters its
 * failsafe callback, in its kernel, and the hypervisor goes on.
 */
#include "lib.h"

static volatile uint32_t done;
static volatile uint64_t failsafes;

static void second(uint64_t arg)
{
    (void)arg;
    done = 2;
}

static bool hook(struct regs *regs)
{
    if (regs->vector == VEC_FAILSAFE) {
        failsafes++;
        regs->cs = FLAT_KERNEL_CS & ~3UL; /* our kernel, as frames show it */
        regs->ss = FLAT_KERNEL_SS;
        return true;
    }
    return false;
}

void test_main(void)
{
    trap_hook = hook;
    cpu_fill_context(&cpu_context, 1, second, 0);
    cpu_context.user_regs.cs = 0xe008;
    CHECK_IS(vcpu_op(VCPUOP_initialise, 1, &cpu_context), 0);
    CHECK_IS(vcpu_op(VCPUOP_up, 1, 0), 0);
    CHECK(wait_for(&done, 10000));
    CHECK_IS(failsafes, 1);
    CHECK_IS(done, 2);
}
