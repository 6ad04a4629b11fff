/* SPDX-License-Identifier: MIT */
/*
 * A page-fault handler that is not mapped: each fault makes another, until the stack has come to
 * its end. The domain is ended as a crash, the machine goes on.
 */
#include "lib.h"

void test_main(void)
{
    uint8_t *page = page_new(), *stack = page_new();
    NEED(stack == page + PAGE_BYTES);
    NEED_OK(page_protect(page, 0));
    CHECK_IS(trap_set(VEC_PF, (void *)0x7000, 0), 0);
    expect_crash("an endless fault");
    __asm__ volatile("mov %0, %%rsp; mov (%1), %%rax"
                     :
                     : "r"(stack + PAGE_BYTES), "r"(0x6000UL)
                     : "rax", "memory");
}
