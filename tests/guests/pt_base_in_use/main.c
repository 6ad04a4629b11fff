/* SPDX-License-Identifier: MIT */
/*
 * The table the processor is running on, unpinned and taken apart by its own guest: it stays a
 * table and stays in use until another is loaded; the entries below it cannot be pulled away
 * either.
 */
#include "lib.h"

void test_main(void)
{
    uint64_t *old = table_find(VIRT_BASE, 4), *own = page_new();
    for (unsigned i = 0; i < ENTRIES; i++) {
        own[i] = i >= 256 && i < 272 ? 0 : old[i];
    }
    NEED_OK(page_pin(own, 4));
    CHECK_IS(mmuext_mfn(MMUEXT_NEW_BASEPTR, mfn_of(own)), 0);
    CHECK_IS(mmuext_mfn(MMUEXT_NEW_BASEPTR, mfn_of(own)), 0);
    CHECK_IS(mmuext_mfn(MMUEXT_UNPIN_TABLE, mfn_of(own)), 0);
    CHECK_IS(mmuext_mfn(MMUEXT_UNPIN_TABLE, mfn_of(own)), -EINVAL);
    CHECK_IS(page_protect(own, PTE_RW), -EINVAL);
    CHECK_IS(memory_op(XENMEM_maximum_ram_page, 0) > 0, 1);

    /* Giving its frame back does not free it either. */
    xen_pfn_t mfn = mfn_of(own);
    struct xen_memory_reservation give = {.nr_extents = 1, .domid = DOMID_SELF};
    set_xen_guest_handle(give.extent_start, &mfn);
    CHECK_IS(memory_op(XENMEM_decrease_reservation, &give), 1);
    CHECK_IS(memory_op(XENMEM_decrease_reservation, &give), 0);
    uint64_t frame = frame_new();
    CHECK_IS(own[pt_index(VIRT_BASE, 4)] & PTE_P, PTE_P);
    CHECK_IS(mmuext_mfn(MMUEXT_CLEAR_PAGE, frame), 0);
    CHECK_FAULT(try_read(VIRT_BASE + 0x100000), NO_FAULT, 0);
    CHECK_IS(mmuext_mfn(MMUEXT_NEW_BASEPTR, mfn_of(old)), 0);
    CHECK_IS(page_protect(own, 0), 0);
    CHECK_FAULT(try_read((uint64_t)own), VEC_PF, 0);
}
