/* SPDX-License-Identifier: MIT */
/*
 * `vane console`: the caller's terminal, or pipe, connected to a guest's console.
 *
 * The console daemon listens at a socket per guest, so any number may read along; that of another
 * system has but a pseudo terminal, whose path is in the store, as ours is too. Bytes go both ways
 * unchanged; a terminal is put into raw mode so that every key but Ctrl-] reaches the
 * guest. The daemon closes its end when the guest is gone, which ends the connection here.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <termios.h>
#include <unistd.h>

#include "dom0-tools/console/guest.h"
#include "dom0-tools/device/node.h"
#include "dom0-tools/vane/life.h"

#define ESCAPE_BYTE 0x1d /* Ctrl-] */
#define TTY_TIMEOUT_MS 30000u
#define COPY_BYTES 4096

#define SERVED_TIMEOUT_US 5000000u
#define SERVED_STEP_US 500u

static bool daemon_runs(void)
{
    FILE *file = fopen(GUEST_DAEMON_PID, "re");
    long pid = 0;

    if (file != NULL) {
        (void)!fscanf(file, "%ld", &pid);
        fclose(file);
    }
    return pid > 0 && kill((pid_t)pid, 0) == 0;
}

void life_console_await(uint32_t domid)
{
    char path[64];

    /* The socket is made after the log has been opened and the event channel bound. */
    snprintf(path, sizeof(path), GUEST_RUN_DIR "/" GUEST_SOCKET, domid);
    for (unsigned int waited = 0; access(path, F_OK) != 0; waited += SERVED_STEP_US) {
        if (waited >= SERVED_TIMEOUT_US || !daemon_runs()) {
            return;
        }
        usleep(SERVED_STEP_US);
    }
}

/* A guest whose pseudo terminal is awaited. */
struct tty_wait {
    struct life *life;
    uint32_t domid;
    struct node console;
    char path[128];
};

static bool tty_known(void *context)
{
    struct tty_wait *wait = context;
    struct xen_domctl_getdomaininfo info;

    return (node_read(&wait->console, "tty", wait->path, sizeof(wait->path)) == 0 &&
            wait->path[0] != '\0') ||
           hv_domain_info(wait->life->hv, wait->domid, &info) == -ESRCH;
}

/* Returns: a connection to our daemon, or -1. */
static int dial(uint32_t domid)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    snprintf(address.sun_path, sizeof(address.sun_path), GUEST_RUN_DIR "/" GUEST_SOCKET, domid);
    if (fd >= 0 && connect(fd, (const struct sockaddr *)&address, sizeof(address)) != 0) {
        close(fd);
        fd = -1;
    }
    return fd;
}

static int open_tty(struct life *life, uint32_t domid, struct err *err)
{
    struct tty_wait wait = {
        .life = life,
        .domid = domid,
        .console = node_at(life->xs, XBT_NULL, "/local/domain/%u/console", domid),
    };
    int fd;

    if (node_wait(life->xs, wait.console.path, tty_known, &wait, TTY_TIMEOUT_MS) != 0) {
        return err_set(err, ETIMEDOUT,
                       "the console daemon does not serve domain %u: is "
                       "vane-consoled running?",
                       domid);
    }
    if (wait.path[0] == '\0') {
        return err_set(err, ESRCH, "domain %u is gone", domid);
    }
    fd = dial(domid);
    if (fd >= 0) {
        return fd;
    }
    fd = open(wait.path, O_RDWR | O_NOCTTY | O_CLOEXEC);
    return fd < 0 ? err_set_errno(err, errno, "cannot open %s", wait.path) : fd;
}

/* Writes everything, however long it takes. Returns: false when the other side is gone. */
static bool write_all(int fd, const char *data, size_t bytes)
{
    while (bytes != 0) {
        ssize_t done = write(fd, data, bytes);

        if (done < 0 && errno == EINTR) {
            continue;
        }
        if (done <= 0) {
            return false;
        }
        data += done;
        bytes -= (size_t)done;
    }
    return true;
}

/* Moves what is there from one side to the other.
 * Returns: bytes moved, 0 at the end of input, -1 when it is over (escape or error). */
static ssize_t move(int from, int to, bool escape)
{
    char data[COPY_BYTES];
    ssize_t got = read(from, data, sizeof(data));
    const char *leave;

    if (got < 0 && (errno == EINTR || errno == EAGAIN)) {
        return 1;
    }
    if (got <= 0) {
        return got;
    }
    leave = escape ? memchr(data, ESCAPE_BYTE, (size_t)got) : NULL;
    if (leave != NULL) {
        write_all(to, data, (size_t)(leave - data));
        return -1;
    }
    return write_all(to, data, (size_t)got) ? got : -1;
}

static void copy(int tty)
{
    struct pollfd fds[2] = {
        {.fd = tty, .events = POLLIN},
        {.fd = STDIN_FILENO, .events = POLLIN},
    };

    for (;;) {
        if (poll(fds, 2, -1) < 0) {
            if (errno == EINTR) {
                continue;
            }
            return;
        }
        /* The end of input is not the end of output: a script's guest may still be talking. */
        if (fds[1].revents != 0) {
            ssize_t moved = move(STDIN_FILENO, tty, true);

            if (moved < 0) {
                return;
            }
            if (moved == 0) {
                fds[1].fd = -1;
            }
        }
        if (fds[0].revents != 0 && move(tty, STDOUT_FILENO, false) <= 0) {
            return;
        }
    }
}

int life_console(struct life *life, uint32_t domid, struct err *err)
{
    bool terminal = isatty(STDIN_FILENO) == 1;
    struct termios before;
    struct termios raw;
    int tty = open_tty(life, domid, err);

    if (tty < 0) {
        return tty;
    }
    if (terminal && tcgetattr(STDIN_FILENO, &before) == 0) {
        raw = before;
        cfmakeraw(&raw);
        tcsetattr(STDIN_FILENO, TCSANOW, &raw);
    } else {
        terminal = false;
    }
    signal(SIGPIPE, SIG_IGN); /* the daemon's end is noticed, not died of */
    copy(tty);
    if (terminal) {
        tcsetattr(STDIN_FILENO, TCSANOW, &before);
    }
    close(tty);
    return 0;
}
