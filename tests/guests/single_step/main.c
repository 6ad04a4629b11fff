/* SPDX-License-Identifier: MIT */
/*
 * The trap flag: a debug exception behind every instruction, from kernel and user mode, with the
 * guest's registers as they were; a step across a hypercall, with and without `mov ss` before it,
 * comes to the guest or is dropped, and never is the hypervisor's.
 */
#include "lib.h"

#define TF 0x100UL
#define DR6_BS (1UL << 14)

static volatile uint64_t steps, first_rip, last_rbx;

static bool count(struct regs *regs)
{
    if (regs->vector != VEC_DB) {
        return false;
    }
    first_rip = steps++ ? first_rip : regs->rip;
    last_rbx = regs->rbx;
    return true;
}

static uint64_t step_nops(uint64_t rbx)
{
    __asm__ volatile("pushf\n"
                     "orq $0x100, (%%rsp)\n"
                     "popf\n"
                     "nop\n"
                     "nop\n"
                     "pushf\n"
                     "andq $~0x100, (%%rsp)\n"
                     "popf\n"
                     :
                     : "b"(rbx)
                     : "memory");
    return rbx;
}

static uint64_t step_call(uint64_t load_ss)
{
    uint64_t rc = __HYPERVISOR_xen_version, op = XENVER_version, none = 0;
    __asm__ volatile("pushf\n"
                     "orq $0x100, (%%rsp)\n"
                     "mov %%ss, %%r10d\n"
                     "test %3, %3\n"
                     "popf\n"
                     "jz 1f\n"
                     "mov %%r10d, %%ss\n"
                     "1: syscall\n"
                     "pushf\n"
                     "andq $~0x100, (%%rsp)\n"
                     "popf\n"
                     : "+a"(rc), "+D"(op), "+S"(none)
                     : "r"(load_ss)
                     : "rcx", "rdx", "r8", "r9", "r10", "r11", "memory");
    return rc;
}

void test_main(void)
{
    trap_hook = count;
    (void)step_nops(0x1234);
    CHECK(steps >= 4);
    CHECK_IS(last_rbx, 0x1234);
    uint64_t version = (uint64_t)HC2(__HYPERVISOR_xen_version, XENVER_version, 0);
    for (uint64_t load_ss = 0; load_ss < 2; load_ss++) {
        steps = 0;
        CHECK_IS(step_call(load_ss), version);
        say("%lu steps around a hypercall", steps);
        CHECK(steps > 0);
    }

    trap_hook = NULL;
    user_tables_init();
    struct fault f = try_user(step_nops, 0x5678);
    CHECK_FAULT(f, VEC_DB, 0);
    CHECK_IS(f.regs.cs & 3, 3);
    CHECK_IS(f.regs.rbx, 0x5678);
    CHECK(f.regs.rflags & TF);
    CHECK(get_debugreg(6) & (long)DR6_BS);
}
