/* SPDX-License-Identifier: MIT */
/*
 * One vCPU pins and unpins a tree of tables while the other maps its tables writable, changes its
 * entries and pins them at other levels. Every call is a success or -EINVAL; at the end all frames
 * are ordinary memory again.
 */
#include "lib.h"

#define ROUNDS 300

static uint64_t *l1, *l2, *l3;
static volatile uint32_t ready, stop, done, wins;

static bool fine(long rc)
{
    return rc == 0 || rc == -EINVAL;
}

static void second(uint64_t arg)
{
    (void)arg;
    ready = 1;
    while (!stop) {
        if (test_area_set(5, pte_make(mfn_of(l1), PTE_RW)) == 0) {
            /* Writable: then it is no table now, and a store lands. */
            ((volatile uint64_t *)test_va(5))[7] = 0x1000;
            wins++;
            CHECK_IS(test_area_set(5, 0), 0);
        }
        CHECK(fine(pte_write(l2 + 9, 0)));
        CHECK(fine(mmuext_mfn(MMUEXT_PIN_L2_TABLE, mfn_of(l1))));
        CHECK(fine(mmuext_mfn(MMUEXT_UNPIN_TABLE, mfn_of(l1))));
        CHECK(fine(mmuext_mfn(MMUEXT_UNPIN_TABLE, mfn_of(l3))));
    }
    done = 1;
}

void test_main(void)
{
    test_area_init();
    l1 = page_new();
    l2 = page_new();
    l3 = page_new();
    l2[9] = pte_make(mfn_of(l1), PTE_RW);
    l3[1] = pte_make(mfn_of(l2), PTE_RW);
    NEED_OK(page_protect(l1, PTE_RO));
    NEED_OK(page_protect(l2, PTE_RO));
    NEED_OK(page_protect(l3, PTE_RO));
    NEED_OK(cpu_start(1, second, 0));
    NEED(wait_for(&ready, 10000));
    for (unsigned i = 0; i < ROUNDS; i++) {
        CHECK(fine(mmuext_mfn(MMUEXT_PIN_L3_TABLE, mfn_of(l3))));
        CHECK(fine(pte_write(l2 + 9, pte_make(mfn_of(l1), PTE_RW))));
        CHECK(fine(mmuext_mfn(MMUEXT_UNPIN_TABLE, mfn_of(l3))));
    }
    stop = 1;
    CHECK(wait_for(&done, 30000));
    (void)mmuext_mfn(MMUEXT_UNPIN_TABLE, mfn_of(l1));
    (void)mmuext_mfn(MMUEXT_UNPIN_TABLE, mfn_of(l3));
    CHECK_IS(page_protect(l3, PTE_RW), 0);
    CHECK_IS(page_protect(l2, PTE_RW), 0);
    CHECK_IS(page_protect(l1, PTE_RW), 0);
    CHECK(wins > 0);
}
