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
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "dom0-tools/device/node.h"
#include "dom0-tools/vane/vane.h"

#define WAIT_DEFAULT_S 300ul
#define WAIT_MAX_S 86400ul

/* Holds SIGINT, SIGTERM and SIGHUP back. */
static void signals_hold(sigset_t *before)
{
    sigset_t held;

    sigemptyset(&held);
    sigaddset(&held, SIGINT);
    sigaddset(&held, SIGTERM);
    sigaddset(&held, SIGHUP);
    sigprocmask(SIG_BLOCK, &held, before);
}

static void signals_release(const sigset_t *before)
{
    sigprocmask(SIG_SETMASK, before, NULL);
}

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

/* Gives a new domain its monitor and lets it run unless it shall stay paused. */
static int start(struct life *life, const struct vane_config *config, bool paused, uint32_t domid,
                 struct err *err)
{
    struct err ignored = {0};
    int rc = life_monitor_start(config, domid, err);

    if (rc == 0 && !paused) {
        rc = hv_domain_unpause(life->hv, domid);
        if (rc != 0) {
            rc = err_set_errno(err, -rc, "cannot start domain %u", domid);
        }
    }
    if (rc != 0) {
        life_teardown(life, domid, &ignored);
    }
    return rc;
}

/* create, once there are connections and a configuration. */
static int create_from(const struct vane_args *args, struct life *life,
                       const struct vane_config *config, struct err *err)
{
    struct builder_image image;
    sigset_t before;
    uint32_t domid = 0;
    bool dry = vane_option(args, 'n') != NULL;
    int rc = builder_image_load(config->kernel, config->ramdisk, &image, err);

    if (rc != 0) {
        return rc;
    }
    signals_hold(&before);
    rc = dry ? life_check(life, config, &image, err)
             : life_create(life, config, &image, &domid, err);
    /* Before the monitor is forked, which would keep a copy of it for the guest's whole life. */
    builder_image_free(&image);
    if (rc == 0 && !dry) {
        rc = start(life, config, vane_option(args, 'p') != NULL, domid, err);
    }
    signals_release(&before);
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

static int run_create(const struct vane_args *args)
{
    struct vane_config *config;
    struct err err = {0};
    struct life life;
    int rc = config_load(args->operands[0], &config, &err);

    if (rc == 0) {
        rc = life_open(&life, &err);
        if (rc == 0) {
            rc = create_from(args, &life, config, &err);
            life_close(&life);
        }
        config_free(config);
    }
    return rc == 0 ? VANE_OK : vane_fail(&err);
}

static int run_destroy(const struct vane_args *args)
{
    struct err err = {0};
    struct life life;
    sigset_t before;
    uint32_t domid;
    int rc = open_domain(args, &life, &domid, &err);

    if (rc == 0) {
        signals_hold(&before);
        rc = life_teardown(&life, domid, &err);
        signals_release(&before);
        life_close(&life);
    }
    return rc == 0 ? VANE_OK : vane_fail(&err);
}

/* A domain whose shutdown is awaited. */
struct stop_wait {
    struct life *life;
    uint32_t domid;
    bool preserved; /* on_poweroff is "preserve": stopping is all there will be */
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

/* Asks the guest to stop in the given way, and waits if it shall. */
static int request(const struct vane_args *args, const char *word, const char *event)
{
    struct xen_domctl_getdomaininfo info;
    struct err err = {0};
    struct life life;
    struct stop_wait wait = {.life = &life};
    struct node control;
    unsigned long seconds;
    int rc;

    rc = vane_option_number(args, 't', 1, WAIT_MAX_S, WAIT_DEFAULT_S, &seconds);
    if (rc != 0) {
        return VANE_USAGE;
    }
    rc = open_domain(args, &life, &wait.domid, &err);
    if (rc != 0) {
        return vane_fail(&err);
    }
    rc = hv_domain_info(life.hv, wait.domid, &info);
    if (rc == 0 && (info.flags & XEN_DOMINF_shutdown) != 0) {
        rc = err_set(&err, EBUSY, "%s has stopped already", args->operands[0]);
    } else if (rc != 0) {
        rc = err_set_errno(&err, -rc, "%s", args->operands[0]);
    }
    if (rc == 0) {
        wait.preserved = is_preserved(&life, wait.domid, event);
        control = node_at(life.xs, XBT_NULL, "/local/domain/%u/control", wait.domid);
        rc = node_write(&control, "shutdown", "%s", word);
        if (rc != 0) {
            rc = err_set_errno(&err, -rc, "cannot ask %s to stop", args->operands[0]);
        }
    }
    if (rc == 0 && vane_option(args, 'w') != NULL &&
        node_wait(life.xs, "@releaseDomain", has_stopped, &wait, (unsigned int)seconds * 1000) !=
            0) {
        rc = err_set(&err, ETIMEDOUT, "%s did not stop within %lu s", args->operands[0], seconds);
    }
    life_close(&life);
    return rc == 0 ? VANE_OK : vane_fail(&err);
}

static int run_shutdown(const struct vane_args *args)
{
    return request(args, "poweroff", "on_poweroff");
}

static int run_reboot(const struct vane_args *args)
{
    return request(args, "reboot", "on_reboot");
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
    {0, NULL, NULL, NULL},
};

static const struct vane_option wait_options[] = {
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
                   "A background process acts when the guest stops, as on_poweroff, on_reboot and "
                   "on_crash say; its log is /var/log/paravane/NAME.monitor.",
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
        .operands = "DOMAIN",
        .summary = "ask a guest to power off",
        .min_operands = 1,
        .max_operands = 1,
        .options = wait_options,
        .run = run_shutdown,
    },
    {
        .name = "reboot",
        .operands = "DOMAIN",
        .summary = "ask a guest to reboot",
        .details = "With on_reboot at its default, a new domain takes the old one's place; --wait "
                   "returns when the old one is gone.",
        .min_operands = 1,
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
