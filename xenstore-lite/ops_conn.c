// SPDX-License-Identifier: MIT
/*
 * Requests about the connection itself: its watches and transactions.
 */
#include <stdio.h>
#include <string.h>

#include "xenstore-lite/server.h"

static int answer_ok(struct request *rq)
{
    buf_add(rq->reply, "OK", 3);
    return 0;
}

/* Reads path and token, and what may follow these; rq->path becomes absolute.
 * Returns: bytes of home to cut from event paths. */
static int watch_args(struct request *rq, const char *argv[3], int most)
{
    char home[32];
    int rc = wire_strings(rq->body, rq->len, argv, most);

    if (rc < 2 || rc > most) {
        return -EINVAL;
    }
    if (rc == 2) {
        argv[2] = NULL;
    }
    rc = wire_path(argv[0], rq->conn->domid, true, rq->path);
    if (rc < 0) {
        return rc;
    }
    if (argv[0][0] == '@') {
        return server_special_watch(argv[0]) ? 0 : -EINVAL;
    }
    if (argv[0][0] == '/') {
        return 0;
    }
    wire_home(rq->conn->domid, home);
    return (int)strlen(home) + 1;
}

/* How many levels below its path concern a watch. Of a special one there is a single level, the
 * domain's number, which is only told to who asks for it. */
static int watch_depth(const char *path, const char *text, uint32_t *depth)
{
    uint64_t number = WATCH_ANY_DEPTH;
    int rc = text ? wire_number(text, WATCH_ANY_DEPTH - 1, &number) : 0;

    *depth = (uint32_t)number;
    return rc == 0 && text && path[0] == '@' && number != 1 ? -EINVAL : rc;
}

int op_watch(struct request *rq)
{
    struct conn *c = rq->conn;
    const char *argv[3];
    uint32_t depth;
    int home = watch_args(rq, argv, 3), rc;

    if (home < 0) {
        return home;
    }
    rc = watch_depth(argv[0], argv[2], &depth);
    if (rc < 0) {
        return rc;
    }
    if (!rq->who.privileged &&
        c->watches.by_key.count >= server_quota(rq->server, c->domain)->watches) {
        return -E2BIG;
    }
    if (!server_has_room(rq, (long)watch_cost(rq->path, argv[1]))) {
        return -E2BIG;
    }
    rc = watch_add(&rq->server->watches, &c->watches, c, rq->path, argv[1], (size_t)home,
                   &rq->new_watch);
    if (rc < 0) {
        return rc;
    }
    rq->new_watch->depth = depth;
    journal_watch(rq->server->journal, c, rq->new_watch);
    return answer_ok(rq);
}

int op_unwatch(struct request *rq)
{
    const char *argv[3];
    int rc = watch_args(rq, argv, 2);

    if (rc >= 0) {
        rc = watch_remove(&rq->conn->watches, rq->path, argv[1]);
    }
    if (rc < 0) {
        return rc;
    }
    journal_unwatch(rq->server->journal, rq->conn, rq->path, argv[1]);
    return answer_ok(rq);
}

int op_reset_watches(struct request *rq)
{
    watch_remove_all(&rq->conn->watches);
    conn_drop_txns(rq->conn);
    journal_unwatch_all(rq->server->journal, rq->conn);
    return answer_ok(rq);
}

int op_transaction_start(struct request *rq)
{
    struct conn *c = rq->conn;
    struct txn *t;

    if (rq->txn) {
        return -EBUSY;
    }
    if ((!rq->who.privileged &&
         c->txns.count >= server_quota(rq->server, c->domain)->transactions) ||
        !server_has_room(rq, (long)sizeof(struct txn))) {
        return -ENOSPC;
    }
    if (turn_start_waits(rq)) {
        turn_park(rq);
        return REQUEST_WAITS;
    }
    do {
        c->last_txn++;
    } while (c->last_txn == 0 || conn_find_txn(c, c->last_txn));
    t = txn_new(&rq->server->store, c->last_txn, &c->txn_bytes);
    map_insert(&c->txns, &t->id, &t->by_id);
    journal_txn(rq->server->journal, c, t->id, true);
    if (c->collided || rq->resumed) {
        c->collided = false;
        turn_take(rq->server, t);
    }
    buf_printf(rq->reply, "%u", t->id);
    buf_add(rq->reply, "", 1);
    return 0;
}

/* What a domain gets back when its transaction is over. */
static long own_bytes(const struct request *rq, const struct domain *d)
{
    return rq->conn->domain == d ? (long)rq->txn->bytes : 0;
}

/* What others have created since may have used up room this transaction counted on. */
static int check_room(struct request *rq, const struct view *v)
{
    for (size_t i = 0; i < v->delta_count && !rq->who.privileged; i++) {
        const struct owner_delta *delta = &v->deltas[i];
        const struct domain *d = server_find_domain(rq->server, delta->domid);

        if (!d || delta->domid == 0) {
            continue;
        }
        if ((delta->nodes > 0 &&
             d->nodes + delta->nodes > (long)server_quota(rq->server, d)->nodes) ||
            (delta->bytes > 0 && (long)server_memory(d) + delta->bytes - own_bytes(rq, d) >
                                     (long)server_quota(rq->server, d)->memory)) {
            return -ENOSPC;
        }
    }
    return 0;
}

int op_transaction_end(struct request *rq)
{
    struct txn *t = rq->txn;
    const char *arg;
    int rc = 0;

    if (wire_strings(rq->body, rq->len, &arg, 1) != 1 ||
        (strcmp(arg, "T") != 0 && strcmp(arg, "F") != 0)) {
        return -EINVAL;
    }
    if (!t) {
        return -ENOENT;
    }
    if (arg[0] == 'T') {
        rc = t->lost ? -EAGAIN : txn_resolve(t, &rq->server->store);
        if (rc == 0 && turn_commit_waits(rq, t)) {
            turn_park(rq);
            return REQUEST_WAITS;
        }
        if (rc == 0) {
            rc = check_room(rq, &t->view);
        }
    }
    map_remove(&rq->conn->txns, &t->id);
    journal_txn(rq->server->journal, rq->conn, t->id, false);
    turn_over(rq->server, t);
    rq->conn->collided = rc == -EAGAIN;
    if (rc == 0 && arg[0] == 'T' && t->edit_count > 0) {
        store_publish(&rq->server->store, &t->view);
        rq->committed = t;
        return answer_ok(rq);
    }
    txn_free(t);
    return rc < 0 ? rc : answer_ok(rq);
}
