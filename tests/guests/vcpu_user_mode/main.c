/* SPDX-License-Identifier: MIT */
/*
 * A vCPU started in user mode without user page tables: whatever it does faults in its own user
 * mode, its kernel is entered on its kernel stack, and says so; it never sees memory that is not
 * its own.
 */
#include "lib.h"

static volatile uint32_t entered;
static volatile uint64_t seen_vector, seen_cs;

static void nothing(uint64_t arg)
{
    (void)arg;
}

static bool hook(struct regs *regs)
{
    if (this_cpu()->id != 1 && regs->vector != VEC_PF) {
        return false;
    }
    seen_vector = regs->vector;
    seen_cs = regs->cs;
    entered = 1;
    (void)vcpu_op(VCPUOP_down, 1, 0);
    return true;
}

void test_main(void)
{
    cpu_fill_context(&cpu_context, 1, nothing, 0);
    cpu_of(1)->id = 1;
    trap_hook = hook;
    cpu_context.flags &= ~(uint64_t)VGCF_in_kernel;
    CHECK_IS(vcpu_op(VCPUOP_initialise, 1, &cpu_context), 0);
    CHECK_IS(vcpu_op(VCPUOP_up, 1, 0), 0);
    CHECK(wait_for(&entered, 10000));
    CHECK_IS(seen_vector, VEC_PF);
    CHECK_IS(seen_cs & 3, 3);
}
