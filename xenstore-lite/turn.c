// SPDX-License-Identifier: MIT
/*
 * Turns of colliding transactions. See turn.h.
 */
#include "xenstore-lite/turn.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "xenstore-lite/server.h"

/* A request that waits: the start or the end of a transaction. */
struct turn_wait {
    struct turn_wait *next;
    struct conn *conn;
    struct xsd_sockmsg hdr;
    char body[4]; /* "", "T" or "F" */
};

static uint64_t now_ms(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

void turn_init(struct turns *t)
{
    *t = (struct turns){0};
    t->end = &t->first;
}

bool turn_start_waits(const struct request *rq)
{
    const struct turns *t = &rq->server->turns;

    return rq->conn->collided && !rq->resumed && (t->holder || t->first);
}

bool turn_commit_waits(const struct request *rq, const struct txn *t)
{
    const struct txn *holder = rq->server->turns.holder;

    if (!holder || holder == t || rq->resumed || t->edit_count == 0) {
        return false;
    }
    /* One that has lost already, to a plain write, is not worth waiting for. */
    return !txn_conflicts(holder, rq->server->store.live.root) &&
           txn_conflicts(holder, t->view.root);
}

void turn_park(struct request *rq)
{
    struct turns *t = &rq->server->turns;
    struct turn_wait *w = mem_zalloc(sizeof(*w));

    w->conn = rq->conn;
    w->hdr = *rq->hdr;
    w->hdr.len = 0;
    if (rq->hdr->type == XS_TRANSACTION_END) {
        w->hdr.len = 2;
        memcpy(w->body, rq->body, 2);
    }
    w->conn->parked++;
    *t->end = w;
    t->end = &w->next;
    /* It has its place: others behind the same connection (all of a kernel's) need not wait. */
    rq->conn->collided = false;
}

void turn_take(struct server *s, struct txn *t)
{
    s->turns.holder = t;
    s->turns.deadline_ms = now_ms() + TURN_LIMIT_MS;
}

void turn_over(struct server *s, const struct txn *t)
{
    if (s->turns.holder == t) {
        s->turns.holder = NULL;
    }
}

void turn_forget(struct server *s, const struct conn *c)
{
    struct turn_wait **at = &s->turns.first;

    while (*at) {
        struct turn_wait *w = *at;

        if (w->conn == c) {
            w->conn->parked--;
            *at = w->next;
            free(w);
        } else {
            at = &w->next;
        }
    }
    s->turns.end = at;
}

void turn_next(struct server *s)
{
    struct turns *t = &s->turns;

    if (t->holder && t->first && now_ms() >= t->deadline_ms) {
        t->holder = NULL;
    }
    while (!t->holder && t->first) {
        struct turn_wait *w = t->first;

        t->first = w->next;
        if (!t->first) {
            t->end = &t->first;
        }
        w->conn->parked--;
        server_resume(s, w->conn, &w->hdr, w->body);
        free(w);
    }
}

int turn_timeout(const struct server *s)
{
    uint64_t now;

    if (!s->turns.first) {
        return -1;
    }
    if (!s->turns.holder) {
        return 0;
    }
    now = now_ms();
    return now < s->turns.deadline_ms ? (int)(s->turns.deadline_ms - now) : 0;
}
