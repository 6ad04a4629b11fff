/* SPDX-License-Identifier: MIT */
/*
 * An exception for which the guest has set no handler ends the domain as a crash, and only it.
 */
#include "lib.h"

void test_main(void)
{
    CHECK_IS(set_trap_table(0), 0);
    expect_crash("invalid opcode without a handler");
    __asm__ volatile("ud2");
}
