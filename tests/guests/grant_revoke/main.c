/* SPDX-License-Identifier: MIT */
/*
 * A granter that changes its entry while it is in use: another frame, another domain, nothing. What
 * is mapped stays mapped and stays the frame it was; new uses see the new entry; the bits the
 * hypervisor keeps there are right once all is undone.
 */
#include "lib.h"

#define REF 24

void test_main(void)
{
    grant_handle_t a, b;
    domid_t me = own_domid();
    uint64_t *first = page_new(), *other = page_new();
    grant_init();
    test_area_init();
    first[0] = 0x1111;
    other[0] = 0x2222;
    grant_set(REF, me, mfn_of(first), GTF_permit_access);
    CHECK_IS(grant_map(me, REF, TEST_VA, GNTMAP_host_map | GNTMAP_readonly, &a), GNTST_okay);

    /* The frame in the entry is exchanged under its user. */
    grant_table[REF].frame = (uint32_t)mfn_of(other);
    CHECK_IS(*(volatile uint64_t *)TEST_VA, 0x1111);
    CHECK_IS(grant_map(me, REF, TEST_VA + PAGE_BYTES, GNTMAP_host_map, &b), GNTST_okay);
    CHECK_IS(*(volatile uint64_t *)(TEST_VA + PAGE_BYTES), 0x1111); /* still the pinned one */
    CHECK_IS(grant_unmap(b, TEST_VA + PAGE_BYTES, 0), GNTST_okay);

    /* Revoked altogether. */
    grant_table[REF].flags = 0;
    CHECK_IS(*(volatile uint64_t *)TEST_VA, 0x1111);
    CHECK_IS(grant_map(me, REF, TEST_VA + PAGE_BYTES, GNTMAP_host_map, &b), GNTST_general_error);
    grant_set(REF, me + 1, mfn_of(other), GTF_permit_access);
    CHECK_IS(grant_map(me, REF, TEST_VA + PAGE_BYTES, GNTMAP_host_map, &b), GNTST_general_error);

    /* The frame is given up by its owner, while somebody maps it. */
    NEED_OK(page_protect(first, 0));
    xen_pfn_t mfn = mfn_of(first);
    struct xen_memory_reservation give = {.nr_extents = 1, .domid = DOMID_SELF};
    set_xen_guest_handle(give.extent_start, &mfn);
    CHECK_IS(memory_op(XENMEM_decrease_reservation, &give), 1);
    CHECK_IS(*(volatile uint64_t *)TEST_VA, 0x1111);
    CHECK_IS(grant_unmap(a, TEST_VA, 0), GNTST_okay);
    CHECK_IS(grant_table[REF].flags, GTF_permit_access);
    grant_set(REF, me, mfn, GTF_permit_access);
    CHECK_IS(grant_map(me, REF, TEST_VA, GNTMAP_host_map, &a), GNTST_bad_page);
    grant_set(REF, me, mfn_of(other), GTF_permit_access);
    CHECK_IS(grant_map(me, REF, TEST_VA, GNTMAP_host_map, &a), GNTST_okay);
    CHECK_IS(*(volatile uint64_t *)TEST_VA, 0x2222);
    CHECK_IS(grant_unmap(a, TEST_VA, 0), GNTST_okay);
}
