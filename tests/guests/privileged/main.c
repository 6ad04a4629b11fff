/* SPDX-License-Identifier: MIT */
/*
 * Privileged instructions of kernel and user mode: the control registers a kernel may see and
 * change, and a general protection fault (or invalid opcode) for all the rest, with nothing
 * changed. Where the processor has UMIP, the instructions that tell where its tables are tell
 * constants, in either mode.
 */
#include "lib.h"

#define INSTRUCTION(name, text)                                                                    \
    static uint64_t name(uint64_t rax)                                                             \
    {                                                                                              \
        static uint64_t memory[4] __attribute__((used));                                           \
        uint64_t rcx = 0, rdx = 0, rbx = 0;                                                        \
        __asm__ volatile(text                                                                      \
                         : "+a"(rax), "+c"(rcx), "+d"(rdx), "+b"(rbx), "+m"(memory)                \
                         :                                                                         \
                         : "memory", "r11");                                                       \
        return rax;                                                                                \
    }

INSTRUCTION(read_cr0, "mov %%cr0, %%rax")
INSTRUCTION(write_cr0, "mov %%rax, %%cr0")
INSTRUCTION(read_cr2, "mov %%cr2, %%rax")
INSTRUCTION(read_cr3, "mov %%cr3, %%rax")
INSTRUCTION(write_cr3, "mov %%rax, %%cr3")
INSTRUCTION(read_cr4, "mov %%cr4, %%rax")
INSTRUCTION(write_cr4, "mov %%rax, %%cr4")
INSTRUCTION(read_cr8, "mov %%cr8, %%rax")
INSTRUCTION(write_cr8, "mov %%rax, %%cr8")
INSTRUCTION(do_clts, "clts")
INSTRUCTION(do_hlt, "hlt")
INSTRUCTION(do_lgdt, "lgdt %4")
INSTRUCTION(do_lidt, "lidt %4")
INSTRUCTION(do_lldt, "lldt %%ax")
INSTRUCTION(do_ltr, "ltr %%ax")
INSTRUCTION(do_lmsw, "lmsw %%ax")
INSTRUCTION(do_swapgs, "swapgs")
INSTRUCTION(do_sysret, "sysretq")
INSTRUCTION(do_sysexit, "sysexitq")
INSTRUCTION(do_wbinvd, "wbinvd")
INSTRUCTION(do_invlpg, "invlpg %4")
INSTRUCTION(do_rdpmc, "rdpmc")
INSTRUCTION(do_xsetbv, "xsetbv")
INSTRUCTION(do_vmcall, "vmcall")
INSTRUCTION(do_vmmcall, "vmmcall")
INSTRUCTION(do_rdtsc, "rdtsc")

static uint8_t table[16]; /* limit, 2 bytes, and base */
INSTRUCTION(do_sgdt, "sgdt (%%rax)")
INSTRUCTION(do_sidt, "sidt (%%rax)")
INSTRUCTION(do_sldt, "sldt %%rax")
INSTRUCTION(do_str, "str %%rax")
INSTRUCTION(do_smsw, "smsw %%rax")

static uint64_t base_shown(struct fault f)
{
    CHECK_FAULT(f, NO_FAULT, 0);
    uint64_t base;
    memcpy(&base, table + 2, 8);
    return base;
}

static bool has_umip(void)
{
    uint32_t eax = 7, ecx = 0;
    __asm__ volatile("cpuid" : "+a"(eax), "+c"(ecx) : : "ebx", "edx");
    return ecx >> 2 & 1;
}

static void store_system(struct fault (*try)(uint64_t (*fn)(uint64_t), uint64_t), uint64_t cr0)
{
    uint64_t at = (uint64_t)table;
    memset(table, 0x55, sizeof(table));
    CHECK_IS(base_shown(try(do_sgdt, at)), 0xfffffffffffe0000);
    CHECK_IS(base_shown(try(do_sidt, at)), 0xffffffffffff0000);
    CHECK_IS(table[0] | table[1] | (table[10] ^ 0x55), 0);
    CHECK_IS(try(do_sldt, ~0UL).value, 0);
    CHECK_IS(try(do_str, ~0UL).value, 0);
    CHECK_IS(try(do_smsw, 0).value, cr0);
    struct fault f = try(do_sgdt, 0x4321ffa);
    CHECK(f.vector == VEC_PF && (f.error & ERR_W) && f.cr2 == 0x4321ffa);
}

void test_main(void)
{
    user_tables_init();
    uint64_t cr0 = try_call(read_cr0, 0).value, cr4 = try_call(read_cr4, 0).value;
    CHECK_IS(cr0 & 0x80010001, 0x80010001);
    CHECK_FAULT(try_call(write_cr0, cr0), NO_FAULT, 0);
    CHECK_FAULT(try_call(write_cr0, cr0 & ~1UL), VEC_GP, 0);
    CHECK_FAULT(try_call(write_cr0, cr0 & ~0x80000000UL), VEC_GP, 0);
    CHECK_FAULT(try_call(write_cr0, cr0 & ~0x10000UL), VEC_GP, 0); /* write protection */
    CHECK_FAULT(try_call(write_cr0, cr0 | 0x40000000), VEC_GP, 0);
    CHECK_FAULT(try_call(write_cr0, cr0 | 8), NO_FAULT, 0);
    CHECK_IS(try_call(read_cr0, 0).value, cr0 | 8);
    CHECK_FAULT(try_call(do_clts, 0), NO_FAULT, 0);
    CHECK_IS(try_call(read_cr0, 0).value, cr0);

    CHECK_FAULT(try_read(0x4321000), VEC_PF, 0);
    CHECK_IS(try_call(read_cr2, 0).value, 0x4321000);
    CHECK_IS(try_call(read_cr3, 0).value, xen_pfn_to_cr3(mfn_of(table_find(VIRT_BASE, 4))));
    CHECK_FAULT(try_call(write_cr3, maddr_of(table_find(VIRT_BASE, 4))), VEC_GP, 0);
    CHECK_FAULT(try_call(write_cr4, cr4), NO_FAULT, 0);
    CHECK_FAULT(try_call(write_cr4, ~0UL), NO_FAULT, 0);
    CHECK_IS(try_call(read_cr4, 0).value & (1UL << 20 | 1UL << 21 | 1UL << 7 | 1UL << 13), 0);
    CHECK_FAULT(try_call(write_cr4, 0), NO_FAULT, 0);
    CHECK_IS(try_call(read_cr4, 0).value & 0x20, 0x20);
    CHECK_FAULT(try_user(do_rdtsc, 0), NO_FAULT, 0);
    CHECK_FAULT(try_call(write_cr4, cr4 | 4), NO_FAULT, 0); /* time stamps off for user mode */
    CHECK_FAULT(try_user(do_rdtsc, 0), VEC_GP, 0);
    CHECK_FAULT(try_call(do_rdtsc, 0), NO_FAULT, 0);
    CHECK_FAULT(try_call(write_cr4, cr4), NO_FAULT, 0);
    CHECK_FAULT(try_user(do_rdtsc, 0), NO_FAULT, 0);

    if (has_umip()) {
        store_system(try_call, cr0);
        store_system(try_user, cr0);
    }

    static uint64_t (*const denied[])(uint64_t) = {read_cr8,  write_cr8, do_hlt,    do_lgdt,
                                                   do_lidt,   do_lldt,   do_ltr,    do_lmsw,
                                                   do_swapgs, do_sysret, do_sysexit};
    for (unsigned i = 0; i < ARRAY_SIZE(denied); i++) {
        struct fault f = try_call(denied[i], 0);
        CHECK(f.vector == VEC_GP || f.vector == VEC_UD);
        f = try_user(denied[i], 0);
        CHECK(f.vector == VEC_GP || f.vector == VEC_UD);
    }
    static uint64_t (*const undefined[])(uint64_t) = {do_vmcall, do_vmmcall};
    for (unsigned i = 0; i < ARRAY_SIZE(undefined); i++) {
        struct fault f = try_call(undefined[i], 0);
        CHECK(f.vector == VEC_UD || f.vector == VEC_GP);
    }
    struct fault f = try_call(do_rdpmc, 0);
    CHECK(f.vector == VEC_GP || f.vector == VEC_UD);
    CHECK_FAULT(try_call(do_wbinvd, 0), NO_FAULT, 0);
    CHECK_FAULT(try_call(do_invlpg, 0), NO_FAULT, 0);
    f = try_call(do_xsetbv, 0); /* without x87 */
    CHECK(f.vector == VEC_GP || f.vector == VEC_UD);
    f = try_call(do_xsetbv, ~0UL);
    CHECK(f.vector == VEC_GP || f.vector == VEC_UD);
    static uint64_t (*const kernel_only[])(uint64_t) = {read_cr0,  write_cr0, read_cr2,  read_cr3,
                                                        write_cr3, read_cr4,  write_cr4, do_clts,
                                                        do_wbinvd, do_invlpg, do_xsetbv};
    for (unsigned i = 0; i < ARRAY_SIZE(kernel_only); i++) {
        f = try_user(kernel_only[i], cr0);
        CHECK(f.vector == VEC_GP || f.vector == VEC_UD);
    }
}
