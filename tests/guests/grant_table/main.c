/* SPDX-License-Identifier: MIT */
/*
 * The table itself: its size is reported, it grows to its limit and not beyond, its frames are
 * mapped writable and are never page tables; other domains' tables, version 2 and what belongs to
 * it, transfer, swapping and cache control are refused as documented.
 */
#include "lib.h"

void test_main(void)
{
    xen_pfn_t frames[80];
    struct gnttab_query_size size = {.dom = DOMID_SELF};
    CHECK_IS(grant_op(GNTTABOP_query_size, &size, 1), 0);
    CHECK_IS(size.status, GNTST_okay);
    CHECK(size.nr_frames >= 1 && size.max_nr_frames >= size.nr_frames);

    struct gnttab_setup_table setup = {.dom = DOMID_SELF, .nr_frames = size.max_nr_frames};
    NEED(size.max_nr_frames <= ARRAY_SIZE(frames));
    set_xen_guest_handle(setup.frame_list, frames);
    CHECK_IS(grant_op(GNTTABOP_setup_table, &setup, 1), 0);
    CHECK_IS(setup.status, GNTST_okay);
    for (unsigned i = 0; i < size.max_nr_frames; i++) {
        CHECK_IS(test_area_set(0, pte_make(frames[i], PTE_RW)), 0);
        CHECK_FAULT(try_write(TEST_VA + 4000, 0), NO_FAULT, 0);
        CHECK_IS(test_area_set(0, 0), 0);
        CHECK_IS(mmuext_mfn(MMUEXT_PIN_L1_TABLE, frames[i]), -EINVAL);
        CHECK_IS(pte_write(table_find(TEST_VA, 2) + 100, pte_make(frames[i], PTE_RO)), -EINVAL);
        CHECK_IS(set_gdt(&frames[i], 1), -EINVAL);
        struct xen_memory_reservation give = {.nr_extents = 1, .domid = DOMID_SELF};
        set_xen_guest_handle(give.extent_start, &frames[i]);
        CHECK_IS(memory_op(XENMEM_decrease_reservation, &give), 0);
    }
    setup.nr_frames = size.max_nr_frames + 1;
    CHECK_IS(grant_op(GNTTABOP_setup_table, &setup, 1), 0);
    CHECK_IS(setup.status, GNTST_general_error);
    setup.nr_frames = ~0u;
    CHECK_IS(grant_op(GNTTABOP_setup_table, &setup, 1), 0);
    CHECK_IS(setup.status, GNTST_general_error);
    setup.nr_frames = 1;
    set_xen_guest_handle(setup.frame_list, (xen_pfn_t *)HYP_START);
    CHECK_IS(grant_op(GNTTABOP_setup_table, &setup, 1), 0);
    CHECK_IS(setup.status, GNTST_bad_virt_addr);

    if (!alone()) {
        setup.dom = size.dom = 0;
        CHECK_IS(grant_op(GNTTABOP_setup_table, &setup, 1), 0);
        CHECK_IS(setup.status, GNTST_permission_denied);
        CHECK_IS(grant_op(GNTTABOP_query_size, &size, 1), 0);
        CHECK_IS(size.status, GNTST_permission_denied);
    }
    size.dom = 31000;
    CHECK_IS(grant_op(GNTTABOP_query_size, &size, 1), 0);
    CHECK_IS(size.status, GNTST_bad_domain);
    CHECK_IS(grant_op(GNTTABOP_setup_table, &setup, 2), -EINVAL);
    CHECK_IS(grant_op(GNTTABOP_query_size, &size, 2), -EINVAL);

    struct gnttab_set_version version = {.version = 2};
    CHECK_IS(grant_op(GNTTABOP_set_version, &version, 1), -ENOSYS);
    version.version = 1;
    CHECK_IS(grant_op(GNTTABOP_set_version, &version, 1), 0);
    version.version = 0;
    CHECK_IS(grant_op(GNTTABOP_set_version, &version, 1), -EINVAL);
    version.version = 3;
    CHECK_IS(grant_op(GNTTABOP_set_version, &version, 1), -EINVAL);
    struct gnttab_get_version get = {.dom = DOMID_SELF};
    CHECK_IS(grant_op(GNTTABOP_get_version, &get, 1), 0);
    CHECK_IS(get.version, 1);
    if (!alone()) {
        get.dom = 0;
        CHECK_IS(grant_op(GNTTABOP_get_version, &get, 1), -EPERM);
    }
    get.dom = 31000;
    CHECK_IS(grant_op(GNTTABOP_get_version, &get, 1), -ESRCH);

    static const unsigned char refused[] = {GNTTABOP_dump_table,
                                            GNTTABOP_transfer,
                                            GNTTABOP_unmap_and_replace,
                                            GNTTABOP_get_status_frames,
                                            GNTTABOP_swap_grant_ref,
                                            GNTTABOP_cache_flush,
                                            13};
    static uint64_t zeros[32];
    for (unsigned i = 0; i < ARRAY_SIZE(refused); i++) {
        CHECK_IS(grant_op(refused[i], zeros, 1), -ENOSYS);
    }
    CHECK_IS(grant_op(GNTTABOP_query_size, &size, 0), 0);
    CHECK_IS(grant_op(GNTTABOP_copy, zeros, 0x80000000), -EINVAL);
    static const unsigned char known[] = {0, 1, 2, 5, 6, 8, 10};
    for (unsigned i = 0; i < ARRAY_SIZE(known); i++) {
        CHECK_IS(grant_op(known[i], HYP_START, 1), -EFAULT);
        CHECK_IS(grant_op(known[i], NONCANONICAL, 1), -EFAULT);
        CHECK_IS(grant_op(known[i], -8L, 1), -EFAULT);
    }
}
