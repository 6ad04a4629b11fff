/* SPDX-License-Identifier: MIT */
/*
 * An entry of level 2, 3 or 4 that points to the table it stands in, or to another table of its own
 * level, would make tables readable as their own children: always -EINVAL, through every door, and
 * the tables stay usable.
 */
#include "lib.h"

static void each_level(void)
{
    for (unsigned level = 2; level <= 4; level++) {
        uint64_t *table = table_find(TEST_VA, level);
        uint64_t own = pte_make(mfn_of(table), PTE_RO);
        /* An entry nobody uses. */
        uint64_t *entry = table + 500;
        CHECK_IS(pte_write(entry, own), -EINVAL);
        CHECK_IS(pte_write(entry, own | PTE_W), -EINVAL);
        CHECK_IS(*entry, 0);
        /* The one the test area hangs on. */
        uint64_t was = table[pt_index(TEST_VA, level)];
        CHECK_IS(pte_write(table + pt_index(TEST_VA, level), own), -EINVAL);
        CHECK_IS(table[pt_index(TEST_VA, level)], was);
    }
}

/* The same in a table that is not validated yet: pinning finds it. */
static void by_pinning(void)
{
    for (unsigned level = 2; level <= 4; level++) {
        uint64_t *table = page_new();
        table[3] = pte_make(mfn_of(table), PTE_RO);
        CHECK_IS(page_pin(table, level), -EINVAL);
        CHECK_IS(page_protect(table, PTE_RW), 0);
        table[3] = 0;
        CHECK_IS(page_pin(table, level), 0);
        CHECK_IS(page_unpin(table), 0);
    }
}

/* Two tables, each other's child. (At level 2 the second is of level 1 and may map the first.) */
static void in_pairs(void)
{
    for (unsigned level = 3; level <= 4; level++) {
        uint64_t *a = page_new(), *b = page_new();
        a[0] = pte_make(mfn_of(b), PTE_RO);
        b[0] = pte_make(mfn_of(a), PTE_RO);
        CHECK_IS(page_protect(b, PTE_RO), 0);
        CHECK_IS(page_pin(a, level), -EINVAL);
        CHECK_IS(mmuext_mfn(MMUEXT_PIN_L1_TABLE + level - 1, mfn_of(b)), -EINVAL);
        CHECK_IS(page_protect(a, PTE_RW), 0);
        CHECK_IS(page_protect(b, PTE_RW), 0);
    }
}

void test_main(void)
{
    test_area_init();
    each_level();
    by_pinning();
    in_pairs();
    /* Level 1 may map any table, read-only: that is no recursion. */
    CHECK_IS(test_area_set(0, pte_make(mfn_of(test_area_l1()), PTE_RO)), 0);
    CHECK_FAULT(try_read(TEST_VA), NO_FAULT, 0);
    CHECK_FAULT(try_write(TEST_VA, 0), VEC_PF, ERR_P | ERR_W);
}
