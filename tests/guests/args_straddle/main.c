/* SPDX-License-Identifier: MIT */
/*
 * Arguments that lie across two pages: taken when both are there, whatever their frames are,
 * -EFAULT when the second is missing or cannot be written, at every offset of the boundary.
 */
#include "lib.h"

static uint8_t *edge; /* first byte of the second page */

static void present(void)
{
    for (unsigned off = 1; off < sizeof(struct evtchn_alloc_unbound); off++) {
        struct evtchn_alloc_unbound alloc = {.dom = DOMID_SELF, .remote_dom = DOMID_SELF};
        memcpy(edge - off, &alloc, sizeof(alloc));
        CHECK_IS(evtchn_op(EVTCHNOP_alloc_unbound, edge - off), 0);
        memcpy(&alloc, edge - off, sizeof(alloc));
        CHECK(alloc.port > 0 && alloc.port < 1024);
        CHECK_IS(event_close(alloc.port), 0);
    }
    for (unsigned off = 8; off < 1024; off += 8) {
        CHECK_IS(xen_version(XENVER_capabilities, edge - off), 0);
        CHECK(memcmp(edge - off, "xen-3.0-x86_64 ", 15) == 0);
    }
}

static void missing(long want_in, long want_out)
{
    for (unsigned off = 1; off < sizeof(struct evtchn_alloc_unbound); off++) {
        struct evtchn_alloc_unbound alloc = {.dom = 0, .remote_dom = 0};
        memcpy(edge - off, &alloc, off < sizeof(alloc) ? off : sizeof(alloc));
        CHECK_IS(evtchn_op(EVTCHNOP_alloc_unbound, edge - off), want_in);
    }
    for (unsigned off = 1; off < 16; off++) {
        CHECK_IS(xen_version(XENVER_extraversion, edge - off), want_out);
    }
    for (unsigned off = 1; off < 24; off++) {
        CHECK_IS(HC4(__HYPERVISOR_mmu_update, edge - off, 1, 0, DOMID_SELF),
                 off < 16 ? want_in : -EINVAL);
    }
}

void test_main(void)
{
    /* Two frames in the wrong order. */
    uint64_t a = frame_new(), b = frame_new();
    NEED_OK(test_area_set(0, pte_make(b, PTE_RW)));
    NEED_OK(test_area_set(1, pte_make(a, PTE_RW)));
    edge = test_va(1);
    present();
    memset(test_va(0), 0, PAGE_BYTES);
    NEED_OK(test_area_set(1, 0));
    missing(-EFAULT, -EFAULT);
    NEED_OK(test_area_set(1, pte_make(a, PTE_RO)));
    for (unsigned off = 1; off < 16; off++) {
        CHECK_IS(xen_version(XENVER_extraversion, edge - off), -EFAULT);
    }
    /* Can be read, so the call is made; its result cannot be written. */
    uint32_t done = 0;
    struct mmu_update req = {.ptr = maddr_of(test_area_l1() + 9), .val = 0};
    for (unsigned off = 0; off < 4; off++) {
        CHECK_IS(mmu_update(&req, 1, edge - off, DOMID_SELF), -EFAULT);
    }
    CHECK_IS(mmu_update(&req, 1, &done, DOMID_SELF), 0);
    CHECK_IS(done, 1);
}
