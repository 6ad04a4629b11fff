// SPDX-License-Identifier: MIT
/*
 * Our store's daemon on a socket of its own, for a test program of dom0-tools: started beside it,
 * ended with it. The test's suite has own_store_start() and own_store_end() around it.
 */
#pragma once

#include <libgen.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <xenstore.h>

#include "tests/unit/runner.h"

#define PATIENCE_MS 60000

static char own_store_here[512]; /* folder of the test program */
static char own_store_folder[] = "/tmp/paravane-store-XXXXXX";
static char own_store_socket[64];
static pid_t own_store_pid;
static struct xs_handle *xs;

static int own_store_start(void)
{
    char program[600];

    if (mkdtemp(own_store_folder) == NULL) {
        return 1;
    }
    snprintf(own_store_socket, sizeof(own_store_socket), "%s/socket", own_store_folder);
    snprintf(program, sizeof(program), "%s/../../xenstore-lite/xenstored", own_store_here);
    setenv("XENSTORED_PATH", own_store_socket, 1);
    own_store_pid = fork();
    if (own_store_pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* whatever becomes of the test */
        execl(program, program, "--no-xen", "--socket", own_store_socket, "--no-fork",
              (char *)NULL);
        _exit(127);
    }
    for (int i = 0; i < PATIENCE_MS / 10 && xs == NULL; i++) {
        poll(NULL, 0, 10);
        xs = xs_open(0);
    }
    return xs != NULL ? 0 : 1;
}

/* Once it is said to be gone, so are all of its sockets. */
static void own_store_kill(void)
{
    if (own_store_pid > 0) {
        kill(own_store_pid, SIGKILL);
        waitpid(own_store_pid, NULL, 0);
        own_store_pid = 0;
    }
}

static int own_store_end(void)
{
    xs_close(xs);
    own_store_kill();
    unlink(own_store_socket);
    rmdir(own_store_folder);
    return 0;
}

/* The program's main(): `tests` with the daemon around them. */
static inline int own_store_main(char **argv, const char *name, CU_TestInfo *tests)
{
    CU_SuiteInfo suites[] = {{name, own_store_start, own_store_end, NULL, NULL, tests},
                             CU_SUITE_INFO_NULL};

    snprintf(own_store_here, sizeof(own_store_here), "%s", dirname(argv[0]));
    return run_suites(suites);
}
