// SPDX-License-Identifier: MIT
/* What main() of a test program is: its cases are run one after the other, and counted. */
#pragma once

#include <CUnit/Basic.h>

/* Runs all of `suites`, which CU_SUITE_INFO_NULL ends. Returns main()'s: 0 when all cases passed.
 */
static inline int run_suites(CU_SuiteInfo *suites)
{
    if (CU_initialize_registry() != CUE_SUCCESS || CU_register_suites(suites) != CUE_SUCCESS) {
        return 2;
    }
    CU_basic_set_mode(CU_BRM_NORMAL);
    CU_basic_run_tests();
    unsigned int failed = CU_get_number_of_failures() + CU_get_number_of_suites_failed();
    unsigned int run = CU_get_number_of_tests_run();
    CU_cleanup_registry();
    return failed || !run;
}

/* The same for one suite without anything around it; CU_TEST_INFO_NULL ends `tests`. */
static inline int run_tests(const char *name, CU_TestInfo *tests)
{
    CU_SuiteInfo suites[] = {{name, NULL, NULL, NULL, NULL, tests}, CU_SUITE_INFO_NULL};
    return run_suites(suites);
}
