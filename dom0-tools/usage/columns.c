/* SPDX-License-Identifier: MIT */
/*
 * A report in columns and as JSON; see columns.h.
 */
#include "dom0-tools/usage/columns.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const usage_headings[USAGE_COLUMN_COUNT] = {
    [USAGE_ID] = ">ID",           [USAGE_NAME] = "NAME",       [USAGE_VCPUS] = ">VCPUS",
    [USAGE_USED] = ">USED%",      [USAGE_SYSTEM] = ">SYS%",    [USAGE_READY] = ">READY%",
    [USAGE_WAIT] = ">WAIT%",      [USAGE_DEMAND] = ">DEMAND%", [USAGE_MEMORY] = ">MEM(MiB)",
    [USAGE_NET_RX] = ">RX(K/s)",  [USAGE_NET_TX] = ">TX(K/s)", [USAGE_DISK_RD] = ">RD(K/s)",
    [USAGE_DISK_WR] = ">WR(K/s)",
};

/* --- cells ------------------------------------------------------------------------------- */

/* A column's figure of processor time; false if the column is another. */
static bool cpu_figure(const struct usage_cpu *cpu, enum usage_column column, double *figure)
{
    switch (column) {
    case USAGE_USED:
        *figure = cpu->used;
        return true;
    case USAGE_SYSTEM:
        *figure = cpu->system;
        return true;
    case USAGE_READY:
        *figure = cpu->ready;
        return true;
    case USAGE_WAIT:
        *figure = cpu->wait;
        return true;
    case USAGE_DEMAND:
        *figure = cpu->demand;
        return true;
    default:
        return false;
    }
}

/* Any column's figure but the name's. */
static double figure_of(const struct usage_row *row, enum usage_column column)
{
    double figure = 0;

    if (cpu_figure(&row->cpu, column, &figure)) {
        return figure;
    }
    switch (column) {
    case USAGE_ID:
        return row->domid;
    case USAGE_VCPUS:
        return row->online_vcpus;
    case USAGE_MEMORY:
        return (double)row->memory_kib;
    case USAGE_NET_RX:
        return row->net_rx;
    case USAGE_NET_TX:
        return row->net_tx;
    case USAGE_DISK_RD:
        return row->disk_rd;
    case USAGE_DISK_WR:
        return row->disk_wr;
    default:
        return 0;
    }
}

static void cpu_cell(const struct usage_report *report, double figure, enum usage_column column,
                     char text[USAGE_CELL_BYTES])
{
    bool known = report->has_states || column == USAGE_USED;

    snprintf(text, USAGE_CELL_BYTES, known ? "%.1f" : "-", figure);
}

void usage_cell(const struct usage_report *report, const struct usage_row *row,
                enum usage_column column, char text[USAGE_CELL_BYTES])
{
    double figure = figure_of(row, column);

    switch (column) {
    case USAGE_NAME:
        snprintf(text, USAGE_CELL_BYTES, "%s", row->name);
        break;
    case USAGE_ID:
    case USAGE_VCPUS:
        snprintf(text, USAGE_CELL_BYTES, "%.0f", figure);
        break;
    case USAGE_MEMORY:
        snprintf(text, USAGE_CELL_BYTES, "%" PRIu64, row->memory_kib / 1024);
        break;
    case USAGE_NET_RX:
    case USAGE_NET_TX:
    case USAGE_DISK_RD:
    case USAGE_DISK_WR:
        snprintf(text, USAGE_CELL_BYTES, "%.1f", figure / 1024);
        break;
    default:
        cpu_cell(report, figure, column, text);
        break;
    }
}

void usage_vcpu_cell(const struct usage_report *report, const struct usage_vcpu_row *line,
                     enum usage_column column, char text[USAGE_CELL_BYTES])
{
    double figure = 0;

    text[0] = '\0';
    if (column == USAGE_NAME) {
        snprintf(text, USAGE_CELL_BYTES, line->online ? "  vcpu %u on %u" : "  vcpu %u offline",
                 line->vcpu, line->pcpu);
    } else if (cpu_figure(&line->cpu, column, &figure)) {
        cpu_cell(report, figure, column, text);
    }
}

void usage_host_lines(const struct usage_report *report, char first[160], char second[160])
{
    const struct usage_cpu *cpu = &report->total.cpu;

    snprintf(first, 160,
             "%.64s: %u processors, %.1f %% idle; %" PRIu64 " MiB, %" PRIu64
             " MiB free; %zu domains",
             report->host, report->pcpus, report->pcpus != 0 ? report->idle / report->pcpus : 0,
             report->memory_kib / 1024, report->free_kib / 1024, report->row_count);
    if (report->has_states) {
        snprintf(second, 160,
                 "all domains: %.1f %% used, %.1f %% system, %.1f %% ready, %.1f %% demand; "
                 "%.1f s",
                 cpu->used, cpu->system, cpu->ready, cpu->demand, report->period_s);
    } else {
        snprintf(second, 160, "all domains: %.1f %% used; %.1f s", cpu->used, report->period_s);
    }
}

/* --- order ------------------------------------------------------------------------------- */

/* What qsort_r() hands on. */
struct order {
    enum usage_column column;
    bool reverse;
};

static int compare_rows(const void *left, const void *right, void *context)
{
    const struct order *order = context;
    const struct usage_row *a = left;
    const struct usage_row *b = right;
    int by;

    if (order->column == USAGE_NAME) {
        by = strcmp(a->name, b->name);
    } else {
        double x = figure_of(a, order->column);
        double y = figure_of(b, order->column);

        by = order->column == USAGE_ID ? (x > y) - (x < y) : (x < y) - (x > y);
    }
    if (by != 0) {
        return order->reverse ? -by : by;
    }
    return (a->domid > b->domid) - (a->domid < b->domid);
}

void usage_sort(struct usage_report *report, enum usage_column column, bool reverse)
{
    struct order order = {.column = column, .reverse = reverse};

    qsort_r(report->rows, report->row_count, sizeof(*report->rows), compare_rows, &order);
}

/* --- JSON -------------------------------------------------------------------------------- */

/* With three digits after the point, as much as the figures are good for. */
static void add_number(struct json_object *to, const char *key, double number)
{
    char text[64];

    snprintf(text, sizeof(text), "%.3f", number);
    json_object_object_add(to, key, json_object_new_double_s(number, text));
}

static void add_cpu(const struct usage_report *report, const struct usage_cpu *cpu,
                    struct json_object *to)
{
    const struct {
        const char *key;
        double figure;
    } states[] = {
        {"system_percent", cpu->system}, {"ready_percent", cpu->ready},
        {"wait_percent", cpu->wait},     {"offline_percent", cpu->offline},
        {"demand_percent", cpu->demand},
    };

    add_number(to, "used_percent", cpu->used);
    for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++) {
        if (report->has_states) {
            add_number(to, states[i].key, states[i].figure);
        } else {
            json_object_object_add(to, states[i].key, NULL);
        }
    }
}

static void add_rates(const struct usage_row *row, struct json_object *to)
{
    add_number(to, "net_rx_bytes_per_s", row->net_rx);
    add_number(to, "net_tx_bytes_per_s", row->net_tx);
    add_number(to, "disk_rd_bytes_per_s", row->disk_rd);
    add_number(to, "disk_wr_bytes_per_s", row->disk_wr);
}

static struct json_object *vcpus_json(const struct usage_report *report,
                                      const struct usage_row *row)
{
    struct json_object *list = json_object_new_array();

    for (size_t i = 0; i < row->vcpu_count; i++) {
        const struct usage_vcpu_row *line = &report->vcpus[row->first_vcpu + i];
        struct json_object *one = json_object_new_object();

        json_object_object_add(one, "vcpu", json_object_new_int((int)line->vcpu));
        json_object_object_add(one, "pcpu",
                               line->online ? json_object_new_int((int)line->pcpu) : NULL);
        add_cpu(report, &line->cpu, one);
        json_object_array_add(list, one);
    }
    return list;
}

struct json_object *usage_json(const struct usage_report *report, bool vcpus)
{
    struct json_object *out = json_object_new_object();
    struct json_object *host = json_object_new_object();
    struct json_object *domains = json_object_new_array();

    json_object_object_add(host, "name", json_object_new_string(report->host));
    json_object_object_add(host, "pcpus", json_object_new_int((int)report->pcpus));
    add_number(host, "idle_percent", report->idle);
    add_cpu(report, &report->total.cpu, host);
    json_object_object_add(host, "memory_kib", json_object_new_uint64(report->memory_kib));
    json_object_object_add(host, "free_memory_kib", json_object_new_uint64(report->free_kib));
    add_rates(&report->total, host);
    for (size_t i = 0; i < report->row_count; i++) {
        const struct usage_row *row = &report->rows[i];
        struct json_object *one = json_object_new_object();

        json_object_object_add(one, "id", json_object_new_int((int)row->domid));
        json_object_object_add(one, "name", json_object_new_string(row->name));
        json_object_object_add(one, "online_vcpus", json_object_new_int((int)row->online_vcpus));
        add_cpu(report, &row->cpu, one);
        json_object_object_add(one, "memory_kib", json_object_new_uint64(row->memory_kib));
        add_rates(row, one);
        if (vcpus) {
            json_object_object_add(one, "vcpus", vcpus_json(report, row));
        }
        json_object_array_add(domains, one);
    }
    json_object_object_add(out, "host", host);
    add_number(out, "period_s", report->period_s);
    json_object_object_add(out, "domains", domains);
    return out;
}
