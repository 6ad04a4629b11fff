// SPDX-License-Identifier: MIT
/* Which protections are on and why the others are not: a row each, written once during start-up,
 * read by the log and by the control domain. */
#pragma once

#include "base/types.h"

#define PROTECTIONS_MAX 24

struct protection {
    char name[16];
    char state[80];
};
extern struct protection protections[PROTECTIONS_MAX];
extern unsigned protection_count;

/* Add the row `name`: "on" or "off", and whatever more there is to say, as text. */
void protection_report(const char *name, const char *state, ...) format_printf(2, 3);
/* Log all rows as one line. */
void protection_log(void);
