/* SPDX-License-Identifier: MIT */
/*
 * The systemd units of dom0-tools/systemd: systemd's own checker finds nothing wrong with them (a
 * copy whose programs are taken for /bin/true, which exists), the order is store, consoles, guests,
 * and stop-guests asks before it destroys.
 */
#include <CUnit/Basic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/runner.h"

#define UNITS "dom0-tools/systemd"

static char folder[] = "/tmp/test_units.XXXXXX";

/* Runs a line in a shell with $D the folder for this run. Returns: its exit status. */
static int shell(const char *line)
{
    int status;

    setenv("D", folder, 1);
    status = system(line);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void test_units__verify(void)
{
    if (shell("command -v systemd-analyze >/dev/null") != 0) {
        printf("(skipped: systemd-analyze is not here) ");
        return;
    }
    CU_ASSERT_EQUAL(shell("for f in " UNITS "/*.service " UNITS "/*.mount; do sed "
                          "-E 's,^(Exec[A-Za-z]*=)[^ ]+,\\1/bin/true,' $f >$D/${f##*/}; done"),
                    0);
    /* Other people's units may have their own faults: only lines about ours count. */
    CU_ASSERT_EQUAL(shell("systemd-analyze verify --man=no $D/*.service $D/*.mount >$D/said 2>&1; "
                          "! grep -E 'paravane|proc-xen' $D/said"),
                    0);
}

static void test_units__order(void)
{
    CU_ASSERT_EQUAL(
        shell("grep -q '^After=.*paravane-store.service' " UNITS "/paravane-consoled.service"), 0);
    CU_ASSERT_EQUAL(
        shell("grep -q '^After=.*paravane-consoled.service' " UNITS "/paravane-guests.service"), 0);
    /* A store that is started again must not take the guests with it. */
    CU_ASSERT_NOT_EQUAL(shell("grep -qE '^(Requires|BindsTo|PartOf)=' " UNITS "/*.service"), 0);
    /* Nothing of theirs is sent elsewhere than to the journal. */
    CU_ASSERT_NOT_EQUAL(shell("grep -qE '^Standard(Output|Error)=' " UNITS "/*.service"), 0);
}

/* With a vane that writes down what it is asked, and two guests of which one stays. */
static void test_stop_guests(void)
{
    CU_ASSERT_EQUAL(shell("printf '#!/bin/sh\\necho \"$@\" >>'$D'/asked\\n"
                          "[ \"$1\" != list ] || printf \"Domain-0\\nstays on\\n\"\\n"
                          "[ \"$1\" != shutdown ]\\n' >$D/vane; chmod +x $D/vane; "
                          "VANE=$D/vane " UNITS "/stop-guests 7 >$D/said"),
                    0);
    CU_ASSERT_EQUAL(shell("printf 'shutdown --all --wait --timeout 7\\nlist --quiet\\n"
                          "destroy stays on\\n' | cmp -s - $D/asked"),
                    0);
    CU_ASSERT_EQUAL(shell("grep -q 'stays on has not gone' $D/said"), 0);
}

/* It ends when the kernel's devices have gone, not before. */
static void test_stop_guests__waits_for_devices(void)
{
    CU_ASSERT_EQUAL(shell("mkdir -p $D/devices/vbd-1-51712; "
                          "(sleep 1; touch $D/late; rmdir $D/devices/vbd-1-51712) & "
                          "VANE=/bin/true BACKENDS=$D/devices " UNITS "/stop-guests 7 && "
                          "[ -e $D/late ]; said=$?; wait; exit $said"),
                    0);
}

/* Nor while the kernel's thread works on them, whose name may be a part of another's. */
static void test_stop_guests__waits_for_kernel(void)
{
    CU_ASSERT_EQUAL(shell("mkdir -p $D/proc/7 $D/proc/8; rm -f $D/late; "
                          "echo '7 (xenwatch) D 2 0' >$D/proc/7/stat; "
                          "echo '8 (my xenwatch) R 1 0' >$D/proc/8/stat; "
                          "(sleep 1; touch $D/late; echo '7 (xenwatch) S 2 0' >$D/proc/7/stat) & "
                          "PROC=$D/proc VANE=/bin/true BACKENDS=$D/none " UNITS
                          "/stop-guests 7 && [ -e $D/late ]; said=$?; wait; exit $said"),
                    0);
}

int main(void)
{
    static CU_TestInfo tests[] = {
        {"systemd-analyze verify", test_units__verify},
        {"order", test_units__order},
        {"stopping guests", test_stop_guests},
        {"stopping guests, devices", test_stop_guests__waits_for_devices},
        {"stopping guests, the kernel", test_stop_guests__waits_for_kernel},
        CU_TEST_INFO_NULL,
    };

    if (mkdtemp(folder) == NULL) {
        return 1;
    }
    int status = run_tests("systemd units", tests);

    return shell("rm -r $D") != 0 ? 1 : status;
}
