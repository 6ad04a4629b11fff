// SPDX-License-Identifier: MIT
/*
 * The store's data structures by themselves: map, node tree and snapshots, permissions, quota
 * table.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "test_store_util.h"

struct item {
    struct map_node node;
    int key;
};

static int item_cmp(const void *key, const struct map_node *n)
{
    return *(const int *)key - MAP_ENTRY(n, struct item, node)->key;
}

static unsigned int map_depth(const struct map_node *n)
{
    unsigned int left, right;

    if (!n) {
        return 0;
    }
    left = map_depth(n->left);
    right = map_depth(n->right);
    return 1 + (left > right ? left : right);
}

static void test_map__ascending_keys_stay_shallow(void)
{
    static struct item items[4096];
    struct map m;
    int above = 99;

    map_init(&m, item_cmp);
    for (int i = 0; i < 4096; i++) {
        items[i].key = i * 2;
        map_insert(&m, &items[i].key, &items[i].node);
    }
    CU_ASSERT_EQUAL(m.count, 4096);
    /* The expected depth is about 2 ln n = 17; 60 is beyond any luck. */
    CU_ASSERT(map_depth(m.root) < 60);
    CU_ASSERT_EQUAL(MAP_ENTRY(map_first(&m), struct item, node)->key, 0);
    CU_ASSERT_EQUAL(MAP_ENTRY(map_after(&m, &above), struct item, node)->key, 100);
    CU_ASSERT_PTR_NULL(map_find(&m, &above));
    for (int i = 0; i < 4096; i++) {
        int key = ((i * 1531) % 4096) * 2;

        CU_ASSERT_PTR_NOT_NULL(map_remove(&m, &key));
        CU_ASSERT_PTR_NULL(map_remove(&m, &key));
    }
    CU_ASSERT_PTR_NULL(m.root);
    CU_ASSERT_EQUAL(m.count, 0);
}

static void test_map__walk_survives_removal(void)
{
    struct item items[100];
    struct map m;
    struct map_node *n;
    int sum = 0;

    map_init(&m, item_cmp);
    for (int i = 0; i < 100; i++) {
        items[i].key = i;
        map_insert(&m, &items[i].key, &items[i].node);
    }
    for (n = map_first(&m); n;) {
        int key = MAP_ENTRY(n, struct item, node)->key;

        sum += key;
        map_remove(&m, &key);
        n = map_after(&m, &key);
    }
    CU_ASSERT_EQUAL(sum, 4950);
}

static void test_tree__write_creates_parents(void)
{
    struct store s;
    struct node *n;

    store_init(&s);
    view_write(&s.live, "/a/b/c", "xyz", 3, 5);
    n = node_find(s.live.root, "/a/b/c");
    CU_ASSERT_PTR_NOT_NULL_FATAL(n);
    CU_ASSERT_STRING_EQUAL(n->value->data, "xyz");
    CU_ASSERT_EQUAL(n->perms->e[0].domid, 5);
    CU_ASSERT_EQUAL(view_owner_delta(&s.live, 5).nodes, 3);
    CU_ASSERT_PTR_NULL(node_find(s.live.root, "/a/b/c/d"));
    CU_ASSERT_PTR_NULL(node_find(s.live.root, "/a/bb"));
    CU_ASSERT_PTR_EQUAL(node_find(s.live.root, "/"), s.live.root);
    store_count(&s, &s.live);
    CU_ASSERT_EQUAL(s.nodes, 4);
    view_rm(&s.live, "/a/b");
    CU_ASSERT_EQUAL(view_owner_delta(&s.live, 5).nodes, 1);
    CU_ASSERT_EQUAL(view_owner_delta(&s.live, 5).bytes, node_cost(1, 0, 1));
    CU_ASSERT_PTR_NULL(node_find(s.live.root, "/a/b"));
    CU_ASSERT_PTR_NOT_NULL(node_find(s.live.root, "/a"));
    store_destroy(&s);
}

static unsigned int treap_depth(const struct node *n)
{
    unsigned int left, right;

    if (!n) {
        return 0;
    }
    left = treap_depth(n->left);
    right = treap_depth(n->right);
    return 1 + (left > right ? left : right);
}

static void test_tree__many_children_in_order(void)
{
    struct store s;
    struct node *n;
    struct buf list = {0};
    char path[64];
    size_t at = 0;
    int count = 0;

    store_init(&s);
    for (int i = 0; i < 10000; i++) {
        snprintf(path, sizeof(path), "/d/k%05d", (i * 7919) % 10000);
        view_mkdir(&s.live, path, 0);
    }
    n = node_find(s.live.root, "/d");
    CU_ASSERT_EQUAL(n->kids->sib_count, 10000);
    CU_ASSERT_EQUAL(node_list_bytes(n), 70000);
    CU_ASSERT(treap_depth(n->kids) < 64);
    node_list(n, 0, SIZE_MAX / 2, &list);
    for (; at < list.len; at += strlen(list.data + at) + 1) {
        snprintf(path, sizeof(path), "k%05d", count++);
        CU_ASSERT_STRING_EQUAL(list.data + at, path);
    }
    CU_ASSERT_EQUAL(count, 10000);
    list.len = 0;
    node_list(n, 7 * 5000, 20, &list);
    CU_ASSERT_EQUAL(list.len, 14);
    CU_ASSERT_STRING_EQUAL(list.data, "k05000");
    for (int i = 0; i < 10000; i += 2) {
        snprintf(path, sizeof(path), "/d/k%05d", i);
        view_rm(&s.live, path);
    }
    n = node_find(s.live.root, "/d");
    CU_ASSERT_EQUAL(n->kids->sib_count, 5000);
    CU_ASSERT_EQUAL(node_list_bytes(n), 35000);
    CU_ASSERT_PTR_NULL(node_find(s.live.root, "/d/k00500"));
    CU_ASSERT_PTR_NOT_NULL(node_find(s.live.root, "/d/k00501"));
    buf_free(&list);
    store_destroy(&s);
}

/* A model of the tree for the comparison below: which of 64 paths exist, with which value. */
struct model {
    int value[64]; /* -1: absent */
};

static void model_path(int i, char *path)
{
    sprintf(path, "/%d/%d/%d", i / 16, i / 4 % 4, i % 4);
}

static bool model_agrees(struct node *root, const struct model *m)
{
    for (int i = 0; i < 64; i++) {
        char path[32], want[16];
        struct node *n;

        model_path(i, path);
        n = node_find(root, path);
        if (m->value[i] < 0) {
            if (n) {
                return false;
            }
            continue;
        }
        snprintf(want, sizeof(want), "%d", m->value[i]);
        if (!n || strcmp(n->value->data, want) != 0) {
            return false;
        }
    }
    return true;
}

static void test_tree__snapshots_never_change(void)
{
    struct store s;
    struct node *snap[32] = {0};
    struct model now, at[32];
    unsigned int seed = 4711;

    store_init(&s);
    memset(&now, 0xff, sizeof(now));
    for (int round = 0; round < 3000; round++) {
        int i, slot = round % 32;
        char path[32], text[16];

        seed = seed * 1103515245 + 12345;
        i = (int)(seed >> 16) % 64;
        model_path(i, path);
        if (now.value[i] >= 0 && (seed >> 28) < 8) {
            view_rm(&s.live, path);
            now.value[i] = -1;
        } else {
            snprintf(text, sizeof(text), "%d", round);
            view_write(&s.live, path, text, strlen(text), 0);
            now.value[i] = round;
        }
        view_clear(&s.live);
        if (snap[slot]) {
            CU_ASSERT_TRUE(model_agrees(snap[slot], &at[slot]));
            node_put(snap[slot]);
        }
        snap[slot] = node_get(s.live.root);
        at[slot] = now;
    }
    for (int slot = 0; slot < 32; slot++) {
        CU_ASSERT_TRUE(model_agrees(snap[slot], &at[slot]));
        node_put(snap[slot]);
    }
    store_destroy(&s);
}

static void test_tree__edit_without_snapshot_is_in_place(void)
{
    struct store s;
    struct node *before;

    store_init(&s);
    view_write(&s.live, "/a/b", "1", 1, 0);
    before = node_find(s.live.root, "/a/b");
    view_write(&s.live, "/a/b", "2", 1, 0);
    CU_ASSERT_PTR_EQUAL(node_find(s.live.root, "/a/b"), before);
    store_destroy(&s);
}

static void test_perms__text(void)
{
    struct perms *p = NULL;
    struct buf b = {0};

    CU_ASSERT_EQUAL(perms_parse("b0\0r5\0n65535\0w12", 16, 9, &p), -EINVAL);
    CU_ASSERT_EQUAL(perms_parse("b0\0r5\0n65535\0w12", 17, 9, &p), 0);
    CU_ASSERT_EQUAL(p->count, 4);
    for (uint32_t i = 0; i < p->count; i++) {
        perms_format(&b, &p->e[i]);
    }
    CU_ASSERT_EQUAL(b.len, 17);
    CU_ASSERT_EQUAL(memcmp(b.data, "b0\0r5\0n65535\0w12", 17), 0);
    perms_put(p);
    buf_free(&b);
    CU_ASSERT_EQUAL(perms_parse("r", 2, 9, &p), -EINVAL);
    CU_ASSERT_EQUAL(perms_parse("x1", 3, 9, &p), -EINVAL);
    CU_ASSERT_EQUAL(perms_parse("r65536", 7, 9, &p), -EINVAL);
    CU_ASSERT_EQUAL(perms_parse("r-1", 4, 9, &p), -EINVAL);
    CU_ASSERT_EQUAL(perms_parse("r1 ", 4, 9, &p), -EINVAL);
    CU_ASSERT_EQUAL(perms_parse("", 1, 9, &p), -EINVAL);
    CU_ASSERT_EQUAL(perms_parse("r99999999999999999999", 22, 9, &p), -EINVAL);
    CU_ASSERT_EQUAL(perms_parse(NULL, 0, 9, &p), -EINVAL);
}

static void test_perms__access(void)
{
    const unsigned int all = PERM_READ | PERM_WRITE | PERM_OWNER;
    struct perm_who who = {.domid = 3};
    struct perms *p;

    CU_ASSERT_EQUAL_FATAL(perms_parse("r1\0b2\0n3", 9, 100, &p), 0);
    CU_ASSERT_EQUAL(perms_access(p, &who), 0);
    who.domid = 2;
    CU_ASSERT_EQUAL(perms_access(p, &who), PERM_READ | PERM_WRITE);
    who.domid = 4;
    CU_ASSERT_EQUAL(perms_access(p, &who), PERM_READ);
    who.domid = 1;
    CU_ASSERT_EQUAL(perms_access(p, &who), all);
    who.born = 101;
    CU_ASSERT_EQUAL(perms_access(p, &who), PERM_READ);
    who = (struct perm_who){.domid = 4, .has_target = true, .target = 1};
    CU_ASSERT_EQUAL(perms_access(p, &who), all);
    who.target_born = 101;
    CU_ASSERT_EQUAL(perms_access(p, &who), PERM_READ);
    who = (struct perm_who){.domid = 9, .privileged = true};
    CU_ASSERT_EQUAL(perms_access(p, &who), all);
    perms_put(p);
}

static void test_quota__table(void)
{
    struct quota q = quota_default();
    struct quota_row row;
    unsigned int rows = 0;

    while (quota_row(&q, rows, &row)) {
        CU_ASSERT(*row.value > 0);
        rows++;
    }
    CU_ASSERT_EQUAL(rows, 8);
    CU_ASSERT_EQUAL(quota_set(&q, "watches", "5"), 0);
    CU_ASSERT_EQUAL(q.watches, 5);
    CU_ASSERT_EQUAL(quota_set(&q, "watchers", "5"), -ENOENT);
    CU_ASSERT_EQUAL(quota_set(&q, "watches", "0"), -EINVAL);
    CU_ASSERT_EQUAL(quota_set(&q, "watches", "-1"), -EINVAL);
    CU_ASSERT_EQUAL(quota_set(&q, "watches", "7x"), -EINVAL);
    CU_ASSERT_EQUAL(quota_set(&q, "watches", "4294967296"), -EINVAL);
    CU_ASSERT_EQUAL(q.watches, 5);
}

static void add_suites(void)
{
    CU_pSuite map = CU_add_suite("map", NULL, NULL);
    CU_pSuite tree = CU_add_suite("tree", NULL, NULL);
    CU_pSuite rules = CU_add_suite("permissions and quota", NULL, NULL);

    CU_ADD_TEST(map, test_map__ascending_keys_stay_shallow);
    CU_ADD_TEST(map, test_map__walk_survives_removal);
    CU_ADD_TEST(tree, test_tree__write_creates_parents);
    CU_ADD_TEST(tree, test_tree__many_children_in_order);
    CU_ADD_TEST(tree, test_tree__snapshots_never_change);
    CU_ADD_TEST(tree, test_tree__edit_without_snapshot_is_in_place);
    CU_ADD_TEST(rules, test_perms__text);
    CU_ADD_TEST(rules, test_perms__access);
    CU_ADD_TEST(rules, test_quota__table);
}

int main(void)
{
    return fake_main("test_store_tree", add_suites);
}
