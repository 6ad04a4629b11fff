/* SPDX-License-Identifier: MIT */
/*
 * The progress bar (dom0-tools/base/progress.c): drawn on a terminal, gone at the end, and not a
 * byte in a pipe or on a terminal that cannot. Standard error is a pseudo terminal or a pipe here.
 */
#include <CUnit/Basic.h>
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "dom0-tools/base/progress.h"
#include "tests/unit/runner.h"

static char said[8192];

/* Runs a bar over 300 ms with standard error at `to`, then reads what came out at `from`. */
static void run_bar(int to, int from)
{
    const struct timespec step = {.tv_nsec = 30000000};
    int before = dup(STDERR_FILENO);
    struct pollfd ready = {.fd = from, .events = POLLIN};
    size_t used = 0;
    ssize_t got;

    fcntl(from, F_SETFL, O_NONBLOCK);
    dup2(to, STDERR_FILENO);
    progress_step(1); /* there is no bar yet */
    progress_begin("work", 10);
    for (unsigned int i = 0; i <= 10; i++) {
        progress_step(i);
        nanosleep(&step, NULL);
    }
    progress_step(99); /* more than all */
    progress_end();
    progress_step(1);
    dup2(before, STDERR_FILENO);
    close(before);
    /* A pseudo terminal hands over what was written piece by piece. */
    while (poll(&ready, 1, 100) > 0 &&
           (got = read(from, said + used, sizeof(said) - 1 - used)) > 0) {
        used += (size_t)got;
    }
    said[used] = '\0';
}

static void test_progress__terminal(void)
{
    int master;
    int slave;

    CU_ASSERT_EQUAL_FATAL(openpty(&master, &slave, NULL, NULL, NULL), 0);
    setenv("TERM", "linux", 1);
    run_bar(slave, master);
    CU_ASSERT_PTR_NOT_NULL(strstr(said, "\rwork [##"));
    CU_ASSERT_PTR_NOT_NULL(strstr(said, " %"));
    CU_ASSERT_PTR_NULL(strchr(said, '\n'));
    CU_ASSERT_TRUE(strlen(said) > 4);
    CU_ASSERT_STRING_EQUAL(said + strlen(said) - 4, "\r\033[K");
    setenv("TERM", "dumb", 1);
    run_bar(slave, master);
    CU_ASSERT_STRING_EQUAL(said, "");
    close(master);
    close(slave);
}

static void test_progress__pipe(void)
{
    int ends[2];

    CU_ASSERT_EQUAL_FATAL(pipe(ends), 0);
    setenv("TERM", "linux", 1);
    run_bar(ends[1], ends[0]);
    CU_ASSERT_STRING_EQUAL(said, "");
    close(ends[0]);
    close(ends[1]);
}

int main(void)
{
    static CU_TestInfo tests[] = {
        {"terminal", test_progress__terminal},
        {"pipe", test_progress__pipe},
        CU_TEST_INFO_NULL,
    };
    return run_tests("progress bar", tests);
}
