// SPDX-License-Identifier: MIT
/*
 * Priority queue: a leftist heap linked through the elements themselves, so that nothing is ever
 * allocated and nothing fails. The key is a number on a circle: a is before b when going up from a
 * one meets b within half of it. Locking is the user's.
 */
#pragma once

#include "base/types.h"

struct heap_node {
    struct heap_node *parent, *left, *right;
    uint64_t key;
    uint8_t rank; /* steps to the nearest free place below; 0: in no heap */
};

static inline bool heap_before(uint64_t a, uint64_t b)
{
    return (int64_t)(a - b) < 0;
}

/* n is in a heap. */
static inline bool heap_has(const struct heap_node *n)
{
    return n->rank != 0;
}

/* Both take O(log size) steps. The first element is *root, NULL when there is none; equal keys come
 * in no particular order. */
void heap_insert(struct heap_node **root, struct heap_node *n, uint64_t key);
void heap_remove(struct heap_node **root, struct heap_node *n);
