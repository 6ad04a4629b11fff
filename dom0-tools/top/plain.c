/* SPDX-License-Identifier: MIT */
/*
 * The steps all forms of top take, and the forms without a screen: tables and JSON lines.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "dom0-tools/top/top.h"

/* --- steps ------------------------------------------------------------------------------- */

static void pause_ms(unsigned int ms)
{
    struct timespec left = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};

    while (nanosleep(&left, &left) != 0 && errno == EINTR) {
    }
}

int top_next(struct top_state *state, const struct top_source *source,
             const struct top_settings *settings, struct err *err)
{
    struct usage_sample sample;
    int rc = 0;

    if (state->last.domains == NULL) {
        rc = source->take(source->context, &state->last, err);
        if (rc != 0) {
            return rc;
        }
        pause_ms(settings->delay_ms);
    }
    rc = source->take(source->context, &sample, err);
    if (rc != 0) {
        return rc;
    }
    usage_report_free(&state->report);
    rc = usage_compare(&state->last, &sample, &state->report, err);
    usage_sample_free(&state->last);
    state->last = sample;
    if (rc == 0) {
        usage_sort(&state->report, settings->order, settings->reverse);
    }
    return rc;
}

void top_end(struct top_state *state)
{
    usage_report_free(&state->report);
    usage_sample_free(&state->last);
}

/* --- tables ------------------------------------------------------------------------------ */

/* Widths of the columns of a report. */
struct widths {
    size_t of[USAGE_COLUMN_COUNT];
};

static void widen(struct widths *widths, enum usage_column column, const char *text)
{
    size_t bytes = strlen(text);

    widths->of[column] = bytes > widths->of[column] ? bytes : widths->of[column];
}

static const char *heading(enum usage_column column)
{
    return usage_headings[column] + (usage_headings[column][0] == '>' ? 1 : 0);
}

static void measure(const struct usage_report *report, bool vcpus, struct widths *widths)
{
    char text[USAGE_CELL_BYTES];

    memset(widths, 0, sizeof(*widths));
    for (enum usage_column column = 0; column < USAGE_COLUMN_COUNT; column++) {
        widen(widths, column, heading(column));
        for (size_t i = 0; i < report->row_count; i++) {
            usage_cell(report, &report->rows[i], column, text);
            widen(widths, column, text);
        }
        for (size_t i = 0; vcpus && i < report->vcpu_count; i++) {
            usage_vcpu_cell(report, &report->vcpus[i], column, text);
            widen(widths, column, text);
        }
    }
}

static void put_cell(FILE *to, const struct widths *widths, enum usage_column column,
                     const char *text)
{
    int width = (int)widths->of[column];

    fprintf(to, usage_headings[column][0] == '>' ? "%*s%s" : "%-*s%s", width, text,
            column + 1 < USAGE_COLUMN_COUNT ? "  " : "\n");
}

static void put_row(FILE *to, const struct usage_report *report, const struct widths *widths,
                    const struct usage_row *row, bool vcpus)
{
    char text[USAGE_CELL_BYTES];

    for (enum usage_column column = 0; column < USAGE_COLUMN_COUNT; column++) {
        usage_cell(report, row, column, text);
        put_cell(to, widths, column, text);
    }
    for (size_t i = 0; vcpus && i < row->vcpu_count; i++) {
        for (enum usage_column column = 0; column < USAGE_COLUMN_COUNT; column++) {
            usage_vcpu_cell(report, &report->vcpus[row->first_vcpu + i], column, text);
            put_cell(to, widths, column, text);
        }
    }
}

static void put_table(FILE *to, const struct usage_report *report, bool vcpus)
{
    struct widths widths;
    char first[160];
    char second[160];

    usage_host_lines(report, first, second);
    fprintf(to, "%s\n%s\n", first, second);
    measure(report, vcpus, &widths);
    for (enum usage_column column = 0; column < USAGE_COLUMN_COUNT; column++) {
        put_cell(to, &widths, column, heading(column));
    }
    for (size_t i = 0; i < report->row_count; i++) {
        put_row(to, report, &widths, &report->rows[i], vcpus);
    }
}

static void put_json(FILE *to, const struct usage_report *report, bool vcpus)
{
    struct json_object *document = usage_json(report, vcpus);

    fprintf(to, "%s\n",
            json_object_to_json_string_ext(document, JSON_C_TO_STRING_PLAIN |
                                                         JSON_C_TO_STRING_NOSLASHESCAPE));
    json_object_put(document);
}

int top_plain(const struct top_source *source, const struct top_settings *settings, bool json,
              FILE *to, struct err *err)
{
    struct top_state state = {0};
    int rc = 0;

    for (unsigned long i = 0; rc == 0 && (settings->count == 0 || i < settings->count); i++) {
        if (i > 0) {
            pause_ms(settings->delay_ms);
        }
        rc = top_next(&state, source, settings, err);
        if (rc != 0) {
            break;
        }
        if (json) {
            put_json(to, &state.report, settings->vcpus);
        } else {
            fputs(i > 0 ? "\n" : "", to);
            put_table(to, &state.report, settings->vcpus);
        }
        if (fflush(to) != 0 || ferror(to)) {
            rc = err_set(err, EIO, "cannot write to standard output");
        }
    }
    top_end(&state);
    return rc;
}
