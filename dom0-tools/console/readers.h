/* SPDX-License-Identifier: MIT */
/*
 * Those who read along at a guest's console: any number of connections to a unix socket, each of
 * which gets all output and may type.
 *
 * The last output is kept in one buffer that all share; each reader has its own position in it.
 * readers_room() says how much more it takes without loss to a reader that goes on reading. Whoever
 * adds more, or a reader that has stopped, makes that reader lose the oldest bytes, and nobody
 * else. What came while nobody was there goes to the first to come.
 * All descriptors are behind one, so the daemon's list has one entry for each guest.
 * Used by guest.c; single threaded; nothing here touches the guest.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dom0-tools/base/err.h"

#define READERS_BUFFER_BYTES 65536u
#define READERS_MAX 64u

/* A reader that has taken nothing for so long has stopped. */
#define READERS_PATIENCE_US 1000000u

struct readers;

/* Listens at a path, which is taken away from whatever is there. */
int readers_open(const char *path, struct readers **out, struct err *err);

/* To be polled for input; readers_run() is due then. */
int readers_fd(const struct readers *readers);

/* Adds output, and hands it on as far as it is taken. */
void readers_output(struct readers *readers, const char *data, size_t bytes);

/* Bytes that readers_output() may add without loss to any reader that goes on reading. */
size_t readers_room(struct readers *readers, uint64_t now_us);

/* Accepts, hands on what waits, and takes what was typed, up to `room` bytes.
 * Returns: how many bytes of it. */
size_t readers_run(struct readers *readers, char *input, size_t room);

/* Lets go of readers that have had everything. Returns: whether all have gone. */
bool readers_finish(struct readers *readers);

/* How many there are. */
unsigned int readers_count(const struct readers *readers);

/* Ends all connections and removes the socket; NULL is fine. */
void readers_close(struct readers *readers);
