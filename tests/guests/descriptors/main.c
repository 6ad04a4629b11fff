/* SPDX-License-Identifier: MIT */
/*
 * update_descriptor and SET_LDT: where a descriptor may be written and where not, what the LDT's
 * base and size may be; selectors beyond it fault, and pages of it that are not there, or that are
 * writable, fault as the guest's own memory would.
 */
#include "lib.h"

#define DATA 0x00cff2000000ffffUL

static long set_ldt(uint64_t base, uint32_t entries)
{
    struct mmuext_op set = {.cmd = MMUEXT_SET_LDT, .arg1.linear_addr = base};
    set.arg2.nr_ents = entries;
    return mmuext_op(&set, 1, 0, DOMID_SELF);
}

static uint64_t load_fs(uint64_t selector)
{
    __asm__ volatile("mov %w0, %%fs" : : "r"(selector));
    __asm__ volatile("mov %w0, %%fs" : : "r"(0));
    return 1;
}

void test_main(void)
{
    uint64_t *page = page_new();
    uint64_t at = maddr_of(page);
    CHECK_IS(update_descriptor(at + 8, DATA & ~(3UL << 45)), 0);
    CHECK_IS(page[1], DATA);
    for (unsigned off = 1; off < 8; off++) {
        CHECK_IS(update_descriptor(at + off, DATA), -EINVAL);
    }
    uint64_t places[] = {0x200000,
                         0xfee00000,
                         ~7UL,
                         0,
                         maddr_of(table_find(VIRT_BASE, 1)),
                         maddr_of(table_find(VIRT_BASE, 4))};
    for (unsigned i = 0; i < ARRAY_SIZE(places); i++) {
        CHECK_IS(update_descriptor(places[i], DATA), -EINVAL);
        CHECK_IS(update_descriptor(places[i], 0), -EINVAL);
    }

    static const uint64_t bases[] = {8, HYP_START, 0xffff840000000000, NONCANONICAL,
                                     HYP_END - PAGE_BYTES};
    for (unsigned i = 0; i < ARRAY_SIZE(bases); i++) {
        CHECK_IS(set_ldt(bases[i], 1), -EINVAL);
    }
    CHECK_IS(set_ldt((uint64_t)page, 8193), -EINVAL);
    CHECK_IS(set_ldt((uint64_t)page, ~0u), -EINVAL);

    /* Two pages; the second is not mapped. */
    CHECK_IS(test_area_set(0, pte_make(mfn_of(page), PTE_RO)), 0);
    CHECK_IS(set_ldt(TEST_VA, 1024), 0);
    struct fault f = try_call(load_fs, 0x0f); /* the frame is still writable at its own address */
    CHECK_IS(f.vector, VEC_PF);
    CHECK_IS(f.cr2, TEST_VA + 8);
    NEED_OK(page_protect(page, PTE_RO));
    CHECK_FAULT(try_call(load_fs, 0x0f), NO_FAULT, 0);
    f = try_call(load_fs, 512 * 8 + 7);
    CHECK_IS(f.vector, VEC_PF);
    CHECK_IS(f.cr2, TEST_VA + PAGE_BYTES);
    CHECK_FAULT(try_call(load_fs, 1024 * 8 + 7), VEC_GP, 1024 * 8 + 4);
    /* Unmapped by the guest, but in force until the LDT is changed. */
    CHECK_IS(test_area_set(0, 0), 0);
    CHECK_FAULT(try_call(load_fs, 0x0f), NO_FAULT, 0);
    CHECK_IS(page_protect(page, PTE_RW), -EINVAL);
    CHECK_IS(set_ldt(0, 0), 0);
    CHECK_IS(page_protect(page, PTE_RW), 0);
    CHECK_FAULT(try_call(load_fs, 0x0f), VEC_GP, 0x0c);
}
