// SPDX-License-Identifier: MIT
/* The hypervisor's command line, parsed once at start-up into one structure. */
#pragma once

#include "base/config.h"
#include "base/types.h"

/* Longest value of a STR option, with the terminating zero. */
#define CMDLINE_STR_BYTES 64

/* C types of the option types in cmdline.def. */
typedef char cmdline_STR[CMDLINE_STR_BYTES];
typedef bool cmdline_BOOL;
typedef enum option_auto { OPTION_NO, OPTION_YES, OPTION_AUTO } cmdline_AUTO;
typedef uint64_t cmdline_UINT;
typedef uint64_t cmdline_SIZE;

struct cmdline_options {
#define OPT(name, type, fallback, doc) cmdline_##type name;
#include "base/cmdline.def"
#undef OPT
};

/* The options as given, or their defaults; constant after cmdline_parse(). */
extern struct cmdline_options cmdline;

/* The whole line as given. */
extern const char *cmdline_text;

/* Read the command line, which stays where it is. What it cannot use it remembers for
 * cmdline_report(). */
void cmdline_parse(const char *line);
/* Log the options that were not understood. */
void cmdline_report(void);
/* A size with suffix as in SIZE; false when malformed or too large. */
bool cmdline_parse_size(const char *s, uint64_t *bytes);
