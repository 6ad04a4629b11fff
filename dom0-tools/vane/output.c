/* SPDX-License-Identifier: MIT */
/*
 * What every command uses to read its options and to speak: option values, reports and exit
 * statuses, JSON, tables.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dom0-tools/base/progress.h"
#include "dom0-tools/config/values.h"
#include "dom0-tools/vane/vane.h"

/* --- options ----------------------------------------------------------------------------- */

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

struct vane_table {
    size_t column_count;
    const char *const *headings;
    char **cells; /* row by row */
    size_t cell_count;
    size_t room;
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

struct vane_table *vane_table_new(const char *const headings[], size_t column_count)
{
    struct vane_table *table = must(calloc(1, sizeof(*table)));

    table->column_count = column_count;
    table->headings = headings;
    return table;
}

void vane_table_cell(struct vane_table *table, const char *format, ...)
{
    char *text = NULL;
    va_list list;

    va_start(list, format);
    if (vasprintf(&text, format, list) < 0) {
        text = NULL;
    }
    va_end(list);
    if (table->cell_count == table->room) {
        table->room = table->room * 2 + 32;
        table->cells = must(realloc(table->cells, table->room * sizeof(*table->cells)));
    }
    table->cells[table->cell_count++] = must(text);
}

static size_t column_width(const struct vane_table *table, size_t column)
{
    const char *heading = table->headings[column];
    size_t width = strlen(heading) - (*heading == '>' ? 1 : 0);

    for (size_t i = column; i < table->cell_count; i += table->column_count) {
        size_t bytes = strlen(table->cells[i]);

        width = bytes > width ? bytes : width;
    }
    return width;
}

static void print_spaces(size_t count)
{
    while (count-- > 0) {
        putchar_unlocked(' ');
    }
}

static void print_cell(const struct vane_table *table, size_t column, size_t width,
                       const char *text)
{
    bool right = table->headings[column][0] == '>';
    bool last = column + 1 == table->column_count;
    size_t bytes = strlen(text);
    size_t spaces = width > bytes ? width - bytes : 0;

    print_spaces(right ? spaces : 0);
    fputs(text, stdout);
    print_spaces(right || last ? 0 : spaces);
    fputs(last ? "\n" : "  ", stdout);
}

void vane_table_free(struct vane_table *table)
{
    for (size_t i = 0; table != NULL && i < table->cell_count; i++) {
        free(table->cells[i]);
    }
    if (table != NULL) {
        free(table->cells);
    }
    free(table);
}

int vane_table_print(struct vane_table *table)
{
    size_t *widths = must(calloc(table->column_count, sizeof(*widths)));

    for (size_t i = 0; i < table->column_count; i++) {
        widths[i] = column_width(table, i);
        print_cell(table, i, widths[i], table->headings[i] + (table->headings[i][0] == '>'));
    }
    for (size_t i = 0, column = 0; i < table->cell_count; i++) {
        print_cell(table, column, widths[column], table->cells[i]);
        column = column + 1 < table->column_count ? column + 1 : 0;
    }
    free(widths);
    vane_table_free(table);
    return flushed();
}
