/* SPDX-License-Identifier: MIT */
/*
 * Whole files to read, mapped instead of copied: kernels and ramdisks of many MiB.
 *
 * A mapping that is done with stays until another needs its place or the process ends: taking a
 * page out of a process that runs costs a trap, of one that ends it does not. Children inherit
 * none. What a file loses while it is mapped reads as zeros, and map_has_shrunk() tells of it; no
 * signal ends the program half-way.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "dom0-tools/base/err.h"

/* Maps a regular file of at most `max_bytes`, read-only.
 * Returns: its descriptor, to be closed at any time. Errors: as file_read(). */
int map_file(const char *path, size_t max_bytes, void **data, size_t *bytes, struct err *err);

/* The same with an open file, which is closed on failure; `path` is for messages. */
int map_open(int fd, const char *path, size_t max_bytes, void **data, size_t *bytes,
             struct err *err);

/* Says that nobody looks at a mapping any more; without it 16 are all there can be. */
void map_end(void *data);

/* Finds the next bytes of a mapped file, from `at` on, that may be other than zero.
 * Returns: how many, below `end`, with *at moved to the first of them; 0 when there are no more. */
size_t map_next_data(int fd, size_t *at, size_t end);

/* Whether any file has lost something of what was mapped of it, since no mapping was looked at. */
bool map_has_shrunk(void);
