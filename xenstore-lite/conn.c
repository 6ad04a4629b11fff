// SPDX-License-Identifier: MIT
/*
 * Connections: receiving requests, queueing and sending answers and events. See conn.h.
 */
#include "xenstore-lite/conn.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "xenstore-lite/journal.h"
#include "xenstore-lite/server.h"

/* Requests of one connection handled before the others get their turn. */
#define TURN_REQUESTS 16
/* Limits of the control domain's clients, which have no quota. */
#define CONTROL_OUTSTANDING 1024
#define CONTROL_MEMORY (64U << 20)
/* Messages go out in pieces of up to this many bytes. */
#define OUT_PIECE 4096

/* A message waiting to be sent. */
struct out_msg {
    struct out_msg *next;
    struct map_node by_payload; /* in conn.events while an event of which nothing is sent */
    bool waiting_event;
    bool answer;
    size_t sent; /* bytes already gone */
    size_t len;  /* header and payload */
    struct xsd_sockmsg hdr;
    char payload[];
};

/* A payload as a key. */
struct payload {
    const char *data;
    size_t len;
};

static int payload_cmp(const void *key, const struct map_node *n)
{
    const struct payload *p = key;
    const struct out_msg *m = MAP_ENTRY(n, struct out_msg, by_payload);

    if (p->len != m->hdr.len) {
        return p->len < m->hdr.len ? -1 : 1;
    }
    return memcmp(p->data, m->payload, p->len);
}

static int txn_cmp(const void *key, const struct map_node *n)
{
    uint32_t id = *(const uint32_t *)key, other = MAP_ENTRY(n, struct txn, by_id)->id;

    return id < other ? -1 : id > other;
}

/* Nothing is queued, nothing half read: the next bytes each way are the transport's next. */
static void start_streams(struct conn *c)
{
    if (c->t.where) {
        c->t.where(c->t.io, &c->in_pos, &c->out_pos);
    }
}

struct conn *conn_new(struct server *s, uint16_t domid, struct domain *d, const struct transport *t)
{
    struct conn *c = mem_zalloc(sizeof(*c));

    c->server = s;
    c->domid = domid;
    c->domain = d;
    c->t = *t;
    c->out_tail = &c->out;
    map_init(&c->events, payload_cmp);
    map_init(&c->txns, txn_cmp);
    watch_set_init(&c->watches);
    c->next = s->conns;
    c->link = &s->conns;
    if (c->next) {
        c->next->link = &c->next;
    }
    s->conns = c;
    start_streams(c);
    journal_conn(s->journal, c);
    conn_wake(c);
    return c;
}

static struct out_msg *out_pop(struct conn *c)
{
    struct out_msg *m = c->out;

    c->out = m->next;
    if (!c->out) {
        c->out_tail = &c->out;
    }
    c->out_bytes -= m->len;
    c->answers -= m->answer;
    return m;
}

/* An event of which the first byte goes out can stand for later changes no more. */
static void no_longer_waiting(struct conn *c, struct out_msg *m)
{
    if (m->waiting_event) {
        const struct payload key = {m->payload, m->hdr.len};

        map_remove(&c->events, &key);
        m->waiting_event = false;
    }
}

void conn_drop_txns(struct conn *c)
{
    struct map_node *n;

    while ((n = map_first(&c->txns)) != NULL) {
        struct txn *t = MAP_ENTRY(n, struct txn, by_id);

        map_remove(&c->txns, &t->id);
        turn_over(c->server, t);
        txn_free(t);
    }
    c->collided = false;
}

static void drop_all(struct conn *c)
{
    turn_forget(c->server, c);
    conn_drop_txns(c);
    watch_remove_all(&c->watches);
    while (c->out) {
        struct out_msg *m = out_pop(c);

        no_longer_waiting(c, m);
        free(m);
    }
    wire_reset(&c->in);
}

void conn_reset(struct conn *c)
{
    drop_all(c);
    start_streams(c);
    journal_conn(c->server->journal, c);
}

void conn_free(struct conn *c)
{
    struct server *s = c->server;

    drop_all(c);
    journal_conn_gone(s->journal, c);
    for (struct conn **at = &s->ready; c->is_ready && *at; at = &(*at)->next_ready) {
        if (*at == c) {
            *at = c->next_ready;
            if (!*at) {
                s->ready_tail = at;
            }
            s->ready_count--;
            break;
        }
    }
    *c->link = c->next;
    if (c->next) {
        c->next->link = c->link;
    }
    if (c->domain && c->domain->conn == c) {
        c->domain->conn = NULL;
    }
    c->t.close(c->t.io);
    free(c);
}

void conn_wake(struct conn *c)
{
    struct server *s = c->server;

    if (!c->is_ready) {
        c->is_ready = true;
        c->next_ready = NULL;
        *s->ready_tail = c;
        s->ready_tail = &c->next_ready;
        s->ready_count++;
    }
}

struct txn *conn_find_txn(struct conn *c, uint32_t id)
{
    struct map_node *n = map_find(&c->txns, &id);

    return n ? MAP_ENTRY(n, struct txn, by_id) : NULL;
}

static struct out_msg *out_new(uint32_t type, const struct xsd_sockmsg *to, size_t len)
{
    struct out_msg *m = mem_zalloc(sizeof(*m) + len);

    m->hdr.type = type;
    m->hdr.len = (uint32_t)len;
    if (to) {
        m->hdr.req_id = to->req_id;
        m->hdr.tx_id = to->tx_id;
    }
    m->len = sizeof(m->hdr) + len;
    return m;
}

static void out_push(struct conn *c, struct out_msg *m)
{
    *c->out_tail = m;
    c->out_tail = &m->next;
    c->out_bytes += m->len;
    c->answers += m->answer;
    c->out_pos += (uint32_t)m->len;
    journal_queued(c->server->journal, c, &m->hdr, m->payload);
    conn_wake(c);
}

void conn_answer(struct conn *c, uint32_t type, const struct xsd_sockmsg *to, const void *data,
                 size_t len)
{
    struct out_msg *m = out_new(type, to, len);

    m->answer = true;
    if (len > 0) {
        memcpy(m->payload, data, len);
    }
    out_push(c, m);
}

static size_t memory_limit(struct conn *c)
{
    return c->domid == 0 ? CONTROL_MEMORY : server_quota(c->server, c->domain)->memory;
}

/* What may wait of events: the rest of its memory, but always a part of it. */
static size_t event_limit(struct conn *c)
{
    size_t limit = memory_limit(c), kept;

    if (!c->domain) {
        return limit;
    }
    kept = server_memory(c->domain) - c->out_bytes;
    return kept < limit - limit / 8 ? limit - kept : limit / 8;
}

void conn_event(struct conn *c, const struct watch *w, const char *path)
{
    size_t token_bytes = strlen(w->token) + 1, path_bytes = strlen(path) + 1;
    struct out_msg *m;
    struct payload key;

    if (path_bytes - w->home_len + token_bytes > XENSTORE_PAYLOAD_MAX ||
        c->out_bytes > event_limit(c)) {
        path = w->path;
        path_bytes = strlen(path) + 1;
    }
    if (path[0] == '/') {
        path += w->home_len;
        path_bytes -= w->home_len;
    }
    m = out_new(XS_WATCH_EVENT, NULL, path_bytes + token_bytes);
    memcpy(m->payload, path, path_bytes);
    memcpy(m->payload + path_bytes, w->token, token_bytes);
    key = (struct payload){m->payload, m->hdr.len};
    if (c->broken || map_find(&c->events, &key)) {
        free(m);
        return;
    }
    m->waiting_event = true;
    map_insert(&c->events, &key, &m->by_payload);
    out_push(c, m);
}

/* The connection broke the protocol: a client on a socket is dropped, a domain is ignored. */
static void conn_fail(struct conn *c, int reason)
{
    c->broken = c->domain != NULL;
    conn_reset(c);
    if (c->domain) {
        if (!c->told) {
            fprintf(stderr, "xenstored: domain %u ignored until it reconnects: %s\n", c->domid,
                    strerror(-reason));
            c->told = true;
        }
        if (c->t.fail) {
            c->t.fail(c->t.io, reason);
        }
    } else {
        c->dead = true;
    }
}

/* Copies the queue's next bytes into one piece. Returns: how many. */
static size_t gather(const struct conn *c, char piece[OUT_PIECE])
{
    size_t have = 0;

    for (const struct out_msg *m = c->out; m && have < OUT_PIECE; m = m->next) {
        size_t len = m->len - m->sent, room = OUT_PIECE - have;

        len = len < room ? len : room;
        memcpy(piece + have, (const char *)&m->hdr + m->sent, len);
        have += len;
    }
    return have;
}

/* So many of the queue's bytes have gone. */
static void advance(struct conn *c, size_t bytes)
{
    while (bytes > 0) {
        struct out_msg *m = c->out;
        size_t len = m->len - m->sent;

        len = len < bytes ? len : bytes;
        no_longer_waiting(c, m);
        m->sent += len;
        bytes -= len;
        if (m->sent == m->len) {
            free(out_pop(c));
        }
    }
}

/* Sends what is queued, several messages at a time: each by itself would be a system call, and a
 * switch to whoever waits for it. Returns: 0, or a negative errno when the transport is broken. */
static int send_queued(struct conn *c)
{
    char piece[OUT_PIECE];

    while (c->out) {
        size_t len = gather(c, piece);
        ssize_t n = c->t.write(c->t.io, piece, len);

        if (n <= 0) {
            return (int)n;
        }
        advance(c, (size_t)n);
    }
    return 0;
}

/* Receives up to one request; whether bytes came is in *moved.
 * Returns: 1 when there is one, 0 when not, or a negative errno. */
static int receive(struct conn *c, bool *moved)
{
    int done = 0;

    *moved = false;
    while (done == 0) {
        size_t len;
        void *at = wire_want(&c->in, &len);
        ssize_t n = c->t.read(c->t.io, at, len);

        if (n <= 0) {
            return (int)n;
        }
        *moved = true;
        done = wire_got(&c->in, (size_t)n);
    }
    return done;
}

static bool may_ask(struct conn *c)
{
    unsigned int owed = c->answers + c->parked;

    if (c->domid == 0) {
        return owed < CONTROL_OUTSTANDING && c->out_bytes < CONTROL_MEMORY;
    }
    return owed < server_quota(c->server, c->domain)->outstanding && c->out_bytes < memory_limit(c);
}

/* So far requests are read: to be said before the other side learns of it. */
static void note_received(struct conn *c)
{
    uint32_t out;

    if (c->t.where) {
        c->t.where(c->t.io, &c->in_pos, &out);
        journal_received(c->server->journal, c);
    }
}

/* Handles requests while there are any, and room for their answers; whether all that was there has
 * been read is in *dry.
 * Returns: how many, but at least 1 when anything was read, or a negative errno. */
static int handle_some(struct conn *c, unsigned int limit, bool *dry)
{
    unsigned int count = 0;
    bool any = false, moved;
    int rc = 1;

    while (rc > 0 && count < limit && may_ask(c)) {
        rc = receive(c, &moved);
        if (rc > 0) {
            server_handle(c->server, c);
            wire_reset(&c->in);
            count++;
        }
        if (moved) {
            note_received(c);
            any = true;
        }
    }
    *dry = rc == 0;
    return rc < 0 ? rc : (int)(count > 0 ? count : any);
}

/* What is done is in the journal before the other side hears of it. */
static int publish(struct conn *c)
{
    journal_commit(c->server->journal, c->server);
    if (c->t.settle) {
        c->t.settle(c->t.io);
    }
    return send_queued(c);
}

static void start_afresh(struct conn *c)
{
    c->broken = false;
    conn_reset(c);
    c->in_pos = c->out_pos = 0;
    journal_conn(c->server->journal, c);
    /* ORDER: killed in between, the next daemon finds the wish still there. */
    journal_commit(c->server->journal, c->server);
    c->t.reset(c->t.io);
}

bool conn_run(struct conn *c)
{
    unsigned int turn = TURN_REQUESTS;
    int rc, done = 0;

    if (c->t.wants_reset && c->t.wants_reset(c->t.io)) {
        start_afresh(c);
    }
    if (c->dead || c->broken) {
        return false;
    }
    rc = publish(c);
    while (rc >= 0 && turn > 0) {
        bool dry;

        done = handle_some(c, turn, &dry);
        rc = publish(c);
        /* ORDER: a kernel sends an event only if it finds everything before taken, so after that
         * has been published, be it half a request, one more look is owed. A socket's client need
         * not know: what comes to a socket that was empty is reported. */
        if (done <= 0 || (dry && !c->t.kick)) {
            break;
        }
        turn -= (unsigned int)done;
    }
    if (rc < 0 || done < 0) {
        conn_fail(c, rc < 0 ? rc : done);
        return false;
    }
    if (c->t.kick) {
        c->t.kick(c->t.io);
    }
    return turn == 0;
}

/* ---- going on where a former daemon was ---- */

/* Carries nothing, until the connection is resumed. */
static ssize_t no_read(void *io, void *data, size_t len)
{
    (void)io;
    (void)data;
    (void)len;
    return 0;
}

static ssize_t no_write(void *io, const void *data, size_t len)
{
    (void)io;
    (void)data;
    (void)len;
    return 0;
}

static void no_where(void *io, uint32_t *in, uint32_t *out)
{
    const struct conn *c = io;

    *in = c ? c->in_pos : 0;
    *out = c ? c->out_pos : 0;
}

static void no_close(void *io)
{
    (void)io;
}

struct conn *conn_remember(struct server *s, struct domain *d, uint32_t in_pos, uint32_t out_pos)
{
    const struct transport none = {
        .read = no_read, .write = no_write, .where = no_where, .close = no_close};
    struct conn *c = conn_new(s, d->domid, d, &none);

    c->t.io = c;
    c->in_pos = in_pos;
    c->out_pos = out_pos;
    return c;
}

void conn_requeue(struct conn *c, const struct xsd_sockmsg *hdr, const void *payload)
{
    struct out_msg *m = out_new(hdr->type, hdr, hdr->len);

    m->answer = hdr->type != XS_WATCH_EVENT;
    memcpy(m->payload, payload, hdr->len);
    out_push(c, m);
}

/* Drops the first `sent` bytes of the queue. */
static void drop_sent(struct conn *c, uint32_t sent)
{
    while (c->out && sent >= c->out->len) {
        sent -= (uint32_t)c->out->len;
        free(out_pop(c));
    }
    if (c->out) {
        c->out->sent = sent;
    }
}

void conn_resume(struct conn *c, const struct transport *t)
{
    uint32_t in, out, sent;

    c->t = *t;
    t->where(t->io, &in, &out);
    sent = out - (c->out_pos - (uint32_t)c->out_bytes);
    conn_wake(c);
    if (c->broken) {
        return;
    }
    t->go_on(t->io, c->in_pos);
    if (sent > c->out_bytes) {
        conn_fail(c, -ERANGE);
        return;
    }
    drop_sent(c, sent);
    for (struct out_msg *m = c->out; m; m = m->next) {
        const struct payload key = {m->payload, m->hdr.len};

        if (!m->answer && m->sent == 0 && !map_find(&c->events, &key)) {
            m->waiting_event = true;
            map_insert(&c->events, &key, &m->by_payload);
        }
    }
}

void conn_note_queue(const struct conn *c, struct journal *j)
{
    for (const struct out_msg *m = c->out; m; m = m->next) {
        journal_queued(j, c, &m->hdr, m->payload);
    }
}
