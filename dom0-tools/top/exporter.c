/* SPDX-License-Identifier: MIT */
/*
 * The exporter's HTTP side; see exporter.h.
 *
 * Every connection is one request and one answer. Sockets never block: a connection is read until
 * its header ends, then written, then closed, each as poll() allows; one that takes longer than
 * CLIENT_MS, or sends more than a header may have, is closed.
 */
#include "dom0-tools/top/exporter.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define CLIENTS 16
#define REQUEST_BYTES 4096
#define CLIENT_MS 5000u

/* A connection; fd -1: free. */
struct client {
    int fd;
    uint64_t until_ms;
    char request[REQUEST_BYTES + 1];
    size_t got;
    char *answer; /* NULL while the request is read */
    size_t answer_bytes;
    size_t sent;
};

struct server {
    struct client clients[CLIENTS];
    struct top_state state;
    unsigned long answered;
};

static uint64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

int exporter_listen(uint16_t port, uint16_t *got, struct err *err)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_port = htons(port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    socklen_t bytes = sizeof(address);
    int one = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0) {
        return err_set_errno(err, errno, "cannot make a socket");
    }
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) != 0 ||
        bind(fd, (struct sockaddr *)&address, bytes) != 0 || listen(fd, CLIENTS) != 0 ||
        getsockname(fd, (struct sockaddr *)&address, &bytes) != 0) {
        int rc = err_set_errno(err, errno == EADDRINUSE ? EBUSY : errno,
                               "cannot listen on 127.0.0.1:%u", port);

        close(fd);
        return rc;
    }
    *got = ntohs(address.sin_port);
    return fd;
}

/* --- one connection ---------------------------------------------------------------------- */

static void drop(struct client *client)
{
    close(client->fd);
    free(client->answer);
    *client = (struct client){.fd = -1};
}

/* The status line's end for a complete request, and whether metrics follow. */
static const char *judge(const char *request, bool *metrics)
{
    const char *path = strncmp(request, "GET ", 4) == 0 ? request + 4 : NULL;
    size_t bytes = path != NULL ? strcspn(path, " ?\r\n") : 0;

    *metrics = false;
    if (path == NULL) {
        return "405 Method Not Allowed";
    }
    if (strstr(path, " HTTP/1.") == NULL) {
        return "400 Bad Request";
    }
    if (bytes != strlen("/metrics") || strncmp(path, "/metrics", bytes) != 0) {
        return "404 Not Found";
    }
    *metrics = true;
    return "200 OK";
}

/* Makes the whole answer. Returns: false without memory. */
static bool make_answer(const struct server *server, struct client *client)
{
    char *body = NULL;
    size_t body_bytes = 0;
    bool metrics;
    const char *status = judge(client->request, &metrics);
    FILE *to = open_memstream(&body, &body_bytes);

    if (to == NULL) {
        return false;
    }
    if (metrics) {
        exporter_write(to, &server->state.last, &server->state.report);
    } else {
        fprintf(to, "%s; metrics are at /metrics\n", status);
    }
    if (fclose(to) != 0) {
        free(body);
        return false;
    }

    int bytes =
        asprintf(&client->answer,
                 "HTTP/1.1 %s\r\nContent-Type: %s; charset=utf-8\r\nContent-Length: %zu\r\n"
                 "Connection: close\r\n\r\n%s",
                 status, metrics ? "application/openmetrics-text; version=1.0.0" : "text/plain",
                 body_bytes, body);

    free(body);
    if (bytes < 0) {
        client->answer = NULL;
        return false;
    }
    client->answer_bytes = (size_t)bytes;
    return true;
}

static void read_request(const struct server *server, struct client *client)
{
    ssize_t got = recv(client->fd, client->request + client->got, REQUEST_BYTES - client->got, 0);

    if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    if (got <= 0) {
        drop(client);
        return;
    }
    client->got += (size_t)got;
    client->request[client->got] = '\0';
    if (strstr(client->request, "\r\n\r\n") != NULL) {
        if (!make_answer(server, client)) {
            drop(client);
        }
    } else if (client->got == REQUEST_BYTES || strlen(client->request) != client->got) {
        drop(client);
    }
}

static void write_answer(struct server *server, struct client *client)
{
    ssize_t done = send(client->fd, client->answer + client->sent,
                        client->answer_bytes - client->sent, MSG_NOSIGNAL);

    if (done < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    client->sent += done > 0 ? (size_t)done : 0;
    if (done < 0 || client->sent == client->answer_bytes) {
        server->answered += done >= 0;
        /* What the client has not read yet must not be taken back by a reset. */
        shutdown(client->fd, SHUT_WR);
        drop(client);
    }
}

/* --- all of them ------------------------------------------------------------------------- */

static void take_client(struct server *server, int listener)
{
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

    for (size_t i = 0; fd >= 0 && i < CLIENTS; i++) {
        if (server->clients[i].fd < 0) {
            server->clients[i] = (struct client){.fd = fd, .until_ms = now_ms() + CLIENT_MS};
            return;
        }
    }
    if (fd >= 0) {
        close(fd);
    }
}

/* Serves whoever is ready until a moment, or until enough requests are answered. */
static void serve_until(struct server *server, int listener, uint64_t due_ms, unsigned long count)
{
    uint64_t now;

    while ((now = now_ms()) < due_ms && (count == 0 || server->answered < count)) {
        struct pollfd fds[CLIENTS + 1] = {{.fd = listener, .events = POLLIN}};
        uint64_t wake = due_ms;

        for (size_t i = 0; i < CLIENTS; i++) {
            struct client *client = &server->clients[i];

            if (client->fd >= 0 && client->until_ms <= now) {
                drop(client);
            }
            wake = client->fd >= 0 && client->until_ms < wake ? client->until_ms : wake;
            fds[i + 1].fd = client->fd;
            fds[i + 1].events = client->answer != NULL ? POLLOUT : POLLIN;
        }
        if (poll(fds, CLIENTS + 1, (int)(wake - now)) <= 0) {
            continue;
        }
        for (size_t i = 0; i < CLIENTS; i++) {
            struct client *client = &server->clients[i];

            if (fds[i + 1].revents == 0) {
                continue;
            }
            if (client->answer == NULL) {
                read_request(server, client);
            } else {
                write_answer(server, client);
            }
        }
        if (fds[0].revents != 0) {
            take_client(server, listener);
        }
    }
}

int exporter_serve(int listener, const struct top_source *source,
                   const struct top_settings *settings, struct err *err)
{
    struct server *server = calloc(1, sizeof(*server));
    struct top_settings soon = *settings;
    int rc = 0;

    if (server == NULL) {
        return err_set(err, ENOMEM, "no memory");
    }
    for (size_t i = 0; i < CLIENTS; i++) {
        server->clients[i].fd = -1;
    }
    /* The first figures come at once, those after them over the whole period. */
    soon.delay_ms = soon.delay_ms < 500 ? soon.delay_ms : 500;
    while (rc == 0 && (settings->count == 0 || server->answered < settings->count)) {
        rc = top_next(&server->state, source, &soon, err);
        if (rc == 0) {
            serve_until(server, listener, now_ms() + settings->delay_ms, settings->count);
        }
    }
    for (size_t i = 0; i < CLIENTS; i++) {
        if (server->clients[i].fd >= 0) {
            drop(&server->clients[i]);
        }
    }
    top_end(&server->state);
    free(server);
    return rc;
}
