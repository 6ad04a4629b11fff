/* SPDX-License-Identifier: MIT */
/*
 * Showing where processor time goes, again and again: on a full screen, as tables, as JSON lines.
 *
 * What is shown comes from a source that takes samples, so that a test can be one. The loops here
 * keep the last sample, wait, take the next and show what the two say. Called by vane top
 * (dom0-tools/vane/top.c).
 */
#pragma once

#include <stdbool.h>
#include <stdio.h>

#include "dom0-tools/usage/columns.h"

/* Where samples come from. */
struct top_source {
    int (*take)(void *context, struct usage_sample *sample, struct err *err);
    void *context;
};

struct top_settings {
    unsigned int delay_ms;   /* between two samples */
    unsigned long count;     /* reports to show; 0: no end */
    enum usage_column order; /* column the rows are sorted by */
    bool reverse;
    bool vcpus; /* a line for each vCPU */
};

/* The last sample and what it says against the one before. Zeros to begin with. */
struct top_state {
    struct usage_sample last;
    struct usage_report report;
};

/* Takes the next sample and compares it; the first time, takes two, a delay apart. */
int top_next(struct top_state *state, const struct top_source *source,
             const struct top_settings *settings, struct err *err);
void top_end(struct top_state *state);

/* Shows tables, or one JSON document a line. Returns: 0, or a negative errno after err_set(), EIO
 * when the stream cannot be written. */
int top_plain(const struct top_source *source, const struct top_settings *settings, bool json,
              FILE *to, struct err *err);

/* Shows a full screen on the terminal that standard input and output are, until the user or the
 * count ends it. Errors: ENOTTY when the terminal cannot be driven. The terminal is as before in
 * any case. */
int top_screen(const struct top_source *source, const struct top_settings *settings,
               struct err *err);
