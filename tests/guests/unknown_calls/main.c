/* SPDX-License-Identifier: MIT */
/*
 * Hypercall numbers that mean nothing here answer -ENOSYS, however large, and change no register
 * but rax, rcx and r11.
 */
#include "lib.h"

static const unsigned short unknown[] = {4,  6,  11, 16, 19, 27, 28, 31, 34,
                                         37, 38, 39, 40, 41, 48, 55, 63};

void test_main(void)
{
    for (unsigned i = 0; i < ARRAY_SIZE(unknown); i++) {
        CHECK_IS(HC3(unknown[i], 1, 2, 3), -ENOSYS);
    }
    for (unsigned shift = 6; shift < 64; shift++) {
        CHECK_IS(HC3(1UL << shift, 1, 2, 3), -ENOSYS);
        CHECK_IS(HC3(1UL << shift | __HYPERVISOR_xen_version, 0, 0, 0), -ENOSYS);
    }
    CHECK_IS(HC3(~0UL, 0, 0, 0), -ENOSYS);

    unsigned long a = 0x1111, b = 0x2222, c = 0x3333, rbx = 0x4444, rc = 77;
    register unsigned long r10 __asm__("r10") = 0x5555, r8 __asm__("r8") = 0x6666,
                               r9 __asm__("r9") = 0x7777, r12 __asm__("r12") = 0x8888;
    __asm__ volatile("syscall"
                     : "+a"(rc), "+D"(a), "+S"(b), "+d"(c), "+b"(rbx), "+r"(r10), "+r"(r8),
                       "+r"(r9), "+r"(r12)
                     :
                     : "rcx", "r11", "memory");
    unsigned long got[] = {a, b, c, rbx, r10, r8, r9, r12};
    static const unsigned long want[] = {0x1111, 0x2222, 0x3333, 0x4444,
                                         0x5555, 0x6666, 0x7777, 0x8888};
    CHECK_IS(rc, -ENOSYS);
    for (unsigned i = 0; i < ARRAY_SIZE(got); i++) {
        CHECK_IS(got[i], want[i]);
    }
}
