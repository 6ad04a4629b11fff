// SPDX-License-Identifier: MIT
/*
 * The node tree of store.h: a path-copying tree whose levels are treaps.
 *
 * Invariant of every function that edits: before a node is changed, own() has made sure that it,
 * and with it every node above, has one holder.
 */
#include "xenstore-lite/store.h"

#include <stdlib.h>
#include <string.h>

static struct node *node_new(const char *name, size_t len, struct perms *perms, uint64_t gen)
{
    struct node *n = mem_zalloc(sizeof(*n));

    n->ref = 1;
    n->prio = (uint32_t)mem_random();
    n->sib_count = 1;
    n->sib_bytes = len + 1;
    n->value_gen = gen;
    n->perms_gen = gen;
    n->kids_gen = gen;
    n->name = blob_new(name, len);
    n->value = blob_new(NULL, 0);
    n->perms = perms;
    return n;
}

struct node *node_get(struct node *n)
{
    if (n) {
        n->ref++;
    }
    return n;
}

void node_put(struct node *n)
{
    if (!n || --n->ref > 0) {
        return;
    }
    node_put(n->left);
    node_put(n->right);
    node_put(n->kids);
    blob_put(n->name);
    blob_put(n->value);
    perms_put(n->perms);
    free(n);
}

/* Replaces a shared node by a copy of its own, so that it may be changed. */
static struct node *own(struct node **slot)
{
    struct node *old = *slot, *n;

    /* Every caller has found a node there, which the analyser cannot know of kid_remove(). */
    if (old->ref == 1) { // NOLINT(clang-analyzer-core.NullDereference)
        return old;
    }
    n = mem_alloc(sizeof(*n));
    *n = *old;
    n->ref = 1;
    node_get(n->left);
    node_get(n->right);
    node_get(n->kids);
    blob_get(n->name);
    blob_get(n->value);
    perms_get(n->perms);
    node_put(old);
    *slot = n;
    return n;
}

static int name_cmp(const char *name, size_t len, const struct node *n)
{
    size_t shorter = len < n->name->len ? len : n->name->len;
    int c = memcmp(name, n->name->data, shorter);

    if (c != 0) {
        return c;
    }
    return len < n->name->len ? -1 : len > n->name->len;
}

static void sum_siblings(struct node *n)
{
    n->sib_count = 1;
    n->sib_bytes = (size_t)n->name->len + 1;
    if (n->left) {
        n->sib_count += n->left->sib_count;
        n->sib_bytes += n->left->sib_bytes;
    }
    if (n->right) {
        n->sib_count += n->right->sib_count;
        n->sib_bytes += n->right->sib_bytes;
    }
}

static struct node *kid_find(struct node *kids, const char *name, size_t len)
{
    while (kids) {
        int c = name_cmp(name, len, kids);

        if (c == 0) {
            return kids;
        }
        kids = c < 0 ? kids->left : kids->right;
    }
    return NULL;
}

/* The slot that holds an existing child, with the way to it and itself owned. */
static struct node **kid_slot(struct node **slot, const char *name, size_t len)
{
    for (;;) {
        struct node *n = own(slot);
        int c = name_cmp(name, len, n);

        if (c == 0) {
            return slot;
        }
        slot = c < 0 ? &n->left : &n->right;
    }
}

/* Cuts a treap of siblings at a name that is not in it. */
static void kid_split(struct node *t, const char *name, size_t len, struct node **low,
                      struct node **high)
{
    if (!t) {
        *low = NULL;
        *high = NULL;
        return;
    }
    t = own(&t);
    if (name_cmp(name, len, t) < 0) {
        kid_split(t->left, name, len, low, &t->left);
        *high = t;
    } else {
        kid_split(t->right, name, len, &t->right, high);
        *low = t;
    }
    sum_siblings(t);
}

static struct node *kid_merge(struct node *low, struct node *high)
{
    if (!low || !high) {
        return low ? low : high;
    }
    if (low->prio > high->prio) {
        low = own(&low);
        low->right = kid_merge(low->right, high);
        sum_siblings(low);
        return low;
    }
    high = own(&high);
    high->left = kid_merge(low, high->left);
    sum_siblings(high);
    return high;
}

static void kid_insert(struct node **slot, struct node *kid)
{
    const char *name = kid->name->data;
    size_t len = kid->name->len;

    while (*slot && (*slot)->prio >= kid->prio) {
        struct node *n = own(slot);

        n->sib_count++;
        n->sib_bytes += len + 1;
        slot = name_cmp(name, len, n) < 0 ? &n->left : &n->right;
    }
    kid_split(*slot, name, len, &kid->left, &kid->right);
    sum_siblings(kid);
    *slot = kid;
}

/* Takes an existing child out of the treap; the caller gets its reference. */
static struct node *kid_remove(struct node **slot, const char *name, size_t len)
{
    for (;;) {
        struct node *n = own(slot);
        int c = name_cmp(name, len, n);

        if (c == 0) {
            *slot = kid_merge(n->left, n->right);
            n->left = NULL;
            n->right = NULL;
            sum_siblings(n);
            return n;
        }
        n->sib_count--;
        n->sib_bytes -= len + 1;
        slot = c < 0 ? &n->left : &n->right;
    }
}

/* Steps to the next component of a path: NULL at its end. */
static const char *next_component(const char **path, size_t *len)
{
    const char *start = *path;

    while (*start == '/') {
        start++;
    }
    *len = strcspn(start, "/");
    *path = start + *len;
    return *len > 0 ? start : NULL;
}

struct node *node_find(struct node *root, const char *path)
{
    struct node *n = root;
    const char *name;
    size_t len;

    while (n && (name = next_component(&path, &len)) != NULL) {
        n = kid_find(n->kids, name, len);
    }
    return n;
}

size_t node_list_bytes(const struct node *n)
{
    return n->kids ? n->kids->sib_bytes : 0;
}

/* Lists a treap of siblings in order. Returns: false when `max` is reached. */
static bool list_siblings(const struct node *t, size_t *skip, size_t max, struct buf *out)
{
    size_t own_bytes;

    if (!t) {
        return true;
    }
    if (*skip >= t->sib_bytes) {
        *skip -= t->sib_bytes;
        return true;
    }
    if (!list_siblings(t->left, skip, max, out)) {
        return false;
    }
    own_bytes = (size_t)t->name->len + 1;
    if (*skip >= own_bytes) {
        *skip -= own_bytes;
    } else {
        /* An offset inside a name is answered from there on, as a plain byte offset would. */
        if (own_bytes - *skip > max - out->len) {
            return false;
        }
        buf_add(out, t->name->data + *skip, own_bytes - *skip);
        *skip = 0;
    }
    return list_siblings(t->right, skip, max, out);
}

void node_list(const struct node *n, size_t offset, size_t max, struct buf *out)
{
    list_siblings(n->kids, &offset, max + out->len, out);
}

static bool each_sibling(struct node *t, size_t *skip, bool (*fn)(void *ctx, struct node *kid),
                         void *ctx)
{
    size_t own_bytes;

    if (!t) {
        return true;
    }
    if (*skip >= t->sib_bytes) {
        *skip -= t->sib_bytes;
        return true;
    }
    if (!each_sibling(t->left, skip, fn, ctx)) {
        return false;
    }
    own_bytes = t->name->len + 1;
    if (*skip > 0) {
        *skip -= *skip < own_bytes ? *skip : own_bytes;
    } else if (!fn(ctx, t)) {
        return false;
    }
    return each_sibling(t->right, skip, fn, ctx);
}

void node_each_kid(const struct node *n, size_t offset, bool (*fn)(void *ctx, struct node *kid),
                   void *ctx)
{
    each_sibling(n->kids, &offset, fn, ctx);
}

/* Goes on with a path, which ends with a NUL beyond its length. */
static void add_component(struct buf *path, const struct blob *name)
{
    if (path->len != 1) { /* "/" */
        buf_add(path, "/", 1);
    }
    buf_add(path, name->data, name->len + 1);
    path->len--;
}

static void walk_siblings(struct node *t, struct buf *path,
                          void (*fn)(void *ctx, const char *path, struct node *n), void *ctx)
{
    size_t len = path->len;

    if (!t) {
        return;
    }
    walk_siblings(t->left, path, fn, ctx);
    add_component(path, t->name);
    fn(ctx, path->data, t);
    walk_siblings(t->kids, path, fn, ctx);
    path->len = len;
    walk_siblings(t->right, path, fn, ctx);
}

void node_walk(struct node *n, const char *path,
               void (*fn)(void *ctx, const char *path, struct node *n), void *ctx)
{
    struct buf b = {0};

    buf_add(&b, path, strlen(path) + 1);
    b.len--;
    fn(ctx, b.data, n);
    walk_siblings(n->kids, &b, fn, ctx);
    buf_free(&b);
}

void node_walk_to(struct node *root, const char *path,
                  void (*fn)(void *ctx, const char *path, struct node *n, bool last), void *ctx)
{
    const char *rest = path, *name;
    struct node *n = root;
    struct buf at = {0};
    size_t len;

    fn(ctx, "/", root, path[strspn(path, "/")] == '\0');
    while ((name = next_component(&rest, &len)) != NULL && (n = kid_find(n->kids, name, len))) {
        add_component(&at, n->name);
        fn(ctx, at.data, n, *rest == '\0');
    }
    buf_free(&at);
}

void view_init(struct view *v, struct node *root, uint64_t *gen)
{
    *v = (struct view){.root = root, .gen = gen};
}

void view_clear(struct view *v)
{
    for (size_t i = 0; i < v->change_count; i++) {
        blob_put(v->changes[i].path);
        perms_put(v->changes[i].perms);
        perms_put(v->changes[i].old);
        node_put(v->changes[i].gone);
    }
    v->change_count = 0;
    v->delta_count = 0;
}

void view_destroy(struct view *v)
{
    view_clear(v);
    free(v->changes);
    free(v->deltas);
    node_put(v->root);
    *v = (struct view){0};
}

static struct change *note_change(struct view *v, const char *path, struct perms *perms)
{
    if (v->change_count == v->change_room) {
        v->change_room = v->change_room ? v->change_room * 2 : 8;
        v->changes = mem_resize(v->changes, v->change_room, sizeof(v->changes[0]));
    }
    v->changes[v->change_count] =
        (struct change){.path = blob_new(path, strlen(path)), .perms = perms_get(perms)};
    return &v->changes[v->change_count++];
}

/* Where an owner's delta is, or would be: they are in order, since a removal may meet thousands. */
static size_t delta_index(const struct view *v, uint16_t domid)
{
    size_t low = 0, high = v->delta_count;

    while (low < high) {
        size_t middle = (low + high) / 2;

        if (v->deltas[middle].domid < domid) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static void note_owner(struct view *v, uint16_t domid, long nodes, long bytes)
{
    size_t at = delta_index(v, domid);

    if (at < v->delta_count && v->deltas[at].domid == domid) {
        v->deltas[at].nodes += nodes;
        v->deltas[at].bytes += bytes;
        return;
    }
    if (v->delta_count == v->delta_room) {
        v->delta_room = v->delta_room ? v->delta_room * 2 : 8;
        v->deltas = mem_resize(v->deltas, v->delta_room, sizeof(v->deltas[0]));
    }
    memmove(&v->deltas[at + 1], &v->deltas[at], (v->delta_count - at) * sizeof(v->deltas[0]));
    v->deltas[at] = (struct owner_delta){.domid = domid, .nodes = nodes, .bytes = bytes};
    v->delta_count++;
}

struct owner_delta view_owner_delta(const struct view *v, uint16_t domid)
{
    size_t at = delta_index(v, domid);

    return at < v->delta_count && v->deltas[at].domid == domid
               ? v->deltas[at]
               : (struct owner_delta){.domid = domid};
}

/* A child that takes after its parent, as every created node does. */
static struct node *make_child(struct view *v, struct node *parent, const char *name, size_t len,
                               int creator, uint64_t gen)
{
    struct perms *perms;
    struct node *kid;

    if (creator == STORE_INHERIT_OWNER) {
        perms = perms_get(parent->perms);
    } else {
        perms = perms_with_owner(parent->perms, (uint16_t)creator, gen);
    }
    kid = node_new(name, len, perms, gen);
    kid_insert(&parent->kids, kid);
    parent->kids_gen = gen;
    note_owner(v, perms->e[0].domid, 1, node_bytes(kid));
    return kid;
}

/* The node at path, owned down from the root, and created where it is missing. */
static struct node *edit(struct view *v, const char *path, int creator, uint64_t gen)
{
    struct node *n = own(&v->root);
    const char *name;
    size_t len;

    while ((name = next_component(&path, &len)) != NULL) {
        if (kid_find(n->kids, name, len)) {
            n = *kid_slot(&n->kids, name, len);
        } else {
            n = make_child(v, n, name, len, creator, gen);
        }
    }
    return n;
}

void view_write(struct view *v, const char *path, const void *data, size_t len, int creator)
{
    uint64_t gen = ++*v->gen;
    struct node *n = edit(v, path, creator, gen);

    note_owner(v, n->perms->e[0].domid, 0, (long)len - (long)n->value->len);
    blob_put(n->value);
    n->value = blob_new(data, len);
    n->value_gen = gen;
    note_change(v, path, n->perms);
}

void view_mkdir(struct view *v, const char *path, int creator)
{
    struct node *n = edit(v, path, creator, ++*v->gen);

    note_change(v, path, n->perms);
}

static void count_lost(void *ctx, const char *path, struct node *n)
{
    (void)path;
    note_owner(ctx, n->perms->e[0].domid, -1, -node_bytes(n));
}

void view_rm(struct view *v, const char *path)
{
    const char *last = strrchr(path, '/');
    struct node *parent = own(&v->root);
    const char *name, *rest = path;
    struct node *gone;
    size_t len;

    while ((name = next_component(&rest, &len)) != NULL && name <= last) {
        parent = *kid_slot(&parent->kids, name, len);
    }
    gone = kid_remove(&parent->kids, last + 1, strlen(last + 1));
    parent->kids_gen = ++*v->gen;
    node_walk(gone, path, count_lost, v);
    note_change(v, path, gone->perms)->gone = gone;
}

void view_set_perms(struct view *v, const char *path, struct perms *p)
{
    uint64_t gen = ++*v->gen;
    struct node *n = edit(v, path, STORE_INHERIT_OWNER, gen);

    note_owner(v, n->perms->e[0].domid, -1, -node_bytes(n));
    note_change(v, path, p)->old = n->perms;
    n->perms = perms_get(p);
    note_owner(v, p->e[0].domid, 1, node_bytes(n));
    n->perms_gen = gen;
}

void store_init(struct store *s)
{
    *s = (struct store){.gen = 1, .nodes = 1};
    view_init(&s->live, node_new("", 0, perms_new(0, 0, s->gen), s->gen), &s->gen);
}

void store_destroy(struct store *s)
{
    view_destroy(&s->live);
}

void store_publish(struct store *s, const struct view *v)
{
    node_put(s->live.root);
    s->live.root = node_get(v->root);
}

void store_count(struct store *s, const struct view *v)
{
    for (size_t i = 0; i < v->delta_count; i++) {
        s->nodes += (uint64_t)v->deltas[i].nodes;
    }
}
