/* SPDX-License-Identifier: MIT */
/*
 * Large pages are not offered: the page-size bit is refused at levels 2, 3 and 4, by an update and
 * by pinning; at level 1 the same bit is an attribute an unprivileged guest may not use either.
 */
#include "lib.h"

void test_main(void)
{
    test_area_init();
    uint64_t frame = frame_new();
    for (unsigned level = alone() ? 2 : 1; level <= 4; level++) {
        uint64_t *entry = table_find(TEST_VA, level) + 400;
        CHECK_IS(pte_write(entry, pte_make(frame, PTE_RO | PTE_PS)), -EINVAL);
        CHECK_IS(pte_write(entry, pte_make(frame & ~511UL, PTE_RW | PTE_PS)), -EINVAL);
        CHECK_IS(pte_write(entry, PTE_RW | PTE_PS), -EINVAL);
        CHECK_IS(*entry, 0);
        /* Adding the bit to an entry that is there. */
        entry = table_find(TEST_VA, level) + pt_index(TEST_VA, level);
        if (level > 1) {
            uint64_t was = *entry;
            CHECK_IS(pte_write(entry, was | PTE_PS), -EINVAL);
            CHECK_IS(*entry, was);
        }
        uint64_t *table = page_new();
        table[7] = pte_make(frame, PTE_RO | PTE_PS);
        CHECK_IS(page_pin(table, level), -EINVAL);
        CHECK_IS(page_protect(table, PTE_RW), 0);
    }
    CHECK_IS(test_area_set(1, pte_make(frame, PTE_RO | PTE_PS)), alone() ? 0 : -EINVAL);
}
