/* SPDX-License-Identifier: MIT */
/*
 * Continuations forged by the guest: a start in the middle of a reservation, "already preempted"
 * counts, starts beyond the end and beyond all numbers. Answers are counts or errors, and no frame
 * changes hands that was not named.
 */
#include "lib.h"

#define PREEMPTED 0x80000000u

static long at(unsigned op, uint64_t start, xen_pfn_t *list, unsigned count)
{
    struct xen_memory_reservation r = {.nr_extents = count, .domid = DOMID_SELF};
    set_xen_guest_handle(r.extent_start, list);
    return memory_op(op | start << 6, &r);
}

void test_main(void)
{
    domid_t self = DOMID_SELF;
    long pages = memory_op(XENMEM_current_reservation, &self);
    xen_pfn_t list[4] = {frame_new(), frame_new(), frame_new(), frame_new()}, kept = list[0];
    static const uint64_t starts[] = {4, 5, 1000, 0xffffffff, 1UL << 40, (1UL << 58) - 1};
    for (unsigned i = 0; i < ARRAY_SIZE(starts); i++) {
        CHECK_IS(at(XENMEM_decrease_reservation, starts[i], list, 4), starts[i]);
        CHECK_IS(at(XENMEM_populate_physmap, starts[i], list, 4), starts[i]);
        CHECK_IS(at(XENMEM_increase_reservation, starts[i], list, 4), starts[i]);
    }
    CHECK_IS(memory_op(XENMEM_current_reservation, &self), pages);
    CHECK_IS(at(XENMEM_decrease_reservation, 2, list, 4), 4); /* the last two */
    CHECK_IS(memory_op(XENMEM_current_reservation, &self), pages - 2);
    CHECK_IS(test_area_set(0, pte_make(kept, PTE_RO)), 0);
    CHECK_IS(at(XENMEM_populate_physmap, 3, list, 4), 4);
    CHECK_IS(memory_op(XENMEM_current_reservation, &self), pages - 1);

    uint32_t done = 1000;
    struct mmu_update reqs[3] = {
        {maddr_of(test_area_l1() + 9), 0}, {maddr_of(test_area_l1() + 10), 0}, {0x200000, 0}};
    CHECK_IS(mmu_update(reqs, PREEMPTED | 2, &done, DOMID_SELF), 0);
    CHECK_IS(done, 1002);
    CHECK_IS(mmu_update(reqs, PREEMPTED | 3, &done, DOMID_SELF), -EINVAL);
    CHECK_IS(done, 1004);
    done = 0xffffffff;
    CHECK_IS(mmu_update(reqs, PREEMPTED | 2, &done, DOMID_SELF), 0);
    CHECK_IS(done, 1);
    CHECK_IS(mmu_update(reqs, PREEMPTED | 2, HYP_START, DOMID_SELF), -EFAULT);
    CHECK_IS(mmu_update(reqs, PREEMPTED, &done, DOMID_SELF), 0);
    CHECK_IS(done, 1);
    struct mmuext_op op = {.cmd = MMUEXT_TLB_FLUSH_LOCAL};
    CHECK_IS(mmuext_op(&op, PREEMPTED | 1, &done, DOMID_SELF), 0);
    CHECK_IS(done, 2);
    /* A list that ends in nothing, and claims to be endless. */
    CHECK_IS(mmu_update(-16L, PREEMPTED - 1, &done, DOMID_SELF), -EFAULT);
}
