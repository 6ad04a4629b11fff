/* SPDX-License-Identifier: MIT */
/*
 * Commands that look at the machine and its domains: list, info, dmesg, version; and pause and
 * unpause, which need no more than one call each.
 *
 * They work without a store daemon, then without names: an administrator wants to look most of all
 * when something is broken.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dom0-tools/config/config.h"
#include "dom0-tools/device/node.h"
#include "dom0-tools/libhv/hv.h"
#include "dom0-tools/vane/frame.h"

#define MAX_DOMAINS 32752 /* every id there can be */
#define LIST_STEP 256
#define LOG_BYTES ((size_t)4 << 20)
#define PAGE_KIB (HV_PAGE_BYTES / 1024)

/* Open connections; xs is NULL without a store daemon. */
struct see {
    struct hv *hv;
    struct xs_handle *xs;
};

struct domain_list {
    struct xen_domctl_getdomaininfo *infos;
    size_t count;
};

/* --- connections ------------------------------------------------------------------------- */

static int see_open(struct see *see, bool names, struct err *err)
{
    int rc = hv_open(&see->hv);

    see->xs = NULL;
    if (rc != 0) {
        return err_set(err, rc == -EACCES || rc == -EPERM ? EACCES : ENODEV,
                       "no hypervisor to talk to (%s): is this the control domain, and are you "
                       "root?",
                       strerror(-rc));
    }
    /* Without the daemon's socket libxenstore would wait on the kernel's device for ever. */
    if (names && access(xs_daemon_socket(), F_OK) == 0) {
        see->xs = xs_open(0);
    }
    return 0;
}

static void see_close(struct see *see)
{
    if (see->xs != NULL) {
        xs_close(see->xs);
    }
    hv_close(see->hv);
}

/* A call's failure in words that fit every command here. */
static int call_failed(struct err *err, int rc, const char *what)
{
    return err_set_errno(err, -rc, "%s", what);
}

/* --- domains ----------------------------------------------------------------------------- */

static void domain_name(const struct see *see, uint32_t domid, char *name, size_t name_bytes)
{
    if (see->xs != NULL) {
        struct node node = node_at(see->xs, XBT_NULL, "/local/domain/%u", domid);

        if (node_read(&node, "name", name, name_bytes) == 0) {
            return;
        }
    }
    snprintf(name, name_bytes, "%s", domid == 0 ? "Domain-0" : "-");
}

static int list_domains(const struct see *see, struct domain_list *list, struct err *err)
{
    size_t room = 0;
    uint32_t first = 0;
    int got;

    *list = (struct domain_list){0};
    do {
        if (list->count + LIST_STEP > room) {
            room = room * 2 + LIST_STEP;

            void *larger = realloc(list->infos, room * sizeof(*list->infos));

            if (larger == NULL) {
                free(list->infos);
                return err_set(err, ENOMEM, "no memory");
            }
            list->infos = larger;
        }
        got = hv_domain_info_list(see->hv, first, list->infos + list->count, LIST_STEP);
        if (got < 0) {
            free(list->infos);
            return call_failed(err, got, "cannot list the domains");
        }
        list->count += (size_t)got;
        first = got > 0 ? list->infos[list->count - 1].domain + 1u : 0;
    } while (got == LIST_STEP && list->count < MAX_DOMAINS);
    return 0;
}

/* The domain that is called `who`, or has that number. */
static int find_domain(const struct see *see, const char *who,
                       struct xen_domctl_getdomaininfo *info, struct err *err)
{
    struct domain_list list;
    char *end;
    unsigned long number = strtoul(who, &end, 10);
    bool by_number = who[0] >= '0' && who[0] <= '9' && *end == '\0';
    bool found = false;
    int rc = list_domains(see, &list, err);

    if (rc != 0) {
        return rc;
    }
    for (size_t i = 0; i < list.count && !found; i++) {
        char name[CONFIG_MAX_NAME_BYTES + 1];

        domain_name(see, list.infos[i].domain, name, sizeof(name));
        found = by_number ? list.infos[i].domain == number
                          : strcmp(name, "-") != 0 && strcmp(name, who) == 0;
        if (found) {
            *info = list.infos[i];
        }
    }
    free(list.infos);
    if (!found && !by_number && see->xs == NULL) {
        return err_set(err, ESRCH,
                       "no domain '%s' (the store daemon does not run: only numbers "
                       "can be used)",
                       who);
    }
    return found ? 0 : err_set(err, ESRCH, "no domain '%s'", who);
}

static const struct {
    uint32_t flag;
    char letter;
    const char *word;
} states[] = {
    {XEN_DOMINF_running, 'r', "running"}, {XEN_DOMINF_blocked, 'b', "blocked"},
    {XEN_DOMINF_paused, 'p', "paused"},   {XEN_DOMINF_shutdown, 's', "shutdown"},
    {XEN_DOMINF_dying, 'd', "dying"},
};
#define STATE_COUNT (sizeof(states) / sizeof(states[0]))

static bool has_crashed(const struct xen_domctl_getdomaininfo *info)
{
    return (info->flags & XEN_DOMINF_shutdown) != 0 && hv_shutdown_reason(info) == SHUTDOWN_crash;
}

/* "rbpscd" with a dash for what does not hold, in the order administrators know from xl. */
static void state_letters(const struct xen_domctl_getdomaininfo *info, char letters[7])
{
    size_t at = 0;

    for (size_t i = 0; i < STATE_COUNT; i++) {
        if (states[i].flag == XEN_DOMINF_dying) {
            letters[at++] = has_crashed(info) ? 'c' : '-';
        }
        letters[at++] = info->flags & states[i].flag ? states[i].letter : '-';
    }
    letters[at] = '\0';
}

static const char *reason_word(const struct xen_domctl_getdomaininfo *info)
{
    static const char *const words[] = {
        [SHUTDOWN_poweroff] = "poweroff", [SHUTDOWN_reboot] = "reboot",
        [SHUTDOWN_suspend] = "suspend",   [SHUTDOWN_crash] = "crash",
        [SHUTDOWN_watchdog] = "watchdog", [SHUTDOWN_soft_reset] = "soft-reset",
    };
    unsigned int reason = hv_shutdown_reason(info);

    return reason < sizeof(words) / sizeof(words[0]) ? words[reason] : "unknown";
}

/* The control domain is made without a limit: the largest number there is. */
static bool has_limit(const struct xen_domctl_getdomaininfo *info)
{
    return info->max_pages < UINT32_MAX;
}

static struct json_object *json_of_domain(const struct see *see,
                                          const struct xen_domctl_getdomaininfo *info)
{
    struct json_object *out = json_object_new_object();
    struct json_object *state = json_object_new_array();
    char name[CONFIG_MAX_NAME_BYTES + 1];
    char uuid[37];

    domain_name(see, info->domain, name, sizeof(name));
    config_uuid_format(info->handle, uuid);
    for (size_t i = 0; i < STATE_COUNT; i++) {
        if (info->flags & states[i].flag) {
            json_object_array_add(state, json_object_new_string(states[i].word));
        }
    }
    json_object_object_add(out, "id", json_object_new_int((int)info->domain));
    json_object_object_add(out, "name",
                           strcmp(name, "-") != 0 ? json_object_new_string(name) : NULL);
    json_object_object_add(out, "uuid", json_object_new_string(uuid));
    json_object_object_add(out, "state", state);
    if (info->flags & XEN_DOMINF_shutdown) {
        json_object_object_add(out, "shutdown_reason", json_object_new_string(reason_word(info)));
    }
    json_object_object_add(out, "memory_kib", json_object_new_uint64(info->tot_pages * PAGE_KIB));
    if (has_limit(info)) {
        json_object_object_add(out, "max_memory_kib",
                               json_object_new_uint64(info->max_pages * PAGE_KIB));
    }
    json_object_object_add(out, "vcpus", json_object_new_int((int)info->nr_online_vcpus));
    json_object_object_add(out, "max_vcpus", json_object_new_int((int)info->max_vcpu_id + 1));
    json_object_object_add(out, "cpu_time_ns", json_object_new_uint64(info->cpu_time));
    return out;
}

/* --- list -------------------------------------------------------------------------------- */

static int print_list(const struct see *see, const struct domain_list *list)
{
    static const char *const headings[] = {">ID",       "NAME",   "STATE",
                                           ">MEM(MiB)", ">VCPUS", ">TIME(s)"};
    struct vane_table *table = vane_table_new(headings, 6);

    for (size_t i = 0; i < list->count; i++) {
        const struct xen_domctl_getdomaininfo *info = &list->infos[i];
        char name[CONFIG_MAX_NAME_BYTES + 1];
        char letters[7];

        domain_name(see, info->domain, name, sizeof(name));
        state_letters(info, letters);
        vane_table_cell(table, "%u", info->domain);
        vane_table_cell(table, "%s", name);
        vane_table_cell(table, "%s", letters);
        vane_table_cell(table, "%" PRIu64, info->tot_pages * PAGE_KIB / 1024);
        vane_table_cell(table, "%u", info->nr_online_vcpus);
        vane_table_cell(table, "%" PRIu64 ".%" PRIu64, info->cpu_time / 1000000000,
                        info->cpu_time / 100000000 % 10);
    }
    return vane_table_print(table);
}

static int print_quiet(const struct see *see, const struct domain_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        char name[CONFIG_MAX_NAME_BYTES + 1];

        domain_name(see, list->infos[i].domain, name, sizeof(name));
        if (strcmp(name, "-") != 0) {
            puts(name);
        } else {
            printf("%u\n", list->infos[i].domain);
        }
    }
    return VANE_OK;
}

static int print_list_json(const struct see *see, const struct domain_list *list)
{
    struct json_object *out = json_object_new_array();

    for (size_t i = 0; i < list->count; i++) {
        json_object_array_add(out, json_of_domain(see, &list->infos[i]));
    }
    return vane_print_json(out);
}

/* All domains, or the one that is named, in a list to be freed. */
static int list_selected(const struct see *see, const struct vane_args *args,
                         struct domain_list *list, struct err *err)
{
    if (args->count == 0) {
        return list_domains(see, list, err);
    }
    list->count = 1;
    list->infos = calloc(1, sizeof(*list->infos));
    if (list->infos == NULL) {
        return err_set(err, ENOMEM, "no memory");
    }

    int rc = find_domain(see, args->operands[0], list->infos, err);

    if (rc != 0) {
        free(list->infos);
    }
    return rc;
}

static int run_list(const struct vane_args *args)
{
    struct domain_list list;
    struct err err = {0};
    struct see see;

    if (see_open(&see, true, &err) != 0) {
        return vane_fail(&err);
    }
    if (list_selected(&see, args, &list, &err) != 0) {
        see_close(&see);
        return vane_fail(&err);
    }

    int status = args->json                       ? print_list_json(&see, &list)
                 : vane_option(args, 'q') != NULL ? print_quiet(&see, &list)
                                                  : print_list(&see, &list);

    free(list.infos);
    see_close(&see);
    return status;
}

/* --- info -------------------------------------------------------------------------------- */

static void print_field(const char *name, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void print_field(const char *name, const char *format, ...)
{
    va_list list;

    printf("%-18s ", name);
    va_start(list, format);
    vprintf(format, list);
    va_end(list);
    putchar('\n');
}

static int show_domain(const struct see *see, const struct vane_args *args, struct err *err)
{
    struct xen_domctl_getdomaininfo info;
    int rc = find_domain(see, args->operands[0], &info, err);

    if (rc != 0) {
        return vane_fail(err);
    }
    if (args->json) {
        return vane_print_json(json_of_domain(see, &info));
    }

    char name[CONFIG_MAX_NAME_BYTES + 1];
    char letters[7];
    char uuid[37];

    domain_name(see, info.domain, name, sizeof(name));
    config_uuid_format(info.handle, uuid);
    state_letters(&info, letters);
    print_field("id", "%u", info.domain);
    print_field("name", "%s", name);
    print_field("uuid", "%s", uuid);
    print_field("state", "%s", letters);
    if (info.flags & XEN_DOMINF_shutdown) {
        print_field("shutdown reason", "%s", reason_word(&info));
    }
    print_field("memory", "%" PRIu64 " KiB", info.tot_pages * PAGE_KIB);
    if (has_limit(&info)) {
        print_field("most memory", "%" PRIu64 " KiB", info.max_pages * PAGE_KIB);
    }
    print_field("vcpus", "%u of %u", info.nr_online_vcpus, info.max_vcpu_id + 1);
    print_field("cpu time", "%" PRIu64 ".%03" PRIu64 " s", info.cpu_time / 1000000000,
                info.cpu_time / 1000000 % 1000);
    return VANE_OK;
}

/* What the hypervisor says about itself and the machine. */
struct host {
    int version;
    char extra[64];
    char capabilities[1024];
    char command_line[1024];
    struct xen_compile_info compile;
    struct xen_sysctl_physinfo phys;
    size_t domains;
};

static int read_host(const struct see *see, struct host *host, struct err *err)
{
    struct domain_list list;
    int rc = list_domains(see, &list, err);

    if (rc != 0) {
        return rc;
    }
    free(list.infos);
    memset(host, 0, sizeof(*host));
    host->domains = list.count;
    host->version = hv_version(see->hv);
    rc = host->version < 0 ? host->version : hv_physinfo(see->hv, &host->phys);
    if (rc == 0) {
        rc = hv_extra_version(see->hv, host->extra, sizeof(host->extra));
    }
    if (rc == 0) {
        rc = hv_capabilities(see->hv, host->capabilities, sizeof(host->capabilities));
    }
    if (rc == 0) {
        rc = hv_compile_info(see->hv, &host->compile);
    }
    if (rc == 0) {
        rc = hv_command_line(see->hv, host->command_line, sizeof(host->command_line));
    }
    if (rc != 0) {
        return call_failed(err, rc, "cannot ask the hypervisor about the machine");
    }
    /* The ABI's list of guest types ends in a blank. */
    for (size_t end = strlen(host->capabilities); end > 0 && host->capabilities[end - 1] == ' ';) {
        host->capabilities[--end] = '\0';
    }
    return 0;
}

static int host_json(const struct host *host)
{
    struct json_object *out = json_object_new_object();
    char version[96];

    snprintf(version, sizeof(version), "%d.%d%s", host->version >> 16, host->version & 0xffff,
             host->extra);
    json_object_object_add(out, "interface_version", json_object_new_string(version));
    json_object_object_add(out, "capabilities", json_object_new_string(host->capabilities));
    json_object_object_add(out, "command_line", json_object_new_string(host->command_line));
    json_object_object_add(out, "compiler", json_object_new_string(host->compile.compiler));
    json_object_object_add(out, "compile_date", json_object_new_string(host->compile.compile_date));
    json_object_object_add(out, "cpus", json_object_new_int((int)host->phys.nr_cpus));
    json_object_object_add(out, "cpu_khz", json_object_new_uint64(host->phys.cpu_khz));
    json_object_object_add(out, "memory_kib",
                           json_object_new_uint64(host->phys.total_pages * PAGE_KIB));
    json_object_object_add(out, "free_memory_kib",
                           json_object_new_uint64(host->phys.free_pages * PAGE_KIB));
    json_object_object_add(out, "free_frames", json_object_new_uint64(host->phys.free_pages));
    json_object_object_add(out, "domains", json_object_new_uint64(host->domains));
    return vane_print_json(out);
}

static int show_host(const struct see *see, const struct vane_args *args, struct err *err)
{
    struct host host;

    if (read_host(see, &host, err) != 0) {
        return vane_fail(err);
    }
    if (args->json) {
        return host_json(&host);
    }
    print_field("interface version", "%d.%d%s", host.version >> 16, host.version & 0xffff,
                host.extra);
    print_field("capabilities", "%s", host.capabilities);
    print_field("command line", "%s", host.command_line);
    print_field("compiled", "%s, %s", host.compile.compile_date, host.compile.compiler);
    print_field("cpus", "%u", host.phys.nr_cpus);
    print_field("cpu frequency", "%u.%03u MHz", host.phys.cpu_khz / 1000, host.phys.cpu_khz % 1000);
    print_field("memory", "%" PRIu64 " MiB", (uint64_t)host.phys.total_pages * PAGE_KIB / 1024);
    print_field("free memory", "%" PRIu64 " MiB", (uint64_t)host.phys.free_pages * PAGE_KIB / 1024);
    print_field("free frames", "%" PRIu64, (uint64_t)host.phys.free_pages);
    print_field("domains", "%zu", host.domains);
    return VANE_OK;
}

static int run_info(const struct vane_args *args)
{
    struct err err = {0};
    struct see see;

    if (see_open(&see, args->count > 0, &err) != 0) {
        return vane_fail(&err);
    }

    int status = args->count > 0 ? show_domain(&see, args, &err) : show_host(&see, args, &err);

    see_close(&see);
    return status;
}

static int run_version(const struct vane_args *args)
{
    struct err err = {0};
    struct see see;
    char extra[64];

    (void)args;
    printf("vane %s\n", VANE_VERSION);
    if (see_open(&see, false, &err) != 0) {
        return vane_fail(&err);
    }

    int version = hv_version(see.hv);
    int rc = version < 0 ? version : hv_extra_version(see.hv, extra, sizeof(extra));

    see_close(&see);
    if (rc < 0) {
        call_failed(&err, rc, "cannot ask the hypervisor for its version");
        return vane_fail(&err);
    }
    printf("hypervisor interface %d.%d%s\n", version >> 16, version & 0xffff, extra);
    return VANE_OK;
}

/* --- dmesg ------------------------------------------------------------------------------- */

static int run_dmesg(const struct vane_args *args)
{
    char *text = malloc(LOG_BYTES);
    struct err err = {0};
    struct see see;

    if (text == NULL) {
        err_set(&err, ENOMEM, "no memory");
        return vane_fail(&err);
    }
    if (see_open(&see, false, &err) != 0) {
        free(text);
        return vane_fail(&err);
    }

    long bytes = hv_console_ring(see.hv, text, LOG_BYTES, vane_option(args, 'c') != NULL);

    see_close(&see);
    if (bytes < 0) {
        free(text);
        call_failed(&err, (int)bytes, "cannot read the hypervisor's log");
        return vane_fail(&err);
    }
    /* Guests can put text into the log; it must not be able to drive the reader's terminal. */
    for (long i = 0; i < bytes; i++) {
        unsigned char c = (unsigned char)text[i];

        if (c == '\n' || c == '\t' || (c >= ' ' && c < 0x7f)) {
            putchar(c);
        } else if (c != '\r' && c != '\0') {
            putchar('?');
        }
    }
    free(text);
    return VANE_OK;
}

/* --- pause, unpause ---------------------------------------------------------------------- */

static int run_on_domain(const struct vane_args *args, int (*call)(struct hv *hv, uint32_t domid))
{
    struct xen_domctl_getdomaininfo info;
    struct err err = {0};
    struct see see;

    if (see_open(&see, true, &err) != 0) {
        return vane_fail(&err);
    }

    int rc = find_domain(&see, args->operands[0], &info, &err);

    if (rc == 0 && info.domain == 0) {
        rc = err_set(&err, EPERM, "the control domain cannot %s itself", args->command->name);
    }
    if (rc == 0) {
        rc = call(see.hv, info.domain);
        if (rc != 0) {
            err_set_errno(&err, -rc, "cannot %s '%s'", args->command->name, args->operands[0]);
        }
    }
    see_close(&see);
    return rc != 0 ? vane_fail(&err) : VANE_OK;
}

static int run_pause(const struct vane_args *args)
{
    return run_on_domain(args, hv_domain_pause);
}

static int run_unpause(const struct vane_args *args)
{
    return run_on_domain(args, hv_domain_unpause);
}

/* --- table ------------------------------------------------------------------------------- */

static const struct vane_option list_options[] = {
    {'q', "quiet", NULL, "print names alone, one a line"},
    {0, NULL, NULL, NULL},
};

static const struct vane_option dmesg_options[] = {
    {'c', "clear", NULL, "empty the log after printing it"},
    {0, NULL, NULL, NULL},
};

const struct vane_command vane_commands_see[] = {
    {
        .name = "list",
        .operands = "[DOMAIN]",
        .summary = "list the domains",
        .details = "The letters of STATE: r running, b blocked (waiting), p paused, s shut down, "
                   "c crashed, d dying. TIME is processor time used.",
        .max_operands = 1,
        .json = true,
        .options = list_options,
        .run = run_list,
    },
    {
        .name = "info",
        .operands = "[DOMAIN]",
        .summary = "describe a domain, or the machine and its hypervisor",
        .max_operands = 1,
        .json = true,
        .run = run_info,
    },
    {
        .name = "dmesg",
        .operands = "",
        .summary = "print the hypervisor's log",
        .options = dmesg_options,
        .run = run_dmesg,
    },
    {
        .name = "version",
        .operands = "",
        .summary = "print the versions of this program and of the hypervisor's interface",
        .run = run_version,
    },
    {
        .name = "pause",
        .operands = "DOMAIN",
        .summary = "keep a domain from running",
        .min_operands = 1,
        .max_operands = 1,
        .run = run_pause,
    },
    {
        .name = "unpause",
        .operands = "DOMAIN",
        .summary = "let a paused domain run again",
        .min_operands = 1,
        .max_operands = 1,
        .run = run_unpause,
    },
    {.name = NULL},
};
