/* SPDX-License-Identifier: MIT */
/*
 * What our client of the store offers beyond <xenstore.h>.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <xenstore.h>

/* Whether the daemon that was connected to is still there. What was read before is of one tree. */
bool xs_lasts(const struct xs_handle *h);

/* For who outlives the daemon: the connection while it lasts; else, it being closed, a new one
 * without watches, or NULL while no daemon is there. Takes what it has returned. */
struct xs_handle *xs_renew(struct xs_handle *h);

/* Reads nodes as xs_read() does, with one exchange for many; values[i] is to be freed, or NULL
 * where there is nothing to be read. Returns: false when the daemon has gone. */
bool xs_read_many(struct xs_handle *h, const char *const paths[], size_t count, char *values[]);

/* For every child of a path that has a node `name`: the child's name and that node's value, a NUL
 * behind each, and an empty name behind the last; to be freed. Nodes with a NUL in their value are
 * left out; so may be one that comes or goes meanwhile, if there are more than fit one exchange.
 * Returns: NULL where there is nothing to be read, or the store (Debian's) does not offer it. */
char *xs_read_children(struct xs_handle *h, const char *path, const char *name);

/* As xs_watch(), but of no more levels below the path than that. An event of "@releaseDomain" or
 * "@introduceDomain" with depth 1 has the domain's number behind a slash; so may "@releaseDomain"
 * itself have. Returns: false, and EINVAL for a store of an older protocol. */
bool xs_watch_depth(struct xs_handle *h, const char *path, const char *token, unsigned int depth);

/* Such a watch of a special name where the store offers it, else one whose events name nothing. */
bool xs_watch_domains(struct xs_handle *h, const char *name, const char *token);

/* Changes outside of transactions that follow are sent with the next request that is waited for, in
 * their order, and report success until xs_together_end() says what became of them: false, and
 * errno of the first that failed. */
void xs_together_begin(struct xs_handle *h);
bool xs_together_end(struct xs_handle *h);
