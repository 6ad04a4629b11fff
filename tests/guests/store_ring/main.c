/* SPDX-License-Identifier: MIT */
/*
 * A guest that breaks the store's ring: indexes that cannot be, in both directions; messages longer
 * than the protocol allows, half messages; nothing ever read. Its connection is marked with the
 * error the ABI has for it, nobody else notices, and asking to start afresh makes it work again.
 * Not alone: the store is in the control domain.
 */
#include "lib.h"

/* Waits until the daemon has marked the ring, or has taken the mark away. */
static bool wait_error(uint32_t want)
{
    uint64_t until = now_ns() + 20000000000UL;
    while (__atomic_load_n(&store_ring->error, __ATOMIC_ACQUIRE) != want) {
        if (now_ns() > until) {
            say("error is %u", store_ring->error);
            return false;
        }
        store_kick();
        sleep_ns(5000000);
    }
    return true;
}

static bool reconnect(void)
{
    uint64_t until = now_ns() + 20000000000UL;
    __atomic_store_n(&store_ring->connection, XENSTORE_RECONNECT, __ATOMIC_RELEASE);
    while (__atomic_load_n(&store_ring->connection, __ATOMIC_ACQUIRE) != XENSTORE_CONNECTED) {
        if (now_ns() > until) {
            return false;
        }
        store_kick();
        sleep_ns(5000000);
    }
    return store_ring->error == XENSTORE_ERROR_NONE && store_ring->req_prod == 0 &&
           store_ring->rsp_prod == 0;
}

static void works(void)
{
    CHECK_TEXT(store_request(XS_WRITE, 0, "data/alive|yes"), "OK");
    CHECK_TEXT(store_request(XS_READ, 0, "data/alive|"), "yes");
}

void test_main(void)
{
    static const uint32_t ahead[] = {1025, 2048, 0x7fffffff, 0x80000000, 0xffffffff};
    store_init();
    NEED(store_ring->server_features & XENSTORE_SERVER_FEATURE_RECONNECTION);
    NEED(store_ring->server_features & XENSTORE_SERVER_FEATURE_ERROR);
    works();
    for (unsigned i = 0; i < ARRAY_SIZE(ahead); i++) {
        store_ring->req_prod = store_ring->req_cons + ahead[i];
        CHECK(wait_error(XENSTORE_ERROR_RINGIDX));
        CHECK(reconnect());
        /* Found when there is something to say. */
        CHECK(store_send(XS_GET_DOMAIN_PATH, 0, "1", 2));
        store_ring->rsp_cons = store_ring->rsp_prod - ahead[i];
        CHECK(wait_error(XENSTORE_ERROR_RINGIDX));
        CHECK(reconnect());
        works();
    }

    struct xsd_sockmsg hdr = {.type = XS_READ, .len = XENSTORE_PAYLOAD_MAX + 1};
    static const uint32_t lengths[] = {XENSTORE_PAYLOAD_MAX + 1, 0x10000, 0xffffffff};
    for (unsigned i = 0; i < ARRAY_SIZE(lengths); i++) {
        hdr.len = lengths[i];
        memcpy(store_ring->req, &hdr, sizeof(hdr));
        CHECK(reconnect());
        __atomic_store_n(&store_ring->req_prod, sizeof(hdr), __ATOMIC_RELEASE);
        CHECK(wait_error(XENSTORE_ERROR_PROTO));
    }
    CHECK(reconnect());

    /* Half a message is waited for; the connection starts afresh without the other half. */
    hdr.len = 100;
    memcpy(store_ring->req, &hdr, sizeof(hdr));
    store_ring->req_prod = sizeof(hdr) + 3;
    store_kick();
    sleep_ns(20000000);
    CHECK_IS(store_ring->error, XENSTORE_ERROR_NONE);
    CHECK(reconnect());
    works();

    /* Nothing is read until nothing is taken any more. */
    CHECK_TEXT(store_request(XS_WATCH, 0, "data|t|"), "OK");
    for (unsigned quiet = 0; quiet < 10;) {
        static const char message[sizeof(hdr) + 9] = {
            XS_WRITE,   [12] = 9,   [16] = 'd', [17] = 'a',
            [18] = 't', [19] = 'a', [20] = '/', [21] = 'e'};
        uint32_t prod = store_ring->req_prod;
        if (prod + sizeof(message) - store_ring->req_cons > XENSTORE_RING_SIZE) {
            quiet++;
            sleep_ns(10000000);
            store_kick();
            continue;
        }
        quiet = 0;
        for (unsigned i = 0; i < sizeof(message); i++) {
            store_ring->req[MASK_XENSTORE_IDX(prod + i)] = message[i];
        }
        __atomic_store_n(&store_ring->req_prod, prod + sizeof(message), __ATOMIC_RELEASE);
        store_kick();
    }
    CHECK_IS(store_ring->rsp_prod - store_ring->rsp_cons, XENSTORE_RING_SIZE);
    CHECK(reconnect());
    works();
}
