/* SPDX-License-Identifier: MIT */
/*
 * vane-consoled: the console daemon.
 *
 * One process serves all guests from one loop (loop.h); the store tells of domains that come and
 * go. It can be stopped and started again at any
 * time; guests keep running and what they wrote meanwhile is in their rings.
 *
 * Usage: vane-consoled [--foreground]. Ends with SIGTERM or SIGINT.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "dom0-tools/console/domains.h"

#define USAGE "usage: vane-consoled [--foreground]\n"

#define IDLE_STEP_US 5000000u

/* A store that has gone is looked for this often. */
#define STORE_STEP_US 200000u

struct daemon {
    struct domains domains;
    struct loop loop;
    int lifeline; /* to the store, for nothing but its end, or -1 */
};

static volatile sig_atomic_t stop;

static void on_signal(int number)
{
    (void)number;
    stop = 1;
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
    if (daemon->loop.services.xs != NULL) {
        xs_close(daemon->loop.services.xs);
        daemon->loop.services.xs = NULL;
        domains_unwatched(&daemon->domains);
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
    xs = daemon->loop.services.xs = xs_open(0);
    if (xs != NULL && domains_watch(&daemon->domains)) {
        return true;
    }
    close_store(daemon);
    return false;
}

/* The store may be started anew at any time: it is then connected to again, and what happened to
 * domains meanwhile is found out. */
static void handle_store(struct daemon *daemon)
{
    bool fresh = daemon->loop.services.xs == NULL;
    char **event;

    if (fresh && !open_store(daemon)) {
        return;
    }
    while ((event = xs_check_watch(daemon->loop.services.xs)) != NULL) {
        domains_event(&daemon->domains, event[XS_WATCH_PATH], event[XS_WATCH_TOKEN]);
        free(event);
    }
    if (errno != EAGAIN) {
        close_store(daemon);
        return;
    }
    domains_look(&daemon->domains);
}

static void run(struct daemon *daemon)
{
    handle_store(daemon);
    while (!stop) {
        bool served = daemon->loop.services.xs != NULL;
        int found = loop_once(&daemon->loop, served ? xs_fileno(daemon->loop.services.xs) : -1,
                              daemon->lifeline, served ? IDLE_STEP_US : STORE_STEP_US);

        if (found < 0) {
            fprintf(stderr, "vane-consoled: cannot wait: %s\n", strerror(-found));
            break;
        }
        if ((found & LOOP_STORE_ENDED) != 0) {
            close_store(daemon);
        }
        if ((found & LOOP_STORE_SPEAKS) != 0 || daemon->loop.services.xs == NULL) {
            handle_store(daemon);
        }
        loop_reap(&daemon->loop);
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

    mkdir(GUEST_RUN_DIR, 0755);
    fd = open(GUEST_DAEMON_PID, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) != 0) {
        return -1;
    }
    snprintf(text, sizeof(text), "%ld\n", (long)getpid());
    return ftruncate(fd, 0) == 0 && write(fd, text, strlen(text)) > 0 ? fd : -1;
}

static bool open_services(struct daemon *daemon)
{
    struct guest_services *services = &daemon->loop.services;

    if (hv_open(&daemon->domains.hv) != 0) {
        fprintf(stderr, "vane-consoled: no hypervisor to talk to\n");
        return false;
    }
    prctl(PR_SET_TIMERSLACK, 1000ul); /* turns that come by the clock come on time */
    services->events = xenevtchn_open(NULL, 0);
    if (services->events != NULL) {
        fcntl(xenevtchn_fd(services->events), F_SETFL, O_NONBLOCK);
    }
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
    while (daemon->loop.guests != NULL) {
        loop_remove(&daemon->loop, daemon->loop.guests);
    }
    loop_close(&daemon->loop);
    if (daemon->loop.services.grants != NULL) {
        xengnttab_close(daemon->loop.services.grants);
    }
    if (daemon->loop.services.memory != NULL) {
        xenforeignmemory_close(daemon->loop.services.memory);
    }
    if (daemon->loop.services.events != NULL) {
        xenevtchn_close(daemon->loop.services.events);
    }
    close_store(daemon);
    hv_close(daemon->domains.hv);
}

int main(int argc, char **argv)
{
    struct sigaction action = {.sa_handler = on_signal};
    static struct daemon daemon = {
        .domains = {.loop = &daemon.loop},
        .loop.services = {.log_dir = GUEST_LOG_DIR, .run_dir = GUEST_RUN_DIR},
        .lifeline = -1,
    };
    bool foreground = argc == 2 && strcmp(argv[1], "--foreground") == 0;
    bool ok;

    if (argc == 2 && strcmp(argv[1], "--help") == 0) {
        printf(USAGE "Serves the guests' consoles until SIGTERM; --foreground: not as a background "
                     "process.\n");
        return EXIT_SUCCESS;
    }
    if (argc > 1 && !foreground) {
        fprintf(stderr, USAGE);
        return 2;
    }
    if (!foreground) {
        into_background(); /* before connections and locks, which do not survive a fork */
    }
    if (take_pid_file() < 0) {
        fprintf(stderr, "vane-consoled: another one is running, or %s cannot be written\n",
                GUEST_DAEMON_PID);
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
    unlink(GUEST_DAEMON_PID);
    return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}
