/* SPDX-License-Identifier: MIT */
/*
 * A kernel stack inside the hypervisor (its image, its direct map, its stacks): the frame must not
 * be written there. The domain is ended as a crash.
 */
#include "lib.h"

static uint64_t call(uint64_t x)
{
    __asm__ volatile("syscall" : "+a"(x) : : "rcx", "r11", "memory");
    return x;
}

void test_main(void)
{
    user_tables_init();
    CHECK_FAULT(try_user(call, 1), VEC_SYSCALL, 0);
    struct cpu *cpu = this_cpu();
    struct iret_frame frame = {.rip = (uint64_t)call,
                               .cs = FLAT_KERNEL_CS | 3,
                               .rflags = 0x202,
                               .rsp = (uint64_t)&cpu->user_stack[500],
                               .ss = FLAT_KERNEL_SS | 3};
    CHECK_IS(stack_switch(FLAT_KERNEL_SS, 0xffff840000200000), 0);
    expect_crash("kernel stack in the hypervisor's memory");
    iret_to(&frame, 0, 0);
}
