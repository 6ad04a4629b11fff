/* SPDX-License-Identifier: MIT */
/*
 * Frames given back while they are mapped, granted to oneself or page tables: they stay what they
 * are until the last user lets go, and nobody else gets them meanwhile.
 */
#include "lib.h"

#define TAKEN 20

static long give(uint64_t mfn)
{
    xen_pfn_t frame = mfn;
    struct xen_memory_reservation r = {.nr_extents = 1, .domid = DOMID_SELF};
    set_xen_guest_handle(r.extent_start, &frame);
    return memory_op(XENMEM_decrease_reservation, &r);
}

static xen_pfn_t get(void)
{
    xen_pfn_t pfn = 0x7000;
    struct xen_memory_reservation r = {.nr_extents = 1, .domid = DOMID_SELF};
    set_xen_guest_handle(r.extent_start, &pfn);
    NEED(memory_op(XENMEM_populate_physmap, &r) == 1);
    return pfn;
}

void test_main(void)
{
    /* Below the domain's limit by what is taken here. */
    for (unsigned i = 0; i < 2 * TAKEN; i++) {
        NEED(give(frame_new()) == 1);
    }
    /* Mapped writable. */
    uint64_t mapped = frame_new();
    CHECK_IS(test_area_set(0, pte_make(mapped, PTE_RW)), 0);
    *(volatile uint64_t *)TEST_VA = 0x4242;
    CHECK_IS(give(mapped), 1);
    CHECK_IS(give(mapped), 0);
    for (unsigned i = 0; i < TAKEN; i++) {
        xen_pfn_t other = get();
        CHECK(other != mapped);
        CHECK_IS(give(other), 1);
    }
    CHECK_IS(*(volatile uint64_t *)TEST_VA, 0x4242);
    CHECK_IS(test_area_set(0, 0), 0);
    CHECK_IS(test_area_set(0, pte_make(mapped, PTE_RW)), -EINVAL);

    /* A pinned table, and one that is only referred to. */
    uint64_t *table = page_new();
    NEED_OK(page_pin(table, 1));
    CHECK_IS(give(mfn_of(table)), 1);
    CHECK_IS(page_protect(table, PTE_RW), -EINVAL);
    CHECK_IS(mmuext_mfn(MMUEXT_PIN_L1_TABLE, mfn_of(table)), -EINVAL);
    CHECK_IS(mmuext_mfn(MMUEXT_UNPIN_TABLE, mfn_of(table)), 0);
    CHECK_IS(page_protect(table, 0), 0);
    CHECK_IS(page_protect(table, PTE_RO), -EINVAL);

    /* A vCPU's information frame. */
    uint64_t info = frame_new();
    struct vcpu_register_vcpu_info move = {.mfn = info};
    CHECK_IS(vcpu_op(VCPUOP_register_vcpu_info, 1, &move), 0);
    CHECK_IS(give(info), 1);
    for (unsigned i = 0; i < TAKEN; i++) {
        CHECK(get() != info);
    }
}
