// SPDX-License-Identifier: MIT
/*
 * The tree of nodes.
 *
 * The tree is persistent in the sense of data structures: a node that has more than one holder is
 * never changed, an edit copies the few nodes on the way from the root to the place of the edit. So
 * holding the root is a snapshot, taken and given back in O(1), and an edit without any snapshot
 * around works in place. The children of a node are a treap ordered by name; looking one up, adding
 * or removing it is O(log n) in the number of siblings.
 *
 *     node "/"            kids -> "local" <-- root of the treap of children
 *       left/right: siblings       /     \
 *       kids: children          "tool"   "vm"
 *
 * A view is a root somebody edits: the store's own, or a transaction's. It gathers what follows
 * from the edits (nodes gained and lost per owner, paths changed) for whoever commits it.
 *
 * Paths here are absolute and valid (wire.h checks them); nothing here checks permissions or
 * quotas.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "xenstore-lite/mem.h"
#include "xenstore-lite/perm.h"

/* Creator of a node that takes over the owner of its parent. */
#define STORE_INHERIT_OWNER (-1)

struct node {
    uint32_t ref;       /* holders; above 1 the node is immutable */
    uint32_t prio;      /* heap order among siblings */
    bool kept;          /* the journal has it */
    struct node *left;  /* siblings with smaller names in this subtreap */
    struct node *right; /* siblings with larger names in this subtreap */
    struct node *kids;  /* root of the treap of children */
    uint32_t sib_count; /* nodes in this subtreap */
    size_t sib_bytes;   /* bytes of their names, a NUL for each included */
    uint64_t value_gen; /* generation of creation or of the last write */
    uint64_t perms_gen; /* generation of the permissions */
    uint64_t kids_gen;  /* generation of the last child gained or lost */
    struct blob *name;  /* last component of the path */
    struct blob *value; /* contents */
    struct perms *perms;
};

/* One path an edit has touched. */
struct change {
    struct blob *path;   /* absolute */
    struct perms *perms; /* of the node after the edit; of a removed one, its last */
    struct perms *old;   /* before the edit when they differed, else NULL */
    struct node *gone;   /* the removed node with all below it, else NULL */
};

/* Nodes an owner has gained or lost, and bytes of them. */
struct owner_delta {
    uint16_t domid;
    long nodes;
    long bytes;
};

struct view {
    struct node *root;      /* held */
    uint64_t *gen;          /* the store's generation counter */
    struct change *changes; /* in the order of the edits */
    size_t change_count, change_room;
    struct owner_delta *deltas; /* one for each owner met, by number */
    size_t delta_count, delta_room;
};

struct store {
    struct view live; /* the tree everybody sees */
    uint64_t gen;     /* counts every edit, never repeats */
    uint64_t nodes;   /* in the tree, the root included */
};

/* An empty tree: the root alone, owned by domain 0 and closed to others. */
void store_init(struct store *s);
void store_destroy(struct store *s);
/* Makes the tree of another view (whose root derives from the live one) the live tree. */
void store_publish(struct store *s, const struct view *v);
/* Counts the nodes a view of the live tree has gained or lost. */
void store_count(struct store *s, const struct view *v);

struct node *node_get(struct node *n);
void node_put(struct node *n);
/* The node at an absolute path below `root`, or NULL. O(depth * log n). */
struct node *node_find(struct node *root, const char *path);
/* Names of the children from byte `offset` of the list on, each with its NUL, while they fit `max`.
 */
void node_list(const struct node *n, size_t offset, size_t max, struct buf *out);
/* Calls fn for the children, in order of their names from that byte of the list on, until it
 * returns false. */
void node_each_kid(const struct node *n, size_t offset, bool (*fn)(void *ctx, struct node *kid),
                   void *ctx);
/* Bytes node_list() has in all. */
size_t node_list_bytes(const struct node *n);
/* Calls fn for a node and everything below it, parents first; path is the node's own. */
void node_walk(struct node *n, const char *path,
               void (*fn)(void *ctx, const char *path, struct node *n), void *ctx);

/* Calls fn for the nodes on the way from the root to a path, as far as they exist; the node of the
 * path itself is the last. */
void node_walk_to(struct node *root, const char *path,
                  void (*fn)(void *ctx, const char *path, struct node *n, bool last), void *ctx);

/* Starts editing: takes over the reference of `root`. */
void view_init(struct view *v, struct node *root, uint64_t *gen);
/* Drops root, changes and deltas. */
void view_destroy(struct view *v);
/* Forgets changes and deltas, keeps the root. */
void view_clear(struct view *v);

/*
 * Sets the contents of a node; creates it, and missing nodes above it, when absent. Created nodes
 * take their parent's permissions and `creator` as owner.
 */
void view_write(struct view *v, const char *path, const void *data, size_t len, int creator);
/* Creates a node as view_write() does, empty. Requires: the node is absent. */
void view_mkdir(struct view *v, const char *path, int creator);
/* Removes a node and all below it. Requires: the node exists and is not the root. */
void view_rm(struct view *v, const char *path);
/* Replaces the permissions (takes a reference). Requires: the node exists. */
void view_set_perms(struct view *v, const char *path, struct perms *p);
/* What the view adds for an owner (negative: removes). */
struct owner_delta view_owner_delta(const struct view *v, uint16_t domid);

/* Bytes that a node with a name, contents and permissions of these lengths takes, about. */
static inline long node_cost(size_t name, size_t value, size_t perms)
{
    return (long)(sizeof(struct node) + 3 * sizeof(struct blob) + name + value +
                  perms * sizeof(struct perm_entry));
}

static inline long node_bytes(const struct node *n)
{
    return node_cost(n->name->len, n->value->len, n->perms->count);
}
