// SPDX-License-Identifier: MIT
/*
 * What the grant_*.c files share. Two books are kept:
 *  - the granter's active entries, one per grant reference: who uses it now, and how often (pins);
 *  - the mapper's map tracking, one entry per handle it was given.
 * Both are under the grant lock of the domain they belong to. No two grant locks are held at once.
 */
#pragma once

#include "core/domain.h"
#include "core/frame.h"
#include "core/grant_table.h"

#define GRANTS_PER_FRAME (PAGE_SIZE / sizeof(grant_entry_v1_t))
#define ACTIVE_ORDER 1 /* active entries of one grant frame fill two frames */

/* One grant reference while it is in use. With no pins only the counts mean something. */
struct grant_active {
    struct frame
        *frame; /* each pin's holder has a general reference, and a writable one to write */
    uint16_t readers, writers;
    domid_t grantee;
};

enum grant_mapping_state {
    MAPPING_FREE = 0,
    MAPPING_CHANGING, /* being made or undone by a hypercall under way: nobody else touches it */
    MAPPING_LIVE,
};

/* One handle: a pin, and the references that go with it. */
struct grant_mapping {
    struct domain *granter; /* referenced; NULL while FREE or being made */
    uint32_t ref;           /* FREE: the next free handle */
    uint16_t flags;         /* GNTMAP_host_map, _device_map, _readonly, _contains_pte */
    uint16_t state;         /* enum grant_mapping_state */
};
#define MAPPINGS_PER_PAGE (PAGE_SIZE / sizeof(struct grant_mapping))
#define NO_HANDLE 0xffffffffU

struct grant_table {
    struct spinlock lock;
    uint32_t max_frames;   /* constant */
    uint32_t max_maptrack; /* constant, pages */
    /* under lock; the counts only grow, and what they count never moves */
    uint32_t frame_count;
    uint32_t maptrack_count;
    uint32_t free_handle;                  /* NO_HANDLE: none */
    uint32_t release_next;                 /* where grant_table_release_mappings() goes on */
    struct frame *frame[MAX_GRANT_FRAMES]; /* shared with the domain */
    struct grant_active *active[MAX_GRANT_FRAMES];
    struct grant_mapping **maptrack; /* max_maptrack pointers */
};

/* The domain a guest names as granter, referenced; NULL when there is none that could grant. */
must_check struct domain *grant_domain_get(domid_t id);

/* Start one use of `ref` of `granter` by domain `grantee`: marks the shared entry, adds a pin,
 * takes a general reference on the frame and, unless readonly, a writable one. Returns a GNTST
 * value. */
must_check int16_t grant_pin(struct domain *granter, grant_ref_t ref, domid_t grantee,
                             bool readonly, struct frame **out);
/* End that use: the reverse of all of it. */
void grant_unpin(struct domain *granter, grant_ref_t ref, bool readonly);
/* The frame of a pinned reference; the caller owns a pin. */
struct frame *grant_pinned_frame(const struct domain *granter, grant_ref_t ref);

/* grant_map.c: forget a LIVE or CHANGING mapping of d: handle, pin, reference of the granter. */
void grant_map_release(struct domain *d, uint32_t handle);
