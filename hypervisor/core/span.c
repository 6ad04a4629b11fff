// SPDX-License-Identifier: MIT
/* See span.h. All pcpus share one table with a word for each cause. */
#include "core/span.h"

#include "arch/arch.h"
#include "base/log.h"
#include "core/deferred.h"

static struct span {
    bool open;
    unsigned cause, longest_cause; /* of the present piece; of the longest one before */
    uint64_t start, piece_start, longest;
} spans[MAX_PCPUS];

static uint32_t cycles[DEBUG_BUILD ? SPAN_NONE : 1]; /* by cause; 0: never */

static void end_piece(struct span *s, uint64_t now)
{
    if (now - s->piece_start >= s->longest) {
        s->longest = now - s->piece_start;
        s->longest_cause = s->cause;
    }
}

void span_piece(unsigned cause)
{
    struct span *s = &spans[arch_cpu_id()];
    if (s->open && s->cause == cause) {
        return;
    }
    uint64_t now = arch_rdtsc();
    if (s->open) {
        end_piece(s, now);
    } else {
        *s = (struct span){.open = true, .start = now};
    }
    s->cause = cause;
    s->piece_start = now;
}

unsigned span_close(void)
{
    struct span *s = &spans[arch_cpu_id()];
    if (!s->open) {
        return SPAN_NONE;
    }
    uint64_t now = arch_rdtsc();
    end_piece(s, now);
    s->open = false;
    uint32_t took = (uint32_t)MIN(now - s->start, UINT32_MAX), *slot = &cycles[s->longest_cause];
    uint32_t old = read_once(*slot);
    while (old < took && !__atomic_compare_exchange_n(slot, &old, took, false, __ATOMIC_RELAXED,
                                                      __ATOMIC_RELAXED)) {
    }
    return s->cause;
}

static void show(const char *what, unsigned cause)
{
    static const char *const kinds[] = {"hypercall", "exception", "entry", "work"};
    printk("span: %s %u cycles in %s %u.%u\n", what, cycles[cause], kinds[cause >> 13],
           cause >> 7 & 63, cause & 127);
}

void span_report(bool all)
{
    unsigned longest = 0;
    for (unsigned cause = 0; DEBUG_BUILD && cause < ARRAY_SIZE(cycles); cause++) {
        longest = cycles[cause] > cycles[longest] ? cause : longest;
        if (all && cycles[cause]) {
            show("up to", cause);
            irq_window(false);
        }
    }
    if (DEBUG_BUILD) {
        show("longest", longest);
    }
}
