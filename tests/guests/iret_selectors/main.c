/* SPDX-License-Identifier: MIT */
/*
 * iret to code and stack selectors that cannot be loaded, to user and to kernel mode: the
 * hypervisor's own, the null one, data as code, entries that do not exist. The failsafe callback is
 * entered in the guest's kernel, each time.
 */
#include "lib.h"

static uint64_t nothing(uint64_t arg)
{
    return arg;
}

void test_main(void)
{
    static const uint16_t bad_cs[] = {0xe008, 0xe010, 0xe02b, 0xe040, 0xe050, 0,
                                      0x8,    0xfff8, 0x4,    0xdff8, 0xe000};
    static const uint16_t bad_ss[] = {0xe008, 0xe010, 0xe033, 0xe040, 0xe050, 0,
                                      0x8,    0xfff8, 0x4,    0xdff8, 0xe000};
    user_tables_init();
    for (unsigned user = 0; user < 2; user++) {
        uint64_t *stack = &this_cpu()->user_stack[500];
        *stack = (uint64_t)user_return;
        struct iret_frame frame = {
            .rip = (uint64_t)nothing, .rflags = 0x202, .rsp = (uint64_t)stack};
        uint64_t rpl = user ? 3 : 0;
        for (unsigned i = 0; i < ARRAY_SIZE(bad_cs); i++) {
            frame.cs = (bad_cs[i] & ~3UL) | rpl;
            frame.ss = FLAT_KERNEL_SS;
            CHECK_FAULT(try_iret(&frame), VEC_FAILSAFE, 0);
        }
        for (unsigned i = 0; i < ARRAY_SIZE(bad_ss); i++) {
            frame.cs = (FLAT_KERNEL_CS & ~3UL) | rpl;
            frame.ss = bad_ss[i];
            CHECK_FAULT(try_iret(&frame), VEC_FAILSAFE, 0);
        }
    }
    CHECK_FAULT(try_user(nothing, 0), NO_FAULT, 0);
}
