/* SPDX-License-Identifier: MIT */
/*
 * One-line error reports: formatting, cleaning and prefixing.
 *
 * Text in a report often quotes a file somebody else wrote, so every byte outside printable ASCII
 * is replaced before it can reach a terminal or break the one line.
 */
#include "dom0-tools/base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#ifdef __clang_analyzer__
#undef err_set
#undef err_set_errno
#undef err_prefix
#endif

static void clean(char *text)
{
    for (char *at = text; *at != '\0'; at++) {
        if (*at < 0x20 || *at > 0x7e) {
            *at = '?';
        }
    }
}

static void set(struct err *err, int number, const char *format, va_list list)
{
    /* Through a buffer of its own: an argument may be err->text itself. */
    char text[ERR_TEXT_BYTES];

    vsnprintf(text, sizeof(text), format, list);
    clean(text);
    err->number = number;
    memcpy(err->text, text, sizeof(text));
}

int err_set(struct err *err, int number, const char *format, ...)
{
    if (err != NULL) {
        va_list list;

        va_start(list, format);
        set(err, number, format, list);
        va_end(list);
    }
    return -number;
}

int err_set_errno(struct err *err, int number, const char *format, ...)
{
    if (err != NULL) {
        va_list list;

        va_start(list, format);
        set(err, number, format, list);
        va_end(list);

        size_t used = strlen(err->text);

        snprintf(err->text + used, sizeof(err->text) - used, ": %s", strerror(number));
    }
    return -number;
}

int err_prefix(struct err *err, const char *format, ...)
{
    if (err == NULL) {
        return -1;
    }
    char old[ERR_TEXT_BYTES];

    memcpy(old, err->text, sizeof(old));

    va_list list;

    va_start(list, format);
    set(err, err->number, format, list);
    va_end(list);

    size_t used = strlen(err->text);

    snprintf(err->text + used, sizeof(err->text) - used, ": %s", old);
    return -err->number;
}
