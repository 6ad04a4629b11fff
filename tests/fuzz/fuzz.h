/* SPDX-License-Identifier: MIT */
/*
 * What a fuzz target is: two functions, built into two programs. With clang's libFuzzer it looks
 * for inputs that matter (libfuzzer.c); with any compiler it replays kept ones and plays a few
 * seconds of seeded random mutations of them (replay.c). See README.md.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Once, before the first input. */
void fuzz_start(void);
/* Play one input; whatever goes wrong ends the process. Leaves nothing behind for the next one. */
void fuzz_one(const uint8_t *data, size_t bytes);
/* Longest input worth trying. */
extern const size_t fuzz_max_bytes;

/* Stop here: the input has shown a bug. */
#define FUZZ_CHECK(expr)                                                                           \
    do {                                                                                           \
        if (!(expr)) {                                                                             \
            dprintf(2, "FUZZ CHECK failed: %s:%d: %s\n", __FILE__, __LINE__, #expr);               \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

/* An input read from its start; zeroes come after its end. */
struct fuzz_in {
    const uint8_t *at;
    size_t left;
};

static inline uint64_t fuzz_number(struct fuzz_in *in, size_t bytes)
{
    uint64_t value = 0;
    size_t n = bytes < in->left ? bytes : in->left;
    memcpy(&value, in->at, n);
    in->at += n;
    in->left -= n;
    return value;
}

static inline uint8_t fuzz_byte(struct fuzz_in *in)
{
    return (uint8_t)fuzz_number(in, 1);
}

/* A copy on the heap, where a read beyond its end is seen. Never NULL; free() it. */
static inline uint8_t *fuzz_copy(const uint8_t *data, size_t bytes)
{
    uint8_t *copy = malloc(bytes ? bytes : 1);
    if (copy == NULL) {
        abort();
    }
    if (bytes) {
        memcpy(copy, data, bytes);
    }
    return copy;
}
