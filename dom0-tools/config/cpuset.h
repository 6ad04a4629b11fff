/* SPDX-License-Identifier: MIT */
/*
 * Sets of processors in the words of libvirt and xl: "0-3,^2", "all".
 *
 * A set is parsed without knowing the machine and fitted to it later, so that a file can be read
 * anywhere and a processor that is not there is found before anything is done. Pure.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "dom0-tools/base/err.h"

#define CPUSET_MAX 256u
#define CPUSET_TEXT_BYTES 1536 /* enough for any set */

struct cpuset {
    uint8_t bits[CPUSET_MAX / 8]; /* bit n % 8 of byte n / 8 is processor n */
    unsigned int named;           /* one more than the highest processor that was named; 0: none */
};

/* Every processor there may be. */
struct cpuset cpuset_all(void);

bool cpuset_has(const struct cpuset *set, unsigned int cpu);

/* Reads items separated by commas, from left to right: N, N-M, ^N and ^N-M (without), all. A list
 * whose first item takes something out begins with all. Returns: 0 or -EINVAL. */
int cpuset_parse(const char *text, struct cpuset *set);

/* Limits a set to processors 0 to count - 1. Errors: EINVAL when it names another or none is left;
 * the set is as before then. */
int cpuset_fit(struct cpuset *set, unsigned int count, struct err *err);

/* Writes a set that is not fitted to a machine yet, so that cpuset_parse() gives the same again: ""
 * for every processor, else what is named: "0-3,6", or what is taken out: "^2,^5". */
void cpuset_format_any(const struct cpuset *set, char text[CPUSET_TEXT_BYTES]);

/* Writes processors 0 to count - 1 of a set: "all", "none", or the shortest list of N and N-M. */
void cpuset_format(const struct cpuset *set, unsigned int count, char text[CPUSET_TEXT_BYTES]);
