/* SPDX-License-Identifier: MIT */
/*
 * What the test programs that play random things share: NAME=number arguments, a seed nobody has
 * seen yet, the clock.
 */
#pragma once

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* The number of an argument that begins with name ("SEED="). False: it is another. */
static inline bool args_number(const char *arg, const char *name, unsigned long *value)
{
    size_t n = strlen(name);
    if (strncmp(arg, name, n)) {
        return false;
    }
    *value = strtoul(arg + n, NULL, 0);
    return true;
}

static inline unsigned long args_fresh_seed(void)
{
    return (unsigned long)time(NULL) * 1000003 + (unsigned long)getpid();
}

/* Seconds, only good for differences. */
static inline double args_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}
