/* SPDX-License-Identifier: MIT */
/*
 * Trees of page tables that take long to check, pinned and unpinned without pause, do not keep the
 * other vCPU from its timer: the calls are interrupted and continued, and succeed.
 */
#include "lib.h"

#define FRAMES 1000

static volatile uint32_t stop, done, ready;
static volatile uint64_t worst;

static void second(uint64_t arg)
{
    (void)arg;
    ready = 1;
    while (!stop) {
        uint64_t deadline = now_ns() + 5000000;
        struct sched_poll poll = {.nr_ports = 0, .timeout = deadline};
        (void)sched_op(SCHEDOP_poll, &poll);
        uint64_t now = now_ns();
        if (now > deadline && now - deadline > worst) {
            worst = now - deadline;
        }
    }
    done = 1;
}

void test_main(void)
{
    uint64_t *l2 = page_new(), *l3 = page_new();
    static uint64_t frames[FRAMES];
    for (unsigned i = 0; i < FRAMES; i++) {
        frames[i] = frame_new();
    }
    uint64_t *leaf[64];
    for (unsigned i = 0; i < ARRAY_SIZE(leaf); i++) {
        leaf[i] = page_new();
        for (unsigned k = 0; k < ENTRIES; k++) {
            leaf[i][k] = pte_make(frames[(i * 7 + k) % FRAMES], PTE_RW);
        }
        l2[i * 8] = pte_make(mfn_of(leaf[i]), PTE_RW);
        NEED_OK(page_protect(leaf[i], PTE_RO));
    }
    l3[5] = pte_make(mfn_of(l2), PTE_RW);
    NEED_OK(page_protect(l2, PTE_RO));
    NEED_OK(page_protect(l3, PTE_RO));
    NEED_OK(cpu_start(1, second, 0));
    NEED(wait_for(&ready, 10000));
    for (unsigned i = 0; i < 40; i++) {
        CHECK_IS(mmuext_mfn(MMUEXT_PIN_L3_TABLE, mfn_of(l3)), 0);
        CHECK_IS(mmuext_mfn(MMUEXT_PIN_L1_TABLE, mfn_of(leaf[i])), 0);
        CHECK_IS(mmuext_mfn(MMUEXT_UNPIN_TABLE, mfn_of(l3)), 0);
        CHECK_IS(mmuext_mfn(MMUEXT_UNPIN_TABLE, mfn_of(leaf[i])), 0);
    }
    stop = 1;
    CHECK(wait_for(&done, 30000));
    say("latest poll: %lu us", worst / 1000);
    CHECK(worst < 3000000000);
    CHECK_IS(page_protect(l3, PTE_RW), 0);
    CHECK_IS(page_protect(l2, PTE_RW), 0);
}
