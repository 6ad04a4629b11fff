/* SPDX-License-Identifier: MIT */
/*
 * Windows onto a guest's memory (dom0-tools/builder/window.h) over a guest that is an array, with a
 * hypervisor that copies pages and with one that only maps: what is written arrives, in whatever
 * order and pieces, frames are the right ones, and nothing stays mapped.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "dom0-tools/builder/window.h"
#include "tests/unit/runner.h"

#define FRAMES 1000u
#define BYTES ((size_t)FRAMES * HV_PAGE_BYTES)
#define MFN_OF(pfn) (((pfn)*7) % FRAMES + 5000u)

static int memory;            /* the machine's, as a file */
static uint8_t *machine;      /* all of it */
static uint8_t wanted[BYTES]; /* by pseudo-physical frame */
static xen_pfn_t p2m[FRAMES];
static struct windows windows;
static bool copies;
static unsigned int calls, mapped;
static int fails_at; /* counts calls down to the one that fails; 0: none */

/* ---- the hypervisor ---- */

static uint8_t *frame(xen_pfn_t mfn)
{
    CU_ASSERT_FATAL(mfn >= 5000 && mfn < 5000 + FRAMES);
    return machine + (mfn - 5000) * HV_PAGE_BYTES;
}

static bool fails(void)
{
    calls++;
    return fails_at > 0 && --fails_at == 0;
}

int hv_write_pages(struct hv *hv, uint32_t domid, const xen_pfn_t *frames, const void *data,
                   size_t count)
{
    (void)hv;
    CU_ASSERT_EQUAL(domid, 7);
    if (!copies) {
        return -ENOSYS;
    }
    if (count > 0 && fails()) {
        return -EINVAL;
    }
    for (size_t i = 0; i < count; i++) {
        memcpy(frame(frames[i]), (const uint8_t *)data + i * HV_PAGE_BYTES, HV_PAGE_BYTES);
    }
    return 0;
}

void *hv_map(struct hv *hv, uint32_t domid, int prot, size_t count, const xen_pfn_t *frames)
{
    uint8_t *base;

    (void)hv;
    (void)domid;
    if (fails()) {
        errno = EPERM;
        return NULL;
    }
    base = mmap(NULL, count * HV_PAGE_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (size_t i = 0; i < count; i++) {
        CU_ASSERT_NOT_EQUAL(mmap(base + i * HV_PAGE_BYTES, HV_PAGE_BYTES, prot,
                                 MAP_SHARED | MAP_FIXED, memory, frame(frames[i]) - machine),
                            MAP_FAILED);
    }
    mapped++;
    return base;
}

int hv_unmap(struct hv *hv, void *address, size_t count)
{
    (void)hv;
    mapped--;
    return munmap(address, count * HV_PAGE_BYTES) == 0 ? 0 : -errno;
}

/* ---- cases ---- */

static void begin(bool can_copy)
{
    copies = can_copy;
    calls = 0;
    fails_at = 0;
    memset(machine, 0, BYTES);
    memset(wanted, 0, sizeof(wanted));
    for (unsigned int i = 0; i < FRAMES; i++) {
        p2m[i] = MFN_OF(i);
    }
    CU_ASSERT_EQUAL(window_open(&windows, NULL, 7, p2m, FRAMES), 0);
}

static void end(void)
{
    CU_ASSERT_EQUAL(window_flush(&windows), 0);
    CU_ASSERT_EQUAL(window_close(&windows), 0);
    CU_ASSERT_EQUAL(mapped, 0);
    for (unsigned int i = 0; i < FRAMES; i++) {
        CU_ASSERT_EQUAL(memcmp(frame(MFN_OF(i)), wanted + (size_t)i * HV_PAGE_BYTES, HV_PAGE_BYTES),
                        0);
    }
}

static void write_bytes(size_t offset, const uint8_t *data, size_t bytes)
{
    memcpy(wanted + offset, data, bytes);
    CU_ASSERT_EQUAL(window_write(&windows, offset, data, bytes), 0);
}

static uint32_t next_random(void)
{
    static uint32_t state = 1;

    state = state * 1664525u + 1013904223u;
    return state >> 8;
}

/* Pieces of all sizes, some of zeros, overlapping none, pages met again and again. */
static void write_all(size_t from, size_t to)
{
    static uint8_t data[40 * HV_PAGE_BYTES];

    while (from < to) {
        size_t bytes = next_random() % (next_random() % 4 ? HV_PAGE_BYTES : sizeof(data)) + 1;

        bytes = bytes < to - from ? bytes : to - from;
        memset(data, 0, bytes);
        for (size_t i = next_random() % 3 * bytes / 2; i < bytes; i++) {
            data[i] = (uint8_t)next_random();
        }
        write_bytes(from, data, bytes);
        from += bytes;
    }
}

static void in_pieces(bool can_copy)
{
    begin(can_copy);
    write_all(BYTES / 2 + 333, BYTES);
    write_all(0, BYTES / 2 + 333);
    end();
}

static void test_write__copied(void)
{
    in_pieces(true);
}

static void test_write__mapped(void)
{
    in_pieces(false);
}

static void test_page__many_and_again(void)
{
    for (unsigned int can_copy = 0; can_copy < 2; can_copy++) {
        begin(can_copy);
        for (unsigned int round = 0; round < 2; round++) {
            for (unsigned int pfn = 0; pfn < 3 * WINDOW_KEPT; pfn++) {
                uint8_t *page = window_page(&windows, pfn);

                CU_ASSERT_PTR_NOT_NULL_FATAL(page);
                CU_ASSERT_EQUAL(page[9], round == 0 ? 0 : (uint8_t)pfn);
                page[9] = (uint8_t)pfn;
                page[100 + round] = 0xaa;
                wanted[pfn * HV_PAGE_BYTES + 9] = (uint8_t)pfn;
                wanted[pfn * HV_PAGE_BYTES + 100 + round] = 0xaa;
            }
        }
        CU_ASSERT_PTR_NULL(window_page(&windows, FRAMES));
        CU_ASSERT_EQUAL(windows.error, -ERANGE);
        windows.error = 0;
        end();
    }
}

/* A kernel and its tables take a few calls, and no mapping. */
static void test_write__calls(void)
{
    static uint8_t kernel[300 * HV_PAGE_BYTES];

    memset(kernel, 0x90, sizeof(kernel));
    begin(true);
    write_bytes(256 * HV_PAGE_BYTES, kernel, sizeof(kernel) - 77);
    for (unsigned int pfn = 600; pfn < 600 + WINDOW_KEPT - 1; pfn++) {
        ((uint8_t *)window_page(&windows, pfn))[0] = 1;
        wanted[pfn * HV_PAGE_BYTES] = 1;
    }
    end();
    CU_ASSERT_EQUAL(calls, 2);
}

static void test_write__fails(void)
{
    static const uint8_t data[3 * HV_PAGE_BYTES] = {[100] = 1, [HV_PAGE_BYTES * 2] = 1};

    for (unsigned int can_copy = 0; can_copy < 2; can_copy++) {
        int reason = can_copy ? -EINVAL : -EPERM;

        begin(can_copy);
        fails_at = 1;
        CU_ASSERT_EQUAL(window_write(&windows, 0, data, sizeof(data)), reason);
        CU_ASSERT_EQUAL(window_write(&windows, BYTES - 4096, data, sizeof(data)), reason);
        window_close(&windows);
        CU_ASSERT_EQUAL(mapped, 0);
        begin(can_copy);
        CU_ASSERT_EQUAL(window_write(&windows, BYTES - HV_PAGE_BYTES, data, sizeof(data)), -ERANGE);
        window_close(&windows);
    }
    begin(true);
    CU_ASSERT_EQUAL(window_write(&windows, 5, data, 200), 0);
    fails_at = 1;
    CU_ASSERT_EQUAL(window_flush(&windows), -EINVAL);
    CU_ASSERT_EQUAL(window_flush(&windows), -EINVAL);
    CU_ASSERT_EQUAL(window_close(&windows), 0);
}

int main(void)
{
    CU_TestInfo tests[] = {
        {"write, copied", test_write__copied},
        {"write, mapped", test_write__mapped},
        {"pages, many and again", test_page__many_and_again},
        {"calls", test_write__calls},
        {"failures", test_write__fails},
        CU_TEST_INFO_NULL,
    };

    memory = memfd_create("machine", MFD_CLOEXEC);
    if (memory < 0 || ftruncate(memory, BYTES) != 0) {
        return EXIT_FAILURE;
    }
    machine = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);
    if (machine == MAP_FAILED) {
        return EXIT_FAILURE;
    }
    return run_tests("builder windows", tests);
}
