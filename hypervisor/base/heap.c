// SPDX-License-Identifier: MIT
/*
 * Leftist heap. Each node's rank is its distance to the nearest free place below; a left child's
 * rank is never below its sibling's, so the right spine, along which heaps are merged, is O(log n)
 * long. Inserting and removing are one merge each. No locks; used by timers and run queues.
 */
#include "base/heap.h"

static unsigned rank_of(const struct heap_node *n)
{
    return n ? n->rank : 0;
}

/* Restore order of ranks at n; true if its own rank changed. */
static bool fix_rank(struct heap_node *n)
{
    if (rank_of(n->left) < rank_of(n->right)) {
        struct heap_node *child = n->left;
        n->left = n->right;
        n->right = child;
    }
    unsigned rank = rank_of(n->right) + 1;
    bool changed = rank != n->rank;
    n->rank = (uint8_t)rank;
    return changed;
}

/* Merge two heaps, `parent` becoming the parent of their root: down both right spines, which bounds
 * the depth of recursion by their lengths, then ranks on the way up. */
static struct heap_node *merge(struct heap_node *a, struct heap_node *b, struct heap_node *parent)
{
    if (a && b && heap_before(b->key, a->key)) {
        return merge(b, a, parent);
    }
    if (a && b) {
        a->right = merge(a->right, b, a);
        fix_rank(a);
    }
    struct heap_node *root = a ?: b;
    if (root) {
        root->parent = parent;
    }
    return root;
}

void heap_insert(struct heap_node **root, struct heap_node *n, uint64_t key)
{
    *n = (struct heap_node){.key = key, .rank = 1};
    *root = merge(*root, n, NULL);
}

void heap_remove(struct heap_node **root, struct heap_node *n)
{
    struct heap_node *parent = n->parent, *rest = merge(n->left, n->right, parent);
    *(!parent ? root : parent->left == n ? &parent->left : &parent->right) = rest;
    /* Ranks above change only as long as they are those of a right spine: O(log n) steps. */
    while (parent && fix_rank(parent)) {
        parent = parent->parent;
    }
    n->rank = 0;
}
