/* SPDX-License-Identifier: MIT */
/*
 * Debug registers: addresses in the hypervisor, reserved bits, general detect and I/O breakpoints
 * are refused; what is set is read back, works for execution and data of the guest, and a watched
 * page that the hypervisor writes on the guest's behalf does not make it trap.
 */
#include "lib.h"

static volatile uint32_t traps;

static bool hook(struct regs *regs)
{
    if (regs->vector != VEC_DB) {
        return false;
    }
    traps++;
    regs->rflags |= 0x10000; /* resume */
    return true;
}

static __attribute__((noinline)) uint64_t target(uint64_t arg)
{
    __asm__ volatile("nop");
    return arg + 1;
}

static volatile uint64_t watched[8] __attribute__((aligned(64)));

void test_main(void)
{
    static const uint64_t bad[] = {HYP_START,   0xffff828000000000, 0xffff840000000000,
                                   HYP_END - 1, NONCANONICAL,       0x8000000000000000};
    for (unsigned reg = 0; reg < 4; reg++) {
        for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
            CHECK_IS(set_debugreg(reg, bad[i]), -EPERM);
        }
        CHECK_IS(set_debugreg(reg, (uint64_t)watched + reg * 8), 0);
        CHECK_IS(get_debugreg(reg), (uint64_t)watched + reg * 8);
    }
    CHECK_IS(set_debugreg(7, 1UL << 13), -EPERM);
    CHECK_IS(set_debugreg(7, 1UL << 32), -EPERM);
    CHECK_IS(set_debugreg(7, ~0UL), -EPERM);
    for (unsigned i = 0; i < 4; i++) {
        CHECK_IS(set_debugreg(7, 2UL << (16 + i * 4)), -EPERM);
    }
    CHECK_IS(get_debugreg(7), 0x400);
    CHECK_IS(set_debugreg(8, 0), -EINVAL);
    CHECK_IS(set_debugreg(~0u, 0), -EINVAL);
    CHECK_IS(set_debugreg(1UL << 32, watched), -EINVAL);
    CHECK_IS(get_debugreg(1UL << 32), -EINVAL);
    CHECK_IS(get_debugreg(8), -EINVAL);
    CHECK_IS(get_debugreg(1UL << 32), -EINVAL);
    CHECK_IS(set_debugreg(6, ~0UL), 0);
    CHECK_IS(get_debugreg(6) >> 32, 0);
    CHECK_IS(get_debugreg(6), get_debugreg(4));

    trap_hook = hook;
    CHECK_IS(set_debugreg(0, (uint64_t)target), 0);
    CHECK_IS(set_debugreg(7, 0x401 | 2), 0); /* execute */
    CHECK_IS(target(1), 2);
    CHECK_IS(traps, 1);
    CHECK_IS(get_debugreg(6) & 1, 1);

    traps = 0;
    CHECK_IS(set_debugreg(0, (uint64_t)&watched[0]), 0);
    CHECK_IS(set_debugreg(7, 0x402 | 0xd0000), 0); /* writes of 8 bytes */
    watched[0] = 1;
    CHECK_IS(traps, 1);
    /* Now the hypervisor writes there. */
    for (unsigned i = 0; i < 10; i++) {
        CHECK_IS(xen_version(XENVER_guest_handle, &watched[0]), 0);
        CHECK_IS(vcpu_op(VCPUOP_get_runstate_info, 0, &watched[0]), 0);
    }
    /* ... and reads its own bounce frame's place. */
    CHECK_IS(set_debugreg(1, (uint64_t)__builtin_frame_address(0) - 512), 0);
    CHECK_IS(set_debugreg(7, 0x40a | 0xfd0000), 0);
    CHECK_FAULT(try_read(0x1000), VEC_PF, 0);
    CHECK_IS(set_debugreg(7, 0), 0);
    traps = 0;
    watched[0] = 2;
    CHECK_IS(traps, 0);
}
