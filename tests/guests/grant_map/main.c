/* SPDX-License-Identifier: MIT */
/*
 * A frame granted to oneself, mapped by address and by entry, read-only and writable, unmapped
 * again: the shared entry shows the use and only the use, handles are good for one undoing.
 */
#include "lib.h"

#define REF 20

static uint16_t flags(void)
{
    return grant_table[REF].flags;
}

void test_main(void)
{
    grant_handle_t handle, second;
    domid_t me = own_domid();
    uint64_t *page = page_new();
    grant_init();
    test_area_init();
    page[0] = 0x1234;
    grant_set(REF, me, mfn_of(page), GTF_permit_access);

    CHECK_IS(grant_map(me, REF, TEST_VA, GNTMAP_host_map, &handle), GNTST_okay);
    CHECK_IS(flags() & (GTF_reading | GTF_writing), GTF_reading | GTF_writing);
    CHECK_IS(*(volatile uint64_t *)TEST_VA, 0x1234);
    CHECK_FAULT(try_write(TEST_VA, 0x5678), NO_FAULT, 0);
    CHECK_IS(page[0], 0x5678);
    CHECK_FAULT(try_exec(TEST_VA), VEC_PF, ERR_P | ERR_I);
    CHECK_IS(grant_map(me, REF, TEST_VA + PAGE_BYTES, GNTMAP_host_map | GNTMAP_readonly, &second),
             GNTST_okay);
    CHECK(second != handle);
    CHECK_FAULT(try_write(TEST_VA + PAGE_BYTES, 0), VEC_PF, ERR_P | ERR_W);

    CHECK_IS(grant_unmap(handle, TEST_VA, 0), GNTST_okay);
    CHECK_IS(flags() & (GTF_reading | GTF_writing), GTF_reading);
    CHECK_FAULT(try_read(TEST_VA), VEC_PF, 0);
    CHECK_IS(grant_unmap(handle, TEST_VA, 0), GNTST_bad_handle);
    CHECK_IS(grant_unmap(second, TEST_VA + PAGE_BYTES, 0), GNTST_okay);
    CHECK_IS(flags() & (GTF_reading | GTF_writing), 0);

    /* By the machine address of an entry, with software bits. */
    uint64_t *l1 = test_area_l1();
    CHECK_IS(grant_map(me, REF, maddr_of(l1 + 7),
                       GNTMAP_host_map | GNTMAP_contains_pte | (1 << _GNTMAP_guest_avail0),
                       &handle),
             GNTST_okay);
    CHECK_IS((l1[7] & PTE_ADDR) / PAGE_BYTES, mfn_of(page));
    CHECK(l1[7] & 0x200);
    CHECK_IS(*(volatile uint64_t *)test_va(7), page[0]);
    CHECK_IS(grant_unmap(handle, maddr_of(l1 + 7), 0), GNTST_okay);
    CHECK_IS(l1[7], 0);
    for (uint64_t off = 1; off < 8; off++) { /* an advisory: entries across a boundary */
        CHECK_IS(grant_map(me, REF, maddr_of(l1 + 7) + off, GNTMAP_host_map | GNTMAP_contains_pte,
                           &handle),
                 GNTST_general_error);
    }
    CHECK_IS(l1[7], 0);
    CHECK_IS(l1[8], 0);

    /* For a device: no entry, but in use. */
    struct gnttab_map_grant_ref map = {.flags = GNTMAP_device_map, .ref = REF, .dom = me};
    CHECK_IS(grant_op(GNTTABOP_map_grant_ref, &map, 1), 0);
    CHECK_IS(map.status, GNTST_okay);
    CHECK_IS(map.dev_bus_addr, mfn_of(page) * PAGE_BYTES);
    CHECK_IS(grant_unmap(map.handle, 0, map.dev_bus_addr + PAGE_BYTES), GNTST_bad_dev_addr);
    CHECK_IS(grant_unmap(map.handle, 0, map.dev_bus_addr), GNTST_okay);
    CHECK_IS(flags() & (GTF_reading | GTF_writing), 0);
}
