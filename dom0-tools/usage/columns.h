/* SPDX-License-Identifier: MIT */
/*
 * A report in columns: headings, cells, order of the rows; and as JSON. What vane top shows on a
 * full screen, in a plain table and to programs is written here once.
 */
#pragma once

#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>

#include "dom0-tools/usage/usage.h"

enum usage_column {
    USAGE_ID,
    USAGE_NAME,
    USAGE_VCPUS,
    USAGE_USED,
    USAGE_SYSTEM,
    USAGE_READY,
    USAGE_WAIT,
    USAGE_DEMAND,
    USAGE_MEMORY,
    USAGE_NET_RX,
    USAGE_NET_TX,
    USAGE_DISK_RD,
    USAGE_DISK_WR,
    USAGE_COLUMN_COUNT,
};

#define USAGE_CELL_BYTES 80

/* Headings; a leading '>' means aligned right. */
extern const char *const usage_headings[USAGE_COLUMN_COUNT];

/* A cell of a domain's row, or of one of its vCPUs' lines. A figure nobody counted is "-", what
 * makes no sense for a vCPU is "". */
void usage_cell(const struct usage_report *report, const struct usage_row *row,
                enum usage_column column, char text[USAGE_CELL_BYTES]);
void usage_vcpu_cell(const struct usage_report *report, const struct usage_vcpu_row *line,
                     enum usage_column column, char text[USAGE_CELL_BYTES]);

/* The machine and its sums in two lines. */
void usage_host_lines(const struct usage_report *report, char first[160], char second[160]);

/* Orders the rows: numbers downwards except ids, names upwards; the other way round if `reverse`.
 * Rows with equal cells stay in the order of their ids. */
void usage_sort(struct usage_report *report, enum usage_column column, bool reverse);

/* The report as docs/accounting.md describes it; vCPUs one by one if asked. */
struct json_object *usage_json(const struct usage_report *report, bool vcpus);
