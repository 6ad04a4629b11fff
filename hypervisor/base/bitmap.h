// SPDX-License-Identifier: MIT
/* Bit operations on arrays of 64-bit words, and sets of physical CPUs made of them. All are safe
 * against other CPUs and against guests that share the word. */
#pragma once

#include "base/config.h"
#include "base/types.h"

#define BITMAP_WORDS(bits) DIV_ROUND_UP(bits, 64)

static inline bool test_bit(unsigned nr, const uint64_t *map)
{
    return (__atomic_load_n(&map[nr / 64], __ATOMIC_RELAXED) >> (nr % 64)) & 1;
}

/* Atomic; return the old value of the bit; full barrier. */
static inline bool test_and_set_bit(unsigned nr, uint64_t *map)
{
    uint64_t bit = 1UL << (nr % 64);
    return __atomic_fetch_or(&map[nr / 64], bit, __ATOMIC_SEQ_CST) & bit;
}

static inline bool test_and_clear_bit(unsigned nr, uint64_t *map)
{
    uint64_t bit = 1UL << (nr % 64);
    return __atomic_fetch_and(&map[nr / 64], ~bit, __ATOMIC_SEQ_CST) & bit;
}

static inline void set_bit(unsigned nr, uint64_t *map)
{
    (void)test_and_set_bit(nr, map);
}

static inline void clear_bit(unsigned nr, uint64_t *map)
{
    (void)test_and_clear_bit(nr, map);
}

/* First set bit at or after `from`, or `bits` when there is none. */
static inline unsigned find_next_bit(const uint64_t *map, unsigned bits, unsigned from)
{
    for (unsigned nr = from; nr < bits; nr = (nr / 64 + 1) * 64) {
        uint64_t word = __atomic_load_n(&map[nr / 64], __ATOMIC_RELAXED) >> (nr % 64);
        if (word) {
            nr += (unsigned)__builtin_ctzl(word);
            return MIN(nr, bits);
        }
    }
    return bits;
}

/* ---- sets of physical CPUs ---- */

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
    uint64_t any = 0;
    for (unsigned i = 0; i < BITMAP_WORDS(MAX_PCPUS); i++) {
        any |= m->word[i];
    }
    return !any;
}

#define for_each_cpu(cpu, mask)                                                                    \
    for (unsigned cpu = find_next_bit((mask)->word, MAX_PCPUS, 0); cpu < MAX_PCPUS;                \
         cpu = find_next_bit((mask)->word, MAX_PCPUS, cpu + 1))
