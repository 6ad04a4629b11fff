/* SPDX-License-Identifier: MIT */
/*
 * What every command uses to read its arguments and to speak: values of options, names, reports and
 * exit statuses, JSON, tables.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dom0-tools/base/progress.h"
#include "dom0-tools/config/values.h"
#include "dom0-tools/vane/vane.h"

/* --- arguments --------------------------------------------------------------------------- */

const char *vane_option(const struct vane_args *args, char letter)
{
    const struct vane_option *options = args->command->options;

    for (size_t i = 0; options != NULL && options[i].letter != 0; i++) {
        if (options[i].letter == letter) {
            return args->values[i];
        }
    }
    return NULL;
}

int vane_option_number(const struct vane_args *args, char letter, unsigned long min,
                       unsigned long max, unsigned long fallback, unsigned long *value)
{
    const char *text = vane_option(args, letter);
    char *end;

    *value = fallback;
    if (text == NULL) {
        return 0;
    }
    errno = 0;

    unsigned long number = strtoul(text, &end, 10);

    /* strtoul() takes blanks and signs; a number starts with a digit. */
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0 || number < min ||
        number > max) {
        vane_error("%s: -%c takes a number from %lu to %lu, not '%s'", args->command->name, letter,
                   min, max, text);
        return -EINVAL;
    }
    *value = number;
    return 0;
}

int vane_option_wait(const struct vane_args *args, unsigned long fallback, unsigned long *seconds)
{
    if (vane_option_number(args, 't', 1, VANE_MAX_WAIT_S, fallback, seconds) != 0) {
        return -EINVAL;
    }
    if (vane_option(args, 'w') == NULL) {
        *seconds = 0;
        if (vane_option(args, 't') != NULL) {
            vane_error("%s: --timeout without --wait, which it would limit (try: vane help %s)",
                       args->command->name, args->command->name);
            return -EINVAL;
        }
    }
    return 0;
}

bool vane_operand_name(const struct vane_args *args, int operand)
{
    bool yes = value_domain_name(args->operands[operand]);

    if (!yes) {
        vane_error("%s: '%s' cannot be the name of a guest", args->command->name,
                   args->operands[operand]);
    }
    return yes;
}

bool vane_amount(const char *text, uint64_t *kib)
{
    size_t digits = strspn(text, "0123456789");
    const char *unit = text[digits] != '\0' ? text + digits : "MiB";
    char number[24];

    if (digits == 0 || digits >= sizeof(number)) {
        return false;
    }
    memcpy(number, text, digits);
    number[digits] = '\0';
    return value_memory_kib(number, unit, kib);
}

/* --- reports ----------------------------------------------------------------------------- */

void vane_error(const char *format, ...)
{
    struct err clean;
    char text[ERR_TEXT_BYTES];
    va_list list;

    va_start(list, format);
    vsnprintf(text, sizeof(text), format, list);
    va_end(list);
    err_set(&clean, EINVAL, "%s", text);
    fflush(stdout);
    progress_end();
    fprintf(stderr, "vane: %s\n", clean.text);
}

int vane_fail(const struct err *err)
{
    vane_error("%s", err->text);
    return vane_exit_from_errno(err->number);
}

enum vane_exit vane_exit_from_errno(int number)
{
    switch (number) {
    case ESRCH:
    case ENOENT:
        return VANE_NOT_FOUND;
    case EBADMSG:
    case ENOEXEC:
    case EFBIG:
        return VANE_BAD_CONFIG;
    case EPERM:
    case EACCES:
    case ENODEV:
        return VANE_NOT_ALLOWED;
    case EEXIST:
    case EBUSY:
        return VANE_IN_USE;
    case ENOMEM:
    case ENOSPC:
        return VANE_NO_MEMORY;
    case ETIMEDOUT:
        return VANE_TIMEOUT;
    default:
        return VANE_FAILURE;
    }
}

static int flushed(void)
{
    if (fflush(stdout) != 0 || ferror(stdout)) {
        vane_error("cannot write to standard output");
        return VANE_FAILURE;
    }
    return VANE_OK;
}

int vane_print_json(struct json_object *value)
{
    puts(json_object_to_json_string_ext(value,
                                        JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_NOSLASHESCAPE));
    json_object_put(value);
    return flushed();
}

/* --- tables ------------------------------------------------------------------------------ */

/* Most cells are not longer, so that they are formatted but once. */
#define CELL_BYTES 64

struct vane_table {
    size_t column_count;
    const char *const *headings;
    size_t *widths; /* of the columns */
    size_t column;  /* of the next cell */
    char *text;     /* cells row by row, each with its NUL */
    size_t bytes, room;
};

/* A table is a convenience of a program that is about to end: out of memory ends it now. */
static void *must(void *memory)
{
    if (memory == NULL) {
        vane_error("no memory");
        exit(VANE_FAILURE);
    }
    return memory;
}

static bool is_right(const struct vane_table *table, size_t column)
{
    return table->headings[column][0] == '>';
}

static const char *heading(const struct vane_table *table, size_t column)
{
    return table->headings[column] + is_right(table, column);
}

struct vane_table *vane_table_new(const char *const headings[], size_t column_count)
{
    struct vane_table *table = must(calloc(1, sizeof(*table)));

    table->column_count = column_count;
    table->headings = headings;
    table->widths = must(calloc(column_count, sizeof(*table->widths)));
    for (size_t i = 0; i < column_count; i++) {
        table->widths[i] = strlen(heading(table, i));
    }
    return table;
}

/* Room for that many bytes behind the last cell. */
static char *cell_room(struct vane_table *table, size_t bytes)
{
    if (table->bytes + bytes > table->room) {
        table->room = table->room * 2 + bytes + 1024;
        table->text = must(realloc(table->text, table->room));
    }
    return table->text + table->bytes;
}

/* What has been put there is a cell of so many bytes without its NUL. */
static void cell_done(struct vane_table *table, size_t bytes)
{
    size_t *width = &table->widths[table->column];

    *width = bytes > *width ? bytes : *width;
    table->bytes += bytes + 1;
    table->column = table->column + 1 < table->column_count ? table->column + 1 : 0;
}

void vane_table_cell(struct vane_table *table, const char *format, ...)
{
    size_t room = CELL_BYTES;
    va_list list;
    int bytes;

    va_start(list, format);
    bytes = vsnprintf(cell_room(table, room), room, format, list);
    va_end(list);
    if (bytes >= CELL_BYTES) {
        room = (size_t)bytes + 1;
        va_start(list, format);
        bytes = vsnprintf(cell_room(table, room), room, format, list);
        va_end(list);
    }
    if (bytes < 0) {
        must(NULL);
    }
    cell_done(table, (size_t)bytes);
}

/* So many bytes, and a NUL behind them. */
static void put(struct vane_table *table, const char *text, size_t bytes)
{
    memcpy(cell_room(table, bytes + 1), text, bytes + 1);
    cell_done(table, bytes);
}

void vane_table_text(struct vane_table *table, const char *text)
{
    put(table, text, strlen(text));
}

/* Writes a number's digits before `end`. Returns: the first of them. */
static char *digits_before(char *end, uint64_t number)
{
    do {
        *--end = (char)('0' + number % 10);
        number /= 10;
    } while (number != 0);
    return end;
}

void vane_table_number(struct vane_table *table, uint64_t number)
{
    char text[24];
    char *end = text + sizeof(text) - 1;
    char *at = digits_before(end, number);

    *end = '\0';
    put(table, at, (size_t)(end - at));
}

void vane_table_tenths(struct vane_table *table, uint64_t tenths)
{
    char text[24];
    char *end = text + sizeof(text) - 1;
    char *at = end;

    *at = '\0';
    *--at = (char)('0' + tenths % 10);
    *--at = '.';
    at = digits_before(at, tenths / 10);
    put(table, at, (size_t)(end - at));
}

/* Cells are short: to call memset() for a few bytes costs more than they do. */
static char *put_spaces(char *to, size_t count)
{
    while (count-- > 0) {
        *to++ = ' ';
    }
    return to;
}

/* Writes a cell with its spaces and what stands behind it. Returns: behind that. */
static char *put_cell(const struct vane_table *table, size_t column, const char *text, size_t bytes,
                      char *to)
{
    bool right = is_right(table, column);
    size_t spaces = table->widths[column] - bytes;

    to = put_spaces(to, right ? spaces : 0);
    memcpy(to, text, bytes);
    to += bytes;
    if (column + 1 == table->column_count) {
        *to++ = '\n';
        return to;
    }
    return put_spaces(to, (right ? 0 : spaces) + 2);
}

void vane_table_free(struct vane_table *table)
{
    if (table != NULL) {
        free(table->text);
        free(table->widths);
    }
    free(table);
}

int vane_table_print(struct vane_table *table)
{
    const char *cell = table->text;
    const char *end = cell + table->bytes;
    size_t line_bytes = 0;
    char *line;
    char *at;

    for (size_t i = 0; i < table->column_count; i++) {
        line_bytes += table->widths[i] + 2;
    }
    at = line = must(malloc(line_bytes));
    for (size_t i = 0; i < table->column_count; i++) {
        at = put_cell(table, i, heading(table, i), strlen(heading(table, i)), at);
    }
    fwrite(line, 1, (size_t)(at - line), stdout);
    while (cell != end) {
        at = line;
        for (size_t i = 0; i < table->column_count && cell != end; i++) {
            size_t bytes = strlen(cell);

            at = put_cell(table, i, cell, bytes, at);
            cell += bytes + 1;
        }
        fwrite(line, 1, (size_t)(at - line), stdout);
    }
    free(line);
    vane_table_free(table);
    return flushed();
}
