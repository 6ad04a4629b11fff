// SPDX-License-Identifier: MIT
/*
 * Records: a header with length and checksum, then entries, each a kind and its fields in the
 * machine's byte order. See journal.h. What is read was written by a daemon like this one, yet
 * every length is checked: a journal may have been cut or damaged.
 */
#include "xenstore-lite/journal.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "xenstore-lite/server.h"

/* Of a snapshot: entries gather to records of about this size. */
#define SNAPSHOT_RECORD 65536

enum kind {
    KIND_GENERATION = 1,
    KIND_NODE,
    KIND_RM,
    KIND_DOMAIN,
    KIND_DOMAIN_GONE,
    KIND_SPECIALS,
    KIND_QUOTA,
    KIND_CONN,
    KIND_CONN_GONE,
    KIND_RECEIVED,
    KIND_QUEUED,
    KIND_WATCH,
    KIND_UNWATCH,
    KIND_UNWATCH_ALL,
    KIND_TXN,
    KIND_PARKED,
    KIND_UNPARKED,
    KIND_WATCH_DEPTH,
};

struct header {
    uint32_t len; /* of the entries */
    uint32_t sum; /* their CRC-32 */
};

/* ---- writing ---- */

static void put_u32(struct journal *j, uint32_t value)
{
    buf_add(&j->pending, &value, sizeof(value));
}

static void put_u64(struct journal *j, uint64_t value)
{
    buf_add(&j->pending, &value, sizeof(value));
}

static void put_bytes(struct journal *j, const void *data, size_t len)
{
    put_u32(j, (uint32_t)len);
    buf_add(&j->pending, data, len);
}

static void put_text(struct journal *j, const char *text)
{
    put_bytes(j, text, strlen(text) + 1);
}

static void put_perms(struct journal *j, const struct perms *p)
{
    put_u32(j, p->count);
    for (uint32_t i = 0; i < p->count; i++) {
        put_u64(j, p->e[i].gen);
        put_u32(j, (uint32_t)p->e[i].domid << 8 | p->e[i].bits);
    }
}

/* Whether the journal hears of a connection; if so an entry about it is begun. */
static bool begin(struct journal *j, const struct conn *c, enum kind kind)
{
    if (!j || !c->domain || !c->t.where) {
        return false;
    }
    put_u32(j, kind);
    put_u32(j, c->domid);
    return true;
}

static void put_node(struct journal *j, const char *path, struct node *n)
{
    put_u32(j, KIND_NODE);
    put_text(j, path);
    put_bytes(j, n->value->data, n->value->len);
    put_perms(j, n->perms);
    n->kept = true;
}

static void put_new_node(void *ctx, const char *path, struct node *n, bool last)
{
    if (last || !n->kept) {
        put_node(ctx, path, n);
    }
}

void journal_node(struct journal *j, struct node *root, const char *path)
{
    if (j) {
        node_walk_to(root, path, put_new_node, j);
    }
}

void journal_rm(struct journal *j, const char *path)
{
    if (j) {
        put_u32(j, KIND_RM);
        put_text(j, path);
    }
}

void journal_domain(struct journal *j, const struct domain *d)
{
    if (j) {
        put_u32(j, KIND_DOMAIN);
        put_u32(j, d->domid);
        put_u32(j, (uint32_t)d->introduced | (uint32_t)d->seen << 1 | (uint32_t)d->shutdown << 2 |
                       (uint32_t)d->has_target << 3 | (uint32_t)d->own_quota << 4 |
                       (uint32_t)d->target << 16);
        put_u64(j, d->born);
        put_u64(j, d->mfn);
        put_u32(j, d->port);
        buf_add(&j->pending, &d->quota, sizeof(d->quota));
    }
}

void journal_domain_gone(struct journal *j, uint16_t domid)
{
    if (j) {
        put_u32(j, KIND_DOMAIN_GONE);
        put_u32(j, domid);
    }
}

void journal_specials(struct journal *j, const struct server *s)
{
    if (j) {
        put_u32(j, KIND_SPECIALS);
        for (int i = 0; i < SPECIAL_COUNT; i++) {
            put_perms(j, s->special[i]);
        }
    }
}

void journal_quota(struct journal *j, const struct server *s)
{
    if (j) {
        put_u32(j, KIND_QUOTA);
        buf_add(&j->pending, &s->quota, sizeof(s->quota));
    }
}

void journal_conn(struct journal *j, const struct conn *c)
{
    if (begin(j, c, KIND_CONN)) {
        put_u32(j, c->in_pos);
        put_u32(j, c->out_pos - (uint32_t)c->out_bytes);
        put_u32(j, c->broken);
    }
}

void journal_conn_gone(struct journal *j, const struct conn *c)
{
    begin(j, c, KIND_CONN_GONE);
}

void journal_received(struct journal *j, const struct conn *c)
{
    if (begin(j, c, KIND_RECEIVED)) {
        size_t head = c->in.got < sizeof(c->in.hdr) ? c->in.got : sizeof(c->in.hdr);

        put_u32(j, c->in_pos);
        put_u32(j, (uint32_t)c->in.got);
        buf_add(&j->pending, &c->in.hdr, head);
        buf_add(&j->pending, c->in.body, c->in.got - head);
    }
}

void journal_queued(struct journal *j, const struct conn *c, const struct xsd_sockmsg *hdr,
                    const void *payload)
{
    if (begin(j, c, KIND_QUEUED)) {
        buf_add(&j->pending, hdr, sizeof(*hdr));
        buf_add(&j->pending, payload, hdr->len);
    }
}

void journal_watch(struct journal *j, const struct conn *c, const struct watch *w)
{
    bool any = w->depth == WATCH_ANY_DEPTH;

    if (begin(j, c, any ? KIND_WATCH : KIND_WATCH_DEPTH)) {
        put_text(j, w->path);
        put_text(j, w->token);
        put_u32(j, (uint32_t)w->home_len);
        if (!any) {
            put_u32(j, w->depth);
        }
    }
}

void journal_unwatch(struct journal *j, const struct conn *c, const char *path, const char *token)
{
    if (begin(j, c, KIND_UNWATCH)) {
        put_text(j, path);
        put_text(j, token);
    }
}

void journal_unwatch_all(struct journal *j, const struct conn *c)
{
    begin(j, c, KIND_UNWATCH_ALL);
}

void journal_txn(struct journal *j, const struct conn *c, uint32_t id, bool open)
{
    if (begin(j, c, KIND_TXN)) {
        put_u32(j, id);
        put_u32(j, open);
    }
}

void journal_parked(struct journal *j, const struct conn *c, const struct xsd_sockmsg *hdr,
                    const char *body)
{
    if (begin(j, c, KIND_PARKED)) {
        buf_add(&j->pending, hdr, sizeof(*hdr));
        put_text(j, body);
    }
}

void journal_unparked(struct journal *j, const struct conn *c)
{
    begin(j, c, KIND_UNPARKED);
}

void journal_commit(struct journal *j, const struct server *s)
{
    struct header h;

    if (!j || j->pending.len == 0) {
        return;
    }
    put_u32(j, KIND_GENERATION);
    put_u64(j, s->store.gen);
    h.len = (uint32_t)j->pending.len;
    h.sum = (uint32_t)crc32(0, (const Bytef *)j->pending.data, h.len);
    /* One piece, so that it is written as a whole. */
    buf_add(&j->pending, &h, sizeof(h));
    memmove(j->pending.data + sizeof(h), j->pending.data, h.len);
    memcpy(j->pending.data, &h, sizeof(h));
    j->sink(j->ctx, j->pending.data, j->pending.len);
    j->pending.len = 0;
}

struct snapshot {
    struct journal *j;
    struct server *s;
};

static void breathe(struct snapshot *snap)
{
    if (snap->j->pending.len >= SNAPSHOT_RECORD) {
        journal_commit(snap->j, snap->s);
    }
}

static void put_tree(void *ctx, const char *path, struct node *n)
{
    struct snapshot *snap = ctx;

    put_node(snap->j, path, n);
    breathe(snap);
}

static void put_conn(struct snapshot *snap, struct conn *c)
{
    struct map_node *n;

    journal_conn(snap->j, c);
    journal_received(snap->j, c);
    for (n = map_first(&c->watches.by_key); n; n = watch_next(&c->watches, n)) {
        journal_watch(snap->j, c, MAP_ENTRY(n, struct watch, by_key));
        breathe(snap);
    }
    for (n = map_first(&c->txns); n;
         n = map_after(&c->txns, &MAP_ENTRY(n, struct txn, by_id)->id)) {
        journal_txn(snap->j, c, MAP_ENTRY(n, struct txn, by_id)->id, true);
    }
    conn_note_queue(c, snap->j);
    breathe(snap);
}

void journal_snapshot(struct journal *j, struct server *s)
{
    struct snapshot snap = {j, s};
    struct map_node *n;

    journal_quota(j, s);
    journal_specials(j, s);
    for (n = map_first(&s->domains); n;
         n = map_after(&s->domains, &MAP_ENTRY(n, struct domain, by_id)->domid)) {
        journal_domain(j, MAP_ENTRY(n, struct domain, by_id));
        breathe(&snap);
    }
    node_walk(s->store.live.root, "/", put_tree, &snap);
    for (struct conn *c = s->conns; c; c = c->next) {
        put_conn(&snap, c);
    }
    turn_note_parked(s, j);
    journal_commit(j, s);
}

/* ---- reading ---- */

struct reader {
    const char *at, *end;
    bool bad; /* something was missing */
};

static const char *get(struct reader *r, size_t len)
{
    const char *at = r->at;

    if (r->bad || (size_t)(r->end - r->at) < len) {
        r->bad = true;
        return NULL;
    }
    r->at += len;
    return at;
}

static uint32_t get_u32(struct reader *r)
{
    uint32_t value = 0;
    const char *at = get(r, sizeof(value));

    if (at) {
        memcpy(&value, at, sizeof(value));
    }
    return value;
}

static uint64_t get_u64(struct reader *r)
{
    uint64_t value = 0;
    const char *at = get(r, sizeof(value));

    if (at) {
        memcpy(&value, at, sizeof(value));
    }
    return value;
}

static const char *get_bytes(struct reader *r, uint32_t *len)
{
    *len = get_u32(r);
    return get(r, *len);
}

/* A string with its NUL; "" when it is not there. */
static const char *get_text(struct reader *r)
{
    uint32_t len;
    const char *at = get_bytes(r, &len);

    if (!at || len == 0 || memchr(at, '\0', len) != at + len - 1) {
        r->bad = true;
        return "";
    }
    return at;
}

static struct perms *get_perms(struct reader *r)
{
    uint32_t count = get_u32(r);
    struct perms *p;

    if (r->bad || count == 0 || count > (size_t)(r->end - r->at) / 12) {
        r->bad = true;
        return NULL;
    }
    p = mem_zalloc(sizeof(*p) + count * sizeof(p->e[0]));
    p->ref = 1;
    p->count = count;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t word;

        p->e[i].gen = get_u64(r);
        word = get_u32(r);
        p->e[i].domid = (uint16_t)(word >> 8);
        p->e[i].bits = (uint8_t)word;
    }
    return p;
}

static void read_node(struct server *s, struct reader *r)
{
    const char *path = get_text(r);
    uint32_t len;
    const char *value = get_bytes(r, &len);
    struct perms *p = get_perms(r);

    if (r->bad || path[0] != '/') {
        r->bad = true;
    } else {
        view_write(&s->store.live, path, value, len, STORE_INHERIT_OWNER);
        view_set_perms(&s->store.live, path, p);
    }
    perms_put(p);
}

static void read_rm(struct server *s, struct reader *r)
{
    const char *path = get_text(r);

    if (!r->bad && path[0] == '/' && path[1] && node_find(s->store.live.root, path)) {
        view_rm(&s->store.live, path);
    }
}

static void read_domain(struct server *s, struct reader *r)
{
    uint16_t domid = (uint16_t)get_u32(r);
    uint32_t flags = get_u32(r);
    uint64_t born = get_u64(r), mfn = get_u64(r);
    uint32_t port = get_u32(r);
    struct domain *d;
    const char *quota = get(r, sizeof(d->quota));

    if (!quota) {
        return;
    }
    d = server_domain(s, domid);
    d->introduced = flags & 1;
    server_set_seen(s, d, flags & 2);
    d->shutdown = flags & 4;
    d->has_target = flags & 8;
    d->own_quota = flags & 16;
    d->target = (uint16_t)(flags >> 16);
    d->born = born;
    d->mfn = mfn;
    d->port = port;
    memcpy(&d->quota, quota, sizeof(d->quota));
}

static void read_domain_gone(struct server *s, struct reader *r)
{
    struct domain *d = server_find_domain(s, (uint16_t)get_u32(r));

    if (!r->bad && d && d->domid != 0) {
        if (d->conn) {
            conn_free(d->conn);
        }
        /* What it has lost so far in this record is counted on it. */
        server_book(s, &s->store.live);
        server_forget(s, d);
    }
}

static void read_specials(struct server *s, struct reader *r)
{
    for (int i = 0; i < SPECIAL_COUNT; i++) {
        struct perms *p = get_perms(r);

        if (p) {
            perms_put(s->special[i]);
            s->special[i] = p;
        }
    }
}

static void read_quota(struct server *s, struct reader *r)
{
    const char *quota = get(r, sizeof(s->quota));

    if (quota) {
        memcpy(&s->quota, quota, sizeof(s->quota));
    }
}

static void read_conn(struct server *s, struct reader *r, uint16_t domid)
{
    struct domain *d = server_domain(s, domid);
    uint32_t in_pos = get_u32(r), out_pos = get_u32(r);
    bool broken = get_u32(r);

    if (!r->bad) {
        if (d->conn) {
            conn_free(d->conn);
        }
        d->conn = conn_remember(s, d, in_pos, out_pos);
        d->conn->broken = broken;
    }
}

static void read_received(struct conn *c, struct reader *r)
{
    uint32_t in_pos = get_u32(r), got = get_u32(r);
    const char *at;

    if (got >= sizeof(c->in.hdr) + sizeof(c->in.body) || !(at = get(r, got))) {
        r->bad = true;
        return;
    }
    wire_reset(&c->in);
    c->in_pos = in_pos;
    c->in.got = got;
    memcpy(&c->in.hdr, at, got < sizeof(c->in.hdr) ? got : sizeof(c->in.hdr));
    if (got > sizeof(c->in.hdr)) {
        memcpy(c->in.body, at + sizeof(c->in.hdr), got - sizeof(c->in.hdr));
    }
}

static void read_message(struct reader *r, struct xsd_sockmsg *hdr, const char **payload)
{
    const char *at = get(r, sizeof(*hdr));

    *payload = NULL;
    if (at) {
        memcpy(hdr, at, sizeof(*hdr));
        *payload = get(r, hdr->len);
    }
}

static void read_watch(struct server *s, struct conn *c, struct reader *r, bool any)
{
    const char *path = get_text(r), *token = get_text(r);
    uint32_t home_len = get_u32(r), depth = any ? WATCH_ANY_DEPTH : get_u32(r);
    struct watch *w;

    if (!r->bad && watch_add(&s->watches, &c->watches, c, path, token, home_len, &w) == 0) {
        w->depth = depth;
    }
}

static void read_txn(struct server *s, struct conn *c, struct reader *r)
{
    uint32_t id = get_u32(r);
    bool open = get_u32(r);
    struct txn *t = conn_find_txn(c, id);

    if (r->bad || open == (t != NULL)) {
        return;
    }
    if (open) {
        t = txn_new(&s->store, id, &c->txn_bytes);
        t->lost = true;
        map_insert(&c->txns, &t->id, &t->by_id);
        c->last_txn = id;
    } else {
        map_remove(&c->txns, &id);
        txn_free(t);
    }
}

/* An entry about a connection. */
static void read_conn_entry(struct server *s, enum kind kind, struct reader *r)
{
    uint16_t domid = (uint16_t)get_u32(r);
    struct domain *d = server_find_domain(s, domid);
    struct conn *c = d ? d->conn : NULL;
    struct xsd_sockmsg hdr;
    const char *text;

    if (kind == KIND_CONN) {
        read_conn(s, r, domid);
        return;
    }
    if (!c) {
        r->bad = true;
        return;
    }
    switch (kind) {
    case KIND_CONN_GONE:
        conn_free(c);
        break;
    case KIND_RECEIVED:
        read_received(c, r);
        break;
    case KIND_QUEUED:
        read_message(r, &hdr, &text);
        if (text) {
            conn_requeue(c, &hdr, text);
        }
        break;
    case KIND_WATCH:
    case KIND_WATCH_DEPTH:
        read_watch(s, c, r, kind == KIND_WATCH);
        break;
    case KIND_UNWATCH:
        text = get_text(r);
        watch_remove(&c->watches, text, get_text(r));
        break;
    case KIND_UNWATCH_ALL:
        watch_remove_all(&c->watches);
        conn_drop_txns(c);
        break;
    case KIND_TXN:
        read_txn(s, c, r);
        break;
    case KIND_PARKED:
        text = get(r, sizeof(hdr));
        if (text) {
            memcpy(&hdr, text, sizeof(hdr));
            r->bad = turn_park_again(s, c, &hdr, get_text(r)) < 0;
        }
        break;
    default:
        turn_forget_first(s, c);
        break;
    }
}

static void read_entry(struct server *s, struct reader *r)
{
    enum kind kind = get_u32(r);

    switch (kind) {
    case KIND_GENERATION:
        s->store.gen = get_u64(r);
        break;
    case KIND_NODE:
        read_node(s, r);
        break;
    case KIND_RM:
        read_rm(s, r);
        break;
    case KIND_DOMAIN:
        read_domain(s, r);
        break;
    case KIND_DOMAIN_GONE:
        read_domain_gone(s, r);
        break;
    case KIND_SPECIALS:
        read_specials(s, r);
        break;
    case KIND_QUOTA:
        read_quota(s, r);
        break;
    default:
        if (kind > KIND_WATCH_DEPTH) {
            r->bad = true;
        } else {
            read_conn_entry(s, kind, r);
        }
        break;
    }
}

size_t journal_replay(struct server *s, const void *data, size_t len)
{
    const char *start = data, *at = start;

    while (len - (size_t)(at - start) >= sizeof(struct header)) {
        struct header h;
        struct reader r;
        uint64_t gen;

        memcpy(&h, at, sizeof(h));
        r = (struct reader){.at = at + sizeof(h), .end = start + len};
        if (h.len > (size_t)(r.end - r.at) ||
            h.sum != (uint32_t)crc32(0, (const Bytef *)r.at, h.len)) {
            break;
        }
        r.end = r.at + h.len;
        while (r.at < r.end && !r.bad) {
            read_entry(s, &r);
        }
        /* The edits above have counted on from there; what they counted means nothing. */
        gen = s->store.gen;
        server_book(s, &s->store.live);
        s->store.gen = gen;
        if (r.bad) {
            break;
        }
        at = r.end;
    }
    return (size_t)(at - start);
}
