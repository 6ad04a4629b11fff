/* SPDX-License-Identifier: MIT */
/*
 * The frame of a system call from user mode is to be written at a kernel stack that is not mapped:
 * the domain is ended as a crash. The hypervisor neither faults nor writes anywhere else.
 */
#include "lib.h"

static uint64_t spoil_and_call(uint64_t x)
{
    __asm__ volatile("syscall" : "+a"(x) : : "rcx", "r11", "memory");
    return x;
}

/* Like try_user, but with a kernel stack in the middle of nowhere. */
void test_main(void)
{
    user_tables_init();
    CHECK_FAULT(try_user(spoil_and_call, 1), VEC_SYSCALL, 0);
    struct cpu *cpu = this_cpu();
    struct iret_frame frame = {.rip = (uint64_t)spoil_and_call,
                               .cs = FLAT_KERNEL_CS | 3,
                               .rflags = 0x202,
                               .rsp = (uint64_t)&cpu->user_stack[500],
                               .ss = FLAT_KERNEL_SS | 3};
    CHECK_IS(stack_switch(FLAT_KERNEL_SS, 0x7000), 0);
    expect_crash("no kernel stack for a system call");
    iret_to(&frame, 0, 0);
}
