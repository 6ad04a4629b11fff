/* SPDX-License-Identifier: MIT */
/*
 * A frame that was traded away without a flush by the guest: a translation left in the TLB must not
 * reach it once somebody else, or the guest itself anew, has it. The old address is written after
 * the trade: that faults if the frame is in use again, which it is unless there are others that
 * a processor with nothing to do has cleared. The new frames, handed out from the same pool, stay
 * clean.
 *
 * Alone with maxcpus=1.
 */
#include "lib.h"

#define ROUNDS 60

void test_main(void)
{
    xen_pfn_t frame = frame_new(), room = frame_new();
    struct xen_memory_reservation less = {.nr_extents = 1, .domid = DOMID_SELF};
    set_xen_guest_handle(less.extent_start, &room);
    NEED(memory_op(XENMEM_decrease_reservation, &less) == 1);
    for (unsigned i = 0; i < ROUNDS; i++) {
        NEED_OK(test_area_set(0, pte_make(frame, PTE_RW)));
        *(volatile uint64_t *)TEST_VA = 0x600d;
        /* Cleared, but not flushed: the TLB may still know it. */
        CHECK_IS(update_va(TEST_VA, 0, UVMF_NONE), 0);
        xen_pfn_t fresh = 0x5000, traded = frame;
        struct xen_memory_exchange x = {.in = {.nr_extents = 1, .domid = DOMID_SELF},
                                        .out = {.nr_extents = 1, .domid = DOMID_SELF}};
        set_xen_guest_handle(x.in.extent_start, &frame);
        set_xen_guest_handle(x.out.extent_start, &fresh);
        CHECK_IS(memory_op(XENMEM_exchange, &x), 0);
        /* Until the old one comes back from the pool, a stale store may hit the pool only. */
        xen_pfn_t again = 0x5001;
        struct xen_memory_reservation r = {.nr_extents = 1, .domid = DOMID_SELF};
        set_xen_guest_handle(r.extent_start, &again);
        NEED(memory_op(XENMEM_populate_physmap, &r) == 1);
        if (again == traded) {
            CHECK_FAULT(try_write(TEST_VA, 0xbad), VEC_PF, ERR_W);
        } else {
            (void)try_write(TEST_VA, 0xbad);
        }
        NEED_OK(test_area_set(1, pte_make(again, PTE_RO)));
        CHECK_IS(*(volatile uint64_t *)test_va(1), 0);
        NEED_OK(test_area_set(1, 0));
        set_xen_guest_handle(r.extent_start, &again);
        NEED(memory_op(XENMEM_decrease_reservation, &r) == 1);
        frame = fresh;
    }
}
