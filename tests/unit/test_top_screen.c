/* SPDX-License-Identifier: MIT */
/*
 * What vane top shows (dom0-tools/top), from a made-up source: tables, JSON lines, and the full
 * screen on a pseudo terminal, with keys, a resize and the state the terminal is left in.
 */
#include <CUnit/Basic.h>
#include <errno.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "dom0-tools/top/top.h"
#include "tests/unit/runner.h"

#define S 1000000000ull
#define WAIT_MS 20000

/* --- source ------------------------------------------------------------------------------ */

/* Samples in which a second passes, two domains exist, and one of them uses half a processor. */
static int take(void *context, struct usage_sample *sample, struct err *err)
{
    uint64_t *calls = context;
    uint64_t now = ++*calls * S;

    (void)err;
    *sample = (struct usage_sample){
        .host = "testhost", .now_ns = now, .has_states = true, .pcpus = 2, .idle_ns = now};
    for (uint32_t i = 0; i < 2; i++) {
        struct usage_domain *domain = usage_add_domain(sample);
        struct usage_vcpu *vcpu = domain != NULL ? usage_add_vcpu(sample) : NULL;

        if (vcpu == NULL) {
            return -ENOMEM;
        }
        domain->domid = i;
        snprintf(domain->name, sizeof(domain->name), i == 0 ? "Domain-0" : "worker");
        vcpu->online = true;
        vcpu->used_ns = i == 0 ? 0 : now / 2;
        vcpu->wait_ns = now - vcpu->used_ns;
    }
    return 0;
}

static int fail(void *context, struct usage_sample *sample, struct err *err)
{
    uint64_t *calls = context;

    return *calls >= 2 ? err_set(err, ENODEV, "the source is gone") : take(context, sample, err);
}

/* --- without a screen -------------------------------------------------------------------- */

static char text[1 << 16];

static int plain(struct top_source source, struct top_settings settings, bool json, struct err *err)
{
    FILE *to = fmemopen(text, sizeof(text), "w");
    int rc = top_plain(&source, &settings, json, to, err);

    fclose(to);
    return rc;
}

static size_t count(const char *word)
{
    size_t found = 0;

    for (const char *at = strstr(text, word); at != NULL; at = strstr(at + 1, word)) {
        found++;
    }
    return found;
}

static void test_top_plain__tables(void)
{
    struct top_settings settings = {.delay_ms = 1, .count = 3, .order = USAGE_USED};
    uint64_t calls = 0;
    struct err err = {0};

    CU_ASSERT_EQUAL(plain((struct top_source){take, &calls}, settings, false, &err), 0);
    CU_ASSERT_EQUAL(calls, 4);
    CU_ASSERT_EQUAL(count("DEMAND%"), 3);
    CU_ASSERT_EQUAL(count("testhost: 2 processors, 50.0 % idle"), 3);
    CU_ASSERT_EQUAL(count("\n 1  worker        1   50.0   0.0     0.0   50.0     50.0 "), 3);
    CU_ASSERT_TRUE(strstr(text, "worker") < strstr(text, "Domain-0"));
    CU_ASSERT_EQUAL(count("vcpu 0"), 0);
    settings.vcpus = true;
    settings.count = 1;
    CU_ASSERT_EQUAL(plain((struct top_source){take, &calls}, settings, false, &err), 0);
    CU_ASSERT_EQUAL(count("  vcpu 0 on 0"), 2);
}

static void test_top_plain__json_lines(void)
{
    struct top_settings settings = {.delay_ms = 1, .count = 2};
    uint64_t calls = 0;
    struct err err = {0};

    CU_ASSERT_EQUAL(plain((struct top_source){take, &calls}, settings, true, &err), 0);
    CU_ASSERT_EQUAL(count("\n"), 2);

    struct json_object *first = json_tokener_parse(text);

    CU_ASSERT_PTR_NOT_NULL_FATAL(first);
    CU_ASSERT_TRUE(json_object_object_get_ex(first, "domains", NULL));
    json_object_put(first);
}

static void test_top_plain__source_fails(void)
{
    struct top_settings settings = {.delay_ms = 1, .count = 5};
    uint64_t calls = 0;
    struct err err = {0};

    CU_ASSERT_EQUAL(plain((struct top_source){fail, &calls}, settings, false, &err), -ENODEV);
    CU_ASSERT_STRING_EQUAL(err.text, "the source is gone");
    CU_ASSERT_EQUAL(count("DEMAND%"), 1);
}

static void test_top_plain__full_output(void)
{
    struct top_settings settings = {.delay_ms = 1, .count = 2};
    struct top_source source = {take, &(uint64_t){0}};
    struct err err = {0};
    FILE *full = fopen("/dev/full", "w");

    CU_ASSERT_PTR_NOT_NULL_FATAL(full);
    CU_ASSERT_EQUAL(top_plain(&source, &settings, false, full, &err), -EIO);
    fclose(full);
}

/* --- the screen -------------------------------------------------------------------------- */

/* The program at the far end of a pseudo terminal. */
struct far_end {
    int terminal;
    pid_t child;
    size_t got; /* bytes in text[] */
};

/* What the child does: shows the screen; its status tells how that ended. */
static void child(const char *term, int (*source)(void *, struct usage_sample *, struct err *))
{
    struct top_settings settings = {.delay_ms = 100, .order = USAGE_ID};
    struct termios before;
    struct termios after;
    uint64_t calls = 0;
    struct err err = {0};

    setenv("TERM", term, 1);
    unsetenv("LINES");
    unsetenv("COLUMNS");
    tcgetattr(0, &before);

    int rc = top_screen(&(struct top_source){source, &calls}, &settings, &err);

    tcgetattr(0, &after);
    printf("<%s>\n", err.text);
    fflush(stdout);
    bool same = before.c_lflag == after.c_lflag && before.c_iflag == after.c_iflag &&
                before.c_oflag == after.c_oflag;

    _exit(!same ? 99 : -rc);
}

static struct far_end start(const char *term,
                            int (*source)(void *, struct usage_sample *, struct err *))
{
    struct winsize size = {.ws_row = 30, .ws_col = 150};
    struct far_end end = {.got = 0};

    fflush(stdout);
    end.child = forkpty(&end.terminal, NULL, NULL, &size);
    CU_ASSERT_TRUE_FATAL(end.child >= 0);
    if (end.child == 0) {
        child(term, source);
    }
    text[0] = '\0';
    return end;
}

/* Reads until a word has been shown. Returns: whether it was. */
static bool shows(struct far_end *end, const char *word)
{
    struct pollfd poll_for = {.fd = end->terminal, .events = POLLIN};

    while (strstr(text, word) == NULL) {
        if (end->got > sizeof(text) / 2) {
            /* Later output counts more. */
            end->got = 0;
        }
        if (poll(&poll_for, 1, WAIT_MS) <= 0) {
            return false;
        }

        ssize_t got = read(end->terminal, text + end->got, sizeof(text) - 1 - end->got);

        if (got <= 0) {
            return strstr(text, word) != NULL;
        }
        end->got += (size_t)got;
        text[end->got] = '\0';
    }
    return true;
}

static void forget(struct far_end *end)
{
    end->got = 0;
    text[0] = '\0';
}

static void type(const struct far_end *end, const char *keys)
{
    CU_ASSERT_EQUAL(write(end->terminal, keys, strlen(keys)), (ssize_t)strlen(keys));
}

/* Returns: the child's exit status. */
static int finish(struct far_end *end)
{
    int status = 0;

    CU_ASSERT_TRUE(shows(end, "<"));
    CU_ASSERT_EQUAL(waitpid(end->child, &status, 0), end->child);
    close(end->terminal);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void test_top_screen__keys(void)
{
    struct far_end end = start("xterm", take);

    CU_ASSERT_TRUE(shows(&end, "testhost: 2 processors, 50.0 % idle"));
    CU_ASSERT_TRUE(shows(&end, "DEMAND%"));
    CU_ASSERT_TRUE(shows(&end, "worker"));
    forget(&end);
    type(&end, "v");
    CU_ASSERT_TRUE(shows(&end, "vcpu 0 on 0"));
    forget(&end);
    type(&end, "h");
    CU_ASSERT_TRUE(shows(&end, "turn the order round"));
    forget(&end);
    type(&end, "hd7");
    CU_ASSERT_TRUE(shows(&end, "between two looks: 7") || shows(&end, "7"));
    forget(&end);
    type(&end, "\n");
    CU_ASSERT_EQUAL(tcflush(end.terminal, TCIFLUSH), 0);
    /* With seven seconds to the next look, a resize is seen at once. */
    CU_ASSERT_EQUAL(ioctl(end.terminal, TIOCSWINSZ, &(struct winsize){.ws_row = 10, .ws_col = 40}),
                    0);
    CU_ASSERT_TRUE(shows(&end, "testhost: 2 processors, 50.0"));
    type(&end, "q");
    CU_ASSERT_EQUAL(finish(&end), 0);
}

static void test_top_screen__order(void)
{
    struct far_end end = start("vt100", take);

    CU_ASSERT_TRUE(shows(&end, "worker"));
    CU_ASSERT_TRUE(strstr(text, "Domain-0") < strstr(text, "worker"));
    forget(&end);
    type(&end, "sssr"); /* used, least first: as it was; then the other way round */
    type(&end, "r");
    CU_ASSERT_TRUE(shows(&end, "worker"));
    type(&end, "q");
    CU_ASSERT_EQUAL(finish(&end), 0);
}

static void test_top_screen__errors(void)
{
    struct far_end end = start("xterm", fail);

    CU_ASSERT_TRUE(shows(&end, "the source is gone"));
    CU_ASSERT_EQUAL(finish(&end), ENODEV);
    end = start("no-such-terminal", take);
    CU_ASSERT_TRUE(shows(&end, "nothing is known about the terminal 'no-such-terminal'"));
    CU_ASSERT_EQUAL(finish(&end), ENOTTY);
}

int main(void)
{
    static CU_TestInfo tests[] = {
        {"tables", test_top_plain__tables},
        {"JSON lines", test_top_plain__json_lines},
        {"failing source", test_top_plain__source_fails},
        {"full output", test_top_plain__full_output},
        {"keys", test_top_screen__keys},
        {"order", test_top_screen__order},
        {"errors", test_top_screen__errors},
        CU_TEST_INFO_NULL,
    };
    return run_tests("top", tests);
}
