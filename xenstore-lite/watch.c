// SPDX-License-Identifier: MIT
/*
 * The trie of watches. See watch.h. A place exists as long as it has watches or places below.
 */
#include "xenstore-lite/watch.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "xenstore-lite/mem.h"

struct watch_place {
    struct map_node by_name;    /* among the parent's kids */
    struct watch_place *parent; /* NULL for the two roots */
    struct map kids;            /* places one component below */
    struct watch *watches;      /* watches exactly here */
    size_t name_len;
    char name[];
};

/* Part of a path, as a key. */
struct component {
    const char *name;
    size_t len;
};

/* Path and token, as a key. */
struct watch_key {
    const char *path;
    const char *token;
};

static int place_cmp(const void *key, const struct map_node *n)
{
    const struct component *c = key;
    const struct watch_place *p = MAP_ENTRY(n, struct watch_place, by_name);
    int diff = memcmp(c->name, p->name, c->len < p->name_len ? c->len : p->name_len);

    if (diff != 0) {
        return diff;
    }
    return c->len < p->name_len ? -1 : c->len > p->name_len;
}

static int watch_cmp(const void *key, const struct map_node *n)
{
    const struct watch_key *k = key;
    const struct watch *w = MAP_ENTRY(n, struct watch, by_key);
    int diff = strcmp(k->path, w->path);

    return diff ? diff : strcmp(k->token, w->token);
}

static struct watch_place *place_new(struct watch_place *parent, const struct component *c)
{
    struct watch_place *p = mem_zalloc(sizeof(*p) + c->len);

    p->parent = parent;
    map_init(&p->kids, place_cmp);
    p->name_len = c->len;
    memcpy(p->name, c->name, c->len);
    if (parent) {
        map_insert(&parent->kids, c, &p->by_name);
    }
    return p;
}

static bool next_component(const char **path, struct component *c)
{
    *path += strspn(*path, "/");
    c->name = *path;
    c->len = strcspn(*path, "/");
    *path += c->len;
    return c->len > 0;
}

static struct watch_place *place_step(struct watch_place *p, const struct component *c)
{
    struct map_node *n = map_find(&p->kids, c);

    return n ? MAP_ENTRY(n, struct watch_place, by_name) : NULL;
}

static struct watch_place *root_for(struct watch_index *x, const char *path)
{
    return path[0] == '@' ? x->special : x->tree;
}

void watch_index_init(struct watch_index *x)
{
    const struct component none = {"", 0};

    x->tree = place_new(NULL, &none);
    x->special = place_new(NULL, &none);
}

void watch_index_destroy(struct watch_index *x)
{
    free(x->tree);
    free(x->special);
    *x = (struct watch_index){0};
}

void watch_set_init(struct watch_set *s)
{
    map_init(&s->by_key, watch_cmp);
}

size_t watch_cost(const char *path, const char *token)
{
    size_t bytes = sizeof(struct watch) + 2 * strlen(path) + strlen(token);
    struct component c;

    while (next_component(&path, &c)) {
        bytes += sizeof(struct watch_place);
    }
    return bytes;
}

int watch_add(struct watch_index *x, struct watch_set *s, void *owner, const char *path,
              const char *token, size_t home_len, struct watch **out)
{
    const struct watch_key key = {path, token};
    size_t path_bytes = strlen(path) + 1, token_bytes = strlen(token) + 1;
    struct watch_place *p = root_for(x, path);
    struct component c;
    struct watch *w;

    if (map_find(&s->by_key, &key)) {
        return -EEXIST;
    }
    w = mem_zalloc(sizeof(*w) + path_bytes + token_bytes);
    memcpy(w->text, path, path_bytes);
    memcpy(w->text + path_bytes, token, token_bytes);
    w->path = w->text;
    w->token = w->text + path_bytes;
    w->owner = owner;
    w->home_len = home_len;
    w->depth = WATCH_ANY_DEPTH;
    map_insert(&s->by_key, &key, &w->by_key);
    s->bytes += watch_cost(w->path, w->token);

    while (next_component(&path, &c)) {
        struct watch_place *kid = place_step(p, &c);

        p = kid ? kid : place_new(p, &c);
    }
    w->place = p;
    w->next = p->watches;
    w->link = &p->watches;
    if (w->next) {
        w->next->link = &w->next;
    }
    p->watches = w;
    *out = w;
    return 0;
}

static void place_prune(struct watch_place *p)
{
    while (p->parent && !p->watches && p->kids.count == 0) {
        struct watch_place *parent = p->parent;
        const struct component c = {p->name, p->name_len};

        map_remove(&parent->kids, &c);
        free(p);
        p = parent;
    }
}

static void detach(struct watch_set *s, struct watch *w)
{
    s->bytes -= watch_cost(w->path, w->token);
    *w->link = w->next;
    if (w->next) {
        w->next->link = w->link;
    }
    place_prune(w->place);
    free(w);
}

int watch_remove(struct watch_set *s, const char *path, const char *token)
{
    const struct watch_key key = {path, token};
    struct map_node *n = map_remove(&s->by_key, &key);

    if (!n) {
        return -ENOENT;
    }
    detach(s, MAP_ENTRY(n, struct watch, by_key));
    return 0;
}

struct map_node *watch_next(struct watch_set *s, const struct map_node *n)
{
    const struct watch *w = MAP_ENTRY(n, struct watch, by_key);
    const struct watch_key key = {w->path, w->token};

    return map_after(&s->by_key, &key);
}

void watch_remove_all(struct watch_set *s)
{
    struct map_node *n;

    while ((n = map_first(&s->by_key)) != NULL) {
        struct watch *w = MAP_ENTRY(n, struct watch, by_key);
        const struct watch_key key = {w->path, w->token};

        map_remove(&s->by_key, &key);
        detach(s, w);
    }
}

static uint32_t levels(const char *path)
{
    struct component c;
    uint32_t count = 0;

    while (next_component(&path, &c)) {
        count++;
    }
    return count;
}

/* Calls fn for the watches of a place, about the path that goes on from there with `below`. */
static void match_place(struct watch_place *p, const char *event_path, const char *below,
                        watch_fn fn, void *ctx)
{
    for (struct watch *w = p->watches; w; w = w->next) {
        if (w->depth == WATCH_ANY_DEPTH || levels(below) <= w->depth) {
            fn(ctx, w, event_path ? event_path : w->path);
        }
    }
}

void watch_match(struct watch_index *x, const char *path, watch_fn fn, void *ctx)
{
    struct watch_place *p = root_for(x, path);
    const char *rest = path;
    struct component c;

    match_place(p, path, rest, fn, ctx);
    while (next_component(&rest, &c) && (p = place_step(p, &c)) != NULL) {
        match_place(p, path, rest, fn, ctx);
    }
}

static void match_tree(struct map_node *n, watch_fn fn, void *ctx)
{
    struct watch_place *p;

    if (!n) {
        return;
    }
    p = MAP_ENTRY(n, struct watch_place, by_name);
    match_tree(n->left, fn, ctx);
    match_place(p, NULL, "", fn, ctx);
    match_tree(p->kids.root, fn, ctx);
    match_tree(n->right, fn, ctx);
}

void watch_match_below(struct watch_index *x, const char *path, watch_fn fn, void *ctx)
{
    struct watch_place *p = root_for(x, path);
    struct component c;

    while (next_component(&path, &c)) {
        p = place_step(p, &c);
        if (!p) {
            return;
        }
    }
    match_tree(p->kids.root, fn, ctx);
}
