/* SPDX-License-Identifier: MIT */
/*
 * Store nodes the way tools use them; see node.h.
 *
 * libxenstore reports through errno, here it becomes a negative result. Values read from the store
 * may come from a guest: their length is bounded and what is not text ends at its first NUL.
 */
#include "dom0-tools/device/node.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "dom0-tools/storeclient/client.h"

/* How often a wait asks again without having been told of a change. */
#define WAIT_STEP_MS 50

/* Two tools that keep disturbing each other's transactions end up here after this many tries. */
#define TRANSACTION_TRIES_MAX 1000u

static int store_error(void)
{
    return errno != 0 ? -errno : -EIO;
}

struct node node_at(struct xs_handle *xs, xs_transaction_t transaction, const char *format, ...)
{
    struct node node = {.xs = xs, .transaction = transaction};
    va_list args;
    int len;

    va_start(args, format);
    len = vsnprintf(node.path, sizeof(node.path), format, args);
    va_end(args);
    if (len < 0 || (size_t)len >= sizeof(node.path)) {
        node.path[0] = '\0';
    }
    return node;
}

/* Path of a child, or of the node itself for NULL. */
static int child_path(const struct node *node, const char *name, char path[NODE_PATH_BYTES])
{
    int len;

    if (node->path[0] == '\0') {
        return -ENAMETOOLONG;
    }
    len = name == NULL ? snprintf(path, NODE_PATH_BYTES, "%s", node->path)
                       : snprintf(path, NODE_PATH_BYTES, "%s/%s", node->path, name);
    return len < 0 || len >= NODE_PATH_BYTES ? -ENAMETOOLONG : 0;
}

static int write_value(const struct node *node, const char *name, const char *format, va_list args)
{
    char path[NODE_PATH_BYTES];
    char value[NODE_VALUE_BYTES];
    int len;
    int rc = child_path(node, name, path);

    if (rc != 0) {
        return rc;
    }
    len = vsnprintf(value, sizeof(value), format, args);
    if (len < 0 || (size_t)len >= sizeof(value)) {
        return -E2BIG;
    }
    return xs_write(node->xs, node->transaction, path, value, (unsigned int)len) ? 0
                                                                                 : store_error();
}

int node_write(const struct node *node, const char *name, const char *format, ...)
{
    va_list args;
    int rc;

    va_start(args, format);
    rc = write_value(node, name, format, args);
    va_end(args);
    return rc;
}

void node_put(struct node *node, const char *name, const char *format, ...)
{
    va_list args;

    if (node->error == 0) {
        va_start(args, format);
        node->error = write_value(node, name, format, args);
        va_end(args);
    }
}

void node_make(struct node *node, uint32_t owner, uint32_t reader)
{
    struct xs_permissions perms[2] = {
        {.id = owner, .perms = XS_PERM_NONE},
        {.id = reader, .perms = XS_PERM_READ},
    };

    if (node->error != 0) {
        return;
    }
    if (node->path[0] == '\0') {
        node->error = -ENAMETOOLONG;
    } else if (!xs_mkdir(node->xs, node->transaction, node->path) ||
               !xs_set_permissions(node->xs, node->transaction, node->path, perms,
                                   owner == reader ? 1 : 2)) {
        node->error = store_error();
    }
}

int node_read(const struct node *node, const char *name, char *text, size_t text_bytes)
{
    char path[NODE_PATH_BYTES];
    unsigned int bytes;
    char *value;
    int rc = child_path(node, name, path);

    if (rc != 0) {
        return rc;
    }
    value = xs_read(node->xs, node->transaction, path, &bytes);
    if (value == NULL) {
        return store_error();
    }
    if (bytes >= text_bytes) {
        rc = -EOVERFLOW;
    } else {
        memcpy(text, value, bytes);
        text[bytes] = '\0';
    }
    free(value);
    return rc;
}

int node_number(const char *text, uint64_t *number)
{
    char *end;

    if (text == NULL) {
        return -ENOENT;
    }
    errno = 0;
    *number = strtoull(text, &end, 10);
    return text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0 ? -EINVAL : 0;
}

int node_read_number(const struct node *node, const char *name, uint64_t *number)
{
    char text[24] = "";
    int rc = node_read(node, name, text, sizeof(text));

    return rc != 0 ? rc : node_number(text, number);
}

enum node_state node_read_state(const struct node *node)
{
    uint64_t state;

    if (node_read_number(node, "state", &state) != 0 || state > NODE_STATE_RECONFIGURED) {
        return NODE_STATE_UNKNOWN;
    }
    return (enum node_state)state;
}

bool node_exists(const struct node *node)
{
    unsigned int bytes;
    void *value =
        node->path[0] != '\0' ? xs_read(node->xs, node->transaction, node->path, &bytes) : NULL;

    free(value);
    return value != NULL;
}

char **node_list(const struct node *node, unsigned int *count)
{
    *count = 0;
    return node->path[0] != '\0' ? xs_directory(node->xs, node->transaction, node->path, count)
                                 : NULL;
}

int node_remove(const struct node *node)
{
    if (node->path[0] == '\0') {
        return -ENAMETOOLONG;
    }
    if (!xs_rm(node->xs, node->transaction, node->path) && errno != ENOENT) {
        return store_error();
    }
    return 0;
}

/* One removal with its empty parents. */
struct prune {
    const struct node *node;
    const char *stop;
};

static int prune_body(xs_transaction_t transaction, void *context)
{
    const struct prune *prune = context;
    struct node at = *prune->node;
    int rc;

    at.transaction = transaction;
    rc = node_remove(&at);
    while (rc == 0) {
        char *slash = strrchr(at.path, '/');
        unsigned int count;
        char **children;

        if (slash == NULL || slash == at.path) {
            break;
        }
        *slash = '\0';
        if (strcmp(at.path, prune->stop) == 0) {
            break;
        }
        children = node_list(&at, &count);
        free(children);
        if (children == NULL) {
            continue; /* gone already: look at its parent */
        }
        if (count != 0) {
            break;
        }
        rc = node_remove(&at);
    }
    return rc;
}

int node_prune(const struct node *node, const char *stop)
{
    struct prune prune = {.node = node, .stop = stop};

    if (node->transaction != XBT_NULL) {
        return prune_body(node->transaction, &prune);
    }
    return node_transaction(node->xs, prune_body, &prune);
}

int node_transaction(struct xs_handle *xs, int (*body)(xs_transaction_t transaction, void *context),
                     void *context)
{
    for (unsigned int i = 0; i < TRANSACTION_TRIES_MAX; i++) {
        xs_transaction_t transaction = xs_transaction_start(xs);
        int rc;

        if (transaction == XBT_NULL) {
            return store_error();
        }
        rc = body(transaction, context);
        if (rc != 0) {
            xs_transaction_end(xs, transaction, true);
            return rc;
        }
        if (xs_transaction_end(xs, transaction, false)) {
            return 0;
        }
        if (errno != EAGAIN) {
            return store_error();
        }
    }
    return -EBUSY;
}

/* A value below a node that may have gone. */
struct change {
    struct node node;
    const char *name;
    char value[NODE_VALUE_BYTES];
};

static int change_body(xs_transaction_t transaction, void *context)
{
    struct change *change = context;

    change->node.transaction = transaction;
    return node_exists(&change->node) ? node_write(&change->node, change->name, "%s", change->value)
                                      : -ENOENT;
}

int node_change(const struct node *node, const char *name, const char *format, ...)
{
    struct change change = {.node = *node, .name = name};
    va_list args;
    int len;

    if (node->path[0] == '\0') {
        return -ENAMETOOLONG;
    }
    va_start(args, format);
    len = vsnprintf(change.value, sizeof(change.value), format, args);
    va_end(args);
    if (len < 0 || (size_t)len >= sizeof(change.value)) {
        return -E2BIG;
    }
    return node_transaction(node->xs, change_body, &change);
}

static uint64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* Watches a path, which may be "@releaseDomain/N"; an older store has no events of one domain.
 * Returns: the path that is watched, or NULL. */
static const char *start_watch(struct xs_handle *xs, const char *path)
{
    static const char every[] = "@releaseDomain";

    if (strncmp(path, every, sizeof(every) - 1) == 0) {
        if (xs_watch_depth(xs, path, path, 1)) {
            return path;
        }
        return xs_watch(xs, every, path) ? every : NULL;
    }
    return xs_watch(xs, path, path) ? path : NULL;
}

int node_wait(struct xs_handle *xs, const char *path, bool (*done)(void *context), void *context,
              unsigned int timeout_ms)
{
    uint64_t deadline = now_ms() + timeout_ms;
    const char *watched;
    struct pollfd ready = {.events = POLLIN};
    bool finished;

    /* Often there is nothing to wait for, and a watch is two exchanges with the store. */
    if (done(context)) {
        return 0;
    }
    watched = start_watch(xs, path);
    ready.fd = xs_fileno(xs);

    while (!(finished = done(context)) && now_ms() < deadline) {
        char **event;

        poll(&ready, 1, WAIT_STEP_MS);
        while ((event = xs_check_watch(xs)) != NULL) {
            free(event);
        }
    }
    if (watched != NULL) {
        xs_unwatch(xs, watched, path);
    }
    return finished ? 0 : -ETIMEDOUT;
}
