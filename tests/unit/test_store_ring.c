// SPDX-License-Identifier: MIT
/*
 * The ring transport over plain memory: a well-behaved guest, and guests that write anything into
 * the shared page at any time.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "test_store_util.h"
#include "xenstore-lite/ring.h"

#define IS(expr, want) CU_ASSERT_STRING_EQUAL(expr, want)

/* A guest: its page, and what the server does to it. */
struct guest {
    struct ring ring;
    struct xenstore_domain_interface *page;
    struct conn *conn;
    unsigned int events; /* notifications sent by the server */
    bool released;
};

static struct server s;
static struct fake dom0;
static struct guest g;

static void guest_notified(void *ctx)
{
    ((struct guest *)ctx)->events++;
}

static void guest_released(void *ctx)
{
    ((struct guest *)ctx)->released = true;
}

static void guest_connect(struct guest *gu, uint16_t domid)
{
    struct transport t;

    gu->ring.page = gu->page;
    gu->ring.notify = guest_notified;
    gu->ring.release = guest_released;
    gu->ring.ctx = gu;
    ring_init(&gu->ring, &t);
    server_introduce(&s, domid, 1, 1);
    gu->conn = server_attach(&s, server_domain(&s, domid), &t);
    /* Attaching may have let go of an earlier ring of the same guest. */
    gu->released = false;
}

static void guest_new(struct guest *gu)
{
    *gu = (struct guest){0};
    /* A heap block of its own: a copy that leaves the page is caught. */
    gu->page = mem_zalloc(sizeof(*gu->page));
}

/* Writes into the request ring as a guest kernel does. Returns: bytes that had room. */
static size_t guest_put(struct guest *gu, const void *data, size_t len)
{
    struct xenstore_domain_interface *p = gu->page;
    size_t n = 0;

    while (n < len && p->req_prod - p->req_cons < XENSTORE_RING_SIZE) {
        p->req[MASK_XENSTORE_IDX(p->req_prod)] = ((const char *)data)[n++];
        p->req_prod++;
    }
    return n;
}

/* Reads from the response ring. Returns: bytes that were there. */
static size_t guest_get(struct guest *gu, void *data, size_t len)
{
    struct xenstore_domain_interface *p = gu->page;
    size_t n = 0;

    while (n < len && p->rsp_prod != p->rsp_cons) {
        ((char *)data)[n++] = p->rsp[MASK_XENSTORE_IDX(p->rsp_cons)];
        p->rsp_cons++;
    }
    return n;
}

/* Moves all of a message in or out, however small the ring is. */
static void guest_put_all(struct guest *gu, const void *data, size_t len)
{
    for (size_t done = 0, tries = 0; done < len && tries < 10000; tries++) {
        done += guest_put(gu, (const char *)data + done, len - done);
        conn_wake(gu->conn);
        fake_run(&s);
    }
}

static bool guest_get_all(struct guest *gu, void *data, size_t len)
{
    size_t done = 0;

    for (int tries = 0; done < len && tries < 10000; tries++) {
        done += guest_get(gu, (char *)data + done, len - done);
        conn_wake(gu->conn);
        fake_run(&s);
    }
    return done == len;
}

static const char *guest_ask(struct guest *gu, uint32_t type, const void *body, uint32_t len)
{
    static char text[XENSTORE_PAYLOAD_MAX + 1];
    struct xsd_sockmsg hdr = {.type = type, .req_id = 5, .len = len};

    guest_put_all(gu, &hdr, sizeof(hdr));
    guest_put_all(gu, body, len);
    if (!guest_get_all(gu, &hdr, sizeof(hdr)) || hdr.len > XENSTORE_PAYLOAD_MAX ||
        !guest_get_all(gu, text, hdr.len)) {
        return "no answer";
    }
    text[hdr.len] = '\0';
    return text;
}

static int open_server(void)
{
    server_init(&s, NULL);
    fake_connect(&dom0, &s, 0);
    fake_ask(&dom0, XS_MKDIR, 0, "/local/domain/1/data|");
    fake_ask(&dom0, XS_SET_PERMS, 0, "/local/domain/1/data|n1|");
    guest_new(&g);
    return 0;
}

static int close_server(void)
{
    server_destroy(&s);
    fake_free(&dom0);
    free(g.page);
    return 0;
}

static void test_ring__announces_itself(void)
{
    memset(g.page, 0, sizeof(*g.page));
    g.page->error = 77;
    guest_connect(&g, 1);
    CU_ASSERT_EQUAL(g.page->server_features,
                    XENSTORE_SERVER_FEATURE_RECONNECTION | XENSTORE_SERVER_FEATURE_ERROR);
    CU_ASSERT_EQUAL(g.page->connection, XENSTORE_CONNECTED);
    CU_ASSERT_EQUAL(g.page->error, XENSTORE_ERROR_NONE);
}

static void test_ring__round_trips_across_the_wrap(void)
{
    memset(g.page, 0, sizeof(*g.page));
    g.page->req_cons = g.page->req_prod = 0xfffffff3;
    g.page->rsp_cons = g.page->rsp_prod = 0xffffff01;
    guest_connect(&g, 1);
    for (int i = 0; i < 200; i++) {
        char body[64];
        uint32_t len = (uint32_t)sprintf(body, "data/%d", i) + 1;

        len += (uint32_t)sprintf(body + len, "value %d", i);
        IS(guest_ask(&g, XS_WRITE, body, len), "OK");
        sprintf(body, "data/%d", i);
        CU_ASSERT_EQUAL(
            strncmp(guest_ask(&g, XS_READ, body, (uint32_t)strlen(body) + 1), "value ", 6), 0);
    }
    CU_ASSERT(g.events > 0);
    CU_ASSERT_EQUAL(g.page->req_cons, g.page->req_prod);
    IS(fake_ask(&dom0, XS_READ, 0, "/local/domain/1/data/199|"), "value 199");
}

/* A guest's kernel on another processor puts the rest of a request there after the beginning was
 * read and before the server has said so. It finds its beginning not taken and sends no event. */
static const char *rest;
static void (*settle)(void *io);

static void rest_arrives(void *io)
{
    struct xenstore_domain_interface *p = g.page;

    if (rest && g.ring.cons == p->req_prod) {
        CU_ASSERT_NOT_EQUAL(p->req_cons, p->req_prod); /* or there would be an event */
        CU_ASSERT_EQUAL(guest_put(&g, rest, strlen(rest) + 1), strlen(rest) + 1);
        rest = NULL;
    }
    settle(io);
}

static void test_ring__request_in_pieces_without_events(void)
{
    struct xsd_sockmsg hdr = {.type = XS_WRITE, .req_id = 9, .len = 5};
    char reply[3];

    memset(g.page, 0, sizeof(*g.page));
    guest_connect(&g, 1);
    fake_run(&s);
    settle = g.conn->t.settle;
    g.conn->t.settle = rest_arrives;
    rest = "data"; /* the value is empty: all that is left of the request */
    CU_ASSERT_EQUAL(guest_put(&g, &hdr, sizeof(hdr)), sizeof(hdr));
    conn_wake(g.conn); /* the one event that there is */
    fake_run(&s);
    CU_ASSERT_PTR_NULL(rest);
    CU_ASSERT_EQUAL(g.page->req_cons, g.page->req_prod);
    CU_ASSERT_EQUAL(guest_get(&g, &hdr, sizeof(hdr)), sizeof(hdr));
    CU_ASSERT_EQUAL(hdr.req_id, 9);
    CU_ASSERT_EQUAL(guest_get(&g, reply, sizeof(reply)), hdr.len);
    IS(reply, "OK");
    IS(guest_ask(&g, XS_READ, "data", 5), "");
    g.conn->t.settle = settle;
}

static void test_ring__message_larger_than_the_ring(void)
{
    char *body = mem_zalloc(2100);

    memcpy(body, "data/big", 9);
    memset(body + 9, 'b', 2000);
    IS(guest_ask(&g, XS_WRITE, body, 2009), "OK");
    CU_ASSERT_EQUAL(strlen(guest_ask(&g, XS_READ, "data/big", 9)), 2000);
    free(body);
}

static void test_ring__requests_older_than_the_introduction(void)
{
    const struct xsd_sockmsg hdr = {.type = XS_READ, .req_id = 1, .len = 6};
    struct xsd_sockmsg answer;
    char text[8] = "";

    memset(g.page, 0, sizeof(*g.page));
    guest_put(&g, &hdr, sizeof(hdr));
    guest_put(&g, "domid", 6);
    fake_ask(&dom0, XS_WRITE, 0, "/local/domain/1/domid|one");
    fake_ask(&dom0, XS_SET_PERMS, 0, "/local/domain/1/domid|n0|r1|");
    guest_connect(&g, 1);
    fake_run(&s);
    CU_ASSERT_EQUAL(guest_get(&g, &answer, sizeof(answer)), sizeof(answer));
    CU_ASSERT_EQUAL(answer.len, 3);
    CU_ASSERT_EQUAL(guest_get(&g, text, 3), 3);
    IS(text, "one");
}

static void test_ring__many_outstanding(void)
{
    const struct xsd_sockmsg hdr = {.type = XS_GET_DOMAIN_PATH, .len = 2};
    struct xsd_sockmsg answer;
    char body[32];
    int put = 0, got = 0;
    char message[sizeof(hdr) + 2];

    memcpy(message, &hdr, sizeof(hdr));
    memcpy(message + sizeof(hdr), "1", 2);
    /* The guest fills the request ring and reads nothing until the server is stuck. */
    for (int i = 0; i < 100; i++) {
        while (XENSTORE_RING_SIZE - (g.page->req_prod - g.page->req_cons) >= sizeof(message)) {
            guest_put(&g, message, sizeof(message));
            put++;
        }
        conn_wake(g.conn);
        fake_run(&s);
    }
    CU_ASSERT_EQUAL(g.page->rsp_prod - g.page->rsp_cons, XENSTORE_RING_SIZE);
    CU_ASSERT(put < 200);
    while (got < put && guest_get_all(&g, &answer, sizeof(answer))) {
        CU_ASSERT_EQUAL_FATAL(answer.len, 16);
        CU_ASSERT_TRUE(guest_get_all(&g, body, answer.len));
        IS(body, "/local/domain/1");
        got++;
    }
    CU_ASSERT_EQUAL(got, put);
}

static void test_ring__hostile_indexes(void)
{
    static const uint32_t bad[] = {
        XENSTORE_RING_SIZE + 1, 2048, 0x7fffffff, 0x80000000, 0xfffffbff, 0xffffffff};
    struct guest other;

    guest_new(&other);
    guest_connect(&other, 2);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]) * 2; i++) {
        uint32_t by = bad[i / 2];

        memset(g.page, 0, sizeof(*g.page));
        guest_connect(&g, 1);
        IS(guest_ask(&g, XS_WATCH, "data\0t", 7), "OK");
        if (i % 2 == 0) {
            g.page->req_prod = g.page->req_cons + by;
        } else {
            /* Found when there is something to send. */
            fake_ask(&dom0, XS_WRITE, 0, "/local/domain/1/data|x");
            g.page->rsp_prod = g.page->rsp_cons + by;
            fake_ask(&dom0, XS_WRITE, 0, "/local/domain/1/data/n|x");
        }
        conn_wake(g.conn);
        fake_run(&s);
        CU_ASSERT_TRUE(g.conn->broken);
        CU_ASSERT_EQUAL(g.page->error, XENSTORE_ERROR_RINGIDX);
        CU_ASSERT_EQUAL(g.conn->watches.by_key.count, 0);
        CU_ASSERT_FALSE(g.released);
        IS(guest_ask(&other, XS_GET_DOMAIN_PATH, "2", 2), "/local/domain/2");
    }
    CU_ASSERT_PTR_EQUAL(server_find_domain(&s, 1)->conn, g.conn);
    server_domain_gone(&s, 2);
    CU_ASSERT_TRUE(other.released);
    free(other.page);
}

static void test_ring__oversized_message(void)
{
    const struct xsd_sockmsg hdr = {.type = XS_READ, .len = 0x10000};

    memset(g.page, 0, sizeof(*g.page));
    guest_connect(&g, 1);
    guest_put_all(&g, &hdr, sizeof(hdr));
    CU_ASSERT_TRUE(g.conn->broken);
    CU_ASSERT_EQUAL(g.page->error, XENSTORE_ERROR_PROTO);
}

static void test_ring__reconnects(void)
{
    const struct xsd_sockmsg half = {.type = XS_READ, .len = 100};

    /* After the error of the case above, and again in the middle of a message. */
    for (int round = 0; round < 2; round++) {
        g.page->connection = XENSTORE_RECONNECT;
        g.events = 0;
        conn_wake(g.conn);
        fake_run(&s);
        CU_ASSERT_EQUAL(g.page->connection, XENSTORE_CONNECTED);
        CU_ASSERT_TRUE(g.conn->told); /* of the first error, and not again */
        CU_ASSERT_EQUAL(g.page->error, XENSTORE_ERROR_NONE);
        CU_ASSERT_EQUAL(g.page->req_prod | g.page->req_cons, 0);
        CU_ASSERT_EQUAL(g.page->rsp_prod | g.page->rsp_cons, 0);
        CU_ASSERT_EQUAL(g.events, 1);
        CU_ASSERT_EQUAL(g.conn->watches.by_key.count, 0);
        IS(guest_ask(&g, XS_GET_DOMAIN_PATH, "1", 2), "/local/domain/1");
        IS(guest_ask(&g, XS_WATCH, "data\0t", 7), "OK");
        guest_put_all(&g, &half, sizeof(half));
    }
}

static void test_ring__introduced_again(void)
{
    struct guest again;

    guest_new(&again);
    IS(fake_ask(&dom0, XS_WATCH, 0, "@introduceDomain|i|"), "OK|");
    fake_event(&dom0);
    guest_connect(&again, 1);
    CU_ASSERT_TRUE(g.released);
    IS(guest_ask(&again, XS_GET_DOMAIN_PATH, "1", 2), "/local/domain/1");
    IS(fake_event(&dom0), "");
    server_release(&s, 1);
    CU_ASSERT_TRUE(again.released);
    free(again.page);
    IS(fake_ask(&dom0, XS_RESET_WATCHES, 0, ""), "OK|");
}

/* Writes rubbish over a page until told to stop. */
struct scribbler {
    struct xenstore_domain_interface *page;
    unsigned int count; /* writes so far */
    bool stop;
};

static void *scribble(void *arg)
{
    struct scribbler *sc = arg;
    volatile uint32_t *words = (volatile uint32_t *)(void *)sc->page;
    uint32_t x = 1;

    while (!__atomic_load_n(&sc->stop, __ATOMIC_RELAXED)) {
        x = x * 1664525 + 1013904223;
        __atomic_add_fetch(&sc->count, 1, __ATOMIC_RELAXED);
        /* Mostly values that pass the checks, so that every path is walked. */
        if (x >> 30 == 0) {
            sc->page->req_prod = sc->page->req_cons + (x >> 8) % XENSTORE_RING_SIZE;
        } else if (x >> 30 == 1) {
            sc->page->rsp_cons = sc->page->rsp_prod - (x >> 8) % XENSTORE_RING_SIZE;
        } else if (x >> 30 == 2) {
            sc->page->connection = (x >> 8) % 64 == 0;
        } else {
            words[(x >> 8) % (sizeof(*sc->page) / 4)] = (x >> 20) % 4 ? (x >> 20) % 32 : x;
        }
    }
    return NULL;
}

static void test_ring__page_changes_under_the_server(void)
{
    struct guest bad;
    struct scribbler sc;
    pthread_t thread;

    guest_new(&bad);
    guest_connect(&bad, 3);
    sc = (struct scribbler){.page = bad.page};
    CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, scribble, &sc), 0);
    /* Until both sides have done enough, however the machine shares out its time. */
    for (int i = 0; i < 20000 || __atomic_load_n(&sc.count, __ATOMIC_RELAXED) < 200000; i++) {
        bad.page->connection = bad.conn->broken ? XENSTORE_RECONNECT : XENSTORE_CONNECTED;
        conn_wake(bad.conn);
        server_run(&s);
    }
    __atomic_store_n(&sc.stop, true, __ATOMIC_RELAXED);
    pthread_join(thread, NULL);
    IS(fake_ask(&dom0, XS_READ, 0, "/local/domain/1/domid|"), "one");
    server_domain_gone(&s, 3);
    CU_ASSERT_TRUE(bad.released);
    free(bad.page);
    IS(fake_check(&dom0), "OK|");
}

static void add_suites(void)
{
    CU_pSuite ring = CU_add_suite("ring", open_server, close_server);

    CU_ADD_TEST(ring, test_ring__announces_itself);
    CU_ADD_TEST(ring, test_ring__round_trips_across_the_wrap);
    CU_ADD_TEST(ring, test_ring__request_in_pieces_without_events);
    CU_ADD_TEST(ring, test_ring__message_larger_than_the_ring);
    CU_ADD_TEST(ring, test_ring__requests_older_than_the_introduction);
    CU_ADD_TEST(ring, test_ring__many_outstanding);
    CU_ADD_TEST(ring, test_ring__hostile_indexes);
    CU_ADD_TEST(ring, test_ring__oversized_message);
    CU_ADD_TEST(ring, test_ring__reconnects);
    CU_ADD_TEST(ring, test_ring__introduced_again);
    CU_ADD_TEST(ring, test_ring__page_changes_under_the_server);
}

int main(void)
{
    return fake_main("test_store_ring", add_suites);
}
