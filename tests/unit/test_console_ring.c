/* SPDX-License-Identifier: MIT */
/*
 * Tests of dom0-tools/console/ring.c: bytes across the wrap, and guests that lie about positions.
 */
#include <CUnit/Basic.h>
#include <string.h>

#include "dom0-tools/console/ring.h"
#include "tests/unit/runner.h"

static struct xencons_interface page;
static struct console_ring ring;

static void start_at(uint32_t position)
{
    memset(&page, 0, sizeof(page));
    page.out_cons = position;
    page.out_prod = position;
    page.in_cons = position;
    page.in_prod = position;
    console_ring_init(&ring, &page);
}

/* What an honest guest does to write. */
static void guest_puts(const char *text)
{
    for (; *text != '\0'; text++) {
        page.out[page.out_prod++ % sizeof(page.out)] = *text;
    }
}

static void test_read__across_wrap_of_ring_and_counter(void)
{
    char data[64];

    start_at(UINT32_MAX - 3);
    guest_puts("hello, world");
    CU_ASSERT_EQUAL(console_ring_read(&ring, data, 5), 5);
    CU_ASSERT_EQUAL(memcmp(data, "hello", 5), 0);
    CU_ASSERT_EQUAL(page.out_cons, 1);
    CU_ASSERT_EQUAL(console_ring_read(&ring, data, sizeof(data)), 7);
    CU_ASSERT_EQUAL(memcmp(data, ", world", 7), 0);
    CU_ASSERT_EQUAL(console_ring_read(&ring, data, sizeof(data)), 0);
    CU_ASSERT_EQUAL(page.out_cons, page.out_prod);
}

static void test_read__full_ring_is_honest(void)
{
    char data[4096];

    start_at(100);
    page.out_prod = 100 + sizeof(page.out);
    CU_ASSERT_EQUAL(console_ring_read(&ring, data, sizeof(data)), sizeof(page.out));
}

static void test_read__impossible_producer_is_skipped(void)
{
    char data[64];

    start_at(0);
    page.out_prod = sizeof(page.out) + 1;
    CU_ASSERT_EQUAL(console_ring_read(&ring, data, sizeof(data)), 0);
    CU_ASSERT_EQUAL(page.out_cons, page.out_prod);
    page.out_prod -= 1000; /* backwards */
    CU_ASSERT_EQUAL(console_ring_read(&ring, data, sizeof(data)), 0);
    guest_puts("ok");
    CU_ASSERT_EQUAL(console_ring_read(&ring, data, sizeof(data)), 2);
    CU_ASSERT_EQUAL(memcmp(data, "ok", 2), 0);
}

/* Our own position is not taken back from the page. */
static void test_read__consumer_scribbled_over(void)
{
    char data[64];

    start_at(0);
    guest_puts("abc");
    page.out_cons = 0xdeadbeef;
    CU_ASSERT_EQUAL(console_ring_read(&ring, data, sizeof(data)), 3);
    CU_ASSERT_EQUAL(page.out_cons, 3);
}

static void test_write__until_full(void)
{
    char data[2000];
    size_t room = sizeof(page.in);

    memset(data, 'x', sizeof(data));
    start_at(UINT32_MAX - 10);
    CU_ASSERT_EQUAL(console_ring_write(&ring, data, 100), 100);
    CU_ASSERT_EQUAL(page.in_prod, 89);
    CU_ASSERT_TRUE(console_ring_writable(&ring));
    CU_ASSERT_EQUAL(console_ring_write(&ring, data, sizeof(data)), room - 100);
    CU_ASSERT_FALSE(console_ring_writable(&ring));
    CU_ASSERT_EQUAL(console_ring_write(&ring, data, 1), 0);
    page.in_cons += 3; /* the guest takes three */
    CU_ASSERT_EQUAL(console_ring_write(&ring, "abcd", 4), 3);
    CU_ASSERT_EQUAL(page.in[(ring.in_prod - 1) % room], 'c');
}

static void test_write__impossible_consumer_means_full(void)
{
    start_at(0);
    page.in_cons = 5; /* has taken what was never given */
    CU_ASSERT_FALSE(console_ring_writable(&ring));
    CU_ASSERT_EQUAL(console_ring_write(&ring, "a", 1), 0);
    page.in_cons = 0;
    page.in_prod = 77; /* scribbled over */
    CU_ASSERT_EQUAL(console_ring_write(&ring, "a", 1), 1);
    CU_ASSERT_EQUAL(page.in_prod, 1);
}

int main(void)
{
    static CU_TestInfo tests[] = {
        {"read across wraps", test_read__across_wrap_of_ring_and_counter},
        {"full ring", test_read__full_ring_is_honest},
        {"impossible producer", test_read__impossible_producer_is_skipped},
        {"scribbled consumer", test_read__consumer_scribbled_over},
        {"write until full", test_write__until_full},
        {"impossible consumer", test_write__impossible_consumer_means_full},
        CU_TEST_INFO_NULL,
    };
    return run_tests("console ring", tests);
}
