// SPDX-License-Identifier: MIT
/*
 * The path of a request, and what follows a change. See server.h.
 */
#include "xenstore-lite/server.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <xen/xen.h>

static const char *const special_names[SPECIAL_COUNT] = {
    [SPECIAL_INTRODUCE] = "@introduceDomain",
    [SPECIAL_RELEASE] = "@releaseDomain",
};

static int domain_cmp(const void *key, const struct map_node *n)
{
    return (int)*(const uint16_t *)key - (int)MAP_ENTRY(n, struct domain, by_id)->domid;
}

void server_init(struct server *s, const struct platform *platform)
{
    *s = (struct server){.quota = quota_default(), .platform = platform};
    s->ready_tail = &s->ready;
    turn_init(&s->turns);
    store_init(&s->store);
    watch_index_init(&s->watches);
    map_init(&s->domains, domain_cmp);
    for (int i = 0; i < SPECIAL_COUNT; i++) {
        s->special[i] = perms_new(0, 0, s->store.gen);
    }
    server_domain(s, 0)->introduced = true;
    server_domain(s, 0)->nodes = (long)s->store.nodes;
    server_domain(s, 0)->bytes = node_bytes(s->store.live.root);
    view_mkdir(&s->store.live, "/tool/xenstored", 0);
    server_committed(s, &s->store.live);
}

void server_destroy(struct server *s)
{
    struct map_node *n;

    s->journal = NULL;
    while (s->conns) {
        conn_free(s->conns);
    }
    while ((n = map_first(&s->domains)) != NULL) {
        struct domain *d = MAP_ENTRY(n, struct domain, by_id);

        map_remove(&s->domains, &d->domid);
        free(d);
    }
    for (int i = 0; i < SPECIAL_COUNT; i++) {
        perms_put(s->special[i]);
    }
    watch_index_destroy(&s->watches);
    store_destroy(&s->store);
}

const char *server_special_name(enum special which)
{
    return special_names[which];
}

enum special server_special(const char *path)
{
    for (int i = 0; i < SPECIAL_COUNT; i++) {
        if (strcmp(path, special_names[i]) == 0) {
            return (enum special)i;
        }
    }
    return SPECIAL_COUNT;
}

bool server_special_watch(const char *path)
{
    size_t len = strlen(special_names[SPECIAL_RELEASE]);
    char same[16];
    uint64_t domid;

    if (server_special(path) != SPECIAL_COUNT) {
        return true;
    }
    if (strncmp(path, special_names[SPECIAL_RELEASE], len) != 0 || path[len] != '/' ||
        wire_number(path + len + 1, DOMID_FIRST_RESERVED - 1, &domid) < 0) {
        return false;
    }
    /* A number with zeros before it would never be met. */
    snprintf(same, sizeof(same), "%u", (unsigned int)domid);
    return strcmp(path + len + 1, same) == 0;
}

const struct quota *server_quota(struct server *s, const struct domain *d)
{
    return d && d->own_quota ? &d->quota : &s->quota;
}

size_t server_memory(const struct domain *d)
{
    const struct conn *c = d->conn;

    return (size_t)d->bytes + (c ? c->watches.bytes + c->txn_bytes + c->out_bytes : 0);
}

bool server_has_room(const struct request *rq, long more)
{
    const struct domain *d = rq->conn->domain;

    return rq->who.privileged || !d || more <= 0 ||
           server_memory(d) + (size_t)more <= server_quota(rq->server, d)->memory;
}

struct perm_who server_who(struct server *s, const struct conn *c)
{
    struct perm_who who = {.domid = c->domid, .privileged = c->domid == 0};
    const struct domain *d = c->domain;

    if (d) {
        who.born = d->born;
        who.has_target = d->has_target;
        who.target = d->target;
        if (d->has_target) {
            const struct domain *target = server_find_domain(s, d->target);

            who.target_born = target ? target->born : UINT64_MAX;
        }
    }
    return who;
}

bool server_perm_is_stale(struct server *s, const struct perm_entry *e)
{
    const struct domain *d = server_find_domain(s, e->domid);

    return !d || e->gen < d->born;
}

/* A change looked at by the watches around it. */
struct firing {
    struct server *server;
    const struct perms *perms; /* of the node changed */
    const struct perms *old;   /* before, or NULL */
    const struct change *gone; /* for watches below a removed node */
};

static void fire_one(void *ctx, struct watch *w, const char *path)
{
    const struct firing *f = ctx;
    struct conn *c = w->owner;
    struct perm_who who = server_who(f->server, c);

    /* Somebody who has just lost the right to read may still learn that. */
    if ((perms_access(f->perms, &who) & PERM_READ) ||
        (f->old && (perms_access(f->old, &who) & PERM_READ))) {
        conn_event(c, w, path);
    }
}

/* A watch below a removed node: told when its own node was among those removed. */
static void fire_below(void *ctx, struct watch *w, const char *path)
{
    struct firing *f = ctx;
    const struct node *n = node_find(f->gone->gone, path + f->gone->path->len);

    if (n) {
        struct firing own = {.server = f->server, .perms = n->perms};

        fire_one(&own, w, path);
    }
}

static void book(struct server *s, const struct view *v)
{
    store_count(&s->store, v);
    for (size_t i = 0; i < v->delta_count; i++) {
        const struct owner_delta *delta = &v->deltas[i];

        if (delta->nodes != 0 || delta->bytes != 0) {
            struct domain *d = server_domain(s, delta->domid);

            d->nodes += delta->nodes;
            d->bytes += delta->bytes;
        }
    }
}

void server_book(struct server *s, struct view *v)
{
    book(s, v);
    view_clear(v);
}

static void note_change(struct server *s, const struct change *ch)
{
    if (ch->gone) {
        journal_rm(s->journal, ch->path->data);
    } else {
        journal_node(s->journal, s->store.live.root, ch->path->data);
    }
}

void server_committed(struct server *s, struct view *v)
{
    book(s, v);
    for (size_t i = 0; i < v->change_count; i++) {
        const struct change *ch = &v->changes[i];
        struct firing f = {.server = s, .perms = ch->perms, .old = ch->old, .gone = ch};

        note_change(s, ch);
        watch_match(&s->watches, ch->path->data, fire_one, &f);
        if (ch->gone) {
            watch_match_below(&s->watches, ch->path->data, fire_below, &f);
        }
    }
    view_clear(v);
}

/* Who has not asked which domain it is hears the bare name, as ever. */
static void fire_special(void *ctx, struct watch *w, const char *path)
{
    fire_one(ctx, w, w->depth == WATCH_ANY_DEPTH ? w->path : path);
}

void server_fire_special(struct server *s, enum special which, uint16_t domid)
{
    struct firing f = {.server = s, .perms = s->special[which]};
    char path[32];

    snprintf(path, sizeof(path), "%s/%u", special_names[which], domid);
    watch_match(&s->watches, path, fire_special, &f);
}

/* One row of ops.def as data. */
struct op {
    const char *name;
    bool control;
    bool in_txn;
    int (*handler)(struct request *rq);
};

static bool find_op(uint32_t type, struct op *op)
{
    switch (type) {
#define FILE(name)
#define ANY() false
#define CONTROL() true
#define TXN() true
#define NOTXN() false
#define OP(number, who, txn, handler, doc)                                                         \
    case number:                                                                                   \
        *op = (struct op){#number, who, txn, handler};                                             \
        return true;
#include "xenstore-lite/ops.def"
#undef OP
#undef NOTXN
#undef TXN
#undef CONTROL
#undef ANY
#undef FILE
    default:
        return false;
    }
}

static int call_op(struct request *rq, const struct op *op)
{
    if (op->control && !rq->who.privileged) {
        return -EACCES;
    }
    if (op->in_txn && rq->hdr->tx_id != 0) {
        rq->txn = conn_find_txn(rq->conn, rq->hdr->tx_id);
        if (!rq->txn) {
            return -ENOENT;
        }
        if (!rq->who.privileged && rq->hdr->type != XS_TRANSACTION_END &&
            (txn_size(rq->txn) > server_quota(rq->server, rq->conn->domain)->transaction_nodes ||
             !server_has_room(rq, 1))) {
            return -ENOSPC;
        }
    }
    return op->handler(rq);
}

/* Events come after the answer, so that the client knows its request as done when it sees them. */
static void after_answer(struct server *s, struct request *rq)
{
    if (rq->new_watch) {
        conn_event(rq->conn, rq->new_watch, rq->new_watch->path);
    }
    if (rq->committed) {
        server_committed(s, &rq->committed->view);
        txn_free(rq->committed);
    }
    if (s->store.live.change_count > 0) {
        server_committed(s, &s->store.live);
    }
    for (int i = 0; i < SPECIAL_COUNT; i++) {
        if (rq->specials & (1U << i)) {
            server_fire_special(s, (enum special)i, rq->special_domid);
        }
    }
}

static void handle(struct request *rq)
{
    struct server *s = rq->server;
    struct conn *c = rq->conn;
    struct buf reply = {0};
    struct op op = {.name = "unknown"};
    int rc = -ENOSYS;

    rq->who = server_who(s, c);
    rq->reply = &reply;
    if (find_op(rq->hdr->type, &op)) {
        rc = call_op(rq, &op);
    }
    if (rc == 0) {
        conn_answer(c, rq->hdr->type, rq->hdr, reply.data, reply.len);
    } else if (rc < 0) {
        const char *name = wire_error_name(-rc);

        conn_answer(c, XS_ERROR, rq->hdr, name, strlen(name) + 1);
    }
    if (s->log_requests) {
        fprintf(stderr, "xenstored: domain %u %s tx %u \"%s\": %s\n", c->domid, op.name,
                rq->hdr->tx_id, rq->body,
                rc < 0 ? wire_error_name(-rc) : (rc == REQUEST_WAITS ? "waits" : "ok"));
    }
    after_answer(s, rq);
    rq->reply = NULL;
    buf_free(&reply);
}

void server_handle(struct server *s, struct conn *c)
{
    struct request rq = {
        .server = s,
        .conn = c,
        .hdr = &c->in.hdr,
        .body = c->in.body,
        .len = c->in.hdr.len,
    };

    s->requests++;
    handle(&rq);
    turn_next(s);
}

void server_resume(struct server *s, struct conn *c, const struct xsd_sockmsg *hdr,
                   const char *body)
{
    struct request rq = {
        .server = s,
        .conn = c,
        .hdr = hdr,
        .body = body,
        .len = hdr->len,
        .resumed = true,
    };

    handle(&rq);
}

bool server_run(struct server *s)
{
    size_t turns = s->ready_count;

    turn_next(s);
    /* Once round those that are ready now; who gets ready meanwhile waits for the next round. */
    while (turns-- > 0 && s->ready) {
        struct conn *c = s->ready;
        bool more;

        s->ready = c->next_ready;
        if (!s->ready) {
            s->ready_tail = &s->ready;
        }
        s->ready_count--;
        /* Still marked ready while it runs: what it queues for itself goes out in this turn. */
        more = conn_run(c);
        c->is_ready = false;
        if (c->dead) {
            conn_free(c);
        } else if (more) {
            conn_wake(c);
        }
    }
    return s->ready != NULL;
}
