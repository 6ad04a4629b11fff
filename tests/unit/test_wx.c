// SPDX-License-Identifier: MIT
/*
 * arch/x86_64/wx.c: tables as start-up makes them pass, and each kind of mistake in them is found
 * where it is.
 */
#include "arch/x86_64/wx.h"

#include <string.h>

#include "core/frame.h"
#include "suite.h"

#define LINK (X86_PTE_P | X86_PTE_RW | X86_PTE_US | X86_PTE_A)
#define TEXT X86_PTE_P
#define RO (X86_PTE_P | X86_PTE_NX)
#define RW (RO | X86_PTE_RW)
#define USER (RO | X86_PTE_US)
#define LARGE X86_PTE_PSE

#define TABLES_MAX 64
#define STACK_TOP_PAGE (PERCPU_START + STACK_BYTES - PAGE_SIZE)

static struct frame *tables[TABLES_MAX];
static unsigned table_count;
static mfn_t l4;
static struct wx wx;

static mfn_t new_table(void)
{
    struct frame *f = frame_alloc_hyp(0, 0);
    CU_ASSERT_FATAL(f && table_count < TABLES_MAX);
    memset(frame_to_virt(f), 0, PAGE_SIZE);
    tables[table_count++] = f;
    return frame_to_mfn(f);
}

static uint64_t *entry(vaddr_t va, unsigned level)
{
    mfn_t mfn = l4;
    for (unsigned l = 4; l > level; l--) {
        uint64_t *e = (uint64_t *)mfn_to_virt(mfn) + PT_INDEX(va, l);
        if (!*e) {
            *e = new_table() << PAGE_SHIFT | LINK;
        }
        mfn = PTE_MFN(*e);
    }
    return (uint64_t *)mfn_to_virt(mfn) + PT_INDEX(va, level);
}

static void map(vaddr_t va, unsigned level, mfn_t mfn, uint64_t flags)
{
    *entry(va, level) = mfn << PAGE_SHIFT | flags | (level > 1 ? LARGE : 0);
}

/* Two pages of code and one of data of the image, with their aliases in a direct map of 2 + 1 GiB
 * and 1 GiB; one processor; M2P. */
static void good_tables(void)
{
    l4 = new_table();
    map(HYP_IMAGE_START, 1, 0x200, TEXT);
    map(HYP_IMAGE_START + 0x1000, 1, 0x201, TEXT);
    map(HYP_IMAGE_START + 0x2000, 1, 0x202, RW);
    map(DIRECTMAP_START, 2, 0, RW);
    for (mfn_t mfn = 0x200; mfn < 0x400; mfn++) {
        map(DIRECTMAP_START + mfn * PAGE_SIZE, 1, mfn, mfn < 0x202 || mfn == 0x3ff ? RO : RW);
    }
    map(DIRECTMAP_START + (1UL << 30), 3, 1UL << 18, RW);
    for (unsigned page = 0; page < STACK_BYTES / PAGE_SIZE; page++) {
        if (PERCPU_STACK_PAGES >> page & 1) {
            map(PERCPU_START + page * PAGE_SIZE, 1, 0x300 + page, RW);
        }
    }
    map(PERCPU_START + PERCPU_STUB, 1, 0x3ff, TEXT);
    map(M2P_RO_START, 2, 0x400, USER);
    map(M2P_RW_START, 2, 0x400, RW);
}

static void finish(void)
{
    while (table_count) {
        frame_free_hyp(tables[--table_count], 0);
    }
}

static bool finds(const char *what, vaddr_t at)
{
    wx_walk(&wx, l4);
    return wx.problem && strstr(wx.problem, what) && wx.at == at;
}

static void test_good_tables(void)
{
    good_tables();
    wx_walk(&wx, l4);
    CU_ASSERT_PTR_NULL(wx.problem);
    CU_ASSERT_EQUAL(wx.executable, 3);
    CU_ASSERT_EQUAL(wx.read_only, 3 + 512);
    CU_ASSERT_EQUAL(wx.user, 512);
    CU_ASSERT_EQUAL(wx.writable, 1 + 512 + (512 - 3) + (1UL << 18) + 8 + 512);
    CU_ASSERT_EQUAL(wx.stacks, 5);
    CU_ASSERT_EQUAL(wx.range_count, 2);
    /* What is below slot 256 and above 271 is a guest's. */
    uint64_t *top = mfn_to_virt(l4);
    top[255] = top[272] = 0x200000 | LINK;
    wx_walk(&wx, l4);
    CU_ASSERT_PTR_NULL(wx.problem);
    finish();
}

static void test_writable_and_executable(void)
{
    static const struct {
        vaddr_t va;
        unsigned level;
    } places[] = {
        {HYP_IMAGE_START + 0x5000, 1},      {DIRECTMAP_START, 2},
        {DIRECTMAP_START + (1UL << 30), 3}, {IOREMAP_START, 1},
        {HYP_VIRT_END - PAGE_SIZE, 1},      {FRAMETABLE_START, 2},
        {PERCPU_START + PERCPU_GDT, 1},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(places); i++) {
        good_tables();
        map(places[i].va, places[i].level, 1UL << 20, X86_PTE_P | X86_PTE_RW);
        CU_ASSERT(finds("writable and executable", places[i].va));
        /* A table above that says read-only, or not executable, is enough. */
        *entry(places[i].va, places[i].level + 1) &= ~X86_PTE_RW;
        wx_walk(&wx, l4);
        CU_ASSERT(!wx.problem || strcmp(wx.problem, "writable and executable"));
        *entry(places[i].va, places[i].level + 1) |= X86_PTE_RW | X86_PTE_NX;
        wx_walk(&wx, l4);
        CU_ASSERT(!wx.problem || strcmp(wx.problem, "writable and executable"));
        finish();
    }
}

static void test_writable_alias_of_code(void)
{
    static const char text[] = "executable elsewhere";
    good_tables();
    map(DIRECTMAP_START + 0x201000, 1, 0x201, RW); /* code, in the direct map */
    CU_ASSERT(finds(text, DIRECTMAP_START + 0x201000));
    map(DIRECTMAP_START + 0x201000, 1, 0x201, RO);
    map(DIRECTMAP_START + 0x3ff000, 1, 0x3ff, RW); /* a stub page */
    CU_ASSERT(finds(text, DIRECTMAP_START + 0x3ff000));
    map(DIRECTMAP_START + 0x3ff000, 1, 0x3ff, RO);
    map(IOREMAP_START + 0x200000, 2, 0x200, RW); /* inside a large page that begins with it */
    CU_ASSERT(finds(text, IOREMAP_START + 0x200000));
    map(IOREMAP_START + 0x200000, 2, 0x200, RO);
    map(IOREMAP_START + (1UL << 30), 3, 0, RW); /* and one that holds it in its midst */
    CU_ASSERT(finds(text, IOREMAP_START + (1UL << 30)));
    finish();
}

static void test_open_to_guests(void)
{
    static const struct {
        vaddr_t va;
        mfn_t mfn;
        uint64_t flags;
    } bad[] = {
        {M2P_RO_START + 0x200000, 0x400, USER | X86_PTE_RW},
        {M2P_RO_START + 0x200000, 0x800, TEXT | X86_PTE_US},
        {M2P_RW_START, 0x400, USER},
        {DIRECTMAP_START, 0, USER},
        {FRAMETABLE_START, 0x800, RW | X86_PTE_US},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
        good_tables();
        map(bad[i].va, 2, bad[i].mfn, bad[i].flags);
        CU_ASSERT(finds("open to guests", bad[i].va));
        finish();
    }
    good_tables(); /* a page left from the trial of SMAP */
    map(PERCPU_START + 0x38000, 1, 0x200, TEXT | X86_PTE_US);
    CU_ASSERT(finds("open to guests", PERCPU_START + 0x38000));
    finish();
}

static void test_guard_pages(void)
{
    unsigned guards = 0;
    for (unsigned cpu = 0; cpu < 2; cpu++) {
        for (unsigned page = 0; page < STACK_BYTES / PAGE_SIZE; page++) {
            vaddr_t va = PERCPU_START + cpu * PERCPU_STRIDE + page * PAGE_SIZE;
            if (!(PERCPU_STACK_PAGES >> page & 1)) {
                good_tables();
                map(va, 1, 0x340, RO);
                CU_ASSERT(finds("guard page", va));
                finish();
                guards++;
            }
        }
    }
    CU_ASSERT_EQUAL(guards, 16);
    /* The IST stacks of the TSS end where a stack page ends, and have one page each. */
    for (unsigned ist = 1; ist <= 4; ist++) {
        unsigned page = PERCPU_IST_TOP(ist) / PAGE_SIZE - 1;
        CU_ASSERT_EQUAL(PERCPU_STACK_PAGES >> page & 1, 1);
        CU_ASSERT_EQUAL(PERCPU_STACK_PAGES >> (page - 1) & 1, 0);
    }
}

static void test_many_pieces_of_code(void)
{
    good_tables();
    for (unsigned i = 0; i < ARRAY_SIZE(wx.range) - 1; i++) {
        wx_walk(&wx, l4);
        CU_ASSERT_PTR_NULL(wx.problem);
        map(HYP_IMAGE_START + 0x10000 + i * PAGE_SIZE, 1, 0x80000 + 2 * i, TEXT);
    }
    wx_walk(&wx, l4);
    CU_ASSERT_PTR_NOT_NULL(wx.problem); /* rather than a check that leaves some out */
    finish();
}

int main(void)
{
    static const struct suite_case cases[] = {
        CASE(test_good_tables),
        CASE(test_writable_and_executable),
        CASE(test_writable_alias_of_code),
        CASE(test_open_to_guests),
        CASE(test_guard_pages),
        CASE(test_many_pieces_of_code),
    };
    return SUITE("page tables of the hypervisor", 1, cases);
}
