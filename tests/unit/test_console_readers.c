/* SPDX-License-Identifier: MIT */
/*
 * Several readers of one console (dom0-tools/console/readers.h), over real sockets: each gets all,
 * each may type, a slow one loses only its own, and none is waited for.
 */
#include <CUnit/Basic.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "dom0-tools/console/readers.h"
#include "tests/unit/runner.h"

static char folder[] = "/tmp/test_readers.XXXXXX";
static char path[96];
static struct readers *readers;
static struct err err;
static char input[256];

static int open_it(void)
{
    if (folder[strlen(folder) - 1] == 'X' && mkdtemp(folder) == NULL) {
        return 1;
    }
    snprintf(path, sizeof(path), "%s/console", folder);
    return readers_open(path, &readers, &err);
}

static int close_it(void)
{
    readers_close(readers);
    return access(path, F_OK) == 0 || rmdir(folder) != 0;
}

static size_t run(void)
{
    memset(input, 0, sizeof(input));
    return readers_run(readers, input, sizeof(input) - 1);
}

static int dial(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);

    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    CU_ASSERT_EQUAL_FATAL(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    run();
    return fd;
}

static void put(const char *text)
{
    readers_output(readers, text, strlen(text));
}

/* Everything that has come to a reader. */
static const char *got(int fd)
{
    static char text[1024];
    ssize_t bytes = recv(fd, text, sizeof(text) - 1, MSG_DONTWAIT);

    text[bytes > 0 ? bytes : 0] = '\0';
    return text;
}

static bool ended(int fd)
{
    char byte;

    return recv(fd, &byte, 1, MSG_DONTWAIT) == 0;
}

static void leave(int fd)
{
    close(fd);
    run();
}

static bool busy(void)
{
    struct pollfd poll_for = {.fd = readers_fd(readers), .events = POLLIN};

    return poll(&poll_for, 1, 0) == 1;
}

static void test_each_gets_all(void)
{
    int fds[5];

    for (int i = 0; i < 5; i++) {
        fds[i] = dial();
    }
    CU_ASSERT_EQUAL(readers_count(readers), 5);
    put("all of ");
    put("it\n");
    for (int i = 0; i < 5; i++) {
        CU_ASSERT_STRING_EQUAL(got(fds[i]), "all of it\n");
        leave(fds[i]);
    }
    CU_ASSERT_EQUAL(readers_count(readers), 0);
}

static void test_each_may_type(void)
{
    int a = dial();
    int b = dial();

    CU_ASSERT_EQUAL(write(a, "ls\n", 3), 3);
    CU_ASSERT_TRUE(busy());
    CU_ASSERT_EQUAL(run(), 3);
    CU_ASSERT_STRING_EQUAL(input, "ls\n");
    CU_ASSERT_EQUAL(write(b, "id\n", 3), 3);
    CU_ASSERT_EQUAL(run(), 3);
    CU_ASSERT_STRING_EQUAL(input, "id\n");
    CU_ASSERT_FALSE(busy());
    leave(a);
    leave(b);
}

/* What nobody has had yet, and is there for the next to come. */
static void unread(const char *text)
{
    int fd = dial();

    CU_ASSERT_STRING_EQUAL(got(fd), text);
    leave(fd);
}

/* As a script does: types, and is gone before the guest has said a word more. */
static void test_type_and_leave(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    CU_ASSERT_EQUAL_FATAL(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    CU_ASSERT_EQUAL(write(fd, "halt\n", 5), 5);
    close(fd);
    CU_ASSERT_EQUAL(run(), 0); /* is let in */
    put("login: ");
    CU_ASSERT_EQUAL(run(), 5);
    CU_ASSERT_STRING_EQUAL(input, "halt\n");
    run();
    CU_ASSERT_EQUAL(readers_count(readers), 0);
    CU_ASSERT_FALSE(busy());
    unread("login: ");
}

/* A guest that takes no input: what is typed stays, and nobody spins for it. */
static void test_no_room(void)
{
    int a = dial();

    CU_ASSERT_EQUAL(write(a, "held", 4), 4);
    CU_ASSERT_EQUAL(readers_run(readers, input, 0), 0);
    CU_ASSERT_FALSE(busy());
    put("out");
    CU_ASSERT_STRING_EQUAL(got(a), "out");
    CU_ASSERT_EQUAL(readers_run(readers, input, 3), 3);
    CU_ASSERT_EQUAL(run(), 1);
    CU_ASSERT_STRING_EQUAL(input, "d");
    /* Gone while held, what it has typed is still there. */
    CU_ASSERT_EQUAL(write(a, "x", 1), 1);
    CU_ASSERT_EQUAL(readers_run(readers, input, 0), 0);
    close(a);
    put("nobody hears this");
    CU_ASSERT_EQUAL(readers_run(readers, input, 0), 0);
    CU_ASSERT_FALSE(busy());
    CU_ASSERT_EQUAL(run(), 1);
    CU_ASSERT_STRING_EQUAL(input, "x");
    CU_ASSERT_EQUAL(run(), 0);
    CU_ASSERT_EQUAL(readers_count(readers), 0);
    CU_ASSERT_FALSE(busy());
    unread("nobody hears this");
}

/* What came while nobody was there is for the first to come; later ones get what comes. */
static void test_unread_is_kept(void)
{
    int a;
    int b;

    put("boot\n");
    a = dial();
    CU_ASSERT_STRING_EQUAL(got(a), "boot\n");
    b = dial();
    CU_ASSERT_STRING_EQUAL(got(b), "");
    put("login: ");
    CU_ASSERT_STRING_EQUAL(got(a), "login: ");
    CU_ASSERT_STRING_EQUAL(got(b), "login: ");
    leave(a);
    leave(b);
    a = dial();
    CU_ASSERT_STRING_EQUAL(got(a), "");
    leave(a);
}

/* One reader never reads; the output of many megabytes neither waits nor fails another reader. */
static void test_slow_reader(void)
{
    static char chunk[2048];
    static char taken[4096];
    struct timespec begin;
    struct timespec end;
    int slow = dial();
    int fast = dial();
    size_t sent = 0;
    size_t received = 0;
    char newest = 0;
    ssize_t bytes;

    clock_gettime(CLOCK_MONOTONIC, &begin);
    for (int i = 0; i < 10000; i++) { /* 20 MB */
        memset(chunk, 'a' + i % 26, sizeof(chunk));
        readers_output(readers, chunk, sizeof(chunk));
        sent += sizeof(chunk);
        while ((bytes = recv(fast, taken, sizeof(taken), MSG_DONTWAIT)) > 0) {
            received += (size_t)bytes;
        }
        run();
    }
    while ((bytes = recv(fast, taken, sizeof(taken), MSG_DONTWAIT)) > 0) {
        received += (size_t)bytes;
        run();
    }
    clock_gettime(CLOCK_MONOTONIC, &end);
    CU_ASSERT_EQUAL(received, sent);
    /* Far above what it takes; the point is that nothing waits. */
    CU_ASSERT_TRUE(end.tv_sec - begin.tv_sec < 60);

    /* The slow one has what its socket held, and then the newest. */
    received = 0;
    for (;;) {
        bytes = recv(slow, taken, sizeof(chunk), MSG_DONTWAIT);
        if (bytes <= 0) {
            run();
            bytes = recv(slow, taken, sizeof(chunk), MSG_DONTWAIT);
        }
        if (bytes <= 0) {
            break;
        }
        received += (size_t)bytes;
        newest = taken[bytes - 1];
    }
    CU_ASSERT_TRUE(received < sent && received >= READERS_BUFFER_BYTES);
    CU_ASSERT_EQUAL(newest, 'a' + 9999 % 26);
    leave(slow);
    leave(fast);
}

static void test_too_many(void)
{
    int fds[READERS_MAX + 1];

    for (unsigned int i = 0; i <= READERS_MAX; i++) {
        fds[i] = dial();
    }
    CU_ASSERT_EQUAL(readers_count(readers), READERS_MAX);
    CU_ASSERT_TRUE(ended(fds[READERS_MAX]));
    for (unsigned int i = 0; i <= READERS_MAX; i++) {
        leave(fds[i]);
    }
    CU_ASSERT_EQUAL(readers_count(readers), 0);
}

/* The guest is gone: who has had its last words is let go, who has not gets them first. */
static void test_finish(void)
{
    static char chunk[READERS_BUFFER_BYTES];
    static char taken[READERS_BUFFER_BYTES];
    int a = dial();
    int slow = dial();
    ssize_t bytes;

    for (int i = 0; i < 40; i++) {
        readers_output(readers, chunk, sizeof(chunk));
        while (recv(a, taken, sizeof(taken), MSG_DONTWAIT) > 0) {
            run();
        }
    }
    put("last");
    CU_ASSERT_STRING_EQUAL(got(a), "last");
    CU_ASSERT_FALSE(readers_finish(readers));
    CU_ASSERT_TRUE(ended(a));
    do {
        bytes = recv(slow, taken, sizeof(taken), MSG_DONTWAIT);
    } while (bytes > 0 && (readers_finish(readers) || true));
    CU_ASSERT_TRUE(readers_finish(readers));
    CU_ASSERT_TRUE(ended(slow));
    close(a);
    close(slow);
}

static void test_socket(void)
{
    struct readers *other = NULL;
    struct stat status;
    char text[200];

    CU_ASSERT_EQUAL(stat(path, &status), 0);
    CU_ASSERT_EQUAL(status.st_mode & 0777, 0600);
    memset(text, 'a', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    CU_ASSERT_EQUAL(readers_open(text, &other, &err), -ENAMETOOLONG);
    CU_ASSERT_EQUAL(readers_open("/nowhere/at/all", &other, &err), -ENOENT);
    CU_ASSERT_PTR_NULL(other);
    readers_close(NULL);
}

int main(void)
{
    static CU_TestInfo tests[] = {
        {"the socket", test_socket},           {"each gets all", test_each_gets_all},
        {"each may type", test_each_may_type}, {"type and leave", test_type_and_leave},
        {"no room for typing", test_no_room},  {"unread output is kept", test_unread_is_kept},
        {"a slow reader", test_slow_reader},   {"too many", test_too_many},
        {"last words", test_finish},           CU_TEST_INFO_NULL,
    };
    CU_SuiteInfo suites[] = {{"console readers", open_it, close_it, NULL, NULL, tests},
                             CU_SUITE_INFO_NULL};
    return run_suites(suites);
}
