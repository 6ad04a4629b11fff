/* SPDX-License-Identifier: MIT */
/*
 * The console daemon's loop: waits for terminals, readers, event channels and the clock, and gives
 * every guest that has something to say its turn, one after the other.
 *
 * A round costs nothing for guests that are silent: only those are looked at that are active, have
 * died, or were heard of. Guests come and go between rounds only. Used by domains.c and main.c, and
 * by tests with event channels of their own; single threaded.
 */
#pragma once

#include "dom0-tools/console/guest.h"

#define LOOP_PORTS 1024u

struct loop {
    struct guest_services services;
    struct guest *guests;                         /* all */
    struct guest *busy;                           /* of them to be looked at in the next round */
    struct guest *by_domid[DOMID_FIRST_RESERVED]; /* those that live */
    struct guest *by_port[LOOP_PORTS];            /* the same, by the port's remainder */
    int terminals; /* epoll of the guests' terminals and readers; 0: not made yet */
};

/* What the caller has to see to. */
#define LOOP_STORE_SPEAKS 1
#define LOOP_STORE_ENDED 2

uint64_t loop_now_us(void);

/* Waits for at most `sleep_us`, less if a guest's turn comes, and does what there is to do. `store`
 * and `lifeline`, which may be -1, are only waited for.
 * Returns: LOOP_ bits, or a negative errno. */
int loop_once(struct loop *loop, int store, int lifeline, uint64_t sleep_us);

/* Serves a guest from now on. Requires: none of its number is served. */
void loop_add(struct loop *loop, struct guest *guest);

/* The living guest of that number, or NULL. */
struct guest *loop_find(const struct loop *loop, uint32_t domid);

/* The domain of a guest has died: guest_died(). */
void loop_died(struct loop *loop, struct guest *guest);

/* Closes a guest. */
void loop_remove(struct loop *loop, struct guest *guest);

/* Closes dead guests whose last words have been read. */
void loop_reap(struct loop *loop);

/* After the last round. Requires: no guests. */
void loop_close(struct loop *loop);
