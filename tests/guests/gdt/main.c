/* SPDX-License-Identifier: MIT */
/*
 * The guest's own GDT: its descriptors come into force with DPL 3, the frame can no longer be
 * written except through update_descriptor; too many entries, frames that are writable, tables or
 * not the guest's are refused and the old one stays.
 */
#include "lib.h"

#define DATA_DPL0 0x00cf92000000ffffUL
#define CODE_DPL0 0x00af9a000000ffffUL

static uint64_t load_ds(uint64_t selector)
{
    __asm__ volatile("mov %w0, %%ds" : : "r"(selector));
    uint64_t back;
    __asm__ volatile("mov %%ds, %0" : "=r"(back));
    __asm__ volatile("mov %w0, %%ds" : : "r"(0));
    return back;
}

void test_main(void)
{
    uint64_t *gdt = page_new();
    xen_pfn_t mfn = mfn_of(gdt);
    gdt[1] = DATA_DPL0;
    gdt[2] = CODE_DPL0;
    gdt[3] = (DATA_DPL0 | 3UL << 45) & ~(1UL << 47); /* not present */
    CHECK_IS(set_gdt(&mfn, 4), -EINVAL);             /* writable */
    CHECK_FAULT(try_call(load_ds, 0x0b), VEC_GP, 0x08);
    NEED_OK(page_protect(gdt, PTE_RO));
    CHECK_IS(set_gdt(&mfn, 4), 0);
    CHECK_IS(gdt[1], DATA_DPL0 | 3UL << 45);
    CHECK_IS(gdt[2], CODE_DPL0 | 3UL << 45);
    struct fault f = try_call(load_ds, 0x0b);
    CHECK_FAULT(f, NO_FAULT, 0);
    CHECK_IS(f.value, 0x0b);
    CHECK_FAULT(try_call(load_ds, 0x1b), VEC_NP, 0x18);
    CHECK_FAULT(try_call(load_ds, 0x23), VEC_GP, 0x20);
    CHECK_IS(page_protect(gdt, PTE_RW), -EINVAL);
    CHECK_IS(mmuext_mfn(MMUEXT_PIN_L1_TABLE, mfn), -EINVAL);

    /* Refused: the old one stays in force. */
    xen_pfn_t bad[16];
    static const uint64_t frames[] = {0x200, 0xfee00, 1UL << 40, ~0UL};
    for (unsigned i = 0; i < ARRAY_SIZE(frames); i++) {
        bad[0] = frames[i];
        CHECK_IS(set_gdt(bad, 1), -EINVAL);
    }
    for (unsigned level = 1; level <= 4; level++) {
        bad[0] = mfn_of(table_find(VIRT_BASE, level));
        CHECK_IS(set_gdt(bad, 1), -EINVAL);
    }
    bad[0] = mfn;
    bad[1] = 0x200;
    CHECK_IS(set_gdt(bad, 513), -EINVAL);
    CHECK_IS(set_gdt(bad, 7169), -EINVAL);
    CHECK_IS(set_gdt(bad, 65536), -EINVAL);
    CHECK_IS(set_gdt(bad, ~0UL), -EINVAL);
    CHECK_IS(set_gdt(HYP_START, 1), -EFAULT);
    CHECK_IS(set_gdt(NONCANONICAL, 1), -EFAULT);
    CHECK_FAULT(try_call(load_ds, 0x0b), NO_FAULT, 0);

    /* Fourteen times the same frame is as much as there can be. */
    for (unsigned i = 0; i < 14; i++) {
        bad[i] = mfn;
    }
    CHECK_IS(set_gdt(bad, 7168), 0);
    CHECK_FAULT(try_call(load_ds, 13 * 4096 + 0x0b), NO_FAULT, 0);
    CHECK_IS(set_gdt(&mfn, 0), 0);
    CHECK_FAULT(try_call(load_ds, 0x0b), VEC_GP, 0x08);
    CHECK_IS(page_protect(gdt, PTE_RW), 0);
}
