/* SPDX-License-Identifier: MIT */
/*
 * iret to user mode of a vCPU that has no user page tables: the domain is ended as a crash; it
 * never runs on anything else instead.
 */
#include "lib.h"

void test_main(void)
{
    struct iret_frame frame = {.rip = (uint64_t)user_return,
                               .cs = FLAT_KERNEL_CS | 3,
                               .rflags = 0x202,
                               .rsp = (uint64_t)&this_cpu()->user_stack[500],
                               .ss = FLAT_KERNEL_SS | 3};
    CHECK_IS(mmuext_mfn(MMUEXT_NEW_USER_BASEPTR, 0), 0);
    expect_crash("user mode without tables");
    iret_to(&frame, 0, 0);
}
