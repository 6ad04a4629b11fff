/* SPDX-License-Identifier: MIT */
/*
 * Windows onto a guest's memory; see window.h.
 *
 * The least recently used run makes room for a new one. Runs are aligned to their size, so no two
 * overlap and no frame is mapped twice.
 */
#include "dom0-tools/builder/window.h"

#include <errno.h>
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

void *window_page(void *context, uint64_t pfn)
{
    struct windows *windows = context;
    struct window_run *run = run_get(windows, pfn);

    return run != NULL ? run->base + (pfn - run->pfn) * HV_PAGE_BYTES : NULL;
}

int window_write(struct windows *windows, uint64_t offset, const void *data, uint64_t bytes)
{
    static const uint8_t zeros[HV_PAGE_BYTES];
    const uint8_t *from = data;

    while (bytes != 0) {
        uint64_t inside = offset % HV_PAGE_BYTES;
        uint64_t part = HV_PAGE_BYTES - inside < bytes ? HV_PAGE_BYTES - inside : bytes;
        uint8_t *page;

        if (memcmp(from, zeros, part) != 0) {
            page = window_page(windows, offset >> HV_PAGE_SHIFT);
            if (page == NULL) {
                return windows->error;
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
    return 0;
}

int window_close(struct windows *windows)
{
    int rc = 0;

    for (unsigned int i = 0; i < WINDOW_COUNT; i++) {
        int one = run_drop(windows, &windows->runs[i]);

        rc = rc != 0 ? rc : one;
    }
    return rc;
}
