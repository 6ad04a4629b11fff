/* SPDX-License-Identifier: MIT */
/*
 * The page of call stubs, filled by the builder and again through its MSR: stubs preserve rcx and
 * r11 and call by number. Frames that are not the guest's, or not writable, are refused.
 */
#include "lib.h"

static uint64_t call(const void *page, unsigned nr, uint64_t a, uint64_t b, uint64_t *rcx,
                     uint64_t *r11)
{
    uint64_t rax = (uint64_t)page + nr * 32, c = 0x1111, r = 0x2222;
    register uint64_t r11_in __asm__("r11") = r;
    __asm__ volatile("call *%%rax"
                     : "+a"(rax), "+c"(c), "+r"(r11_in), "+D"(a), "+S"(b)
                     :
                     : "memory");
    *rcx = c;
    *r11 = r11_in;
    return rax;
}

void test_main(void)
{
    uint64_t rcx, r11;
    CHECK_IS(call(hypercall_page, __HYPERVISOR_xen_version, 0, 0, &rcx, &r11), 4 << 16 | 17);
    CHECK_IS(rcx, 0x1111);
    CHECK_IS(r11, 0x2222);
    CHECK_IS(call(hypercall_page, 100, 0, 0, &rcx, &r11), -ENOSYS);

    uint8_t *page = page_new();
    CHECK_FAULT(try_wrmsr(0x40000000, maddr_of(page)), NO_FAULT, 0);
    CHECK_IS(memcmp(page, hypercall_page, PAGE_BYTES), 0);
    CHECK_IS(call(page, __HYPERVISOR_xen_version, XENVER_pagesize, 0, &rcx, &r11), 4096);
    CHECK_FAULT(try_wrmsr(0x40000000, maddr_of(page) | 1), VEC_GP, 0);
    CHECK_FAULT(try_wrmsr(0x40000000, maddr_of(table_find(VIRT_BASE, 1))), VEC_GP, 0);
    CHECK_FAULT(try_wrmsr(0x40000000, maddr_of(table_find(VIRT_BASE, 4))), VEC_GP, 0);
    static const uint64_t frames[] = {0, 0x200000, 0xfee00000, 0xb8000, ~0xfffUL, 1UL << 52};
    for (unsigned i = 0; i < ARRAY_SIZE(frames); i++) {
        CHECK_FAULT(try_wrmsr(0x40000000, frames[i]), VEC_GP, 0);
    }
}
