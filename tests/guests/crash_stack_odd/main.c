/* SPDX-License-Identifier: MIT */
/*
 * Stack pointers that are not canonical, in kernel mode, when an exception comes: no frame can be
 * written, the domain is ended as a crash.
 */
#include "lib.h"

void test_main(void)
{
    CHECK_IS(xen_version(XENVER_pagesize, 0), 4096);
    expect_crash("a stack pointer that is not canonical");
    __asm__ volatile("mov %0, %%rsp; ud2" : : "r"(NONCANONICAL) : "memory");
}
