// SPDX-License-Identifier: MIT
/*
 * Requests about nodes. Each checks the path, then access, then limits, then acts; inside a
 * transaction it also records what it depended on.
 */
#include <stdio.h>
#include <string.h>

#include "xenstore-lite/server.h"

static int answer_ok(struct request *rq)
{
    buf_add(rq->reply, "OK", 3);
    return 0;
}

static struct view *view_of(struct request *rq)
{
    return rq->txn ? &rq->txn->view : &rq->server->store.live;
}

static void depend(struct request *rq, const char *path, unsigned int what)
{
    if (rq->txn) {
        txn_depend(rq->txn, path, what);
    }
}

/* Cuts the last component off a path other than "/". */
static void cut_last(char *path)
{
    char *slash = strrchr(path, '/');

    slash[slash == path] = '\0';
}

/*
 * An absent node is only admitted to be absent to those who might do the same with the nearest node
 * above it; everybody else is refused. *missing counts the nodes absent on the way.
 */
static bool may_see_absent(struct request *rq, unsigned int want, unsigned int *missing)
{
    char above[WIRE_PATH_ROOM];
    struct node *n = NULL;

    snprintf(above, sizeof(above), "%s", rq->path);
    *missing = 0;
    while (!n) {
        depend(rq, above, TXN_EXISTS);
        ++*missing;
        cut_last(above);
        n = node_find(view_of(rq)->root, above);
    }
    depend(rq, above, TXN_PERMS);
    return (perms_access(n->perms, &rq->who) & want) == want;
}

/* The node rq->path names, if the caller has the access wanted. Errors: -ENOENT, -EACCES. */
static int find_node(struct request *rq, unsigned int want, unsigned int what, struct node **out)
{
    struct node *n = node_find(view_of(rq)->root, rq->path);
    unsigned int missing;

    if (!n) {
        return may_see_absent(rq, want, &missing) ? -ENOENT : -EACCES;
    }
    depend(rq, rq->path, what | TXN_PERMS);
    if ((perms_access(n->perms, &rq->who) & want) != want) {
        return -EACCES;
    }
    *out = n;
    return 0;
}

/* The request's payload is one path and nothing else. */
static int only_path(struct request *rq)
{
    const char *path;

    if (wire_strings(rq->body, rq->len, &path, 1) != 1) {
        return -EINVAL;
    }
    return wire_path(path, rq->conn->domid, false, rq->path);
}

int op_directory(struct request *rq)
{
    struct node *n;
    int rc = only_path(rq);

    if (rc == 0) {
        rc = find_node(rq, PERM_READ, TXN_KIDS, &n);
    }
    if (rc != 0) {
        return rc;
    }
    if (node_list_bytes(n) > XENSTORE_PAYLOAD_MAX) {
        return -E2BIG;
    }
    node_list(n, 0, XENSTORE_PAYLOAD_MAX, rq->reply);
    return 0;
}

int op_directory_part(struct request *rq)
{
    const char *argv[2];
    uint64_t offset;
    struct node *n;
    size_t all, start;
    int rc;

    if (wire_strings(rq->body, rq->len, argv, 2) != 2 ||
        wire_number(argv[1], UINT32_MAX, &offset) < 0) {
        return -EINVAL;
    }
    rc = wire_path(argv[0], rq->conn->domid, false, rq->path);
    if (rc == 0) {
        rc = find_node(rq, PERM_READ, TXN_KIDS, &n);
    }
    if (rc != 0) {
        return rc;
    }
    buf_printf(rq->reply, "%llu", (unsigned long long)n->kids_gen);
    buf_add(rq->reply, "", 1);
    start = rq->reply->len;
    all = node_list_bytes(n);
    /* One byte is kept for the empty name that ends the list. */
    node_list(n, offset, XENSTORE_PAYLOAD_MAX - 1 - start, rq->reply);
    if (offset + (rq->reply->len - start) >= all) {
        buf_add(rq->reply, "", 1);
    }
    return 0;
}

int op_read(struct request *rq)
{
    struct node *n;
    int rc = only_path(rq);

    if (rc == 0) {
        rc = find_node(rq, PERM_READ, TXN_VALUE, &n);
    }
    if (rc == 0) {
        buf_add(rq->reply, n->value->data, n->value->len);
    }
    return rc;
}

/* Whom the nodes created belong to. */
static int creator(const struct request *rq)
{
    return rq->who.privileged ? STORE_INHERIT_OWNER : rq->conn->domid;
}

/* Whether the caller may create the absent node rq->path with so many bytes of contents.
 * Errors: -EACCES, -ENOSPC. */
static int may_create(struct request *rq, size_t len)
{
    struct domain *d = rq->conn->domain;
    struct owner_delta delta = {0};
    unsigned int missing;
    long bytes;

    if (!may_see_absent(rq, PERM_WRITE, &missing)) {
        return -EACCES;
    }
    if (rq->who.privileged || !d) {
        return 0;
    }
    if (rq->txn) {
        delta = view_owner_delta(&rq->txn->view, d->domid);
    }
    /* Those on the way are empty, and their names parts of the path; permissions as for one. */
    bytes = delta.bytes + (long)missing * node_cost(0, 0, 1) + (long)(strlen(rq->path) + len);
    return d->nodes + (long)missing + delta.nodes > (long)server_quota(rq->server, d)->nodes ||
                   !server_has_room(rq, bytes)
               ? -ENOSPC
               : 0;
}

int op_write(struct request *rq)
{
    const char *end = memchr(rq->body, '\0', rq->len);
    const char *data;
    struct node *n;
    size_t len;
    int rc;

    if (!end) {
        return -EINVAL;
    }
    data = end + 1;
    len = rq->len - (size_t)(data - rq->body);
    rc = wire_path(rq->body, rq->conn->domid, false, rq->path);
    if (rc < 0) {
        return rc;
    }
    if (!rq->who.privileged && len > server_quota(rq->server, rq->conn->domain)->node_size) {
        return -ENOSPC;
    }
    if (node_find(view_of(rq)->root, rq->path)) {
        rc = find_node(rq, PERM_WRITE, TXN_VALUE, &n);
        rc = rc == 0 && !server_has_room(rq, (long)len - (long)n->value->len) ? -ENOSPC : rc;
    } else {
        rc = may_create(rq, len);
    }
    if (rc < 0) {
        return rc;
    }
    if (rq->txn) {
        txn_write(rq->txn, rq->path, data, len, creator(rq));
    } else {
        view_write(&rq->server->store.live, rq->path, data, len, creator(rq));
    }
    return answer_ok(rq);
}

int op_mkdir(struct request *rq)
{
    struct node *n;
    int rc = only_path(rq);

    if (rc < 0) {
        return rc;
    }
    if (node_find(view_of(rq)->root, rq->path)) {
        rc = find_node(rq, PERM_WRITE, TXN_EXISTS, &n);
        return rc < 0 ? rc : answer_ok(rq);
    }
    rc = may_create(rq, 0);
    if (rc < 0) {
        return rc;
    }
    if (rq->txn) {
        txn_mkdir(rq->txn, rq->path, creator(rq));
    } else {
        view_mkdir(&rq->server->store.live, rq->path, creator(rq));
    }
    return answer_ok(rq);
}

/* Removing what is absent is fine as long as its parent exists. */
static int rm_absent(struct request *rq)
{
    unsigned int missing;

    if (!may_see_absent(rq, PERM_WRITE, &missing)) {
        return -EACCES;
    }
    return missing == 1 ? answer_ok(rq) : -ENOENT;
}

int op_rm(struct request *rq)
{
    struct node *n;
    int rc = only_path(rq);

    if (rc < 0) {
        return rc;
    }
    if (strcmp(rq->path, "/") == 0) {
        return -EINVAL;
    }
    if (!node_find(view_of(rq)->root, rq->path)) {
        return rm_absent(rq);
    }
    rc = find_node(rq, PERM_WRITE, TXN_SUBTREE, &n);
    if (rc < 0) {
        return rc;
    }
    if (rq->txn) {
        txn_rm(rq->txn, rq->path);
    } else {
        view_rm(&rq->server->store.live, rq->path);
    }
    return answer_ok(rq);
}

/* Entries that meant a domain since gone are not shown, so that nobody sets them anew. */
static int show_perms(struct request *rq, const struct perms *p)
{
    for (uint32_t i = 0; i < p->count; i++) {
        if (i == 0 || !server_perm_is_stale(rq->server, &p->e[i])) {
            perms_format(rq->reply, &p->e[i]);
        }
    }
    return rq->reply->len > XENSTORE_PAYLOAD_MAX ? -E2BIG : 0;
}

int op_get_perms(struct request *rq)
{
    const char *path;
    enum special which;
    struct node *n;
    int rc;

    if (wire_strings(rq->body, rq->len, &path, 1) != 1) {
        return -EINVAL;
    }
    which = server_special(path);
    if (which != SPECIAL_COUNT) {
        return rq->who.privileged ? show_perms(rq, rq->server->special[which]) : -EACCES;
    }
    rc = wire_path(path, rq->conn->domid, false, rq->path);
    if (rc == 0) {
        rc = find_node(rq, PERM_READ, TXN_EXISTS, &n);
    }
    return rc != 0 ? rc : show_perms(rq, n->perms);
}

/* Makes sure every domain named has a record, so that a later one of its number is another. */
static void note_domains(struct server *s, const struct perms *p)
{
    for (uint32_t i = 0; i < p->count; i++) {
        server_domain(s, p->e[i].domid);
    }
}

static int set_node_perms(struct request *rq, struct perms *p)
{
    struct node *n;
    int rc = find_node(rq, PERM_WRITE | PERM_OWNER, TXN_EXISTS, &n);

    if (rc < 0) {
        return rc;
    }
    if (!rq->who.privileged) {
        if (p->e[0].domid != n->perms->e[0].domid) {
            return -EPERM;
        }
        if (p->count > server_quota(rq->server, rq->conn->domain)->permissions ||
            !server_has_room(rq, ((long)p->count - (long)n->perms->count) *
                                     (long)sizeof(struct perm_entry))) {
            return -ENOSPC;
        }
    }
    note_domains(rq->server, p);
    if (rq->txn) {
        txn_set_perms(rq->txn, rq->path, p);
    } else {
        view_set_perms(&rq->server->store.live, rq->path, p);
    }
    return answer_ok(rq);
}

static int set_special_perms(struct request *rq, enum special which, struct perms *p)
{
    if (!rq->who.privileged) {
        return -EACCES;
    }
    note_domains(rq->server, p);
    perms_put(rq->server->special[which]);
    rq->server->special[which] = perms_get(p);
    journal_specials(rq->server->journal, rq->server);
    return answer_ok(rq);
}

int op_set_perms(struct request *rq)
{
    size_t path_bytes = strnlen(rq->body, rq->len) + 1;
    enum special which = server_special(rq->body);
    struct perms *p;
    int rc;

    if (path_bytes >= rq->len) {
        return -EINVAL;
    }
    if (which == SPECIAL_COUNT) {
        rc = wire_path(rq->body, rq->conn->domid, false, rq->path);
        if (rc < 0) {
            return rc;
        }
    }
    rc = perms_parse(rq->body + path_bytes, rq->len - path_bytes, ++rq->server->store.gen, &p);
    if (rc < 0) {
        return rc;
    }
    rc = which == SPECIAL_COUNT ? set_node_perms(rq, p) : set_special_perms(rq, which, p);
    perms_put(p);
    return rc;
}
