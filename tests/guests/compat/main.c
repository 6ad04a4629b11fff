/* SPDX-License-Identifier: MIT */
/*
 * 32-bit user code of a 64-bit guest: its system calls by `int 0x80` and, on processors that have
 * it there, by `syscall` reach the guest's kernel with 32-bit selectors, never the hypervisor; its
 * faults are described with its own addresses. The guest's kernel in a 32-bit segment gets -ENOSYS
 * from `syscall`: there are no 32-bit kernels.
 */
#include "lib.h"

#define LOW_VA 0x400000UL
#define LOW_STACK 0x408000UL

static uint8_t *code;

static void low_memory(void)
{
    uint64_t *tables[3];
    code = page_new();
    for (unsigned i = 0; i < 3; i++) {
        tables[i] = page_new();
        tables[i][pt_index(LOW_VA, i + 1)] =
            pte_make(i ? mfn_of(tables[i - 1]) : mfn_of(code), PTE_RW);
    }
    /* The kernel's stack has a second address down here: 32-bit code cannot have the first. */
    uint64_t *l1 = tables[0];
    for (unsigned i = 0; i < CPU_STACK_BYTES / PAGE_BYTES; i++) {
        l1[pt_index(LOW_STACK, 1) + i] = pte_make(mfn_of(cpu_stacks + i * PAGE_BYTES), PTE_RW);
    }
    for (unsigned i = 0; i < 3; i++) {
        NEED_OK(page_protect(tables[i], PTE_RO));
    }
    NEED_OK(pte_write(table_find(VIRT_BASE, 4), pte_make(mfn_of(tables[2]), PTE_RW)));
}

static struct fault run(const char *bytes, unsigned count, bool user)
{
    uint64_t stack =
        LOW_STACK + ((uint64_t)__builtin_frame_address(0) & (CPU_STACK_BYTES - 1)) - 8192;
    memset(code, 0x90, 256);
    memcpy(code, bytes, count);
    struct iret_frame frame = {.rip = LOW_VA,
                               .cs = 0xe020 | (user ? 3 : 0),
                               .rflags = 0x202,
                               .rsp = user ? LOW_VA + 2048 : stack,
                               .ss = 0xe02b,
                               .rax = 0x1234};
    return try_iret(&frame);
}

void test_main(void)
{
    low_memory();
    user_tables_init();
    CHECK_IS(trap_set(0x80, trap_stub(0x80), 3), 0);
    struct callback_register reg = {.type = CALLBACKTYPE_syscall32,
                                    .address = (uint64_t)syscall32_entry};
    struct fault f = run("\xcd\x80", 2, true);
    CHECK_FAULT(f, 0x80, 0);
    CHECK_IS(f.regs.rip, LOW_VA + 2);
    CHECK_IS(f.regs.cs & 0xffff, 0xe023);
    CHECK_IS(f.regs.rax, 0x1234);

    f = run("\x0f\x05", 2, true); /* no entry for it yet */
    CHECK_FAULT(f, VEC_UD, 0);
    CHECK_IS(f.regs.rip, LOW_VA);
    CHECK_IS(callback_op(CALLBACKOP_register, &reg), 0);
    f = run("\x0f\x05", 2, true);
    bool has_syscall = f.vector != VEC_UD; /* Intel's processors do not, in 32-bit code */
    CHECK_FAULT(f, has_syscall ? VEC_SYSCALL32 : VEC_UD, 0);
    CHECK_IS(f.regs.rip, has_syscall ? LOW_VA + 2 : LOW_VA);
    CHECK_IS(f.regs.cs & 0xffff, 0xe023);

    f = run("\x0f\x34", 2, true); /* sysenter is not offered */
    CHECK(f.vector == VEC_GP || f.vector == VEC_UD);
    CHECK_IS(f.regs.rip, LOW_VA);
    f = run("\xcd\x81", 2, true);
    CHECK_FAULT(f, VEC_GP, 0x81 * 8 + 2);
    /* mov $0xe02b, %eax; mov %eax, %ds; mov 0x70000000, %eax */
    f = run("\xb8\x2b\xe0\x00\x00\x8e\xd8\xa1\x00\x00\x00\x70", 12, true);
    CHECK_FAULT(f, VEC_PF, ERR_U);
    CHECK_IS(f.cr2, 0x70000000);
    f = run("\xf4", 1, true);
    CHECK_FAULT(f, VEC_GP, 0);
    f = run("\xea\x00\x00\x40\x00\x08\xe0", 7, true); /* far jump to the hypervisor's selector */
    CHECK_FAULT(f, VEC_GP, 0xe008);

    /* sidt in memory, with an absolute address: the processor does it or, with UMIP, the
     * hypervisor; then the way back. */
    memset(code + 256, 0x55, 16);
    f = run("\x0f\x01\x0d\x00\x01\x40\x00\xcd\x80", 9, true);
    CHECK_FAULT(f, 0x80, 0);
    CHECK_IS(f.regs.rip, LOW_VA + 9);
    CHECK(code[256] != 0x55);
    CHECK_IS(code[256 + 6], 0x55);

    /* Kernel mode in the same segment: syscall, then a fault that brings us back. */
    f = run("\x0f\x05\x0f\x0b", 4, false);
    CHECK_FAULT(f, VEC_UD, 0);
    CHECK_IS((uint32_t)f.regs.rax, has_syscall ? (uint32_t)-ENOSYS : 0x1234);
}
