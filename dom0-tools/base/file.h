/* SPDX-License-Identifier: MIT */
/*
 * Reading and writing whole files with a bound, for configuration files and kernel images.
 *
 * The bound is tested against the file's size before a byte is read and again while reading, so a
 * file that grows, a pipe or a device cannot make a tool use more memory than its caller allows.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "dom0-tools/base/err.h"

/* Reads a regular file of at most `max_bytes` into new memory with a NUL behind it (free() it).
 * Errors: ENOENT and other open errors, EFBIG above the bound, EINVAL for what is no regular file.
 */
int file_read(const char *path, size_t max_bytes, void **data, size_t *bytes, struct err *err);

/* Whether two names are one file's. */
bool file_is_same(const char *one, const char *other);

/* Writes a file whole or not at all: into a temporary name beside it, then renamed over it. */
int file_write(const char *path, const void *data, size_t bytes, struct err *err);
