/* SPDX-License-Identifier: MIT */
/*
 * The runstate area: kept up to date, refused where it cannot be written, and written with the
 * guest's own rights: when its page becomes a page table, or is unmapped, nothing is written there
 * any more.
 */
#include "lib.h"

static long area(unsigned vcpu, uint64_t va)
{
    struct vcpu_register_runstate_memory_area arg = {.addr.p = va};
    return vcpu_op(VCPUOP_register_runstate_memory_area, vcpu, &arg);
}

void test_main(void)
{
    struct vcpu_runstate_info info;
    CHECK_IS(vcpu_op(VCPUOP_get_runstate_info, 0, &info), 0);
    CHECK_IS(info.state, RUNSTATE_running);
    CHECK_IS(vcpu_op(VCPUOP_get_runstate_info, 1, &info), 0);
    CHECK_IS(info.state, RUNSTATE_offline);
    CHECK_IS(vcpu_op(VCPUOP_get_runstate_info, 0, HYP_START), -EFAULT);
    CHECK_IS(vcpu_op(VCPUOP_get_runstate_info, 0, 0x10), -EFAULT);

    uint64_t *page = page_new();
    struct vcpu_runstate_info *r = (struct vcpu_runstate_info *)page;
    CHECK_IS(area(0, (uint64_t)page), 0);
    CHECK_IS(r->state, RUNSTATE_running);
    sleep_ns(20000000);
    CHECK_IS(r->state, RUNSTATE_running);
    CHECK(r->time[RUNSTATE_blocked] > 0);
    uint64_t entry = r->state_entry_time;
    sleep_ns(20000000);
    CHECK(r->state_entry_time > entry);
    CHECK_IS(vm_assist(VMASST_CMD_enable, VMASST_TYPE_runstate_update_flag), 0);
    sleep_ns(20000000);
    CHECK(!(r->state_entry_time & XEN_RUNSTATE_UPDATE));

    CHECK_IS(area(0, HYP_START), -EFAULT);
    CHECK_IS(area(0, 0xffff840000100000), -EFAULT);
    CHECK_IS(area(0, NONCANONICAL), -EFAULT);
    CHECK_IS(area(0, 0x1000), -EFAULT);
    CHECK_IS(area(0, (uint64_t)table_find(VIRT_BASE, 1)), -EFAULT);
    CHECK_IS(area(0, -8UL), -EFAULT);

    /* The page becomes an L1 table full of nothing. */
    memset(page, 0, PAGE_BYTES);
    CHECK_IS(page_pin(page, 1), 0);
    for (unsigned i = 0; i < 10; i++) {
        sleep_ns(2000000);
    }
    for (unsigned i = 0; i < ENTRIES; i++) {
        CHECK_IS(page[i], 0);
    }
    CHECK_IS(page_unpin(page), 0);
    CHECK_IS(page_protect(page, 0), 0);
    sleep_ns(5000000);
    CHECK_IS(page_protect(page, PTE_RW), 0);
    CHECK_IS(area(0, 0), 0);
}
