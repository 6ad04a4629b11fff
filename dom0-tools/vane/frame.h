/* SPDX-License-Identifier: MIT */
/*
 * What the frame's own files share: the groups of commands and the texts made from them.
 * Private to main.c and help.c.
 */
#pragma once

#include <stdio.h>

#include "dom0-tools/vane/vane.h"

#define VANE_VERSION "0.2"

/* Finds a command's row in any group; NULL if there is none. */
const struct vane_command *frame_find(const char *name);

/* Whether some commands' names begin with this word and a blank. */
bool frame_is_group(const char *word);

/* Goes through all rows: the one after `command`, the first for NULL, NULL after the last. */
const struct vane_command *frame_next(const struct vane_command *command);

/* help.c: the list of commands, or one command in full. */
void help_all(FILE *to);
void help_command(FILE *to, const struct vane_command *command);
/* help.c: the commands of a group. */
void help_group(FILE *to, const char *word);

/* help.c: the manual page in man(7) format, and the functions bash completes words with. */
void help_man(FILE *to);
void help_completion(FILE *to);
