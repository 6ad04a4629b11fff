/* SPDX-License-Identifier: MIT */
/*
 * mmuext_op: flushes, page clearing and copying, the count of operations done; unknown operations,
 * other domains' and cache control refused; flush addresses and vCPU sets that make no sense are
 * harmless or refused.
 */
#include "lib.h"

static long op(unsigned cmd, uint64_t arg1, uint64_t arg2)
{
    struct mmuext_op o = {.cmd = cmd, .arg1.linear_addr = arg1};
    o.arg2.src_mfn = arg2;
    return mmuext_op(&o, 1, 0, DOMID_SELF);
}

void test_main(void)
{
    uint64_t mask[4] = {~0UL, ~0UL, ~0UL, ~0UL}, none = 0;
    uint32_t done = 99;
    uint64_t *a = page_new(), *b = page_new();

    CHECK_IS(op(MMUEXT_TLB_FLUSH_LOCAL, 0, 0), 0);
    CHECK_IS(op(MMUEXT_TLB_FLUSH_ALL, 0, 0), 0);
    CHECK_IS(op(MMUEXT_TLB_FLUSH_MULTI, 0, (uint64_t)mask), 0);
    CHECK_IS(op(MMUEXT_TLB_FLUSH_MULTI, 0, (uint64_t)&none), 0);
    static const uint64_t odd[] = {0, VIRT_BASE, HYP_START, NONCANONICAL, 0x8000000000000000, ~0UL};
    for (unsigned i = 0; i < ARRAY_SIZE(odd); i++) {
        CHECK_IS(op(MMUEXT_INVLPG_LOCAL, odd[i], 0), 0);
        CHECK_IS(op(MMUEXT_INVLPG_ALL, odd[i], 0), 0);
        CHECK_IS(op(MMUEXT_INVLPG_MULTI, odd[i], (uint64_t)mask), 0);
    }
    CHECK_IS(op(MMUEXT_TLB_FLUSH_MULTI, 0, HYP_START), -EFAULT);
    CHECK_IS(op(MMUEXT_INVLPG_MULTI, VIRT_BASE, NONCANONICAL), -EFAULT);
    long no_devices = alone() ? 0 : -EACCES;
    CHECK_IS(op(MMUEXT_FLUSH_CACHE, 0, 0), no_devices);
    CHECK_IS(op(MMUEXT_FLUSH_CACHE_GLOBAL, 0, 0), no_devices);
    CHECK_IS(op(MMUEXT_MARK_SUPER, mfn_of(a), 0), -ENOSYS);
    CHECK_IS(op(MMUEXT_UNMARK_SUPER, mfn_of(a), 0), -ENOSYS);
    CHECK_IS(op(14, 0, 0), -ENOSYS);
    CHECK_IS(op(1000, 0, 0), -ENOSYS);

    memset(a, 0x77, PAGE_BYTES);
    CHECK_IS(op(MMUEXT_COPY_PAGE, mfn_of(b), mfn_of(a)), 0);
    CHECK_IS(memcmp(a, b, PAGE_BYTES), 0);
    CHECK_IS(op(MMUEXT_CLEAR_PAGE, mfn_of(a), 0), 0);
    CHECK_IS(a[511], 0);
    CHECK_IS(op(MMUEXT_COPY_PAGE, mfn_of(b), 0x200), -EINVAL);
    CHECK_IS(op(MMUEXT_COPY_PAGE, 0x200, mfn_of(b)), -EINVAL);
    CHECK_IS(op(MMUEXT_CLEAR_PAGE, ~0UL, 0), -EINVAL);

    struct mmuext_op list[3] = {
        {.cmd = MMUEXT_TLB_FLUSH_LOCAL}, {.cmd = MMUEXT_TLB_FLUSH_LOCAL}, {.cmd = 1000}};
    CHECK_IS(mmuext_op(list, 3, &done, DOMID_SELF), -ENOSYS);
    CHECK_IS(done, 2);
    CHECK_IS(mmuext_op(list, 2, &done, own_domid()), 0);
    CHECK_IS(done, 2);
    if (!alone()) {
        CHECK_IS(mmuext_op(list, 1, 0, 0), -EPERM);
        CHECK_IS(mmuext_op(list, 1, 0, 31000), -EPERM);
    }
    CHECK_IS(mmuext_op(list, 1, 0, DOMID_XEN), -EPERM);
    CHECK_IS(mmuext_op(HYP_START, 1, &done, DOMID_SELF), -EFAULT);
    CHECK_IS(done, 0);
    CHECK_IS(mmuext_op(list, 1, HYP_START, DOMID_SELF), -EFAULT);
}
