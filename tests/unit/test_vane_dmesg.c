/* SPDX-License-Identifier: MIT */
/*
 * vane dmesg (dom0-tools/vane/see.c) with a log that is made up here: what can drive a terminal is
 * taken out, and an output that is full is left for main() to report.
 */
#include <CUnit/Basic.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dom0-tools/vane/look.h"
#include "dom0-tools/vane/vane.h"
#include "tests/unit/runner.h"

extern const struct vane_command vane_commands_see[];

static char said[20000];

int __wrap_look_open(struct look *look, bool names, struct err *err);
void __wrap_look_close(struct look *look);
long __wrap_hv_console_ring(struct hv *hv, char *buffer, size_t bytes, bool clear);

int __wrap_look_open(struct look *look, bool names, struct err *err)
{
    (void)look, (void)names, (void)err;
    return 0;
}

void __wrap_look_close(struct look *look)
{
    (void)look;
}

long __wrap_hv_console_ring(struct hv *hv, char *buffer, size_t bytes, bool clear)
{
    size_t had = strlen(said);

    (void)hv, (void)clear;
    CU_ASSERT_TRUE_FATAL(had < bytes);
    memcpy(buffer, said, had);
    return (long)had;
}

/* Runs it with its output in a file. */
static int dmesg(const char *path)
{
    struct vane_args args = {.command = vane_commands_see};
    FILE *own = stdout;
    int status;

    while (strcmp(args.command->name, "dmesg") != 0) {
        args.command++;
    }
    stdout = fopen(path, "w");
    CU_ASSERT_PTR_NOT_NULL_FATAL(stdout);
    status = args.command->run(&args);
    if (fflush(stdout) != 0 || ferror(stdout)) {
        status += 100;
    }
    fclose(stdout);
    stdout = own;
    return status;
}

static void test_dmesg__output(void)
{
    char path[] = "/tmp/test_dmesg.XXXXXX";
    int fd = mkstemp(path);
    char text[64] = "";
    FILE *in;

    close(fd);
    strcpy(said, "one\r\ntwo\x1b[2J\xff\n");
    CU_ASSERT_EQUAL(dmesg(path), VANE_OK);
    in = fopen(path, "r");
    CU_ASSERT_EQUAL(fread(text, 1, sizeof(text) - 1, in), strlen("one\ntwo?[2J?\n"));
    CU_ASSERT_STRING_EQUAL(text, "one\ntwo?[2J?\n");
    fclose(in);
    unlink(path);
}

static void test_dmesg__full(void)
{
    memset(said, 'x', sizeof(said) - 1);
    CU_ASSERT_EQUAL(dmesg("/dev/full"), VANE_OK + 100);
}

int main(void)
{
    CU_TestInfo tests[] = {
        {"output", test_dmesg__output}, {"full", test_dmesg__full}, CU_TEST_INFO_NULL};

    return run_tests("vane dmesg", tests);
}
