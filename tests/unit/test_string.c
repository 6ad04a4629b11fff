// SPDX-License-Identifier: MIT
/*
 * base/string.c, the hypervisor's own under other names, against the C library's: every length and
 * alignment around the 8 bytes it copies at once, and nothing written beside what was asked for.
 */
#define memcpy hv_memcpy
#define memmove hv_memmove
#define memset hv_memset
#define memcmp hv_memcmp
#define strlen hv_strlen
#define strcmp hv_strcmp
#define strchr hv_strchr
#include "base/string.c" // NOLINT(bugprone-suspicious-include)
#undef memcpy
#undef memmove
#undef memset
#undef memcmp
#undef strlen
#undef strcmp
#undef strchr

#include <string.h>

#include "suite.h"

#define BYTES 96
#define LONGEST 40
#define OFFSETS 9

static uint8_t buffer[BYTES], wanted[BYTES];

static void fill(void)
{
    for (unsigned i = 0; i < BYTES; i++) {
        buffer[i] = wanted[i] = (uint8_t)(i * 7 + 1);
    }
}

static bool direction_flag(void)
{
    uint64_t flags;
    __asm__ volatile("pushfq; popq %0" : "=r"(flags));
    return flags & (1u << 10);
}

static void test_memcpy__every_length_and_alignment(void)
{
    unsigned wrong = 0;
    for (unsigned to = 0; to < OFFSETS; to++) {
        for (unsigned from = BYTES / 2; from < BYTES / 2 + OFFSETS; from++) {
            for (unsigned n = 0; n < LONGEST - OFFSETS; n++) {
                fill();
                memcpy(wanted + to, wanted + from, n);
                wrong += hv_memcpy(buffer + to, buffer + from, n) != buffer + to;
                wrong += memcmp(buffer, wanted, BYTES) != 0;
            }
        }
    }
    CU_ASSERT_EQUAL(wrong, 0);
}

static void test_memmove__overlaps_both_ways(void)
{
    unsigned wrong = 0;
    for (unsigned to = 0; to < LONGEST; to++) {
        for (unsigned from = 0; from < LONGEST; from++) {
            for (unsigned n = 0; n < LONGEST; n++) {
                fill();
                memmove(wanted + to, wanted + from, n);
                wrong += hv_memmove(buffer + to, buffer + from, n) != buffer + to;
                wrong += direction_flag();
                wrong += memcmp(buffer, wanted, BYTES) != 0;
            }
        }
    }
    CU_ASSERT_EQUAL(wrong, 0);
}

static void test_memset__only_the_low_byte_is_used(void)
{
    static const int bytes[] = {0, 1, 0x7f, 0x80, 0xff, -1, 0x1234};
    unsigned wrong = 0;
    for (unsigned b = 0; b < ARRAY_SIZE(bytes); b++) {
        for (unsigned to = 0; to < OFFSETS; to++) {
            for (unsigned n = 0; n < LONGEST; n++) {
                fill();
                memset(wanted + to, bytes[b], n);
                wrong += hv_memset(buffer + to, bytes[b], n) != buffer + to;
                wrong += memcmp(buffer, wanted, BYTES) != 0;
            }
        }
    }
    CU_ASSERT_EQUAL(wrong, 0);
}

static int sign(int value)
{
    return (value > 0) - (value < 0);
}

static void test_memcmp__first_difference_unsigned(void)
{
    unsigned wrong = 0;
    for (unsigned n = 0; n < LONGEST; n++) {
        for (unsigned at = 0; at < LONGEST; at++) {
            fill();
            buffer[at] ^= 0x80;
            wrong += sign(hv_memcmp(buffer, wanted, n)) != sign(memcmp(buffer, wanted, n));
        }
    }
    CU_ASSERT_EQUAL(wrong, 0);
    CU_ASSERT_TRUE(hv_memcmp("\x80", "\x7f", 1) > 0);
    CU_ASSERT_EQUAL(hv_memcmp("a", "b", 0), 0);
}

static void test_strings__as_the_c_library(void)
{
    static const char *const s[] = {"", "a", "b", "ab", "abc", "abd", "\xff", "console=com1"};
    for (unsigned i = 0; i < ARRAY_SIZE(s); i++) {
        CU_ASSERT_EQUAL(hv_strlen(s[i]), strlen(s[i]));
        for (unsigned j = 0; j < ARRAY_SIZE(s); j++) {
            CU_ASSERT_EQUAL(sign(hv_strcmp(s[i], s[j])), sign(strcmp(s[i], s[j])));
        }
        for (int c = 0; c < 256; c++) {
            CU_ASSERT_PTR_EQUAL(hv_strchr(s[i], c), strchr(s[i], c));
        }
    }
}

int main(void)
{
    static const struct suite_case cases[] = {
        CASE(test_memcpy__every_length_and_alignment), CASE(test_memmove__overlaps_both_ways),
        CASE(test_memset__only_the_low_byte_is_used),  CASE(test_memcmp__first_difference_unsigned),
        CASE(test_strings__as_the_c_library),
    };
    return SUITE("string", 1, cases);
}
