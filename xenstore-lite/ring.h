// SPDX-License-Identifier: MIT
/*
 * The shared page of a domain as a transport.
 *
 * The other side may write anything to the page at any time. Each index is read once for each step,
 * checked, and used from the copy; bytes are copied out before anybody looks at them. Our own index
 * of requests is kept outside the page, which is only told. What goes wrong concerns that domain
 * alone: its connection is marked broken and ignored.
 *
 * Pure: a test may lay a ring over plain memory.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "xenstore-lite/conn.h"

struct ring {
    struct xenstore_domain_interface *page;
    uint32_t cons;              /* read up to here; the page hears of it when that is settled */
    bool moved;                 /* bytes have moved since the last kick */
    void (*notify)(void *ctx);  /* sends the event */
    void (*release)(void *ctx); /* unmaps the page and frees whatever holds this ring */
    void *ctx;
};

/* Announces the server on the page and makes a transport of it. */
void ring_init(struct ring *r, struct transport *out);
