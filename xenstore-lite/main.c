// SPDX-License-Identifier: MIT
/*
 * The daemon: options, and the loop that waits for sockets, event channels and signals.
 */
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "xenstore-lite/journal_file.h"
#include "xenstore-lite/server.h"
#include "xenstore-lite/socket.h"
#include "xenstore-lite/xen_io.h"

#define DEFAULT_SOCKET "/run/xenstored/socket"
#define DEFAULT_STATE "/run/xenstored/state"
#define VERSION "xenstored-lite 0.1 (Paravane)"
#define EVENTS_AT_ONCE 64
#define EXIT_USAGE 2

/* What the command line says. */
struct options {
    const char *socket;
    const char *pid_file; /* NULL: none */
    const char *state;    /* folder, or NULL: nothing is kept */
    bool no_state;
    bool no_xen;
    bool background;
    bool log;
};

struct daemon {
    struct server server;
    struct xen_io *xen;           /* NULL with --no-xen */
    struct journal_file *journal; /* NULL: nothing is kept */
    int epoll_fd;
    int listen_fd;
    int signal_fd;
    bool stop;
};

static void usage(void)
{
    fputs("usage: xenstored [options]\n"
          "The store of a Paravane or Xen control domain.\n\n"
          "  -s, --socket PATH    listen there (else $XENSTORED_PATH, else " DEFAULT_SOCKET ")\n"
          "  -p, --pid-file PATH  write the process number to a file\n"
          "  -S, --state DIR      keep there what a restart goes on with (with the default\n"
          "                       socket " DEFAULT_STATE ", else nothing is kept)\n"
          "      --no-state       keep nothing\n"
          "  -d, --daemon         go to the background once clients can connect\n"
          "  -N, --no-fork        stay in the foreground (the default)\n"
          "  -L, --log            one line a request on stderr\n"
          "      --no-xen         no hypervisor: serve the socket only\n"
          "  -h, --help           this text\n"
          "  -V, --version        the version\n\n"
          "Exits with 0 when it is told to end, 1 when it failed, 2 for wrong arguments.\n",
          stdout);
}

/* Returns: -1 to go on, or the exit status. */
static int parse_options(int argc, char **argv, struct options *o)
{
    static const struct option longs[] = {
        {"socket", required_argument, NULL, 's'},
        {"pid-file", required_argument, NULL, 'p'},
        {"state", required_argument, NULL, 'S'},
        {"no-state", no_argument, NULL, 'Z'},
        {"daemon", no_argument, NULL, 'd'},
        {"no-fork", no_argument, NULL, 'N'},
        {"log", no_argument, NULL, 'L'},
        {"no-xen", no_argument, NULL, 'X'},
        {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, 'V'},
        {NULL, 0, NULL, 0},
    };
    int c;

    *o = (struct options){.socket = getenv("XENSTORED_PATH")};
    while ((c = getopt_long(argc, argv, "s:p:S:dNLhV", longs, NULL)) != -1) {
        switch (c) {
        case 's':
            o->socket = optarg;
            break;
        case 'p':
            o->pid_file = optarg;
            break;
        case 'S':
            o->state = optarg;
            break;
        case 'Z':
            o->no_state = true;
            break;
        case 'd':
            o->background = true;
            break;
        case 'N':
            o->background = false;
            break;
        case 'L':
            o->log = true;
            break;
        case 'X':
            o->no_xen = true;
            break;
        case 'h':
            usage();
            return EXIT_SUCCESS;
        case 'V':
            puts(VERSION);
            return EXIT_SUCCESS;
        default: /* what is wrong with it has been said */
            fputs("xenstored: --help names the options\n", stderr);
            return EXIT_USAGE;
        }
    }
    if (optind < argc) {
        fprintf(stderr, "xenstored: unexpected argument \"%s\"\n", argv[optind]);
        return EXIT_USAGE;
    }
    if (!o->socket || !*o->socket) {
        o->socket = DEFAULT_SOCKET;
    }
    if (o->no_state) {
        o->state = NULL;
    } else if (!o->state && strcmp(o->socket, DEFAULT_SOCKET) == 0) {
        o->state = DEFAULT_STATE;
    }
    return -1;
}

/* The file appears whole: who waits for it may read it at once. */
static int write_pid(const char *path)
{
    char temp[PATH_MAX];
    int length = snprintf(temp, sizeof(temp), "%s.new", path);
    errno = ENAMETOOLONG;
    FILE *f = length < (int)sizeof(temp) ? fopen(temp, "w") : NULL;

    if (!f || fprintf(f, "%d\n", getpid()) < 0 || fclose(f) != 0 || rename(temp, path) < 0) {
        fprintf(stderr, "xenstored: %s: %s\n", path, strerror(errno));
        return -errno;
    }
    return 0;
}

static int watch_fd(struct daemon *d, int fd, void *tag)
{
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = tag};

    return epoll_ctl(d->epoll_fd, EPOLL_CTL_ADD, fd, &ev) < 0 ? -errno : 0;
}

/* SIGINT and SIGTERM end the loop; a client that goes away is no reason for a signal. */
static int open_signals(void)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    return signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
}

/* A thousand clients and as many rings need more files than a shell's default. */
static void raise_file_limit(void)
{
    struct rlimit lim;

    if (getrlimit(RLIMIT_NOFILE, &lim) == 0) {
        lim.rlim_cur = lim.rlim_max;
        setrlimit(RLIMIT_NOFILE, &lim);
    }
}

static int daemon_open(struct daemon *d, const struct options *o)
{
    int rc;

    raise_file_limit();
    server_init(&d->server, NULL);
    d->server.log_requests = o->log;
    d->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    d->signal_fd = open_signals();
    if (d->epoll_fd < 0 || d->signal_fd < 0) {
        fprintf(stderr, "xenstored: %s\n", strerror(errno));
        return -errno;
    }
    d->listen_fd = socket_listen(o->socket);
    if (d->listen_fd < 0) {
        fprintf(stderr, "xenstored: %s: %s\n", o->socket, strerror(-d->listen_fd));
        return d->listen_fd;
    }
    rc = o->state ? journal_open(o->state, &d->server, &d->journal) : 0;
    if (rc < 0) {
        return rc;
    }
    if (!o->no_xen) {
        rc = xen_io_open(&d->server, &d->xen);
        if (rc < 0) {
            return rc;
        }
        d->server.platform = xen_io_platform(d->xen);
        server_reconnect(&d->server);
        xen_io_look(d->xen);
        rc = watch_fd(d, xen_io_fd(d->xen), d->xen);
        if (rc < 0) {
            return rc;
        }
    }
    rc = watch_fd(d, d->listen_fd, &d->listen_fd);
    return rc < 0 ? rc : watch_fd(d, d->signal_fd, &d->signal_fd);
}

static void handle_event(struct daemon *d, const struct epoll_event *ev)
{
    void *tag = ev->data.ptr;

    if (tag == &d->listen_fd) {
        int rc = socket_accept(d->listen_fd, d->epoll_fd, &d->server);

        if (rc < 0) {
            fprintf(stderr, "xenstored: cannot accept a client: %s\n", strerror(-rc));
        }
    } else if (tag == &d->signal_fd) {
        d->stop = true;
    } else if (d->xen && tag == d->xen) {
        xen_io_events(d->xen);
    } else {
        conn_wake(tag);
    }
}

static int daemon_loop(struct daemon *d)
{
    bool busy = false;

    while (!d->stop) {
        struct epoll_event ev[EVENTS_AT_ONCE];
        int wait = busy ? 0 : turn_timeout(&d->server);
        int n = epoll_wait(d->epoll_fd, ev, EVENTS_AT_ONCE, wait);

        if (n < 0 && errno != EINTR) {
            fprintf(stderr, "xenstored: epoll: %s\n", strerror(errno));
            return EXIT_FAILURE;
        }
        /* All events are taken before a connection can be freed: none names a freed one. */
        for (int i = 0; i < n; i++) {
            handle_event(d, &ev[i]);
        }
        busy = server_run(&d->server);
        if (d->journal) {
            journal_tend(d->journal);
        }
    }
    return EXIT_SUCCESS;
}

/*
 * The caller's process waits until the daemon is ready and then leaves with its status, so that
 * whatever is started next finds the store.
 * Returns: in the daemon the file to write the status byte to; never in the caller.
 */
static int go_background(void)
{
    int fds[2];
    char status = EXIT_FAILURE;
    pid_t pid;

    if (pipe2(fds, O_CLOEXEC) < 0 || (pid = fork()) < 0) {
        fprintf(stderr, "xenstored: %s\n", strerror(errno));
        exit(EXIT_FAILURE);
    }
    if (pid > 0) {
        close(fds[1]);
        if (read(fds[0], &status, 1) != 1) {
            status = EXIT_FAILURE;
        }
        _exit(status);
    }
    close(fds[0]);
    setsid();
    return fds[1];
}

static void detach_stdio(void)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);

    if (null >= 0) {
        dup2(null, STDIN_FILENO);
        dup2(null, STDOUT_FILENO);
    }
}

int main(int argc, char **argv)
{
    struct daemon d = {.listen_fd = -1};
    struct options o;
    int status = parse_options(argc, argv, &o);
    int ready_fd = -1;

    if (status >= 0) {
        return status;
    }
    if (o.background) {
        ready_fd = go_background();
    }
    status = daemon_open(&d, &o) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
    if (status == EXIT_SUCCESS && o.pid_file && write_pid(o.pid_file) < 0) {
        status = EXIT_FAILURE;
    }
    if (ready_fd >= 0) {
        char byte = (char)status;

        detach_stdio();
        if (write(ready_fd, &byte, 1) != 1) {
            status = EXIT_FAILURE;
        }
        close(ready_fd);
    }
    if (status == EXIT_SUCCESS) {
        status = daemon_loop(&d);
        unlink(o.socket);
        if (o.pid_file) {
            unlink(o.pid_file);
        }
    }
    if (d.journal) {
        journal_close(d.journal);
    }
    server_destroy(&d.server);
    if (d.xen) {
        xen_io_close(d.xen);
    }
    return status;
}
