/* SPDX-License-Identifier: MIT */
/* Start-up of a test kernel, its checks, and the one line that says how it went. */
#include "lib.h"

#define FAILURES_SAID 20

static volatile uint32_t checks, failures;
struct start_info *start_info;

void kernel_main(struct start_info *info);

static void say_list(const char *prefix, const char *format, va_list args)
{
    char line[400];
    size_t used = strlen(prefix);
    memcpy(line, prefix, used);
    used += text_format(line + used, sizeof(line) - used - 1, format, args);
    line[used++] = '\n';
    console_write(line, used);
}

void say(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    say_list("guest: ", format, args);
    va_end(args);
}

static _Noreturn void leave(void)
{
    struct sched_shutdown off = {.reason = SHUTDOWN_poweroff};
    for (;;) {
        (void)sched_op(SCHEDOP_shutdown, &off);
    }
}

#define VERDICT(word)                                                                              \
    do {                                                                                           \
        va_list args;                                                                              \
        va_start(args, format);                                                                    \
        say_list("guest: verdict " word " ", format, args);                                        \
        va_end(args);                                                                              \
        leave();                                                                                   \
    } while (0)

_Noreturn void failure(const char *format, ...)
{
    VERDICT("FAILURE");
}

_Noreturn void skip(const char *format, ...)
{
    VERDICT("SKIP");
}

_Noreturn void error(const char *format, ...)
{
    VERDICT("ERROR");
}

_Noreturn void success(void)
{
    if (failures) {
        failure("%u of %u checks", failures, checks);
    }
    if (!checks) {
        error("nothing was checked");
    }
    say("verdict SUCCESS %u checks", checks);
    leave();
}

void expect_crash(const char *why)
{
    if (failures) {
        failure("%u of %u checks", failures, checks);
    }
    say("verdict EXPECT-END %s", why);
}

void check_bool(bool good, const char *file, int line, const char *what)
{
    __atomic_fetch_add(&checks, 1, __ATOMIC_SEQ_CST);
    if (!good && __atomic_fetch_add(&failures, 1, __ATOMIC_SEQ_CST) < FAILURES_SAID) {
        say("%s:%d: not so: %s", file, line, what);
    }
}

void check_long(long got, long want, const char *file, int line, const char *what)
{
    __atomic_fetch_add(&checks, 1, __ATOMIC_SEQ_CST);
    if (got != want && __atomic_fetch_add(&failures, 1, __ATOMIC_SEQ_CST) < FAILURES_SAID) {
        say("%s:%d: %ld (%lx) instead of %ld (%lx): %s", file, line, got, (uint64_t)got, want,
            (uint64_t)want, what);
    }
}

void need_ok(long rc, const char *file, int line, const char *what)
{
    if (rc < 0) {
        error("%s:%d: %ld: %s", file, line, rc, what);
    }
}

void kernel_main(struct start_info *info)
{
    start_info = info;
    memory_init();
    console_init();
    trap_init();
    event_init();
    test_main();
    success();
}
