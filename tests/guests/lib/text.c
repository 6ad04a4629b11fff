/* SPDX-License-Identifier: MIT */
/* Memory and text without a C library: what the compiler calls, printing, the command line. */
#include "lib.h"

void *memcpy(void *to, const void *from, size_t bytes)
{
    void *d = to;
    __asm__ volatile("rep movsb" : "+D"(d), "+S"(from), "+c"(bytes) : : "memory");
    return to;
}

void *memset(void *to, int value, size_t bytes)
{
    void *d = to;
    __asm__ volatile("rep stosb" : "+D"(d), "+c"(bytes) : "a"(value) : "memory");
    return to;
}

void *memmove(void *to, const void *from, size_t bytes)
{
    uint8_t *d = to;
    const uint8_t *s = from;
    if (d <= s || d >= s + bytes) {
        return memcpy(to, from, bytes);
    }
    while (bytes--) {
        d[bytes] = s[bytes];
        barrier();
    }
    return to;
}

int memcmp(const void *a, const void *b, size_t bytes)
{
    const uint8_t *x = a, *y = b;
    for (size_t i = 0; i < bytes; i++) {
        if (x[i] != y[i]) {
            return x[i] - y[i];
        }
    }
    return 0;
}

size_t strlen(const char *text)
{
    size_t n = 0;
    while (text[n]) {
        n++;
    }
    return n;
}

struct out {
    char *to;
    size_t bytes, used;
};

static void put(struct out *out, char c)
{
    if (out->used + 1 < out->bytes) {
        out->to[out->used++] = c;
    }
}

static void put_number(struct out *out, uint64_t value, unsigned base)
{
    char digits[24];
    unsigned n = 0;
    do {
        digits[n++] = "0123456789abcdef"[value % base];
        value /= base;
    } while (value);
    while (n) {
        put(out, digits[--n]);
    }
}

/* %s %c %d %u %x with any number of l; %% . */
size_t text_format(char *to, size_t bytes, const char *format, va_list args)
{
    struct out out = {to, bytes, 0};
    for (; *format; format++) {
        if (*format != '%') {
            put(&out, *format);
            continue;
        }
        bool is_long = false;
        while (*++format == 'l') {
            is_long = true;
        }
        if (*format == 's') {
            for (const char *s = va_arg(args, const char *); *s; s++) {
                put(&out, *s);
            }
        } else if (*format == 'c') {
            put(&out, (char)va_arg(args, int));
        } else if (*format == 'd') {
            long value = is_long ? va_arg(args, long) : va_arg(args, int);
            if (value < 0) {
                put(&out, '-');
            }
            put_number(&out, value < 0 ? -(uint64_t)value : (uint64_t)value, 10);
        } else if (*format == 'u' || *format == 'x') {
            uint64_t value = is_long ? va_arg(args, uint64_t) : va_arg(args, unsigned);
            put_number(&out, value, *format == 'u' ? 10 : 16);
        } else {
            put(&out, *format);
        }
    }
    to[out.used] = '\0';
    return out.used;
}

size_t text_print(char *to, size_t bytes, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    size_t used = text_format(to, bytes, format, args);
    va_end(args);
    return used;
}

bool option_number(const char *name, uint64_t *value)
{
    const char *at = (const char *)start_info->cmd_line;
    size_t bytes = strlen(name);
    while (*at) {
        if (memcmp(at, name, bytes) == 0 && at[bytes] == '=') {
            *value = 0;
            for (at += bytes + 1; *at >= '0' && *at <= '9'; at++) {
                *value = *value * 10 + (uint64_t)(*at - '0');
            }
            return true;
        }
        while (*at && *at != ' ') {
            at++;
        }
        while (*at == ' ') {
            at++;
        }
    }
    return false;
}
