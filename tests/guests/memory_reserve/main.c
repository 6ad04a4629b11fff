/* SPDX-License-Identifier: MIT */
/*
 * Frames given back and taken again: a given-up frame is gone even if it was the guest's secret, a
 * new one comes cleared and with its M2P entry; no more than the limit, no absurd extents, no
 * foreign domains.
 */
#include "lib.h"

static long reserve(unsigned op, xen_pfn_t *list, unsigned count, unsigned order, domid_t dom)
{
    struct xen_memory_reservation r = {.nr_extents = count, .extent_order = order, .domid = dom};
    set_xen_guest_handle(r.extent_start, list);
    return memory_op(op, &r);
}

void test_main(void)
{
    domid_t self = DOMID_SELF;
    long pages = memory_op(XENMEM_current_reservation, &self);
    long limit = memory_op(XENMEM_maximum_reservation, &self);
    CHECK(pages >= (long)start_info->nr_pages && pages <= limit);

    xen_pfn_t frames[4];
    for (unsigned i = 0; i < 4; i++) {
        frames[i] = frame_new();
    }
    xen_pfn_t first = frames[0];
    CHECK_IS(reserve(XENMEM_decrease_reservation, frames, 4, 0, DOMID_SELF), 4);
    CHECK_IS(memory_op(XENMEM_current_reservation, &self), pages - 4);
    CHECK_IS(reserve(XENMEM_decrease_reservation, frames, 4, 0, DOMID_SELF), 0);
    CHECK_IS(test_area_set(0, pte_make(first, PTE_RO)), -EINVAL);

    xen_pfn_t pfns[4] = {0x5000, 0x5001, 0x5002, 0x5003};
    CHECK_IS(reserve(XENMEM_populate_physmap, pfns, 4, 0, DOMID_SELF), 4);
    CHECK_IS(memory_op(XENMEM_current_reservation, &self), pages);
    for (unsigned i = 0; i < 4; i++) {
        CHECK_IS(pfn_of_mfn(pfns[i]), 0x5000 + i);
        CHECK_IS(test_area_set(0, pte_make(pfns[i], PTE_RW)), 0);
        for (unsigned k = 0; k < ENTRIES; k++) {
            CHECK_IS(((volatile uint64_t *)test_va(0))[k], 0);
        }
    }
    CHECK_IS(test_area_set(0, 0), 0);

    /* Up to the limit and not beyond. */
    static xen_pfn_t many[4096];
    long room = limit - pages;
    NEED(room < 4000);
    for (unsigned i = 0; i < ARRAY_SIZE(many); i++) {
        many[i] = 0x6000 + i;
    }
    CHECK_IS(reserve(XENMEM_populate_physmap, many, ARRAY_SIZE(many), 0, DOMID_SELF), room);
    CHECK_IS(reserve(XENMEM_increase_reservation, many + room, 1, 0, DOMID_SELF), 0);
    CHECK_IS(reserve(XENMEM_decrease_reservation, many, (unsigned)room, 0, DOMID_SELF), room);

    for (unsigned order = 11; order < 64; order += 13) {
        CHECK_IS(reserve(XENMEM_populate_physmap, pfns, 1, order, DOMID_SELF), 0);
        CHECK_IS(reserve(XENMEM_decrease_reservation, pfns, 1, order, DOMID_SELF), 0);
    }
    CHECK_IS(reserve(XENMEM_populate_physmap, pfns, 1, ~0u, DOMID_SELF), 0);
    CHECK_IS(reserve(XENMEM_populate_physmap, NULL, 1, 0, DOMID_SELF), 0);
    CHECK_IS(reserve(XENMEM_populate_physmap, (xen_pfn_t *)HYP_START, 1, 0, DOMID_SELF), 0);
    xen_pfn_t bad[3] = {0x200, ~0UL, 1UL << 40};
    for (unsigned i = 0; i < 3; i++) {
        CHECK_IS(reserve(XENMEM_decrease_reservation, &bad[i], 1, 0, DOMID_SELF), 0);
    }
    if (!alone()) {
        CHECK_IS(reserve(XENMEM_decrease_reservation, pfns, 1, 0, 0), -EPERM);
        CHECK_IS(reserve(XENMEM_populate_physmap, pfns, 1, 0, 0), -EPERM);
        CHECK_IS(reserve(XENMEM_increase_reservation, pfns, 1, 0, 31000), -EPERM);
        CHECK_IS(reserve(XENMEM_populate_physmap, pfns, 1, 0, DOMID_XEN), -EPERM);
    }
    CHECK_IS(memory_op(XENMEM_current_reservation, &self), pages);
}
