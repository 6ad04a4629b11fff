/* SPDX-License-Identifier: MIT */
/*
 * Segment bases and selectors: canonical ones are set and used, others refused; the hypervisor's
 * selectors cannot be loaded, a bad user GS selector becomes the null one.
 */
#include "lib.h"

static uint64_t read_fs(uint64_t offset)
{
    uint64_t value;
    __asm__ volatile("mov %%fs:(%1), %0" : "=r"(value) : "r"(offset));
    return value;
}

static uint64_t read_gs(uint64_t offset)
{
    uint64_t value;
    __asm__ volatile("mov %%gs:(%1), %0" : "=r"(value) : "r"(offset));
    return value;
}

static uint64_t load_ds(uint64_t selector)
{
    __asm__ volatile("mov %w0, %%ds" : : "r"(selector));
    __asm__ volatile("mov %w0, %%ds" : : "r"(0));
    return 1;
}

void test_main(void)
{
    static const uint64_t bad[] = {NONCANONICAL, 0x8000000000000000, 0x0000800000000000,
                                   0xffff7fffffffffff};
    static uint64_t words[4] = {11, 22, 33, 44};
    user_tables_init();
    for (unsigned which = 0; which < 3; which++) {
        for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
            CHECK_IS(set_segment_base(which, bad[i]), -EINVAL);
        }
    }
    CHECK_IS(set_segment_base(SEGBASE_FS, &words[0]), 0);
    CHECK_IS(set_segment_base(SEGBASE_GS_KERNEL, &words[1]), 0);
    CHECK_IS(set_segment_base(SEGBASE_GS_USER, &words[2]), 0);
    CHECK_IS(read_fs(0), 11);
    CHECK_IS(read_gs(0), 22);
    struct fault f = try_user(read_gs, 8);
    CHECK_FAULT(f, NO_FAULT, 0);
    CHECK_IS(f.value, 44);
    CHECK_IS(read_gs(0), 22);
    CHECK_IS(set_segment_base(4, 0), -EINVAL);
    CHECK_IS(set_segment_base(~0UL, 0), -EINVAL);
    CHECK_IS(set_segment_base(1UL << 32, 0), -EINVAL);

    /* A base in the hypervisor gives no access there. */
    CHECK_IS(set_segment_base(SEGBASE_FS, 0xffff840000000000), 0);
    CHECK_IS(try_call(read_fs, 0x1000).vector, VEC_PF);
    CHECK_IS(set_segment_base(SEGBASE_FS, 0), 0);

    static const uint16_t selectors[] = {0xe008, 0xe010, 0xe040, 0xe050, 0xfff8,
                                         0xe00b, 0xe013, 0xffff, 0x0008, 0x0004};
    for (unsigned i = 0; i < ARRAY_SIZE(selectors); i++) {
        CHECK_IS(set_segment_base(SEGBASE_GS_USER_SEL, selectors[i]), 0);
        f = try_call(load_ds, selectors[i]);
        CHECK_IS(f.vector, VEC_GP);
        CHECK_IS(f.error, selectors[i] & ~3UL);
    }
    CHECK_IS(read_gs(0), 22);
    static const uint16_t open[] = {0, 3, 0xe02b};
    for (unsigned i = 0; i < ARRAY_SIZE(open); i++) {
        CHECK_FAULT(try_call(load_ds, open[i]), NO_FAULT, 0);
    }
}
