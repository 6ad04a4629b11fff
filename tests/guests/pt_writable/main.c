/* SPDX-License-Identifier: MIT */
/*
 * No frame is writable and a table at once: a page that is mapped writable anywhere cannot become a
 * table of any level, a table cannot be mapped writable, not even by taking read-only entries and
 * adding the bit, and an entry's other bits may change without that being forgotten.
 */
#include "lib.h"

void test_main(void)
{
    test_area_init();
    for (unsigned level = 1; level <= 4; level++) {
        uint64_t *table = page_new();
        uint64_t mfn = mfn_of(table);
        CHECK_IS(mmuext_mfn(MMUEXT_PIN_L1_TABLE + level - 1, mfn), -EINVAL);
        /* Two writable mappings, of which one goes. */
        CHECK_IS(test_area_set(0, pte_make(mfn, PTE_RW)), 0);
        CHECK_IS(page_protect(table, PTE_RO), 0);
        CHECK_IS(mmuext_mfn(MMUEXT_PIN_L1_TABLE + level - 1, mfn), -EINVAL);
        CHECK_IS(test_area_set(0, pte_make(mfn, PTE_RO)), 0);
        CHECK_IS(mmuext_mfn(MMUEXT_PIN_L1_TABLE + level - 1, mfn), 0);

        /* Now it is one: through every door. */
        uint64_t *entry = test_area_l1();
        uint64_t was = entry[0];
        CHECK_IS(test_area_set(0, pte_make(mfn, PTE_RW)), -EINVAL);
        CHECK_IS(test_area_set(1, pte_make(mfn, PTE_RW)), -EINVAL);
        CHECK_IS(pte_write(entry, was | PTE_W), -EINVAL);
        CHECK_IS(pte_write(entry, (was | PTE_W) ^ PTE_A), -EINVAL);
        CHECK_IS(pte_write(entry, was ^ PTE_A ^ PTE_D ^ PTE_NX), 0);
        CHECK_IS(pte_write(entry, (was ^ PTE_NX) | PTE_W), -EINVAL);
        struct mmu_update req = {maddr_of(entry) | MMU_PT_UPDATE_PRESERVE_AD, was | PTE_W};
        CHECK_IS(mmu_update(&req, 1, 0, DOMID_SELF), -EINVAL);
        CHECK_FAULT(try_write(TEST_VA, 0), VEC_PF, ERR_P | ERR_W);
        CHECK_IS(mmuext_mfn(MMUEXT_CLEAR_PAGE, mfn), -EINVAL);
        struct mmuext_op copy = {
            .cmd = MMUEXT_COPY_PAGE, .arg1.mfn = mfn, .arg2.src_mfn = mfn_of(page_new())};
        CHECK_IS(mmuext_op(&copy, 1, 0, DOMID_SELF), -EINVAL);

        /* Pinned once, at one level. */
        for (unsigned other = 1; other <= 4; other++) {
            CHECK_IS(mmuext_mfn(MMUEXT_PIN_L1_TABLE + other - 1, mfn), -EINVAL);
        }
        CHECK_IS(mmuext_mfn(MMUEXT_UNPIN_TABLE, mfn), 0);
        CHECK_IS(mmuext_mfn(MMUEXT_UNPIN_TABLE, mfn), -EINVAL);
        CHECK_IS(test_area_set(0, 0), 0);
        CHECK_IS(page_protect(table, PTE_RW), 0);
    }
    /* The tables the guest started with. */
    for (unsigned level = 1; level <= 4; level++) {
        CHECK_IS(test_area_set(3, pte_make(mfn_of(table_find(VIRT_BASE, level)), PTE_RW)), -EINVAL);
        CHECK_IS(page_protect(table_find(VIRT_BASE, level), PTE_RW), -EINVAL);
    }
}
