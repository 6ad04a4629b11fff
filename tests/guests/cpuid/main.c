/* SPDX-License-Identifier: MIT */
/*
 * The prefixed CPUID of kernel and user mode: the signature, and none of the features a PV guest
 * must not believe in; the prefix before anything else is an invalid opcode.
 */
#include "lib.h"

struct leaf {
    uint32_t eax, ebx, ecx, edx;
};

static struct leaf result;

static uint64_t ask(uint64_t leaf)
{
    result.eax = (uint32_t)leaf;
    result.ecx = (uint32_t)(leaf >> 32);
    __asm__ volatile(".byte 0x0f, 0x0b, 0x78, 0x65, 0x6e; cpuid"
                     : "+a"(result.eax), "=b"(result.ebx), "+c"(result.ecx), "=d"(result.edx));
    return 0;
}

static uint64_t prefix_alone(uint64_t arg)
{
    __asm__ volatile(".byte 0x0f, 0x0b, 0x78, 0x65, 0x6e; nop; nop");
    return arg;
}

static uint64_t prefix_rdtsc(uint64_t arg)
{
    __asm__ volatile(".byte 0x0f, 0x0b, 0x78, 0x65, 0x6e; rdtsc" : : : "rax", "rdx");
    return arg;
}

static void look(void)
{
    CHECK_IS(result.ebx, 0x566e6558);
    CHECK_IS(result.ecx, 0x65584d4d);
    CHECK_IS(result.edx, 0x4d4d566e);
}

void test_main(void)
{
    user_tables_init();
    CHECK_FAULT(try_call(ask, 0x40000000), NO_FAULT, 0);
    look();
    uint32_t last = result.eax;
    CHECK(last >= 0x40000002 && last < 0x40000100);
    CHECK_FAULT(try_user(ask, 0x40000000), NO_FAULT, 0);
    look();
    CHECK_FAULT(try_call(ask, 0x40000001), NO_FAULT, 0);
    CHECK_IS(result.eax, 4 << 16 | 17);
    CHECK_FAULT(try_call(ask, 0x40000002), NO_FAULT, 0);
    CHECK_IS(result.eax, 1);
    CHECK_IS(result.ebx, 0x40000000);

    CHECK_FAULT(try_call(ask, 1), NO_FAULT, 0);
    static const unsigned char edx[] = {1, 3, 12, 13, 17}, ecx[] = {3, 5, 17, 21, 24};
    for (unsigned i = 0; i < ARRAY_SIZE(edx); i++) {
        CHECK_IS(result.edx >> edx[i] & 1, 0);
        CHECK_IS(result.ecx >> ecx[i] & 1, 0);
    }
    CHECK_IS(result.ecx >> 31, 1);
    CHECK_FAULT(try_call(ask, 7), NO_FAULT, 0);
    CHECK_IS(result.ebx & (1u << 1 | 1u << 7 | 1u << 10 | 1u << 20), 0);
    CHECK_IS(result.ecx & (1u << 2 | 1u << 3 | 1u << 4 | 1u << 16), 0);
    CHECK_FAULT(try_call(ask, 0x80000001), NO_FAULT, 0);
    CHECK_IS(result.edx >> 26 & 1, 0);
    CHECK_IS(result.ecx >> 2 & 1, 0);
    CHECK_IS(result.edx >> 29 & 1, 1);
    for (uint64_t leaf = 0; leaf < 0x30; leaf++) {
        CHECK_FAULT(try_call(ask, leaf | leaf << 32), NO_FAULT, 0);
        CHECK_FAULT(try_call(ask, leaf | 0x80000000), NO_FAULT, 0);
    }
    CHECK_FAULT(try_call(ask, 0xffffffffffffffff), NO_FAULT, 0);
    CHECK_FAULT(try_call(prefix_alone, 0), VEC_UD, 0);
    CHECK_FAULT(try_call(prefix_rdtsc, 0), VEC_UD, 0);
    CHECK_FAULT(try_user(prefix_alone, 0), VEC_UD, 0);
}
