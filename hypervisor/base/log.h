// SPDX-License-Identifier: MIT
/*
 * The log ring and its way to the serial port. Lock: log_lock (RANK_CONSOLE). Messages about
 * guests go through log_guest(), which allows each domain a burst and then a few lines a second.
 */
#pragma once

#include <stdarg.h>

#include "base/types.h"

struct cpu_user_regs;
struct domain;

void printk(const char *fmt, ...) format_printf(1, 2);
void vprintk(const char *fmt, va_list ap);
/* One line on behalf of d (NULL: no domain known), rate-limited per domain. */
void log_guest(struct domain *d, const char *fmt, ...) format_printf(2, 3);
/* Vector, address and general registers of an entry. */
void log_regs(const struct cpu_user_regs *regs);
/* Write raw text, not empty (the control domain's output), to the serial port. */
void log_raw(const char *s, size_t bytes);
/* Copy of the ring from *index on (free-running), at most `bytes`; returns bytes copied and moves
 * *index. incremental=false starts at the oldest byte. */
size_t log_read(char *dst, size_t bytes, uint32_t *index);
void log_clear(void);
/* Stop locking: the panic path prints whatever happens. */
void log_panic_mode(void);
