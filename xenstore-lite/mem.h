// SPDX-License-Identifier: MIT
/*
 * Memory for the store: allocation that cannot fail, and reference-counted byte strings.
 *
 * What the store holds is bounded by the quotas, so running out of memory means that the machine is
 * beyond help for this process: the allocators print one line and abort. That keeps every tree edit
 * free of half-done states. Single-threaded, like everything in the daemon.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* Bytes shared by several nodes, transactions and queues; always followed by a NUL. */
struct blob {
    uint32_t ref; /* holders */
    uint32_t len; /* bytes, without the NUL */
    char data[];  /* the bytes */
};

/* A byte buffer that grows. */
struct buf {
    char *data;  /* owned */
    size_t len;  /* bytes used */
    size_t room; /* bytes allocated */
};

/* Memory or abort. */
void *mem_alloc(size_t bytes);
/* Zeroed memory or abort. */
void *mem_zalloc(size_t bytes);
/* realloc() of count objects of the given size, or abort (also when the product overflows). */
void *mem_resize(void *old, size_t count, size_t size);
/* A copy of a string. */
char *mem_strdup(const char *s);

/* A new blob with one reference. */
struct blob *blob_new(const void *data, size_t len);
/* Takes one more reference. */
struct blob *blob_get(struct blob *b);
/* Drops a reference; NULL is allowed. */
void blob_put(struct blob *b);

/* Appends bytes. */
void buf_add(struct buf *b, const void *data, size_t len);
/* Appends a string without its NUL, printf style. */
void buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Frees the bytes and empties the buffer. */
void buf_free(struct buf *b);

/* A random number nobody outside the process can predict. */
uint64_t mem_random(void);
