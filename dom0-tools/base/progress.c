/* SPDX-License-Identifier: MIT */
/*
 * The bar of progress.h.
 */
#include "dom0-tools/base/progress.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define BAR_COLUMNS 40u
#define DRAW_EVERY_NS 100000000u

static struct {
    const char *what; /* NULL: no bar */
    uint64_t total;
    uint64_t drawn_ns; /* when it was drawn last */
    bool shown;        /* and is on the screen */
} bar;

static uint64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

void progress_begin(const char *what, uint64_t total)
{
    const char *terminal = getenv("TERM");

    progress_end();
    if (isatty(STDERR_FILENO) && (terminal == NULL || strcmp(terminal, "dumb") != 0)) {
        bar.what = what;
        bar.total = total != 0 ? total : 1;
        bar.drawn_ns = now_ns(); /* what is over in a moment needs no bar */
    }
}

void progress_step(uint64_t done)
{
    uint64_t now;
    uint64_t columns;

    if (bar.what == NULL || (now = now_ns()) - bar.drawn_ns < DRAW_EVERY_NS) {
        return;
    }
    done = done < bar.total ? done : bar.total;
    columns = (uint64_t)((double)done / (double)bar.total * BAR_COLUMNS);
    fprintf(stderr, "\r%s [", bar.what);
    for (uint64_t i = 0; i < BAR_COLUMNS; i++) {
        fputc(i < columns ? '#' : ' ', stderr);
    }
    fprintf(stderr, "] %3.0f %%", (double)done / (double)bar.total * 100);
    fflush(stderr);
    bar.drawn_ns = now;
    bar.shown = true;
}

void progress_end(void)
{
    if (bar.shown) {
        fputs("\r\033[K", stderr);
        fflush(stderr);
    }
    bar.what = NULL;
    bar.shown = false;
}
