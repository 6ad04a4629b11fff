/* SPDX-License-Identifier: MIT */
/*
 * Mapping what was not granted: wrong domains, entries that are empty, for somebody else,
 * read-only, of another kind, beyond the table, of frames that are not the granter's; addresses
 * where nothing can be mapped. A status each, no handle, and the entry is left unused.
 *
 * Not alone: it asks for what is domain 0's.
 */
#include "lib.h"

#define REF 21

static domid_t me;

static long map(domid_t dom, grant_ref_t ref, uint64_t at, uint32_t flags)
{
    grant_handle_t handle;
    long status = grant_map(dom, ref, at, flags, &handle);
    CHECK_IS(grant_table[REF].flags & (GTF_reading | GTF_writing), 0);
    return status;
}

void test_main(void)
{
    uint64_t *page = page_new();
    me = own_domid();
    grant_init();
    test_area_init();
    CHECK_IS(map(me, REF, TEST_VA, GNTMAP_host_map), GNTST_general_error); /* empty */
    grant_set(REF, 0, mfn_of(page), GTF_permit_access);
    CHECK_IS(map(me, REF, TEST_VA, GNTMAP_host_map), GNTST_general_error); /* for domain 0 */
    grant_set(REF, me, mfn_of(page), GTF_accept_transfer);
    CHECK_IS(map(me, REF, TEST_VA, GNTMAP_host_map), GNTST_general_error);
    grant_set(REF, me, mfn_of(page), GTF_transitive);
    CHECK_IS(map(me, REF, TEST_VA, GNTMAP_host_map), GNTST_general_error);
    grant_set(REF, me, mfn_of(page), GTF_permit_access | GTF_readonly);
    CHECK_IS(map(me, REF, TEST_VA, GNTMAP_host_map), GNTST_general_error);
    static const uint32_t frames[] = {0, 1, 0x200, 0xfee00, 0xb8, ~0u, 1u << 24};
    for (unsigned i = 0; i < ARRAY_SIZE(frames); i++) {
        grant_set(REF, me, frames[i], GTF_permit_access);
        CHECK_IS(map(me, REF, TEST_VA, GNTMAP_host_map), GNTST_bad_page);
    }
    grant_set(REF, me, mfn_of(page), GTF_permit_access);
    static const uint32_t refs[] = {512, 513, 1u << 20, ~0u, 0x80000000};
    for (unsigned i = 0; i < ARRAY_SIZE(refs); i++) {
        CHECK_IS(map(me, refs[i], TEST_VA, GNTMAP_host_map), GNTST_bad_gntref);
    }
    static const domid_t nobody[] = {31000, DOMID_XEN, DOMID_IO, DOMID_INVALID, DOMID_IDLE};
    for (unsigned i = 0; i < ARRAY_SIZE(nobody); i++) {
        CHECK_IS(map(nobody[i], REF, TEST_VA, GNTMAP_host_map), GNTST_bad_domain);
    }
    CHECK_IS(map(0, 8, TEST_VA, GNTMAP_host_map), GNTST_general_error);
    CHECK_IS(map(me, REF, TEST_VA, 0), GNTST_bad_gntref);
    CHECK_IS(map(me, REF, TEST_VA, GNTMAP_readonly), GNTST_bad_gntref);

    static const uint64_t places[] = {0,           HYP_START, 0xffff840000000000, NONCANONICAL,
                                      HYP_END - 1, 0x10000,   0xffff888000000000};
    for (unsigned i = 0; i < ARRAY_SIZE(places); i++) {
        CHECK_IS(map(me, REF, places[i], GNTMAP_host_map), GNTST_general_error);
    }
    /* Entries in frames that are no level-1 tables. */
    uint64_t entries[] = {maddr_of(page),
                          maddr_of(table_find(TEST_VA, 2)),
                          maddr_of(table_find(TEST_VA, 4)),
                          0x200000,
                          ~0xfffUL,
                          0};
    for (unsigned i = 0; i < ARRAY_SIZE(entries); i++) {
        CHECK_IS(map(me, REF, entries[i], GNTMAP_host_map | GNTMAP_contains_pte),
                 GNTST_general_error);
    }
    static const grant_handle_t handles[] = {0, 1, 100, 100000, ~0u, 0x80000000};
    for (unsigned i = 0; i < ARRAY_SIZE(handles); i++) {
        CHECK_IS(grant_unmap(handles[i], TEST_VA, 0), GNTST_bad_handle);
    }
}
