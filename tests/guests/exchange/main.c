/* SPDX-License-Identifier: MIT */
/*
 * XENMEM_exchange: frames traded one against one, for contiguous ones and back; refused when they
 * are mapped, granted, not the guest's, unequal in number or absurd; then nothing has changed.
 */
#include "lib.h"

static long exchange(xen_pfn_t *in, unsigned in_count, unsigned in_order, xen_pfn_t *out,
                     unsigned out_count, unsigned out_order)
{
    struct xen_memory_exchange x = {
        .in = {.nr_extents = in_count, .extent_order = in_order, .domid = DOMID_SELF},
        .out = {.nr_extents = out_count, .extent_order = out_order, .domid = DOMID_SELF}};
    set_xen_guest_handle(x.in.extent_start, in);
    set_xen_guest_handle(x.out.extent_start, out);
    long rc = memory_op(XENMEM_exchange, &x);
    CHECK_IS(x.nr_exchanged, rc ? 0 : in_count);
    return rc;
}

void test_main(void)
{
    domid_t self = DOMID_SELF;
    long pages = memory_op(XENMEM_current_reservation, &self);
    xen_pfn_t in[4], out[4];
    for (unsigned i = 0; i < 4; i++) {
        in[i] = frame_new();
        out[i] = 0x5000 + i;
    }
    CHECK_IS(exchange(in, 4, 0, out, 1, 2), 0);
    CHECK_IS(out[0] % 4, 0);
    for (unsigned i = 0; i < 4; i++) {
        CHECK_IS(pfn_of_mfn(out[0] + i), 0x5000 + i);
        CHECK_IS(test_area_set(0, pte_make(in[i], PTE_RO)),
                 in[i] >= out[0] && in[i] < out[0] + 4 ? 0 : -EINVAL);
        CHECK_IS(test_area_set(0, pte_make(out[0] + i, PTE_RW)), 0);
        CHECK_IS(*(volatile uint64_t *)TEST_VA, 0);
    }
    CHECK_IS(test_area_set(0, 0), 0);
    /* ... and back. */
    in[0] = out[0];
    for (unsigned i = 0; i < 4; i++) {
        out[i] = 0x5100 + i;
    }
    CHECK_IS(exchange(in, 1, 2, out, 4, 0), 0);
    xen_pfn_t kept = out[0];

    /* Mapped. */
    CHECK_IS(test_area_set(0, pte_make(kept, PTE_RO)), 0);
    xen_pfn_t want = 0x5200;
    CHECK_IS(exchange(&kept, 1, 0, &want, 1, 0), -EBUSY);
    CHECK_IS(want, 0x5200);
    CHECK_IS(test_area_set(0, 0), 0);
    /* The second of two is not ours: the first is given back. */
    xen_pfn_t two[2] = {kept, 0x200}, wants[2] = {0x5200, 0x5201};
    CHECK(exchange(two, 2, 0, wants, 2, 0) < 0);
    CHECK_IS(test_area_set(0, pte_make(kept, PTE_RW)), 0);
    CHECK_IS(test_area_set(0, 0), 0);
    two[1] = kept;
    CHECK_IS(exchange(two, 2, 0, wants, 2, 0), -EBUSY); /* one frame twice */
    two[1] = ~0UL;
    CHECK_IS(exchange(two, 2, 0, wants, 2, 0), -EINVAL);
    CHECK_IS(exchange(two, 2, 0, wants, 1, 0), -EINVAL);
    CHECK_IS(exchange(two, 1, 63, wants, 1, 63), -EPERM);
    CHECK_IS(exchange(two, 1, 11, wants, 1, 11), -EPERM);
    CHECK_IS(exchange(two, 8192, 0, wants, 8192, 0), -E2BIG);
    CHECK_IS(exchange((xen_pfn_t *)HYP_START, 1, 0, wants, 1, 0), -EFAULT);
    /* The list that is written: an advisory's way to write anywhere. */
    CHECK_IS(exchange(&kept, 1, 0, (xen_pfn_t *)HYP_START, 1, 0), -EFAULT);
    CHECK_IS(exchange(&kept, 1, 0, (xen_pfn_t *)0xffff840000200000, 1, 0), -EFAULT);
    CHECK_IS(exchange(&kept, 1, 0, (xen_pfn_t *)NONCANONICAL, 1, 0), -EFAULT);
    CHECK_IS(exchange(&kept, 1, 0, (xen_pfn_t *)table_find(VIRT_BASE, 1), 1, 0), -EFAULT);
    CHECK_IS(exchange((xen_pfn_t *)-16L, 4, 0, wants, 4, 0), -EFAULT);
    CHECK_IS(test_area_set(0, pte_make(kept, PTE_RW)), 0);
    CHECK_IS(memory_op(XENMEM_current_reservation, &self), pages);
}
