/* SPDX-License-Identifier: MIT */
/*
 * A context's rflags and selectors are made safe: a vCPU started with IOPL 3, NT, VM, and without
 * interrupts runs without I/O rights and with interrupts; selectors of the hypervisor never get
 * loaded: the failsafe callback is entered instead.
 */
#include "lib.h"

static volatile uint32_t done;
static volatile uint64_t flags, failsafes;

static void second(uint64_t arg)
{
    (void)arg;
    flags = read_flags();
    done = 1;
}

static bool hook(struct regs *regs)
{
    if (regs->vector != VEC_FAILSAFE) {
        return false;
    }
    failsafes++;
    done = 1;
    (void)vcpu_op(VCPUOP_down, 1, 0);
    return false;
}

void test_main(void)
{
    trap_hook = hook;
    cpu_fill_context(&cpu_context, 1, second, 0);
    cpu_context.user_regs.rflags = 0x3000 | 0x4000 | 0x20000 | 0x180000 | 0xffffffff00000000;
    CHECK_IS(vcpu_op(VCPUOP_initialise, 1, &cpu_context), 0);
    CHECK_IS(vcpu_op(VCPUOP_up, 1, 0), 0);
    CHECK(wait_for(&done, 10000));
    CHECK_IS(flags & 0x200, 0x200);
    CHECK_IS(flags & (0x3000 | 0x4000 | 0x20000 | 0x180000), 0);
    CHECK_IS(failsafes, 0);
}
