// SPDX-License-Identifier: MIT
/*
 * Watches: who wants to hear of changes where.
 *
 * All watches hang in one trie with a node for each path component, so that the watches a change
 * concerns are found along its path, in O(depth * log n) whatever their number elsewhere. Watches
 * of one connection are also kept in a set of its own, ordered by path and token.
 *
 * The special names (@introduceDomain, @releaseDomain) have a trie of their own: no path in the
 * tree can be confused with them. The domain an event is about is the level below the name.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "xenstore-lite/map.h"

struct watch_place;

/* A watch's depth when its client names none: whatever is below concerns it. */
#define WATCH_ANY_DEPTH UINT32_MAX

/* One watch. */
struct watch {
    struct map_node by_key;    /* in the set of its connection */
    struct watch_place *place; /* where in the trie */
    struct watch *next;        /* others at the same place */
    struct watch **link;       /* what points to this one */
    void *owner;               /* the connection */
    const char *path;          /* absolute, or special */
    const char *token;         /* the client's word for it */
    size_t home_len;           /* bytes to cut from event paths of a relative watch, else 0 */
    uint32_t depth;            /* levels below `path` that concern it */
    char text[];               /* holds path and token */
};

/* The watches of one connection. */
struct watch_set {
    struct map by_key;
    size_t bytes; /* they take, about */
};

/* All watches. */
struct watch_index {
    struct watch_place *tree;
    struct watch_place *special;
};

/* Told of a watch that concerns a change, and of the path to report. */
typedef void (*watch_fn)(void *ctx, struct watch *w, const char *event_path);

void watch_index_init(struct watch_index *x);
/* Requires: no watches left. */
void watch_index_destroy(struct watch_index *x);
void watch_set_init(struct watch_set *s);

/* Bytes that a watch takes, about, with all places on the way to it. */
size_t watch_cost(const char *path, const char *token);

/*
 * Adds a watch of any depth; `home_len` as in struct watch.
 * Errors: -EEXIST when the set has that path and token already.
 */
int watch_add(struct watch_index *x, struct watch_set *s, void *owner, const char *path,
              const char *token, size_t home_len, struct watch **out);
/* Removes a watch. Errors: -ENOENT. */
int watch_remove(struct watch_set *s, const char *path, const char *token);
/* The watch after one in a set, as their map nodes, or NULL. */
struct map_node *watch_next(struct watch_set *s, const struct map_node *n);
/* Removes all watches of a set. */
void watch_remove_all(struct watch_set *s);

/* Calls fn for every watch at `path`, or above it but no more levels than its depth. The path may
 * be a special name, with a domain's number as a level below. */
void watch_match(struct watch_index *x, const char *path, watch_fn fn, void *ctx);
/* Calls fn for every watch strictly below `path`, each with its own path. */
void watch_match_below(struct watch_index *x, const char *path, watch_fn fn, void *ctx);
