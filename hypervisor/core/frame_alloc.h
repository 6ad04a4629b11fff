// SPDX-License-Identifier: MIT
/*
 * Machine frames: a buddy allocator over all free RAM, and the frames of domains. Frames leave the
 * allocator zeroed. Lock: heap_lock (RANK_HEAP); a domain's page list: its pages_lock.
 */
#pragma once

#include "core/frame.h"

#define FRAME_ORDER_MAX 18 /* 1 GiB blocks */

/* Take over the free ranges of the machine. Called once, with frame_table set and zeroed. */
void frame_alloc_init(void);
/* Add frames to the heap (boot modules, once used up). */
void frame_alloc_add(mfn_t first, uint64_t count);

/* 2^order contiguous, naturally aligned frames for the hypervisor itself, cleared, below
 * `addr_bits` (0: anywhere). NULL when there are none. */
struct frame *frame_alloc_hyp(unsigned order, unsigned addr_bits);
void frame_free_hyp(struct frame *f, unsigned order);
/* Cleared memory for an object of the hypervisor, in whole pages. NULL when there is none. */
void *hyp_alloc(size_t bytes);
void hyp_free(void *object); /* or NULL */

/* Frames for a domain: owner set, ALLOCATED reference taken, on d's page list, cleared. NULL when
 * the heap is empty, d is at its max_pages, or d is dying. */
struct frame *frame_alloc_domain(struct domain *d, unsigned order, unsigned addr_bits);
/* The same with whatever start-up and firmware left in the frames: for the control domain while it
 * is built, which clears what matters to it (page_clear). Scrubbing all of its memory would be most
 * of the time the hypervisor needs to start. */
struct frame *frame_alloc_control(struct domain *d, unsigned order);
/* Clear one page. */
void page_clear(void *page);
/* Called by frame_put when the last reference goes. A domain's first frame takes a reference of the
 * domain, which its last frame drops: memory mapped elsewhere keeps its owner in existence. */
void frame_free(struct frame *f);
/* Remove a frame from its owner's page list without freeing it (exchange); it must have only the
 * ALLOCATED reference. False, with nothing changed, otherwise. */
must_check bool frame_steal(struct domain *d, struct frame *f);
/* Give an ownerless allocated frame to d. */
must_check int frame_assign(struct domain *d, struct frame *f, unsigned order);
/* Walk d's page list: the frame after `f` (NULL: the first) with a general reference taken, NULL at
 * the end. The caller holds a reference on f, which keeps it on the list. */
struct frame *frame_list_next(struct domain *d, const struct frame *f);

uint64_t frame_free_count(void);
uint64_t frame_total_count(void);
