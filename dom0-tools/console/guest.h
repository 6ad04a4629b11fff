/* SPDX-License-Identifier: MIT */
/*
 * One guest as the console daemon serves it: ring page, event channel, log file, pseudo terminal,
 * and a socket for any number of readers.
 *
 * Output goes to the log, which is rotated by size, to the readers, which is what `vane console`
 * is, and to the terminal, which is for stock tools. A reader that goes on reading gets all of it:
 * the guest waits for it, its ring full. Who has taken nothing for READERS_PATIENCE_US is not
 * waited for, nor is the terminal, since whether anybody is there it does not tell; what they have
 * not taken is kept up to a limit, then the oldest is dropped.
 *
 * A guest is active from its event on until its ring is found empty; meanwhile its channel is
 * masked and its turns come by the clock. It gets a fixed share of each window, so one that floods
 * its console neither keeps the daemon from others nor takes the processor. Used by loop.c; single
 * threaded; all times are microseconds of the monotonic clock.
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
#define GUEST_RUN_DIR "/run/paravane"
#define GUEST_SOCKET "console.%u" /* in GUEST_RUN_DIR, with the domain's number */
#define GUEST_DAEMON_PID GUEST_RUN_DIR "/consoled.pid"
#define GUEST_BACKLOG_BYTES 65536u

/* The daemon's connections, shared by all guests. */
struct guest_services {
    struct xs_handle *xs;
    xenevtchn_handle *events;
    xengnttab_handle *grants;        /* NULL: not available */
    xenforeignmemory_handle *memory; /* NULL: not available */
    const char *log_dir;             /* GUEST_LOG_DIR and GUEST_RUN_DIR, but for tests */
    const char *run_dir;
};

struct guest {
    struct guest *next, **link; /* in the loop's list */
    struct guest *next_of_port; /* in its table */
    struct guest *next_busy;    /* among those it looks at in each round, */
    bool busy;                  /* if it is */
    const struct guest_services *services;
    uint32_t domid;
    char name[128];
    struct console_ring ring;
    bool by_grant; /* how ring.page was mapped */
    int port;      /* our end of the event channel, -1: none */
    bool active;   /* the channel is masked, the next turn is due at look_us */
    uint64_t look_us;
    uint64_t step_us;        /* from look to look */
    uint64_t window_us;      /* start of the window the share is counted in */
    uint64_t window_spent;   /* processor time used in it, in microseconds */
    size_t window_bytes;     /* output taken in it */
    bool input_held;         /* something may be typed that the ring had no room for */
    struct readers *readers; /* those at the socket */
    int log;                 /* -1: none */
    uint64_t log_bytes;      /* size of the log file */
    int master;              /* pseudo terminal, -1: none */
    int slave;               /* kept open so that the terminal outlives its readers */
    bool watched;            /* the loop waits for master and readers, */
    uint32_t watched_for;    /* for these events of the master */
    char *backlog;           /* output the terminal has not taken, a ring of GUEST_BACKLOG_BYTES */
    size_t backlog_start;
    size_t backlog_bytes;
    bool dead;         /* the domain is gone; only the backlog is still handed out */
    uint64_t close_us; /* when a dead guest's terminal is closed at the latest */
};

/* Starts to serve a domain. Errors: ENOENT while its nodes are incomplete; others in words. */
int guest_open(const struct guest_services *services, uint32_t domid, struct guest **out,
               struct err *err);

/* Takes output; due for an active guest whose look_us has come. */
void guest_turn(struct guest *guest, uint64_t now);

/* Hands the terminal what it takes. */
void guest_flush(struct guest *guest);

/* Its channel has fired and is masked: its next turn is now. */
void guest_event(struct guest *guest, uint64_t now);

/* Moves what was typed into the ring, as far as it fits. */
void guest_input(struct guest *guest);

/* Serves those at the socket; due when readers_fd() is readable. */
void guest_readers(struct guest *guest);

/* The domain has died: takes the last output and lets go of its page and channel. */
void guest_died(struct guest *guest, uint64_t now);

/* Whether a dead guest's terminal has handed everything out, or had its time. */
bool guest_finished(struct guest *guest, uint64_t now);

/* Frees everything. */
void guest_close(struct guest *guest);
