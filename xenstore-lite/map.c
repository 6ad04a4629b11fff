// SPDX-License-Identifier: MIT
/*
 * The ordered map of map.h.
 */
#include "xenstore-lite/map.h"

#include "xenstore-lite/mem.h"

void map_init(struct map *m, map_cmp_fn cmp)
{
    *m = (struct map){.cmp = cmp};
}

struct map_node *map_find(const struct map *m, const void *key)
{
    struct map_node *n = m->root;

    while (n) {
        int c = m->cmp(key, n);

        if (c == 0) {
            return n;
        }
        n = c < 0 ? n->left : n->right;
    }
    return NULL;
}

/* Cuts a treap in two: keys below `key` go to *low, the others to *high. */
static void split(const struct map *m, struct map_node *t, const void *key, struct map_node **low,
                  struct map_node **high)
{
    while (t) {
        if (m->cmp(key, t) <= 0) {
            *high = t;
            high = &t->left;
            t = t->left;
        } else {
            *low = t;
            low = &t->right;
            t = t->right;
        }
    }
    *low = NULL;
    *high = NULL;
}

void map_insert(struct map *m, const void *key, struct map_node *n)
{
    struct map_node **slot = &m->root;

    n->prio = mem_random();
    while (*slot && (*slot)->prio >= n->prio) {
        slot = m->cmp(key, *slot) < 0 ? &(*slot)->left : &(*slot)->right;
    }
    split(m, *slot, key, &n->left, &n->right);
    *slot = n;
    m->count++;
}

struct map_node *map_remove(struct map *m, const void *key)
{
    struct map_node **slot = &m->root;
    struct map_node *n, *a, *b;

    while (*slot) {
        int c = m->cmp(key, *slot);

        if (c == 0) {
            break;
        }
        slot = c < 0 ? &(*slot)->left : &(*slot)->right;
    }
    n = *slot;
    if (!n) {
        return NULL;
    }
    a = n->left;
    b = n->right;
    while (a && b) {
        if (a->prio > b->prio) {
            *slot = a;
            slot = &a->right;
            a = a->right;
        } else {
            *slot = b;
            slot = &b->left;
            b = b->left;
        }
    }
    *slot = a ? a : b;
    m->count--;
    return n;
}

struct map_node *map_first(const struct map *m)
{
    struct map_node *n = m->root;

    while (n && n->left) {
        n = n->left;
    }
    return n;
}

struct map_node *map_after(const struct map *m, const void *key)
{
    struct map_node *n = m->root, *best = NULL;

    while (n) {
        if (m->cmp(key, n) < 0) {
            best = n;
            n = n->left;
        } else {
            n = n->right;
        }
    }
    return best;
}
