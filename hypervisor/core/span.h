// SPDX-License-Identifier: MIT
/*
 * Debug builds measure, in cycles of the TSC, how long each pcpu keeps interrupts off at a stretch,
 * and in what. A span goes from an entry, or the end of an interrupt window, to the next window or
 * the return to a guest. It consists of pieces, each with a cause; the span is put down to the
 * cause of its longest piece. Under QEMU's -icount cycles are instructions: `make bound`. No locks.
 */
#pragma once

#include "base/config.h"
#include "base/types.h"

enum span_kind { SPAN_HYPERCALL, SPAN_EXCEPTION, SPAN_ENTRY, SPAN_WORK };
/* Number (of a hypercall, a vector) and sub-operation, cut to 6 and 7 bits. */
#define SPAN_CAUSE(kind, nr, op) ((kind) << 13 | ((unsigned)(nr)&63) << 7 | ((unsigned)(op)&127))
#define SPAN_NONE (SPAN_WORK + 1) << 13 /* no span was open */

void span_piece(unsigned cause);
unsigned span_close(void);
/* Print the longest span or, with `all`, the longest for each cause. */
void span_report(bool all);

/* What runs from here on has this cause; opens a span unless one is open. */
static inline void span_note(enum span_kind kind, uint64_t nr, uint64_t op)
{
    if (DEBUG_BUILD) {
        span_piece(SPAN_CAUSE(kind, nr, op));
    }
}

/* Interrupts are about to be let in. Returns the cause, for span_resume(). */
static inline unsigned span_end(void)
{
    return DEBUG_BUILD ? span_close() : SPAN_NONE;
}

static inline void span_resume(unsigned cause)
{
    if (DEBUG_BUILD && cause != SPAN_NONE) {
        span_piece(cause);
    }
}
