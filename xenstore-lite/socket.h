// SPDX-License-Identifier: MIT
/*
 * The unix socket and its clients, which speak for the control domain.
 */
#pragma once

#include "xenstore-lite/conn.h"

/* Listens on a path; a socket left behind by a daemon that has died is replaced. Returns: fd, or a
 * negative errno (-EADDRINUSE when another daemon answers there). */
int socket_listen(const char *path);
/*
 * Accepts one client and adds it to the server; epoll_fd is told to report it by its connection.
 * Returns: 1, 0 when nobody waits, or a negative errno.
 */
int socket_accept(int listen_fd, int epoll_fd, struct server *s);
