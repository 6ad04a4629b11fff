/* SPDX-License-Identifier: MIT */
/*
 * Readers of a console; see readers.h.
 *
 * Positions count all bytes there have ever been; the buffer holds the last of them. A reader is
 * watched for room only while output waits for it, and for what is typed only while the guest has
 * room, so that nothing that cannot go on keeps the daemon awake.
 */
#include "dom0-tools/console/readers.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define EVENTS_AT_ONCE 16

struct reader {
    struct reader *next;
    int fd;
    uint64_t at;       /* next byte to give it */
    uint64_t noted;    /* `at` when it was last seen to move on, or had everything */
    uint64_t noted_us; /* when that was */
    bool waiting;      /* watched for room */
    bool held;         /* not watched, what it types is left where it is: the guest has no room */
    bool deaf;         /* takes no more output; what it has typed is still to be read */
    bool gone;         /* to be freed */
};

struct readers {
    char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
    int epoll;
    int listener;
    struct reader *first;
    unsigned int count;
    uint64_t end;  /* bytes of output so far */
    uint64_t seen; /* of them given to anybody */
    char buffer[READERS_BUFFER_BYTES];
};

static int watch(const struct readers *readers, int operation, int fd, uint32_t events, void *tag)
{
    struct epoll_event event = {.events = events, .data.ptr = tag};

    return epoll_ctl(readers->epoll, operation, fd, &event);
}

/* One that is held is not watched at all: that it has hung up could not be left out otherwise. */
static void rewatch(const struct readers *readers, struct reader *reader, bool waiting, bool held)
{
    uint32_t events = EPOLLIN | (waiting ? (uint32_t)EPOLLOUT : 0);

    if (held != reader->held) {
        watch(readers, held ? EPOLL_CTL_DEL : EPOLL_CTL_ADD, reader->fd, events, reader);
    } else if (!held && waiting != reader->waiting) {
        watch(readers, EPOLL_CTL_MOD, reader->fd, events, reader);
    }
    reader->waiting = waiting;
    reader->held = held;
}

/* Returns: a descriptor or a negative errno. Requires: the path fits. */
static int listen_at(const char *path, struct err *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    mode_t mask = umask(0177); /* for the control domain's root, from the moment it is there */

    memcpy(address.sun_path, path, strlen(path) + 1);
    unlink(path);
    if (fd < 0 || bind(fd, (const struct sockaddr *)&address, sizeof(address)) != 0 ||
        listen(fd, 16) != 0) {
        int rc = err_set_errno(err, errno, "cannot listen at %s", path);

        if (fd >= 0) {
            close(fd);
        }
        fd = rc;
    }
    umask(mask);
    return fd;
}

int readers_open(const char *path, struct readers **out, struct err *err)
{
    struct readers *readers = calloc(1, sizeof(*readers));
    int rc;

    *out = NULL;
    if (readers == NULL) {
        return err_set(err, ENOMEM, "out of memory");
    }
    readers->epoll = -1;
    readers->listener = -1;
    if (strlen(path) >= sizeof(readers->path)) {
        readers_close(readers);
        return err_set(err, ENAMETOOLONG, "%s: too long a name", path);
    }
    rc = readers->listener = listen_at(path, err);
    if (rc >= 0) {
        memcpy(readers->path, path, strlen(path) + 1);
        readers->epoll = epoll_create1(EPOLL_CLOEXEC);
        rc = readers->epoll < 0 ||
                     watch(readers, EPOLL_CTL_ADD, readers->listener, EPOLLIN, NULL) != 0
                 ? err_set_errno(err, errno, "cannot wait at %s", path)
                 : 0;
    }
    if (rc < 0) {
        readers_close(readers);
        return rc;
    }
    *out = readers;
    return 0;
}

int readers_fd(const struct readers *readers)
{
    return readers->epoll;
}

unsigned int readers_count(const struct readers *readers)
{
    return readers->count;
}

static void drop_gone(struct readers *readers)
{
    struct reader **link = &readers->first;

    while (*link != NULL) {
        struct reader *reader = *link;

        if (reader->gone) {
            *link = reader->next;
            close(reader->fd);
            free(reader);
            readers->count--;
        } else {
            link = &reader->next;
        }
    }
}

/* Hands one reader what it takes now. */
static void give(struct readers *readers, struct reader *reader)
{
    uint64_t oldest = readers->end > READERS_BUFFER_BYTES ? readers->end - READERS_BUFFER_BYTES : 0;

    if (reader->at < oldest) {
        reader->at = reader->noted = oldest; /* moved, not moving on */
    }
    while (!reader->deaf && reader->at < readers->end) {
        size_t from = (size_t)(reader->at % READERS_BUFFER_BYTES);
        size_t part = READERS_BUFFER_BYTES - from;
        ssize_t done;

        part = part < readers->end - reader->at ? part : (size_t)(readers->end - reader->at);
        done = send(reader->fd, readers->buffer + from, part, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (done < 0) {
            reader->deaf = errno != EAGAIN && errno != EINTR;
            break;
        }
        reader->at += (uint64_t)done;
    }
    readers->seen = reader->at > readers->seen ? reader->at : readers->seen;
    rewatch(readers, reader, !reader->deaf && reader->at < readers->end, reader->held);
}

static void give_all(struct readers *readers)
{
    for (struct reader *reader = readers->first; reader != NULL; reader = reader->next) {
        give(readers, reader);
    }
}

void readers_output(struct readers *readers, const char *data, size_t bytes)
{
    /* Of more than the buffer holds only the end could stay. */
    if (bytes > READERS_BUFFER_BYTES) {
        readers->end += bytes - READERS_BUFFER_BYTES;
        data += bytes - READERS_BUFFER_BYTES;
        bytes = READERS_BUFFER_BYTES;
    }
    while (bytes != 0) {
        size_t to = (size_t)(readers->end % READERS_BUFFER_BYTES);
        size_t part = READERS_BUFFER_BYTES - to < bytes ? READERS_BUFFER_BYTES - to : bytes;

        memcpy(readers->buffer + to, data, part);
        readers->end += part;
        data += part;
        bytes -= part;
    }
    give_all(readers);
    drop_gone(readers);
}

size_t readers_room(struct readers *readers, uint64_t now)
{
    size_t room = READERS_BUFFER_BYTES;

    for (struct reader *reader = readers->first; reader != NULL; reader = reader->next) {
        uint64_t behind = readers->end - reader->at;

        if (reader->deaf || behind == 0 || reader->at != reader->noted) {
            reader->noted = reader->at;
            reader->noted_us = now;
        }
        if (!reader->deaf && now - reader->noted_us < READERS_PATIENCE_US &&
            room > READERS_BUFFER_BYTES - behind) {
            room = (size_t)(READERS_BUFFER_BYTES - behind);
        }
    }
    return room;
}

/* One that is too many, or for which there is no memory, is turned away. */
static void take_in(struct readers *readers)
{
    int fd = accept4(readers->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    struct reader *reader;

    if (fd < 0) {
        return;
    }
    reader = readers->count < READERS_MAX ? calloc(1, sizeof(*reader)) : NULL;
    if (reader == NULL || watch(readers, EPOLL_CTL_ADD, fd, EPOLLIN, reader) != 0) {
        free(reader);
        close(fd);
        return;
    }
    reader->fd = fd;
    reader->at = readers->first == NULL ? readers->seen : readers->end;
    reader->noted = UINT64_MAX; /* not looked at yet */
    reader->next = readers->first;
    readers->first = reader;
    readers->count++;
}

/* What one reader has typed. */
static size_t take_typed(struct readers *readers, struct reader *reader, char *input, size_t room)
{
    ssize_t got;

    if (room == 0) {
        rewatch(readers, reader, reader->waiting, true);
        return 0;
    }
    got = recv(reader->fd, input, room, MSG_DONTWAIT);
    reader->gone = reader->gone || got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR);
    return got > 0 ? (size_t)got : 0;
}

/* There is room again. */
static void let_type(struct readers *readers)
{
    for (struct reader *reader = readers->first; reader != NULL; reader = reader->next) {
        rewatch(readers, reader, reader->waiting, false);
    }
}

size_t readers_run(struct readers *readers, char *input, size_t room)
{
    struct epoll_event events[EVENTS_AT_ONCE];
    size_t typed = 0;
    int count;

    if (room != 0) {
        let_type(readers);
    }
    count = epoll_wait(readers->epoll, events, EVENTS_AT_ONCE, 0);
    for (int i = 0; i < count; i++) {
        struct reader *reader = events[i].data.ptr;

        if (reader == NULL) {
            take_in(readers);
        } else if ((events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) {
            typed += take_typed(readers, reader, input + typed, room - typed);
        }
    }
    give_all(readers);
    drop_gone(readers);
    return typed;
}

bool readers_finish(struct readers *readers)
{
    give_all(readers);
    for (struct reader *reader = readers->first; reader != NULL; reader = reader->next) {
        reader->gone = reader->gone || reader->deaf || reader->at == readers->end;
    }
    drop_gone(readers);
    return readers->first == NULL;
}

void readers_close(struct readers *readers)
{
    if (readers == NULL) {
        return;
    }
    for (struct reader *reader = readers->first; reader != NULL; reader = reader->next) {
        reader->gone = true;
    }
    drop_gone(readers);
    if (readers->listener >= 0) {
        close(readers->listener);
    }
    if (readers->epoll >= 0) {
        close(readers->epoll);
    }
    if (readers->path[0] != '\0') {
        unlink(readers->path);
    }
    free(readers);
}
