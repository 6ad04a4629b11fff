/* SPDX-License-Identifier: MIT */
/*
 * The top-level slots 256 to 271 are the hypervisor's. Updates there are refused, whatever they
 * say; pinning ignores what a guest wrote there and replaces it; a guest can neither unmap, remap
 * nor look through them.
 */
#include "lib.h"

void test_main(void)
{
    uint64_t *l4 = table_find(TEST_VA, 4);
    uint64_t *l3 = page_new();
    NEED_OK(page_pin(l3, 3));
    for (unsigned slot = 256; slot < 272; slot++) {
        uint64_t was = l4[slot];
        CHECK_IS(pte_write(l4 + slot, 0), -EINVAL);
        CHECK_IS(pte_write(l4 + slot, was), -EINVAL);
        CHECK_IS(pte_write(l4 + slot, pte_make(mfn_of(l3), PTE_RW)), -EINVAL);
        CHECK_IS(l4[slot], was);
    }
    CHECK_IS(pte_write(l4 + 255, pte_make(mfn_of(l3), PTE_RW)), 0);
    CHECK_IS(pte_write(l4 + 272, pte_make(mfn_of(l3), PTE_RW)), 0);
    CHECK_IS(pte_write(l4 + 255, 0), 0);
    CHECK_IS(pte_write(l4 + 272, 0), 0);

    /* A table with our own idea of the hypervisor's slots. */
    uint64_t *own = page_new();
    memcpy(own, l4, PAGE_BYTES);
    for (unsigned slot = 256; slot < 272; slot++) {
        own[slot] = pte_make(mfn_of(l3), PTE_RW);
    }
    CHECK_IS(page_pin(own, 4), 0);
    for (unsigned slot = 256; slot < 272; slot++) {
        CHECK(own[slot] != pte_make(mfn_of(l3), PTE_RW));
        CHECK((own[slot] & ~(PTE_A | PTE_D)) == (l4[slot] & ~(PTE_A | PTE_D)));
    }
    CHECK_IS(mmuext_mfn(MMUEXT_NEW_BASEPTR, mfn_of(own)), 0);
    CHECK_IS(pfn_of_mfn(mfn_of(own)), ((uint64_t)own - VIRT_BASE) / PAGE_BYTES);
    CHECK_IS(mmuext_mfn(MMUEXT_NEW_BASEPTR, mfn_of(l4)), 0);
    /* No L1 entry of the hypervisor's can be named by address. */
    CHECK_IS(update_va(HYP_START, 0, 0), -EINVAL);
    CHECK_IS(update_va(HYP_END - PAGE_BYTES, 0, 0), -EINVAL);
}
