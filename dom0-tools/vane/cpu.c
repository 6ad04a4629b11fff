/* SPDX-License-Identifier: MIT */
/*
 * Commands about processors: sched, vcpu-list, vcpu-set, vcpu-pin.
 *
 * Shares and pins are kept by the hypervisor, and set whole or not at all: everything is tested
 * before the first call, and what was set is put back when a later call fails. How many of its
 * vCPUs a guest uses is the guest's own affair: it is asked through the store.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dom0-tools/config/config.h"
#include "dom0-tools/config/cpuset.h"
#include "dom0-tools/config/values.h"
#include "dom0-tools/device/node.h"
#include "dom0-tools/libhv/hv.h"
#include "dom0-tools/vane/look.h"
#include "dom0-tools/vane/vane.h"

#define WAIT_DEFAULT_S 60ul

/* --- what the commands share ------------------------------------------------------------- */

/* Whether a domain ended between being listed and being asked about. */
static bool has_gone(int rc)
{
    return rc == -ESRCH;
}

static unsigned int vcpu_count(const struct xen_domctl_getdomaininfo *info)
{
    return info->max_vcpu_id + 1;
}

/* Number of pcpus, which are numbered from 0. */
static int pcpu_count(const struct look *look, unsigned int *count, struct err *err)
{
    struct xen_sysctl_physinfo info;
    int rc = hv_physinfo(look->hv, &info);

    *count = rc == 0 ? info.nr_cpus : 0;
    return rc == 0 ? 0 : look_call_failed(err, rc, "cannot ask for the machine's processors");
}

/* Opens the connections, runs the command and reports. */
static int with_look(const struct vane_args *args, void *context,
                     int (*body)(const struct look *look, const struct vane_args *args,
                                 void *context, struct err *err))
{
    struct err err = {0};
    struct look look;
    int rc = look_open(&look, true, &err);

    if (rc == 0) {
        rc = body(&look, args, context, &err);
        look_close(&look);
    }
    return rc == 0 ? VANE_OK : rc > 0 ? rc : vane_fail(&err);
}

/* --- sched ------------------------------------------------------------------------------- */

/* One of the two takes the lines. */
struct lines {
    struct json_object *array;
    struct vane_table *table;
};

static struct lines lines_start(const struct vane_args *args, const char *const headings[],
                                size_t column_count)
{
    if (args->json) {
        return (struct lines){.array = json_object_new_array()};
    }
    return (struct lines){.table = vane_table_new(headings, column_count)};
}

/* Prints the lines, unless the command failed. Returns: rc, or the status of printing. */
static int lines_end(struct lines *lines, int rc)
{
    if (rc != 0) {
        json_object_put(lines->array);
        vane_table_free(lines->table);
        return rc;
    }
    return lines->array != NULL ? vane_print_json(lines->array) : vane_table_print(lines->table);
}

static void add_share(const struct lines *lines, uint32_t domid, const char *name,
                      const struct hv_share *share)
{
    if (lines->array != NULL) {
        struct json_object *one = json_object_new_object();

        json_object_object_add(one, "id", json_object_new_int((int)domid));
        json_object_object_add(one, "name", json_object_new_string(name));
        json_object_object_add(one, "weight", json_object_new_int((int)share->weight));
        json_object_object_add(one, "cap_percent", json_object_new_int((int)share->cap));
        json_object_array_add(lines->array, one);
        return;
    }
    vane_table_cell(lines->table, "%u", domid);
    vane_table_cell(lines->table, "%s", name);
    vane_table_cell(lines->table, "%u", share->weight);
    vane_table_cell(lines->table, share->cap != 0 ? "%u" : "-", share->cap);
}

static int print_shares(const struct look *look, const struct vane_args *args, void *context,
                        struct err *err)
{
    static const char *const headings[] = {">ID", "NAME", ">WEIGHT", ">CAP(%)"};
    struct look_domains list;
    int rc = look_selected(look, args, &list, err);

    (void)context;
    if (rc != 0) {
        return rc;
    }

    struct lines lines = lines_start(args, headings, 4);

    for (size_t i = 0; rc == 0 && i < list.count; i++) {
        uint32_t domid = list.infos[i].domain;
        char name[CONFIG_MAX_NAME_BYTES + 1];
        struct hv_share share;

        rc = hv_share_get(look->hv, domid, &share);
        if (rc == 0) {
            look_name(look, domid, name, sizeof(name));
            add_share(&lines, domid, name, &share);
        } else {
            rc = has_gone(rc) ? 0 : look_call_failed(err, rc, "cannot read a domain's share");
        }
    }
    free(list.infos);
    return lines_end(&lines, rc);
}

static int set_share(const struct look *look, const struct vane_args *args, void *context,
                     struct err *err)
{
    const struct hv_share *wanted = context; /* what is not given is not used */
    struct xen_domctl_getdomaininfo info;
    struct hv_share share;
    unsigned int pcpus;
    int rc = look_find(look, args->operands[0], &info, err);

    rc = rc != 0 ? rc : pcpu_count(look, &pcpus, err);
    if (rc == 0 && wanted->cap > 100 * pcpus) {
        rc = err_set(err, EINVAL, "a cap of %u %% is more than the %u %% of all %u processors",
                     wanted->cap, 100 * pcpus, pcpus);
    }
    if (rc != 0) {
        return rc;
    }
    rc = hv_share_get(look->hv, info.domain, &share);
    if (rc == 0) {
        share.weight = vane_option(args, 'w') != NULL ? wanted->weight : share.weight;
        share.cap = vane_option(args, 'c') != NULL ? wanted->cap : share.cap;
        rc = hv_share_set(look->hv, info.domain, &share);
    }
    return rc == 0 ? 0 : look_call_failed(err, rc, "cannot set the domain's share");
}

static int run_sched(const struct vane_args *args)
{
    bool set = vane_option(args, 'w') != NULL || vane_option(args, 'c') != NULL;
    unsigned long weight;
    unsigned long cap;

    if (vane_option_number(args, 'w', 1, HV_MAX_WEIGHT, 0, &weight) != 0 ||
        vane_option_number(args, 'c', 0, UINT16_MAX, 0, &cap) != 0) {
        return VANE_USAGE;
    }
    if (set && args->count == 0) {
        vane_error("sched: missing operand: DOMAIN, whose share is to be set (try: vane help "
                   "sched)");
        return VANE_USAGE;
    }

    struct hv_share wanted = {.weight = (uint32_t)weight, .cap = (uint32_t)cap};

    return with_look(args, &wanted, set ? set_share : print_shares);
}

/* --- vcpu-list --------------------------------------------------------------------------- */

static const char *vcpu_state(const struct xen_domctl_getvcpuinfo *info)
{
    return info->running   ? "running"
           : !info->online ? "offline"
           : info->blocked ? "blocked"
                           : "runnable";
}

static int read_pins(const struct look *look, uint32_t domid, uint32_t vcpu, struct cpuset *set)
{
    _Static_assert(sizeof(set->bits) == HV_CPUMAP_BYTES, "one map for both");

    set->named = 0;
    return hv_vcpu_affinity_get(look->hv, domid, vcpu, set->bits);
}

static void add_vcpu(const struct lines *lines, uint32_t domid, const char *name,
                     const struct xen_domctl_getvcpuinfo *info, const char *pins)
{
    uint64_t deciseconds = info->cpu_time / 100000000;

    if (lines->array != NULL) {
        struct json_object *one = json_object_new_object();

        json_object_object_add(one, "id", json_object_new_int((int)domid));
        json_object_object_add(one, "name", json_object_new_string(name));
        json_object_object_add(one, "vcpu", json_object_new_int((int)info->vcpu));
        json_object_object_add(one, "pcpu",
                               info->online ? json_object_new_int((int)info->cpu) : NULL);
        json_object_object_add(one, "state", json_object_new_string(vcpu_state(info)));
        json_object_object_add(one, "cpu_time_ns", json_object_new_uint64(info->cpu_time));
        json_object_object_add(one, "pins", json_object_new_string(pins));
        json_object_array_add(lines->array, one);
        return;
    }
    vane_table_cell(lines->table, "%u", domid);
    vane_table_cell(lines->table, "%s", name);
    vane_table_cell(lines->table, "%u", info->vcpu);
    vane_table_cell(lines->table, info->online ? "%u" : "-", info->cpu);
    vane_table_cell(lines->table, "%s", vcpu_state(info));
    vane_table_cell(lines->table, "%" PRIu64 ".%" PRIu64, deciseconds / 10, deciseconds % 10);
    vane_table_cell(lines->table, "%s", pins);
}

static int add_domain(const struct look *look, const struct lines *lines, unsigned int pcpus,
                      const struct xen_domctl_getdomaininfo *domain)
{
    char name[CONFIG_MAX_NAME_BYTES + 1];
    int rc = 0;

    look_name(look, domain->domain, name, sizeof(name));
    for (uint32_t vcpu = 0; vcpu < vcpu_count(domain) && rc == 0; vcpu++) {
        struct xen_domctl_getvcpuinfo info;
        char pins[CPUSET_TEXT_BYTES];
        struct cpuset set;

        rc = hv_vcpu_info(look->hv, domain->domain, vcpu, &info);
        rc = rc != 0 ? rc : read_pins(look, domain->domain, vcpu, &set);
        if (rc == 0) {
            cpuset_format(&set, pcpus, pins);
            add_vcpu(lines, domain->domain, name, &info, pins);
        }
    }
    return rc;
}

static int print_vcpus(const struct look *look, const struct vane_args *args, void *context,
                       struct err *err)
{
    static const char *const headings[] = {">ID",   "NAME",     ">VCPU", ">PCPU",
                                           "STATE", ">TIME(s)", "PINS"};
    struct look_domains list;
    unsigned int pcpus;
    int rc = pcpu_count(look, &pcpus, err);

    (void)context;
    rc = rc != 0 ? rc : look_selected(look, args, &list, err);
    if (rc != 0) {
        return rc;
    }

    struct lines lines = lines_start(args, headings, 7);

    for (size_t i = 0; i < list.count && rc == 0; i++) {
        rc = add_domain(look, &lines, pcpus, &list.infos[i]);
        if (rc != 0) {
            rc = has_gone(rc) ? 0 : look_call_failed(err, rc, "cannot read a vCPU's state");
        }
    }
    free(list.infos);
    return lines_end(&lines, rc);
}

static int run_vcpu_list(const struct vane_args *args)
{
    return with_look(args, NULL, print_vcpus);
}

/* --- vcpu-set ---------------------------------------------------------------------------- */

/* A change of the number of vCPUs in use, and the wait for the guest to do it. */
struct vcpu_change {
    struct look look;
    uint32_t domid;
    unsigned int wanted;
    unsigned int count;   /* all there are */
    unsigned int seconds; /* to wait for it; 0: not at all */
};

static int write_availability(xs_transaction_t transaction, void *context)
{
    const struct vcpu_change *change = context;
    struct node home = node_at(change->look.xs, transaction, "/local/domain/%u", change->domid);

    if (!node_exists(&home)) {
        return -ESRCH;
    }
    for (unsigned int i = 0; i < change->count; i++) {
        char name[32];

        snprintf(name, sizeof(name), "cpu/%u/availability", i);
        node_put(&home, name, "%s", i < change->wanted ? "online" : "offline");
    }
    return home.error;
}

static bool has_followed(void *context)
{
    const struct vcpu_change *change = context;
    struct xen_domctl_getdomaininfo info;

    return hv_domain_info(change->look.hv, change->domid, &info) != 0 ||
           info.nr_online_vcpus == change->wanted;
}

static int wait_followed(const struct vane_args *args, struct vcpu_change *change, struct err *err)
{
    struct xen_domctl_getdomaininfo info;
    char path[64];

    snprintf(path, sizeof(path), "/local/domain/%u/cpu", change->domid);
    if (node_wait(change->look.xs, path, has_followed, change, change->seconds * 1000) != 0) {
        return err_set(err, ETIMEDOUT, "%s does not use %u vCPUs within %u s", args->operands[0],
                       change->wanted, change->seconds);
    }
    if (hv_domain_info(change->look.hv, change->domid, &info) != 0) {
        return err_set(err, ESRCH, "%s has gone", args->operands[0]);
    }
    return 0;
}

static int set_vcpus(const struct look *look, const struct vane_args *args, void *context,
                     struct err *err)
{
    struct vcpu_change *change = context;
    struct xen_domctl_getdomaininfo info;
    int rc = look_find(look, args->operands[0], &info, err);

    if (rc != 0) {
        return rc;
    }
    change->look = *look;
    change->domid = info.domain;
    change->count = vcpu_count(&info);
    if (change->wanted > change->count) {
        return err_set(err, ERANGE, "%s has at most %u vCPUs, not %u", args->operands[0],
                       change->count, change->wanted);
    }
    if (look->xs == NULL) {
        return err_set(err, ECONNREFUSED,
                       "the store daemon does not run: the guest cannot be asked");
    }
    rc = node_transaction(look->xs, write_availability, change);
    if (rc != 0) {
        return rc == -ESRCH ? err_set(err, ESRCH, "%s has gone", args->operands[0])
                            : err_set_errno(err, -rc, "cannot ask %s", args->operands[0]);
    }
    return change->seconds != 0 ? wait_followed(args, change, err) : 0;
}

static int run_vcpu_set(const struct vane_args *args)
{
    struct vcpu_change change = {0};
    unsigned long seconds;
    uint64_t wanted;

    if (vane_option_wait(args, WAIT_DEFAULT_S, &seconds) != 0) {
        return VANE_USAGE;
    }
    if (!value_number(args->operands[1], &wanted) || wanted < 1 || wanted > UINT32_MAX) {
        vane_error("vcpu-set: a number of vCPUs from 1 on is needed, not '%s'", args->operands[1]);
        return VANE_USAGE;
    }
    change.wanted = (unsigned int)wanted;
    change.seconds = (unsigned int)seconds;
    return with_look(args, &change, set_vcpus);
}

/* --- vcpu-pin ---------------------------------------------------------------------------- */

/* Pins vCPUs from `first` to `last`; when one is refused, those before it get theirs back. */
static int pin_range(const struct look *look, uint32_t domid, uint32_t first, uint32_t last,
                     const struct cpuset *set)
{
    size_t count = last - first + 1;
    struct cpuset *before = calloc(count, sizeof(*before));
    uint32_t done = 0;
    int rc = before != NULL ? 0 : -ENOMEM;

    for (uint32_t i = 0; i < count && rc == 0; i++) {
        rc = read_pins(look, domid, first + i, &before[i]);
    }
    while (done < count && rc == 0) {
        rc = hv_vcpu_affinity_set(look->hv, domid, first + done, set->bits);
        done += rc == 0;
    }
    for (uint32_t i = 0; i < done && rc != 0; i++) {
        /* Was in effect a moment ago. */
        (void)hv_vcpu_affinity_set(look->hv, domid, first + i, before[i].bits);
    }
    free(before);
    return rc;
}

/* What shall be pinned, and where. */
struct pinning {
    bool all;
    uint64_t vcpu;
    struct cpuset set;
};

static int pin_vcpus(const struct look *look, const struct vane_args *args, void *context,
                     struct err *err)
{
    struct pinning *pinning = context;
    struct xen_domctl_getdomaininfo info;
    unsigned int pcpus;
    int rc = look_find(look, args->operands[0], &info, err);

    rc = rc != 0 ? rc : pcpu_count(look, &pcpus, err);
    rc = rc != 0 ? rc : cpuset_fit(&pinning->set, pcpus, err);
    if (rc == 0 && pinning->vcpu >= vcpu_count(&info)) {
        rc = err_set(err, ERANGE, "%s has %u vCPUs, from 0 on: no vCPU %s", args->operands[0],
                     vcpu_count(&info), args->operands[1]);
    }
    if (rc != 0) {
        return rc;
    }
    rc = pin_range(look, info.domain, pinning->all ? 0 : (uint32_t)pinning->vcpu,
                   pinning->all ? info.max_vcpu_id : (uint32_t)pinning->vcpu, &pinning->set);
    return rc == 0 ? 0 : err_set_errno(err, -rc, "cannot pin %s", args->operands[0]);
}

static int run_vcpu_pin(const struct vane_args *args)
{
    const char *which = args->operands[1];
    struct pinning pinning = {.all = strcmp(which, "all") == 0};

    if (!pinning.all && !value_number(which, &pinning.vcpu)) {
        vane_error("vcpu-pin: the number of a vCPU or 'all' is needed, not '%s'", which);
        return VANE_USAGE;
    }
    if (cpuset_parse(args->operands[2], &pinning.set) != 0) {
        vane_error("vcpu-pin: '%s' is no list of processors such as 0-3,^2 or all",
                   args->operands[2]);
        return VANE_USAGE;
    }
    return with_look(args, &pinning, pin_vcpus);
}

/* --- table ------------------------------------------------------------------------------- */

static const struct vane_option sched_options[] = {
    {'w', "weight", "N", "set the weight, 1 to 65535"},
    {'c', "cap", "PERCENT", "set the cap in percent of one processor; 0 for none"},
    {0, NULL, NULL, NULL},
};

static const struct vane_option vcpu_set_options[] = {
    {'w', "wait", NULL, "return when the guest uses that number"},
    {'t', "timeout", "SECONDS", "longest time to wait (default 60)"},
    {0, NULL, NULL, NULL},
};

const struct vane_command vane_commands_cpu[] = {
    {
        .name = "sched",
        .operands = "[DOMAIN]",
        .summary = "show or set the parts of the processors that domains get",
        .details = "Domains that compete for processors get time in proportion to their weights. "
                   "A domain with a cap never gets more than that, whatever is free; 100 is one "
                   "whole processor. Without --weight and --cap, shows what is in effect.",
        .max_operands = 1,
        .json = true,
        .options = sched_options,
        .run = run_sched,
    },
    {
        .name = "vcpu-list",
        .operands = "[DOMAIN]",
        .summary = "list vCPUs with state, time used and the processors they may run on",
        .details = "PCPU is the processor a vCPU runs on or ran on last. STATE: running, runnable "
                   "(waits for a processor), blocked (waits for an event), offline (not used by "
                   "its guest).",
        .max_operands = 1,
        .json = true,
        .run = run_vcpu_list,
    },
    {
        .name = "vcpu-set",
        .operands = "DOMAIN N",
        .summary = "ask a guest to use N of its vCPUs",
        .details = "The guest takes vCPUs up or down itself; in a Linux guest, udev or the "
                   "administrator has the last word on taking them up. The most it can have is "
                   "fixed at its start by <vcpu> of its configuration.",
        .min_operands = 2,
        .max_operands = 2,
        .options = vcpu_set_options,
        .run = run_vcpu_set,
    },
    {
        .name = "vcpu-pin",
        .operands = "DOMAIN VCPU CPUS",
        .summary = "choose the processors that a vCPU may run on",
        .details = "VCPU is a number, or all. CPUS is a list read from left to right: N, N-M, ^N "
                   "and ^N-M to take out again, all; for instance 0-3,^2.",
        .min_operands = 3,
        .max_operands = 3,
        .run = run_vcpu_pin,
    },
    {.name = NULL},
};
