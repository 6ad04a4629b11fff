/* SPDX-License-Identifier: MIT */
/*
 * Our client of the store against our daemon, started on a socket of its own.
 */
#include <CUnit/Basic.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dom0-tools/storeclient/client.h"
#include "tests/unit/own_store.h"

#define MANY 300

ssize_t __real_recv(int fd, void *data, size_t bytes, int flags);
ssize_t __wrap_recv(int fd, void *data, size_t bytes, int flags);

static unsigned int receives;

/* Counts the client's system calls. */
ssize_t __wrap_recv(int fd, void *data, size_t bytes, int flags)
{
    receives++;
    return __real_recv(fd, data, bytes, flags);
}

static bool writes(xs_transaction_t t, const char *path, const char *value)
{
    return xs_write(xs, t, path, value, (unsigned int)strlen(value));
}

static bool reads(xs_transaction_t t, const char *path, const char *want)
{
    unsigned int bytes = 0;
    char *got = xs_read(xs, t, path, &bytes);
    bool same =
        want == NULL ? got == NULL : got != NULL && bytes == strlen(want) && strcmp(got, want) == 0;

    free(got);
    return same;
}

static void test_client__nodes(void)
{
    struct xs_permissions perms[2] = {{.id = 3, .perms = XS_PERM_NONE},
                                      {.id = 4, .perms = XS_PERM_READ}};
    unsigned int count = 0;
    char **names;

    CU_ASSERT_TRUE(writes(XBT_NULL, "/a/b", "one") && reads(XBT_NULL, "/a/b", "one"));
    CU_ASSERT_TRUE(xs_mkdir(xs, XBT_NULL, "/a/c") && reads(XBT_NULL, "/a/c", ""));
    CU_ASSERT_TRUE(xs_set_permissions(xs, XBT_NULL, "/a/b", perms, 2));
    names = xs_directory(xs, XBT_NULL, "/a", &count);
    CU_ASSERT_PTR_NOT_NULL_FATAL(names);
    CU_ASSERT_TRUE(count == 2 && strcmp(names[0], "b") == 0 && strcmp(names[1], "c") == 0);
    free(names);
    CU_ASSERT_TRUE(xs_rm(xs, XBT_NULL, "/a") && reads(XBT_NULL, "/a/b", NULL));
    CU_ASSERT_EQUAL(errno, ENOENT);
    CU_ASSERT_TRUE(!writes(XBT_NULL, "/bad path", "x") && errno == EINVAL);
    CU_ASSERT_PTR_NULL(xs_directory(xs, XBT_NULL, "/none", &count));
}

/* Names of 4 to 40 bytes, so that parts of the list end anywhere. */
static void test_client__long_directory(void)
{
    unsigned int count = 0;
    char path[64];
    char **names;

    for (unsigned int i = 0; i < 600; i++) {
        snprintf(path, sizeof(path), "/long/%0*u", 4 + (int)(i * 7 % 37), i);
        CU_ASSERT_TRUE(xs_mkdir(xs, XBT_NULL, path));
    }
    names = xs_directory(xs, XBT_NULL, "/long", &count);
    CU_ASSERT_PTR_NOT_NULL_FATAL(names);
    CU_ASSERT_EQUAL(count, 600);
    for (unsigned int i = 0; i < count; i++) {
        unsigned long number = strtoul(names[i], NULL, 10);

        CU_ASSERT_EQUAL(strlen(names[i]), 4 + number * 7 % 37);
    }
    free(names);
    CU_ASSERT_TRUE(xs_rm(xs, XBT_NULL, "/long"));
}

static void test_client__transactions(void)
{
    xs_transaction_t t = xs_transaction_start(xs);
    char path[32];

    CU_ASSERT_NOT_EQUAL_FATAL(t, XBT_NULL);
    for (unsigned int i = 0; i < 500; i++) { /* more than are sent at once */
        snprintf(path, sizeof(path), "/t/%u", i);
        CU_ASSERT_TRUE(writes(t, path, path));
    }
    CU_ASSERT_TRUE(reads(t, "/t/499", "/t/499") && reads(XBT_NULL, "/t/499", NULL));
    CU_ASSERT_TRUE(xs_transaction_end(xs, t, false));
    CU_ASSERT_TRUE(reads(XBT_NULL, "/t/0", "/t/0") && reads(XBT_NULL, "/t/499", "/t/499"));

    t = xs_transaction_start(xs);
    CU_ASSERT_TRUE(writes(t, "/t/0", "other"));
    CU_ASSERT_TRUE(xs_transaction_end(xs, t, true) && reads(XBT_NULL, "/t/0", "/t/0"));

    /* What failed is said at the end, and nothing has happened. */
    t = xs_transaction_start(xs);
    CU_ASSERT_TRUE(writes(t, "/t/1", "other") && writes(t, "/t/bad path", "x") &&
                   writes(t, "/t/2", "other"));
    errno = 0;
    CU_ASSERT_TRUE(!xs_transaction_end(xs, t, false) && errno == EINVAL);
    CU_ASSERT_TRUE(reads(XBT_NULL, "/t/1", "/t/1") && reads(XBT_NULL, "/t/2", "/t/2"));

    /* Two that get in each other's way. */
    t = xs_transaction_start(xs);
    CU_ASSERT_TRUE(reads(t, "/t/3", "/t/3") && writes(t, "/t/3", "mine"));
    CU_ASSERT_TRUE(writes(XBT_NULL, "/t/3", "theirs"));
    CU_ASSERT_TRUE(!xs_transaction_end(xs, t, false) && errno == EAGAIN);
    CU_ASSERT_TRUE(reads(XBT_NULL, "/t/3", "theirs") && xs_rm(xs, XBT_NULL, "/t"));
}

/* What the daemon sends in one piece is received in one. */
static void test_client__answers_come_together(void)
{
    xs_transaction_t t = xs_transaction_start(xs);
    char path[32];

    receives = 0;
    for (unsigned int i = 0; i < 100; i++) {
        snprintf(path, sizeof(path), "/together/%u", i);
        CU_ASSERT_TRUE(writes(t, path, path));
    }
    CU_ASSERT_TRUE(xs_transaction_end(xs, t, false));
    CU_ASSERT_TRUE(receives > 0 && receives < 50);
    CU_ASSERT_TRUE(reads(XBT_NULL, "/together/99", "/together/99"));
    CU_ASSERT_TRUE(xs_rm(xs, XBT_NULL, "/together"));
}

static bool readable(int timeout_ms)
{
    struct pollfd ready = {.fd = xs_fileno(xs), .events = POLLIN};

    return poll(&ready, 1, timeout_ms) == 1;
}

static void test_client__watches(void)
{
    unsigned int count;
    char **event;

    CU_ASSERT_TRUE(xs_watch(xs, "/w", "token"));
    event = xs_read_watch(xs, &count);
    CU_ASSERT_PTR_NOT_NULL_FATAL(event);
    CU_ASSERT_TRUE(count == 2 && strcmp(event[XS_WATCH_PATH], "/w") == 0 &&
                   strcmp(event[XS_WATCH_TOKEN], "token") == 0);
    free(event);
    CU_ASSERT_TRUE(xs_check_watch(xs) == NULL && errno == EAGAIN && !readable(0));
    /* They arrive before the second answer, and are not lost in waiting for it. */
    CU_ASSERT_TRUE(writes(XBT_NULL, "/w/a", "1") && writes(XBT_NULL, "/w/b", "1"));
    CU_ASSERT_TRUE(reads(XBT_NULL, "/w/a", "1") && readable(PATIENCE_MS));
    for (unsigned int i = 0; i < 2; i++) {
        event = xs_read_watch(xs, &count);
        CU_ASSERT_TRUE(event != NULL && event[XS_WATCH_PATH][3] == (i == 0 ? 'a' : 'b'));
        free(event);
    }
    CU_ASSERT_TRUE(!readable(0) && xs_unwatch(xs, "/w", "token"));
    CU_ASSERT_TRUE(!xs_unwatch(xs, "/w", "token"));
    CU_ASSERT_TRUE(xs_rm(xs, XBT_NULL, "/w"));
}

static bool event_is(const char *path, const char *token)
{
    unsigned int count;
    char **event = xs_read_watch(xs, &count);
    bool same = event != NULL && strcmp(event[XS_WATCH_PATH], path) == 0 &&
                strcmp(event[XS_WATCH_TOKEN], token) == 0;

    free(event);
    return same;
}

static void test_client__watches_of_a_depth(void)
{
    CU_ASSERT_TRUE(xs_watch_depth(xs, "/w", "flat", 0) && event_is("/w", "flat"));
    CU_ASSERT_TRUE(writes(XBT_NULL, "/w/a", "1") && writes(XBT_NULL, "/w", "1"));
    CU_ASSERT_TRUE(event_is("/w", "flat"));
    CU_ASSERT_TRUE(xs_unwatch(xs, "/w", "flat") && xs_rm(xs, XBT_NULL, "/w"));
    /* What a store of an older protocol says to any depth. */
    CU_ASSERT_TRUE(!xs_watch_depth(xs, "@releaseDomain", "gone", 2) && errno == EINVAL);
    CU_ASSERT_TRUE(xs_watch_domains(xs, "@introduceDomain", "new"));
    CU_ASSERT_TRUE(event_is("@introduceDomain", "new"));
    CU_ASSERT_TRUE(xs_watch_domains(xs, "@releaseDomain", "gone"));
    CU_ASSERT_TRUE(event_is("@releaseDomain", "gone"));
    CU_ASSERT_TRUE(xs_watch_depth(xs, "@releaseDomain/7", "7", 1));
    CU_ASSERT_TRUE(event_is("@releaseDomain/7", "7"));
    CU_ASSERT_TRUE(xs_introduce_domain(xs, 7, 1, 1) && event_is("@introduceDomain/7", "new"));
    CU_ASSERT_TRUE(xs_introduce_domain(xs, 8, 1, 1) && event_is("@introduceDomain/8", "new"));
    CU_ASSERT_TRUE(xs_release_domain(xs, 8) && event_is("@releaseDomain/8", "gone"));
    CU_ASSERT_TRUE(xs_release_domain(xs, 7) && event_is("@releaseDomain/7", "gone"));
    CU_ASSERT_TRUE(event_is("@releaseDomain/7", "7") && !readable(0));
    CU_ASSERT_TRUE(xs_unwatch(xs, "@releaseDomain/7", "7"));
    CU_ASSERT_TRUE(xs_unwatch(xs, "@introduceDomain", "new"));
    CU_ASSERT_TRUE(xs_unwatch(xs, "@releaseDomain", "gone"));
}

/* More than go together, with gaps, and with something posted before. */
static void test_client__many(void)
{
    char paths[MANY][16];
    const char *pointers[MANY];
    char *values[MANY];
    xs_transaction_t t;

    CU_ASSERT_TRUE(xs_mkdir(xs, XBT_NULL, "/m"));
    for (unsigned int i = 0; i < MANY; i++) {
        snprintf(paths[i], sizeof(paths[i]), "/m/%u", i);
        pointers[i] = paths[i];
        CU_ASSERT_TRUE(i % 3 == 0 || writes(XBT_NULL, paths[i], paths[i]));
    }
    t = xs_transaction_start(xs);
    CU_ASSERT_TRUE(t != XBT_NULL && writes(t, "/m/0", "unseen"));
    CU_ASSERT_TRUE(xs_read_many(xs, pointers, MANY, values));
    for (unsigned int i = 0; i < MANY; i++) {
        CU_ASSERT_TRUE(i % 3 == 0 ? values[i] == NULL
                                  : values[i] != NULL && strcmp(values[i], paths[i]) == 0);
        free(values[i]);
    }
    CU_ASSERT_TRUE(xs_transaction_end(xs, t, false) && reads(XBT_NULL, "/m/0", "unseen"));
    CU_ASSERT_TRUE(xs_rm(xs, XBT_NULL, "/m"));
}

/* Changes that go with the next request, and what becomes of them. */
static void test_client__together(void)
{
    receives = 0;
    xs_together_begin(xs);
    CU_ASSERT_TRUE(writes(XBT_NULL, "/g/a", "1") && writes(XBT_NULL, "/g/b", "2"));
    CU_ASSERT_EQUAL(receives, 0);
    CU_ASSERT_TRUE(reads(XBT_NULL, "/g/b", "2") && writes(XBT_NULL, "/g/c", "3"));
    CU_ASSERT_TRUE(xs_together_end(xs) && reads(XBT_NULL, "/g/c", "3"));

    xs_together_begin(xs);
    CU_ASSERT_TRUE(writes(XBT_NULL, "/g/bad path", "x") && writes(XBT_NULL, "/g/d", "4"));
    CU_ASSERT_TRUE(reads(XBT_NULL, "/g/d", "4"));
    errno = 0;
    CU_ASSERT_TRUE(!xs_together_end(xs) && errno == EINVAL);
    /* That has been said, and what follows is waited for again. */
    CU_ASSERT_TRUE(!writes(XBT_NULL, "/g/bad path", "x") && errno == EINVAL);
    xs_together_begin(xs);
    CU_ASSERT_TRUE(xs_together_end(xs) && xs_rm(xs, XBT_NULL, "/g"));
}

/* The last: the daemon is gone afterwards. */
static void test_client__end_of_daemon(void)
{
    unsigned int bytes;

    CU_ASSERT_TRUE(xs_lasts(xs) && xs_renew(xs) == xs);
    CU_ASSERT_TRUE(
        writes(XBT_NULL, "/unread", "x")); /* what has not been read makes no difference */
    own_store_kill();
    CU_ASSERT_FALSE(xs_lasts(xs));
    CU_ASSERT_TRUE(readable(PATIENCE_MS));
    CU_ASSERT_TRUE(xs_check_watch(xs) == NULL && errno != EAGAIN);
    CU_ASSERT_TRUE(xs_read(xs, XBT_NULL, "/", &bytes) == NULL && errno == ENOTCONN);
    CU_ASSERT_FALSE(writes(XBT_NULL, "/a", "x"));
    CU_ASSERT_EQUAL(xs_transaction_start(xs), XBT_NULL);
    CU_ASSERT_PTR_NULL(xs_open(0));

    const char *path = "/a";
    char *value = NULL;

    CU_ASSERT_TRUE(!xs_read_many(xs, &path, 1, &value) && value == NULL);
    CU_ASSERT_FALSE(xs_lasts(xs));
    CU_ASSERT_PTR_NULL(xs = xs_renew(xs));
    CU_ASSERT_PTR_NULL(xs = xs_renew(xs));
}

int main(int argc, char **argv)
{
    CU_TestInfo tests[] = {
        {"nodes", test_client__nodes},
        {"long directory", test_client__long_directory},
        {"transactions", test_client__transactions},
        {"answers come together", test_client__answers_come_together},
        {"watches", test_client__watches},
        {"watches of a depth", test_client__watches_of_a_depth},
        {"many", test_client__many},
        {"together", test_client__together},
        {"end of the daemon", test_client__end_of_daemon},
        CU_TEST_INFO_NULL,
    };
    (void)argc;
    return own_store_main(argv, "store client", tests);
}
