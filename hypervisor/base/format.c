// SPDX-License-Identifier: MIT
/*
 * Bounded printing for the log, for panics and for names; no floating point, no allocation, no
 * locale. Works in any context, the panic path included.
 */
#include "base/format.h"

#include "base/string.h"

#define DIGITS_MAX 64

struct out {
    char *buf;
    size_t bytes, used;
};

/* What stands between % and the letter of a conversion. */
struct spec {
    bool left, zero, alternate;
    int width, precision; /* precision -1: none given */
    unsigned bytes;       /* of an integer argument */
};

static void put(struct out *o, char c)
{
    if (o->used + 1 < o->bytes) {
        o->buf[o->used] = c;
    }
    o->used++;
}

static void put_text(struct out *o, const struct spec *spec, const char *text, int length)
{
    int spaces = spec->width - length;
    for (int i = 0; i < spaces && !spec->left; i++) {
        put(o, ' ');
    }
    for (int i = 0; i < length; i++) {
        put(o, text[i]);
    }
    for (int i = 0; i < spaces && spec->left; i++) {
        put(o, ' ');
    }
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

static struct spec parse_spec(const char **fmt, va_list *ap)
{
    struct spec spec = {.precision = -1, .bytes = sizeof(int)};
    for (; **fmt && strchr("-0#", **fmt); (*fmt)++) {
        *(**fmt == '-' ? &spec.left : **fmt == '0' ? &spec.zero : &spec.alternate) = true;
    }
    spec.width = field_number(fmt, ap);
    if (**fmt == '.') {
        (*fmt)++;
        spec.precision = field_number(fmt, ap);
    }
    for (; **fmt && strchr("hlz", **fmt); (*fmt)++) {
        spec.bytes = **fmt == 'h' ? spec.bytes / 2 : sizeof(long);
    }
    return spec;
}

static void put_number(struct out *o, const struct spec *spec, char kind, va_list *ap)
{
    bool is_signed = kind == 'd' || kind == 'i', hex = kind == 'x' || kind == 'X';
    /* The argument, widened from the size it is said to have. */
    unsigned unused_bits = 64 - 8 * spec->bytes;
    uint64_t n = spec->bytes == sizeof(long) ? va_arg(*ap, uint64_t) : va_arg(*ap, unsigned);
    n <<= unused_bits;
    n = is_signed ? (uint64_t)((int64_t)n >> unused_bits) : n >> unused_bits;
    bool negative = is_signed && (int64_t)n < 0;
    n = negative ? -n : n;

    const char *prefix = negative ? "-" : hex && spec->alternate && n ? "0x" : "";
    const char *digits = kind == 'X' ? "0123456789ABCDEF" : "0123456789abcdef";
    int prefix_length = (int)strlen(prefix), least = 1;
    if (spec->precision >= 0) {
        least = spec->precision;
    } else if (spec->zero && !spec->left) {
        least = MAX(spec->width - prefix_length, 1);
    }
    char text[2 + DIGITS_MAX], *end = text + sizeof(text), *start = end;
    for (int i = 0; n || i < MIN(least, DIGITS_MAX); i++, n /= hex ? 16 : 10) {
        *--start = digits[n % (hex ? 16 : 10)];
    }
    for (int i = prefix_length; i > 0; i--) {
        *--start = prefix[i - 1];
    }
    put_text(o, spec, start, (int)(end - start));
}

static void put_conversion(struct out *o, const struct spec *spec, char kind, va_list *ap)
{
    switch (kind) {
    case 's': {
        const char *s = va_arg(*ap, const char *) ?: "(null)";
        int length = 0;
        while (length != spec->precision && s[length]) {
            length++;
        }
        put_text(o, spec, s, length);
        break;
    }
    case 'c': {
        char c = (char)va_arg(*ap, int);
        put_text(o, spec, &c, 1);
        break;
    }
    case '%':
        put(o, '%');
        break;
    default:
        put_number(o, spec, kind, ap);
    }
}

int format_va(char *buf, size_t bytes, const char *fmt, va_list ap)
{
    struct out o = {.buf = buf, .bytes = bytes};
    va_list args;
    va_copy(args, ap);
    while (*fmt) {
        char c = *fmt++;
        if (c != '%') {
            put(&o, c);
            continue;
        }
        struct spec spec = parse_spec(&fmt, &args);
        put_conversion(&o, &spec, *fmt++, &args);
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
