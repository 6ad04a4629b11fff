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

static struct turn_wait *add_wait(struct server *s, struct conn *c, const struct xsd_sockmsg *hdr,
                                  const char *body)
{
    struct turn_wait *w = mem_zalloc(sizeof(*w));

    w->conn = c;
    w->hdr = *hdr;
    w->hdr.len = 0;
    if (hdr->type == XS_TRANSACTION_END) {
        w->hdr.len = 2;
        memcpy(w->body, body, 2);
    }
    c->parked++;
    *s->turns.end = w;
    s->turns.end = &w->next;
    return w;
}

void turn_park(struct request *rq)
{
    const struct turn_wait *w = add_wait(rq->server, rq->conn, rq->hdr, rq->body);

    journal_parked(rq->server->journal, rq->conn, &w->hdr, w->body);
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

void turn_note_parked(const struct server *s, struct journal *j)
{
    for (const struct turn_wait *w = s->turns.first; w; w = w->next) {
        journal_parked(j, w->conn, &w->hdr, w->body);
    }
}

int turn_park_again(struct server *s, struct conn *c, const struct xsd_sockmsg *hdr,
                    const char *body)
{
    if (hdr->type != XS_TRANSACTION_START &&
        (hdr->type != XS_TRANSACTION_END || strlen(body) != 1)) {
        return -EINVAL;
    }
    add_wait(s, c, hdr, body);
    return 0;
}

void turn_forget_first(struct server *s, const struct conn *c)
{
    for (struct turn_wait **at = &s->turns.first; *at; at = &(*at)->next) {
        struct turn_wait *w = *at;

        if (w->conn == c) {
            w->conn->parked--;
            *at = w->next;
            if (!w->next) {
                s->turns.end = at;
            }
            free(w);
            return;
        }
    }
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
        journal_unparked(s->journal, w->conn);
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
