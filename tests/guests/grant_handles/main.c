/* SPDX-License-Identifier: MIT */
/*
 * Map tracking is bounded: a guest that maps without end gets GNTST_no_space, undoing one mapping
 * makes room for one, and everything can be undone.
 */
#include "lib.h"

#define REF 26
#define MOST 70000

static grant_handle_t handles[MOST];

void test_main(void)
{
    domid_t me = own_domid();
    uint64_t *page = page_new();
    unsigned count = 0;
    long status = 0;
    grant_init();
    grant_set(REF, me, mfn_of(page), GTF_permit_access);
    static struct gnttab_map_grant_ref batch[64];
    while (count < MOST && status == 0) {
        for (unsigned i = 0; i < 64; i++) {
            batch[i] =
                (struct gnttab_map_grant_ref){.flags = GNTMAP_device_map, .ref = REF, .dom = me};
        }
        CHECK_IS(grant_op(GNTTABOP_map_grant_ref, batch, 64), 0);
        for (unsigned i = 0; i < 64 && count < MOST; i++) {
            status = batch[i].status;
            if (status) {
                break;
            }
            handles[count++] = batch[i].handle;
        }
    }
    say("%u mappings", count);
    CHECK_IS(status, GNTST_no_space);
    CHECK(count >= 256);
    CHECK_IS(grant_unmap(handles[0], 0, mfn_of(page) * PAGE_BYTES), GNTST_okay);
    CHECK_IS(grant_map(me, REF, 0, GNTMAP_device_map, &handles[0]), GNTST_okay);
    static struct gnttab_unmap_grant_ref undo[64];
    for (unsigned at = 0; at < count; at += 64) {
        unsigned n = count - at < 64 ? count - at : 64;
        for (unsigned i = 0; i < n; i++) {
            undo[i] = (struct gnttab_unmap_grant_ref){.dev_bus_addr = mfn_of(page) * PAGE_BYTES,
                                                      .handle = handles[at + i]};
        }
        CHECK_IS(grant_op(GNTTABOP_unmap_grant_ref, undo, n), 0);
        for (unsigned i = 0; i < n; i++) {
            CHECK_IS(undo[i].status, GNTST_okay);
        }
    }
    CHECK_IS(grant_table[REF].flags, GTF_permit_access);
}
