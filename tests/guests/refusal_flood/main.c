/* SPDX-License-Identifier: MIT */
/*
 * Thousands of refused calls, each worth a line in the hypervisor's log: the log is limited, so it
 * neither slows the machine (the canary would say so) nor takes long, and good calls work in
 * between.
 */
#include "lib.h"

void test_main(void)
{
    uint64_t start = now_ns();
    test_area_init();
    uint64_t entry = maddr_of(test_area_l1());
    for (unsigned i = 0; i < 20000; i++) {
        struct mmu_update req = {entry, pte_make(0x200 + i % 64, PTE_RW)};
        uint32_t done;
        if (mmu_update(&req, 1, &done, DOMID_SELF) != -EINVAL) {
            CHECK(false);
        }
        (void)update_va(NONCANONICAL, 0, 0);
        (void)mmuext_mfn(MMUEXT_PIN_L4_TABLE, 0x200);
    }
    CHECK_IS(test_area_set(0, pte_make(frame_new(), PTE_RW)), 0);
    uint64_t took = (now_ns() - start) / 1000000;
    say("60000 refusals in %lu ms", took);
    CHECK(took < 20000);
}
