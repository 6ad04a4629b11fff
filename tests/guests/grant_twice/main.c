/* SPDX-License-Identifier: MIT */
/*
 * One grant mapped twice at the same address, at different ones, and unmapped in the wrong way: the
 * wrong address, an entry that was overwritten, the same handle again. References never come out of
 * step: at the end the frame can be made a table, and be given back.
 */
#include "lib.h"

#define REF 23

void test_main(void)
{
    grant_handle_t a, b;
    domid_t me = own_domid();
    uint64_t *page = page_new();
    grant_init();
    test_area_init();
    grant_set(REF, me, mfn_of(page), GTF_permit_access);
    NEED_OK(page_protect(page, PTE_RO));

    /* Over each other: the second replaces the first's entry. */
    CHECK_IS(grant_map(me, REF, TEST_VA, GNTMAP_host_map, &a), GNTST_okay);
    CHECK_IS(grant_map(me, REF, TEST_VA, GNTMAP_host_map, &b), GNTST_okay);
    CHECK(a != b);
    CHECK_IS(grant_unmap(a, TEST_VA, 0), GNTST_okay);
    /* The entry is gone; the other handle is still held and cannot be undone there. */
    CHECK_FAULT(try_read(TEST_VA), VEC_PF, 0);
    CHECK_IS(grant_unmap(b, TEST_VA, 0), GNTST_general_error);
    CHECK_IS(grant_table[REF].flags & GTF_writing, GTF_writing);
    CHECK_IS(mmuext_mfn(MMUEXT_PIN_L1_TABLE, mfn_of(page)), -EINVAL);
    /* Unless the guest puts an entry for it there, which only it can do. */
    CHECK_IS(test_area_set(0, pte_make(mfn_of(page), PTE_RW)), 0);
    CHECK_IS(grant_unmap(b, TEST_VA, 0), GNTST_okay);
    CHECK_IS(grant_table[REF].flags & GTF_writing, 0);

    /* Wrong addresses, wrong rights. */
    CHECK_IS(grant_map(me, REF, TEST_VA, GNTMAP_host_map, &a), GNTST_okay);
    CHECK_IS(grant_unmap(a, TEST_VA + PAGE_BYTES, 0), GNTST_general_error);
    CHECK_IS(grant_unmap(a, HYP_START, 0), GNTST_general_error);
    CHECK_IS(grant_unmap(a, NONCANONICAL, 0), GNTST_general_error);
    CHECK_IS(grant_unmap(a, VIRT_BASE + 0x100000, 0), GNTST_general_error);
    CHECK_IS(test_area_set(0, pte_make(mfn_of(page), PTE_RO)), 0);
    CHECK_IS(grant_unmap(a, TEST_VA, 0), GNTST_general_error);
    CHECK_IS(test_area_set(0, pte_make(mfn_of(page), PTE_RW)), 0);
    CHECK_IS(grant_unmap(a, TEST_VA, 0), GNTST_okay);

    /* Cleared by an ordinary update: the handle stays, the pin too. */
    CHECK_IS(grant_map(me, REF, TEST_VA, GNTMAP_host_map, &a), GNTST_okay);
    CHECK_IS(test_area_set(0, 0), 0);
    CHECK_IS(mmuext_mfn(MMUEXT_PIN_L1_TABLE, mfn_of(page)), -EINVAL);
    CHECK_IS(grant_table[REF].flags & GTF_writing, GTF_writing);
    CHECK_IS(grant_unmap(a, TEST_VA, 0), GNTST_general_error);
    CHECK_IS(test_area_set(0, pte_make(mfn_of(page), PTE_RW)), 0);
    CHECK_IS(grant_unmap(a, TEST_VA, 0), GNTST_okay);

    CHECK_IS(mmuext_mfn(MMUEXT_PIN_L1_TABLE, mfn_of(page)), 0);
    CHECK_IS(mmuext_mfn(MMUEXT_UNPIN_TABLE, mfn_of(page)), 0);
    CHECK_IS(page_protect(page, 0), 0);
    xen_pfn_t mfn = mfn_of(page), want = 0x5000;
    struct xen_memory_exchange x = {.in = {.nr_extents = 1, .domid = DOMID_SELF},
                                    .out = {.nr_extents = 1, .domid = DOMID_SELF}};
    set_xen_guest_handle(x.in.extent_start, &mfn);
    set_xen_guest_handle(x.out.extent_start, &want);
    CHECK_IS(memory_op(XENMEM_exchange, &x), 0); /* only possible with no reference left */
}
