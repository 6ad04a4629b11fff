/* SPDX-License-Identifier: MIT */
/*
 * Starting and ending qemu-nbd; see nbd.h.
 *
 * The server is told to detach itself once the device works, so its exit status says whether it
 * does and its standard error why not. Two tools may choose the same free device: the one that is
 * too late tries the next.
 */
#include "dom0-tools/device/nbd.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/nbd.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#define SERVER "qemu-nbd"
#define DEVICES_MAX 256u

/* Through this the server hands its connection to the kernel; by itself it would use /var/lock. */
#define SOCKET "/run/paravane/nbd%u"

/* A disconnected device is free a moment later. */
#define FREE_TRIES_MAX 100u
#define FREE_STEP_MS 50

extern char **environ;

static bool is_free(unsigned int number)
{
    char path[64];

    snprintf(path, sizeof(path), "/sys/block/nbd%u", number);
    if (access(path, F_OK) != 0) {
        return false;
    }
    snprintf(path, sizeof(path), "/sys/block/nbd%u/pid", number);
    return access(path, F_OK) != 0;
}

/* Starts the server with its standard error in a pipe. Signals that the caller holds back must
 * reach it all the same. */
static int spawn_server(char *const arguments[], int output, pid_t *child)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none;
    int rc;

    sigemptyset(&none);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETPGROUP);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setpgroup(&attributes, 0);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, output, STDERR_FILENO);
    rc = posix_spawnp(child, SERVER, &actions, &attributes, arguments, environ);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    return -rc;
}

/* Runs the server until it has detached itself. Returns: its exit status, 0 for success, with the
 * first line it said; or a negative errno. */
static int run_server(char *const arguments[], char *said, size_t said_bytes)
{
    size_t used = 0;
    int pipes[2];
    pid_t child;
    ssize_t got;
    int status;
    int rc;

    if (pipe2(pipes, O_CLOEXEC) != 0) {
        return -errno;
    }
    rc = spawn_server(arguments, pipes[1], &child);
    close(pipes[1]);
    while (rc == 0 && used + 1 < said_bytes &&
           (got = read(pipes[0], said + used, said_bytes - used - 1)) > 0) {
        used += (size_t)got;
    }
    close(pipes[0]);
    said[used] = '\0';
    said[strcspn(said, "\n")] = '\0';
    if (rc != 0) {
        return rc;
    }
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : -EIO;
}

static int attach_to(unsigned int number, const char *path, bool readonly, struct err *err)
{
    char connect[48];
    char listen[64];
    char image[4096];
    char said[512] = "";
    char read_only[] = "--read-only";
    char *arguments[] = {
        (char[]){SERVER},
        (char[]){"--fork"},
        connect,
        listen,
        (char[]){"--format=qcow2"},
        image,
        readonly ? read_only : NULL,
        NULL,
    };
    int rc;

    snprintf(connect, sizeof(connect), "--connect=/dev/nbd%u", number);
    snprintf(listen, sizeof(listen), "--socket=" SOCKET, number);
    if (snprintf(image, sizeof(image), "%s", path) >= (int)sizeof(image)) {
        return err_set(err, ENAMETOOLONG, "%s: too long a name", path);
    }
    rc = run_server(arguments, said, sizeof(said));
    if (rc == -ENOENT) {
        return err_set(err, ENOENT,
                       "a qcow2 image needs %s, which is not installed: apt install qemu-utils",
                       SERVER);
    }
    if (rc < 0) {
        return err_set_errno(err, -rc, "%s", SERVER);
    }
    return rc == 0 ? 0
                   : err_set(err, strstr(said, "lock") != NULL ? EBUSY : EIO, "%s",
                             said[0] != '\0' ? said : SERVER " cannot serve it");
}

int nbd_attach(const char *path, bool readonly, dev_t *device, struct err *err)
{
    int rc = err_set(err, EBUSY, "all network block devices are in use");

    if (access("/sys/block/nbd0", F_OK) != 0) {
        return err_set(err, ENODEV,
                       "a qcow2 image needs the kernel's nbd driver: load the module nbd");
    }
    for (unsigned int number = 0; number < DEVICES_MAX; number++) {
        char name[32];
        struct stat status;

        if (!is_free(number)) {
            continue;
        }
        rc = attach_to(number, path, readonly, err);
        if (rc != 0 && !is_free(number)) {
            continue; /* another tool was faster */
        }
        snprintf(name, sizeof(name), "/dev/nbd%u", number);
        if (rc == 0 && stat(name, &status) != 0) {
            rc = err_set_errno(err, errno, "%s", name);
            nbd_detach(number);
        }
        if (rc == 0) {
            *device = status.st_rdev;
        }
        return rc;
    }
    return rc;
}

void nbd_detach(unsigned int number)
{
    char name[32];
    int fd;

    snprintf(name, sizeof(name), "/dev/nbd%u", number);
    fd = open(name, O_RDWR | O_CLOEXEC);
    if (fd < 0) {
        return;
    }
    ioctl(fd, NBD_CLEAR_QUE);
    ioctl(fd, NBD_DISCONNECT);
    ioctl(fd, NBD_CLEAR_SOCK);
    close(fd);
    for (unsigned int i = 0; i < FREE_TRIES_MAX && !is_free(number); i++) {
        poll(NULL, 0, FREE_STEP_MS);
    }
    snprintf(name, sizeof(name), SOCKET, number);
    unlink(name);
}

void nbd_mark(struct node *back)
{
    node_put(back, "served", "nbd");
}

void nbd_release(const struct node *back)
{
    unsigned int major;
    unsigned int minor;
    char text[64];

    if (node_read(back, "served", text, sizeof(text)) == 0 && strcmp(text, "nbd") == 0 &&
        node_read(back, "physical-device", text, sizeof(text)) == 0 &&
        sscanf(text, "%x:%x", &major, &minor) == 2 && major == NBD_DEVICE_MAJOR) {
        nbd_detach(minor);
    }
}
