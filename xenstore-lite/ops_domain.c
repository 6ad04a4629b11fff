// SPDX-License-Identifier: MIT
/*
 * Requests about domains, and the administrator's commands.
 */
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <xen/xen.h>

#include "xenstore-lite/server.h"

/* A guest's number: below the reserved ones. */
#define DOMID_MAX (DOMID_FIRST_RESERVED - 1)

static int answer_ok(struct request *rq)
{
    buf_add(rq->reply, "OK", 3);
    return 0;
}

/* Reads exactly `count` numbers: a domain's and others. */
static int number_args(struct request *rq, int count, uint64_t out[3])
{
    const uint64_t max[3] = {DOMID_MAX, UINT64_MAX, UINT32_MAX};
    const char *argv[3];

    if (wire_strings(rq->body, rq->len, argv, 3) != count) {
        return -EINVAL;
    }
    for (int i = 0; i < count; i++) {
        if (wire_number(argv[i], max[i], &out[i]) < 0) {
            return -EINVAL;
        }
    }
    return 0;
}

int op_introduce(struct request *rq)
{
    uint64_t arg[3];
    int rc = number_args(rq, 3, arg);

    if (rc < 0) {
        return rc;
    }
    /* The control domain's own ring is connected at the start and by nobody else. */
    if (arg[0] == 0 || arg[2] == 0) {
        return -EINVAL;
    }
    rc = server_introduce(rq->server, (uint16_t)arg[0], arg[1], (uint32_t)arg[2]);
    if (rc < 0) {
        return rc;
    }
    rq->special_domid = (uint16_t)arg[0];
    if (rc > 0) {
        rq->specials |= 1U << SPECIAL_INTRODUCE;
        if (server_find_domain(rq->server, rq->special_domid)->shutdown) {
            rq->specials |= 1U << SPECIAL_RELEASE;
        }
    }
    return answer_ok(rq);
}

int op_release(struct request *rq)
{
    uint64_t arg[3];
    int rc = number_args(rq, 1, arg);

    if (rc == 0 && arg[0] == 0) {
        rc = -EINVAL;
    }
    if (rc == 0) {
        rc = server_release(rq->server, (uint16_t)arg[0]);
    }
    if (rc < 0) {
        return rc;
    }
    rq->specials |= 1U << SPECIAL_RELEASE;
    rq->special_domid = (uint16_t)arg[0];
    return answer_ok(rq);
}

int op_is_domain_introduced(struct request *rq)
{
    const struct domain *d;
    uint64_t arg[3];
    int rc = number_args(rq, 1, arg);

    if (rc < 0) {
        return rc;
    }
    d = server_find_domain(rq->server, (uint16_t)arg[0]);
    buf_add(rq->reply, d && d->introduced ? "T" : "F", 2);
    return 0;
}

int op_get_domain_path(struct request *rq)
{
    char home[32];
    uint64_t arg[3];
    const char *text;
    int rc;

    /* Devices name any number here, also one that is just being freed. */
    if (wire_strings(rq->body, rq->len, &text, 1) != 1) {
        return -EINVAL;
    }
    rc = wire_number(text, UINT16_MAX, &arg[0]);
    if (rc < 0) {
        return rc;
    }
    wire_home((uint16_t)arg[0], home);
    buf_add(rq->reply, home, strlen(home) + 1);
    return 0;
}

int op_resume(struct request *rq)
{
    struct domain *d;
    uint64_t arg[3];
    int rc = number_args(rq, 1, arg);

    if (rc < 0) {
        return rc;
    }
    d = server_find_domain(rq->server, (uint16_t)arg[0]);
    if (!d || !d->introduced) {
        return -ENOENT;
    }
    d->shutdown = false;
    journal_domain(rq->server->journal, d);
    return answer_ok(rq);
}

int op_set_target(struct request *rq)
{
    struct domain *d;
    uint64_t arg[3];
    int rc = number_args(rq, 2, arg);

    if (rc < 0) {
        return rc;
    }
    if (arg[0] == 0 || arg[1] > DOMID_MAX) {
        return -EINVAL;
    }
    d = server_find_domain(rq->server, (uint16_t)arg[0]);
    if (!d || !d->introduced || !server_find_domain(rq->server, (uint16_t)arg[1])) {
        return -ENOENT;
    }
    d->has_target = true;
    d->target = (uint16_t)arg[1];
    journal_domain(rq->server->journal, d);
    return answer_ok(rq);
}

/* Arguments of a control command after its name. */
struct control_args {
    int argc;
    const char *argv[4];
};

static int control_check(struct request *rq, const struct control_args *a);
static int control_children(struct request *rq, const struct control_args *a);
static int control_help(struct request *rq, const struct control_args *a);
static int control_log(struct request *rq, const struct control_args *a);
static int control_print(struct request *rq, const struct control_args *a);
static int control_quota(struct request *rq, const struct control_args *a);
static int control_stats(struct request *rq, const struct control_args *a);

static const struct control {
    const char *name;
    int (*run)(struct request *rq, const struct control_args *a);
    const char *usage;
} controls[] = {
    {"check", control_check, "compare the books with the tree"},
    {"children", control_children,
     "<path> <name> <offset>: a node's value in each child of another"},
    {"help", control_help, "this list"},
    {"log", control_log, "on|off: one line a request on stderr"},
    {"print", control_print, "<text>: write a line to stderr"},
    {"quota", control_quota, "[<domid>] | set [<domid>] <name> <value>: show or change limits"},
    {"stats", control_stats, "what the store holds"},
};

int op_control(struct request *rq)
{
    struct control_args a;
    const char *argv[5];
    int argc = wire_strings(rq->body, rq->len, argv, 5);

    if (argc < 1 || argc > 5) {
        return -EINVAL;
    }
    a.argc = argc - 1;
    memcpy(a.argv, argv + 1, sizeof(a.argv));
    for (size_t i = 0; i < sizeof(controls) / sizeof(controls[0]); i++) {
        if (strcmp(controls[i].name, argv[0]) == 0) {
            int rc = controls[i].run(rq, &a);

            if (rc == 0) {
                buf_add(rq->reply, "", 1);
            }
            return rc;
        }
    }
    return -EINVAL;
}

/* An answer to "children" being put together. */
struct pairs {
    const char *name;
    uint64_t offset; /* of the next child in the list of their names */
    struct buf text;
};

/* What pairs may take: a number stands before them, a NUL behind. */
#define PAIRS_BYTES (XENSTORE_PAYLOAD_MAX - 16)

static bool add_pair(void *ctx, struct node *kid)
{
    struct pairs *p = ctx;
    const struct node *leaf = node_find(kid, p->name);
    size_t bytes = leaf ? kid->name->len + leaf->value->len + 2 : 0;

    if (leaf && bytes <= PAIRS_BYTES && !memchr(leaf->value->data, '\0', leaf->value->len)) {
        if (p->text.len + bytes > PAIRS_BYTES) {
            return false;
        }
        buf_add(&p->text, kid->name->data, kid->name->len + 1);
        buf_add(&p->text, leaf->value->data, leaf->value->len);
        buf_add(&p->text, "", 1);
    }
    p->offset += kid->name->len + 1;
    return true;
}

/*
 * What a list of domains wants to know of each, in one answer: names of children from a byte of
 * their list on, as of XS_DIRECTORY_PART, with the value of the node of that name below each. The
 * answer begins with the byte to go on with, empty when there are no more; then follow child and
 * value, a NUL behind each. A child without such a node, or with a value that has a NUL or does not
 * fit, is left out.
 */
static int control_children(struct request *rq, const struct control_args *a)
{
    struct pairs p = {0};
    const struct node *n;

    if (a->argc != 3 || wire_path(a->argv[1], 0, false, rq->path) < 0 || a->argv[1][0] == '/' ||
        wire_path(a->argv[0], rq->conn->domid, false, rq->path) < 0 ||
        wire_number(a->argv[2], UINT32_MAX, &p.offset) < 0) {
        return -EINVAL;
    }
    n = node_find(rq->server->store.live.root, rq->path);
    if (!n) {
        return -ENOENT;
    }
    p.name = a->argv[1];
    node_each_kid(n, p.offset, add_pair, &p);
    if (p.offset < node_list_bytes(n)) {
        buf_printf(rq->reply, "%llu", (unsigned long long)p.offset);
    }
    buf_add(rq->reply, "", 1);
    buf_add(rq->reply, p.text.data, p.text.len);
    buf_free(&p.text);
    return 0;
}

static int control_help(struct request *rq, const struct control_args *a)
{
    (void)a;
    for (size_t i = 0; i < sizeof(controls) / sizeof(controls[0]); i++) {
        buf_printf(rq->reply, "%-8s%s\n", controls[i].name, controls[i].usage);
    }
    buf_printf(rq->reply, "requests:\n");
#define FILE(name)
#define OP(number, who, txn, handler, doc)                                                         \
    buf_printf(rq->reply, "%4d  %-26s%s\n", number, #number, doc);
#include "xenstore-lite/ops.def"
#undef OP
#undef FILE
    return 0;
}

static int control_log(struct request *rq, const struct control_args *a)
{
    if (a->argc != 1 || (strcmp(a->argv[0], "on") != 0 && strcmp(a->argv[0], "off") != 0)) {
        return -EINVAL;
    }
    rq->server->log_requests = strcmp(a->argv[0], "on") == 0;
    buf_printf(rq->reply, "OK");
    return 0;
}

static int control_print(struct request *rq, const struct control_args *a)
{
    if (a->argc != 1) {
        return -EINVAL;
    }
    fprintf(stderr, "xenstored: %s\n", a->argv[0]);
    buf_printf(rq->reply, "OK");
    return 0;
}

static void show_quota(struct buf *out, struct quota q)
{
    struct quota_row row;

    for (unsigned int i = 0; quota_row(&q, i, &row); i++) {
        buf_printf(out, "%-20s%10u  %s\n", row.name, *row.value, row.doc);
    }
}

static int set_quota(struct request *rq, const struct control_args *a)
{
    struct server *s = rq->server;
    struct domain *d;
    uint64_t domid;
    int rc;

    if (a->argc == 3) {
        rc = quota_set(&s->quota, a->argv[1], a->argv[2]);
        journal_quota(s->journal, s);
    } else if (a->argc == 4) {
        struct quota changed;

        if (wire_number(a->argv[1], DOMID_MAX, &domid) < 0) {
            return -EINVAL;
        }
        d = server_find_domain(s, (uint16_t)domid);
        if (!d) {
            return -ENOENT;
        }
        changed = *server_quota(s, d);
        rc = quota_set(&changed, a->argv[2], a->argv[3]);
        if (rc == 0) {
            d->quota = changed;
            d->own_quota = true;
            journal_domain(s->journal, d);
        }
    } else {
        rc = -EINVAL;
    }
    if (rc == 0) {
        buf_printf(rq->reply, "OK");
    }
    return rc;
}

static int control_quota(struct request *rq, const struct control_args *a)
{
    const struct domain *d;
    uint64_t domid;

    if (a->argc > 0 && strcmp(a->argv[0], "set") == 0) {
        return set_quota(rq, a);
    }
    if (a->argc == 0) {
        show_quota(rq->reply, rq->server->quota);
        return 0;
    }
    if (a->argc != 1 || wire_number(a->argv[0], DOMID_MAX, &domid) < 0) {
        return -EINVAL;
    }
    d = server_find_domain(rq->server, (uint16_t)domid);
    if (!d) {
        return -ENOENT;
    }
    show_quota(rq->reply, *server_quota(rq->server, d));
    buf_printf(rq->reply, "in use: nodes %ld", d->nodes);
    if (d->conn) {
        buf_printf(rq->reply, ", watches %zu, transactions %zu, memory %zu",
                   d->conn->watches.by_key.count, d->conn->txns.count, server_memory(d));
    }
    return 0;
}

static int control_stats(struct request *rq, const struct control_args *a)
{
    struct server *s = rq->server;
    size_t conns = 0, watches = 0, txns = 0, queued = 0;

    (void)a;
    for (const struct conn *c = s->conns; c; c = c->next) {
        conns++;
        watches += c->watches.by_key.count;
        txns += c->txns.count;
        queued += c->out_bytes;
    }
    buf_printf(rq->reply,
               "nodes %llu\ndomains %zu\nconnections %zu\nwatches %zu\ntransactions %zu\n"
               "queued-bytes %zu\nrequests %llu",
               (unsigned long long)s->store.nodes, s->domains.count, conns, watches, txns, queued,
               (unsigned long long)s->requests);
    return 0;
}

/* What a walk over the tree finds. */
struct census {
    struct server *server;
    uint64_t nodes;
    unsigned long bad; /* sums of siblings that are not right */
};

static void count_node(void *ctx, const char *path, struct node *n)
{
    struct census *c = ctx;
    uint32_t count = 1;
    size_t bytes = (size_t)n->name->len + 1;
    const struct node *side[2] = {n->left, n->right};

    (void)path;
    for (int i = 0; i < 2; i++) {
        if (side[i]) {
            count += side[i]->sib_count;
            bytes += side[i]->sib_bytes;
            c->bad += side[i]->prio > n->prio;
        }
    }
    c->bad += count != n->sib_count || bytes != n->sib_bytes;
    c->nodes++;
    /* Counted down here and put back below, so that a wrong book leaves a remainder. */
    server_domain(c->server, n->perms->e[0].domid)->nodes--;
    server_domain(c->server, n->perms->e[0].domid)->bytes -= node_bytes(n);
}

static void recount_node(void *ctx, const char *path, struct node *n)
{
    struct census *c = ctx;

    (void)path;
    server_domain(c->server, n->perms->e[0].domid)->nodes++;
    server_domain(c->server, n->perms->e[0].domid)->bytes += node_bytes(n);
}

static int control_check(struct request *rq, const struct control_args *a)
{
    struct server *s = rq->server;
    struct census c = {.server = s};
    struct map_node *n;

    (void)a;
    node_walk(s->store.live.root, "/", count_node, &c);
    for (n = map_first(&s->domains); n;
         n = map_after(&s->domains, &MAP_ENTRY(n, struct domain, by_id)->domid)) {
        const struct domain *d = MAP_ENTRY(n, struct domain, by_id);

        if (d->nodes != 0 || d->bytes != 0) {
            buf_printf(rq->reply, "domain %u: off by %ld nodes, %ld bytes\n", d->domid, d->nodes,
                       d->bytes);
        }
    }
    node_walk(s->store.live.root, "/", recount_node, &c);
    if (c.nodes != s->store.nodes) {
        buf_printf(rq->reply, "%llu nodes found, %llu in the books\n", (unsigned long long)c.nodes,
                   (unsigned long long)s->store.nodes);
    }
    if (c.bad) {
        buf_printf(rq->reply, "%lu wrong sums of siblings\n", c.bad);
    }
    if (rq->reply->len == 0) {
        buf_printf(rq->reply, "OK");
    }
    return 0;
}
