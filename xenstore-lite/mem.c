// SPDX-License-Identifier: MIT
/*
 * Allocation, shared byte strings, growing buffers and random numbers. See mem.h.
 */
#include "xenstore-lite/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

static void out_of_memory(void)
{
    fputs("xenstored: out of memory\n", stderr);
    abort();
}

void *mem_alloc(size_t bytes)
{
    void *p = malloc(bytes ? bytes : 1);

    if (!p) {
        out_of_memory();
    }
    return p;
}

void *mem_zalloc(size_t bytes)
{
    void *p = calloc(1, bytes ? bytes : 1);

    if (!p) {
        out_of_memory();
    }
    return p;
}

void *mem_resize(void *old, size_t count, size_t size)
{
    void *p = reallocarray(old, count ? count : 1, size);

    if (!p) {
        out_of_memory();
    }
    return p;
}

char *mem_strdup(const char *s)
{
    size_t bytes = strlen(s) + 1;

    return memcpy(mem_alloc(bytes), s, bytes);
}

struct blob *blob_new(const void *data, size_t len)
{
    struct blob *b = mem_alloc(sizeof(*b) + len + 1);

    b->ref = 1;
    b->len = (uint32_t)len;
    if (len > 0) {
        memcpy(b->data, data, len);
    }
    b->data[len] = '\0';
    return b;
}

struct blob *blob_get(struct blob *b)
{
    b->ref++;
    return b;
}

void blob_put(struct blob *b)
{
    if (b && --b->ref == 0) {
        free(b);
    }
}

static void buf_reserve(struct buf *b, size_t more)
{
    size_t room = b->room ? b->room : 64;

    while (room - b->len < more) {
        room *= 2;
    }
    if (room != b->room) {
        b->data = mem_resize(b->data, room, 1);
        b->room = room;
    }
}

void buf_add(struct buf *b, const void *data, size_t len)
{
    buf_reserve(b, len);
    if (len > 0) {
        memcpy(b->data + b->len, data, len);
        b->len += len;
    }
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
    va_list args;
    int len;

    va_start(args, fmt);
    len = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    if (len <= 0) {
        return;
    }
    buf_reserve(b, (size_t)len + 1);
    va_start(args, fmt);
    vsnprintf(b->data + b->len, (size_t)len + 1, fmt, args);
    va_end(args);
    b->len += (size_t)len;
}

void buf_free(struct buf *b)
{
    free(b->data);
    *b = (struct buf){0};
}

uint64_t mem_random(void)
{
    static uint64_t state;

    /* xorshift64*: seeded once by the kernel, so that nobody can steer the shape of a treap. */
    while (state == 0) {
        if (getrandom(&state, sizeof(state), 0) != sizeof(state)) {
            state = 0;
        }
    }
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return state * 0x2545f4914f6cdd1dULL;
}
