// SPDX-License-Identifier: MIT
/*
 * Transactions. See txn.h.
 */
#include "xenstore-lite/txn.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum edit_kind { EDIT_WRITE, EDIT_MKDIR, EDIT_RM, EDIT_PERMS };

/* One edit, to be repeated when the live tree has moved on. */
struct txn_edit {
    enum edit_kind kind;
    int creator;         /* write, mkdir */
    struct blob *path;   /* all */
    struct blob *value;  /* write */
    struct perms *perms; /* set permissions */
};

/* A path the transaction depends on. */
struct txn_access {
    struct map_node by_path;
    unsigned int what;
    char path[];
};

static int access_cmp(const void *key, const struct map_node *n)
{
    return strcmp(key, MAP_ENTRY(n, struct txn_access, by_path)->path);
}

static void hold(struct txn *t, size_t bytes)
{
    t->bytes += bytes;
    if (t->total) {
        *t->total += bytes;
    }
}

struct txn *txn_new(struct store *s, uint32_t id, size_t *total)
{
    struct txn *t = mem_zalloc(sizeof(*t));

    t->id = id;
    t->total = total;
    hold(t, sizeof(*t));
    t->base = node_get(s->live.root);
    view_init(&t->view, node_get(s->live.root), &s->gen);
    map_init(&t->accesses, access_cmp);
    return t;
}

static void free_accesses(struct map_node *n)
{
    if (n) {
        free_accesses(n->left);
        free_accesses(n->right);
        free(MAP_ENTRY(n, struct txn_access, by_path));
    }
}

void txn_free(struct txn *t)
{
    if (t->total) {
        *t->total -= t->bytes;
    }
    free_accesses(t->accesses.root);
    for (size_t i = 0; i < t->edit_count; i++) {
        blob_put(t->edits[i].path);
        blob_put(t->edits[i].value);
        perms_put(t->edits[i].perms);
    }
    free(t->edits);
    view_destroy(&t->view);
    node_put(t->base);
    free(t);
}

void txn_depend(struct txn *t, const char *path, unsigned int what)
{
    struct map_node *n = map_find(&t->accesses, path);
    struct txn_access *a;
    size_t bytes;

    if (n) {
        MAP_ENTRY(n, struct txn_access, by_path)->what |= what;
        return;
    }
    bytes = strlen(path) + 1;
    a = mem_zalloc(sizeof(*a) + bytes);
    hold(t, sizeof(*a) + bytes);
    memcpy(a->path, path, bytes);
    a->what = what;
    map_insert(&t->accesses, a->path, &a->by_path);
}

static struct txn_edit *add_edit(struct txn *t, enum edit_kind kind, const char *path)
{
    struct txn_edit *e;

    if (t->edit_count == t->edit_room) {
        t->edit_room = t->edit_room ? t->edit_room * 2 : 8;
        t->edits = mem_resize(t->edits, t->edit_room, sizeof(t->edits[0]));
    }
    e = &t->edits[t->edit_count++];
    *e = (struct txn_edit){.kind = kind, .path = blob_new(path, strlen(path))};
    /* With the note of the change, and the nodes copied for it, as many as the path has. */
    hold(t, sizeof(*e) + sizeof(struct change) + 2 * strlen(path));
    for (const char *c = path; *c; c++) {
        hold(t, *c == '/' ? sizeof(struct node) : 0);
    }
    return e;
}

static void do_edit(struct view *v, const struct txn_edit *e)
{
    switch (e->kind) {
    case EDIT_WRITE:
        view_write(v, e->path->data, e->value->data, e->value->len, e->creator);
        break;
    case EDIT_MKDIR:
        view_mkdir(v, e->path->data, e->creator);
        break;
    case EDIT_RM:
        view_rm(v, e->path->data);
        break;
    case EDIT_PERMS:
        view_set_perms(v, e->path->data, e->perms);
        break;
    }
}

void txn_write(struct txn *t, const char *path, const void *data, size_t len, int creator)
{
    struct txn_edit *e = add_edit(t, EDIT_WRITE, path);

    e->value = blob_new(data, len);
    hold(t, len);
    e->creator = creator;
    do_edit(&t->view, e);
}

void txn_mkdir(struct txn *t, const char *path, int creator)
{
    struct txn_edit *e = add_edit(t, EDIT_MKDIR, path);

    e->creator = creator;
    do_edit(&t->view, e);
}

void txn_rm(struct txn *t, const char *path)
{
    do_edit(&t->view, add_edit(t, EDIT_RM, path));
}

void txn_set_perms(struct txn *t, const char *path, struct perms *p)
{
    struct txn_edit *e = add_edit(t, EDIT_PERMS, path);

    e->perms = perms_get(p);
    hold(t, p->count * sizeof(p->e[0]));
    do_edit(&t->view, e);
}

static bool differs(const struct node *was, const struct node *is, unsigned int what)
{
    if (!was || !is) {
        return was != is;
    }
    /* A node removed and made again is another one: all of its generations are new. */
    if ((what & (TXN_VALUE | TXN_SUBTREE)) && was->value_gen != is->value_gen) {
        return true;
    }
    if ((what & (TXN_PERMS | TXN_SUBTREE)) && was->perms_gen != is->perms_gen) {
        return true;
    }
    if ((what & TXN_KIDS) && was->kids_gen != is->kids_gen) {
        return true;
    }
    /* The snapshot holds its nodes, so an edit below has given the live tree another root here. */
    return (what & TXN_SUBTREE) && was->kids != is->kids;
}

static bool conflicts(struct map_node *n, struct node *base, struct node *live)
{
    const struct txn_access *a;

    if (!n) {
        return false;
    }
    a = MAP_ENTRY(n, struct txn_access, by_path);
    return differs(node_find(base, a->path), node_find(live, a->path), a->what) ||
           conflicts(n->left, base, live) || conflicts(n->right, base, live);
}

bool txn_conflicts(const struct txn *t, struct node *root)
{
    return root != t->base && conflicts(t->accesses.root, t->base, root);
}

int txn_resolve(struct txn *t, struct store *s)
{
    if (s->live.root == t->base) {
        return 0;
    }
    if (t->edit_count > 0 && txn_conflicts(t, s->live.root)) {
        return -EAGAIN;
    }
    view_destroy(&t->view);
    view_init(&t->view, node_get(s->live.root), &s->gen);
    for (size_t i = 0; i < t->edit_count; i++) {
        do_edit(&t->view, &t->edits[i]);
    }
    return 0;
}
