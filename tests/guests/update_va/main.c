/* SPDX-License-Identifier: MIT */
/*
 * update_va_mapping: the entry of an address in the present tables, with the flush that is asked
 * for; addresses without an entry, in the hypervisor or not canonical, bad entries and bad flags
 * refused.
 */
#include "lib.h"

void test_main(void)
{
    uint64_t frame = frame_new(), all = ~0UL, bad = HYP_START;
    CHECK_IS(test_area_set(0, pte_make(frame, PTE_RW)), 0);
    *(volatile uint64_t *)TEST_VA = 0x55;
    CHECK_IS(update_va(TEST_VA, pte_make(frame, PTE_RO), UVMF_INVLPG | UVMF_LOCAL), 0);
    CHECK_FAULT(try_write(TEST_VA, 1), VEC_PF, ERR_P | ERR_W);
    CHECK_IS(update_va(TEST_VA, 0, UVMF_TLB_FLUSH | UVMF_ALL), 0);
    CHECK_FAULT(try_read(TEST_VA), VEC_PF, 0);
    CHECK_IS(update_va(TEST_VA + 123, pte_make(frame, PTE_RW), UVMF_NONE), 0);
    CHECK_IS(*(volatile uint64_t *)TEST_VA, 0x55);
    CHECK_IS(update_va(TEST_VA, 0, UVMF_INVLPG | (uint64_t)&all), 0);
    CHECK_FAULT(try_read(TEST_VA), VEC_PF, 0);
    CHECK_IS(update_va(TEST_VA, pte_make(frame, PTE_RW), 3), -EINVAL);
    CHECK_IS(update_va(TEST_VA, 0, UVMF_TLB_FLUSH | bad), -EFAULT);
    CHECK_IS(update_va(TEST_VA, 0, UVMF_INVLPG | NONCANONICAL), -EFAULT);

    static const uint64_t none[] = {0,
                                    0x7fffffffffff,
                                    0xffff888000000000,
                                    NONCANONICAL,
                                    0x8000000000000000,
                                    0xffff7fffffffffff,
                                    HYP_START,
                                    0xffff828000000000,
                                    0xffff840000000000,
                                    HYP_END - 1};
    for (unsigned i = 0; i < ARRAY_SIZE(none); i++) {
        CHECK_IS(update_va(none[i], pte_make(frame, PTE_RW), UVMF_NONE), -EINVAL);
        CHECK_IS(update_va(none[i], 0, UVMF_NONE), -EINVAL);
    }
    CHECK_IS(update_va(TEST_VA, pte_make(frame, PTE_RW | PTE_PCD), 0), alone() ? 0 : -EINVAL);
    CHECK_IS(update_va(TEST_VA, pte_make(0x200, PTE_RO), 0), -EINVAL);

    /* Foreign frames: only whoever is allowed to. */
    CHECK_IS(HC4(__HYPERVISOR_update_va_mapping_otherdomain, TEST_VA, pte_make(frame, PTE_RW), 0,
                 DOMID_SELF),
             0);
    static const uint64_t others[] = {0, DOMID_IO, DOMID_XEN, 31000, DOMID_INVALID};
    for (unsigned i = 0; !alone() && i < ARRAY_SIZE(others); i++) {
        CHECK_IS(HC4(__HYPERVISOR_update_va_mapping_otherdomain, TEST_VA, pte_make(frame, PTE_RO),
                     0, others[i]),
                 -EPERM);
    }
}
