/* SPDX-License-Identifier: MIT */
/*
 * iret with a stack pointer in the hypervisor's own stacks and direct map: nothing is read from
 * there, the domain is ended as a crash.
 */
#include "lib.h"

void test_main(void)
{
    CHECK_IS(xen_version(XENVER_pagesize, 0), 4096);
    expect_crash("iret frame in the hypervisor");
    __asm__ volatile("mov %0, %%rsp; mov $23, %%eax; syscall; ud2"
                     :
                     : "r"(0xffff840000200000)
                     : "memory");
}
