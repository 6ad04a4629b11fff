/* SPDX-License-Identifier: MIT */
/*
 * The console daemon's loop; see loop.h.
 *
 * A round takes at most one turn of each guest, so a guest waits for all others' turns at most,
 * however much one of them writes.
 */
#include "dom0-tools/console/loop.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

/* While the last words of a dead guest wait for their reader, it is looked at this often. */
#define BUSY_STEP_US 50000u

/* Descriptors before the guests'. */
#define FIXED_FDS 3

#define EVENTS_AT_ONCE 64

uint64_t loop_now_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

/* Returns: how many descriptors there are, 0 without memory for them. */
static size_t make_room(struct loop *loop)
{
    size_t count = FIXED_FDS;
    struct pollfd *fds;

    for (const struct guest *guest = loop->guests; guest != NULL; guest = guest->next) {
        count += 2;
    }
    if (count <= loop->fd_room) {
        return count;
    }
    fds = realloc(loop->fds, count * 2 * sizeof(*fds));
    if (fds == NULL) {
        return 0;
    }
    loop->fds = fds;
    loop->fd_room = count * 2;
    return count;
}

/* How long until a guest is to be looked at, `sleep_us` at most. */
static uint64_t sleep_of(const struct guest *guest, uint64_t now, uint64_t sleep_us)
{
    uint64_t until = sleep_us;

    if (guest->dead) {
        until = BUSY_STEP_US;
    } else if (guest->active) {
        until = guest->look_us > now ? guest->look_us - now : 0;
    }
    return until < sleep_us ? until : sleep_us;
}

/* Fills the guests' part of the poll list. Returns: how long to sleep. */
static uint64_t list_guests(struct loop *loop, uint64_t sleep_us)
{
    struct pollfd *fd = loop->fds + FIXED_FDS;
    uint64_t now = loop_now_us();

    for (const struct guest *guest = loop->guests; guest != NULL; guest = guest->next) {
        bool input = !guest->dead && console_ring_writable(&guest->ring);

        *fd++ = (struct pollfd){
            .fd = guest->master,
            .events = (short)((input ? POLLIN : 0) | (guest->backlog_bytes != 0 ? POLLOUT : 0)),
        };
        *fd++ = (struct pollfd){.fd = readers_fd(guest->readers), .events = POLLIN};
        sleep_us = sleep_of(guest, now, sleep_us);
    }
    return sleep_us;
}

static void serve_terminals(struct loop *loop)
{
    const struct pollfd *fd = loop->fds + FIXED_FDS;

    for (struct guest *guest = loop->guests; guest != NULL; guest = guest->next, fd += 2) {
        if ((fd[0].revents & POLLIN) != 0) {
            guest_input(guest);
        }
        if (fd[1].revents != 0) {
            guest_readers(guest);
        }
        if ((fd[0].revents & POLLOUT) != 0) {
            guest_flush(guest);
        }
    }
}

static void take_events(struct loop *loop)
{
    uint64_t now = loop_now_us();

    for (int i = 0; i < EVENTS_AT_ONCE; i++) {
        int port = xenevtchn_pending(loop->services.events);
        struct guest *guest = loop->guests;

        if (port < 0) {
            return;
        }
        while (guest != NULL && guest->port != port) {
            guest = guest->next;
        }
        if (guest != NULL) {
            guest_event(guest, now);
        }
    }
}

static void take_turns(struct loop *loop)
{
    uint64_t now = loop_now_us();

    for (struct guest *guest = loop->guests; guest != NULL; guest = guest->next) {
        if (guest->active && guest->look_us <= now) {
            guest_turn(guest, now);
        }
    }
}

int loop_once(struct loop *loop, int store, int lifeline, uint64_t sleep_us)
{
    struct timespec sleep;
    size_t count = make_room(loop);
    int found = 0;

    if (count == 0) {
        return -ENOMEM;
    }
    loop->fds[0] = (struct pollfd){.fd = store, .events = POLLIN};
    loop->fds[1] = (struct pollfd){.fd = xenevtchn_fd(loop->services.events), .events = POLLIN};
    loop->fds[2] = (struct pollfd){.fd = lifeline, .events = POLLIN};
    sleep_us = list_guests(loop, sleep_us);
    sleep = (struct timespec){.tv_sec = (time_t)(sleep_us / 1000000),
                              .tv_nsec = (long)(sleep_us % 1000000) * 1000};
    if (ppoll(loop->fds, count, &sleep, NULL) > 0) {
        serve_terminals(loop);
        if ((loop->fds[1].revents & POLLIN) != 0) {
            take_events(loop);
        }
        found |= loop->fds[0].revents != 0 ? LOOP_STORE_SPEAKS : 0;
        found |= loop->fds[2].revents != 0 ? LOOP_STORE_ENDED : 0;
    }
    take_turns(loop);
    return found;
}
