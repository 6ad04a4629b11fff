/* SPDX-License-Identifier: MIT */
/*
 * The daemon's end of a guest's console ring; see ring.h.
 *
 * ORDER: data is read after the guest's index has been seen and before ours is published, and
 * written before ours is published; acquire and release on the indexes say so.
 */
#include "dom0-tools/console/ring.h"

#include <string.h>

#define OUT_BYTES sizeof(((struct xencons_interface *)0)->out)
#define IN_BYTES sizeof(((struct xencons_interface *)0)->in)

void console_ring_init(struct console_ring *ring, struct xencons_interface *page)
{
    ring->page = page;
    ring->out_cons = __atomic_load_n(&page->out_cons, __ATOMIC_ACQUIRE);
    ring->in_prod = __atomic_load_n(&page->in_prod, __ATOMIC_ACQUIRE);
}

size_t console_ring_read(struct console_ring *ring, char *data, size_t max)
{
    uint32_t prod = __atomic_load_n(&ring->page->out_prod, __ATOMIC_ACQUIRE);
    uint32_t count = prod - ring->out_cons;
    uint32_t first;

    if (count > OUT_BYTES) {
        /* No honest guest is ahead by more than the ring: start again where it says it is. */
        ring->out_cons = prod;
        count = 0;
    }
    if (count > max) {
        count = (uint32_t)max;
    }
    /* What the guest changes meanwhile is its own text; no byte of it is looked at here. */
    first = (uint32_t)OUT_BYTES - ring->out_cons % (uint32_t)OUT_BYTES;
    first = first < count ? first : count;
    memcpy(data, ring->page->out + ring->out_cons % OUT_BYTES, first);
    memcpy(data + first, ring->page->out, count - first);
    ring->out_cons += count;
    __atomic_store_n(&ring->page->out_cons, ring->out_cons, __ATOMIC_RELEASE);
    return count;
}

/* Bytes of input the guest has not taken yet; a full ring if it claims nonsense. */
static uint32_t input_waiting(const struct console_ring *ring)
{
    uint32_t waiting = ring->in_prod - __atomic_load_n(&ring->page->in_cons, __ATOMIC_ACQUIRE);

    return waiting > IN_BYTES ? (uint32_t)IN_BYTES : waiting;
}

size_t console_ring_write(struct console_ring *ring, const char *data, size_t bytes)
{
    uint32_t room = (uint32_t)IN_BYTES - input_waiting(ring);
    uint32_t count = bytes < room ? (uint32_t)bytes : room;

    for (uint32_t i = 0; i < count; i++) {
        volatile char *to = &ring->page->in[(ring->in_prod + i) % IN_BYTES];

        *to = data[i];
    }
    ring->in_prod += count;
    __atomic_store_n(&ring->page->in_prod, ring->in_prod, __ATOMIC_RELEASE);
    return count;
}

bool console_ring_writable(const struct console_ring *ring)
{
    return input_waiting(ring) < IN_BYTES;
}
