/* SPDX-License-Identifier: MIT */
/*
 * Tables as commands print them.
 */
#include <CUnit/Basic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dom0-tools/vane/vane.h"
#include "tests/unit/runner.h"

void *__real_realloc(void *memory, size_t bytes);
void *__wrap_realloc(void *memory, size_t bytes);

static unsigned int allocations;
static char printed[4096];

void *__wrap_realloc(void *memory, size_t bytes)
{
    allocations++;
    return __real_realloc(memory, bytes);
}

/* Prints a table into printed[]. */
static void print(struct vane_table *table)
{
    int before = dup(STDOUT_FILENO);
    FILE *file = tmpfile();

    fflush(stdout);
    dup2(fileno(file), STDOUT_FILENO);
    CU_ASSERT_EQUAL(vane_table_print(table), VANE_OK);
    dup2(before, STDOUT_FILENO);
    close(before);
    rewind(file);
    printed[fread(printed, 1, sizeof(printed) - 1, file)] = '\0';
    fclose(file);
}

static void test_table__tenths(void)
{
    static const char *const headings[] = {"A", "B", "C", "D"};
    struct vane_table *table = vane_table_new(headings, 4);

    vane_table_tenths(table, 0);
    vane_table_tenths(table, 9);
    vane_table_tenths(table, 1234);
    vane_table_tenths(table, UINT64_MAX);
    print(table);
    CU_ASSERT_STRING_EQUAL(printed, "A    B    C      D\n"
                                    "0.0  0.9  123.4  1844674407370955161.5\n");
}

static void test_table__columns(void)
{
    static const char *const headings[] = {">ID", "NAME", ">N", "LAST"};
    struct vane_table *table = vane_table_new(headings, 4);

    vane_table_number(table, 0);
    vane_table_text(table, "a");
    vane_table_cell(table, "%u.%u", 1u, 5u);
    vane_table_text(table, "");
    vane_table_number(table, 12345);
    vane_table_cell(table, "%s", "longer");
    vane_table_number(table, UINT64_MAX);
    vane_table_text(table, "end");
    print(table);
    CU_ASSERT_STRING_EQUAL(printed, "   ID  NAME                       N  LAST\n"
                                    "    0  a                        1.5  \n"
                                    "12345  longer  18446744073709551615  end\n");
}

static void test_table__long_cells(void)
{
    static const char *const headings[] = {"A", ">B"};

    for (int bytes = 62; bytes < 67; bytes++) { /* around what is formatted at once */
        struct vane_table *table = vane_table_new(headings, 2);
        char want[512];

        vane_table_cell(table, "%0*d", bytes, 7);
        vane_table_cell(table, "%0*d", 2 * bytes, 8);
        print(table);
        snprintf(want, sizeof(want), "%-*s  %*s\n%0*d  %0*d\n", bytes, "A", 2 * bytes, "B", bytes,
                 7, 2 * bytes, 8);
        CU_ASSERT_STRING_EQUAL(printed, want);
    }
}

static void test_table__no_rows(void)
{
    static const char *const headings[] = {"A", ">B"};

    print(vane_table_new(headings, 2));
    CU_ASSERT_STRING_EQUAL(printed, "A  B\n");
    vane_table_free(vane_table_new(headings, 2));
    vane_table_free(NULL);
}

/* A line of a list must not cost an allocation for each of its cells. */
static void test_table__memory(void)
{
    static const char *const headings[] = {"A", "B"};
    struct vane_table *table = vane_table_new(headings, 2);

    allocations = 0;
    for (unsigned int i = 0; i < 5000; i++) {
        vane_table_number(table, i);
        vane_table_text(table, "text");
    }
    CU_ASSERT_TRUE(allocations > 0 && allocations < 20);
    vane_table_free(table);
}

int main(void)
{
    CU_TestInfo tests[] = {{"columns", test_table__columns},       {"tenths", test_table__tenths},
                           {"long cells", test_table__long_cells}, {"no rows", test_table__no_rows},
                           {"memory", test_table__memory},         CU_TEST_INFO_NULL};
    CU_SuiteInfo suites[] = {{"tables", NULL, NULL, NULL, NULL, tests}, CU_SUITE_INFO_NULL};

    return run_suites(suites);
}
