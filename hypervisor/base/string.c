// SPDX-License-Identifier: MIT
/*
 * The C library routines of base/string.h, for the freestanding build only. Copies and fills use
 * the string instructions in 8-byte units: fast on every processor and short.
 */
#include "base/string.h"

#include "base/types.h"

void *memcpy(void *dst, const void *src, size_t bytes)
{
    void *to = dst;
    size_t words = bytes / 8;
    __asm__ volatile("rep movsq" : "+D"(to), "+S"(src), "+c"(words) : : "memory");
    size_t rest = bytes % 8;
    __asm__ volatile("rep movsb" : "+D"(to), "+S"(src), "+c"(rest) : : "memory");
    return dst;
}

void *memmove(void *dst, const void *src, size_t bytes)
{
    if ((uintptr_t)dst - (uintptr_t)src >= bytes) {
        return memcpy(dst, src, bytes);
    }
    void *to = (char *)dst + bytes - 1;
    const void *from = (const char *)src + bytes - 1;
    __asm__ volatile("std; rep movsb; cld" : "+D"(to), "+S"(from), "+c"(bytes) : : "memory");
    return dst;
}

void *memset(void *dst, int byte, size_t bytes)
{
    void *to = dst;
    uint64_t pattern = 0x0101010101010101UL * (uint8_t)byte;
    size_t words = bytes / 8;
    __asm__ volatile("rep stosq" : "+D"(to), "+c"(words) : "a"(pattern) : "memory");
    size_t rest = bytes % 8;
    __asm__ volatile("rep stosb" : "+D"(to), "+c"(rest) : "a"(pattern) : "memory");
    return dst;
}

int memcmp(const void *a, const void *b, size_t bytes)
{
    const uint8_t *x = a;
    const uint8_t *y = b;
    size_t i = 0;
    while (bytes - i >= 8 && *(const uint64_t *)(x + i) == *(const uint64_t *)(y + i)) {
        i += 8;
    }
    for (; i < bytes; i++) {
        if (x[i] != y[i]) {
            return x[i] - y[i];
        }
    }
    return 0;
}

size_t strlen(const char *s)
{
    const char *end = s;
    while (*end) {
        end++;
        barrier(); /* or the compiler turns this loop into a call of strlen */
    }
    return (size_t)(end - s);
}

int strcmp(const char *a, const char *b)
{
    while (*a && *a == *b) {
        a++;
        b++;
    }
    return (uint8_t)*a - (uint8_t)*b;
}

char *strchr(const char *s, int c)
{
    for (; *s != (char)c; s++) {
        if (!*s) {
            return NULL;
        }
    }
    return (char *)(uintptr_t)s;
}
