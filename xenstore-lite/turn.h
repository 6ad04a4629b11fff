// SPDX-License-Identifier: MIT
/*
 * Turns: how clients whose transactions keep colliding all get through.
 *
 * Whoever met a conflict has its next transaction started in its turn, one such at a time. While it
 * runs, a commit of somebody else that would break it waits (and then meets the conflict it would
 * have caused). A turn ends with its transaction or after TURN_LIMIT_MS, so a client that dawdles
 * holds up others for that long and no longer. Who never met a conflict never waits to start.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "xenstore-lite/wire.h"

#define TURN_LIMIT_MS 100

struct conn;
struct journal;
struct request;
struct server;
struct turn_wait;
struct txn;
struct xsd_sockmsg;

struct turns {
    struct txn *holder;             /* whose turn it is, or NULL */
    uint64_t deadline_ms;           /* when it ends at the latest */
    struct turn_wait *first, **end; /* requests that wait, longest waiting first */
};

void turn_init(struct turns *t);
/* Whether a start of this connection has to wait. */
bool turn_start_waits(const struct request *rq);
/* Whether the commit of a resolved transaction has to wait. */
bool turn_commit_waits(const struct request *rq, const struct txn *t);
/* Keeps the request until it can go on; nothing is answered yet. */
void turn_park(struct request *rq);
/* It is this transaction's turn. */
void turn_take(struct server *s, struct txn *t);
/* The transaction has ended, or is about to be freed. */
void turn_over(struct server *s, const struct txn *t);
/* The connection goes: forgets its waiting requests. */
void turn_forget(struct server *s, const struct conn *c);
/* For the journal: notes all requests that wait, */
void turn_note_parked(const struct server *s, struct journal *j);
/* has one wait that a former daemon had wait (-EINVAL: nothing that ever waits), */
int turn_park_again(struct server *s, struct conn *c, const struct xsd_sockmsg *hdr,
                    const char *body);
/* and forgets the one of a connection that has waited longest. */
void turn_forget_first(struct server *s, const struct conn *c);
/* Lets waiting requests go on, as far as it is their turn. */
void turn_next(struct server *s);
/* Milliseconds until a turn has to be taken away, or -1. */
int turn_timeout(const struct server *s);
