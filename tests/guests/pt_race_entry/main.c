/* SPDX-License-Identifier: MIT */
/*
 * Two vCPUs write different frames into one level-1 entry, as fast as they can, by every door there
 * is. Whoever wins: each call succeeds or says why, the entry is always one of the two, and at the
 * end no reference is left: both frames can be pinned as tables.
 */
#include "lib.h"

#define ROUNDS 3000

static uint64_t *entry;
static uint64_t ptes[2];
static volatile uint32_t ready, done;

static void write_all(unsigned who)
{
    for (unsigned i = 0; i < ROUNDS; i++) {
        CHECK_IS(pte_write(entry, ptes[who]), 0);
        CHECK_IS(update_va(TEST_VA, i & 1 ? ptes[who] : 0, UVMF_INVLPG | UVMF_LOCAL), 0);
        uint64_t now = *(volatile uint64_t *)entry & ~(PTE_A | PTE_D);
        CHECK(now == 0 || now == (ptes[0] & ~(PTE_A | PTE_D)) ||
              now == (ptes[1] & ~(PTE_A | PTE_D)));
    }
}

static void second(uint64_t arg)
{
    (void)arg;
    ready = 1;
    write_all(1);
    done = 1;
}

void test_main(void)
{
    uint8_t *a = page_new(), *b = page_new();
    entry = test_area_l1();
    ptes[0] = pte_make(mfn_of(a), PTE_RW);
    ptes[1] = pte_make(mfn_of(b), PTE_RW);
    NEED_OK(cpu_start(1, second, 0));
    NEED(wait_for(&ready, 10000));
    write_all(0);
    CHECK(wait_for(&done, 30000));
    CHECK_IS(test_area_set(0, 0), 0);
    CHECK_IS(page_pin(a, 1), 0);
    CHECK_IS(page_pin(b, 2), 0);
    CHECK_IS(page_unpin(a), 0);
    CHECK_IS(page_unpin(b), 0);
}
