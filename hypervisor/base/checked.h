// SPDX-License-Identifier: MIT
/* Arithmetic on guest-supplied sizes; each returns false when the result does not fit. */
#pragma once

#include "base/types.h"

static inline must_check bool checked_add(uint64_t a, uint64_t b, uint64_t *sum)
{
    return !__builtin_add_overflow(a, b, sum);
}

static inline must_check bool checked_mul(uint64_t a, uint64_t b, uint64_t *product)
{
    return !__builtin_mul_overflow(a, b, product);
}

/* Clamp a tested index for speculation: 0 when index >= limit, without a branch. */
static inline uint64_t clamp_index(uint64_t index, uint64_t limit)
{
    uint64_t mask;
    __asm__ volatile("cmp %2, %1; sbb %0, %0" : "=r"(mask) : "r"(index), "r"(limit) : "cc");
    return index & mask;
}
