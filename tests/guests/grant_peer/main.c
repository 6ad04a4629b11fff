/* SPDX-License-Identifier: MIT */
/*
 * Frames granted by another domain: what is granted read-only cannot be written, by mapping,
 * copying or a changed entry; the frame cannot be made a table, given away or kept; other domains'
 * grants are out of reach. The canary sees no change in its page.
 *
 * Not alone: it needs the canary.
 */
#include "canary.h"
#include "lib.h"

static long copy_to(domid_t dom, grant_ref_t ref, void *from)
{
    struct gnttab_copy op = {.len = 64, .flags = GNTCOPY_dest_gref};
    op.source.domid = DOMID_SELF;
    op.source.u.gmfn = mfn_of(from);
    op.dest.domid = dom;
    op.dest.u.ref = ref;
    CHECK_IS(grant_op(GNTTABOP_copy, &op, 1), 0);
    return op.status;
}

void test_main(void)
{
    domid_t canary = canary_domid();
    unsigned n = canary_distance();
    grant_ref_t readable = CANARY_REF_READ + n, writable = CANARY_REF_WRITE + n;
    grant_handle_t handle, other;
    uint64_t *page = page_new(), *l1 = test_area_l1();

    CHECK_IS(grant_map(canary, readable, TEST_VA, GNTMAP_host_map | GNTMAP_readonly, &handle), 0);
    CHECK_IS(*(volatile uint8_t *)TEST_VA, CANARY_BYTE);
    CHECK_FAULT(try_write(TEST_VA, 0), VEC_PF, ERR_P | ERR_W);
    uint64_t mfn = (l1[0] & PTE_ADDR) / PAGE_BYTES;
    CHECK_IS(pte_write(l1, l1[0] | PTE_W), -EINVAL);
    CHECK_IS(test_area_set(0, pte_make(mfn, PTE_RW)), -EINVAL);
    CHECK_IS(test_area_set(1, pte_make(mfn, PTE_RO)), -EINVAL);
    CHECK_IS(mmuext_mfn(MMUEXT_PIN_L1_TABLE, mfn), -EINVAL);
    CHECK_IS(mmuext_mfn(MMUEXT_CLEAR_PAGE, mfn), -EINVAL);
    CHECK_IS(set_gdt(&mfn, 1), -EINVAL);
    CHECK_IS(update_descriptor(mfn * PAGE_BYTES, 0), -EINVAL);
    xen_pfn_t frame = mfn;
    struct xen_memory_reservation give = {.nr_extents = 1, .domid = DOMID_SELF};
    set_xen_guest_handle(give.extent_start, &frame);
    CHECK_IS(memory_op(XENMEM_decrease_reservation, &give), 0);
    struct mmu_update m2p = {mfn * PAGE_BYTES | MMU_MACHPHYS_UPDATE, 1};
    CHECK_IS(mmu_update(&m2p, 1, 0, DOMID_SELF), -EINVAL);

    CHECK_IS(grant_map(canary, readable, TEST_VA + PAGE_BYTES, GNTMAP_host_map, &other),
             GNTST_general_error);
    CHECK_IS(copy_to(canary, readable, page), GNTST_general_error);
    CHECK_IS(grant_map(canary, readable + 1, TEST_VA + PAGE_BYTES,
                       GNTMAP_host_map | GNTMAP_readonly, &other),
             GNTST_general_error);
    CHECK_IS(grant_map(canary, 0, TEST_VA + PAGE_BYTES, GNTMAP_host_map, &other),
             GNTST_general_error); /* its console, which is domain 0's */
    CHECK_IS(grant_unmap(handle, TEST_VA, 0), GNTST_okay);
    CHECK_FAULT(try_read(TEST_VA), VEC_PF, 0);
    CHECK_IS(test_area_set(0, pte_make(mfn, PTE_RO)), -EINVAL);

    /* What may be written, is; and left mapped, for the domain's end to undo. */
    page[0] = 0xabcdef;
    CHECK_IS(copy_to(canary, writable, page), GNTST_okay);
    CHECK_IS(copy_to(canary, writable + 1, page), GNTST_general_error);
    CHECK_IS(grant_map(canary, writable, TEST_VA, GNTMAP_host_map, &handle), GNTST_okay);
    CHECK_IS(*(volatile uint64_t *)TEST_VA, 0xabcdef);
}
