/* SPDX-License-Identifier: MIT */
/*
 * A vCPU keeps a writable translation in its TLB while another makes the page a table without
 * asking for any flush: once the page is a table, no store of the first reaches it any more.
 */
#include "lib.h"

#define ROUNDS 300

static uint64_t *page;
static volatile uint32_t ready, stop, done, faults;
static volatile uint64_t writes;

static uint64_t scribble(uint64_t arg)
{
    volatile uint64_t *at = test_va(9);
    (void)arg;
    while (!stop) {
        /* As entries of a table they are not present and name no RAM. */
        at[3] = 0xfffff00000000 | (0x2000 + (writes++ & 0x1f) * 0x20);
        at[4] = 0;
    }
    return 0;
}

static void second(uint64_t arg)
{
    (void)arg;
    ready = 1;
    while (!stop) {
        struct fault f = try_call(scribble, 0);
        if (f.vector == VEC_PF) {
            faults++;
        } else {
            CHECK_IS(f.vector, NO_FAULT);
        }
    }
    done = 1;
}

void test_main(void)
{
    page = page_new();
    NEED_OK(page_protect(page, PTE_RO));
    NEED_OK(test_area_set(9, pte_make(mfn_of(page), PTE_RW)));
    NEED_OK(cpu_start(1, second, 0));
    NEED(wait_for(&ready, 10000));
    for (unsigned i = 0; i < ROUNDS; i++) {
        uint64_t before = writes;
        for (unsigned k = 0; k < 200 && writes == before; k++) {
            (void)sched_op(SCHEDOP_yield, 0);
        }
        /* Without a flush, on purpose. */
        CHECK_IS(update_va(test_va(9), pte_make(mfn_of(page), PTE_RO), UVMF_NONE), 0);
        CHECK_IS(mmuext_mfn(MMUEXT_PIN_L1_TABLE, mfn_of(page)), 0);
        uint64_t content = *(volatile uint64_t *)&page[3];
        for (unsigned k = 0; k < 50; k++) {
            CHECK_IS(*(volatile uint64_t *)&page[3], content);
            cpu_relax();
        }
        CHECK_IS(mmuext_mfn(MMUEXT_UNPIN_TABLE, mfn_of(page)), 0);
        CHECK_IS(update_va(test_va(9), pte_make(mfn_of(page), PTE_RW), UVMF_NONE), 0);
    }
    stop = 1;
    CHECK(wait_for(&done, 30000));
    CHECK(writes > 0);
    say("%lu writes, %u faults", writes, faults);
}
