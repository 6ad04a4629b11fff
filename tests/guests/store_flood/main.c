/* SPDX-License-Identifier: MIT */
/*
 * For `seconds` (2 if not said) a guest keeps the store as busy as it can: changes under all its
 * watches, removals of trees, transactions that collide with each other, and now and then a broken
 * ring and a new start, over and over. The canary and whoever uses the store beside it are to
 * notice nothing but a busy processor; the connection works in the end.
 * Not alone: the store is in the control domain.
 */
#include "lib.h"

static void reconnect(void)
{
    store_ring->req_prod = store_ring->req_cons + 5000;
    store_kick();
    store_ring->connection = XENSTORE_RECONNECT;
    while (__atomic_load_n(&store_ring->connection, __ATOMIC_ACQUIRE) != XENSTORE_CONNECTED) {
        store_kick();
        (void)sched_op(SCHEDOP_yield, 0);
    }
}

/* Two transactions that change what the other looks at, so that one of them has to be repeated. */
static void collide(void)
{
    uint32_t tx[2];
    for (unsigned i = 0; i < 2; i++) {
        const char *c = store_request(XS_TRANSACTION_START, 0, "|");
        for (tx[i] = 0; *c >= '0' && *c <= '9'; c++) {
            tx[i] = tx[i] * 10 + (uint32_t)(*c - '0');
        }
    }
    for (unsigned i = 0; i < 2; i++) {
        (void)store_request(XS_READ, tx[i], "data/flood|");
        (void)store_request(XS_WRITE, tx[i], "data/flood|%u", i);
    }
    CHECK_TEXT(store_request(XS_TRANSACTION_END, tx[0], "T|"), "OK");
    CHECK_TEXT(store_request(XS_TRANSACTION_END, tx[1], "T|"), "EAGAIN");
}

void test_main(void)
{
    uint64_t seconds = 2, rounds = 0;
    (void)option_number("seconds", &seconds);
    store_init();
    uint64_t until = now_ns() + seconds * 1000000000UL;
    for (; now_ns() < until; rounds++) {
        for (unsigned i = 0; i < 60; i++) {
            CHECK_TEXT(store_request(XS_WATCH, 0, "data|%u|", i), "OK");
        }
        for (unsigned i = 0; i < 30; i++) {
            CHECK_TEXT(store_request(XS_WRITE, 0, "data/flood/%u/x|%lu", i, rounds), "OK");
        }
        CHECK_TEXT(store_request(XS_RM, 0, "data/flood|"), "OK");
        CHECK_TEXT(store_request(XS_WRITE, 0, "data/flood|"), "OK");
        collide();
        CHECK_TEXT(store_request(XS_RESET_WATCHES, 0, "|"), "OK");
        if (rounds % 4 == 3) {
            reconnect();
        }
    }
    say("%lu rounds, %u events", rounds, store_events);
    CHECK(rounds > 0);
}
