/* SPDX-License-Identifier: MIT */
/*
 * callback_op: the five kinds are taken, addresses nobody could be sent to and kinds that are not
 * offered are refused; without a system-call entry a user's `syscall` is an invalid opcode.
 */
#include "lib.h"

static long set(uint16_t type, uint64_t address)
{
    struct callback_register reg = {.type = type, .address = address};
    return callback_op(CALLBACKOP_register, &reg);
}

static long unset(uint16_t type)
{
    struct callback_unregister reg = {.type = type};
    return callback_op(CALLBACKOP_unregister, &reg);
}

static uint64_t call(uint64_t nr)
{
    __asm__ volatile("syscall" : "+a"(nr) : : "rcx", "r11", "memory");
    return nr;
}

void test_main(void)
{
    static const uint16_t offered[] = {CALLBACKTYPE_event, CALLBACKTYPE_failsafe,
                                       CALLBACKTYPE_syscall, CALLBACKTYPE_nmi,
                                       CALLBACKTYPE_syscall32};
    static const uint16_t refused[] = {3, CALLBACKTYPE_sysenter, 6, 8, 99, 0xffff};
    static const uint64_t bad[] = {NONCANONICAL, 0x8000000000000000, HYP_START, HYP_END - 1,
                                   0xffff840000000000};
    for (unsigned i = 0; i < ARRAY_SIZE(offered); i++) {
        for (unsigned k = 0; k < ARRAY_SIZE(bad); k++) {
            CHECK_IS(set(offered[i], bad[k]), -EINVAL);
        }
    }
    CHECK_IS(set(CALLBACKTYPE_event, (uint64_t)event_entry), 0);
    CHECK_IS(set(CALLBACKTYPE_failsafe, (uint64_t)failsafe_entry), 0);
    CHECK_IS(set(CALLBACKTYPE_syscall, (uint64_t)syscall_entry), 0);
    CHECK_IS(set(CALLBACKTYPE_syscall32, (uint64_t)syscall32_entry), 0);
    for (unsigned i = 0; i < ARRAY_SIZE(refused); i++) {
        CHECK_IS(set(refused[i], (uint64_t)event_entry), -ENOSYS);
        CHECK_IS(unset(refused[i]), -ENOSYS);
    }
    CHECK_IS(unset(CALLBACKTYPE_event), -EINVAL);
    CHECK_IS(unset(CALLBACKTYPE_failsafe), -EINVAL);
    CHECK_IS(callback_op(2, &set), -ENOSYS);
    CHECK_IS(callback_op(CALLBACKOP_register, HYP_START), -EFAULT);
    CHECK_IS(callback_op(CALLBACKOP_unregister, NONCANONICAL), -EFAULT);

    user_tables_init();
    struct fault f = try_user(call, 5);
    CHECK_FAULT(f, VEC_SYSCALL, 0);
    CHECK_IS(f.regs.rax, 5);
    CHECK_IS(unset(CALLBACKTYPE_syscall), 0);
    f = try_user(call, 5);
    CHECK_FAULT(f, VEC_UD, 0);
    /* The fault is at the instruction itself. */
    CHECK(memcmp((void *)f.regs.rip, "\x0f\x05", 2) == 0);
    CHECK_IS(set(CALLBACKTYPE_syscall, (uint64_t)syscall_entry), 0);
    CHECK_FAULT(try_user(call, 5), VEC_SYSCALL, 0);
}
