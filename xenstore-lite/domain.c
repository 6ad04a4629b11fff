// SPDX-License-Identifier: MIT
/*
 * What happens to domains: they are introduced, shut down, are released, and vanish.
 *
 * A record appears when the store first hears of a domain (an introduction, a permission naming it)
 * and goes when the machine says that the domain is gone. Its generation then tells entries in
 * permissions that meant an earlier domain of the same number from those that mean this one.
 */
#include "xenstore-lite/server.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct domain *server_find_domain(struct server *s, uint16_t domid)
{
    struct map_node *n = map_find(&s->domains, &domid);

    return n ? MAP_ENTRY(n, struct domain, by_id) : NULL;
}

struct domain *server_domain(struct server *s, uint16_t domid)
{
    struct domain *d = server_find_domain(s, domid);

    if (!d) {
        d = mem_zalloc(sizeof(*d));
        d->domid = domid;
        d->born = s->store.gen;
        s->unseen++;
        map_insert(&s->domains, &d->domid, &d->by_id);
        journal_domain(s->journal, d);
    }
    return d;
}

void server_set_seen(struct server *s, struct domain *d, bool seen)
{
    s->unseen += (size_t)d->seen;
    s->unseen -= (size_t)seen;
    d->seen = seen;
}

void server_forget(struct server *s, struct domain *d)
{
    s->unseen -= (size_t)!d->seen;
    map_remove(&s->domains, &d->domid);
    free(d);
}

struct conn *server_attach(struct server *s, struct domain *d, const struct transport *t)
{
    if (d->conn) {
        conn_free(d->conn);
    }
    d->conn = conn_new(s, d->domid, d, t);
    return d->conn;
}

/* Whether a domain has shut down before anybody could be told, which the machine says once. */
static bool has_stopped(const struct server *s, uint16_t domid)
{
    struct domain_status status;

    return s->platform && s->platform->status &&
           s->platform->status(s->platform->ctx, domid, &status) == 0 && status.shutdown;
}

int server_introduce(struct server *s, uint16_t domid, uint64_t mfn, uint32_t port)
{
    struct domain *d = server_find_domain(s, domid);
    bool is_new = !d || !d->introduced;

    if (s->platform) {
        struct transport t;
        int rc;

        if (d && d->conn) {
            /* The old ring is given back first: the new one may be the same page. */
            conn_free(d->conn);
        }
        rc = s->platform->connect(s->platform->ctx, domid, mfn, port, &t);
        if (rc < 0) {
            return rc;
        }
        d = server_domain(s, domid);
        server_attach(s, d, &t);
    }
    d = server_domain(s, domid);
    d->introduced = true;
    server_set_seen(s, d, true);
    d->mfn = mfn;
    d->port = port;
    if (is_new) {
        d->shutdown = has_stopped(s, domid);
    }
    journal_domain(s->journal, d);
    return is_new;
}

void server_reconnect(struct server *s)
{
    struct map_node *n;

    for (n = map_first(&s->domains); n;
         n = map_after(&s->domains, &MAP_ENTRY(n, struct domain, by_id)->domid)) {
        struct domain *d = MAP_ENTRY(n, struct domain, by_id);
        struct transport t;

        if (!d->conn || d->domid == 0) {
            continue;
        }
        /* One that has gone meanwhile will be missing in the machine's list. */
        if (s->platform &&
            s->platform->connect(s->platform->ctx, d->domid, d->mfn, d->port, &t) == 0) {
            conn_resume(d->conn, &t);
        }
    }
}

static void disconnect(struct server *s, struct domain *d)
{
    if (d->conn) {
        conn_free(d->conn);
    }
    d->introduced = false;
    d->has_target = false;
    journal_domain(s->journal, d);
}

int server_release(struct server *s, uint16_t domid)
{
    struct domain *d = server_find_domain(s, domid);

    if (!d || !d->introduced) {
        return -ENOENT;
    }
    disconnect(s, d);
    return 0;
}

void server_domain_shutdown(struct server *s, uint16_t domid)
{
    struct domain *d = server_find_domain(s, domid);

    if (d && d->introduced && !d->shutdown) {
        d->shutdown = true;
        journal_domain(s->journal, d);
        server_fire_special(s, SPECIAL_RELEASE, domid);
    }
}

/* Paths of the nodes a domain owns, the topmost ones only. */
struct owned {
    uint16_t domid;
    char **paths;
    size_t count, room;
};

static void find_owned(void *ctx, const char *path, struct node *n)
{
    struct owned *o = ctx;
    const char *top = o->count ? o->paths[o->count - 1] : NULL;

    if (n->perms->e[0].domid != o->domid || strcmp(path, "/") == 0) {
        return;
    }
    if (top && strncmp(path, top, strlen(top)) == 0 && path[strlen(top)] == '/') {
        return;
    }
    if (o->count == o->room) {
        o->room = o->room ? o->room * 2 : 16;
        o->paths = mem_resize(o->paths, o->room, sizeof(o->paths[0]));
    }
    o->paths[o->count++] = mem_strdup(path);
}

/* Removes the nodes a domain owns at a path and below. */
static void remove_owned(struct server *s, uint16_t domid, const char *top)
{
    struct owned o = {.domid = domid};
    struct node *n = node_find(s->store.live.root, top);

    if (n) {
        node_walk(n, top, find_owned, &o);
    }
    for (size_t i = 0; i < o.count; i++) {
        view_rm(&s->store.live, o.paths[i]);
        free(o.paths[i]);
    }
    free(o.paths);
    server_committed(s, &s->store.live);
}

void server_domain_gone(struct server *s, uint16_t domid)
{
    struct domain *d = server_find_domain(s, domid);
    char home[32];
    bool announce;

    if (!d || domid == 0) {
        return;
    }
    announce = d->introduced;
    disconnect(s, d);
    /* Nobody could tell whose they are once the number is given to another domain. Few have any
     * but at home; to find these is a walk of everybody's. */
    wire_home(domid, home);
    if (d->nodes > 0) {
        remove_owned(s, domid, home);
    }
    if (d->nodes > 0) {
        remove_owned(s, domid, "/");
    }
    server_forget(s, d);
    journal_domain_gone(s->journal, domid);
    if (announce) {
        server_fire_special(s, SPECIAL_RELEASE, domid);
    }
}

/* A domain the store knows and the machine does not list. */
static void not_listed(struct server *s, struct domain *d)
{
    if (d->seen) {
        server_domain_gone(s, d->domid);
    } else if (d->nodes == 0) {
        /* Only named in some permission; one created later under that number is another. */
        journal_domain_gone(s->journal, d->domid);
        server_forget(s, d);
    }
}

static void note_seen(struct server *s, struct domain *d)
{
    if (!d->seen) {
        server_set_seen(s, d, true);
        journal_domain(s->journal, d);
    }
}

void server_domain_changed(struct server *s, const struct domain_status *status)
{
    struct domain *d = server_find_domain(s, status->domid);

    if (!d || status->domid == 0) {
        return;
    }
    if (status->dying) {
        server_domain_gone(s, status->domid);
        return;
    }
    note_seen(s, d);
    if (status->shutdown) {
        server_domain_shutdown(s, status->domid);
    }
}

void server_news(struct server *s)
{
    const struct platform *p = s->platform;
    struct domain_status status;
    int got = -ENOSYS;

    while (p->changed && (got = p->changed(p->ctx, &status)) > 0) {
        server_domain_changed(s, &status);
    }
    /* Of those it has never told of, the machine need not tell that they have gone. */
    if (got < 0 || s->unseen > 0) {
        p->look(p->ctx);
    }
}

void server_domain_list(struct server *s, const struct domain_status *list, size_t count)
{
    const struct domain_status *end = list + count;
    struct map_node *n = map_first(&s->domains);

    while (n) {
        struct domain *d = MAP_ENTRY(n, struct domain, by_id);
        uint16_t domid = d->domid;

        while (list < end && list->domid < domid) {
            list++;
        }
        if (domid == 0) {
            note_seen(s, d);
        } else if (list == end || list->domid != domid) {
            not_listed(s, d);
        } else {
            server_domain_changed(s, list);
        }
        n = map_after(&s->domains, &domid);
    }
}
