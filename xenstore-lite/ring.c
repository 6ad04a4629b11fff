// SPDX-License-Identifier: MIT
/*
 * The ring transport. See ring.h.
 */
#include "xenstore-lite/ring.h"

#include <string.h>

static uint32_t load(const XENSTORE_RING_IDX *index)
{
    return __atomic_load_n(index, __ATOMIC_ACQUIRE);
}

static void store(uint32_t *index, uint32_t value)
{
    __atomic_store_n(index, value, __ATOMIC_RELEASE);
    /* ORDER: the other side decides by our index whether to send an event, so what it has written
     * meanwhile must be looked at only after the index is out. */
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

/* Bytes that can be moved in one piece from an index on. */
static size_t piece(uint32_t index, size_t available, size_t wanted)
{
    size_t to_end = XENSTORE_RING_SIZE - MASK_XENSTORE_IDX(index);
    size_t n = wanted < available ? wanted : available;

    return n < to_end ? n : to_end;
}

static ssize_t ring_read(void *io, void *data, size_t len)
{
    struct ring *r = io;
    uint32_t cons = r->cons, prod = load(&r->page->req_prod);
    size_t n;

    /* SAFETY: beyond this test at most XENSTORE_RING_SIZE bytes are available, and piece() keeps
     * the copy inside the page. */
    if (prod - cons > XENSTORE_RING_SIZE) {
        return -ERANGE;
    }
    n = piece(cons, prod - cons, len);
    if (n > 0) {
        memcpy(data, r->page->req + MASK_XENSTORE_IDX(cons), n);
        r->cons = cons + (uint32_t)n;
    }
    return (ssize_t)n;
}

static void ring_settle(void *io)
{
    struct ring *r = io;

    if (load(&r->page->req_cons) != r->cons) {
        store(&r->page->req_cons, r->cons);
        r->moved = true;
    }
}

static void ring_where(void *io, uint32_t *in, uint32_t *out)
{
    struct ring *r = io;

    *in = r->cons;
    *out = load(&r->page->rsp_prod);
}

static void ring_go_on(void *io, uint32_t in)
{
    struct ring *r = io;

    r->cons = in;
    ring_settle(r);
}

static ssize_t ring_write(void *io, const void *data, size_t len)
{
    struct ring *r = io;
    uint32_t cons = load(&r->page->rsp_cons), prod = load(&r->page->rsp_prod);
    size_t n;

    /* SAFETY: as in ring_read(). */
    if (prod - cons > XENSTORE_RING_SIZE) {
        return -ERANGE;
    }
    n = piece(prod, XENSTORE_RING_SIZE - (prod - cons), len);
    if (n > 0) {
        memcpy(r->page->rsp + MASK_XENSTORE_IDX(prod), data, n);
        store(&r->page->rsp_prod, prod + (uint32_t)n);
        r->moved = true;
    }
    return (ssize_t)n;
}

static void ring_kick(void *io)
{
    struct ring *r = io;

    if (r->moved) {
        r->moved = false;
        r->notify(r->ctx);
    }
}

static bool ring_wants_reset(void *io)
{
    const struct ring *r = io;

    return load(&r->page->connection) == XENSTORE_RECONNECT;
}

static void ring_reset(void *io)
{
    struct ring *r = io;
    struct xenstore_domain_interface *page = r->page;

    r->cons = 0;
    page->req_cons = 0;
    page->req_prod = 0;
    page->rsp_cons = 0;
    page->rsp_prod = 0;
    page->error = XENSTORE_ERROR_NONE;
    /* ORDER: the other side may use the ring as soon as it sees this, so it comes last. */
    store(&page->connection, XENSTORE_CONNECTED);
    r->moved = true;
}

static void ring_fail(void *io, int reason)
{
    struct ring *r = io;
    uint32_t error = XENSTORE_ERROR_COMM;

    if (reason == -ERANGE) {
        error = XENSTORE_ERROR_RINGIDX;
    } else if (reason == -EPROTO) {
        error = XENSTORE_ERROR_PROTO;
    }
    store(&r->page->error, error);
    r->notify(r->ctx);
}

static void ring_close(void *io)
{
    struct ring *r = io;

    r->release(r->ctx);
}

void ring_init(struct ring *r, struct transport *out)
{
    *out = (struct transport){
        .read = ring_read,
        .write = ring_write,
        .kick = ring_kick,
        .wants_reset = ring_wants_reset,
        .reset = ring_reset,
        .where = ring_where,
        .settle = ring_settle,
        .go_on = ring_go_on,
        .fail = ring_fail,
        .close = ring_close,
        .io = r,
    };
    r->page->server_features = XENSTORE_SERVER_FEATURE_RECONNECTION | XENSTORE_SERVER_FEATURE_ERROR;
    store(&r->page->error, XENSTORE_ERROR_NONE);
    /* The indexes stay: the domain may have put requests there before it was introduced. A wish to
     * start afresh is granted when the connection first runs. */
    r->cons = load(&r->page->req_cons);
    if (!ring_wants_reset(r)) {
        store(&r->page->connection, XENSTORE_CONNECTED);
    }
    r->moved = true;
}
