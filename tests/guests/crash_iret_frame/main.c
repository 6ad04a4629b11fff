/* SPDX-License-Identifier: MIT */
/*
 * iret with a stack pointer at nothing: the frame cannot be read, the domain is ended as a crash.
 */
#include "lib.h"

void test_main(void)
{
    CHECK_IS(xen_version(XENVER_pagesize, 0), 4096);
    expect_crash("no iret frame");
    __asm__ volatile("mov %0, %%rsp; mov $23, %%eax; syscall; ud2" : : "r"(0x7000UL) : "memory");
}
