// SPDX-License-Identifier: MIT
/*
 * Help for the store's unit tests: a client whose transport is memory, and a runner.
 */
#pragma once

#include <CUnit/Basic.h>
#include <CUnit/CUnit.h>

#include "xenstore-lite/server.h"

/* A client: what it sends and what the server has sent it. */
struct fake {
    struct conn *conn;
    struct buf to_server;   /* not yet read by the server */
    size_t taken;           /* bytes of it the server has read */
    struct buf from_server; /* written by the server */
    size_t seen;            /* bytes of it the test has looked at */
    size_t room;            /* bytes the server may still write; SIZE_MAX: any */
    size_t step;            /* most bytes moved in one read; 0: any */
    unsigned int writes;    /* of the server that moved bytes */
    int failed;             /* reason given to fail(), or 0 */
    bool closed;            /* the server has let go */
};

/* A message the server has sent. */
struct fake_msg {
    struct xsd_sockmsg hdr;
    char body[XENSTORE_PAYLOAD_MAX + 1];
};

/* Connects a client of a domain; domain 0 comes by socket, others are introduced. */
void fake_connect(struct fake *f, struct server *s, uint16_t domid);
/* Frees the client's buffers. Requires: the server has let go or is destroyed. */
void fake_free(struct fake *f);
/* Puts raw bytes on the way to the server. */
void fake_raw(struct fake *f, const void *data, size_t len);
/* Puts a request on the way. */
void fake_send(struct fake *f, uint32_t type, uint32_t tx, const void *data, size_t len);
/* Takes the next message from the server. Returns: false when there is none. */
bool fake_next(struct fake *f, struct fake_msg *m);

/*
 * Sends a request and runs the server. `text` is the payload; '|' in it stands for a NUL.
 * Returns: the errno's name for an error, else the payload with '|' for each NUL.
 */
const char *fake_ask(struct fake *f, uint32_t type, uint32_t tx, const char *text);
/* The next event as "path|token", or "" when there is none. */
const char *fake_event(struct fake *f);
/* Runs the server until it has nothing to do. */
void fake_run(struct server *s);
/* What `xenstore-control check` says. */
const char *fake_check(struct fake *control);

/* Runs all suites registered. Returns: the exit status for main(). */
int fake_main(const char *name, void (*add_suites)(void));
