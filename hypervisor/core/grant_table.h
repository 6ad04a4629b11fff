// SPDX-License-Identifier: MIT
/*
 * Grant tables, version 1: how a domain lets another map or copy its frames. Version 2, transfer
 * and transitive grants are refused on purpose. Two books are kept:
 *  - the granter's active entries, one per grant reference: who uses it now, and how often (pins);
 *  - the mapper's map tracking, one entry per handle it was given.
 * Both are under the grant lock (RANK_DOM_GRANT) of the domain they belong to; a handle in use that
 * is not live is its call's alone, which makes it live without. No two such locks are held at once.
 */
#pragma once

#include "core/domain.h"

#define GRANTS_PER_FRAME (PAGE_SIZE / sizeof(grant_entry_v1_t))

/* One grant reference while it is in use. With no pins only the counts mean something. */
struct grant_active {
    struct frame *frame; /* each pin has a general reference, and a writable one to write */
    uint16_t readers, writers;
    domid_t grantee;
};

/* One handle. A live one is a pin, and the references that go with it; one that is in use and not
 * live is being made or undone by a hypercall under way: nobody else touches it. */
struct grant_mapping {
    struct domain *granter; /* referenced */
    grant_ref_t ref;        /* of a free one: index of the next free one in the page */
    uint16_t flags;         /* GNTMAP_host_map, _device_map, _readonly, _contains_pte */
    bool live;
};
/* A handle is a page's number and, in the low bits, an entry of it; the last one has none. */
#define HANDLES_PER_PAGE 256u
#define MAPPINGS_PER_PAGE (HANDLES_PER_PAGE - 1)

struct maptrack_page {
    struct grant_mapping mapping[MAPPINGS_PER_PAGE];
    uint32_t used, first_free;
};
_Static_assert(sizeof(struct maptrack_page) <= PAGE_SIZE, "one page");

struct grant_table {
    struct spinlock lock;
    uint32_t max_frames;   /* constant */
    uint32_t max_maptrack; /* constant, pages */
    /* under lock; what frame_count counts never moves, nor does a page with a handle in use */
    uint32_t frame_count;
    uint32_t free_handles;                               /* in all pages */
    uint32_t spare;                                      /* page without a handle in use; 0 none */
    uint64_t roomy[BITMAP_WORDS(MAX_MAPTRACK_FRAMES)];   /* pages with free handles */
    struct frame *frame[MAX_GRANT_FRAMES];               /* shared with the domain */
    struct grant_active *active[MAX_GRANT_FRAMES];       /* GRANTS_PER_FRAME each */
    struct maptrack_page *maptrack[MAX_MAPTRACK_FRAMES]; /* NULL: not needed now */
    struct maptrack_page first;                          /* maptrack[0], which stays */
    uint32_t release_next; /* where grant_table_release_mappings() goes on */
};

must_check int grant_table_create(struct domain *d, uint32_t max_frames, uint32_t max_maptrack);
/* grant_map.c: flush for what v's call has unmapped, then forget those mappings. */
void grant_unmap_finish(struct vcpu *v);
/* grant_map.c: let handles be made in `page`, cleared, as page nr of d's map tracking. */
void grant_maptrack_add(struct grant_table *gt, uint32_t nr, struct maptrack_page *page);
/* Undo all mappings d made of others' frames; part of domain death: -ERESTART until done. */
must_check long grant_table_release_mappings(struct domain *d);
/* Free the table if there is one; the last reference of d is gone. */
void grant_table_free(struct domain *d);
/* Grow to at least nr frames, which are shared with d (frame_share). -EINVAL, -ENOMEM. */
must_check int grant_table_grow(struct domain *d, uint32_t nr_frames);
/* Grow to first + count frames and write the numbers of the last `count` to a guest's list;
 * -EFAULT or the errors of grant_table_grow(). */
must_check int grant_table_list(struct domain *d, uint32_t first, uint32_t count, vaddr_t list);

/* The entry of a reference below the table's size. */
static inline struct grant_active *grant_active(const struct grant_table *gt, grant_ref_t ref)
{
    return &gt->active[ref / GRANTS_PER_FRAME][ref % GRANTS_PER_FRAME];
}
