/* SPDX-License-Identifier: MIT */
/*
 * Two vCPUs map and unmap one grant at one address, undo each other's handles, while the entry's
 * flags and the page-table entry change under them. Every status is one of the expected; at the end
 * the frame has no reference left.
 */
#include "lib.h"

#define REF 27
#define ROUNDS 500

static domid_t me;
static uint64_t *page;
static volatile uint32_t ready, done, mapped[2];

static void round_of(unsigned who)
{
    grant_handle_t handle;
    long status = grant_map(me, REF, TEST_VA, GNTMAP_host_map, &handle);
    CHECK(status == GNTST_okay || status == GNTST_general_error);
    if (status == GNTST_okay) {
        mapped[who]++;
        long undo = grant_unmap(handle, TEST_VA, 0);
        while (undo == GNTST_general_error) {
            /* The other one has taken the entry away: put one there. */
            (void)test_area_set(0, pte_make(mfn_of(page), PTE_RW));
            undo = grant_unmap(handle, TEST_VA, 0);
        }
        /* It may have been undone by the other's guess, below. */
        CHECK(undo == GNTST_okay || undo == GNTST_bad_handle);
    }
    long guess = grant_unmap(who, TEST_VA, 0);
    CHECK(guess == GNTST_okay || guess == GNTST_bad_handle || guess == GNTST_general_error);
}

static void second(uint64_t arg)
{
    (void)arg;
    ready = 1;
    for (unsigned i = 0; i < ROUNDS; i++) {
        round_of(1);
    }
    done = 1;
}

void test_main(void)
{
    me = own_domid();
    page = page_new();
    grant_init();
    test_area_init();
    grant_set(REF, me, mfn_of(page), GTF_permit_access);
    NEED_OK(page_protect(page, PTE_RO));
    NEED_OK(cpu_start(1, second, 0));
    NEED(wait_for(&ready, 10000));
    for (unsigned i = 0; i < ROUNDS; i++) {
        round_of(0);
    }
    CHECK(wait_for(&done, 30000));
    CHECK(mapped[0] > 0 && mapped[1] > 0);
    CHECK_IS(test_area_set(0, 0), 0);
    CHECK_IS(grant_table[REF].flags, GTF_permit_access);
    CHECK_IS(mmuext_mfn(MMUEXT_PIN_L1_TABLE, mfn_of(page)), 0);
    CHECK_IS(mmuext_mfn(MMUEXT_UNPIN_TABLE, mfn_of(page)), 0);
}
