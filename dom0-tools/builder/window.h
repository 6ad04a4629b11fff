/* SPDX-License-Identifier: MIT */
/*
 * Windows onto a guest's memory: pages by pseudo-physical frame.
 *
 * Where the hypervisor copies pages (hv_write_pages) nothing is mapped: pages that are handed out
 * and the edges of what is written are kept here until there are many, or something else is
 * written. Otherwise, and for what comes to a page that was written before, frames are mapped in
 * aligned runs, of which the last few are kept: a mapping call is expensive and most writes are
 * sequential. Nothing may stay mapped when page tables are pinned: window_close() before that.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "dom0-tools/libhv/hv.h"

#define WINDOW_FRAMES 128u
#define WINDOW_COUNT 4u
#define WINDOW_KEPT 64u

struct window_run {
    uint8_t *base;      /* NULL: unused */
    uint64_t pfn;       /* first frame */
    uint64_t count;     /* frames mapped */
    uint64_t last_used; /* clock of the last use */
};

struct windows {
    struct hv *hv;
    uint32_t domid;
    const xen_pfn_t *p2m; /* machine frame of each pfn */
    uint64_t frames;      /* length of p2m */
    uint64_t clock;
    int error; /* negative errno of the last failure */
    struct window_run runs[WINDOW_COUNT];
    /* Where pages are copied, else NULL: */
    uint8_t *written;               /* a bit for each frame that has been, or is in the list */
    uint8_t *pages;                 /* WINDOW_KEPT pages not copied yet */
    unsigned int kept;              /* so many of them, */
    uint64_t kept_pfn[WINDOW_KEPT]; /* these */
};

/* Begins; window_flush() completes, window_close() ends also what could not begin. Errors: -ENOMEM.
 */
int window_open(struct windows *windows, struct hv *hv, uint32_t domid, const xen_pfn_t *p2m,
                uint64_t frames);

/* The page of a frame, writable until the next is asked for. Returns NULL on failure, with the
 * reason in ->error. The signature is that of struct builder_pages. */
void *window_page(void *windows, uint64_t pfn);

/* Copies bytes to an offset into the guest's pseudo-physical memory, which is known to be zero:
 * pages of zeros are left out, and so are not even mapped. */
int window_write(struct windows *windows, uint64_t offset, const void *data, uint64_t bytes);

/* Copies the pages that are kept. Returns: 0 or the errno of the first failure of all. */
int window_flush(struct windows *windows);

/* Unmaps everything; what has not been flushed is lost. Returns: 0 or the errno of what failed. */
int window_close(struct windows *windows);
