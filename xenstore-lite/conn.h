// SPDX-License-Identifier: MIT
/*
 * A connection: a client of the store, whatever carries its bytes.
 *
 * Answers and events wait in one queue. An event that waits is not queued twice, and when the queue
 * is over its limit an event is cut down to the path of its watch, so that what waits is bounded by
 * the number of watches. Requests are not read while too many answers wait: a client that does not
 * read only stops itself.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "xenstore-lite/map.h"
#include "xenstore-lite/mem.h"
#include "xenstore-lite/watch.h"
#include "xenstore-lite/wire.h"

struct server;
struct domain;
struct txn;
struct journal;

/* What carries the bytes. read and write return bytes moved, 0 for "not now", or a negative errno.
 */
struct transport {
    ssize_t (*read)(void *io, void *data, size_t len);
    ssize_t (*write)(void *io, const void *data, size_t len);
    /* Tells the other side that bytes have moved; may be NULL. */
    void (*kick)(void *io);
    /* Whether the other side asks to start afresh, and doing so; may be NULL. */
    bool (*wants_reset)(void *io);
    void (*reset)(void *io);
    /*
     * For a stream that outlives the daemon, all three, else NULL. The positions up to which bytes
     * have been read and written; lets the other side know that what was read so far is done with;
     * goes on reading at a position.
     */
    void (*where)(void *io, uint32_t *in, uint32_t *out);
    void (*settle)(void *io);
    void (*go_on)(void *io, uint32_t in);
    /* Marks the transport broken for a reason (a negative errno); may be NULL. */
    void (*fail)(void *io, int reason);
    /* Frees the transport. */
    void (*close)(void *io);
    void *io;
};

struct out_msg;

struct conn {
    struct server *server;
    struct conn *next, **link; /* in server.conns */
    struct conn *next_ready;   /* in server.ready */
    bool is_ready;             /* is there */
    bool dead;                 /* to be freed: the client has gone */
    bool broken;               /* ignored until it is introduced again: it broke the protocol */
    bool told;                 /* that has been logged, once however often it does so */
    uint16_t domid;            /* who is at the other end */
    struct domain *domain;     /* NULL on a socket */
    struct transport t;
    uint32_t in_pos;                 /* of the transport: read and in the journal's next record */
    uint32_t out_pos;                /* of the transport: where the end of the queue will be */
    struct wire_in in;               /* request being received */
    struct out_msg *out, **out_tail; /* messages to send, oldest first */
    size_t out_bytes;                /* of them */
    unsigned int answers;            /* of them not events */
    unsigned int parked;             /* requests that wait for their turn */
    struct map events;               /* of them events, by payload */
    struct watch_set watches;
    struct map txns;   /* struct txn by id */
    size_t txn_bytes;  /* what they hold */
    bool collided;     /* its last transaction met a conflict */
    uint32_t last_txn; /* id given last */
};

/* Adds a connection to the server. Takes over the transport. */
struct conn *conn_new(struct server *s, uint16_t domid, struct domain *d,
                      const struct transport *t);
/* Frees it with its watches and transactions. */
void conn_free(struct conn *c);
/* Drops watches, transactions, half-read requests and unsent messages. */
void conn_reset(struct conn *c);
/* Drops its open transactions. */
void conn_drop_txns(struct conn *c);
/* Puts it on the list of connections with work to do. */
void conn_wake(struct conn *c);
/* Sends and receives what can be. Returns: true when it stopped for fairness with work left. */
bool conn_run(struct conn *c);

/* A domain's connection to a former daemon, with nothing that carries it yet. */
struct conn *conn_remember(struct server *s, struct domain *d, uint32_t in_pos, uint32_t out_pos);
/* Adds a message to the queue of a remembered connection. */
void conn_requeue(struct conn *c, const struct xsd_sockmsg *hdr, const void *payload);
/* Goes on with a remembered connection: what has not left yet is sent. */
void conn_resume(struct conn *c, const struct transport *t);
/* Notes all messages that wait. */
void conn_note_queue(const struct conn *c, struct journal *j);
/* Queues an answer. */
void conn_answer(struct conn *c, uint32_t type, const struct xsd_sockmsg *to, const void *data,
                 size_t len);
/* Queues the event of a watch of this connection; `path` is what has changed. */
void conn_event(struct conn *c, const struct watch *w, const char *path);
/* The open transaction of that id, or NULL. */
struct txn *conn_find_txn(struct conn *c, uint32_t id);
