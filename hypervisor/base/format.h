// SPDX-License-Identifier: MIT
/* Bounded printing: %s, %d, %u, %x, %ld, %lu, %lx and %%, with a width, with 0 in front of it for
 * unsigned numbers, with a precision for strings; * for either. */
#pragma once

#include <stdarg.h>

#include "base/types.h"

/* Like C's vsnprintf: always terminates when bytes > 0; returns the length it would have had. */
int format_va(char *buf, size_t bytes, const char *fmt, va_list ap);
int format(char *buf, size_t bytes, const char *fmt, ...) format_printf(3, 4);

/* Parse an unsigned number in base 10, or 16 after "0x"; *end points behind it. */
uint64_t parse_u64(const char *s, const char **end);
