/* SPDX-License-Identifier: MIT */
/*
 * A debug trap that is held back by a load of SS and would come due in the first instruction of the
 * hypervisor, behind `syscall` or `int` (advisory 260): it is the guest's trap or nobody's, and the
 * hypervisor goes on.
 */
#include "lib.h"

static volatile uint64_t selector = 0xe02b;
static volatile uint32_t traps;

static bool hook(struct regs *regs)
{
    if (regs->vector != VEC_DB) {
        return false;
    }
    traps++;
    return true;
}

static uint64_t into_syscall(uint64_t nr)
{
    uint64_t rax = nr;
    __asm__ volatile("mov %1, %%ss\n\tsyscall"
                     : "+a"(rax)
                     : "m"(*(volatile uint16_t *)&selector), "D"(0), "S"(0)
                     : "rcx", "r11", "memory");
    return rax;
}

static uint64_t into_int(uint64_t arg)
{
    __asm__ volatile("mov %0, %%ss\n\tint $0x80"
                     :
                     : "m"(*(volatile uint16_t *)&selector)
                     : "memory");
    return arg;
}

static uint64_t into_breakpoint(uint64_t arg)
{
    __asm__ volatile("mov %0, %%ss\n\tint3" : : "m"(*(volatile uint16_t *)&selector) : "memory");
    return arg;
}

void test_main(void)
{
    user_tables_init();
    trap_hook = hook;
    CHECK_IS(trap_set(0x80, trap_stub(0x80), 3), 0);
    CHECK_IS(set_debugreg(0, (uint64_t)&selector), 0);
    CHECK_IS(set_debugreg(7, 0x402 | 0x70000), 0); /* reads and writes of 2 bytes */
    for (unsigned i = 0; i < 5; i++) {
        struct fault f = try_call(into_syscall, __HYPERVISOR_xen_version);
        CHECK_FAULT(f, NO_FAULT, 0);
        CHECK_IS(f.value, 4 << 16 | 17);
        CHECK_FAULT(try_user(into_syscall, 5), VEC_SYSCALL, 0);
        CHECK_FAULT(try_call(into_int, 0), 0x80, 0);
        CHECK_FAULT(try_user(into_int, 0), 0x80, 0);
        CHECK_FAULT(try_call(into_breakpoint, 0), VEC_BP, 0);
        CHECK_FAULT(try_user(into_breakpoint, 0), VEC_BP, 0);
    }
    CHECK_IS(set_debugreg(7, 0), 0);
    say("%u debug traps", traps);
}
