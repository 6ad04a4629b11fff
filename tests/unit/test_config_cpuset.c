/* SPDX-License-Identifier: MIT */
/*
 * Sets of processors (dom0-tools/config/cpuset.c): the words people use, and what is none.
 */
#include <CUnit/Basic.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "dom0-tools/config/cpuset.h"
#include "tests/unit/runner.h"

/* What a text means on a machine with `count` processors, or why it means nothing. */
static const char *meaning(const char *text, unsigned int count)
{
    static char formatted[CPUSET_TEXT_BYTES];
    static struct err err;
    struct cpuset set;

    if (cpuset_parse(text, &set) != 0) {
        return "syntax";
    }
    if (cpuset_fit(&set, count, &err) != 0) {
        return err.text;
    }
    cpuset_format(&set, count, formatted);
    return formatted;
}

static void test_cpuset_parse__words(void)
{
    static const struct {
        const char *text;
        const char *meaning;
    } cases[] = {
        {"0", "0"},          {"3", "3"},        {"0-3", "0-3"}, {"2,0", "0,2"},
        {"0-3,^2", "0-1,3"}, {"^2,0-3", "all"}, {"^0", "1-7"},  {"^0-5,^7", "6"},
        {"all", "all"},      {"all,^7", "0-6"}, {"0-7", "all"}, {"1,3,5-6", "1,3,5-6"},
        {"0-3,^0-3,1", "1"}, {"^3,all", "all"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        CU_ASSERT_STRING_EQUAL(meaning(cases[i].text, 8), cases[i].meaning);
    }
}

static void test_cpuset_parse__nonsense(void)
{
    static const char *const texts[] = {
        "",     ",",   "0,",         ",0",   "0,,1",  "-",     "0-",   "-3",
        "3-1",  "a",   "al",         "alls", "^",     "^all",  "0-^3", "0 1",
        " 0",   "0 ",  "+1",         "256",  "0-256", "1-2-3", "0x1",  "99999999999999999999",
        "^256", "^^1", "4294967296",
    };

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct cpuset set;

        if (cpuset_parse(texts[i], &set) != -EINVAL) {
            printf("\n  '%s' is taken\n", texts[i]);
            CU_FAIL("nonsense taken");
        }
    }
}

static void test_cpuset_fit__machine(void)
{
    CU_ASSERT_STRING_EQUAL(meaning("0-2", 2),
                           "there is no processor 2: the machine has 2, from 0 on");
    CU_ASSERT_STRING_EQUAL(meaning("255", 2),
                           "there is no processor 255: the machine has 2, from 0 on");
    CU_ASSERT_STRING_EQUAL(meaning("^255", 256), "0-254");
    CU_ASSERT_STRING_EQUAL(meaning("all,^5", 2),
                           "there is no processor 5: the machine has 2, from 0 on");
    CU_ASSERT_STRING_EQUAL(meaning("0,^0", 2), "no processor is left");
    CU_ASSERT_STRING_EQUAL(meaning("0-1", 2), "all");
    CU_ASSERT_STRING_EQUAL(meaning("all", 1), "all");
}

static void test_cpuset_format__any_set(void)
{
    struct cpuset set = {.named = 0};
    char text[CPUSET_TEXT_BYTES];

    cpuset_format(&set, 256, text);
    CU_ASSERT_STRING_EQUAL(text, "none");
    memset(set.bits, 0x55, sizeof(set.bits));
    cpuset_format(&set, 256, text);
    CU_ASSERT_TRUE(strlen(text) < CPUSET_TEXT_BYTES - 1);
    CU_ASSERT_PTR_NOT_NULL(strstr(text, ",252,254"));
    CU_ASSERT_STRING_EQUAL(meaning(text, 256), text);
    CU_ASSERT_TRUE(cpuset_has(&set, 254));
    CU_ASSERT_FALSE(cpuset_has(&set, 255));
    CU_ASSERT_FALSE(cpuset_has(&set, 256));
}

int main(void)
{
    static CU_TestInfo tests[] = {
        {"words", test_cpuset_parse__words},
        {"nonsense", test_cpuset_parse__nonsense},
        {"fitted to the machine", test_cpuset_fit__machine},
        {"written out", test_cpuset_format__any_set},
        CU_TEST_INFO_NULL,
    };
    return run_tests("cpuset", tests);
}
