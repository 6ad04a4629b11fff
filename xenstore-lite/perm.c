// SPDX-License-Identifier: MIT
/*
 * Permission lists: text form and access decision. See perm.h.
 */
#include "xenstore-lite/perm.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static struct perms *perms_alloc(uint32_t count)
{
    struct perms *p = mem_zalloc(sizeof(*p) + count * sizeof(p->e[0]));

    p->ref = 1;
    p->count = count;
    return p;
}

struct perms *perms_new(uint16_t owner, uint8_t others, uint64_t gen)
{
    struct perms *p = perms_alloc(1);

    p->e[0] = (struct perm_entry){.gen = gen, .domid = owner, .bits = others};
    return p;
}

struct perms *perms_get(struct perms *p)
{
    p->ref++;
    return p;
}

void perms_put(struct perms *p)
{
    if (p && --p->ref == 0) {
        free(p);
    }
}

struct perms *perms_with_owner(const struct perms *p, uint16_t owner, uint64_t gen)
{
    struct perms *copy = perms_alloc(p->count);

    memcpy(copy->e, p->e, p->count * sizeof(p->e[0]));
    copy->e[0].domid = owner;
    copy->e[0].gen = gen;
    return copy;
}

static int parse_entry(const char *s, uint64_t gen, struct perm_entry *e)
{
    unsigned long domid = 0;

    *e = (struct perm_entry){.gen = gen};
    switch (*s++) {
    case 'n':
        break;
    case 'r':
        e->bits = PERM_READ;
        break;
    case 'w':
        e->bits = PERM_WRITE;
        break;
    case 'b':
        e->bits = PERM_READ | PERM_WRITE;
        break;
    default:
        return -EINVAL;
    }
    if (*s == '\0') {
        return -EINVAL;
    }
    for (; *s; s++) {
        if (*s < '0' || *s > '9') {
            return -EINVAL;
        }
        domid = domid * 10 + (unsigned long)(*s - '0');
        if (domid > UINT16_MAX) {
            return -EINVAL;
        }
    }
    e->domid = (uint16_t)domid;
    return 0;
}

int perms_parse(const char *text, size_t len, uint64_t gen, struct perms **out)
{
    struct perms *p;
    uint32_t count = 0;

    if (len == 0 || text[len - 1] != '\0') {
        return -EINVAL;
    }
    for (size_t i = 0; i < len; i++) {
        count += text[i] == '\0';
    }
    p = perms_alloc(count);
    for (uint32_t i = 0; i < count; i++) {
        if (parse_entry(text, gen, &p->e[i]) != 0) {
            perms_put(p);
            return -EINVAL;
        }
        text += strlen(text) + 1;
    }
    *out = p;
    return 0;
}

void perms_format(struct buf *out, const struct perm_entry *e)
{
    static const char letter[] = {'n', 'r', 'w', 'b'};

    buf_printf(out, "%c%u", letter[e->bits & (PERM_READ | PERM_WRITE)], e->domid);
    buf_add(out, "", 1);
}

static bool speaks_of(const struct perm_entry *e, const struct perm_who *who)
{
    if (e->domid == who->domid && e->gen >= who->born) {
        return true;
    }
    return who->has_target && e->domid == who->target && e->gen >= who->target_born;
}

unsigned int perms_access(const struct perms *p, const struct perm_who *who)
{
    if (who->privileged || speaks_of(&p->e[0], who)) {
        return PERM_READ | PERM_WRITE | PERM_OWNER;
    }
    for (uint32_t i = 1; i < p->count; i++) {
        if (speaks_of(&p->e[i], who)) {
            return p->e[i].bits;
        }
    }
    return p->e[0].bits;
}
