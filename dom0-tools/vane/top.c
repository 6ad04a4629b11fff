/* SPDX-License-Identifier: MIT */
/*
 * The commands top, exporter and plan: where processor time goes, for people and for monitoring
 * systems, and which guests should go elsewhere.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dom0-tools/base/file.h"
#include "dom0-tools/storeclient/client.h"
#include "dom0-tools/top/exporter.h"
#include "dom0-tools/top/top.h"
#include "dom0-tools/usage/plan.h"
#include "dom0-tools/vane/look.h"
#include "dom0-tools/vane/sample.h"
#include "dom0-tools/vane/vane.h"

#define DELAY_DEFAULT_S 2ul
#define DELAY_MAX_S 3600ul
#define COUNT_MAX 1000000000ul
#define LIMIT_DEFAULT 90ul
#define PORT_DEFAULT 9178ul
#define EXPORTER_DELAY_S 10ul
#define PLAN_MAX_FILE_BYTES (16u << 20)

/* --- top --------------------------------------------------------------------------------- */

/* The store may have been started anew since the last one, or for the first time. */
static int take(void *context, struct usage_sample *sample, struct err *err)
{
    struct look *look = context;

    look->xs = xs_renew(look->xs);
    return sample_take(look, sample, err);
}

/* Words for --sort, as the columns' headings without marks and units. */
static const struct {
    const char *word;
    enum usage_column column;
} orders[] = {
    {"id", USAGE_ID},      {"name", USAGE_NAME},   {"vcpus", USAGE_VCPUS}, {"used", USAGE_USED},
    {"sys", USAGE_SYSTEM}, {"ready", USAGE_READY}, {"wait", USAGE_WAIT},   {"demand", USAGE_DEMAND},
    {"mem", USAGE_MEMORY}, {"rx", USAGE_NET_RX},   {"tx", USAGE_NET_TX},   {"rd", USAGE_DISK_RD},
    {"wr", USAGE_DISK_WR},
};
#define ORDER_COUNT (sizeof(orders) / sizeof(orders[0]))

static int read_order(const struct vane_args *args, enum usage_column *order)
{
    const char *word = vane_option(args, 's');

    *order = USAGE_ID;
    for (size_t i = 0; word != NULL && i < ORDER_COUNT; i++) {
        if (strcmp(orders[i].word, word) == 0) {
            *order = orders[i].column;
            return 0;
        }
    }
    if (word != NULL) {
        vane_error("top: no column '%s' to sort by (id, name, vcpus, used, sys, ready, wait, "
                   "demand, mem, rx, tx, rd, wr)",
                   word);
        return VANE_USAGE;
    }
    return 0;
}

static int run_top(const struct vane_args *args)
{
    bool plain = args->json || vane_option(args, 'b') != NULL || isatty(STDOUT_FILENO) == 0 ||
                 isatty(STDIN_FILENO) == 0;
    struct top_settings settings = {.vcpus = vane_option(args, 'v') != NULL};
    unsigned long seconds;
    struct err err = {0};
    struct look look;
    int rc;

    if (vane_option_number(args, 'n', 1, COUNT_MAX, plain ? 1 : 0, &settings.count) != 0 ||
        vane_option_number(args, 'd', 1, DELAY_MAX_S, DELAY_DEFAULT_S, &seconds) != 0 ||
        read_order(args, &settings.order) != 0) {
        return VANE_USAGE;
    }
    settings.delay_ms = (unsigned int)seconds * 1000;
    rc = look_open(&look, true, &err);
    if (rc == 0) {
        struct top_source source = {.take = take, .context = &look};

        rc = plain ? top_plain(&source, &settings, args->json, stdout, &err)
                   : top_screen(&source, &settings, &err);
        look_close(&look);
    }
    return rc == 0 ? VANE_OK : vane_fail(&err);
}

/* --- exporter ---------------------------------------------------------------------------- */

static int run_exporter(const struct vane_args *args)
{
    struct top_settings settings = {.order = USAGE_ID};
    unsigned long seconds;
    unsigned long port;
    struct err err = {0};
    struct look look;
    uint16_t got;

    if (vane_option_number(args, 'p', 1, UINT16_MAX, PORT_DEFAULT, &port) != 0 ||
        vane_option_number(args, 'd', 1, DELAY_MAX_S, EXPORTER_DELAY_S, &seconds) != 0) {
        return VANE_USAGE;
    }
    settings.delay_ms = (unsigned int)seconds * 1000;

    int rc = look_open(&look, true, &err);

    if (rc != 0) {
        return vane_fail(&err);
    }
    rc = exporter_listen((uint16_t)port, &got, &err);
    if (rc >= 0) {
        struct top_source source = {.take = take, .context = &look};
        int listener = rc;

        printf("metrics are at http://127.0.0.1:%u/metrics\n", got);
        fflush(stdout);
        rc = exporter_serve(listener, &source, &settings, &err);
        close(listener);
    }
    look_close(&look);
    return rc == 0 ? VANE_OK : vane_fail(&err);
}

/* --- plan -------------------------------------------------------------------------------- */

static const char *host_name(const struct plan_input *input, size_t host)
{
    return input->hosts[host].name;
}

static double percent(uint64_t demand)
{
    return (double)demand / PLAN_UNITS;
}

/* A percentage as a number with as many digits as it is good for. */
static struct json_object *json_percent(uint64_t demand)
{
    char text[32];

    snprintf(text, sizeof(text), "%.3f", percent(demand));
    return json_object_new_double_s(percent(demand), text);
}

static int print_plan_json(const struct plan_input *input, const struct plan *plan)
{
    struct json_object *out = json_object_new_object();
    struct json_object *moves = json_object_new_array();
    struct json_object *hosts = json_object_new_array();

    for (size_t i = 0; i < plan->move_count; i++) {
        const struct plan_guest *guest = &input->guests[plan->moves[i].guest];
        struct json_object *one = json_object_new_object();

        json_object_object_add(one, "guest", json_object_new_string(guest->name));
        json_object_object_add(one, "id", json_object_new_int64(guest->id));
        json_object_object_add(one, "from", json_object_new_string(host_name(input, guest->host)));
        json_object_object_add(one, "to",
                               json_object_new_string(host_name(input, plan->moves[i].to)));
        json_object_object_add(one, "demand_percent", json_percent(guest->demand));
        json_object_object_add(one, "memory_kib", json_object_new_uint64(guest->memory_kib));
        json_object_array_add(moves, one);
    }
    for (size_t h = 0; h < input->host_count; h++) {
        struct json_object *one = json_object_new_object();

        json_object_object_add(one, "name", json_object_new_string(host_name(input, h)));
        json_object_object_add(one, "limit_percent", json_percent(plan_limit(input, h)));
        json_object_object_add(one, "demand_percent", json_percent(plan_load(input, NULL, h)));
        json_object_object_add(one, "demand_after_percent",
                               json_percent(plan_load(input, plan, h)));
        json_object_array_add(hosts, one);
    }
    json_object_object_add(out, "moves", moves);
    json_object_object_add(out, "minimum", json_object_new_boolean(plan->minimum));
    json_object_object_add(out, "hosts", hosts);
    return vane_print_json(out);
}

static int print_plan(const struct plan_input *input, const struct plan *plan)
{
    static const char *const headings[] = {"HOST", ">DEMAND%", ">AFTER%", ">LIMIT%"};
    struct vane_table *table = vane_table_new(headings, 4);

    if (plan->move_count == 0) {
        printf("nothing has to move\n\n");
    }
    for (size_t i = 0; i < plan->move_count; i++) {
        const struct plan_guest *guest = &input->guests[plan->moves[i].guest];

        printf("move %s (domain %u, %.1f %%, %" PRIu64 " MiB) from %s to %s\n", guest->name,
               guest->id, percent(guest->demand), guest->memory_kib / 1024,
               host_name(input, guest->host), host_name(input, plan->moves[i].to));
    }
    if (plan->move_count != 0) {
        printf("%zu move%s%s\n\n", plan->move_count, plan->move_count == 1 ? "" : "s",
               plan->minimum ? ", the fewest that do" : "; fewer may do");
    }
    for (size_t h = 0; h < input->host_count; h++) {
        vane_table_cell(table, "%s", host_name(input, h));
        vane_table_cell(table, "%.1f", percent(plan_load(input, NULL, h)));
        vane_table_cell(table, "%.1f", percent(plan_load(input, plan, h)));
        vane_table_cell(table, "%.1f", percent(plan_limit(input, h)));
    }
    return vane_table_print(table);
}

static int read_hosts(const struct vane_args *args, struct plan_input *input, struct err *err)
{
    int i = 0;
    int rc;

    /* There is one at least, or the command had not come this far. */
    do {
        void *text;
        size_t bytes;

        rc = file_read(args->operands[i], PLAN_MAX_FILE_BYTES, &text, &bytes, err);
        if (rc == 0) {
            rc = plan_read(args->operands[i], text, input, err);
            free(text);
        }
    } while (rc == 0 && ++i < args->count);
    return rc;
}

static int run_plan(const struct vane_args *args)
{
    struct plan_input input = {.hosts = NULL};
    struct err err = {0};
    unsigned long limit;
    struct plan plan;
    int status;

    if (vane_option_number(args, 'l', 1, 100, LIMIT_DEFAULT, &limit) != 0) {
        return VANE_USAGE;
    }
    input.limit_percent = (unsigned int)limit;

    int rc = read_hosts(args, &input, &err);

    rc = rc != 0 ? rc : plan_make(&input, &plan, &err);
    if (rc != 0) {
        plan_input_free(&input);
        return vane_fail(&err);
    }
    status = args->json ? print_plan_json(&input, &plan) : print_plan(&input, &plan);
    plan_free(&plan);
    plan_input_free(&input);
    return status;
}

/* --- table ------------------------------------------------------------------------------- */

static const struct vane_option top_options[] = {
    {'b', "batch", NULL, "print tables even on a terminal"},
    {'n', "iterations", "N", "end after N reports (without a terminal: 1)"},
    {'d', "delay", "SECONDS", "time between two looks, 1 to 3600 (default 2)"},
    {'s', "sort", "COLUMN",
     "sort by id, name, vcpus, used, sys, ready, wait, demand, mem, rx, "
     "tx, rd or wr"},
    {'v', "vcpus", NULL, "show every vCPU"},
    {0, NULL, NULL, NULL},
};

static const struct vane_option exporter_options[] = {
    {'p', "port", "PORT", "listen on that port of 127.0.0.1 (default 9178)"},
    {'d', "delay", "SECONDS", "time between two looks, 1 to 3600 (default 10)"},
    {0, NULL, NULL, NULL},
};

static const struct vane_option plan_options[] = {
    {'l', "limit", "PERCENT", "demand a host may have, of all its processors (default 90)"},
    {0, NULL, NULL, NULL},
};

const struct vane_command vane_commands_top[] = {
    {
        .name = "top",
        .operands = "",
        .summary = "show where processor time, network and disk traffic go",
        .details =
            "Percentages are of one processor. USED: the guest's code ran. SYS: the hypervisor "
            "ran on its behalf. READY: it could run, but waited for a processor. WAIT: it waited "
            "for an event. DEMAND: what it would use if it never had to wait for a processor, "
            "(used + sys) / (period - ready), summed over its vCPUs. RX, TX, RD, WR: KiB a second "
            "that the guest receives, sends, reads and writes, from the control domain's back "
            "ends.\n\n"
            "On a terminal: q ends, s and S choose the column to sort by, r turns the order "
            "round, v shows vCPUs, d asks for the delay, a blank looks at once, h helps. "
            "Elsewhere, and with --batch, tables; with --json, a document a line, whose members "
            "docs/accounting.md explains.",
        .json = true,
        .options = top_options,
        .run = run_top,
    },
    {
        .name = "exporter",
        .operands = "",
        .summary = "serve the figures of top to monitoring systems, over HTTP",
        .details = "Answers GET /metrics on the loopback interface with OpenMetrics text: times "
                   "and bytes as counters, and the percentages of vane top over its own period. "
                   "Runs until it is ended.",
        .options = exporter_options,
        .run = run_exporter,
    },
    {
        .name = "plan",
        .operands = "FILE...",
        .summary = "advise which guests of several hosts to move where",
        .details =
            "The files hold what vane top --json printed on each host, or lists of that; "
            "docs/accounting.md has the format. The plan is made by what the guests want, not by "
            "what they get: no host's demand above the limit, memory suffices at every step, as "
            "few moves as possible. The control domains stay where they are.\n\n"
            "When the search for the fewest moves would take too long, a plan that may not be "
            "the shortest is given and called so. No plan at all is an error.",
        .min_operands = 1,
        .max_operands = 256,
        .json = true,
        .options = plan_options,
        .run = run_plan,
    },
    {.name = NULL},
};
