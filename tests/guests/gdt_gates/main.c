/* SPDX-License-Identifier: MIT */
/*
 * System descriptors in descriptor tables: call gates, task and interrupt gates, TSS, LDT, of both
 * sizes. Present ones are refused in a GDT, by update_descriptor and when an LDT is first touched;
 * nothing with DPL below 3 is ever in force.
 */
#include "lib.h"

#define PRESENT (1UL << 47)

/* A system descriptor of that type which leads to the hypervisor's code selector. */
static uint64_t gate(unsigned type, unsigned dpl)
{
    return 0x0000000000081000 | (uint64_t)0xe008 << 16 | (uint64_t)type << 40 |
           (uint64_t)dpl << 45 | PRESENT;
}

static uint64_t load_es(uint64_t selector)
{
    __asm__ volatile("mov %w0, %%es" : : "r"(selector));
    __asm__ volatile("mov %w0, %%es" : : "r"(0));
    return 1;
}

static uint64_t far_jump(uint64_t selector)
{
    struct __attribute__((packed)) {
        uint32_t offset;
        uint16_t selector;
    } target = {0x1000, (uint16_t)selector};
    __asm__ volatile("ljmp *%0" : : "m"(target));
    return 1;
}

static void ldt(void)
{
    uint64_t *page = page_new();
    page[1] = 0x00cff2000000ffffUL;
    page[2] = gate(12, 3);
    page[3] = 0x00affa000000ffffUL;
    NEED_OK(page_protect(page, PTE_RO));
    struct mmuext_op set = {.cmd = MMUEXT_SET_LDT, .arg1.linear_addr = (uint64_t)page};
    set.arg2.nr_ents = 4;
    CHECK_IS(mmuext_op(&set, 1, 0, DOMID_SELF), 0);
    struct fault f = try_call(load_es, 0x0f);
    CHECK_IS(f.vector, VEC_PF);
    CHECK_IS(f.cr2, (uint64_t)page + 8);
    f = try_call(far_jump, 0x17);
    CHECK_IS(f.vector, VEC_PF);
    CHECK_IS(f.cr2, (uint64_t)page + 16);
    CHECK_IS(page_protect(page, PTE_RW), 0); /* it never became one */
    page[2] = 0;
    NEED_OK(page_protect(page, PTE_RO));
    CHECK_FAULT(try_call(load_es, 0x0f), NO_FAULT, 0);
    CHECK_IS(page_protect(page, PTE_RW), -EINVAL);
    CHECK_IS(update_descriptor(maddr_of(page + 2), gate(12, 3)), -EINVAL);
    CHECK_IS(page[2], 0);
    set.arg2.nr_ents = 0;
    CHECK_IS(mmuext_op(&set, 1, 0, DOMID_SELF), 0);
    CHECK_FAULT(try_call(load_es, 0x0f), VEC_GP, 0x0c);
}

void test_main(void)
{
    uint64_t *page = page_new();
    xen_pfn_t mfn = mfn_of(page);
    for (unsigned type = 0; type < 16; type++) {
        for (unsigned dpl = 0; dpl < 4; dpl += 3) {
            page[7] = gate(type, dpl);
            NEED_OK(page_protect(page, PTE_RO));
            CHECK_IS(set_gdt(&mfn, 512), -EINVAL);
            CHECK_IS(set_gdt(&mfn, 1), -EINVAL); /* all of the page counts */
            NEED_OK(page_protect(page, PTE_RW));
            CHECK_IS(update_descriptor(maddr_of(page + 6), gate(type, dpl)), -EINVAL);
            CHECK_IS(page[6], 0);
            page[7] = gate(type, dpl) & ~PRESENT;
            NEED_OK(page_protect(page, PTE_RO));
            CHECK_IS(set_gdt(&mfn, 512), 0);
            CHECK_IS(update_descriptor(maddr_of(page + 6), gate(type, dpl)), -EINVAL);
            CHECK_IS(update_descriptor(maddr_of(page + 7), 0), 0);
            CHECK_IS(set_gdt(&mfn, 0), 0);
            NEED_OK(page_protect(page, PTE_RW));
        }
    }
    ldt();
}
