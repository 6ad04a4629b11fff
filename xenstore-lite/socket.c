// SPDX-License-Identifier: MIT
/*
 * Clients on the unix socket. See socket.h.
 */
#include "xenstore-lite/socket.h"

#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "xenstore-lite/server.h"

/* What is read at once: small requests come many together. */
#define IN_BYTES 4096

/* One client. */
struct client {
    int fd;
    int epoll_fd; /* reports it */
    size_t in_at, in_end;
    char in[IN_BYTES]; /* received, not yet asked for from in_at to in_end */
};

static ssize_t receive(const struct client *cl, void *data, size_t len)
{
    ssize_t n;

    do {
        n = recv(cl->fd, data, len, 0);
    } while (n < 0 && errno == EINTR);
    if (n > 0) {
        return n;
    }
    if (n == 0) {
        return -EPIPE;
    }
    return errno == EAGAIN ? 0 : -errno;
}

static ssize_t client_read(void *io, void *data, size_t len)
{
    struct client *cl = io;

    if (cl->in_at == cl->in_end) {
        ssize_t n = receive(cl, cl->in, sizeof(cl->in));

        if (n <= 0) {
            return n;
        }
        cl->in_at = 0;
        cl->in_end = (size_t)n;
    }
    len = len < cl->in_end - cl->in_at ? len : cl->in_end - cl->in_at;
    memcpy(data, cl->in + cl->in_at, len);
    cl->in_at += len;
    return (ssize_t)len;
}

static ssize_t client_write(void *io, const void *data, size_t len)
{
    const struct client *cl = io;
    ssize_t n;

    do {
        n = send(cl->fd, data, len, MSG_NOSIGNAL);
    } while (n < 0 && errno == EINTR);
    if (n >= 0) {
        return n;
    }
    return errno == EAGAIN ? 0 : -errno;
}

static void client_close(void *io)
{
    struct client *cl = io;

    /* SAFETY: a child that writes a snapshot has the socket too, so closing it here would not end
     * its reports, which name a connection that is about to be freed. */
    epoll_ctl(cl->epoll_fd, EPOLL_CTL_DEL, cl->fd, NULL);
    close(cl->fd);
    free(cl);
}

/* Makes the directories above a file. */
static void make_parents(const char *path)
{
    char *dir = mem_strdup(path);

    for (char *at = dir + 1; (at = strchr(at, '/')) != NULL; at++) {
        *at = '\0';
        mkdir(dir, 0755);
        *at = '/';
    }
    free(dir);
}

/* Whether a daemon answers at an address. */
static bool is_alive(const struct sockaddr_un *addr)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool alive;

    if (fd < 0) {
        return false;
    }
    alive = connect(fd, (const struct sockaddr *)addr, sizeof(*addr)) == 0;
    close(fd);
    return alive;
}

int socket_listen(const char *path)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    mode_t mask;
    int fd, rc;

    if (strlen(path) >= sizeof(addr.sun_path)) {
        return -ENAMETOOLONG;
    }
    strcpy(addr.sun_path, path);
    make_parents(path);
    if (is_alive(&addr)) {
        return -EADDRINUSE;
    }
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -errno;
    }
    unlink(path);
    /* SAFETY: clients of this socket are as good as the control domain; it is for its owner only,
     * from the moment it exists. */
    mask = umask(0177);
    rc = bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 ? -errno : 0;
    umask(mask);
    if (rc == 0 && listen(fd, SOMAXCONN) < 0) {
        rc = -errno;
    }
    if (rc < 0) {
        close(fd);
        return rc;
    }
    return fd;
}

int socket_accept(int listen_fd, int epoll_fd, struct server *s)
{
    struct transport t = {.read = client_read, .write = client_write, .close = client_close};
    struct epoll_event ev = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET};
    struct client *cl;
    int fd = accept4(listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

    if (fd < 0) {
        return errno == EAGAIN || errno == EINTR || errno == ECONNABORTED ? 0 : -errno;
    }
    cl = mem_zalloc(sizeof(*cl));
    cl->fd = fd;
    cl->epoll_fd = epoll_fd;
    t.io = cl;
    ev.data.ptr = conn_new(s, 0, NULL, &t);
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &ev) < 0) {
        int rc = -errno;

        conn_free(ev.data.ptr);
        return rc;
    }
    return 1;
}
