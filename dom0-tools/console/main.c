/* SPDX-License-Identifier: MIT */
/*
 * vane-consoled: the console daemon.
 *
 * One process serves all guests from one poll loop: the store tells of domains that come and go,
 * event channels of output, pseudo terminals of input. It can be stopped and started again at any
 * time; guests keep running and what they wrote meanwhile is in their rings.
 *
 * Usage: vane-consoled [--foreground]. Ends with SIGTERM or SIGINT.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "dom0-tools/console/guest.h"
#include "dom0-tools/device/node.h"
#include "dom0-tools/libhv/hv.h"

#define RUN_DIR "/run/paravane"
#define PID_FILE RUN_DIR "/consoled.pid"

/* While a terminal's output waits or a guest is slowed down, things are looked at this often. */
#define BUSY_STEP_MS 50
#define IDLE_STEP_MS 5000
/* Descriptors before the guests'. */
#define FIXED_FDS 3

/* A store that has gone is looked for this often. */
#define STORE_STEP_MS 200

struct daemon {
    struct hv *hv;
    struct guest_services services;
    struct guest *guests;
    int lifeline;       /* to the store, for nothing but its end, or -1 */
    struct pollfd *fds; /* store, events, lifeline, then terminal and readers of each guest */
    size_t fd_room;
};

static volatile sig_atomic_t stop;

static void on_signal(int number)
{
    (void)number;
    stop = 1;
}

static uint64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static bool domain_lives(struct daemon *daemon, uint32_t domid)
{
    struct xen_domctl_getdomaininfo info;

    return hv_domain_info(daemon->hv, domid, &info) == 0 && (info.flags & XEN_DOMINF_dying) == 0;
}

static bool is_served(const struct daemon *daemon, uint32_t domid)
{
    for (const struct guest *guest = daemon->guests; guest != NULL; guest = guest->next) {
        if (guest->domid == domid && !guest->dead) {
            return true;
        }
    }
    return false;
}

#define CONSOLE_TOKEN "console"

/* Some builders introduce a domain before they say where its console is: they are waited for. */
static void await_console(struct daemon *daemon, uint32_t domid, bool await)
{
    struct node console = node_at(daemon->services.xs, XBT_NULL, "/local/domain/%u/console", domid);

    /* Both fail when it is so already. */
    if (await) {
        xs_watch(daemon->services.xs, console.path, CONSOLE_TOKEN);
    } else {
        xs_unwatch(daemon->services.xs, console.path, CONSOLE_TOKEN);
    }
}

/* Starts to serve domains that have come. */
static void find_new(struct daemon *daemon)
{
    struct node root = node_at(daemon->services.xs, XBT_NULL, "/local/domain");
    unsigned int count;
    char **ids = node_list(&root, &count);

    for (unsigned int i = 0; ids != NULL && i < count; i++) {
        uint32_t domid = (uint32_t)strtoul(ids[i], NULL, 10);
        struct guest *guest;
        struct err err = {0};

        if (domid == 0 || is_served(daemon, domid) || !domain_lives(daemon, domid)) {
            continue;
        }
        if (guest_open(&daemon->services, domid, &guest, &err) == 0) {
            guest->next = daemon->guests;
            daemon->guests = guest;
            guest_output(guest, now_ms());
            await_console(daemon, domid, false);
        } else if (err.number == ENOENT) {
            await_console(daemon, domid, true);
        } else {
            fprintf(stderr, "vane-consoled: domain %u: %s\n", domid, err.text);
        }
    }
    free(ids);
}

/* Lets go of domains that have died; closes terminals that have been read to the end. */
static void drop_dead(struct daemon *daemon, bool look)
{
    struct guest **link = &daemon->guests;

    while (*link != NULL) {
        struct guest *guest = *link;

        if (look && !guest->dead && !domain_lives(daemon, guest->domid)) {
            guest_died(guest, now_ms());
        }
        if (guest_finished(guest, now_ms())) {
            *link = guest->next;
            guest_close(guest);
        } else {
            link = &guest->next;
        }
    }
}

/* libxenstore does not tell of the daemon's end: the descriptor it lets us wait for stays silent. A
 * connection of our own does. */
static int open_lifeline(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    snprintf(address.sun_path, sizeof(address.sun_path), "%s", xs_daemon_socket());
    if (fd >= 0 && connect(fd, (const struct sockaddr *)&address, sizeof(address)) != 0) {
        close(fd);
        fd = -1;
    }
    return fd;
}

static void close_store(struct daemon *daemon)
{
    if (daemon->services.xs != NULL) {
        xs_close(daemon->services.xs);
        daemon->services.xs = NULL;
    }
    if (daemon->lifeline >= 0) {
        close(daemon->lifeline);
        daemon->lifeline = -1;
    }
}

static bool open_store(struct daemon *daemon)
{
    struct xs_handle *xs;

    daemon->lifeline = open_lifeline();
    xs = daemon->services.xs = xs_open(0);
    if (xs != NULL && xs_watch(xs, "@introduceDomain", "new") &&
        xs_watch(xs, "@releaseDomain", "gone")) {
        return true;
    }
    close_store(daemon);
    return false;
}

/* The store may be started anew at any time: it is then connected to again, and what happened to
 * domains meanwhile is found out. */
static void handle_store(struct daemon *daemon)
{
    char **event;

    if (daemon->services.xs == NULL && !open_store(daemon)) {
        return;
    }
    while ((event = xs_check_watch(daemon->services.xs)) != NULL) {
        uint32_t domid;

        if (strcmp(event[XS_WATCH_TOKEN], CONSOLE_TOKEN) == 0 &&
            sscanf(event[XS_WATCH_PATH], "/local/domain/%u/", &domid) == 1 &&
            !domain_lives(daemon, domid)) {
            await_console(daemon, domid, false);
        }
        free(event);
    }
    if (errno != EAGAIN) {
        close_store(daemon);
        return;
    }
    drop_dead(daemon, true);
    find_new(daemon);
}

static void handle_event(struct daemon *daemon)
{
    int port = xenevtchn_pending(daemon->services.events);

    for (struct guest *guest = daemon->guests; port >= 0 && guest != NULL; guest = guest->next) {
        if (guest->port == port) {
            guest_event(guest, now_ms());
            return;
        }
    }
}

/* Fills the poll list. Returns: its length, 0 without memory; sets how long to sleep. */
static size_t prepare(struct daemon *daemon, int *sleep_ms)
{
    size_t count = FIXED_FDS;

    for (const struct guest *guest = daemon->guests; guest != NULL; guest = guest->next) {
        count += 2;
    }
    if (count > daemon->fd_room) {
        struct pollfd *fds = realloc(daemon->fds, count * 2 * sizeof(*fds));

        if (fds == NULL) {
            return 0;
        }
        daemon->fds = fds;
        daemon->fd_room = count * 2;
    }
    daemon->fds[0] = (struct pollfd){
        .fd = daemon->services.xs != NULL ? xs_fileno(daemon->services.xs) : -1,
        .events = POLLIN,
    };
    daemon->fds[1] = (struct pollfd){.fd = xenevtchn_fd(daemon->services.events), .events = POLLIN};
    *sleep_ms = daemon->services.xs != NULL ? IDLE_STEP_MS : STORE_STEP_MS;
    daemon->fds[2] = (struct pollfd){.fd = daemon->lifeline, .events = POLLIN};
    count = FIXED_FDS;
    for (const struct guest *guest = daemon->guests; guest != NULL; guest = guest->next) {
        bool input = !guest->dead && console_ring_writable(&guest->ring);

        daemon->fds[count] = (struct pollfd){
            .fd = guest->master,
            .events = (short)((input ? POLLIN : 0) | (guest->backlog_bytes != 0 ? POLLOUT : 0)),
        };
        daemon->fds[count + 1] =
            (struct pollfd){.fd = readers_fd(guest->readers), .events = POLLIN};
        if (guest->dead || guest->masked) {
            *sleep_ms = BUSY_STEP_MS;
        }
        count += 2;
    }
    return count;
}

static void run(struct daemon *daemon)
{
    handle_store(daemon);
    while (!stop) {
        int sleep_ms;
        size_t count = prepare(daemon, &sleep_ms);
        size_t i = FIXED_FDS;

        if (count == 0) {
            fprintf(stderr, "vane-consoled: out of memory\n");
            break;
        }
        if (poll(daemon->fds, count, sleep_ms) < 0) {
            continue;
        }
        /* Terminals first: their entries match the list only as long as it is unchanged. */
        for (struct guest *guest = daemon->guests; guest != NULL; guest = guest->next, i += 2) {
            if ((daemon->fds[i].revents & POLLIN) != 0) {
                guest_input(guest);
            }
            if (daemon->fds[i + 1].revents != 0) {
                guest_readers(guest);
            }
            if ((daemon->fds[i].revents & POLLOUT) != 0 || guest->masked) {
                guest_output(guest, now_ms());
            }
        }
        if ((daemon->fds[1].revents & POLLIN) != 0) {
            handle_event(daemon);
        }
        if (daemon->fds[2].revents != 0) {
            close_store(daemon);
        }
        if (daemon->fds[0].revents != 0 || daemon->services.xs == NULL) {
            handle_store(daemon);
        } else {
            drop_dead(daemon, false);
        }
    }
}

/* Becomes a background process. Returns only in the child. */
static void into_background(void)
{
    pid_t child = fork();
    int null;

    if (child != 0) {
        _exit(child < 0 ? EXIT_FAILURE : EXIT_SUCCESS);
    }
    setsid();
    null = open("/dev/null", O_RDWR);
    if (null >= 0) {
        dup2(null, STDIN_FILENO);
        dup2(null, STDOUT_FILENO);
        dup2(null, STDERR_FILENO);
        close(null);
    }
    if (chdir("/") != 0) {
        _exit(EXIT_FAILURE);
    }
}

/* Takes the pid file's lock, so that two daemons never serve one ring. */
static int take_pid_file(void)
{
    char text[32];
    int fd;

    mkdir(RUN_DIR, 0755);
    fd = open(PID_FILE, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) != 0) {
        return -1;
    }
    snprintf(text, sizeof(text), "%ld\n", (long)getpid());
    return ftruncate(fd, 0) == 0 && write(fd, text, strlen(text)) > 0 ? fd : -1;
}

static bool open_services(struct daemon *daemon)
{
    struct guest_services *services = &daemon->services;

    if (hv_open(&daemon->hv) != 0) {
        fprintf(stderr, "vane-consoled: no hypervisor to talk to\n");
        return false;
    }
    services->events = xenevtchn_open(NULL, 0);
    services->grants = xengnttab_open(NULL, 0);
    services->memory = xenforeignmemory_open(NULL, 0);
    if (!open_store(daemon) || services->events == NULL ||
        (services->grants == NULL && services->memory == NULL)) {
        fprintf(stderr, "vane-consoled: cannot reach the store or the event channels\n");
        return false;
    }
    return true;
}

static void close_services(struct daemon *daemon)
{
    while (daemon->guests != NULL) {
        struct guest *guest = daemon->guests;

        daemon->guests = guest->next;
        guest_close(guest);
    }
    free(daemon->fds);
    if (daemon->services.grants != NULL) {
        xengnttab_close(daemon->services.grants);
    }
    if (daemon->services.memory != NULL) {
        xenforeignmemory_close(daemon->services.memory);
    }
    if (daemon->services.events != NULL) {
        xenevtchn_close(daemon->services.events);
    }
    close_store(daemon);
    hv_close(daemon->hv);
}

int main(int argc, char **argv)
{
    struct sigaction action = {.sa_handler = on_signal};
    struct daemon daemon = {.lifeline = -1};
    bool foreground = argc == 2 && strcmp(argv[1], "--foreground") == 0;
    bool ok;

    if (argc > 1 && !foreground) {
        fprintf(stderr, "usage: vane-consoled [--foreground]\n");
        return 2;
    }
    if (!foreground) {
        into_background(); /* before connections and locks, which do not survive a fork */
    }
    if (take_pid_file() < 0) {
        fprintf(stderr, "vane-consoled: another one is running, or %s cannot be written\n",
                PID_FILE);
        return EXIT_FAILURE;
    }
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    ok = open_services(&daemon);
    if (ok) {
        run(&daemon);
    }
    close_services(&daemon);
    unlink(PID_FILE);
    return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}
