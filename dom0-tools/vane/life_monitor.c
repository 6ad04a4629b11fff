/* SPDX-License-Identifier: MIT */
/*
 * The monitor: one process that acts when a guest stops, for all guests.
 *
 * It sleeps on the store's @releaseDomain, which is sent whenever a domain shuts down or dies and
 * names it (Debian's store does not, and all are looked at), and then does what the configuration
 * says for the reason: destroy, restart or preserve, after a core file (LIFE_DUMP_DIR) if it wants
 * one. What takes time is done by a child, so that guests do not wait for each other. When somebody
 * else destroys a domain it makes sure that nothing is left. It holds nothing a guest needs.
 *
 * What it knows stands in /run/paravane/domN.xml, the configuration of domain N as it was started:
 * life_monitor_start() puts it there and starts a monitor if none runs, life_teardown() removes it.
 * One that was killed costs the automatic actions until the next `vane create`, which starts
 * another; that finds all guests there.
 * Logs are /var/log/paravane/NAME.monitor.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "dom0-tools/config/values.h"
#include "dom0-tools/device/node.h"
#include "dom0-tools/dump/core.h"
#include "dom0-tools/storeclient/client.h"
#include "dom0-tools/vane/life.h"

#define LOCK_FILE LIFE_RUN_DIR "/monitor.lock"

/* Looks at the domains this often even if the store says nothing. */
#define LOOK_INTERVAL_MS 5000

/* A guest that stops right after its start is not restarted more often than this. */
#define RESTART_INTERVAL_S 5

/* A store that has gone is looked for this often. */
#define STORE_STEP_MS 200

#define LIST_STEP 64

/* A guest, by ascending number. Its configuration stays in its file. */
struct watched {
    struct watched *next;
    uint32_t domid;
    char name[CONFIG_MAX_NAME_BYTES + 1];
    enum vane_action on_poweroff, on_reboot, on_crash;
    bool preserved; /* stopped, seen, and left as it is */
    bool dump;      /* a core file is written first */
    bool acted;     /* a child sees to it */
};

struct monitor {
    struct life life;
    struct watched *guests;
    int files; /* inotify descriptor of LIFE_RUN_DIR */
};

/* What to do after a look at the domain. */
enum verdict {
    VERDICT_WAIT,
    VERDICT_REMOVE,
    VERDICT_RESTART,
};

static void say(const char *name, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Writes a line to a guest's log. */
static void say(const char *name, const char *format, ...)
{
    char path[256];
    char stamp[32];
    time_t now = time(NULL);
    struct tm local;
    va_list args;
    FILE *log;

    snprintf(path, sizeof(path), LIFE_LOG_DIR "/%s.monitor", name);
    log = fopen(path, "ae");
    if (log == NULL) {
        return;
    }
    localtime_r(&now, &local);
    strftime(stamp, sizeof(stamp), "%Y-%m-%d %H:%M:%S", &local);
    fprintf(log, "%s ", stamp);
    va_start(args, format);
    vfprintf(log, format, args);
    va_end(args);
    fputc('\n', log);
    fclose(log);
}

void life_monitor_path(uint32_t domid, char path[64])
{
    snprintf(path, 64, LIFE_RUN_DIR "/dom%u.xml", domid);
}

/* --- what is watched --------------------------------------------------------------------- */

static struct watched **place_of(struct monitor *monitor, uint32_t domid)
{
    struct watched **link = &monitor->guests;

    while (*link != NULL && (*link)->domid < domid) {
        link = &(*link)->next;
    }
    return link;
}

static void forget(struct watched **link)
{
    struct watched *guest = *link;

    *link = guest->next;
    free(guest);
}

/* Takes note of a file that has come or gone. */
static void file_changed(struct monitor *monitor, const char *file)
{
    struct vane_config *config;
    struct err err = {0};
    struct watched **link;
    struct watched *guest;
    uint32_t domid;
    char path[64];

    if (sscanf(file, "dom%u.xml", &domid) != 1) {
        return;
    }
    life_monitor_path(domid, path);
    if (strcmp(path + strlen(LIFE_RUN_DIR "/"), file) != 0) {
        return; /* a lock, or not ours */
    }
    link = place_of(monitor, domid);
    if (*link != NULL && (*link)->domid == domid) {
        forget(link);
    }
    if (config_load(path, &config, &err) != 0) {
        return; /* it has gone */
    }
    guest = calloc(1, sizeof(*guest));
    if (guest != NULL) {
        guest->domid = domid;
        snprintf(guest->name, sizeof(guest->name), "%s", config->name);
        guest->on_poweroff = config->on_poweroff;
        guest->on_reboot = config->on_reboot;
        guest->on_crash = config->on_crash;
        guest->next = *link;
        *link = guest;
        say(guest->name, "watching domain %u", domid);
    }
    config_free(config);
}

static void read_changes(struct monitor *monitor)
{
    char data[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
    ssize_t bytes;

    while ((bytes = read(monitor->files, data, sizeof(data))) > 0) {
        for (char *at = data; at < data + bytes;) {
            const struct inotify_event *event = (const struct inotify_event *)(const void *)at;

            file_changed(monitor, event->len > 0 ? event->name : "");
            at += sizeof(*event) + event->len;
        }
    }
}

static void read_all(struct monitor *monitor)
{
    DIR *folder = opendir(LIFE_RUN_DIR);
    struct dirent *entry;

    while (folder != NULL && (entry = readdir(folder)) != NULL) {
        file_changed(monitor, entry->d_name);
    }
    if (folder != NULL) {
        closedir(folder);
    }
}

/* --- what is done ------------------------------------------------------------------------ */

static const char *reason_name(unsigned int reason)
{
    static const char *const names[] = {"poweroff", "reboot",   "suspend",
                                        "crash",    "watchdog", "soft reset"};

    return reason < sizeof(names) / sizeof(names[0]) ? names[reason] : "unknown reason";
}

static enum vane_action action_for(const struct watched *guest, unsigned int reason)
{
    switch (reason) {
    case SHUTDOWN_poweroff:
        return guest->on_poweroff;
    case SHUTDOWN_reboot:
    case SHUTDOWN_soft_reset:
        return guest->on_reboot;
    case SHUTDOWN_suspend:
        return VANE_ACTION_PRESERVE;
    default:
        return guest->on_crash;
    }
}

/* `info` is NULL for a domain that is not there any more. */
static enum verdict judge(struct watched *guest, const struct xen_domctl_getdomaininfo *info)
{
    enum vane_action action;
    unsigned int reason;

    if (guest->acted) {
        return VERDICT_WAIT;
    }
    if (info == NULL || (info->flags & XEN_DOMINF_dying) != 0) {
        guest->dump = false; /* there is no memory left, whatever was decided before */
        return VERDICT_REMOVE;
    }
    if ((info->flags & XEN_DOMINF_shutdown) == 0) {
        guest->preserved = false;
        return VERDICT_WAIT;
    }
    if (guest->preserved) {
        return VERDICT_WAIT;
    }
    reason = hv_shutdown_reason(info);
    action = action_for(guest, reason);
    say(guest->name, "domain %u stopped (%s): %s", guest->domid, reason_name(reason),
        config_action_name(action));
    guest->dump = action == VANE_ACTION_COREDUMP_DESTROY || action == VANE_ACTION_COREDUMP_RESTART;
    switch (action) {
    case VANE_ACTION_RESTART:
    case VANE_ACTION_COREDUMP_RESTART:
        return VERDICT_RESTART;
    case VANE_ACTION_PRESERVE:
        guest->preserved = true;
        return VERDICT_WAIT;
    default:
        return VERDICT_REMOVE;
    }
}

/* Writes the guest's memory to a file. What fails is told, and keeps nothing else from being done.
 */
static void dump(struct life *life, const struct watched *guest)
{
    struct err err = {0};
    char path[256];
    char stamp[32];
    time_t now = time(NULL);
    struct tm local;

    localtime_r(&now, &local);
    strftime(stamp, sizeof(stamp), "%Y-%m%d-%H%M.%S", &local);
    snprintf(path, sizeof(path), LIFE_DUMP_DIR "/%s-%s.%u.core", stamp, guest->name, guest->domid);
    (void)!mkdir(LIFE_STATE_DIR, 0755);
    if (mkdir(LIFE_DUMP_DIR, 0700) != 0 && errno != EEXIST) {
        err_set_errno(&err, errno, "cannot make " LIFE_DUMP_DIR);
    } else {
        core_write(life->hv, guest->domid, path, life_interrupted, &err);
    }
    if (err.number != 0) {
        err_prefix(&err, "no core file in " LIFE_DUMP_DIR);
    }
    say(guest->name, "%s", err.number != 0 ? err.text : path);
}

/* Builds the domain anew from the files as they are now. */
static int restart(struct life *life, struct vane_config *config, time_t started, struct err *err)
{
    struct builder_image image;
    time_t lived = time(NULL) - started;
    uint32_t domid;
    int rc;

    if (lived >= 0 && lived < RESTART_INTERVAL_S) {
        sleep((unsigned int)(RESTART_INTERVAL_S - lived));
    }
    rc = builder_image_load(config->kernel, config->ramdisk, &image, err);
    if (rc != 0) {
        return rc;
    }
    rc = life_create(life, config, &image, &domid, err);
    builder_image_free(&image);
    if (rc != 0) {
        return rc;
    }
    rc = life_start(life, config, false, domid, err);
    if (rc != 0) {
        return rc;
    }
    say(config->name, "restarted as domain %u", domid);
    return 0;
}

/* A guest that was renamed restarts under its present name. */
static void keep_name(struct life *life, uint32_t domid, struct vane_config *config)
{
    struct node home = node_at(life->xs, XBT_NULL, "/local/domain/%u", domid);
    char name[CONFIG_MAX_NAME_BYTES + 1];
    char *copy;

    if (node_read(&home, "name", name, sizeof(name)) != 0 || !value_domain_name(name) ||
        strcmp(name, config->name) == 0 || (copy = strdup(name)) == NULL) {
        return;
    }
    free(config->name);
    config->name = copy;
}

/* The child's work, with connections of its own. */
static void act(const struct watched *guest, enum verdict verdict)
{
    struct vane_config *config = NULL;
    struct err err = {0};
    struct stat status;
    struct life life;
    bool found = false;
    char path[64];
    int rc;

    life_monitor_path(guest->domid, path);
    rc = life_open(&life, &err);
    if (rc == 0 && verdict == VERDICT_RESTART) {
        rc = stat(path, &status) == 0 ? config_load(path, &config, &err)
                                      : err_set_errno(&err, errno, "%s", path);
        if (rc == 0) {
            keep_name(&life, guest->domid, config);
        }
    }
    if (rc == 0 && guest->dump) {
        dump(&life, guest);
    }
    if (rc == 0) {
        rc = life_teardown(&life, guest->domid, &found, &err);
    }
    /* Who destroyed it meanwhile has the last word. */
    if (rc == 0 && verdict == VERDICT_RESTART && found) {
        rc = restart(&life, config, status.st_mtime, &err);
        rc = rc == 0 ? 0 : err_prefix(&err, "cannot restart");
    }
    if (rc != 0) {
        say(guest->name, "%s", err.text);
    }
}

/* Has a child act, unless somebody else takes that domain apart already. */
static void start_to_act(struct watched *guest, enum verdict verdict)
{
    char path[64];
    int lock;
    bool busy;

    snprintf(path, sizeof(path), LIFE_RUN_DIR "/dom%u.lock", guest->domid);
    lock = open(path, O_RDWR | O_CLOEXEC);
    busy = lock >= 0 && flock(lock, LOCK_EX | LOCK_NB) != 0;
    if (lock >= 0) {
        close(lock);
    }
    if (busy) {
        return;
    }

    pid_t child = fork();

    if (child == 0) {
        signal(SIGCHLD, SIG_DFL);
        act(guest, verdict);
        _exit(EXIT_SUCCESS);
    }
    guest->acted = child > 0;
}

/* Looks at one domain, if it is a guest of ours. */
static void look_at(struct monitor *monitor, uint32_t domid)
{
    struct watched *guest = *place_of(monitor, domid);
    struct xen_domctl_getdomaininfo info;
    enum verdict verdict;
    int rc;

    if (guest == NULL || guest->domid != domid) {
        read_changes(monitor); /* its file may be younger than the last reading */
        guest = *place_of(monitor, domid);
    }
    if (guest == NULL || guest->domid != domid) {
        return;
    }
    rc = hv_domain_info(monitor->life.hv, domid, &info);
    if (rc != 0 && rc != -ESRCH) {
        return; /* nothing is known of it */
    }
    verdict = judge(guest, rc == 0 ? &info : NULL);
    if (verdict != VERDICT_WAIT) {
        start_to_act(guest, verdict);
    }
}

/* Looks at all guests at once. */
static void look(struct monitor *monitor)
{
    static struct xen_domctl_getdomaininfo infos[LIST_STEP];
    struct watched *guest = monitor->guests;
    uint32_t first = guest != NULL ? guest->domid : 0;
    int got = LIST_STEP;

    while (guest != NULL && got == LIST_STEP) {
        got = hv_domain_info_list(monitor->life.hv, first, infos, LIST_STEP);
        for (int i = 0; guest != NULL && (i < got || (got >= 0 && got < LIST_STEP));) {
            const struct xen_domctl_getdomaininfo *info = i < got ? &infos[i] : NULL;
            enum verdict verdict;

            if (info != NULL && info->domain < guest->domid) {
                i++;
                continue;
            }
            verdict = judge(guest, info != NULL && info->domain == guest->domid ? info : NULL);
            if (verdict != VERDICT_WAIT) {
                start_to_act(guest, verdict);
            }
            guest = guest->next;
        }
        first = got > 0 ? infos[got - 1].domain + 1u : first;
    }
}

/* --- the process ------------------------------------------------------------------------- */

/* The store may be started anew at any time: it is then connected to again. */
static void find_store(struct monitor *monitor)
{
    struct xs_handle *xs = monitor->life.xs;

    for (;;) {
        xs_close(xs);
        while ((xs = xs_open(0)) == NULL) {
            poll(NULL, 0, STORE_STEP_MS);
        }
        if (xs_watch_domains(xs, "@releaseDomain", "monitor")) {
            monitor->life.xs = xs;
            return;
        }
    }
}

static uint64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void monitor_run(struct monitor *monitor)
{
    uint64_t looked_ms = 0;

    for (;;) {
        struct pollfd ready[2] = {{.fd = xs_fileno(monitor->life.xs), .events = POLLIN},
                                  {.fd = monitor->files, .events = POLLIN}};
        char **event;
        bool all;

        poll(ready, 2, LOOK_INTERVAL_MS);
        all = now_ms() - looked_ms >= LOOK_INTERVAL_MS; /* also while others keep us busy */
        /* Files first: a guest that ended at once is known by then. */
        read_changes(monitor);
        while ((event = xs_check_watch(monitor->life.xs)) != NULL) {
            uint32_t domid;

            if (sscanf(event[XS_WATCH_PATH], "@releaseDomain/%u", &domid) == 1) {
                look_at(monitor, domid);
            } else {
                all = true;
            }
            free(event);
        }
        if (errno != EAGAIN) {
            find_store(monitor); /* and its first event has all looked at */
        }
        if (all) {
            look(monitor);
            looked_ms = now_ms();
        }
    }
}

/* Cuts the process loose from the caller's terminal and connections, which a fork spoils anyway. */
static int detach(int lock, int answer)
{
    int null = open("/dev/null", O_RDWR);

    if (null < 0 || chdir("/") != 0) {
        return -errno;
    }
    for (int fd = 0; fd < 256; fd++) {
        if (fd <= STDERR_FILENO) {
            dup2(null, fd);
        } else if (fd != lock && fd != answer) {
            close(fd);
        }
    }
    return 0;
}

/* Becomes the monitor; a byte of answer says that there is one. */
static void become_monitor(int lock, int answer)
{
    struct monitor monitor = {.guests = NULL};
    struct err err = {0};
    sigset_t none;

    setsid();
    if (detach(lock, answer) != 0 || life_open(&monitor.life, &err) != 0 ||
        !xs_watch_domains(monitor.life.xs, "@releaseDomain", "monitor") ||
        (monitor.files = inotify_init1(IN_CLOEXEC | IN_NONBLOCK)) < 0 ||
        inotify_add_watch(monitor.files, LIFE_RUN_DIR, IN_MOVED_TO | IN_DELETE) < 0 ||
        write(answer, "", 1) != 1) {
        _exit(EXIT_FAILURE);
    }
    close(answer);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGHUP, SIG_IGN);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGCHLD, SIG_IGN); /* children are nobody's to wait for */
    prctl(PR_SET_NAME, "vane-monitor");
    read_all(&monitor);
    monitor_run(&monitor);
}

/* Writes the configuration to where the monitor finds it. What was made up is given from now on:
 * a restarted guest keeps its uuid and addresses. */
static int hand_over(struct vane_config *config, uint32_t domid, struct err *err)
{
    char path[64];
    char fresh[72];
    char *text;
    FILE *out;
    int rc;

    config->uuid_given = true;
    for (size_t i = 0; i < config->net_count; i++) {
        config->nets[i].mac_given = true;
    }
    rc = config_write_xml(config, &text, err);
    if (rc != 0) {
        return rc;
    }
    life_monitor_path(domid, path);
    snprintf(fresh, sizeof(fresh), "%s.new", path);
    out = fopen(fresh, "we");
    rc = out != NULL && fputs(text, out) >= 0 ? 0 : -1;
    if ((out != NULL && fclose(out) != 0) || rc != 0 || rename(fresh, path) != 0) {
        rc = err_set_errno(err, errno, "cannot write %s", path);
        unlink(fresh);
    }
    free(text);
    return rc;
}

int life_monitor_start(struct vane_config *config, uint32_t domid, struct err *err)
{
    int rc = hand_over(config, domid, err);
    int answer[2];
    pid_t child;
    char byte;
    int lock;

    if (rc != 0) {
        return rc;
    }
    if (mkdir(LIFE_LOG_DIR, 0755) != 0 && errno != EEXIST) {
        return err_set_errno(err, errno, "cannot make %s", LIFE_LOG_DIR);
    }
    lock = open(LOCK_FILE, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (lock < 0) {
        return err_set_errno(err, errno, "cannot open %s", LOCK_FILE);
    }
    /* Whoever has the lock is the monitor. It goes on to the process that is started here. */
    if (flock(lock, LOCK_EX | LOCK_NB) != 0) {
        close(lock);
        return 0;
    }
    fflush(NULL);
    rc = pipe2(answer, O_CLOEXEC) == 0 ? 0 : -errno;
    child = rc == 0 ? fork() : -1;
    if (child == 0) {
        close(answer[0]);
        become_monitor(lock, answer[1]);
    }
    close(lock);
    if (rc == 0) {
        close(answer[1]);
        rc = child > 0 && read(answer[0], &byte, 1) == 1 ? 0 : -EIO;
        close(answer[0]);
    }
    return rc == 0 ? 0 : err_set(err, EIO, "cannot start the monitor");
}
