/* SPDX-License-Identifier: MIT */
/*
 * The console daemon's loop: waits for terminals, readers, event channels and the clock, and gives
 * every guest that has something to say its turn, one after the other.
 *
 * Whoever owns the list of guests changes it between calls only. Used by main.c, and by tests with
 * event channels of their own; single threaded.
 */
#pragma once

#include "dom0-tools/console/guest.h"

struct loop {
    struct guest_services services;
    struct guest *guests;
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

/* After the last round. */
void loop_close(struct loop *loop);
