/* SPDX-License-Identifier: MIT */
/*
 * The daemon's end of a guest's console ring.
 *
 * The ring page belongs to the guest and may change at any moment, so the daemon keeps its own
 * positions, reads each of the guest's once per use, and believes nothing that cannot be: a guest
 * that lies loses its own output and nothing else.
 * Pure but for the shared page: unit tests hand in ordinary memory.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <xen/io/console.h>

struct console_ring {
    struct xencons_interface *page; /* shared with the guest */
    uint32_t out_cons;              /* next byte of output to take */
    uint32_t in_prod;               /* next byte of input to give */
};

/* Starts at the positions in the page, as a previous daemon left them. */
void console_ring_init(struct console_ring *ring, struct xencons_interface *page);

/* Takes up to max bytes of output. Returns: how many; 0 when there is nothing, or nonsense, which
 * is skipped. */
size_t console_ring_read(struct console_ring *ring, char *data, size_t max);

/* Gives bytes of input. Returns: how many fitted. */
size_t console_ring_write(struct console_ring *ring, const char *data, size_t bytes);

/* Whether there is room for input. */
bool console_ring_writable(const struct console_ring *ring);
