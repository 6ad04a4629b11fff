/* SPDX-License-Identifier: MIT */
/*
 * Commands about this machine as a host of guests: host, doctor.
 *
 * doctor looks at everything guests need, each as one row of a table: what it looks for, and what
 * to do where it is missing. It changes nothing. A row is "needed" when guests cannot run without.
 */
#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <unistd.h>
#include <xenstore.h>

#include "dom0-tools/vane/frame.h"
#include "dom0-tools/vane/life.h"
#include "dom0-tools/vane/look.h"

#define PAGE_KIB (HV_PAGE_BYTES / 1024)
#define LOG_LEAST_MIB 64u

/* --- what is there ----------------------------------------------------------------------- */

static bool path_exists(const char *path)
{
    return access(path, F_OK) == 0;
}

/* Whether a program stands in PATH. */
static bool has_program(const char *name)
{
    const char *paths = getenv("PATH");
    char *copy = strdup(paths != NULL ? paths : "/usr/sbin:/usr/bin:/sbin:/bin");
    bool found = false;

    for (char *rest = NULL, *folder = copy != NULL ? strtok_r(copy, ":", &rest) : NULL;
         folder != NULL && !found; folder = strtok_r(NULL, ":", &rest)) {
        char path[1024];

        snprintf(path, sizeof(path), "%s/%s", folder, name);
        found = access(path, X_OK) == 0;
    }
    free(copy);
    return found;
}

/* Whether a file has a line that begins like that. */
static bool file_says(const char *path, const char *text)
{
    FILE *file = fopen(path, "re");
    char line[512];
    bool found = false;

    while (file != NULL && !found && fgets(line, sizeof(line), file) != NULL) {
        found = strncmp(line, text, strlen(text)) == 0;
    }
    if (file != NULL) {
        fclose(file);
    }
    return found;
}

static bool is_root(void)
{
    return geteuid() == 0;
}

static bool is_control_domain(void)
{
    return file_says("/proc/xen/capabilities", "control_d");
}

static bool has_privcmd(void)
{
    return path_exists("/dev/xen/privcmd");
}

static bool has_evtchn(void)
{
    return path_exists("/dev/xen/evtchn");
}

static bool has_gntdev(void)
{
    return path_exists("/dev/xen/gntdev");
}

static bool hypervisor_answers(void)
{
    struct hv *hv;
    bool answers = hv_open(&hv) == 0;

    if (answers) {
        answers = hv_version(hv) >= 0;
        hv_close(hv);
    }
    return answers;
}

static bool has_memory(void)
{
    struct xen_sysctl_physinfo info;
    struct hv *hv;
    bool enough = false;

    if (hv_open(&hv) == 0) {
        enough = hv_physinfo(hv, &info) == 0 && info.free_pages >= (128u << 20) / HV_PAGE_BYTES;
        hv_close(hv);
    }
    return enough;
}

static bool store_answers(void)
{
    struct xs_handle *xs = path_exists(xs_daemon_socket()) ? xs_open(0) : NULL;
    unsigned int count;
    char **names = xs != NULL ? xs_directory(xs, XBT_NULL, "/", &count) : NULL;

    free(names);
    if (xs != NULL) {
        xs_close(xs);
    }
    return names != NULL;
}

/* The daemon holds a lock on its file for as long as it lives; /proc tells without waiting. */
static bool consoles_served(void)
{
    FILE *file = fopen(LIFE_RUN_DIR "/consoled.pid", "re");
    char path[64];
    long pid = 0;
    bool found = file != NULL && fscanf(file, "%ld", &pid) == 1 && pid > 0;

    if (file != NULL) {
        fclose(file);
    }
    snprintf(path, sizeof(path), "/proc/%ld", pid);
    return found && path_exists(path);
}

static bool has_blkback(void)
{
    return path_exists("/sys/bus/xen-backend/drivers/vbd");
}

static bool has_netback(void)
{
    return path_exists("/sys/bus/xen-backend/drivers/vif");
}

static bool has_loop(void)
{
    return path_exists("/dev/loop-control");
}

/* Not by glob(), which would bring the name service into the program. */
static bool has_bridge(void)
{
    DIR *cards = opendir("/sys/class/net");
    struct dirent *entry;
    bool found = false;

    while (cards != NULL && !found && (entry = readdir(cards)) != NULL) {
        char path[sizeof("/sys/class/net//bridge") + sizeof(entry->d_name)];

        snprintf(path, sizeof(path), "/sys/class/net/%s/bridge", entry->d_name);
        found = entry->d_name[0] != '.' && path_exists(path);
    }
    if (cards != NULL) {
        closedir(cards);
    }
    return found;
}

static bool has_pciback(void)
{
    return path_exists("/sys/bus/pci/drivers/pciback");
}

static bool has_nbd(void)
{
    return path_exists("/sys/block/nbd0") && has_program("qemu-nbd");
}

static bool has_log_room(void)
{
    struct statvfs fs;

    return (statvfs(LIFE_LOG_DIR, &fs) == 0 || statvfs("/var", &fs) == 0) &&
           (uint64_t)fs.f_bavail * fs.f_frsize >= (uint64_t)LOG_LEAST_MIB << 20;
}

static bool has_guest_folder(void)
{
    return path_exists("/etc/paravane");
}

/* --- doctor ------------------------------------------------------------------------------ */

static const struct finding {
    const char *what;
    bool needed;
    bool (*good)(void);
    const char *missing; /* what is the matter, and what mends it */
} findings[] = {
    {"root", true, is_root, "only root manages guests: use sudo"},
    {"/dev/xen/privcmd", true, has_privcmd,
     "no hypervisor below, or its driver is missing: boot the Paravane entry, modprobe "
     "xen-privcmd"},
    {"control domain", true, is_control_domain,
     "this is not the control domain: run vane there (mount -t xenfs xenfs /proc/xen if it is)"},
    {"hypervisor", true, hypervisor_answers,
     "it does not answer: boot the Paravane entry of the boot loader"},
    {"/dev/xen/evtchn", true, has_evtchn, "the driver is missing: modprobe xen-evtchn"},
    {"/dev/xen/gntdev", true, has_gntdev, "the driver is missing: modprobe xen-gntdev"},
    {"store daemon", true, store_answers, "it does not answer: start xenstored"},
    {"console daemon", true, consoles_served,
     "it does not run, so guests have no console: start vane-consoled"},
    {"disk back end", true, has_blkback, "the driver is missing: modprobe xen-blkback"},
    {"network back end", true, has_netback, "the driver is missing: modprobe xen-netback"},
    {"loop devices", true, has_loop, "files cannot be disks: modprobe loop"},
    {"memory for guests", true, has_memory,
     "less than 128 MiB are free: boot with a smaller dom0_mem, or stop guests"},
    {"room for logs", true, has_log_room,
     "less than 64 MiB are free in /var/log/paravane: make room there"},
    {"bridge", false, has_bridge,
     "no bridge: guests with a network card need one, ip link add br0 type bridge"},
    {"PCI devices", false, has_pciback,
     "guests cannot have PCI devices of the machine: modprobe xen-pciback"},
    {"qcow2", false, has_nbd,
     "qcow2 images cannot be attached: apt install qemu-utils; modprobe nbd"},
    {"/etc/paravane", false, has_guest_folder,
     "no folder for definitions: vane define makes it, or mkdir /etc/paravane"},
};
#define FINDING_COUNT (sizeof(findings) / sizeof(findings[0]))

static int run_doctor(const struct vane_args *args)
{
    struct json_object *array = args->json ? json_object_new_array() : NULL;
    unsigned int bad = 0;
    int status;

    for (size_t i = 0; i < FINDING_COUNT; i++) {
        const struct finding *at = &findings[i];
        bool good = at->good();

        bad += at->needed && !good;
        if (array == NULL) {
            printf("%-8s %s%s%s\n",
                   good         ? "good"
                   : at->needed ? "MISSING"
                                : "absent",
                   at->what, good ? "" : ": ", good ? "" : at->missing);
            continue;
        }

        struct json_object *out = json_object_new_object();

        json_object_object_add(out, "what", json_object_new_string(at->what));
        json_object_object_add(out, "good", json_object_new_boolean(good));
        json_object_object_add(out, "needed", json_object_new_boolean(at->needed));
        if (!good) {
            json_object_object_add(out, "mend", json_object_new_string(at->missing));
        }
        json_object_array_add(array, out);
    }
    status = array != NULL ? vane_print_json(array) : VANE_OK;
    return status != VANE_OK || bad == 0 ? status : VANE_FAILURE;
}

/* --- host -------------------------------------------------------------------------------- */

struct host_facts {
    char name[65];
    char kernel[65];
    char processor[128];
    uint64_t uptime_s;
    struct xen_sysctl_physinfo phys;
    size_t guests;
    uint64_t guest_kib;
    bool store;
    bool consoles;
};

static void read_processor(char *text, size_t text_bytes)
{
    FILE *file = fopen("/proc/cpuinfo", "re");
    char line[512];

    snprintf(text, text_bytes, "unknown");
    while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
        const char *value = strchr(line, ':');

        if (strncmp(line, "model name", 10) == 0 && value != NULL) {
            snprintf(text, text_bytes, "%.*s", (int)strcspn(value + 2, "\n"), value + 2);
            break;
        }
    }
    if (file != NULL) {
        fclose(file);
    }
}

static int read_facts(const struct look *look, struct host_facts *facts, struct err *err)
{
    struct look_domains list;
    struct sysinfo system;
    struct utsname names;
    int rc = look_list(look, &list, err);

    if (rc != 0) {
        return rc;
    }
    *facts = (struct host_facts){.store = look->xs != NULL, .consoles = consoles_served()};
    for (size_t i = 0; i < list.count; i++) {
        if (list.infos[i].domain != 0) {
            facts->guests++;
            facts->guest_kib += list.infos[i].tot_pages * PAGE_KIB;
        }
    }
    free(list.infos);
    rc = hv_physinfo(look->hv, &facts->phys);
    if (rc != 0) {
        return look_call_failed(err, rc, "cannot ask the hypervisor about the machine");
    }
    uname(&names);
    snprintf(facts->name, sizeof(facts->name), "%.64s", names.nodename);
    snprintf(facts->kernel, sizeof(facts->kernel), "%.64s", names.release);
    read_processor(facts->processor, sizeof(facts->processor));
    facts->uptime_s = sysinfo(&system) == 0 ? (uint64_t)system.uptime : 0;
    return 0;
}

static int print_facts(const struct host_facts *facts)
{
    printf("%-18s %s\n", "name", facts->name);
    printf("%-18s %s\n", "kernel", facts->kernel);
    printf("%-18s %" PRIu64 " s\n", "up", facts->uptime_s);
    printf("%-18s %u x %s\n", "processors", facts->phys.nr_cpus, facts->processor);
    printf("%-18s %" PRIu64 " MiB, %" PRIu64 " MiB free\n", "memory",
           (uint64_t)facts->phys.total_pages * PAGE_KIB / 1024,
           (uint64_t)facts->phys.free_pages * PAGE_KIB / 1024);
    printf("%-18s %zu with %" PRIu64 " MiB\n", "guests", facts->guests, facts->guest_kib / 1024);
    printf("%-18s %s\n", "store daemon", facts->store ? "runs" : "does not run");
    printf("%-18s %s\n", "console daemon", facts->consoles ? "runs" : "does not run");
    return VANE_OK;
}

static int print_facts_json(const struct host_facts *facts)
{
    struct json_object *out = json_object_new_object();

    json_object_object_add(out, "name", json_object_new_string(facts->name));
    json_object_object_add(out, "kernel", json_object_new_string(facts->kernel));
    json_object_object_add(out, "uptime_s", json_object_new_uint64(facts->uptime_s));
    json_object_object_add(out, "cpus", json_object_new_int64(facts->phys.nr_cpus));
    json_object_object_add(out, "processor", json_object_new_string(facts->processor));
    json_object_object_add(out, "memory_kib",
                           json_object_new_uint64(facts->phys.total_pages * PAGE_KIB));
    json_object_object_add(out, "free_memory_kib",
                           json_object_new_uint64(facts->phys.free_pages * PAGE_KIB));
    json_object_object_add(out, "guests", json_object_new_uint64(facts->guests));
    json_object_object_add(out, "guest_memory_kib", json_object_new_uint64(facts->guest_kib));
    json_object_object_add(out, "store_daemon", json_object_new_boolean(facts->store));
    json_object_object_add(out, "console_daemon", json_object_new_boolean(facts->consoles));
    return vane_print_json(out);
}

static int run_host(const struct vane_args *args)
{
    struct host_facts facts;
    struct err err = {0};
    struct look look;

    if (look_open(&look, true, &err) != 0) {
        return vane_fail(&err);
    }

    int rc = read_facts(&look, &facts, &err);

    look_close(&look);
    if (rc != 0) {
        return vane_fail(&err);
    }
    return args->json ? print_facts_json(&facts) : print_facts(&facts);
}

const struct vane_command vane_commands_host[] = {
    {
        .name = "host",
        .operands = "",
        .summary = "describe this machine as a host of guests",
        .details = "What the hypervisor says of itself is shown by vane info.",
        .json = true,
        .run = run_host,
    },
    {
        .name = "doctor",
        .operands = "",
        .summary = "say what guests need and this host lacks, and how to mend it",
        .details = "MISSING is what no guest can do without; then the exit status is 1. Nothing "
                   "is changed.",
        .json = true,
        .run = run_doctor,
    },
    {.name = NULL},
};
