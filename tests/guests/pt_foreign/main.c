/* SPDX-License-Identifier: MIT */
/*
 * Frames that are not the guest's in its page tables: the hypervisor's, other domains', devices',
 * beyond the end of memory. Refused at every level, by update and by pinning.
 *
 * Not alone: devices' frames are the control domain's to map.
 */
#include "lib.h"

static void refused(uint64_t mfn)
{
    for (unsigned level = 1; level <= 4; level++) {
        uint64_t *entry = table_find(TEST_VA, level) + 300;
        CHECK_IS(pte_write(entry, pte_make(mfn, PTE_RO)), -EINVAL);
        CHECK_IS(pte_write(entry, pte_make(mfn, PTE_RW)), -EINVAL);
        CHECK_IS(*entry, 0);
    }
    CHECK_IS(test_area_set(2, pte_make(mfn, PTE_RO)), -EINVAL);
    for (unsigned level = 1; level <= 4; level++) {
        CHECK_IS(mmuext_mfn(MMUEXT_PIN_L1_TABLE + level - 1, mfn), -EINVAL);
    }
    CHECK_IS(mmuext_mfn(MMUEXT_UNPIN_TABLE, mfn), -EINVAL);
    CHECK_IS(mmuext_mfn(MMUEXT_NEW_USER_BASEPTR, mfn), -EINVAL);
    CHECK_IS(mmuext_mfn(MMUEXT_NEW_BASEPTR, mfn), -EINVAL);
    CHECK_IS(mmuext_mfn(MMUEXT_CLEAR_PAGE, mfn), -EINVAL);
    uint64_t frames[1] = {mfn};
    CHECK_IS(set_gdt(frames, 1), -EINVAL);
}

void test_main(void)
{
    test_area_init();
    static const uint64_t fixed[] = {
        1,       0x9f,    0xa0,    0xb8,    0xf0,    0x200,     0x240,
        0xfec00, 0xfed00, 0xfee00, 0xfffff, 0x80000, 0x8000000, 0xffffffffff >> 12};
    for (unsigned i = 0; i < ARRAY_SIZE(fixed); i++) {
        refused(fixed[i]);
    }
    /* Every frame of the machine's first 1 GiB that the M2P does not call ours. */
    unsigned seen = 0;
    for (uint64_t mfn = 0; mfn < 0x40000; mfn += 977) {
        uint64_t pfn = pfn_of_mfn(mfn);
        if (pfn < start_info->nr_pages && mfn_of_pfn(pfn) == mfn) {
            continue;
        }
        seen++;
        CHECK_IS(pte_write(table_find(TEST_VA, 1) + 301, pte_make(mfn, PTE_RO)), -EINVAL);
        CHECK_IS(mmuext_mfn(MMUEXT_PIN_L1_TABLE, mfn), -EINVAL);
    }
    CHECK(seen > 100);
    /* The hypervisor's own tables, as its slots show them. */
    const uint64_t *l4 = table_find(TEST_VA, 4);
    for (unsigned slot = 256; slot < 272; slot++) {
        if (l4[slot] & PTE_P) {
            refused((l4[slot] & PTE_ADDR) / PAGE_BYTES);
        }
    }
}
