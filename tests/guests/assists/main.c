/* SPDX-License-Identifier: MIT */
/*
 * vm_assist: the known ones go on and off, unknown ones and unknown commands are refused; what they
 * change shows: the feature bit, the I/O privilege level in frames.
 */
#include "lib.h"

static uint64_t undefined(uint64_t arg)
{
    __asm__ volatile("ud2");
    return arg;
}

static uint32_t features(void)
{
    struct xen_feature_info info = {.submap_idx = 0};
    NEED_OK(xen_version(XENVER_get_features, &info));
    return info.submap;
}

void test_main(void)
{
    CHECK_IS(vm_assist(VMASST_CMD_enable, VMASST_TYPE_pae_extended_cr3), 0);
    CHECK(features() & 1u << XENFEAT_pae_pgdir_above_4gb);
    CHECK_IS(vm_assist(VMASST_CMD_disable, VMASST_TYPE_pae_extended_cr3), 0);
    CHECK(!(features() & 1u << XENFEAT_pae_pgdir_above_4gb));
    CHECK_IS(vm_assist(2, VMASST_TYPE_pae_extended_cr3), -ENOSYS);
    CHECK_IS(vm_assist(~0UL, VMASST_TYPE_pae_extended_cr3), -ENOSYS);
    static const uint64_t unknown[] = {VMASST_TYPE_4gb_segments,
                                       VMASST_TYPE_4gb_segments_notify,
                                       6,
                                       31,
                                       32,
                                       33,
                                       63,
                                       64,
                                       1UL << 32,
                                       ~0UL};
    for (unsigned i = 0; i < ARRAY_SIZE(unknown); i++) {
        CHECK_IS(vm_assist(VMASST_CMD_enable, unknown[i]), -EINVAL);
        CHECK_IS(vm_assist(VMASST_CMD_disable, unknown[i]), -EINVAL);
    }

    struct physdev_set_iopl iopl = {.iopl = 1};
    CHECK_IS(physdev_op(PHYSDEVOP_set_iopl, &iopl), 0);
    CHECK_IS(try_call(undefined, 0).regs.rflags & 0x3000, 0);
    CHECK_IS(vm_assist(VMASST_CMD_enable, VMASST_TYPE_architectural_iopl), 0);
    CHECK_IS(try_call(undefined, 0).regs.rflags & 0x3000, 0x1000);
    CHECK_IS(read_flags() & 0x3000, 0); /* the processor's is always 0 */
}
