/* SPDX-License-Identifier: MIT */
/*
 * The frame of the admin program: command table, arguments, reports, output.
 *
 * Every command is one row of struct vane_command; help, manual page and completion are made from
 * the rows, so nothing about a command is written twice. Rows stand in groups, one array a source
 * file: see.c (list, info, dmesg ...), life.c (create, destroy ...), cpu.c (sched, vcpu-set ...),
 * image.c (unpack-kernel ...).
 * The frame parses options and counts operands before run() is called; run() reports its failure
 * through vane_error() or vane_fail() and returns the exit status.
 */
#pragma once

#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dom0-tools/base/err.h"

/* Exit statuses; part of the interface, see the table in the manual page. */
enum vane_exit {
    VANE_OK = 0,
    VANE_FAILURE = 1,     /* anything without a status of its own */
    VANE_USAGE = 2,       /* unknown command or option, missing or surplus operand */
    VANE_NOT_FOUND = 3,   /* no such domain, file, bridge */
    VANE_BAD_CONFIG = 4,  /* configuration or kernel image is wrong */
    VANE_NOT_ALLOWED = 5, /* no hypervisor or driver, not the control domain, ... */
    VANE_IN_USE = 6,      /* a name, disk or device is taken, a domain is busy */
    VANE_NO_MEMORY = 7,   /* the machine has too little memory or other resources */
    VANE_TIMEOUT = 8,     /* a guest or back end did not react in time */
};

#define VANE_MAX_OPTIONS 12

/* An option of a command. A row with letter 0 ends a list. */
struct vane_option {
    char letter;       /* short form, also the key for vane_option() */
    const char *name;  /* long form without dashes */
    const char *value; /* word for its value in help, NULL for a switch */
    const char *help;  /* one line */
};

/* What the frame found on the command line. */
struct vane_args {
    const struct vane_command *command;
    int count;                            /* operands, within the row's bounds */
    char **operands;                      /* `count` of them, then NULL */
    bool json;                            /* --json */
    const char *values[VANE_MAX_OPTIONS]; /* by option row: NULL, value, or "" for a switch */
};

struct vane_command {
    const char *name;     /* one word, or two with a blank */
    const char *operands; /* for usage lines, "DOMAIN [SIGNAL]"; "" for none */
    const char *summary;  /* one line, small letter first, no full stop */
    const char *details;  /* paragraphs for help and manual, separated by an empty line; or NULL */
    int min_operands;
    int max_operands;
    bool json;                                /* takes --json */
    const struct vane_option *options;        /* NULL for none */
    int (*run)(const struct vane_args *args); /* returns an enum vane_exit */
};

/* The groups; each ends with a row whose name is NULL. */
extern const struct vane_command vane_commands_see[];     /* see.c */
extern const struct vane_command vane_commands_life[];    /* life.c */
extern const struct vane_command vane_commands_cpu[];     /* cpu.c */
extern const struct vane_command vane_commands_top[];     /* top.c */
extern const struct vane_command vane_commands_guest[];   /* guest.c */
extern const struct vane_command vane_commands_define[];  /* define.c */
extern const struct vane_command vane_commands_image[];   /* image.c */
extern const struct vane_command vane_commands_convert[]; /* convert.c */
extern const struct vane_command vane_commands_disk[];    /* disk.c */
extern const struct vane_command vane_commands_net[];     /* net.c */
extern const struct vane_command vane_commands_pci[];     /* pci.c */
extern const struct vane_command vane_commands_store[];   /* store.c */
extern const struct vane_command vane_commands_host[];    /* host.c */
extern const struct vane_command vane_commands_core[];    /* core.c */
extern const struct vane_command vane_commands_balloon[]; /* balloon.c */
extern const struct vane_command vane_commands_events[];  /* events.c */
extern const struct vane_command vane_commands_stats[];   /* stats.c */

/* Value of an option by its letter: NULL if not given, "" for a switch that is. */
const char *vane_option(const struct vane_args *args, char letter);

/* Value of a numeric option within [min, max], or `fallback` if not given.
 * Errors: -EINVAL after vane_error(); return VANE_USAGE then. */
int vane_option_number(const struct vane_args *args, char letter, unsigned long min,
                       unsigned long max, unsigned long fallback, unsigned long *value);

/* Longest time that can be waited. */
#define VANE_MAX_WAIT_S 86400ul

/* Seconds to wait by --wait and --timeout, 0 without --wait. Errors: as vane_option_number(). */
int vane_option_wait(const struct vane_args *args, unsigned long fallback, unsigned long *seconds);

/* Whether an operand can be the name of a guest; if not, after vane_error(): return VANE_USAGE. */
bool vane_operand_name(const struct vane_args *args, int operand);

/* Reads an amount such as 512, 512M or 2GiB; without a unit, MiB. Returns: whether it is one. */
bool vane_amount(const char *text, uint64_t *kib);

/* Prints "vane: ..." and a newline to standard error. */
void vane_error(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Prints a report as vane_error() does. Returns: the exit status its errno stands for. */
int vane_fail(const struct err *err);

/* Exit status for a positive errno: ESRCH, ENOENT not found; EBADMSG, ENOEXEC, EFBIG bad
 * configuration; EPERM, EACCES, ENODEV not allowed; EEXIST, EBUSY in use; ENOMEM, ENOSPC no
 * memory; ETIMEDOUT time-out; others failure. */
enum vane_exit vane_exit_from_errno(int number);

/* Prints a JSON value and a newline to standard output and drops the reference.
 * Returns: VANE_OK, or VANE_FAILURE when standard output cannot be written. */
int vane_print_json(struct json_object *value);

/* A table on standard output whose columns are as wide as their widest cell. */
struct vane_table;

/* Starts a table; a heading with a leading '>' is aligned right (the mark is not printed). */
struct vane_table *vane_table_new(const char *const headings[], size_t column_count);

/* Adds the next cell, row by row. */
void vane_table_cell(struct vane_table *table, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* The same for what needs no format. */
void vane_table_text(struct vane_table *table, const char *text);
void vane_table_number(struct vane_table *table, uint64_t number);
/* A number of tenths, with its one decimal. */
void vane_table_tenths(struct vane_table *table, uint64_t tenths);

/* Frees a table that is not to be printed; NULL is fine. */
void vane_table_free(struct vane_table *table);

/* Prints and frees. Returns: VANE_OK, or VANE_FAILURE when standard output cannot be written. */
int vane_table_print(struct vane_table *table);
