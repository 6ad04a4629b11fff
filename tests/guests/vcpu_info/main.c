/* SPDX-License-Identifier: MIT */
/*
 * A vCPU's information area moves into a frame of the guest's, once, aligned, within the page;
 * events and time go there. The frame stays a writable one: it can never become a page table.
 */
#include "lib.h"

static volatile uint32_t count;

static void on_event(uint32_t port)
{
    (void)port;
    count++;
}

static long move(unsigned vcpu, uint64_t mfn, uint32_t offset)
{
    struct vcpu_register_vcpu_info arg = {.mfn = mfn, .offset = offset};
    return vcpu_op(VCPUOP_register_vcpu_info, vcpu, &arg);
}

void test_main(void)
{
    uint8_t *page = page_new();
    uint64_t mfn = mfn_of(page);
    static const uint32_t offsets[] = {1, 4, 4033, 4036, 4040, 4095, 4096, 8192, 0xfffffff8, ~0u};
    for (unsigned i = 0; i < ARRAY_SIZE(offsets); i++) {
        CHECK_IS(move(0, mfn, offsets[i]), -ENXIO);
    }
    CHECK_IS(move(0, mfn_of(table_find(VIRT_BASE, 1)), 0), -EINVAL);
    CHECK_IS(move(0, mfn_of(table_find(VIRT_BASE, 4)), 0), -EINVAL);
    CHECK_IS(move(0, ~0UL, 0), -EINVAL);
    CHECK_IS(move(0, 1UL << 40, 0), -EINVAL);
    CHECK_IS(move(0, 0x200, 0), -EINVAL); /* the hypervisor's image */
    CHECK_IS(move(2, mfn, 0), -ENOENT);
    CHECK_IS(vcpu_op(VCPUOP_register_vcpu_info, 0, HYP_START), -EFAULT);

    CHECK_IS(move(0, mfn, 4032), 0);
    this_cpu()->info = (struct vcpu_info *)(page + 4032);
    CHECK_IS(move(0, mfn, 4032), -EINVAL);
    CHECK_IS(move(0, mfn, 0), -EINVAL);
    CHECK_IS(move(1, mfn, 64), 0);
    CHECK_IS(((struct vcpu_info *)(page + 64))->evtchn_upcall_mask, 1);

    uint64_t now = now_ns();
    CHECK(now != 0 && now_ns() >= now);
    long port = event_bind_ipi(0);
    NEED_OK(port);
    event_handlers[port] = on_event;
    event_mask((uint32_t)port, false);
    events_on();
    CHECK_IS(event_send((uint32_t)port), 0);
    CHECK_IS(count, 1);
    events_off();

    CHECK_IS(page_protect(page, PTE_RO), 0);
    for (unsigned level = 1; level <= 4; level++) {
        CHECK_IS(mmuext_mfn(MMUEXT_PIN_L1_TABLE + level - 1, mfn), -EINVAL);
    }
    CHECK_IS(set_gdt(&mfn, 1), -EINVAL);
    CHECK_IS(page_protect(page, PTE_RW), 0);
}
