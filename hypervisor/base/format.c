// SPDX-License-Identifier: MIT
/*
 * Bounded printing for the log, for panics and for names; no floating point, no allocation, no
 * locale. Works in any context, the panic path included.
 */
#include "base/format.h"

#define DIGITS_MAX 20 /* and a sign */

struct out {
    char *buf;
    size_t bytes, used;
};

static void put(struct out *o, char c)
{
    if (o->used + 1 < o->bytes) {
        o->buf[o->used] = c;
    }
    o->used++;
}

/* Text on the right of a field. */
static void put_field(struct out *o, const char *text, int length, char padding, int width)
{
    for (; width > length; width--) {
        put(o, padding);
    }
    while (length--) {
        put(o, *text++);
    }
}

static void put_number(struct out *o, uint64_t n, char kind, char padding, int width)
{
    char digits[DIGITS_MAX + 1], *end = digits + sizeof(digits), *start = end;
    bool negative = kind == 'd' && (int64_t)n < 0;
    unsigned base = kind == 'x' ? 16 : 10;
    n = negative ? -n : n;
    do {
        *--start = "0123456789abcdef"[n % base];
        n /= base;
    } while (n);
    if (negative) {
        *--start = '-';
    }
    put_field(o, start, (int)(end - start), padding, width);
}

/* A decimal field of the format, or the next argument for '*'. */
static int field_number(const char **fmt, va_list *ap)
{
    int n = 0;
    if (**fmt == '*') {
        (*fmt)++;
        return va_arg(*ap, int);
    }
    for (; **fmt >= '0' && **fmt <= '9'; (*fmt)++) {
        n = n * 10 + (**fmt - '0');
    }
    return n;
}

/* What follows a %; returns behind it. */
static const char *put_conversion(struct out *o, const char *fmt, va_list *ap)
{
    char padding = *fmt == '0' ? *fmt++ : ' ';
    int width = field_number(&fmt, ap), precision = -1, length = 0;
    if (*fmt == '.') {
        fmt++;
        precision = field_number(&fmt, ap);
    }
    bool is_long = *fmt == 'l';
    fmt += is_long;
    if (*fmt == 's') {
        const char *s = va_arg(*ap, const char *);
        while (length != precision && s[length]) {
            length++;
        }
        put_field(o, s, length, ' ', width);
    } else if (*fmt == 'd') {
        put_number(o, (uint64_t)(is_long ? va_arg(*ap, long) : va_arg(*ap, int)), 'd', padding,
                   width);
    } else if (*fmt == 'u' || *fmt == 'x') {
        put_number(o, is_long ? va_arg(*ap, unsigned long) : va_arg(*ap, unsigned), *fmt, padding,
                   width);
    } else {
        put(o, *fmt); /* %%; nothing else is known */
    }
    return fmt + 1;
}

int format_va(char *buf, size_t bytes, const char *fmt, va_list ap)
{
    struct out o = {.buf = buf, .bytes = bytes};
    va_list args;
    va_copy(args, ap);
    while (*fmt) {
        char c = *fmt++;
        if (c == '%') {
            fmt = put_conversion(&o, fmt, &args);
        } else {
            put(&o, c);
        }
    }
    va_end(args);
    if (bytes) {
        buf[MIN(o.used, bytes - 1)] = 0;
    }
    return (int)o.used;
}

int format(char *buf, size_t bytes, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int length = format_va(buf, bytes, fmt, ap);
    va_end(ap);
    return length;
}

static int digit_value(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : 16;
}

uint64_t parse_u64(const char *s, const char **end)
{
    int base = 10;
    if (s[0] == '0' && (s[1] | 0x20) == 'x' && digit_value(s[2]) < 16) {
        base = 16;
        s += 2;
    }
    uint64_t n = 0;
    for (; digit_value(*s) < base; s++) {
        n = n * (unsigned)base + (unsigned)digit_value(*s);
    }
    *end = s;
    return n;
}
