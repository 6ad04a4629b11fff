/* SPDX-License-Identifier: MIT */
/*
 * The monitor: a process per guest that acts when the guest stops.
 *
 * It sleeps on the store's @releaseDomain, which is sent whenever a domain shuts down or dies, and
 * then does what the configuration says for the reason: destroy, restart or preserve. When somebody
 * else destroys the domain it makes sure that nothing is left, and ends. It holds nothing a guest
 * needs: killing it costs the automatic action, no more.
 * Its log is /var/log/paravane/NAME.monitor.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "dom0-tools/config/values.h"
#include "dom0-tools/device/node.h"
#include "dom0-tools/vane/life.h"

/* Looks at the domain this often even if the store says nothing. */
#define LOOK_INTERVAL_MS 5000

/* A guest that stops right after its start is not restarted more often than this. */
#define RESTART_INTERVAL_S 5

/* A store that has gone is looked for this often. */
#define STORE_STEP_MS 200

struct monitor {
    struct vane_config *config; /* this process's own copy */
    uint32_t domid;
    struct life life;
    time_t started;
    bool preserved; /* stopped, seen, and left as it is */
};

/* What to do after a look at the domain. */
enum verdict {
    VERDICT_WAIT,
    VERDICT_REMOVE,
    VERDICT_RESTART,
};

static void say(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Writes a line to the log, which is standard error by now. */
static void say(const char *format, ...)
{
    char stamp[32];
    time_t now = time(NULL);
    struct tm local;
    va_list args;

    localtime_r(&now, &local);
    strftime(stamp, sizeof(stamp), "%Y-%m-%d %H:%M:%S", &local);
    fprintf(stderr, "%s ", stamp);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
}

static const char *reason_name(unsigned int reason)
{
    static const char *const names[] = {"poweroff", "reboot",   "suspend",
                                        "crash",    "watchdog", "soft reset"};

    return reason < sizeof(names) / sizeof(names[0]) ? names[reason] : "unknown reason";
}

static enum vane_action action_for(const struct vane_config *config, unsigned int reason)
{
    switch (reason) {
    case SHUTDOWN_poweroff:
        return config->on_poweroff;
    case SHUTDOWN_reboot:
    case SHUTDOWN_soft_reset:
        return config->on_reboot;
    case SHUTDOWN_suspend:
        return VANE_ACTION_PRESERVE;
    default:
        return config->on_crash;
    }
}

static enum verdict look(struct monitor *monitor)
{
    struct xen_domctl_getdomaininfo info;
    enum vane_action action;
    unsigned int reason;
    int rc = hv_domain_info(monitor->life.hv, monitor->domid, &info);

    if (rc == -ESRCH || (rc == 0 && (info.flags & XEN_DOMINF_dying) != 0)) {
        say("domain %u is gone", monitor->domid);
        return VERDICT_REMOVE;
    }
    if (rc != 0 || (info.flags & XEN_DOMINF_shutdown) == 0) {
        monitor->preserved = false;
        return VERDICT_WAIT;
    }
    if (monitor->preserved) {
        return VERDICT_WAIT;
    }
    reason = hv_shutdown_reason(&info);
    action = action_for(monitor->config, reason);
    say("domain %u stopped (%s): %s", monitor->domid, reason_name(reason),
        config_action_name(action));
    switch (action) {
    case VANE_ACTION_RESTART:
        return VERDICT_RESTART;
    case VANE_ACTION_PRESERVE:
        monitor->preserved = true;
        return VERDICT_WAIT;
    default:
        return VERDICT_REMOVE;
    }
}

/* The store has gone; it may be started anew at any time. */
static void find_store(struct monitor *monitor)
{
    struct xs_handle *xs = monitor->life.xs;

    for (;;) {
        xs_close(xs);
        while ((xs = xs_open(0)) == NULL) {
            poll(NULL, 0, STORE_STEP_MS);
        }
        if (xs_watch(xs, "@releaseDomain", "monitor")) {
            monitor->life.xs = xs;
            return;
        }
    }
}

/* Sleeps until something happened to some domain. */
static void wait_event(struct monitor *monitor)
{
    struct pollfd ready = {.fd = xs_fileno(monitor->life.xs), .events = POLLIN};
    char **event;

    poll(&ready, 1, LOOK_INTERVAL_MS);
    while ((event = xs_check_watch(monitor->life.xs)) != NULL) {
        free(event);
    }
    if (errno != EAGAIN) {
        find_store(monitor);
    }
}

/* Builds the domain anew from the files as they are now. */
static int restart(struct monitor *monitor, struct err *err)
{
    struct builder_image image;
    time_t lived = time(NULL) - monitor->started;
    int rc;

    if (lived >= 0 && lived < RESTART_INTERVAL_S) {
        sleep((unsigned int)(RESTART_INTERVAL_S - lived));
    }
    rc = builder_image_load(monitor->config->kernel, monitor->config->ramdisk, &image, err);
    if (rc != 0) {
        return rc;
    }
    rc = life_create(&monitor->life, monitor->config, &image, &monitor->domid, err);
    builder_image_free(&image);
    if (rc != 0) {
        return rc;
    }
    monitor->started = time(NULL);
    monitor->preserved = false;
    rc = hv_domain_unpause(monitor->life.hv, monitor->domid);
    if (rc != 0) {
        struct err ignored = {0};

        err_set_errno(err, -rc, "cannot start domain %u", monitor->domid);
        life_teardown(&monitor->life, monitor->domid, &ignored);
        return rc;
    }
    say("restarted as domain %u", monitor->domid);
    return 0;
}

/* A guest that was renamed restarts under its present name. */
static void keep_name(struct monitor *monitor)
{
    struct node home = node_at(monitor->life.xs, XBT_NULL, "/local/domain/%u", monitor->domid);
    char name[CONFIG_MAX_NAME_BYTES + 1];
    char *copy;

    if (node_read(&home, "name", name, sizeof(name)) != 0 || !value_domain_name(name) ||
        strcmp(name, monitor->config->name) == 0 || (copy = strdup(name)) == NULL) {
        return;
    }
    free(monitor->config->name);
    monitor->config->name = copy;
}

static int monitor_run(struct monitor *monitor)
{
    struct err err = {0};
    enum verdict verdict;

    if (life_open(&monitor->life, &err) != 0 ||
        !xs_watch(monitor->life.xs, "@releaseDomain", "monitor")) {
        say("cannot watch domain %u: %s", monitor->domid, err.text);
        return EXIT_FAILURE;
    }
    say("watching domain %u", monitor->domid);
    for (;;) {
        verdict = look(monitor);
        if (verdict == VERDICT_WAIT) {
            wait_event(monitor);
            continue;
        }
        if (verdict == VERDICT_RESTART) {
            keep_name(monitor);
        }
        if (life_teardown(&monitor->life, monitor->domid, &err) != 0) {
            say("%s", err.text);
            return EXIT_FAILURE;
        }
        if (verdict == VERDICT_REMOVE) {
            return EXIT_SUCCESS;
        }
        if (restart(monitor, &err) != 0) {
            say("cannot restart: %s", err.text);
            return EXIT_FAILURE;
        }
    }
}

/* Cuts the process loose from the caller's terminal; standard error becomes the log. */
static int detach(const char *name)
{
    char path[256];
    int null = open("/dev/null", O_RDWR);
    int log;

    if (mkdir(LIFE_LOG_DIR, 0755) != 0 && errno != EEXIST) {
        return -errno;
    }
    snprintf(path, sizeof(path), LIFE_LOG_DIR "/%s.monitor", name);
    log = open(path, O_WRONLY | O_CREAT | O_APPEND, 0644);
    if (null < 0 || log < 0) {
        return -errno;
    }
    dup2(null, STDIN_FILENO);
    dup2(log, STDOUT_FILENO);
    dup2(log, STDERR_FILENO);
    for (int fd = STDERR_FILENO + 1; fd < 256; fd++) {
        close(fd); /* the caller's connections; ours are opened later */
    }
    setvbuf(stderr, NULL, _IOLBF, 0);
    if (chdir("/") != 0) {
        return -errno;
    }
    return 0;
}

int life_monitor_start(struct vane_config *config, uint32_t domid, struct err *err)
{
    struct monitor monitor = {.config = config, .domid = domid, .started = time(NULL)};
    sigset_t none;
    int status;
    pid_t child;

    fflush(NULL);
    child = fork();
    if (child < 0) {
        return err_set_errno(err, errno, "cannot start the monitor");
    }
    if (child > 0) {
        /* The first child ends at once; its status says whether the second one runs. */
        if (waitpid(child, &status, 0) != child || !WIFEXITED(status) || WEXITSTATUS(status) != 0) {
            return err_set(err, EIO, "cannot start the monitor: no log in %s?", LIFE_LOG_DIR);
        }
        return 0;
    }
    setsid();
    if (detach(config->name) != 0) {
        _exit(EXIT_FAILURE);
    }
    child = fork();
    if (child != 0) {
        _exit(child < 0 ? EXIT_FAILURE : EXIT_SUCCESS);
    }
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGHUP, SIG_IGN);
    prctl(PR_SET_NAME, "vane-monitor");
    _exit(monitor_run(&monitor));
}
