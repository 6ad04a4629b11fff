/* SPDX-License-Identifier: MIT */
/*
 * The names of a list of domains (dom0-tools/vane/look.h), asked of our daemon: how many exchanges
 * that takes does not depend on how many there are.
 */
#include <CUnit/Basic.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "dom0-tools/vane/look.h"
#include "tests/unit/own_store.h"

#define MANY 500u

ssize_t __real_send(int fd, const void *data, size_t bytes, int flags);
ssize_t __wrap_send(int fd, const void *data, size_t bytes, int flags);

static unsigned int sent;    /* pieces */
static bool like_debians;    /* the store knows no such command */
static unsigned int refused; /* of them */

/* Counts the client's questions; makes one of them mean nothing to the daemon. */
ssize_t __wrap_send(int fd, const void *data, size_t bytes, int flags)
{
    static const char command[] = "children";
    char *at = memmem(data, bytes, command, sizeof(command));
    char *copy;
    ssize_t done;

    sent++;
    if (at == NULL || !like_debians) {
        return __real_send(fd, data, bytes, flags);
    }
    refused++;
    copy = malloc(bytes);
    memcpy(copy, data, bytes);
    copy[at - (const char *)data] = 'x';
    done = __real_send(fd, copy, bytes, flags);
    free(copy);
    return done;
}

static struct xen_domctl_getdomaininfo infos[MANY];
static struct look_domains list = {.infos = infos};
static char (*names)[LOOK_NAME_BYTES];

static void write_name(unsigned int domid, const char *name)
{
    char path[64];

    snprintf(path, sizeof(path), "/local/domain/%u/name", domid);
    CU_ASSERT_TRUE(xs_write(xs, XBT_NULL, path, name, (unsigned int)strlen(name)));
}

/* Every other number from 0 on; nobody lists those between. */
static void fill(void)
{
    char name[32];

    for (unsigned int i = 0; i < 2 * MANY; i++) {
        snprintf(name, sizeof(name), "guest %u", i);
        if (i > 0) {
            write_name(i, name);
        }
        if (i % 2 == 0) {
            infos[list.count++].domain = (domid_t)i;
        }
    }
}

static void ask(void)
{
    struct look look = {.xs = xs};

    free(names);
    sent = 0;
    names = look_names(&look, &list);
    CU_ASSERT_PTR_NOT_NULL_FATAL(names);
}

static void expect_all(void)
{
    char name[32];

    CU_ASSERT_STRING_EQUAL(names[0], "Domain-0");
    for (unsigned int i = 1; i < list.count; i++) {
        snprintf(name, sizeof(name), "guest %u", 2 * i);
        CU_ASSERT_STRING_EQUAL(names[i], name);
    }
}

static void test_look__names_come_together(void)
{
    fill();
    ask();
    expect_all();
    CU_ASSERT_TRUE(sent < 10);
    write_name(0, "Domain-0");
    list.count = 100;
    ask();
    expect_all();
    list.count = MANY;
    CU_ASSERT_TRUE(sent < 10);
}

static void test_look__a_store_that_cannot(void)
{
    like_debians = true;
    refused = 0;
    ask();
    expect_all();
    CU_ASSERT_EQUAL(refused, 1);
    like_debians = false;
}

static void test_look__odd_names(void)
{
    char longest[LOOK_NAME_BYTES + 1];

    memset(longest, 'n', sizeof(longest));
    longest[LOOK_NAME_BYTES] = '\0';
    write_name(2, longest);
    CU_ASSERT_TRUE(xs_rm(xs, XBT_NULL, "/local/domain/4/name"));
    CU_ASSERT_TRUE(xs_rm(xs, XBT_NULL, "/local/domain/6"));
    write_name(8, "");
    longest[LOOK_NAME_BYTES - 1] = '\0';
    write_name(10, longest);
    CU_ASSERT_TRUE(xs_write(xs, XBT_NULL, "/local/domain/no-number/name", "x", 1));
    CU_ASSERT_TRUE(xs_write(xs, XBT_NULL, "/local/domain/12x/name", "x", 1));
    ask();
    CU_ASSERT_STRING_EQUAL(names[1], "-");
    CU_ASSERT_STRING_EQUAL(names[2], "-");
    CU_ASSERT_STRING_EQUAL(names[3], "-");
    CU_ASSERT_STRING_EQUAL(names[4], "-");
    CU_ASSERT_STRING_EQUAL(names[5], longest);
    CU_ASSERT_STRING_EQUAL(names[6], "guest 12");
    free(names);
    names = NULL;
}

static void test_look__without_a_store(void)
{
    struct look look = {.xs = NULL};

    names = look_names(&look, &list);
    CU_ASSERT_PTR_NOT_NULL_FATAL(names);
    CU_ASSERT_STRING_EQUAL(names[0], "Domain-0");
    CU_ASSERT_STRING_EQUAL(names[1], "-");
    free(names);
}

int main(int argc, char **argv)
{
    CU_TestInfo tests[] = {{"names come together", test_look__names_come_together},
                           {"a store that cannot", test_look__a_store_that_cannot},
                           {"odd names", test_look__odd_names},
                           {"without a store", test_look__without_a_store},
                           CU_TEST_INFO_NULL};
    (void)argc;
    return own_store_main(argv, "looking at domains", tests);
}
