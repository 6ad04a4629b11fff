// SPDX-License-Identifier: MIT
/*
 * What one domain may take of the store. The control domain is not limited, except that its
 * clients' unread answers have a bound too.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* name, default, meaning */
#define QUOTA_LIST(Q)                                                                              \
    Q(nodes, 1000, "nodes owned")                                                                  \
    Q(watches, 128, "watches set")                                                                 \
    Q(transactions, 10, "transactions open")                                                       \
    Q(node_size, 2048, "bytes of a node's contents")                                               \
    Q(permissions, 5, "entries of a node's permissions")                                           \
    Q(transaction_nodes, 1024, "nodes one transaction looks at, and changes it makes")             \
    Q(outstanding, 20, "answers not yet taken before requests wait")                               \
    Q(memory, 2621440, "bytes of nodes, watches, transactions, and of what is not yet taken")

struct quota {
#define Q(name, value, doc) uint32_t name; /* doc */
    QUOTA_LIST(Q)
#undef Q
};

/* One row of the table, for showing and changing by name. */
struct quota_row {
    const char *name;
    const char *doc;
    uint32_t *value;
};

/* The usual limits. */
struct quota quota_default(void);
/* The i-th limit of a set. Returns: false past the last. */
bool quota_row(struct quota *q, unsigned int i, struct quota_row *row);
/* Changes a limit by name. Errors: -ENOENT unknown name, -EINVAL not a number from 1 to 2^31. */
int quota_set(struct quota *q, const char *name, const char *value);
