// SPDX-License-Identifier: MIT
/*
 * An ordered map as an intrusive treap: look-up, insertion and removal in O(log n), expected, with
 * random priorities that no client can choose. No step is ever longer than that (there is nothing
 * to rehash), which is why the daemon uses it for everything that grows.
 *
 * The owner embeds a struct map_node and supplies the order. There are no parent links: walking is
 * map_first() and map_after(), which also makes it safe to remove entries while walking.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct map_node {
    struct map_node *left;  /* smaller keys */
    struct map_node *right; /* larger keys */
    uint64_t prio;          /* heap order: larger is nearer to the root */
};

/* Compares a key with the key of an entry, as strcmp() does. */
typedef int (*map_cmp_fn)(const void *key, const struct map_node *n);

struct map {
    struct map_node *root; /* NULL when empty */
    map_cmp_fn cmp;        /* constant after map_init() */
    size_t count;          /* entries */
};

/* The object that embeds a map node. */
#define MAP_ENTRY(node, type, member) ((type *)((char *)(node)-offsetof(type, member)))

/* Makes an empty map. */
void map_init(struct map *m, map_cmp_fn cmp);
/* The entry with that key, or NULL. */
struct map_node *map_find(const struct map *m, const void *key);
/* Adds an entry. Requires: no entry has that key. */
void map_insert(struct map *m, const void *key, struct map_node *n);
/* Takes the entry with that key out. Returns: the entry, or NULL when there is none. */
struct map_node *map_remove(struct map *m, const void *key);
/* The entry with the smallest key, or NULL. */
struct map_node *map_first(const struct map *m);
/* The entry with the smallest key above the given one, or NULL. */
struct map_node *map_after(const struct map *m, const void *key);
