/* SPDX-License-Identifier: MIT */
/*
 * mmu_update refused: addresses of no frame of ours, unaligned ones, lists that cannot be read,
 * counts that cannot be written, other domains. Nothing is changed by any.
 *
 * Not alone: it asks for what is domain 0's.
 */
#include "lib.h"

static long one(uint64_t ptr, uint64_t val, uint64_t dom)
{
    struct mmu_update req = {.ptr = ptr, .val = val};
    uint32_t done = 99;
    long rc = HC4(__HYPERVISOR_mmu_update, &req, 1, &done, dom);
    if (rc == -EINVAL) {
        CHECK_IS(done, 0);
    }
    return rc;
}

void test_main(void)
{
    test_area_init();
    uint64_t *l1 = test_area_l1();
    uint64_t at = maddr_of(l1), pte = pte_make(frame_new(), PTE_RW);

    static const uint64_t nowhere[] = {0,
                                       0x200000,           /* the hypervisor's image */
                                       0xfee00000,         /* the local APIC */
                                       0xb8000,            /* the display */
                                       0x000ffffffffff000, /* beyond all memory */
                                       0x0000008000000000,
                                       0xfffffffffffff000};
    for (unsigned i = 0; i < ARRAY_SIZE(nowhere); i++) {
        for (unsigned cmd = 0; cmd < 4; cmd++) {
            CHECK_IS(one(nowhere[i] | cmd, pte, DOMID_SELF), -EINVAL);
        }
    }
    CHECK_IS(one(at | 4, pte, DOMID_SELF), -EINVAL);
    CHECK_IS(one(start_info->shared_info & ~0xfffUL, ~0UL, DOMID_SELF),
             0); /* ours to scribble on */

    /* Frames and tables of others. */
    CHECK_IS(one(at, pte, 0), -EPERM);
    CHECK_IS(one(at, pte, DOMID_IO), -EPERM);
    CHECK_IS(one(at, pte, DOMID_XEN), -EPERM);
    CHECK_IS(one(at, pte, DOMID_INVALID), -EPERM);
    CHECK_IS(one(at, pte, 31000), -EPERM);
    CHECK_IS(one(at, pte, 1UL << 16 | DOMID_SELF), -EPERM); /* tables of domain 0 */
    CHECK_IS(one(at, pte, 31001UL << 16 | DOMID_SELF), -EPERM);
    CHECK_IS(l1[0], 0);

    struct mmu_update req = {.ptr = at, .val = pte};
    uint32_t done = 99;
    CHECK_IS(mmu_update(HYP_START, 1, &done, DOMID_SELF), -EFAULT);
    CHECK_IS(done, 0);
    CHECK_IS(mmu_update(NONCANONICAL, 1, 0, DOMID_SELF), -EFAULT);
    CHECK_IS(mmu_update(-16L, 2, 0, DOMID_SELF), -EFAULT);
    CHECK_IS(mmu_update(&req, 1, HYP_START, DOMID_SELF), -EFAULT);
    CHECK_IS(mmu_update(&req, 1, 1, DOMID_SELF), -EFAULT);
    /* The request itself was carried out before its count could not be written. */
    CHECK_IS(l1[0], pte);
    CHECK_IS(pte_write(l1, 0), 0);
}
