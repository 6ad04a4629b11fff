// SPDX-License-Identifier: MIT
/*
 * Bounded printing for the log, for panics and for names; no floating point, no allocation, no
 * locale. Works in any context, the panic path included.
 */
#include "base/format.h"

#include "base/string.h"

struct out {
    char *buf;
    size_t bytes, used;
};

struct spec {
    bool left, zero, alternate, negative;
    int width, precision; /* precision -1: none given */
};

static void put(struct out *o, char c)
{
    if (o->used + 1 < o->bytes) {
        o->buf[o->used] = c;
    }
    o->used++;
}

static void pad(struct out *o, char c, int count)
{
    for (; count > 0; count--) {
        put(o, c);
    }
}

static void put_string(struct out *o, const struct spec *spec, const char *s)
{
    int length = 0;
    while ((spec->precision < 0 || length < spec->precision) && s[length]) {
        length++;
    }
    pad(o, ' ', spec->left ? 0 : spec->width - length);
    for (int i = 0; i < length; i++) {
        put(o, s[i]);
    }
    pad(o, ' ', spec->left ? spec->width - length : 0);
}

static void put_number(struct out *o, const struct spec *spec, uint64_t n, unsigned base,
                       bool upper)
{
    const char *digits = upper ? "0123456789ABCDEF" : "0123456789abcdef";
    const char *prefix = spec->negative ? "-" : spec->alternate && base == 16 && n ? "0x" : "";
    char text[24];
    int length = 0;
    for (; n; n /= base) {
        text[length++] = digits[n % base];
    }
    int least = spec->precision < 0 ? 1 : spec->precision;
    int spaces = spec->width - (int)strlen(prefix) - MAX(length, least);
    if (spec->zero && !spec->left && spec->precision < 0) {
        least += MAX(spaces, 0) + MAX(length - least, 0);
        spaces = 0;
    }
    pad(o, ' ', spec->left ? 0 : spaces);
    for (const char *p = prefix; *p; p++) {
        put(o, *p);
    }
    pad(o, '0', least - length);
    while (length) {
        put(o, text[--length]);
    }
    pad(o, ' ', spec->left ? spaces : 0);
}

/* A decimal field of the format, or the next argument for '*'. */
static int field_number(const char **fmt, va_list *ap)
{
    if (**fmt == '*') {
        (*fmt)++;
        return va_arg(*ap, int);
    }
    int n = 0;
    for (; **fmt >= '0' && **fmt <= '9'; (*fmt)++) {
        n = n * 10 + (**fmt - '0');
    }
    return n;
}

static void parse_spec(struct spec *spec, const char **fmt, va_list *ap)
{
    *spec = (struct spec){.precision = -1};
    for (;; (*fmt)++) {
        if (**fmt == '-') {
            spec->left = true;
        } else if (**fmt == '0') {
            spec->zero = true;
        } else if (**fmt == '#') {
            spec->alternate = true;
        } else {
            break;
        }
    }
    spec->width = field_number(fmt, ap);
    if (spec->width < 0) {
        spec->left = true;
        spec->width = -spec->width;
    }
    if (**fmt == '.') {
        (*fmt)++;
        spec->precision = field_number(fmt, ap);
    }
}

/* Size of the integer argument: 8 for l, ll, z, t; 2 for h, 1 for hh, 4 otherwise. */
static unsigned parse_size(const char **fmt)
{
    unsigned size = 4;
    for (;; (*fmt)++) {
        if (**fmt == 'l' || **fmt == 'z' || **fmt == 't') {
            size = 8;
        } else if (**fmt == 'h') {
            size /= 2;
        } else {
            return size;
        }
    }
}

static uint64_t unsigned_arg(va_list *ap, unsigned size)
{
    if (size == 8) {
        return va_arg(*ap, uint64_t);
    }
    uint64_t n = va_arg(*ap, unsigned);
    return size == 4 ? n : n & ((1UL << (8 * size)) - 1);
}

static int64_t signed_arg(va_list *ap, unsigned size)
{
    if (size == 8) {
        return va_arg(*ap, int64_t);
    }
    int n = va_arg(*ap, int);
    return size == 4 ? n : size == 2 ? (int16_t)n : (int8_t)n;
}

static void put_conversion(struct out *o, struct spec *spec, char kind, unsigned size, va_list *ap)
{
    switch (kind) {
    case 'd':
    case 'i': {
        int64_t n = signed_arg(ap, size);
        spec->negative = n < 0;
        put_number(o, spec, n < 0 ? -(uint64_t)n : (uint64_t)n, 10, false);
        return;
    }
    case 'u':
        put_number(o, spec, unsigned_arg(ap, size), 10, false);
        return;
    case 'x':
    case 'X':
        put_number(o, spec, unsigned_arg(ap, size), 16, kind == 'X');
        return;
    case 'p':
        spec->precision = 16;
        put_number(o, spec, (uint64_t)va_arg(*ap, void *), 16, false);
        return;
    case 's': {
        const char *s = va_arg(*ap, const char *);
        put_string(o, spec, s ? s : "(null)");
        return;
    }
    case 'c': {
        char text[2] = {(char)va_arg(*ap, int), 0};
        put_string(o, spec, text);
        return;
    }
    case '%':
        put(o, '%');
        return;
    default:
        put_string(o, spec, "(bad format)");
        return;
    }
}

int format_va(char *buf, size_t bytes, const char *fmt, va_list ap)
{
    struct out o = {.buf = buf, .bytes = bytes};
    va_list args;
    va_copy(args, ap);
    while (*fmt) {
        if (*fmt != '%') {
            put(&o, *fmt++);
            continue;
        }
        fmt++;
        struct spec spec;
        parse_spec(&spec, &fmt, &args);
        unsigned size = parse_size(&fmt);
        put_conversion(&o, &spec, *fmt, size, &args);
        if (*fmt) {
            fmt++;
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
