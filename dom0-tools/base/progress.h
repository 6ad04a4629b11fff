/* SPDX-License-Identifier: MIT */
/*
 * A progress bar for long work: one line on standard error, drawn over itself, gone when the work
 * ends. Only on a terminal that is not "dumb"; in a pipe or a log nothing is written.
 *
 * There is one bar a process. Work that is done in several layers may begin another bar, which
 * takes the place of the first; a step without a bar does nothing. Not thread safe.
 */
#pragma once

#include <stdint.h>

/* Shows a bar at nothing of `total`; `what` must stay. */
void progress_begin(const char *what, uint64_t total);

/* So much is done. Draws at most ten times a second. */
void progress_step(uint64_t done);

/* Takes the bar off the screen. */
void progress_end(void);
