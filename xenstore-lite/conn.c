// SPDX-License-Identifier: MIT
/*
 * Connections: receiving requests, queueing and sending answers and events. See conn.h.
 */
#include "xenstore-lite/conn.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "xenstore-lite/server.h"

/* Requests of one connection handled before the others get their turn. */
#define TURN_REQUESTS 16
/* Limits of the control domain's clients, which have no quota. */
#define CONTROL_OUTSTANDING 1024
#define CONTROL_MEMORY (64U << 20)

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

void conn_reset(struct conn *c)
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

void conn_free(struct conn *c)
{
    struct server *s = c->server;

    conn_reset(c);
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

void conn_event(struct conn *c, const struct watch *w, const char *path)
{
    size_t token_bytes = strlen(w->token) + 1, path_bytes = strlen(path) + 1;
    struct out_msg *m;
    struct payload key;

    if (path_bytes - w->home_len + token_bytes > XENSTORE_PAYLOAD_MAX ||
        c->out_bytes > memory_limit(c)) {
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
    conn_reset(c);
    if (c->domain) {
        c->broken = true;
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

/* Sends what is queued. Returns: 0, or a negative errno when the transport is broken. */
static int send_queued(struct conn *c)
{
    while (c->out) {
        struct out_msg *m = c->out;
        const char *data = (const char *)&m->hdr;
        ssize_t n;

        n = c->t.write(c->t.io, data + m->sent, m->len - m->sent);
        if (n < 0) {
            return (int)n;
        }
        if (n == 0) {
            return 0;
        }
        no_longer_waiting(c, m);
        m->sent += (size_t)n;
        if (m->sent == m->len) {
            free(out_pop(c));
        }
    }
    return 0;
}

/* Receives up to one request. Returns: 1 when there is one, 0 when not, or a negative errno. */
static int receive(struct conn *c)
{
    int done = 0;

    while (done == 0) {
        size_t len;
        void *at = wire_want(&c->in, &len);
        ssize_t n = c->t.read(c->t.io, at, len);

        if (n <= 0) {
            return (int)n;
        }
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

bool conn_run(struct conn *c)
{
    unsigned int turn = TURN_REQUESTS;
    int rc;

    if (c->t.wants_reset && c->t.wants_reset(c->t.io)) {
        conn_reset(c);
        c->broken = false;
    }
    if (c->dead || c->broken) {
        return false;
    }
    rc = send_queued(c);
    while (rc >= 0 && turn > 0 && may_ask(c)) {
        rc = receive(c);
        if (rc <= 0) {
            break;
        }
        server_handle(c->server, c);
        wire_reset(&c->in);
        turn--;
        rc = send_queued(c);
    }
    if (rc < 0) {
        conn_fail(c, rc);
        return false;
    }
    if (c->t.kick) {
        c->t.kick(c->t.io);
    }
    return turn == 0;
}
