// SPDX-License-Identifier: MIT
/*
 * The journal: what the daemon must not forget when it is killed. Every batch of requests writes
 * one record of what it has changed before any answer to it leaves. A daemon that is started again
 * reads the records and goes on: the tree, domains, their watches, limits, half-received requests
 * and unsent answers are as they were.
 *
 * Rings go on by position. A ring's own indexes say how many bytes of the answers have left; the
 * records say how many bytes of requests are done with, and the index for that is only moved on
 * behind the record. So every request of a guest is done and answered exactly once.
 *
 * Not kept: clients on sockets, who see their connection end, and what an open transaction has
 * changed so far: it ends with EAGAIN, and is then repeated by its client.
 *
 * Pure: this file makes and reads bytes, journal_file.h keeps them.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "xenstore-lite/mem.h"
#include "xenstore-lite/store.h"

struct server;
struct conn;
struct domain;
struct watch;
struct xsd_sockmsg;

struct journal {
    struct buf pending; /* entries of the next record */
    /* Takes a whole record. */
    void (*sink)(void *ctx, const void *record, size_t len);
    void *ctx;
};

/* Each notes a fact for the next record. A journal that is NULL notes nothing. Of connections only
 * those of domains are kept. */

/* The node at path as it is now in a tree, and those above it that no record has yet. */
void journal_node(struct journal *j, struct node *root, const char *path);
void journal_rm(struct journal *j, const char *path);
void journal_domain(struct journal *j, const struct domain *d);
void journal_domain_gone(struct journal *j, uint16_t domid);
/* Permissions of the special watches, and the common limits. */
void journal_specials(struct journal *j, const struct server *s);
void journal_quota(struct journal *j, const struct server *s);
/* A connection is new, or starts afresh: nothing queued, no watches, no transactions. */
void journal_conn(struct journal *j, const struct conn *c);
void journal_conn_gone(struct journal *j, const struct conn *c);
/* How far its requests have been read, and what there is of the next one. */
void journal_received(struct journal *j, const struct conn *c);
/* A message was queued. */
void journal_queued(struct journal *j, const struct conn *c, const struct xsd_sockmsg *hdr,
                    const void *payload);
void journal_watch(struct journal *j, const struct conn *c, const struct watch *w);
void journal_unwatch(struct journal *j, const struct conn *c, const char *path, const char *token);
/* All watches and transactions of a connection have ended. */
void journal_unwatch_all(struct journal *j, const struct conn *c);
void journal_txn(struct journal *j, const struct conn *c, uint32_t id, bool open);
/* A request waits for its turn, or the one that has waited longest does not any more. */
void journal_parked(struct journal *j, const struct conn *c, const struct xsd_sockmsg *hdr,
                    const char *body);
void journal_unparked(struct journal *j, const struct conn *c);

/* Hands what was noted to the sink as one record. */
void journal_commit(struct journal *j, const struct server *s);
/* Notes and hands over everything the server holds, as many records. */
void journal_snapshot(struct journal *j, struct server *s);

/*
 * Applies the records in a run of bytes, up to the end or the first that is not whole.
 * Returns: bytes applied.
 */
size_t journal_replay(struct server *s, const void *data, size_t len);
