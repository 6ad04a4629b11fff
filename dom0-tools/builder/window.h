/* SPDX-License-Identifier: MIT */
/*
 * Windows onto a guest's memory: pages by pseudo-physical frame, mapped a few MiB at a time.
 *
 * A mapping call is expensive and most writes are sequential, so frames are mapped in aligned runs
 * and the last few runs are kept. A pointer stays valid until WINDOW_COUNT - 1 other runs have
 * been touched. Nothing may stay mapped when page tables are pinned: window_close() before that.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "dom0-tools/libhv/hv.h"

#define WINDOW_FRAMES 128u
#define WINDOW_COUNT 4u

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
};

/* The page of a frame, writable. Returns NULL on failure, with the reason in ->error. The
 * signature is that of struct builder_pages. */
void *window_page(void *windows, uint64_t pfn);

/* Copies bytes to an offset into the guest's pseudo-physical memory, which is known to be zero:
 * pages of zeros are left out, and so are not even mapped. */
int window_write(struct windows *windows, uint64_t offset, const void *data, uint64_t bytes);

/* Unmaps everything. Returns: 0 or the errno of an unmapping that failed. */
int window_close(struct windows *windows);
