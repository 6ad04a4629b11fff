/* SPDX-License-Identifier: MIT */
/*
 * Reading a guest's list of its frames (dom0-tools/dump/p2m.c): as a tree and as an array behind
 * page tables, with a few made-up frames in the place of a machine's, and with the nonsense a guest
 * may write.
 */
#include <CUnit/Basic.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "dom0-tools/dump/p2m.h"
#include "tests/unit/runner.h"

#define FRAMES 32u
#define ENTRIES 512u
#define NO_FRAME 99u /* outside the machine */

static uint64_t machine[FRAMES][ENTRIES];
static unsigned int mapped; /* now */

static const uint64_t *map(void *context, uint64_t frame)
{
    (void)context;
    if (frame >= FRAMES) {
        return NULL;
    }
    mapped++;
    return machine[frame];
}

static void unmap(void *context, const uint64_t *page)
{
    (void)context;
    (void)page;
    mapped--;
}

static const struct p2m_source source = {.map = map, .unmap = unmap};
static uint64_t *frames;
static size_t count;
static struct err err;

static int get(struct p2m_root root)
{
    err.number = 0;
    return p2m_read(&source, &root, &frames, &count, &err);
}

/* Two pages of the list in frames 20 and 21: pfn n has frame 1000 + n. */
static void fill(void)
{
    memset(machine, 0, sizeof(machine));
    for (unsigned int i = 0; i < 2 * ENTRIES; i++) {
        machine[20 + i / ENTRIES][i % ENTRIES] = 1000 + i;
    }
    machine[20][5] = UINT64_MAX;
    machine[20][6] = 1ull << 63 | 77;
    machine[20][7] = 1ull << 62 | 7;
    /* the tree: 1 -> 2 -> 20, 21 */
    machine[1][0] = 2;
    machine[2][0] = 20;
    machine[2][1] = 21;
    /* tables for 0xffff800000200000: 3 -> 4 -> 5 -> 6 -> 20, 21 */
    machine[3][256] = 4 << 12 | 7;
    machine[4][0] = 5 << 12 | 7;
    machine[5][1] = 6 << 12 | 7;
    machine[6][0] = 20 << 12 | 1ull << 63 | 1;
    machine[6][1] = 21 << 12 | 1;
}

static const struct p2m_root tree = {.max_pfn = 600, .list_list = 1};
static const struct p2m_root array = {
    .max_pfn = 600, .list_list = UINT64_MAX, .cr3 = 3 << 12, .address = 0xffff800000200000ull};

static void check_list(void)
{
    CU_ASSERT_EQUAL_FATAL(count, 600);
    CU_ASSERT_EQUAL(frames[0], 1000);
    CU_ASSERT_EQUAL(frames[599], 1599);
    for (unsigned int i = 5; i < 8; i++) {
        CU_ASSERT_EQUAL(frames[i], P2M_NONE);
    }
    CU_ASSERT_EQUAL(frames[8], 1008);
    CU_ASSERT_EQUAL(mapped, 0);
    free(frames);
}

static void test_p2m_read__tree(void)
{
    fill();
    CU_ASSERT_EQUAL_FATAL(get(tree), 0);
    check_list();
}

static void test_p2m_read__array(void)
{
    struct p2m_root large = array;

    fill();
    CU_ASSERT_EQUAL_FATAL(get(array), 0);
    check_list();
    /* A large page holds both pages of the list. */
    machine[5][1] = 20 << 12 | 0x80 | 1;
    CU_ASSERT_EQUAL_FATAL(get(large), 0);
    check_list();
}

static void test_p2m_read__nonsense(void)
{
    struct p2m_root root = tree;

    fill();
    root.max_pfn = 0;
    CU_ASSERT_EQUAL(get(root), -ENODATA);
    root.max_pfn = P2M_MAX_FRAMES + 1;
    CU_ASSERT_EQUAL(get(root), -EFBIG);
    root = (struct p2m_root){.max_pfn = 600};
    CU_ASSERT_EQUAL(get(root), -ENODATA);
    root = tree;
    root.list_list = NO_FRAME;
    CU_ASSERT_EQUAL(get(root), -EFAULT);
    machine[2][1] = NO_FRAME;
    CU_ASSERT_EQUAL(get(tree), -EFAULT);
    root = array;
    root.address += 8;
    CU_ASSERT_EQUAL(get(root), -EFBIG);
    root = array;
    root.cr3 = (uint64_t)NO_FRAME << 12;
    CU_ASSERT_EQUAL(get(root), -EFAULT);
    machine[6][0] = 20 << 12; /* not present */
    CU_ASSERT_EQUAL(get(array), -EFAULT);
    CU_ASSERT_EQUAL(mapped, 0);
}

int main(void)
{
    static CU_TestInfo tests[] = {
        {"tree", test_p2m_read__tree},
        {"array", test_p2m_read__array},
        {"nonsense", test_p2m_read__nonsense},
        CU_TEST_INFO_NULL,
    };
    return run_tests("a guest's list of frames", tests);
}
