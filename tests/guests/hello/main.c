/* SPDX-License-Identifier: MIT */
/*
 * The framework itself: a test kernel comes up, its clock runs, a fault is caught and described
 * exactly, user mode is entered and left. Everything else rests on this.
 */
#include "lib.h"

static uint64_t user_add(uint64_t x)
{
    return x + 41;
}

static uint64_t undefined(uint64_t x)
{
    __asm__ volatile("ud2");
    return x;
}

void test_main(void)
{
    uint64_t before = now_ns();
    CHECK(now_ns() >= before);
    CHECK(memcmp(start_info->magic, "xen-3.0-x86_64", 14) == 0);

    struct fault f = try_read(0x123456789000);
    CHECK_FAULT(f, VEC_PF, 0);
    CHECK_IS(f.cr2, 0x123456789000);
    f = try_write(0x123456789000, 1);
    CHECK_FAULT(f, VEC_PF, ERR_W);
    f = try_call(undefined, 0);
    CHECK_FAULT(f, VEC_UD, 0);
    CHECK_IS(f.regs.cs & 3, 0);

    user_tables_init();
    f = try_user(user_add, 1);
    CHECK_FAULT(f, NO_FAULT, 0);
    CHECK_IS(f.value, 42);
    f = try_user(undefined, 0);
    CHECK_FAULT(f, VEC_UD, 0);
    CHECK_IS(f.regs.cs & 3, 3);
}
