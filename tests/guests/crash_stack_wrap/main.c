/* SPDX-License-Identifier: MIT */
/*
 * A stack pointer so low that the frame would wrap around to the top of all addresses: the domain
 * is ended as a crash and nothing is written up there.
 */
#include "lib.h"

void test_main(void)
{
    CHECK_IS(xen_version(XENVER_pagesize, 0), 4096);
    expect_crash("a frame around the end of addresses");
    __asm__ volatile("mov %0, %%rsp; ud2" : : "r"(16UL) : "memory");
}
