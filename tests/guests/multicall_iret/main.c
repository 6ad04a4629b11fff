/* SPDX-License-Identifier: MIT */
/*
 * iret inside of a multicall (the way out of one advisory): the frame is gone to, into user mode,
 * with user's tables; the entries behind it are not carried out and not touched.
 */
#include "lib.h"

static struct multicall_entry list[3];

static uint64_t user_function(uint64_t arg)
{
    return arg + 1;
}

void test_main(void)
{
    user_tables_init();
    struct cpu *cpu = this_cpu();
    struct fault result = {.vector = NO_FAULT};
    uint64_t *stack = &cpu->user_stack[500];
    *stack = (uint64_t)user_return;
    struct iret_frame frame = {.rip = (uint64_t)user_function,
                               .cs = FLAT_KERNEL_CS | 3,
                               .rflags = 0x2,
                               .rsp = (uint64_t)stack,
                               .ss = FLAT_KERNEL_SS | 3};
    list[0] = (struct multicall_entry){.op = __HYPERVISOR_xen_version, .args = {XENVER_pagesize}};
    list[1] = (struct multicall_entry){.op = __HYPERVISOR_iret, .result = 0x7777};
    list[2] =
        (struct multicall_entry){.op = __HYPERVISOR_set_trap_table, .result = 0x7777, .args = {0}};
    NEED_OK(stack_switch(FLAT_KERNEL_SS, (uint64_t)__builtin_frame_address(0) - 4096));
    cpu->fault = &result;
    barrier();
    if (context_save(&cpu->recover) == 0) {
        __asm__ volatile("mov %0, %%rsp; mov $13, %%eax; syscall; ud2"
                         :
                         : "r"(&frame), "D"(list), "S"(3)
                         : "memory", "rax", "rcx", "r11");
    }
    barrier();
    cpu->fault = NULL;
    CHECK_FAULT(result, NO_FAULT, 0);
    CHECK_IS(result.value, (uint64_t)list + 1);
    CHECK_IS(list[0].result, 4096);
    CHECK_IS(list[1].result, 0x7777);
    CHECK_IS(list[2].result, 0x7777);
    CHECK_FAULT(try_read(0x1000), VEC_PF, 0); /* the trap table is still there */
}
