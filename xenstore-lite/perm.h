// SPDX-License-Identifier: MIT
/*
 * Permissions: who may read and write a node.
 *
 * A list is immutable and shared by reference. Its first entry names the owner, who may do
 * everything, and what everybody not listed may do; the others name one domain each. Every entry
 * carries the store's generation at which it was made, because domain numbers are used again: an
 * entry older than the domain that now has the number does not speak of that domain.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "xenstore-lite/mem.h"

enum {
    PERM_READ = 1,
    PERM_WRITE = 2,
    PERM_OWNER = 4,
};

struct perm_entry {
    uint64_t gen;   /* generation at which the entry was set */
    uint16_t domid; /* whom it speaks of */
    uint8_t bits;   /* PERM_READ and PERM_WRITE; of entry 0: for everybody else */
};

struct perms {
    uint32_t ref;          /* holders */
    uint32_t count;        /* entries, at least 1 */
    struct perm_entry e[]; /* e[0] is the owner */
};

/* On whose behalf access is checked. */
struct perm_who {
    uint16_t domid;       /* the caller */
    bool privileged;      /* the control domain: everything is allowed */
    bool has_target;      /* the caller acts for another domain too */
    uint16_t target;      /* that domain */
    uint64_t born;        /* generation since which the caller exists */
    uint64_t target_born; /* the same for its target */
};

/* A list with one entry. */
struct perms *perms_new(uint16_t owner, uint8_t others, uint64_t gen);
struct perms *perms_get(struct perms *p);
void perms_put(struct perms *p);

/* The same list under another owner. */
struct perms *perms_with_owner(const struct perms *p, uint16_t owner, uint64_t gen);

/*
 * Reads "<letter><domid>" strings, each with its NUL, as the protocol sends them.
 * Errors: -EINVAL when the bytes are anything else; *out is then untouched.
 */
int perms_parse(const char *text, size_t len, uint64_t gen, struct perms **out);

/* Appends one entry in the protocol's form, with its NUL. */
void perms_format(struct buf *out, const struct perm_entry *e);

/* What `who` may do: a mask of PERM_ bits. */
unsigned int perms_access(const struct perms *p, const struct perm_who *who);
