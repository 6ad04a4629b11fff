// SPDX-License-Identifier: MIT
/* Sets of physical CPUs. */
#pragma once

#include "base/bitmap.h"
#include "base/config.h"

typedef struct {
    uint64_t word[BITMAP_WORDS(MAX_PCPUS)];
} cpumask_t;

static inline void cpumask_set(cpumask_t *m, unsigned cpu)
{
    set_bit(cpu, m->word);
}

static inline void cpumask_clear(cpumask_t *m, unsigned cpu)
{
    clear_bit(cpu, m->word);
}

static inline bool cpumask_test(const cpumask_t *m, unsigned cpu)
{
    return test_bit(cpu, m->word);
}

static inline bool cpumask_empty(const cpumask_t *m)
{
    return find_next_bit(m->word, MAX_PCPUS, 0) == MAX_PCPUS;
}

#define for_each_cpu(cpu, mask)                                                                    \
    for (unsigned cpu = find_next_bit((mask)->word, MAX_PCPUS, 0); cpu < MAX_PCPUS;                \
         cpu = find_next_bit((mask)->word, MAX_PCPUS, cpu + 1))
