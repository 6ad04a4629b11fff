/* SPDX-License-Identifier: MIT */
/*
 * The trap flag, set by the guest: over ordinary instructions, over an emulated one, and into
 * `syscall` from kernel and user mode. Each step is one debug trap of the guest, none ever traps in
 * the hypervisor, and the handler of a user's system call is entered without the flag.
 */
#include "lib.h"

#define FLAG_TF 0x100UL

static volatile uint32_t steps, user_steps;
static volatile uint64_t last_rip;

static bool hook(struct regs *regs)
{
    if (regs->vector != VEC_DB) {
        return false;
    }
    steps++;
    if ((regs->cs & 3) == 3) {
        user_steps++;
    }
    last_rip = regs->rip;
    if (steps > 200) {
        regs->rflags &= ~FLAG_TF;
    }
    return true;
}

static uint64_t step_over_call(uint64_t nr)
{
    uint64_t rax = nr, rdi = 0, rsi = 0;
    __asm__ volatile("pushf\n\torq $0x100, (%%rsp)\n\tpopf\n\t"
                     "nop\n\tsyscall\n\tnop\n\t"
                     "pushf\n\tandq $~0x100, (%%rsp)\n\tpopf\n\tnop"
                     : "+a"(rax), "+D"(rdi), "+S"(rsi)
                     :
                     : "rcx", "r11", "memory", "rdx", "r8", "r9", "r10", "cc");
    return rax;
}

static uint64_t step_over_cpuid(uint64_t leaf)
{
    uint32_t eax = (uint32_t)leaf, ebx, ecx = 0, edx;
    __asm__ volatile("pushf\n\torq $0x100, (%%rsp)\n\tpopf\n\t"
                     ".byte 0x0f, 0x0b, 0x78, 0x65, 0x6e; cpuid\n\t"
                     "pushf\n\tandq $~0x100, (%%rsp)\n\tpopf\n\tnop"
                     : "+a"(eax), "=b"(ebx), "+c"(ecx), "=d"(edx)
                     :
                     : "memory", "cc");
    return ebx;
}

void test_main(void)
{
    trap_hook = hook;
    struct fault f = try_call(step_over_call, __HYPERVISOR_xen_version);
    CHECK_FAULT(f, NO_FAULT, 0);
    CHECK_IS(f.value, 4 << 16 | 17);
    CHECK(steps >= 5 && steps < 12);
    say("%u steps over a hypercall", steps);

    steps = 0;
    CHECK_IS(set_debugreg(6, 0), 0);
    f = try_call(step_over_cpuid, 0x40000000);
    CHECK_FAULT(f, NO_FAULT, 0);
    CHECK_IS(f.value, 0x566e6558);
    CHECK(steps >= 3 && steps < 9);
    CHECK_IS(get_debugreg(6) & 0x4000, 0x4000);

    /* User mode, stepping into its system call: the handler itself is not stepped. */
    user_tables_init();
    steps = user_steps = 0;
    f = try_user(step_over_call, 7);
    CHECK_FAULT(f, VEC_SYSCALL, 0);
    CHECK_IS(steps, user_steps);
    CHECK(user_steps >= 1);
    CHECK_IS(f.regs.rax, 7);
    CHECK_IS(f.regs.rflags & FLAG_TF, FLAG_TF); /* where it came from is shown as it was */
    CHECK_IS(read_flags() & FLAG_TF, 0);
    f = try_user(step_over_cpuid, 0x40000000);
    CHECK_FAULT(f, NO_FAULT, 0);
}
