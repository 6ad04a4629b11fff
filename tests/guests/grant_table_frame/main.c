/* SPDX-License-Identifier: MIT */
/*
 * Granted frames and page tables: a frame that is mapped writable through a grant cannot become a
 * table; a table, or a descriptor page, cannot be mapped writable through a grant, only read.
 */
#include "lib.h"

#define REF 22

void test_main(void)
{
    grant_handle_t handle;
    domid_t me = own_domid();
    uint64_t *page = page_new();
    uint64_t mfn = mfn_of(page);
    grant_init();
    test_area_init();
    grant_set(REF, me, mfn, GTF_permit_access);
    NEED_OK(page_protect(page, PTE_RO));

    CHECK_IS(grant_map(me, REF, TEST_VA, GNTMAP_host_map, &handle), GNTST_okay);
    for (unsigned level = 1; level <= 4; level++) {
        CHECK_IS(mmuext_mfn(MMUEXT_PIN_L1_TABLE + level - 1, mfn), -EINVAL);
    }
    CHECK_IS(set_gdt(&mfn, 1), -EINVAL);
    CHECK_IS(grant_unmap(handle, TEST_VA, 0), GNTST_okay);

    /* For a device, too: it writes as well. */
    CHECK_IS(grant_map(me, REF, 0, GNTMAP_device_map, &handle), GNTST_okay);
    CHECK_IS(mmuext_mfn(MMUEXT_PIN_L1_TABLE, mfn), -EINVAL);
    CHECK_IS(grant_unmap(handle, 0, mfn * PAGE_BYTES), GNTST_okay);

    CHECK_IS(mmuext_mfn(MMUEXT_PIN_L1_TABLE, mfn), 0);
    CHECK_IS(grant_map(me, REF, TEST_VA, GNTMAP_host_map, &handle), GNTST_general_error);
    CHECK_IS(grant_map(me, REF, 0, GNTMAP_device_map, &handle), GNTST_general_error);
    CHECK_IS(grant_table[REF].flags, GTF_permit_access);
    CHECK_IS(grant_map(me, REF, TEST_VA, GNTMAP_host_map | GNTMAP_readonly, &handle), GNTST_okay);
    CHECK_FAULT(try_write(TEST_VA, 0), VEC_PF, ERR_P | ERR_W);
    CHECK_IS(grant_unmap(handle, TEST_VA, 0), GNTST_okay);
    CHECK_IS(mmuext_mfn(MMUEXT_UNPIN_TABLE, mfn), 0);

    CHECK_IS(set_gdt(&mfn, 1), 0);
    CHECK_IS(grant_map(me, REF, TEST_VA, GNTMAP_host_map, &handle), GNTST_general_error);
    CHECK_IS(set_gdt(&mfn, 0), 0);
    CHECK_IS(grant_map(me, REF, TEST_VA, GNTMAP_host_map, &handle), GNTST_okay);
    CHECK_IS(grant_unmap(handle, TEST_VA, 0), GNTST_okay);
}
