/* SPDX-License-Identifier: MIT */
/*
 * Copies between own and granted frames: exact bytes, up to the page's end and not one further,
 * onto itself, of nothing; not to a read-only grant, a page table, other domains' frames or frames
 * that are none.
 */
#include "lib.h"

#define REF 25

static domid_t me;

static int copy(uint64_t from, unsigned from_off, uint64_t to, unsigned to_off, unsigned len,
                unsigned flags)
{
    struct gnttab_copy op = {.len = (uint16_t)len, .flags = (uint16_t)flags, .status = 1};
    op.source.domid = flags & GNTCOPY_source_gref ? me : DOMID_SELF;
    op.dest.domid = flags & GNTCOPY_dest_gref ? me : DOMID_SELF;
    op.source.offset = (uint16_t)from_off;
    op.dest.offset = (uint16_t)to_off;
    if (flags & GNTCOPY_source_gref) {
        op.source.u.ref = (grant_ref_t)from;
    } else {
        op.source.u.gmfn = from;
    }
    if (flags & GNTCOPY_dest_gref) {
        op.dest.u.ref = (grant_ref_t)to;
    } else {
        op.dest.u.gmfn = to;
    }
    CHECK_IS(grant_op(GNTTABOP_copy, &op, 1), 0);
    return op.status;
}

void test_main(void)
{
    me = own_domid();
    grant_init();
    uint8_t *a = page_new(), *b = page_new(), *after = page_new();
    NEED(after == b + PAGE_BYTES);
    for (unsigned i = 0; i < PAGE_BYTES; i++) {
        a[i] = (uint8_t)(i * 7);
    }
    grant_set(REF, me, mfn_of(a), GTF_permit_access | GTF_readonly);
    grant_set(REF + 1, me, mfn_of(b), GTF_permit_access);
    CHECK_IS(copy(REF, 0, REF + 1, 0, PAGE_BYTES, GNTCOPY_source_gref | GNTCOPY_dest_gref), 0);
    CHECK_IS(memcmp(a, b, PAGE_BYTES), 0);
    CHECK_IS(grant_table[REF].flags, GTF_permit_access | GTF_readonly);
    CHECK_IS(grant_table[REF + 1].flags, GTF_permit_access);

    memset(b, 0, PAGE_BYTES);
    CHECK_IS(copy(REF, 4095, mfn_of(b), 4095, 1, GNTCOPY_source_gref), 0);
    CHECK_IS(b[4095], a[4095]);
    CHECK_IS(b[4094], 0);
    CHECK_IS(after[0], 0);
    CHECK_IS(copy(mfn_of(a), 10, mfn_of(b), 20, 0, 0), 0);
    CHECK_IS(b[20], 0);
    CHECK_IS(copy(mfn_of(a), 0, mfn_of(a), 1, 100, 0), 0); /* overlapping */
    CHECK_IS(a[0], 0);
    CHECK_IS(a[1], 0);
    CHECK_IS(a[100], (uint8_t)(99 * 7));

    /* Across the end. */
    static const unsigned short bad[][3] = {{4096, 0, 1},  {0, 4096, 1},     {1, 0, 4096},
                                            {0, 1, 4096},  {4095, 0, 2},     {0, 4095, 2},
                                            {0, 0, 4097},  {65535, 0, 1},    {0, 65535, 65535},
                                            {0, 0, 65535}, {65535, 65535, 0}};
    for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
        CHECK_IS(copy(mfn_of(a), bad[i][0], mfn_of(b), bad[i][1], bad[i][2], 0),
                 GNTST_bad_copy_arg);
        CHECK_IS(copy(REF, bad[i][0], REF + 1, bad[i][1], bad[i][2],
                      GNTCOPY_source_gref | GNTCOPY_dest_gref),
                 GNTST_bad_copy_arg);
    }
    CHECK_IS(after[0], 0);

    CHECK_IS(copy(mfn_of(b), 0, REF, 0, 8, GNTCOPY_dest_gref), GNTST_general_error);
    CHECK_IS(copy(mfn_of(b), 0, 511, 0, 8, GNTCOPY_dest_gref), GNTST_general_error);
    CHECK_IS(copy(mfn_of(b), 0, 512, 0, 8, GNTCOPY_dest_gref), GNTST_bad_gntref);
    CHECK_IS(copy(mfn_of(b), 0, mfn_of(table_find(VIRT_BASE, 1)), 0, 8, 0),
             GNTST_permission_denied);
    CHECK_IS(copy(mfn_of(table_find(VIRT_BASE, 1)), 0, mfn_of(b), 0, 8, 0), 0);
    CHECK_IS(memcmp(b, table_find(VIRT_BASE, 1), 8), 0);
    static const uint64_t none[] = {0x200, 0xfee00, 0xb8, 1UL << 40, ~0UL};
    for (unsigned i = 0; i < ARRAY_SIZE(none); i++) {
        CHECK_IS(copy(none[i], 0, mfn_of(b), 0, 8, 0), GNTST_bad_page);
        CHECK_IS(copy(mfn_of(a), 0, none[i], 0, 8, 0), GNTST_bad_page);
    }
    struct gnttab_copy foreign = {.len = 8};
    foreign.source.domid = 0;
    foreign.source.u.gmfn = mfn_of(a);
    foreign.dest.domid = DOMID_SELF;
    foreign.dest.u.gmfn = mfn_of(b);
    CHECK_IS(grant_op(GNTTABOP_copy, &foreign, 1), 0);
    CHECK_IS(foreign.status, alone() ? GNTST_okay : GNTST_permission_denied);
    foreign.flags = GNTCOPY_source_gref;
    foreign.source.domid = 31000;
    CHECK_IS(grant_op(GNTTABOP_copy, &foreign, 1), 0);
    CHECK_IS(foreign.status, GNTST_bad_domain);
}
