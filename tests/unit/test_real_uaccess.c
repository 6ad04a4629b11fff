// SPDX-License-Identifier: MIT
/*
 * arch/x86_64/uaccess.c as it is, on addresses of this program: how much is copied up to a page
 * that is not there, and what is refused without being touched.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "arch/layout.h"
#include "arch/x86_64/asm.h"
#include "base/config.h"
#include "real_code.h"

size_t arch_copy_from_guest(void *dst, vaddr_t src, size_t bytes);
size_t arch_copy_to_guest(vaddr_t dst, const void *src, size_t bytes);

#define GUEST 0x0000300000000000UL
#define END (GUEST + PAGE_SIZE) /* nothing follows */

static void copies(void)
{
    uint8_t buffer[64], *guest = (uint8_t *)GUEST;
    for (size_t bytes = 0; bytes <= 40; bytes++) {
        for (size_t there = 0; there <= 40; there++) {
            vaddr_t at = END - there;
            size_t done = bytes < there ? bytes : there;
            for (size_t i = 0; i < PAGE_SIZE; i++) {
                guest[i] = (uint8_t)(i * 7);
            }
            memset(buffer, 0xee, sizeof(buffer));
            /* Words go as a whole, or not at all. */
            size_t left = arch_copy_from_guest(buffer, at, bytes);
            CU_ASSERT(left >= bytes - done && left - (bytes - done) < 8);
            CU_ASSERT(bytes > there || left == 0);
            CU_ASSERT_EQUAL(memcmp(buffer, (void *)at, bytes - left), 0);
            CU_ASSERT_EQUAL(buffer[bytes - left], 0xee);
            memset(buffer, 0x11, sizeof(buffer));
            left = arch_copy_to_guest(at, buffer, bytes);
            CU_ASSERT(left >= bytes - done && left - (bytes - done) < 8);
            CU_ASSERT(bytes > there || left == 0);
            for (size_t i = PAGE_SIZE - there; i < PAGE_SIZE; i++) {
                bool written = i - (PAGE_SIZE - there) < bytes - left;
                CU_ASSERT_EQUAL(guest[i], written ? 0x11 : (uint8_t)(i * 7));
            }
            CU_ASSERT_FALSE(real_window_open());
        }
    }
}

static void test_copy__up_to_a_fault(void)
{
    copies();
    real_patch(PATCH_SMAP);
    real_run.windows = 0;
    copies();
    CU_ASSERT_EQUAL(real_run.windows, 2 * 41 * 40); /* none for no bytes */
    real_unpatch();
}

static void test_range__refused_untouched(void)
{
    static const struct {
        vaddr_t va;
        size_t bytes;
        bool tried; /* nothing is there either, but a guest may have something */
    } cases[] = {
        {HYP_VIRT_START, 1, false},
        {HYP_VIRT_START - 1, 1, false},
        {HYP_VIRT_END - 1, 1, false},
        {HYP_VIRT_END - 8, 16, false},
        {HYP_VIRT_END, 8, true},
        {1UL << 47, 1, false},
        {(1UL << 47) - 1, 1, true},
        {(1UL << 47) - 4, 8, false},
        {(1UL << 47) - 8, ~0UL << 47, false},
        {1UL << 63, 8, false},
        {~0UL, 1, true},
        {~0UL, 2, false},
        {~0UL - 7, 16, false},
        {GUEST, ~0UL, false},
        {GUEST, HYP_VIRT_END - GUEST, false},
        {0, 1UL << 63, false},
        {0, (1UL << 47) + 1, false},
        {0, 8, true},
    };
    char byte = 0;
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        for (unsigned write = 0; write < 2; write++) {
            real_run.faults = 0;
            size_t left = write ? arch_copy_to_guest(cases[i].va, &byte, cases[i].bytes)
                                : arch_copy_from_guest(&byte, cases[i].va, cases[i].bytes);
            CU_ASSERT_EQUAL(left, cases[i].bytes);
            CU_ASSERT_EQUAL(real_run.faults != 0, cases[i].tried);
        }
    }
    CU_ASSERT_EQUAL(arch_copy_from_guest(&byte, HYP_VIRT_START, 0), 0);
    CU_ASSERT_EQUAL(arch_copy_to_guest(HYP_VIRT_START, &byte, 0), 0);
}

int main(void)
{
    CU_TestInfo tests[] = {
        {"copy__up_to_a_fault", test_copy__up_to_a_fault},
        {"range__refused_untouched", test_range__refused_untouched},
        CU_TEST_INFO_NULL,
    };
    if (mmap((void *)GUEST, PAGE_SIZE, PROT_READ | PROT_WRITE,
             MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) != (void *)GUEST) {
        return 1;
    }
    return real_main("real_uaccess", tests);
}
