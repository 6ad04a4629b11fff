// SPDX-License-Identifier: MIT
/*
 * Tests of arch/x86_64/xpti.c in a machine that is a piece of memory: what the page tables of guest
 * mode map of the hypervisor, and when their copies of a guest's entries are made anew. The source
 * is included so that the linker's symbols can be addresses of this file's choice.
 */
#include <CUnit/Basic.h>
#include <setjmp.h>
#include <stdlib.h>

#include "arch/x86_64/asm.h"
#define ENTRY_START (HYP_IMAGE_START + 0x22000)
#define ENTRY_END (HYP_IMAGE_START + 0x24000)
#define __entry_start ((const char *)ENTRY_START)
#define __entry_end ((const char *)ENTRY_END)
#include "arch/x86_64/xpti.c"
#include "tests/unit/runner.h"

#define IDT (HYP_IMAGE_START + 0x31000)
#define FRAMES 64
#define CPUS 10 /* more than share a table of blocks */
#define M2P_ENTRY 0x1234067UL
#define SECRET 0x5678063UL

_Thread_local unsigned host_cpu;
struct vcpu *host_current[MAX_PCPUS];
struct cpu_user_regs host_regs[MAX_PCPUS];
static uint8_t ram[FRAMES][PAGE_SIZE] __attribute__((aligned(4096)));
uint8_t *host_ram = ram[0];
uint64_t *host_m2p;
uint64_t host_tsc;
struct speculation speculation = {.xpti = true};

static mfn_t next_frame = 3; /* 0 to 2: the hypervisor's L4 and two of guests */
static jmp_buf panicked;
static uint64_t *const hyp_l4 = (uint64_t *)ram[0];
static uint64_t *const guest_l4[] = {(uint64_t *)ram[1], (uint64_t *)ram[2]};

void panic(const char *fmt, ...)
{
    (void)fmt;
    longjmp(panicked, 1);
}

mfn_t memmap_alloc(uint64_t frames, uint64_t align, mfn_t limit)
{
    CU_ASSERT(frames == 1 && align == 1 && limit == INVALID_MFN);
    CU_ASSERT_FATAL(next_frame < FRAMES);
    return next_frame++;
}

vaddr_t trap_idt(void)
{
    return IDT;
}

/* What the tables at cr3 say of an address; 0 not present. */
static uint64_t look_up(maddr_t cr3, vaddr_t va)
{
    uint64_t pte = cr3 | X86_PTE_P;
    for (unsigned level = 4; level >= 1 && (pte & X86_PTE_P); level--) {
        pte = ((uint64_t *)mfn_to_virt(PTE_MFN(pte)))[PT_INDEX(va, level)];
    }
    return pte;
}

static maddr_t cr3_of(unsigned guest)
{
    return (guest + 1) * PAGE_SIZE;
}

/* Every page of a block is mapped, as percpu_map() and the windows do in the course of time. */
static void fill_block(unsigned cpu)
{
    for (uint64_t at = 0; at < PERCPU_STRIDE; at += PAGE_SIZE) {
        xpti_page(cpu, at, (0x100000 + at) | cpu << 24 | READ_FLAGS | X86_PTE_RW | X86_PTE_NX);
    }
}

static void test_xpti__hides_the_hypervisor(void)
{
    for (unsigned i = HYP_L4_FIRST; i <= HYP_L4_LAST; i++) {
        hyp_l4[i] = i == HYP_L4_FIRST ? M2P_ENTRY : SECRET;
        guest_l4[0][i] = guest_l4[1][i] = hyp_l4[i];
    }
    for (unsigned cpu = 0; cpu < CPUS; cpu++) {
        xpti_map_cpu(cpu, hyp_l4);
        fill_block(cpu);
        /* Entry code and IDT; of the block all but the stack of C. */
        CU_ASSERT_EQUAL(xpti_check(cpu, hyp_l4), 3 + PERCPU_STRIDE / PAGE_SIZE - 7);
    }
    for (unsigned cpu = 0; cpu < CPUS; cpu++) {
        for (unsigned mode = 0; mode < 2; mode++) {
            maddr_t cr3 = xpti_guest_cr3(cpu, mode, cr3_of(0));
            const uint64_t *l4 = mfn_to_virt(cr3 >> PAGE_SHIFT);
            CU_ASSERT_EQUAL(l4[HYP_L4_FIRST], M2P_ENTRY);
            for (unsigned i = HYP_L4_FIRST + 1; i <= HYP_L4_LAST; i++) {
                CU_ASSERT_NOT_EQUAL(l4[i], SECRET);
                CU_ASSERT_EQUAL(!!l4[i], i == SLOT_IMAGE);
            }
            CU_ASSERT_EQUAL(look_up(cr3, ENTRY_START), (HYP_LOAD_PHYS + 0x22000) | READ_FLAGS);
            CU_ASSERT_EQUAL(look_up(cr3, ENTRY_END), 0);
            CU_ASSERT_EQUAL(look_up(cr3, ENTRY_START - PAGE_SIZE), 0);
            CU_ASSERT_EQUAL(look_up(cr3, HYP_IMAGE_START), 0);
            CU_ASSERT_EQUAL(look_up(cr3, IDT), (HYP_LOAD_PHYS + 0x31000) | READ_FLAGS | X86_PTE_NX);
            vaddr_t block = PERCPU_START + (vaddr_t)cpu * PERCPU_STRIDE;
            CU_ASSERT_EQUAL(look_up(cr3, block - PAGE_SIZE), 0);
            CU_ASSERT_EQUAL(look_up(cr3, block + PERCPU_STRIDE), 0);
            CU_ASSERT_EQUAL(look_up(cr3, block + STACK_BYTES - 2 * PAGE_SIZE), 0);
            CU_ASSERT_NOT_EQUAL(look_up(cr3, block + STACK_BYTES - PAGE_SIZE), 0);
            CU_ASSERT_NOT_EQUAL(look_up(cr3, block + PERCPU_TSS), 0);
        }
    }
}

static bool check_panics(unsigned cpu)
{
    if (setjmp(panicked)) {
        return true;
    }
    (void)!xpti_check(cpu, hyp_l4);
    return false;
}

/* The check finds what should not be there. */
static void test_xpti_check(void)
{
    uint64_t *l4 = tables[1].copy[1].l4;
    uint64_t *const places[] = {&l4[HYP_L4_LAST],
                                &l4[HYP_L4_FIRST],
                                &image_l1[PT_INDEX(ENTRY_END, 1)],
                                &image_l1[PT_INDEX(ENTRY_START, 1)],
                                &tables[1].l1[PT_INDEX(PERCPU_START, 1)],
                                &tables[1].l1[PT_INDEX(PERCPU_START + PERCPU_STRIDE + 0xd000, 1)]};
    for (unsigned i = 0; i < ARRAY_SIZE(places); i++) {
        uint64_t was = *places[i];
        *places[i] = 0x7000 | READ_FLAGS | X86_PTE_RW;
        CU_ASSERT_TRUE(check_panics(1));
        *places[i] = was;
        CU_ASSERT_FALSE(check_panics(1));
    }
}

static uint64_t guest_entry(unsigned cpu, bool mode, unsigned guest, unsigned slot)
{
    maddr_t cr3 = xpti_guest_cr3(cpu, mode, cr3_of(guest));
    return ((uint64_t *)mfn_to_virt(cr3 >> PAGE_SHIFT))[slot];
}

static void test_xpti_guest_cr3(void)
{
    guest_l4[0][0] = 0x1067;
    guest_l4[0][HYP_L4_FIRST - 1] = 0x2067;
    guest_l4[0][HYP_L4_LAST + 1] = 0x3067;
    guest_l4[0][511] = 0x4067;
    guest_l4[1][511] = 0x5067;
    CU_ASSERT_TRUE(arch_l4_changed());
    CU_ASSERT_EQUAL(guest_entry(0, true, 0, 0), 0x1067);
    CU_ASSERT_EQUAL(guest_entry(0, true, 0, HYP_L4_FIRST - 1), 0x2067);
    CU_ASSERT_EQUAL(guest_entry(0, true, 0, HYP_L4_LAST + 1), 0x3067);
    CU_ASSERT_EQUAL(guest_entry(0, true, 0, 511), 0x4067);
    /* User mode has the other page, so neither is copied again on the way to and fro. */
    CU_ASSERT_EQUAL(guest_entry(0, false, 1, 511), 0x5067);
    guest_l4[0][511] = guest_l4[1][511] = 0x9067;
    CU_ASSERT_EQUAL(guest_entry(0, true, 0, 511), 0x4067);
    CU_ASSERT_EQUAL(guest_entry(0, false, 1, 511), 0x5067);
    CU_ASSERT_NOT_EQUAL(xpti_guest_cr3(0, true, cr3_of(0)), xpti_guest_cr3(0, false, cr3_of(1)));
    CU_ASSERT_NOT_EQUAL(xpti_guest_cr3(0, true, cr3_of(0)), xpti_guest_cr3(1, true, cr3_of(0)));
    /* A change is counted: every CPU copies once more, each page when it is used next. */
    CU_ASSERT_TRUE(arch_l4_changed());
    CU_ASSERT_EQUAL(guest_entry(0, true, 0, 511), 0x9067);
    CU_ASSERT_EQUAL(guest_entry(0, false, 1, 511), 0x9067);
    CU_ASSERT_EQUAL(guest_entry(9, true, 0, 511), 0x9067);
    /* An entry that went away goes away; another table is another table. */
    guest_l4[0][511] = 0;
    CU_ASSERT_TRUE(arch_l4_changed());
    CU_ASSERT_EQUAL(guest_entry(0, true, 0, 511), 0);
    CU_ASSERT_EQUAL(guest_entry(0, true, 1, 511), 0x9067);
    CU_ASSERT_EQUAL(guest_entry(0, true, 0, 511), 0);
    CU_ASSERT_FALSE(check_panics(0));
}

static void test_xpti__off(void)
{
    mfn_t before = next_frame;
    speculation.xpti = false;
    xpti_map_cpu(20, hyp_l4);
    fill_block(20);
    CU_ASSERT_EQUAL(xpti_check(20, hyp_l4), 0);
    CU_ASSERT_FALSE(arch_l4_changed());
    CU_ASSERT_EQUAL(next_frame, before);
    speculation.xpti = true;
}

int main(void)
{
    CU_TestInfo tests[] = {
        {"the hypervisor is hidden", test_xpti__hides_the_hypervisor},
        {"the check of that", test_xpti_check},
        {"copies", test_xpti_guest_cr3},
        {"off", test_xpti__off},
        CU_TEST_INFO_NULL,
    };
    return run_tests("xpti", tests);
}
