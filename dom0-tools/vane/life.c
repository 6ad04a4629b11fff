/* SPDX-License-Identifier: MIT */
/*
 * The commands of a guest's life: create, destroy, shutdown, reboot, console.
 *
 * Each opens its connections, does its work through life.h and turns the report into an exit
 * status. Signals that would end the program are held back while a domain is being made or taken
 * apart, so that Ctrl-C never leaves half a guest behind.
 */
#include "dom0-tools/vane/life.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "dom0-tools/device/node.h"
#include "dom0-tools/vane/look.h"
#include "dom0-tools/vane/vane.h"

#define WAIT_DEFAULT_S 300ul
#define BACK_END_WAIT_S 120ul

/* Opens the connections and finds the domain named by the first operand. */
static int open_domain(const struct vane_args *args, struct life *life, uint32_t *domid,
                       struct err *err)
{
    int rc = life_open(life, err);

    if (rc == 0) {
        rc = life_find(life, args->operands[0], domid, err);
        if (rc != 0) {
            life_close(life);
        }
    }
    return rc;
}

/* create, once there are connections and a configuration. */
static int create_from(const struct vane_args *args, struct life *life, struct vane_config *config,
                       struct err *err)
{
    struct builder_image image;
    sigset_t before;
    uint32_t domid = 0;
    bool dry = vane_option(args, 'n') != NULL;
    int rc = builder_image_load(config->kernel, config->ramdisk, &image, err);

    if (rc != 0) {
        return rc;
    }
    life_signals_hold(&before);
    rc = dry ? life_check(life, config, &image, err)
             : life_create(life, config, &image, &domid, err);
    /* Before the monitor is forked, which would keep a copy of it for ever. */
    builder_image_free(&image);
    if (rc == 0 && !dry) {
        rc = life_start(life, config, vane_option(args, 'p') != NULL, domid, err);
    }
    life_signals_release(&before);
    if (rc != 0) {
        return rc;
    }
    if (dry) {
        printf("%s: nothing speaks against creating it\n", config->name);
        return 0;
    }
    printf("%s: domain %u\n", config->name, domid);
    fflush(stdout);
    return vane_option(args, 'c') != NULL ? life_console(life, domid, err) : 0;
}

int life_run_create(const struct vane_args *args, const char *path)
{
    unsigned long seconds;
    struct vane_config *config;
    struct err err = {0};
    struct life life;
    int rc;

    if (vane_option_number(args, 't', 1, VANE_MAX_WAIT_S, BACK_END_WAIT_S, &seconds) != 0) {
        return VANE_USAGE;
    }
    rc = config_load(path, &config, &err);
    if (rc == 0) {
        config->unsafe = config->unsafe || vane_option(args, 'u') != NULL;
        rc = life_open(&life, &err);
        if (rc == 0) {
            life.wait_ms = (unsigned int)seconds * 1000;
            rc = create_from(args, &life, config, &err);
            life_close(&life);
        }
        config_free(config);
    }
    return rc == 0 ? VANE_OK : vane_fail(&err);
}

static int run_create(const struct vane_args *args)
{
    return life_run_create(args, args->operands[0]);
}

static int run_destroy(const struct vane_args *args)
{
    struct err err = {0};
    struct life life;
    sigset_t before;
    uint32_t domid;
    bool found = false;
    int rc = open_domain(args, &life, &domid, &err);

    if (rc == 0) {
        life_signals_hold(&before);
        rc = life_teardown(&life, domid, &found, &err);
        if (rc == 0 && !found) {
            rc = err_set(&err, ESRCH, "'%s' has just been taken down; it may be about to restart",
                         args->operands[0]);
        }
        life_signals_release(&before);
        life_close(&life);
    }
    return rc == 0 ? VANE_OK : vane_fail(&err);
}

/* A domain whose shutdown is awaited. */
struct stop_wait {
    struct life *life;
    uint32_t domid;
    bool preserved; /* on_poweroff is "preserve": stopping is all there will be */
    bool asked;     /* and so to be waited for */
};

static bool has_stopped(void *context)
{
    const struct stop_wait *wait = context;
    struct node home = node_at(wait->life->xs, XBT_NULL, "/local/domain/%u", wait->domid);
    struct xen_domctl_getdomaininfo info;
    int rc = hv_domain_info(wait->life->hv, wait->domid, &info);

    if (rc == 0 && wait->preserved) {
        return (info.flags & XEN_DOMINF_shutdown) != 0;
    }
    /* The nodes go last: with them everything else is gone, too. */
    return rc == -ESRCH && !node_exists(&home);
}

/* Whether the domain stays when it powers off, as its /vm entry says. */
static bool is_preserved(struct life *life, uint32_t domid, const char *event)
{
    struct node home = node_at(life->xs, XBT_NULL, "/local/domain/%u", domid);
    char path[64];
    char action[32];

    if (node_read(&home, "vm", path, sizeof(path)) != 0) {
        return false;
    }
    home = node_at(life->xs, XBT_NULL, "%s", path);
    return node_read(&home, event, action, sizeof(action)) == 0 && strcmp(action, "preserve") == 0;
}

/* A way of stopping: the word the guest understands, and what its configuration calls the event. */
struct request {
    const char *word;
    const char *event;
    unsigned int wait_s; /* 0: do not wait */
};

/* Asks a guest to stop; `who` stands for it in reports. */
static int ask(const struct request *request, const char *who, struct stop_wait *wait,
               struct err *err)
{
    struct xen_domctl_getdomaininfo info;
    int rc = hv_domain_info(wait->life->hv, wait->domid, &info);

    if (rc != 0) {
        return err_set_errno(err, -rc, "%s", who);
    }
    if ((info.flags & XEN_DOMINF_shutdown) != 0) {
        return err_set(err, EBUSY, "%s has stopped already", who);
    }
    wait->preserved = is_preserved(wait->life, wait->domid, request->event);
    return life_nodes_ask(wait->life, wait->domid, who, err, "control/shutdown", "%s",
                          request->word);
}

/* Waits for a guest that has been asked, until a moment of the monotonic clock. */
static int await(const struct request *request, const char *who, struct stop_wait *wait,
                 time_t until, struct err *err)
{
    struct timespec now;
    char event[32];

    snprintf(event, sizeof(event), "@releaseDomain/%u", wait->domid);
    clock_gettime(CLOCK_MONOTONIC, &now);

    unsigned int left_ms = now.tv_sec < until ? (unsigned int)(until - now.tv_sec) * 1000 : 0;

    if (node_wait(wait->life->xs, event, has_stopped, wait, left_ms) != 0) {
        return err_set(err, ETIMEDOUT, "%s did not stop within %u s", who, request->wait_s);
    }
    return 0;
}

/* The guests that are asked together. */
struct crowd {
    struct stop_wait *waits;
    size_t count;
};

/* All guests that run, or have been paused. */
static int gather(struct life *life, struct crowd *crowd, struct err *err)
{
    struct look look = {.hv = life->hv, .xs = life->xs};
    struct look_domains list;
    int rc = look_list(&look, &list, err);

    if (rc != 0) {
        return rc;
    }
    crowd->count = 0;
    crowd->waits = calloc(list.count + 1, sizeof(*crowd->waits));
    for (size_t i = 0; crowd->waits != NULL && i < list.count; i++) {
        const struct xen_domctl_getdomaininfo *info = &list.infos[i];

        if (info->domain != 0 && (info->flags & (XEN_DOMINF_shutdown | XEN_DOMINF_dying)) == 0) {
            crowd->waits[crowd->count++] = (struct stop_wait){.life = life, .domid = info->domain};
        }
    }
    free(list.infos);
    return crowd->waits != NULL ? 0 : err_set(err, ENOMEM, "no memory");
}

/* The one guest that is named. */
static int gather_one(struct life *life, const char *who, struct crowd *crowd, struct err *err)
{
    crowd->waits = calloc(1, sizeof(*crowd->waits));
    crowd->count = 1;
    if (crowd->waits == NULL) {
        return err_set(err, ENOMEM, "no memory");
    }
    crowd->waits->life = life;
    return life_find(life, who, &crowd->waits->domid, err);
}

/* Asks everybody, then waits for everybody. Returns: the first failure, which kept no other guest
 * from being asked. */
static int stop_crowd(const struct request *request, const char *who, const struct crowd *crowd,
                      struct err *err)
{
    struct err later = {0};
    struct timespec now;
    int rc = 0;

    for (unsigned int round = 0; round < (request->wait_s != 0 ? 2u : 1u); round++) {
        clock_gettime(CLOCK_MONOTONIC, &now);
        for (size_t i = 0; i < crowd->count; i++) {
            struct stop_wait *wait = &crowd->waits[i];
            struct err *to = rc == 0 ? err : &later;
            char number[24];
            const char *name = who != NULL ? who : number;
            int one;

            snprintf(number, sizeof(number), "domain %u", wait->domid);
            if (round == 0) {
                one = ask(request, name, wait, to);
                wait->asked = one == 0;
            } else {
                one =
                    wait->asked ? await(request, name, wait, now.tv_sec + request->wait_s, to) : 0;
            }
            rc = rc != 0 ? rc : one;
        }
    }
    return rc;
}

/* Asks one guest or all to stop in the given way, and waits if it shall. */
static int stop(const struct vane_args *args, const char *word, const char *event)
{
    struct request request = {.word = word, .event = event};
    const char *who = args->count != 0 ? args->operands[0] : NULL;
    struct crowd crowd = {.waits = NULL};
    struct err err = {0};
    struct life life;
    unsigned long seconds;
    int rc;

    if (vane_option_wait(args, WAIT_DEFAULT_S, &seconds) != 0) {
        return VANE_USAGE;
    }
    if ((vane_option(args, 'a') != NULL) == (who != NULL)) {
        vane_error("%s: either a DOMAIN or --all is needed (try: vane help %s)",
                   args->command->name, args->command->name);
        return VANE_USAGE;
    }
    request.wait_s = (unsigned int)seconds;
    rc = life_open(&life, &err);
    if (rc != 0) {
        return vane_fail(&err);
    }
    rc = who != NULL ? gather_one(&life, who, &crowd, &err) : gather(&life, &crowd, &err);
    rc = rc != 0 ? rc : stop_crowd(&request, who, &crowd, &err);
    free(crowd.waits);
    life_close(&life);
    return rc == 0 ? VANE_OK : vane_fail(&err);
}

static int run_shutdown(const struct vane_args *args)
{
    return stop(args, "poweroff", "on_poweroff");
}

static int run_reboot(const struct vane_args *args)
{
    return stop(args, "reboot", "on_reboot");
}

static int run_console(const struct vane_args *args)
{
    struct err err = {0};
    struct life life;
    uint32_t domid;
    int rc = open_domain(args, &life, &domid, &err);

    if (rc == 0) {
        rc = life_console(&life, domid, &err);
        life_close(&life);
    }
    return rc == 0 ? VANE_OK : vane_fail(&err);
}

static const struct vane_option create_options[] = {
    {'c', "console", NULL, "attach to the guest's console afterwards"},
    {'p', "paused", NULL, "leave the guest paused"},
    {'n', "dry-run", NULL, "test everything, create nothing"},
    {'u', "unsafe", NULL, "give it its PCI devices although it can reach all memory with them"},
    {'t', "timeout", "SECONDS", "longest time to wait for its back ends (default 120)"},
    {0, NULL, NULL, NULL},
};

static const struct vane_option wait_options[] = {
    {'a', "all", NULL, "ask all guests"},
    {'w', "wait", NULL, "return when the guest has stopped and everything of it is cleaned up"},
    {'t', "timeout", "SECONDS", "longest time to wait (default 300)"},
    {0, NULL, NULL, NULL},
};

const struct vane_command vane_commands_life[] = {
    {
        .name = "create",
        .operands = "FILE",
        .summary = "start a guest described in an XML file",
        .details = "The file is libvirt's domain XML for type xen. Kernel, memory, disks, bridges "
                   "and the name are tested first; when anything fails, nothing of the guest "
                   "remains.\n\n"
                   "A background process, one for all guests, acts when a guest stops, as "
                   "on_poweroff, on_reboot and on_crash say; its log is "
                   "/var/log/paravane/NAME.monitor.",
        .min_operands = 1,
        .max_operands = 1,
        .options = create_options,
        .run = run_create,
    },
    {
        .name = "destroy",
        .operands = "DOMAIN",
        .summary = "stop a guest at once and remove it",
        .details = "The guest gets no chance to write back what it has in memory.",
        .min_operands = 1,
        .max_operands = 1,
        .run = run_destroy,
    },
    {
        .name = "shutdown",
        .operands = "[DOMAIN]",
        .summary = "ask a guest, or all, to power off",
        .max_operands = 1,
        .options = wait_options,
        .run = run_shutdown,
    },
    {
        .name = "reboot",
        .operands = "[DOMAIN]",
        .summary = "ask a guest, or all, to reboot",
        .details = "With on_reboot at its default, a new domain takes the old one's place; --wait "
                   "returns when the old one is gone.",
        .max_operands = 1,
        .options = wait_options,
        .run = run_reboot,
    },
    {
        .name = "console",
        .operands = "DOMAIN",
        .summary = "connect to a guest's console",
        .details = "Ctrl-] leaves. The connection also ends with the guest. Input need not be a "
                   "terminal; at its end, output goes on.",
        .min_operands = 1,
        .max_operands = 1,
        .run = run_console,
    },
    {.name = NULL},
};
