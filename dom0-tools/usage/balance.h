/* SPDX-License-Identifier: MIT */
/*
 * How memory should be divided between guests that can give some back: pure, for vane balloon.
 *
 * Each guest has a least and a most. What a guest needs is what it says is in use, its kernel and
 * swapped out pages included, and a margin, so that memory comes before a guest has to swap. Nobody
 * gives anything unless somebody lacks something; then those give who have most beyond their need,
 * and when there is not enough for all, everybody gets the same part of what it needs above its
 * least. A guest that does not say what it uses keeps what it has.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Changes smaller than this are not worth a guest's trouble. */
#define BALANCE_STEP_KIB 4096u

struct balance_guest {
    uint64_t least_kib;
    uint64_t most_kib;
    uint64_t has_kib;  /* its target now */
    uint64_t used_kib; /* what it says it uses; 0: says nothing */
    uint64_t need_kib; /* OUT: 0 when unknown */
    uint64_t give_kib; /* OUT: its new target */
};

/* Fills need and give of each guest. free_kib is what the machine has left that may be given out.
 */
void balance(struct balance_guest *guests, size_t count, uint64_t free_kib);
