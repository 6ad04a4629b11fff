/* SPDX-License-Identifier: MIT */
/*
 * One guest as the console daemon serves it: ring page, event channel, log file, pseudo terminal,
 * and a socket for any number of readers.
 *
 * Output goes to the log, to the readers, which is what `vane console` is, and to the terminal,
 * which is for stock tools; what nobody reads is kept up to a limit, then the oldest is dropped, so
 * an unattended guest never waits. A guest that floods its console is slowed down by unmasking its
 * event channel late, and its log is rotated by size. Used by main.c; single threaded.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <xenevtchn.h>
#include <xenforeignmemory.h>
#include <xengnttab.h>
#include <xenstore.h>

#include "dom0-tools/base/err.h"
#include "dom0-tools/console/readers.h"
#include "dom0-tools/console/ring.h"

#define GUEST_LOG_DIR "/var/log/paravane"
#define GUEST_SOCKET "/run/paravane/console.%u" /* the domain's number */
#define GUEST_BACKLOG_BYTES 65536u

/* The daemon's connections, shared by all guests. */
struct guest_services {
    struct xs_handle *xs;
    xenevtchn_handle *events;
    xengnttab_handle *grants;        /* NULL: not available */
    xenforeignmemory_handle *memory; /* NULL: not available */
};

struct guest {
    struct guest *next;
    const struct guest_services *services;
    uint32_t domid;
    char name[128];
    struct console_ring ring;
    bool by_grant; /* how ring.page was mapped */
    int port;      /* our end of the event channel, -1: none */
    bool masked;   /* the channel waits to be unmasked at unmask_ms */
    uint64_t unmask_ms;
    unsigned int burst; /* events since burst_ms */
    uint64_t burst_ms;
    struct readers *readers; /* those at the socket */
    int log;                 /* -1: none */
    uint64_t log_bytes;      /* size of the log file */
    int master;              /* pseudo terminal, -1: none */
    int slave;               /* kept open so that the terminal outlives its readers */
    char *backlog;           /* output the terminal has not taken, a ring of GUEST_BACKLOG_BYTES */
    size_t backlog_start;
    size_t backlog_bytes;
    bool dead;         /* the domain is gone; only the backlog is still handed out */
    uint64_t close_ms; /* when a dead guest's terminal is closed at the latest */
};

/* Starts to serve a domain. Errors: ENOENT while its nodes are incomplete; others in words. */
int guest_open(const struct guest_services *services, uint32_t domid, struct guest **out,
               struct err *err);

/* Takes output, gives what has waited; called on the guest's event and when the terminal moves. */
void guest_output(struct guest *guest, uint64_t now_ms);

/* Counts an event against the guest's budget; unmasks its channel now or later. */
void guest_event(struct guest *guest, uint64_t now_ms);

/* Moves what was typed into the ring, as far as it fits. */
void guest_input(struct guest *guest);

/* Serves those at the socket; due when readers_fd() is readable. */
void guest_readers(struct guest *guest);

/* The domain has died: takes the last output and lets go of its page and channel. */
void guest_died(struct guest *guest, uint64_t now_ms);

/* Whether a dead guest's terminal has handed everything out, or had its time. */
bool guest_finished(struct guest *guest, uint64_t now_ms);

/* Frees everything. */
void guest_close(struct guest *guest);
