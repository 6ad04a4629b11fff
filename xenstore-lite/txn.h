// SPDX-License-Identifier: MIT
/*
 * Transactions: a snapshot to read from and edit, a record of what was looked at and changed, and
 * the decision at the end.
 *
 * The snapshot is a held root, so a transaction sees the store as it was at its start plus its own
 * edits, and costs O(1) to open. At the end nothing is copied when nobody else has changed
 * anything. Otherwise every path recorded is compared between snapshot and live tree; a difference
 * in the part the transaction depended on is a conflict, anything else is not. Without conflict the
 * edits are repeated on the live tree.
 *
 *     start: base = live root     end: live root == base?      -> publish the view
 *     work:  view, accesses,           nothing accessed differs -> repeat edits on live, publish
 *            edits                     else                     -> -EAGAIN
 *
 * One that has changed nothing has seen one state of the store and always ends well.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "xenstore-lite/map.h"
#include "xenstore-lite/store.h"

/* What a transaction depends on at a path; that the node exists, or does not, always counts. */
enum {
    TXN_EXISTS = 0,
    TXN_VALUE = 1,   /* its contents */
    TXN_PERMS = 2,   /* its permissions */
    TXN_KIDS = 4,    /* which children it has */
    TXN_SUBTREE = 8, /* everything below it */
};

struct txn_edit;

struct txn {
    struct map_node by_id; /* among the transactions of a connection */
    uint32_t id;           /* the client's name for it */
    bool lost;             /* a former daemon's: what it has changed is gone, it must be repeated */
    struct node *base;     /* held: the live root at the start */
    struct view view;      /* the transaction's own tree */
    struct map accesses;   /* paths it depends on */
    struct txn_edit *edits; /* in order */
    size_t edit_count, edit_room;
    size_t bytes;  /* it holds, about */
    size_t *total; /* its owner's sum of them, or NULL */
};

/* What it holds is added to *total for as long as it exists; NULL: nobody asks. */
struct txn *txn_new(struct store *s, uint32_t id, size_t *total);
void txn_free(struct txn *t);

/* What it has grown to: paths looked at, or edits when those are more (of one path, again and
 * again).
 */
static inline size_t txn_size(const struct txn *t)
{
    return t->edit_count > t->accesses.count ? t->edit_count : t->accesses.count;
}

/* Records that the transaction depends on a part (TXN_ bits) of the node at a path. */
void txn_depend(struct txn *t, const char *path, unsigned int what);

/* Edits of the transaction's tree; arguments as for view_write() and its siblings. */
void txn_write(struct txn *t, const char *path, const void *data, size_t len, int creator);
void txn_mkdir(struct txn *t, const char *path, int creator);
void txn_rm(struct txn *t, const char *path);
void txn_set_perms(struct txn *t, const char *path, struct perms *p);

/* Whether something it depends on differs between its start and the tree of a root. */
bool txn_conflicts(const struct txn *t, struct node *root);

/*
 * Makes the view derive from the live tree, ready to be published.
 * Errors: -EAGAIN when something it depends on has changed since the start.
 */
int txn_resolve(struct txn *t, struct store *s);
