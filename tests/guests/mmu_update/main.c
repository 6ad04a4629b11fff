/* SPDX-License-Identifier: MIT */
/*
 * mmu_update and its count of requests done: entries of every level, plain stores to frames that
 * are no tables, the M2P; it stops at the first request that is refused and says how many went
 * before.
 */
#include "lib.h"

void test_main(void)
{
    struct mmu_update reqs[4];
    uint32_t done = 99;
    test_area_init();
    uint64_t *l1 = test_area_l1(), *page = page_new();
    uint64_t a = frame_new(), b = frame_new();
    uint64_t at = maddr_of(l1);

    reqs[0] = (struct mmu_update){at | MMU_NORMAL_PT_UPDATE, pte_make(a, PTE_RW)};
    reqs[1] = (struct mmu_update){(at + 8) | MMU_NORMAL_PT_UPDATE, pte_make(b, PTE_RO)};
    CHECK_IS(mmu_update(reqs, 2, &done, DOMID_SELF), 0);
    CHECK_IS(done, 2);
    CHECK_IS(l1[0], pte_make(a, PTE_RW));
    CHECK_FAULT(try_write(TEST_VA, 5), NO_FAULT, 0);
    CHECK_FAULT(try_write(TEST_VA + PAGE_BYTES, 5), VEC_PF, ERR_P | ERR_W);
    CHECK_IS(mmu_update(reqs, 0, &done, DOMID_SELF), 0);
    CHECK_IS(done, 0);

    /* Stops at the bad one. */
    reqs[1].val |= 1UL << 51;
    reqs[2] = (struct mmu_update){(at + 16) | MMU_NORMAL_PT_UPDATE, pte_make(a, PTE_RO)};
    CHECK_IS(mmu_update(reqs, 3, &done, DOMID_SELF), -EINVAL);
    CHECK_IS(done, 1);
    CHECK_IS(l1[2], 0);

    /* A and D survive a preserving update, not a plain one. */
    reqs[0].val = pte_make(a, PTE_P | PTE_U | PTE_W);
    CHECK_IS(mmu_update(reqs, 1, 0, DOMID_SELF), 0);
    CHECK_IS(l1[0] & (PTE_A | PTE_D), 0);
    *(volatile uint64_t *)TEST_VA = 1;
    (void)mmuext_mfn(MMUEXT_TLB_FLUSH_LOCAL, 0);
    *(volatile uint64_t *)TEST_VA = 1;
    CHECK_IS(l1[0] & (PTE_A | PTE_D), PTE_A | PTE_D);
    reqs[0] = (struct mmu_update){at | MMU_PT_UPDATE_PRESERVE_AD, pte_make(a, PTE_P | PTE_U)};
    CHECK_IS(mmu_update(reqs, 1, 0, DOMID_SELF), 0);
    CHECK_IS(l1[0] & (PTE_A | PTE_D | PTE_W), PTE_A | PTE_D);
    reqs[0].ptr = at | MMU_PT_UPDATE_NO_TRANSLATE;
    CHECK_IS(mmu_update(reqs, 1, 0, DOMID_SELF), 0);

    /* A frame that is no table: an ordinary store. */
    CHECK_IS(pte_write_maddr(maddr_of(page + 3), 0x123456789abcdef), 0);
    CHECK_IS(page[3], 0x123456789abcdef);

    /* The M2P, of own frames. */
    reqs[0] = (struct mmu_update){b * PAGE_BYTES | MMU_MACHPHYS_UPDATE, 0x4711};
    CHECK_IS(mmu_update(reqs, 1, 0, DOMID_SELF), 0);
    CHECK_IS(pfn_of_mfn(b), 0x4711);
    CHECK_IS(HC4(__HYPERVISOR_mmu_update, reqs, 1, &done, own_domid()), 0);
}
