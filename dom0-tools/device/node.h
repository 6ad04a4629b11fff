/* SPDX-License-Identifier: MIT */
/*
 * Store nodes the way tools use them: formatted paths, permissions, waiting, tidy removal.
 *
 * A thin layer over libxenstore. Paths are made here and checked for length, so callers never
 * handle buffers. Inside a transaction every function may be repeated; node_transaction() does the
 * repeating when the store says another client was faster.
 * Used by device/, console/ and vane/life*.c.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <xenstore.h>

#define NODE_PATH_BYTES 512
#define NODE_VALUE_BYTES 4096

/* States of a device's end in the store; XenbusState* of the public headers as plain numbers. */
enum node_state {
    NODE_STATE_UNKNOWN = 0,
    NODE_STATE_INITIALISING = 1,
    NODE_STATE_INIT_WAIT = 2,
    NODE_STATE_INITIALISED = 3,
    NODE_STATE_CONNECTED = 4,
    NODE_STATE_CLOSING = 5,
    NODE_STATE_CLOSED = 6,
    NODE_STATE_RECONFIGURING = 7,
    NODE_STATE_RECONFIGURED = 8,
};

/* A node and the transaction it is read or written in (XBT_NULL: none). */
struct node {
    struct xs_handle *xs;
    xs_transaction_t transaction;
    int error; /* of the first node_put() that failed, else 0 */
    char path[NODE_PATH_BYTES];
};

/* Names a node. A path that is too long becomes "" and every use of it fails with -ENAMETOOLONG. */
struct node node_at(struct xs_handle *xs, xs_transaction_t transaction, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Writes a child of the node, or the node itself when name is NULL. */
int node_write(const struct node *node, const char *name, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* As node_write() outside a transaction, but only while the node itself exists: of a domain that
 * has gone in the meantime nothing is made anew. Errors: -ENOENT then. */
int node_change(const struct node *node, const char *name, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* As node_write(), for lists of writes: does nothing after a failure, which stays in ->error. */
void node_put(struct node *node, const char *name, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Makes an empty node owned by `owner` that `reader` may read, for what is created below to
 * inherit. An owner may also write. Failures are kept as by node_put(). */
void node_make(struct node *node, uint32_t owner, uint32_t reader);

/* Reads a child (or the node itself) as text. Errors: -ENOENT, -EOVERFLOW, as the store gives. */
int node_read(const struct node *node, const char *name, char *text, size_t text_bytes);

/* A value as unsigned decimal number. Errors: -EINVAL when it is none, -ENOENT for NULL. */
int node_number(const char *text, uint64_t *number);

/* Reads a child as unsigned decimal number. Errors: -EINVAL when it is none, and the above. */
int node_read_number(const struct node *node, const char *name, uint64_t *number);

/* State of a device's end; UNKNOWN when it cannot be read. */
enum node_state node_read_state(const struct node *node);

bool node_exists(const struct node *node);

/* Names of the children; free() it. NULL when there is no such node. */
char **node_list(const struct node *node, unsigned int *count);

/* Removes the node and all below; a missing node is no error. */
int node_remove(const struct node *node);

/* Removes the node, then each parent that has become empty, up to but not including `stop`. */
int node_prune(const struct node *node, const char *stop);

/* Runs body in a transaction, again for as long as the store reports a conflict.
 * Returns: body's error, which aborts the transaction, or the store's. */
int node_transaction(struct xs_handle *xs, int (*body)(xs_transaction_t transaction, void *context),
                     void *context);

/* Waits until done() is true: asked at once, at every change under `path`, and regularly, for
 * conditions that depend on more than the store. "@releaseDomain/N" waits for domain N alone.
 * Returns: 0, or -ETIMEDOUT. */
int node_wait(struct xs_handle *xs, const char *path, bool (*done)(void *context), void *context,
              unsigned int timeout_ms);
