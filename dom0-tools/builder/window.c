/* SPDX-License-Identifier: MIT */
/*
 * Windows onto a guest's memory; see window.h.
 *
 * The least recently used run makes room for a new one. Runs are aligned to their size, so no two
 * overlap and no frame is mapped twice.
 */
#include "dom0-tools/builder/window.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static int run_drop(struct windows *windows, struct window_run *run)
{
    int rc = 0;

    if (run->base != NULL) {
        rc = hv_unmap(windows->hv, run->base, run->count);
        memset(run, 0, sizeof(*run));
    }
    return rc;
}

/* The run that holds a frame, mapped if it was not. */
static struct window_run *run_get(struct windows *windows, uint64_t pfn)
{
    uint64_t start = pfn / WINDOW_FRAMES * WINDOW_FRAMES;
    struct window_run *run = &windows->runs[0];

    if (pfn >= windows->frames) {
        windows->error = -ERANGE;
        return NULL;
    }
    for (unsigned int i = 0; i < WINDOW_COUNT; i++) {
        struct window_run *candidate = &windows->runs[i];

        if (candidate->base != NULL && candidate->pfn == start) {
            candidate->last_used = ++windows->clock;
            return candidate;
        }
        if (candidate->last_used < run->last_used) {
            run = candidate;
        }
    }
    windows->error = run_drop(windows, run);
    if (windows->error != 0) {
        return NULL;
    }
    run->count = windows->frames - start;
    if (run->count > WINDOW_FRAMES) {
        run->count = WINDOW_FRAMES;
    }
    run->base = hv_map(windows->hv, windows->domid, PROT_READ | PROT_WRITE, run->count,
                       windows->p2m + start);
    if (run->base == NULL) {
        windows->error = errno != 0 ? -errno : -EIO;
        return NULL;
    }
    run->pfn = start;
    run->last_used = ++windows->clock;
    return run;
}

int window_open(struct windows *windows, struct hv *hv, uint32_t domid, const xen_pfn_t *p2m,
                uint64_t frames)
{
    *windows = (struct windows){.hv = hv, .domid = domid, .p2m = p2m, .frames = frames};
    if (hv_write_pages(hv, domid, NULL, NULL, 0) != 0) {
        return 0;
    }
    windows->written = calloc(1, frames / 8 + 1);
    windows->pages = aligned_alloc(HV_PAGE_BYTES, (size_t)WINDOW_KEPT * HV_PAGE_BYTES);
    return windows->written != NULL && windows->pages != NULL ? 0 : -ENOMEM;
}

/* --- pages that are copied --------------------------------------------------------------- */

static bool was_written(const struct windows *windows, uint64_t pfn)
{
    return (windows->written[pfn / 8] >> pfn % 8 & 1) != 0;
}

static void note_written(struct windows *windows, uint64_t pfn)
{
    windows->written[pfn / 8] |= (uint8_t)(1u << pfn % 8);
}

/* Copies the pages that are kept. */
static int copy_kept(struct windows *windows)
{
    xen_pfn_t frames[WINDOW_KEPT];
    unsigned int count = windows->kept;

    for (unsigned int i = 0; i < count; i++) {
        frames[i] = windows->p2m[windows->kept_pfn[i]];
    }
    windows->kept = 0;
    return count == 0 ? 0
                      : hv_write_pages(windows->hv, windows->domid, frames, windows->pages, count);
}

/* The page kept for a frame, made if there is none and it has not been written before. NULL: it is
 * to be mapped, or has failed. */
static uint8_t *kept_page(struct windows *windows, uint64_t pfn)
{
    unsigned int i = windows->kept;

    while (i > 0 && windows->kept_pfn[i - 1] != pfn) {
        i--;
    }
    if (i > 0) {
        return windows->pages + (size_t)(i - 1) * HV_PAGE_BYTES;
    }
    if (was_written(windows, pfn)) {
        return NULL;
    }
    if (windows->kept == WINDOW_KEPT) {
        windows->error = copy_kept(windows);
    }
    if (windows->error != 0) {
        return NULL;
    }
    note_written(windows, pfn);
    windows->kept_pfn[windows->kept] = pfn;
    return memset(windows->pages + (size_t)windows->kept++ * HV_PAGE_BYTES, 0, HV_PAGE_BYTES);
}

void *window_page(void *context, uint64_t pfn)
{
    struct windows *windows = context;
    struct window_run *run;
    uint8_t *kept;

    if (windows->written != NULL && pfn < windows->frames) {
        kept = kept_page(windows, pfn);
        if (kept != NULL || windows->error != 0) {
            return kept;
        }
    }
    run = run_get(windows, pfn);
    return run != NULL ? run->base + (pfn - run->pfn) * HV_PAGE_BYTES : NULL;
}

static const uint8_t zeros[HV_PAGE_BYTES];

/* Whole pages from `pfn` on, whose number is returned, that have something in them and were not
 * written before. */
static size_t fresh_pages(const struct windows *windows, uint64_t pfn, const uint8_t *data,
                          size_t most)
{
    size_t count = 0;

    while (count < most && pfn + count < windows->frames && !was_written(windows, pfn + count) &&
           memcmp(data + count * HV_PAGE_BYTES, zeros, HV_PAGE_BYTES) != 0) {
        count++;
    }
    return count;
}

/* Copies whole pages straight from where they are. Returns: how many; 0 when there is nothing to be
 * copied in this way, or ->error. */
static size_t write_fresh(struct windows *windows, uint64_t pfn, const uint8_t *data, size_t most)
{
    size_t count = windows->written != NULL ? fresh_pages(windows, pfn, data, most) : 0;

    if (count == 0) {
        return 0;
    }
    for (size_t i = 0; i < count; i++) {
        note_written(windows, pfn + i);
    }
    windows->error = hv_write_pages(windows->hv, windows->domid, windows->p2m + pfn, data, count);
    return windows->error == 0 ? count : 0;
}

int window_write(struct windows *windows, uint64_t offset, const void *data, uint64_t bytes)
{
    const uint8_t *from = data;

    while (bytes != 0 && windows->error == 0) {
        uint64_t inside = offset % HV_PAGE_BYTES;
        uint64_t part = HV_PAGE_BYTES - inside < bytes ? HV_PAGE_BYTES - inside : bytes;
        size_t whole = inside == 0 ? write_fresh(windows, offset >> HV_PAGE_SHIFT, from,
                                                 bytes >> HV_PAGE_SHIFT)
                                   : 0;

        if (whole != 0) {
            part = whole << HV_PAGE_SHIFT;
        } else if (memcmp(from, zeros, part) != 0) {
            uint8_t *page = window_page(windows, offset >> HV_PAGE_SHIFT);

            if (page == NULL) {
                break;
            }
            if (part == HV_PAGE_BYTES) {
                memcpy(page, from, HV_PAGE_BYTES); /* a known size is copied in line */
            } else {
                memcpy(page + inside, from, part);
            }
        }
        from += part;
        offset += part;
        bytes -= part;
    }
    return windows->error;
}

int window_flush(struct windows *windows)
{
    if (windows->error == 0) {
        windows->error = copy_kept(windows);
    }
    return windows->error;
}

int window_close(struct windows *windows)
{
    int rc = 0;

    for (unsigned int i = 0; i < WINDOW_COUNT; i++) {
        int one = run_drop(windows, &windows->runs[i]);

        rc = rc != 0 ? rc : one;
    }
    free(windows->written);
    free(windows->pages);
    windows->written = windows->pages = NULL;
    return rc;
}
