/* SPDX-License-Identifier: MIT */
/*
 * A `syscall` instruction in the last two bytes of the lower half of addresses: the address behind
 * it is not canonical, and returning there by SYSRET would fault inside of the hypervisor on some
 * processors. From kernel mode the guest gets a fault of its own; from user mode its kernel sees
 * that address.
 */
#include "lib.h"

#define LAST_PAGE 0x00007ffffffff000UL

static uint64_t call_at_end(uint64_t nr)
{
    __asm__ volatile("jmp *%1" : : "a"(nr), "r"(LAST_PAGE + 4094), "D"(0), "S"(0) : "memory");
    __builtin_unreachable();
}

void test_main(void)
{
    uint64_t *tables[3];
    uint8_t *code = page_new();
    for (unsigned i = 0; i < 3; i++) {
        tables[i] = page_new();
        tables[i][511] = pte_make(i ? mfn_of(tables[i - 1]) : mfn_of(code), PTE_RO);
        NEED_OK(page_protect(tables[i], PTE_RO));
    }
    code[4094] = 0x0f;
    code[4095] = 0x05;
    NEED_OK(pte_write(table_find(VIRT_BASE, 4) + 255, pte_make(mfn_of(tables[2]), PTE_RW)));
    CHECK_IS(*(volatile uint8_t *)(LAST_PAGE + 4095), 5);
    user_tables_init();

    for (unsigned i = 0; i < 20; i++) {
        struct fault f = try_call(call_at_end, __HYPERVISOR_xen_version);
        CHECK(f.vector == VEC_GP || f.vector == VEC_FAILSAFE || f.vector == VEC_PF);
        CHECK_IS(f.regs.rax, 4 << 16 | 17); /* the call itself was made */
        f = try_user(call_at_end, 12345);
        CHECK_FAULT(f, VEC_SYSCALL, 0);
        CHECK_IS(f.regs.rip, LAST_PAGE + 4096);
        CHECK_IS(f.regs.rax, 12345);
        struct iret_frame frame = {.rip = f.regs.rip,
                                   .cs = f.regs.cs,
                                   .rflags = f.regs.rflags,
                                   .rsp = f.regs.rsp,
                                   .ss = f.regs.ss,
                                   .flags = VGCF_in_syscall};
        CHECK_FAULT(try_iret(&frame), VEC_GP, 0);
    }
}
