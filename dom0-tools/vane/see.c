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

#include "dom0-tools/config/config.h"
#include "dom0-tools/libhv/hv.h"
#include "dom0-tools/vane/frame.h"
#include "dom0-tools/vane/look.h"

#define LOG_BYTES ((size_t)4 << 20)
#define PAGE_KIB (HV_PAGE_BYTES / 1024)

/* --- domains ----------------------------------------------------------------------------- */

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

static struct json_object *json_of_domain(const struct xen_domctl_getdomaininfo *info,
                                          const char *name)
{
    struct json_object *out = json_object_new_object();
    struct json_object *state = json_object_new_array();
    char uuid[37];

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

static int print_list(const struct look_domains *list, char (*names)[LOOK_NAME_BYTES])
{
    static const char *const headings[] = {">ID",       "NAME",   "STATE",
                                           ">MEM(MiB)", ">VCPUS", ">TIME(s)"};
    struct vane_table *table = vane_table_new(headings, 6);

    for (size_t i = 0; i < list->count; i++) {
        const struct xen_domctl_getdomaininfo *info = &list->infos[i];
        char letters[7];

        state_letters(info, letters);
        vane_table_number(table, info->domain);
        vane_table_text(table, names[i]);
        vane_table_text(table, letters);
        vane_table_number(table, info->tot_pages * PAGE_KIB / 1024);
        vane_table_number(table, info->nr_online_vcpus);
        vane_table_tenths(table, info->cpu_time / 100000000);
    }
    return vane_table_print(table);
}

static int print_quiet(const struct look_domains *list, char (*names)[LOOK_NAME_BYTES])
{
    for (size_t i = 0; i < list->count; i++) {
        if (strcmp(names[i], "-") != 0) {
            puts(names[i]);
        } else {
            printf("%u\n", list->infos[i].domain);
        }
    }
    return VANE_OK;
}

static int print_list_json(const struct look_domains *list, char (*names)[LOOK_NAME_BYTES])
{
    struct json_object *out = json_object_new_array();

    for (size_t i = 0; i < list->count; i++) {
        json_object_array_add(out, json_of_domain(&list->infos[i], names[i]));
    }
    return vane_print_json(out);
}

static int run_list(const struct vane_args *args)
{
    struct look_domains list;
    struct err err = {0};
    struct look look;

    if (look_open(&look, true, &err) != 0) {
        return vane_fail(&err);
    }
    if (look_selected(&look, args, &list, &err) != 0) {
        look_close(&look);
        return vane_fail(&err);
    }

    char(*names)[LOOK_NAME_BYTES] = look_names(&look, &list);

    if (names == NULL) {
        err_set(&err, ENOMEM, "no memory");
        free(list.infos);
        look_close(&look);
        return vane_fail(&err);
    }

    int status = args->json                       ? print_list_json(&list, names)
                 : vane_option(args, 'q') != NULL ? print_quiet(&list, names)
                                                  : print_list(&list, names);

    free(names);
    free(list.infos);
    look_close(&look);
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

static int show_domain(const struct look *look, const struct vane_args *args, struct err *err)
{
    struct xen_domctl_getdomaininfo info;
    int rc = look_find(look, args->operands[0], &info, err);

    if (rc != 0) {
        return vane_fail(err);
    }

    char name[LOOK_NAME_BYTES];
    char letters[7];
    char uuid[37];

    look_name(look, info.domain, name, sizeof(name));
    if (args->json) {
        return vane_print_json(json_of_domain(&info, name));
    }
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

#define PROTECTIONS_MAX 64

/* What the hypervisor says about itself and the machine. */
struct host {
    int version;
    char extra[64];
    char capabilities[1024];
    char command_line[1024];
    struct xen_compile_info compile;
    struct xen_sysctl_physinfo phys;
    size_t domains;
    struct hv_text protections[PROTECTIONS_MAX];
    size_t protection_count;
};

static int read_host(const struct look *look, struct host *host, struct err *err)
{
    struct look_domains list;
    int rc = look_list(look, &list, err);

    if (rc != 0) {
        return rc;
    }
    free(list.infos);
    memset(host, 0, sizeof(*host));
    host->domains = list.count;
    host->version = hv_version(look->hv);
    rc = host->version < 0 ? host->version : hv_physinfo(look->hv, &host->phys);
    if (rc == 0) {
        rc = hv_extra_version(look->hv, host->extra, sizeof(host->extra));
    }
    if (rc == 0) {
        rc = hv_capabilities(look->hv, host->capabilities, sizeof(host->capabilities));
    }
    if (rc == 0) {
        rc = hv_compile_info(look->hv, &host->compile);
    }
    if (rc == 0) {
        rc = hv_command_line(look->hv, host->command_line, sizeof(host->command_line));
    }
    if (rc != 0) {
        return look_call_failed(err, rc, "cannot ask the hypervisor about the machine");
    }
    host->protection_count = hv_texts("/protection", host->protections, PROTECTIONS_MAX);
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

    struct json_object *protections = json_object_new_object();
    for (size_t i = 0; i < host->protection_count; i++) {
        json_object_object_add(protections, host->protections[i].name,
                               json_object_new_string(host->protections[i].value));
    }
    json_object_object_add(out, "protections", protections);
    return vane_print_json(out);
}

static int show_host(const struct look *look, const struct vane_args *args, struct err *err)
{
    struct host host;

    if (read_host(look, &host, err) != 0) {
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
    for (size_t i = 0; i < host.protection_count; i++) {
        print_field("protection", "%s %s", host.protections[i].name, host.protections[i].value);
    }
    return VANE_OK;
}

static int run_info(const struct vane_args *args)
{
    struct err err = {0};
    struct look look;

    if (look_open(&look, args->count > 0, &err) != 0) {
        return vane_fail(&err);
    }

    int status = args->count > 0 ? show_domain(&look, args, &err) : show_host(&look, args, &err);

    look_close(&look);
    return status;
}

static int run_version(const struct vane_args *args)
{
    struct err err = {0};
    struct look look;
    char extra[64];

    if (!args->json) {
        printf("vane %s\n", VANE_VERSION);
    }
    if (look_open(&look, false, &err) != 0) {
        return vane_fail(&err);
    }

    int version = hv_version(look.hv);
    int rc = version < 0 ? version : hv_extra_version(look.hv, extra, sizeof(extra));

    look_close(&look);
    if (rc < 0) {
        look_call_failed(&err, rc, "cannot ask the hypervisor for its version");
        return vane_fail(&err);
    }
    if (args->json) {
        struct json_object *out = json_object_new_object();
        char text[96];

        snprintf(text, sizeof(text), "%d.%d%s", version >> 16, version & 0xffff, extra);
        json_object_object_add(out, "vane", json_object_new_string(VANE_VERSION));
        json_object_object_add(out, "interface_version", json_object_new_string(text));
        return vane_print_json(out);
    }
    printf("hypervisor interface %d.%d%s\n", version >> 16, version & 0xffff, extra);
    return VANE_OK;
}

/* --- dmesg ------------------------------------------------------------------------------- */

/* Guests can put text into the log; it must not be able to drive the reader's terminal.
 * Returns: how many bytes remain. */
static size_t make_harmless(char *text, size_t bytes)
{
    size_t kept = 0;

    for (size_t i = 0; i < bytes; i++) {
        unsigned char c = (unsigned char)text[i];

        if (c != '\r' && c != '\0') {
            text[kept++] = c == '\n' || c == '\t' || (c >= ' ' && c < 0x7f) ? (char)c : '?';
        }
    }
    return kept;
}

static int print_lines_json(const char *text, size_t bytes)
{
    struct json_object *lines = json_object_new_array();

    for (const char *at = text; at < text + bytes;) {
        const char *end = memchr(at, '\n', (size_t)(text + bytes - at));

        end = end != NULL ? end : text + bytes;
        json_object_array_add(lines, json_object_new_string_len(at, (int)(end - at)));
        at = end + 1;
    }
    return vane_print_json(lines);
}

static int run_dmesg(const struct vane_args *args)
{
    char *text = malloc(LOG_BYTES);
    struct err err = {0};
    struct look look;

    if (text == NULL) {
        err_set(&err, ENOMEM, "no memory");
        return vane_fail(&err);
    }
    if (look_open(&look, false, &err) != 0) {
        free(text);
        return vane_fail(&err);
    }

    long bytes = hv_console_ring(look.hv, text, LOG_BYTES, vane_option(args, 'c') != NULL);

    look_close(&look);
    if (bytes < 0) {
        free(text);
        look_call_failed(&err, (int)bytes, "cannot read the hypervisor's log");
        return vane_fail(&err);
    }

    size_t kept = make_harmless(text, (size_t)bytes);
    int status = VANE_OK;

    if (args->json) {
        status = print_lines_json(text, kept);
    } else {
        fwrite(text, 1, kept, stdout); /* main() tells of what cannot be written */
    }
    free(text);
    return status;
}

/* --- pause, unpause ---------------------------------------------------------------------- */

static int run_on_domain(const struct vane_args *args, int (*call)(struct hv *hv, uint32_t domid))
{
    struct xen_domctl_getdomaininfo info;
    struct err err = {0};
    struct look look;

    if (look_open(&look, true, &err) != 0) {
        return vane_fail(&err);
    }

    int rc = look_find(&look, args->operands[0], &info, &err);

    if (rc == 0 && info.domain == 0) {
        rc = err_set(&err, EPERM, "the control domain cannot %s itself", args->command->name);
    }
    if (rc == 0) {
        rc = call(look.hv, info.domain);
        if (rc != 0) {
            err_set_errno(&err, -rc, "cannot %s '%s'", args->command->name, args->operands[0]);
        }
    }
    look_close(&look);
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
        .json = true,
        .options = dmesg_options,
        .run = run_dmesg,
    },
    {
        .name = "version",
        .operands = "",
        .summary = "print the versions of this program and of the hypervisor's interface",
        .json = true,
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
