/* SPDX-License-Identifier: MIT */
/*
 * Commands that ask something of a running guest, or look at what it said: mem-set, mem-max,
 * rename, sysrq, log.
 *
 * A guest is asked through its nodes in the store and does it itself; the answer is what the
 * hypervisor says of it afterwards.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "dom0-tools/config/config.h"
#include "dom0-tools/device/node.h"
#include "dom0-tools/vane/life.h"
#include "dom0-tools/vane/vane.h"

#define WAIT_DEFAULT_S 60ul
#define LINES_MAX 1000000000ul
#define PAGE_KIB (HV_PAGE_BYTES / 1024)

/* A guest comes this close to what it was asked for; page tables and rounding take their part. */
#define MEMORY_SLACK_KIB 1024u

/* --- mem-set ----------------------------------------------------------------------------- */

/* A change of a guest's memory, and the wait for the guest to do it. */
struct memory_change {
    struct life *life;
    uint32_t domid;
    uint64_t kib;
};

static bool has_followed(void *context)
{
    const struct memory_change *change = context;
    struct xen_domctl_getdomaininfo info;

    if (hv_domain_info(change->life->hv, change->domid, &info) != 0) {
        return true;
    }

    uint64_t kib = info.tot_pages * PAGE_KIB;

    return kib <= change->kib + MEMORY_SLACK_KIB && kib + MEMORY_SLACK_KIB >= change->kib;
}

static int wait_followed(const struct vane_args *args, struct memory_change *change,
                         unsigned long seconds, struct err *err)
{
    struct xen_domctl_getdomaininfo info;
    char path[64];

    snprintf(path, sizeof(path), "/local/domain/%u/memory", change->domid);
    if (node_wait(change->life->xs, path, has_followed, change, (unsigned int)seconds * 1000) !=
        0) {
        return err_set(err, ETIMEDOUT, "%s has not come to %" PRIu64 " MiB within %lu s",
                       args->operands[0], change->kib / 1024, seconds);
    }
    if (hv_domain_info(change->life->hv, change->domid, &info) != 0) {
        return err_set(err, ESRCH, "%s has gone", args->operands[0]);
    }
    return 0;
}

static int set_memory(const struct vane_args *args, struct memory_change *change,
                      unsigned long seconds, struct err *err)
{
    struct life *life = change->life;
    struct node memory;
    uint64_t most;
    int rc = life_find(life, args->operands[0], &change->domid, err);

    if (rc != 0) {
        return rc;
    }
    memory = node_at(life->xs, XBT_NULL, "/local/domain/%u/memory", change->domid);
    rc = node_read_number(&memory, "static-max", &most);
    if (rc != 0) {
        return err_set_errno(err, -rc, "cannot read how much memory %s may have",
                             args->operands[0]);
    }
    if (change->kib > most) {
        return err_set(err, ERANGE, "%s may have at most %" PRIu64 " MiB, not %s",
                       args->operands[0], most / 1024, args->operands[1]);
    }
    rc = life_nodes_ask(life, change->domid, args->operands[0], err, "memory/target", "%" PRIu64,
                        change->kib);
    return rc == 0 && seconds != 0 ? wait_followed(args, change, seconds, err) : rc;
}

/* The second operand as an amount of memory that a guest can have; says what is wrong with it. */
static bool memory_amount(const struct vane_args *args, uint64_t *kib)
{
    if (vane_amount(args->operands[1], kib) && *kib >= CONFIG_MIN_MEMORY_KIB &&
        *kib <= CONFIG_MAX_MEMORY_KIB) {
        return true;
    }
    vane_error("%s: an amount of at least %llu MiB is needed, such as 512 or 2GiB, not '%s'",
               args->command->name, CONFIG_MIN_MEMORY_KIB / 1024, args->operands[1]);
    return false;
}

static int run_mem_set(const struct vane_args *args)
{
    struct memory_change change = {.kib = 0};
    unsigned long seconds;
    struct err err = {0};
    struct life life;

    if (vane_option_wait(args, WAIT_DEFAULT_S, &seconds) != 0) {
        return VANE_USAGE;
    }
    if (!memory_amount(args, &change.kib)) {
        return VANE_USAGE;
    }

    int rc = life_open(&life, &err);

    if (rc == 0) {
        change.life = &life;
        rc = set_memory(args, &change, seconds, &err);
        life_close(&life);
    }
    return rc == 0 ? VANE_OK : vane_fail(&err);
}

/* --- mem-max ----------------------------------------------------------------------------- */

/* Moves the limit of a guest's memory. What it was started with bounds what its kernel can ever
 * use; that is kept beside the limit when the limit first moves. */
static int set_limit(const struct vane_args *args, struct memory_change *change, struct err *err)
{
    struct life *life = change->life;
    struct xen_domctl_getdomaininfo info;
    struct node memory;
    uint64_t limit;
    uint64_t most;
    uint64_t target;
    int rc = life_find(life, args->operands[0], &change->domid, err);

    if (rc != 0) {
        return rc;
    }
    memory = node_at(life->xs, XBT_NULL, "/local/domain/%u/memory", change->domid);
    rc = node_read_number(&memory, "static-max", &limit);
    if (rc == 0 && node_read_number(&memory, "boot-max", &most) != 0) {
        most = limit;
    }
    rc = rc != 0 ? rc : node_read_number(&memory, "target", &target);
    rc = rc != 0 ? rc : hv_domain_info(life->hv, change->domid, &info);
    if (rc != 0) {
        return err_set_errno(err, -rc, "cannot read how much memory %s has", args->operands[0]);
    }
    if (change->kib > most) {
        return err_set(err, ERANGE,
                       "%s was started with at most %" PRIu64 " MiB and cannot use more before its "
                       "next start",
                       args->operands[0], most / 1024);
    }
    if (info.tot_pages * PAGE_KIB > change->kib + MEMORY_SLACK_KIB || target > change->kib) {
        return err_set(err, EBUSY, "%s has %" PRIu64 " MiB: take some first, vane mem-set --wait",
                       args->operands[0], (uint64_t)info.tot_pages * PAGE_KIB / 1024);
    }
    rc = life_nodes_ask(life, change->domid, args->operands[0], err, "memory/boot-max", "%" PRIu64,
                        most);
    if (rc != 0) {
        return rc;
    }
    rc = hv_domain_max_mem(life->hv, change->domid, change->kib + MEMORY_SLACK_KIB);
    if (rc != 0) {
        return err_set_errno(err, -rc, "cannot limit %s", args->operands[0]);
    }
    return life_nodes_ask(life, change->domid, args->operands[0], err, "memory/static-max",
                          "%" PRIu64, change->kib);
}

static int run_mem_max(const struct vane_args *args)
{
    struct memory_change change = {.kib = 0};
    struct err err = {0};
    struct life life;

    if (!memory_amount(args, &change.kib)) {
        return VANE_USAGE;
    }

    int rc = life_open(&life, &err);

    if (rc == 0) {
        change.life = &life;
        rc = set_limit(args, &change, &err);
        life_close(&life);
    }
    return rc == 0 ? VANE_OK : vane_fail(&err);
}

/* --- rename ------------------------------------------------------------------------------ */

static int run_rename(const struct vane_args *args)
{
    const char *name = args->operands[1];
    struct err err = {0};
    struct life life;
    uint32_t domid;
    int rc;

    if (!vane_operand_name(args, 1)) {
        return VANE_USAGE;
    }
    rc = life_open(&life, &err);
    if (rc != 0) {
        return vane_fail(&err);
    }
    rc = life_find(&life, args->operands[0], &domid, &err);
    rc = rc != 0 ? rc : life_nodes_rename(&life, domid, name, &err);
    life_close(&life);
    return rc == 0 ? VANE_OK : vane_fail(&err);
}

/* --- sysrq ------------------------------------------------------------------------------- */

static int run_sysrq(const struct vane_args *args)
{
    const char *key = args->operands[1];
    struct err err = {0};
    struct life life;
    uint32_t domid;
    int rc;

    if (strlen(key) != 1 || strspn(key, "0123456789abcdefghijklmnopqrstuvwxyz") != 1) {
        vane_error("sysrq: a key is one digit or small letter, not '%s'", key);
        return VANE_USAGE;
    }
    rc = life_open(&life, &err);
    if (rc != 0) {
        return vane_fail(&err);
    }
    rc = life_find(&life, args->operands[0], &domid, &err);
    rc = rc != 0
             ? rc
             : life_nodes_ask(&life, domid, args->operands[0], &err, "control/sysrq", "%s", key);
    life_close(&life);
    return rc == 0 ? VANE_OK : vane_fail(&err);
}

/* --- log --------------------------------------------------------------------------------- */

/* Where the last `lines` lines of a file begin; -1 if it cannot be read. */
static long last_lines(FILE *file, unsigned long lines)
{
    char data[4096];
    long at;

    if (fseek(file, 0, SEEK_END) != 0 || (at = ftell(file)) < 0) {
        return -1;
    }

    long end = at;

    while (at > 0) {
        size_t chunk = at < (long)sizeof(data) ? (size_t)at : sizeof(data);

        at -= (long)chunk;
        if (fseek(file, at, SEEK_SET) != 0 || fread(data, 1, chunk, file) != chunk) {
            return -1;
        }
        for (size_t i = chunk; i > 0; i--) {
            /* The newline that ends the last line begins none. */
            if (data[i - 1] == '\n' && at + (long)i < end && lines-- == 1) {
                return at + (long)i;
            }
        }
    }
    return 0;
}

/* Guests write what they like; it must not be able to drive the reader's terminal. */
static void print_harmless(FILE *file, bool raw)
{
    int c;

    while ((c = getc(file)) != EOF) {
        if (raw || c == '\n' || c == '\t' || (c >= ' ' && c < 0x7f)) {
            putchar(c);
        } else if (c != '\r' && c != '\0') {
            putchar('?');
        }
    }
}

static int run_log(const struct vane_args *args)
{
    const char *name = args->operands[0];
    unsigned long lines;
    struct err err = {0};
    char path[256];
    FILE *file;
    long start = 0;

    if (vane_option_number(args, 'n', 1, LINES_MAX, 0, &lines) != 0) {
        return VANE_USAGE;
    }
    if (!vane_operand_name(args, 0)) {
        return VANE_USAGE;
    }
    snprintf(path, sizeof(path), LIFE_LOG_DIR "/%s.%s", name,
             vane_option(args, 'm') != NULL ? "monitor" : "log");
    file = fopen(path, "re");
    if (file == NULL) {
        err_set_errno(&err, errno, "%s", path);
        return vane_fail(&err);
    }
    if (lines != 0) {
        start = last_lines(file, lines);
    }
    if (start < 0 || fseek(file, start, SEEK_SET) != 0) {
        fclose(file);
        err_set(&err, EIO, "%s: cannot be read", path);
        return vane_fail(&err);
    }
    print_harmless(file, vane_option(args, 'r') != NULL);
    fclose(file);
    return VANE_OK;
}

/* --- table ------------------------------------------------------------------------------- */

static const struct vane_option mem_set_options[] = {
    {'w', "wait", NULL, "return when the guest has that much"},
    {'t', "timeout", "SECONDS", "longest time to wait (default 60)"},
    {0, NULL, NULL, NULL},
};

static const struct vane_option log_options[] = {
    {'n', "lines", "N", "print the last N lines alone"},
    {'m', "monitor", NULL, "print the monitor's log: why the guest stopped, what was done"},
    {'r', "raw", NULL, "print every byte as the guest wrote it"},
    {0, NULL, NULL, NULL},
};

const struct vane_command vane_commands_guest[] = {
    {
        .name = "mem-set",
        .operands = "DOMAIN AMOUNT",
        .summary = "ask a guest to give memory back, or to take some again",
        .details = "AMOUNT is in MiB or has a unit, as in 2GiB. The guest's balloon driver does "
                   "it. The most it can have is <memory> of its configuration.",
        .min_operands = 2,
        .max_operands = 2,
        .options = mem_set_options,
        .run = run_mem_set,
    },
    {
        .name = "mem-max",
        .operands = "DOMAIN AMOUNT",
        .summary = "limit how much memory a guest can be given",
        .details = "AMOUNT is in MiB or has a unit, as in 2GiB; at least what the guest has now, "
                   "at most what it was started with.",
        .min_operands = 2,
        .max_operands = 2,
        .run = run_mem_max,
    },
    {
        .name = "rename",
        .operands = "DOMAIN NAME",
        .summary = "give a running guest another name",
        .details = "It keeps the name when it restarts. Until then the log of its console goes by "
                   "the old name; its definition is not changed.",
        .min_operands = 2,
        .max_operands = 2,
        .run = run_rename,
    },
    {
        .name = "sysrq",
        .operands = "DOMAIN KEY",
        .summary = "press a SysRq key in a guest",
        .details = "As Alt-SysRq-KEY at a keyboard: h lists the keys on the guest's console, s "
                   "writes its disks back, b reboots it at once. The guest may have keys "
                   "switched off.",
        .min_operands = 2,
        .max_operands = 2,
        .run = run_sysrq,
    },
    {
        .name = "log",
        .operands = "NAME",
        .summary = "print what a guest has written on its console",
        .details = "NAME may also be that of a guest that has ended. What could drive a terminal "
                   "is printed as '?'.",
        .min_operands = 1,
        .max_operands = 1,
        .options = log_options,
        .run = run_log,
    },
    {.name = NULL},
};
