/* SPDX-License-Identifier: MIT */
/*
 * The console daemon's loop; see loop.h.
 *
 * A round takes at most one turn of each guest, so a guest waits for all others' turns at most,
 * however much one of them writes.
 */
#include "dom0-tools/console/loop.h"

#include <errno.h>
#include <poll.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

/* While the last words of a dead guest wait for their reader, it is looked at this often. */
#define BUSY_STEP_US 50000u

/* Low bit of an event's tag: the readers' descriptor, not the terminal. */
#define OF_READERS 1u

#define EVENTS_AT_ONCE 64

uint64_t loop_now_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
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

static int watch(const struct loop *loop, int operation, int fd, uint32_t events, uintptr_t tag)
{
    struct epoll_event event = {.events = events, .data.u64 = tag};

    return epoll_ctl(loop->terminals, operation, fd, &event) == 0 ? 0 : -errno;
}

/* What is waited for of a guest changes rarely. Closed descriptors are not waited for. */
static int watch_guest(const struct loop *loop, struct guest *guest)
{
    bool input = !guest->dead && console_ring_writable(&guest->ring);
    uint32_t events = (input ? EPOLLIN : 0u) | (guest->backlog_bytes != 0 ? EPOLLOUT : 0u);
    uintptr_t tag = (uintptr_t)guest;
    int rc = 0;

    if (!guest->watched) {
        rc = watch(loop, EPOLL_CTL_ADD, readers_fd(guest->readers), EPOLLIN, tag | OF_READERS);
        rc = rc != 0 ? rc : watch(loop, EPOLL_CTL_ADD, guest->master, events, tag);
        guest->watched = rc == 0;
    } else if (events != guest->watched_for) {
        rc = watch(loop, EPOLL_CTL_MOD, guest->master, events, tag);
    }
    guest->watched_for = events;
    return rc;
}

/* Has a guest looked at before the loop sleeps. */
static void touch(struct loop *loop, struct guest *guest)
{
    if (!guest->busy) {
        guest->busy = true;
        guest->next_busy = loop->busy;
        loop->busy = guest;
    }
}

/* Sees to it that all guests are waited for. Those that are silent and are waited for already stay
 * out of it until they are heard of. Returns: an error or 0; how long to sleep. */
static int watch_guests(struct loop *loop, uint64_t *sleep_us)
{
    uint64_t now = loop->busy != NULL ? loop_now_us() : 0;
    struct guest **link = &loop->busy;

    while (*link != NULL) {
        struct guest *guest = *link;
        int rc = watch_guest(loop, guest);

        if (rc != 0) {
            return rc;
        }
        *sleep_us = sleep_of(guest, now, *sleep_us);
        if (guest->active || guest->dead) {
            link = &guest->next_busy;
        } else {
            *link = guest->next_busy;
            guest->busy = false;
        }
    }
    return 0;
}

static void serve_terminals(struct loop *loop)
{
    struct epoll_event events[EVENTS_AT_ONCE];
    int count = epoll_wait(loop->terminals, events, EVENTS_AT_ONCE, 0);

    for (int i = 0; i < count; i++) {
        uintptr_t tag = (uintptr_t)events[i].data.u64;
        struct guest *guest = (struct guest *)(tag & ~(uintptr_t)OF_READERS);

        touch(loop, guest);
        if ((tag & OF_READERS) != 0) {
            guest_readers(guest);
            continue;
        }
        if ((events[i].events & EPOLLIN) != 0) {
            guest_input(guest);
        }
        if ((events[i].events & EPOLLOUT) != 0) {
            guest_flush(guest);
        }
    }
}

static struct guest **chain_of(struct loop *loop, int port)
{
    return &loop->by_port[(unsigned int)port % LOOP_PORTS];
}

static void take_events(struct loop *loop)
{
    uint64_t now = loop_now_us();

    for (int i = 0; i < EVENTS_AT_ONCE; i++) {
        int port = xenevtchn_pending(loop->services.events);
        struct guest *guest;

        if (port < 0) {
            return;
        }
        guest = *chain_of(loop, port);
        while (guest != NULL && guest->port != port) {
            guest = guest->next_of_port;
        }
        if (guest != NULL) {
            guest_event(guest, now);
            touch(loop, guest);
        }
    }
}

static void take_turns(struct loop *loop)
{
    uint64_t now = loop->busy != NULL ? loop_now_us() : 0;

    for (struct guest *guest = loop->busy; guest != NULL; guest = guest->next_busy) {
        if (guest->active && guest->look_us <= now) {
            guest_turn(guest, now);
        }
    }
}

int loop_once(struct loop *loop, int store, int lifeline, uint64_t sleep_us)
{
    struct timespec sleep;
    int found = 0;
    int rc;

    if (loop->terminals == 0) {
        loop->terminals = epoll_create1(EPOLL_CLOEXEC);
    }
    rc = watch_guests(loop, &sleep_us);
    if (rc != 0) {
        return rc;
    }

    struct pollfd fds[] = {
        {.fd = store, .events = POLLIN},
        {.fd = xenevtchn_fd(loop->services.events), .events = POLLIN},
        {.fd = lifeline, .events = POLLIN},
        {.fd = loop->terminals, .events = POLLIN},
    };

    sleep = (struct timespec){.tv_sec = (time_t)(sleep_us / 1000000),
                              .tv_nsec = (long)(sleep_us % 1000000) * 1000};
    if (ppoll(fds, sizeof(fds) / sizeof(fds[0]), &sleep, NULL) > 0) {
        if (fds[3].revents != 0) {
            serve_terminals(loop);
        }
        if ((fds[1].revents & POLLIN) != 0) {
            take_events(loop);
        }
        found |= fds[0].revents != 0 ? LOOP_STORE_SPEAKS : 0;
        found |= fds[2].revents != 0 ? LOOP_STORE_ENDED : 0;
    }
    take_turns(loop);
    return found;
}

void loop_add(struct loop *loop, struct guest *guest)
{
    guest->next = loop->guests;
    guest->link = &loop->guests;
    if (guest->next != NULL) {
        guest->next->link = &guest->next;
    }
    loop->guests = guest;
    loop->by_domid[guest->domid] = guest;
    guest->next_of_port = *chain_of(loop, guest->port);
    *chain_of(loop, guest->port) = guest;
    touch(loop, guest);
}

struct guest *loop_find(const struct loop *loop, uint32_t domid)
{
    return domid < DOMID_FIRST_RESERVED ? loop->by_domid[domid] : NULL;
}

/* Nobody finds it any more: another of that number may come, and its port is given back. */
static void forget(struct loop *loop, struct guest *guest)
{
    if (loop->by_domid[guest->domid] == guest) {
        struct guest **link = chain_of(loop, guest->port);

        while (*link != guest) {
            link = &(*link)->next_of_port;
        }
        loop->by_domid[guest->domid] = NULL;
        *link = (*link)->next_of_port;
    }
}

void loop_died(struct loop *loop, struct guest *guest)
{
    forget(loop, guest);
    guest_died(guest, loop_now_us());
    touch(loop, guest);
}

void loop_remove(struct loop *loop, struct guest *guest)
{
    struct guest **link = &loop->busy;

    forget(loop, guest);
    while (guest->busy && *link != guest) {
        link = &(*link)->next_busy;
    }
    if (guest->busy) {
        *link = guest->next_busy;
    }
    *guest->link = guest->next;
    if (guest->next != NULL) {
        guest->next->link = guest->link;
    }
    guest_close(guest);
}

void loop_reap(struct loop *loop)
{
    for (struct guest *guest = loop->busy, *next; guest != NULL; guest = next) {
        next = guest->next_busy;
        if (guest->dead && guest_finished(guest, loop_now_us())) {
            loop_remove(loop, guest);
        }
    }
}

void loop_close(struct loop *loop)
{
    if (loop->terminals > 0) {
        close(loop->terminals);
        loop->terminals = 0;
    }
}
