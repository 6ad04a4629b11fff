/* SPDX-License-Identifier: MIT */
/*
 * Memory divided between guests (dom0-tools/usage/balance.c): rows of guests, and for any row what
 * must hold always: nobody outside its bounds, never more given out than there is.
 */
#include <CUnit/Basic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dom0-tools/usage/balance.h"
#include "tests/unit/runner.h"

#define MIB 1024u
#define GUESTS_MAX 8

/* In MiB: least, most, has, used; then what each is given. */
struct row {
    const char *name;
    uint64_t free;
    struct {
        uint64_t least, most, has, used, give;
    } guests[GUESTS_MAX];
};

static const struct row rows[] = {
    {"nobody lacks anything", 100, {{64, 512, 256, 100, 256}, {64, 512, 128, 80, 128}}},
    {"free memory first", 100, {{64, 512, 128, 120, 150}, {64, 512, 512, 80, 512}}},
    {"then from the one with most", 0, {{64, 512, 128, 160, 200}, {64, 512, 512, 80, 439}}},
    {"no more than its most", 1000, {{64, 256, 128, 400, 256}}},
    {"not below its least", 0, {{256, 512, 256, 10, 256}, {64, 512, 128, 200, 128}}},
    {"one that says nothing", 0, {{64, 512, 512, 0, 512}, {64, 512, 128, 200, 128}}},
    {"not enough for all", 0, {{64, 1024, 256, 400, 256}, {64, 1024, 256, 400, 256}}},
    {"a small change is none", 0, {{64, 512, 100, 82, 100}, {64, 512, 200, 20, 200}}},
};

static void test_balance__rows(void)
{
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct balance_guest guests[GUESTS_MAX] = {{0}};
        size_t count = 0;

        for (; count < GUESTS_MAX && rows[i].guests[count].most != 0; count++) {
            guests[count] = (struct balance_guest){
                .least_kib = rows[i].guests[count].least * MIB,
                .most_kib = rows[i].guests[count].most * MIB,
                .has_kib = rows[i].guests[count].has * MIB,
                .used_kib = rows[i].guests[count].used * MIB,
            };
        }
        balance(guests, count, rows[i].free * MIB);
        for (size_t k = 0; k < count; k++) {
            uint64_t want = rows[i].guests[k].give;

            if (guests[k].give_kib / MIB != want) {
                printf("\n  %s: guest %zu is given %llu MiB", rows[i].name, k,
                       (unsigned long long)guests[k].give_kib / MIB);
            }
            CU_ASSERT_EQUAL(guests[k].give_kib / MIB, want);
        }
    }
}

static uint64_t draw(unsigned int *seed, uint64_t limit)
{
    return (uint64_t)rand_r(seed) % (limit + 1);
}

static void test_balance__always(void)
{
    unsigned int seed = 7;

    for (unsigned int round = 0; round < 20000; round++) {
        struct balance_guest guests[GUESTS_MAX];
        size_t count = 1 + draw(&seed, GUESTS_MAX - 1);
        uint64_t free_kib = draw(&seed, 1 << 20);
        uint64_t has = 0;
        uint64_t given = 0;

        for (size_t i = 0; i < count; i++) {
            struct balance_guest *guest = &guests[i];

            guest->least_kib = 4096 + draw(&seed, 1 << 20);
            guest->most_kib = guest->least_kib + draw(&seed, 1 << 21);
            guest->has_kib = guest->least_kib + draw(&seed, guest->most_kib - guest->least_kib);
            guest->used_kib = draw(&seed, 3) == 0 ? 0 : draw(&seed, 1 << 22);
            has += guest->has_kib;
        }
        balance(guests, count, free_kib);
        for (size_t i = 0; i < count; i++) {
            CU_ASSERT_TRUE(guests[i].give_kib >= guests[i].least_kib);
            CU_ASSERT_TRUE(guests[i].give_kib <= guests[i].most_kib);
            CU_ASSERT_TRUE(guests[i].used_kib != 0 || guests[i].give_kib == guests[i].has_kib);
            given += guests[i].give_kib;
        }
        /* Changes too small to be made may leave a step each. */
        CU_ASSERT_TRUE(given <= has + free_kib + count * BALANCE_STEP_KIB);
    }
}

int main(void)
{
    static CU_TestInfo tests[] = {
        {"rows", test_balance__rows},
        {"always", test_balance__always},
        CU_TEST_INFO_NULL,
    };
    return run_tests("memory between guests", tests);
}
