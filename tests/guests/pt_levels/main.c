/* SPDX-License-Identifier: MIT */
/*
 * A table of one level where one of another is wanted: refused, whether by update, by pinning the
 * parent or as base pointer; a table stays of its level while anything holds it.
 */
#include "lib.h"

static uint64_t *tables[4];

void test_main(void)
{
    test_area_init();
    for (unsigned i = 0; i < 4; i++) {
        tables[i] = page_new();
        NEED_OK(page_pin(tables[i], i + 1));
    }
    for (unsigned parent = 2; parent <= 4; parent++) {
        uint64_t *entry = table_find(TEST_VA, parent) + 200;
        for (unsigned child = 1; child <= 4; child++) {
            long want = child == parent - 1 ? 0 : -EINVAL;
            uint64_t pte = pte_make(mfn_of(tables[child - 1]), PTE_RW);
            CHECK_IS(pte_write(entry, pte), want);
            CHECK_IS(pte_write(entry, 0), 0);
            uint64_t *other = page_new();
            other[511] = pte;
            CHECK_IS(page_pin(other, parent), want);
            if (want == 0) {
                CHECK_IS(page_unpin(other), 0);
            }
            CHECK_IS(page_protect(other, PTE_RW), 0);
        }
    }
    for (unsigned i = 0; i < 3; i++) {
        CHECK_IS(mmuext_mfn(MMUEXT_NEW_BASEPTR, mfn_of(tables[i])), -EINVAL);
        CHECK_IS(mmuext_mfn(MMUEXT_NEW_USER_BASEPTR, mfn_of(tables[i])), -EINVAL);
    }
    CHECK_IS(mmuext_mfn(MMUEXT_NEW_BASEPTR, 0), -EINVAL);
    CHECK_IS(mmuext_mfn(MMUEXT_NEW_BASEPTR, ~0UL), -EINVAL);

    /* Unpinned, but the parent and a base pointer still hold it. */
    CHECK_IS(pte_write(table_find(TEST_VA, 2) + 200, pte_make(mfn_of(tables[0]), PTE_RW)), 0);
    CHECK_IS(mmuext_mfn(MMUEXT_UNPIN_TABLE, mfn_of(tables[0])), 0);
    CHECK_IS(page_protect(tables[0], PTE_RW), -EINVAL);
    CHECK_IS(mmuext_mfn(MMUEXT_PIN_L2_TABLE, mfn_of(tables[0])), -EINVAL);
    CHECK_IS(pte_write(table_find(TEST_VA, 2) + 200, 0), 0);
    CHECK_IS(page_protect(tables[0], PTE_RW), 0);

    CHECK_IS(mmuext_mfn(MMUEXT_NEW_USER_BASEPTR, mfn_of(tables[3])), 0);
    CHECK_IS(mmuext_mfn(MMUEXT_UNPIN_TABLE, mfn_of(tables[3])), 0);
    CHECK_IS(page_protect(tables[3], PTE_RW), -EINVAL);
    CHECK_IS(mmuext_mfn(MMUEXT_NEW_USER_BASEPTR, 0), 0);
    CHECK_IS(page_protect(tables[3], PTE_RW), 0);
}
