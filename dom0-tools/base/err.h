/* SPDX-License-Identifier: MIT */
/*
 * One-line error reports for the control domain's tools.
 *
 * A function that can fail takes a `struct err` last, fills it through err_set() at the place that
 * knows what went wrong, and returns the negative errno that err_set() gives back. Callers pass it
 * upwards unchanged or put words in front with err_prefix(). The number decides the exit status of
 * `vane` (see dom0-tools/vane/vane.h), the text is what the user reads; it has no newline and no
 * trailing full stop.
 */
#pragma once

#include <stddef.h>

#define ERR_TEXT_BYTES 1024

struct err {
    int number;                /* positive errno of the failure, 0 while nothing failed */
    char text[ERR_TEXT_BYTES]; /* one line for the user, always terminated */
};

/* Records a failure; unprintable bytes become '?' so that hostile input cannot drive a terminal.
 * `err` may be NULL. Returns: -number. */
int err_set(struct err *err, int number, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* As err_set(), with ": " and the system's words for `number` appended. Returns: -number. */
int err_set_errno(struct err *err, int number, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Puts "words: " in front of a report made deeper down. Returns: -err->number. */
int err_prefix(struct err *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

#ifdef __clang_analyzer__
/* An analyser that reads one file at a time is told here what err.c sees to: no report is 0. */
static inline int err_below_zero(int rc)
{
    if (rc >= 0) {
        __builtin_unreachable();
    }
    return rc;
}
#define err_set(...) err_below_zero(err_set(__VA_ARGS__))
#define err_set_errno(...) err_below_zero(err_set_errno(__VA_ARGS__))
#define err_prefix(...) err_below_zero(err_prefix(__VA_ARGS__))
#endif
