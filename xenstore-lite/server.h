// SPDX-License-Identifier: MIT
/*
 * The daemon's state without its I/O: store, watches, domains and connections, and the path every
 * request takes. Runs as well in a unit test, where memory plays the transports.
 *
 * A request is handled in this order: row of ops.def, who may send it, its transaction, handler,
 * answer queued, then the events that follow from it. So a client always gets the answer to its
 * request before events the request has caused.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "xenstore-lite/conn.h"
#include "xenstore-lite/journal.h"
#include "xenstore-lite/map.h"
#include "xenstore-lite/quota.h"
#include "xenstore-lite/store.h"
#include "xenstore-lite/turn.h"
#include "xenstore-lite/txn.h"
#include "xenstore-lite/watch.h"
#include "xenstore-lite/wire.h"

/* The special watches; also the index of their permissions. */
enum special { SPECIAL_INTRODUCE, SPECIAL_RELEASE, SPECIAL_COUNT };

/* What the store knows of one domain. */
struct domain {
    struct map_node by_id; /* in server.domains */
    uint16_t domid;        /* constant */
    bool introduced;       /* has been introduced and not released */
    bool seen;             /* the machine has told of it, or it has been introduced */
    uint64_t mfn;          /* its ring's frame, and the port to it, as introduced */
    uint32_t port;
    bool shutdown;      /* has shut down, and that has been announced */
    bool has_target;    /* acts for another domain */
    uint16_t target;    /* that one */
    uint64_t born;      /* generation at which the store first heard of it */
    long nodes;         /* nodes it owns in the live tree */
    long bytes;         /* of them */
    bool own_quota;     /* has limits of its own */
    struct quota quota; /* those */
    struct conn *conn;  /* its ring, or NULL */
};

/* What the machine says of one domain. */
struct domain_status {
    uint16_t domid;
    bool shutdown; /* has shut down or crashed, but still exists */
    bool dying;    /* is being taken apart, or has gone */
};

/* What the server asks of the machine it runs on. */
struct platform {
    /*
     * Maps a domain's ring and binds its event channel.
     * Errors: a negative errno; nothing is then left behind.
     */
    int (*connect)(void *ctx, uint16_t domid, uint64_t mfn, uint32_t port, struct transport *out);
    /* Asks about one domain; may be NULL. Errors: a negative errno when there is none. */
    int (*status)(void *ctx, uint16_t domid, struct domain_status *out);
    /*
     * Takes one domain that has changed since it was last taken; may be NULL.
     * Returns: 1, 0 when there are no more, or a negative errno when that cannot be asked.
     */
    int (*changed)(void *ctx, struct domain_status *out);
    /* Looks at all domains: server_domain_list(). Needed where server_news() is called. */
    void (*look)(void *ctx);
    void *ctx;
};

struct server {
    struct store store;
    struct watch_index watches;
    struct map domains;                   /* struct domain by id */
    size_t unseen;                        /* of them that the machine has not told of */
    struct conn *conns;                   /* all connections, newest first */
    struct conn *ready, **ready_tail;     /* those with work to do, longest waiting first */
    size_t ready_count;                   /* how many */
    struct perms *special[SPECIAL_COUNT]; /* who hears of the special watches */
    struct quota quota;                   /* limits of domains without their own */
    const struct platform *platform;      /* NULL: domains have no rings (--no-xen) */
    struct turns turns;                   /* transactions that collided */
    struct journal *journal;              /* NULL: nothing is kept */
    uint64_t requests;                    /* handled since the start */
    bool log_requests;                    /* one line a request on stderr */
};

/* One request being handled. */
struct request {
    struct server *server;
    struct conn *conn;
    struct perm_who who;           /* on whose behalf */
    const struct xsd_sockmsg *hdr; /* of the request */
    const char *body;              /* payload, followed by a NUL */
    size_t len;                    /* bytes of payload */
    struct txn *txn;               /* transaction it runs in, or NULL */
    struct buf *reply;             /* answer's payload */
    char path[WIRE_PATH_ROOM];     /* the absolute path it names */
    bool resumed;                  /* has waited for its turn */
    struct watch *new_watch;       /* set: announce itself after the answer */
    struct txn *committed;         /* set: its changes follow the answer, then it is freed */
    unsigned int specials;         /* bits of enum special to fire after the answer, */
    uint16_t special_domid;        /* about this domain */
};

/* A store with the root, /tool/xenstored and the control domain. */
void server_init(struct server *s, const struct platform *platform);
/* Closes all connections and frees everything. */
void server_destroy(struct server *s);

/* Handles the complete message in conn->in. */
void server_handle(struct server *s, struct conn *c);
/* Handles a request that had to wait. */
void server_resume(struct server *s, struct conn *c, const struct xsd_sockmsg *hdr,
                   const char *body);
/* Runs connections with work to do once round. Returns: true when some still have. */
bool server_run(struct server *s);

/* The record of a domain; made when absent. */
struct domain *server_domain(struct server *s, uint16_t domid);
/* The record of a domain, or NULL. */
struct domain *server_find_domain(struct server *s, uint16_t domid);
/* Says whether the machine has told of a domain. */
void server_set_seen(struct server *s, struct domain *d, bool seen);
/* Frees the record of a domain. Requires: no connection, no nodes. */
void server_forget(struct server *s, struct domain *d);
/* The limits that hold for a domain. */
const struct quota *server_quota(struct server *s, const struct domain *d);
/* Bytes that a domain makes the store keep: nodes, watches, transactions, what it has not taken. */
size_t server_memory(const struct domain *d);
/* Whether a request may add that many. The control domain's always may. */
bool server_has_room(const struct request *rq, long more);
/* On whose behalf a connection acts. */
struct perm_who server_who(struct server *s, const struct conn *c);
/* Whether a permission entry was set for an earlier domain of the same number. */
bool server_perm_is_stale(struct server *s, const struct perm_entry *e);
/* The name of a special watch, and back (SPECIAL_COUNT: not one). */
const char *server_special_name(enum special which);
enum special server_special(const char *path);
/* Whether there can be a watch of that name: a special one, or @releaseDomain of one domain. */
bool server_special_watch(const char *path);

/* Books what a view has done: node counts, journal, events. For the live or a published one. */
void server_committed(struct server *s, struct view *v);
/* Only the node counts. */
void server_book(struct server *s, struct view *v);
/* Fires a special watch, which is about a domain. */
void server_fire_special(struct server *s, enum special which, uint16_t domid);

/* Connects a domain, again if it is connected already. Returns: 1 when it is new, 0 when not. */
int server_introduce(struct server *s, uint16_t domid, uint64_t mfn, uint32_t port);
/* Gives an introduced domain the transport it talks through, instead of any it has. */
struct conn *server_attach(struct server *s, struct domain *d, const struct transport *t);
/* Connects the domains that a former daemon was connected to. */
void server_reconnect(struct server *s);
/* Disconnects a domain. Errors: -ENOENT when it is not introduced. */
int server_release(struct server *s, uint16_t domid);
/* The domain has shut down or crashed: announced once. */
void server_domain_shutdown(struct server *s, uint16_t domid);
/* The domain is gone for good: disconnects it, removes its nodes and forgets it. */
void server_domain_gone(struct server *s, uint16_t domid);

/* The machine tells that some domain has shut down, crashed or gone: finds out which. */
void server_news(struct server *s);
/* Takes note of what the machine says of one domain. */
void server_domain_changed(struct server *s, const struct domain_status *status);
/* Compares what the store knows with the machine's list of all domains, ordered by number. */
void server_domain_list(struct server *s, const struct domain_status *list, size_t count);

/* What a handler returns when the request waits and will be handled again. */
#define REQUEST_WAITS 1

/* Handlers, one for each row of ops.def. They return 0, REQUEST_WAITS or a negative errno. */
#define FILE(name)
#define OP(number, who, txn, handler, doc) int handler(struct request *rq);
#include "xenstore-lite/ops.def"
#undef OP
#undef FILE
