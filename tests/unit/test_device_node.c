/* SPDX-License-Identifier: MIT */
/*
 * Nodes the way tools use them, against our daemon on a socket of its own.
 */
#include <CUnit/Basic.h>
#include <errno.h>
#include <string.h>

#include "dom0-tools/device/node.h"
#include "tests/unit/own_store.h"

static bool is(const struct node *node, const char *name, const char *want)
{
    char text[64];

    return node_read(node, name, text, sizeof(text)) == 0 && strcmp(text, want) == 0;
}

static void test_values(void)
{
    struct node home = node_at(xs, XBT_NULL, "/local/domain/%u", 7u);
    uint64_t number;
    char text[3];

    CU_ASSERT_EQUAL(node_write(&home, "memory/target", "%u", 4096u), 0);
    CU_ASSERT_TRUE(is(&home, "memory/target", "4096"));
    CU_ASSERT_TRUE(node_read_number(&home, "memory/target", &number) == 0 && number == 4096);
    CU_ASSERT_EQUAL(node_read(&home, "memory/target", text, sizeof(text)), -EOVERFLOW);
    CU_ASSERT_EQUAL(node_read_number(&home, "nothing", &number), -ENOENT);
    node_put(&home, "name", "a b");
    CU_ASSERT_EQUAL(home.error, 0);
    CU_ASSERT_EQUAL(node_read_number(&home, "name", &number), -EINVAL);
    CU_ASSERT_EQUAL(node_remove(&home), 0);
    CU_ASSERT_EQUAL(node_remove(&home), 0);
    CU_ASSERT_FALSE(node_exists(&home));
}

/* What has gone is not made anew, nor is anything above it. */
static void test_change(void)
{
    struct node home = node_at(xs, XBT_NULL, "/local/domain/7");

    CU_ASSERT_EQUAL(node_change(&home, "memory/target", "%u", 1u), -ENOENT);
    CU_ASSERT_FALSE(node_exists(&home));
    CU_ASSERT_EQUAL(node_write(&home, "memory/target", "%u", 1u), 0);
    CU_ASSERT_EQUAL(node_change(&home, "memory/target", "%s", "two"), 0);
    CU_ASSERT_TRUE(is(&home, "memory/target", "two"));
    CU_ASSERT_EQUAL(node_change(&home, "memory/other", "%u", 3u), 0);
    CU_ASSERT_TRUE(is(&home, "memory/other", "3"));
    CU_ASSERT_EQUAL(node_change(&home, NULL, "%s", "itself"), 0);
    CU_ASSERT_TRUE(is(&home, NULL, "itself"));
    CU_ASSERT_EQUAL(node_change(&home, "memory/target", "%5000d", 1), -E2BIG);
    CU_ASSERT_TRUE(is(&home, "memory/target", "two"));
    node_remove(&home);
}

static void test_prune(void)
{
    struct node deep = node_at(xs, XBT_NULL, "/a/b/c/d");
    struct node beside = node_at(xs, XBT_NULL, "/a/x");

    CU_ASSERT_EQUAL(node_write(&deep, "e", "1"), 0);
    CU_ASSERT_EQUAL(node_write(&beside, NULL, "1"), 0);
    CU_ASSERT_EQUAL(node_prune(&deep, "/a"), 0);
    deep = node_at(xs, XBT_NULL, "/a/b");
    CU_ASSERT_TRUE(!node_exists(&deep) && node_exists(&beside));
    CU_ASSERT_EQUAL(node_prune(&beside, "/a"), 0);
    beside = node_at(xs, XBT_NULL, "/a");
    CU_ASSERT_TRUE(node_exists(&beside));
    node_remove(&beside);
}

static void test_long_path(void)
{
    char path[NODE_PATH_BYTES + 8];
    struct node node;

    memset(path, 'x', sizeof(path) - 1);
    path[sizeof(path) - 1] = '\0';
    node = node_at(xs, XBT_NULL, "/%s", path);
    CU_ASSERT_EQUAL(node_write(&node, NULL, "1"), -ENAMETOOLONG);
    CU_ASSERT_EQUAL(node_change(&node, NULL, "1"), -ENAMETOOLONG);
    node_put(&node, NULL, "1");
    CU_ASSERT_EQUAL(node.error, -ENAMETOOLONG);
}

int main(int argc, char **argv)
{
    CU_TestInfo tests[] = {
        {"values", test_values}, {"change of what may have gone", test_change},
        {"prune", test_prune},   {"a path that is too long", test_long_path},
        CU_TEST_INFO_NULL,
    };

    (void)argc;
    return own_store_main(argv, "nodes", tests);
}
