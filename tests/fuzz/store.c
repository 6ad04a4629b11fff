/* SPDX-License-Identifier: MIT */
/*
 * xenstore-lite: the wire protocol. Two clients on sockets (the control domain's) and two domains
 * on rings send what the input says, a piece at a time, with the server running between.
 *
 * The input is a list of steps, each a byte `what << 2 | who`:
 *   0..3  a request: type, transaction, length, then that many bytes of payload
 *   4     raw bytes: count, how often, bytes
 *   5     the client reads: count of bytes of room given to the server
 *   6     the shared page: offset/4, value (sockets: closes and connects again)
 *   7     the machine says: domain gone, shut down, released, introduced
 * After each input the books must balance: `xenstore-control check` says so.
 */
#include <errno.h>

#include "fuzz.h"
#include "xenstore-lite/ring.h"
#include "xenstore-lite/server.h"

const size_t fuzz_max_bytes = 4096;

#define CLIENTS 4
#define RINGS 2 /* of them the first by ring, domains 1 and 2 */
#define TURNS_MAX 4000

static struct client {
    struct conn *conn; /* NULL: none */
    struct ring ring;
    struct xenstore_domain_interface *page;
    struct buf in; /* sockets: sent, not yet read by the server */
    size_t taken;
    struct buf out; /* written by the server */
    size_t room;    /* bytes the server may write */
} client[CLIENTS];

static struct server server;

/* ---- sockets ---- */

static ssize_t socket_read(void *io, void *data, size_t len)
{
    struct client *c = io;
    size_t n = c->in.len - c->taken < len ? c->in.len - c->taken : len;
    if (n) {
        memcpy(data, c->in.data + c->taken, n);
        c->taken += n;
    }
    return (ssize_t)n;
}

static ssize_t socket_write(void *io, const void *data, size_t len)
{
    struct client *c = io;
    size_t n = len < c->room ? len : c->room;
    buf_add(&c->out, data, n);
    c->room -= n;
    return (ssize_t)n;
}

static void socket_close(void *io)
{
    struct client *c = io;
    c->conn = NULL;
    buf_free(&c->in);
    c->taken = 0;
}

static void socket_connect(struct client *c)
{
    const struct transport t = {
        .read = socket_read, .write = socket_write, .close = socket_close, .io = c};
    buf_free(&c->out);
    c->room = 65536;
    c->conn = conn_new(&server, 0, NULL, &t);
}

/* ---- rings ---- */

static void ring_notify(void *ctx)
{
    (void)ctx;
}

static void ring_release(void *ctx)
{
    struct client *c = ctx;
    c->conn = NULL;
    free(c->page);
    c->page = NULL;
}

/* How the server connects a domain, asked to by XS_INTRODUCE. */
static int connect_domain(void *ctx, uint16_t domid, uint64_t mfn, uint32_t port,
                          struct transport *out)
{
    (void)ctx, (void)mfn, (void)port;
    if (domid < 1 || domid > RINGS || client[domid - 1].page) {
        return -EINVAL;
    }
    struct client *c = &client[domid - 1];
    /* A heap block of its own: a copy that leaves the page is caught. */
    c->page = mem_zalloc(sizeof(*c->page));
    c->ring =
        (struct ring){.page = c->page, .notify = ring_notify, .release = ring_release, .ctx = c};
    ring_init(&c->ring, out);
    return 0;
}

/* The machine tells of one domain that has changed; asked about all, it says nothing. */
static struct domain_status changed;
static bool has_changed;

static int take_changed(void *ctx, struct domain_status *out)
{
    int got = has_changed;
    (void)ctx;
    *out = changed;
    has_changed = false;
    return got;
}

static void look_at_all(void *ctx)
{
    (void)ctx;
}

static int status_of(void *ctx, uint16_t domid, struct domain_status *out)
{
    (void)ctx;
    *out = (struct domain_status){.domid = domid, .shutdown = changed.shutdown};
    return domid == changed.domid ? -ESRCH : 0;
}

static const struct platform platform = {
    .connect = connect_domain, .status = status_of, .changed = take_changed, .look = look_at_all};

/* ---- steps ---- */

static void start_server(void)
{
    memset(client, 0, sizeof(client));
    changed = (struct domain_status){0};
    server_init(&server, &platform);
    server.quota.transactions = 5; /* soon full */
    for (unsigned i = 0; i < RINGS; i++) {
        FUZZ_CHECK(server_introduce(&server, (uint16_t)(i + 1), 1, 1) == 1);
        client[i].conn = server_find_domain(&server, (uint16_t)(i + 1))->conn;
    }
    for (unsigned i = RINGS; i < CLIENTS; i++) {
        socket_connect(&client[i]);
    }
}

/* The connections the server has now; rings may have been connected again. */
static void find_connections(void)
{
    for (unsigned i = 0; i < RINGS; i++) {
        const struct domain *d = server_find_domain(&server, (uint16_t)(i + 1));
        client[i].conn = d ? d->conn : NULL;
        FUZZ_CHECK(!client[i].conn == !client[i].page);
    }
}

static void run_server(void)
{
    for (unsigned turns = 0; server_run(&server); turns++) {
        FUZZ_CHECK(turns < TURNS_MAX);
    }
    find_connections();
}

/* As many bytes as there is room for. */
static size_t ring_put(struct client *c, const uint8_t *data, size_t len)
{
    struct xenstore_domain_interface *p = c->page;
    size_t n = 0;
    while (n < len && p->req_prod - p->req_cons < XENSTORE_RING_SIZE) {
        p->req[MASK_XENSTORE_IDX(p->req_prod)] = (char)data[n++];
        p->req_prod++;
    }
    return n;
}

/* A guest that reads all there is. */
static void ring_drain(struct client *c)
{
    struct xenstore_domain_interface *p = c->page;
    p->rsp_cons = p->rsp_prod;
}

static void put(struct client *c, const uint8_t *data, size_t len)
{
    if (c->conn && c->page) {
        for (unsigned tries = 0; len && c->conn && c->page && tries < 8; tries++) {
            size_t n = ring_put(c, data, len);
            data += n;
            len -= n;
            conn_wake(c->conn);
            run_server();
            if (c->page) {
                ring_drain(c);
            }
        }
    } else if (c->conn) {
        buf_add(&c->in, data, len);
        conn_wake(c->conn);
    }
}

static size_t input_bytes(struct fuzz_in *in, size_t wanted)
{
    return wanted < in->left ? wanted : in->left;
}

static void request(struct client *c, struct fuzz_in *in)
{
    uint8_t message[sizeof(struct xsd_sockmsg) + 256];
    uint8_t type = fuzz_byte(in), tx = fuzz_byte(in);
    struct xsd_sockmsg hdr = {.type = type, .req_id = 1, .tx_id = tx};
    if (tx & 0x80 && c->conn) {
        hdr.tx_id = c->conn->last_txn - (tx & 3U); /* one it was given lately */
    }
    hdr.len = (uint32_t)input_bytes(in, fuzz_byte(in));
    memcpy(message, &hdr, sizeof(hdr));
    memcpy(message + sizeof(hdr), in->at, hdr.len);
    in->at += hdr.len;
    in->left -= hdr.len;
    put(c, message, sizeof(hdr) + hdr.len);
}

static void raw(struct client *c, struct fuzz_in *in)
{
    uint8_t count = fuzz_byte(in), times = fuzz_byte(in);
    size_t n = input_bytes(in, count);
    for (unsigned i = 0; i <= times % 64U; i++) {
        put(c, in->at, n);
    }
    in->at += n;
    in->left -= n;
}

/* Anything anywhere in the shared page; a socket is closed by its client. */
static void disturb(struct client *c, struct fuzz_in *in)
{
    uint32_t at = (uint32_t)fuzz_number(in, 2), value = (uint32_t)fuzz_number(in, 4);
    if (c->page) {
        /* Mostly the indexes behind the two buffers. */
        at = at & 0x100 ? at % sizeof(*c->page)
                        : (uint32_t)offsetof(struct xenstore_domain_interface, req_cons) + at % 32;
        at = at / 4 * 4;
        at = at + 4 <= sizeof(*c->page) ? at : 0;
        memcpy((char *)c->page + at, &value, 4);
        conn_wake(c->conn);
    } else if (c >= client + RINGS) {
        if (c->conn) {
            c->conn->dead = true;
            conn_wake(c->conn);
            run_server();
        }
        socket_connect(c);
    }
}

static void machine_event(struct fuzz_in *in, unsigned who)
{
    uint16_t domid = (uint16_t)(who % RINGS + 1);
    switch (fuzz_byte(in) % 6) {
    case 0:
        server_domain_shutdown(&server, domid);
        break;
    case 1:
        server_domain_gone(&server, domid);
        break;
    case 2:
        (void)server_release(&server, domid);
        break;
    case 3: {
        const struct domain_status list[] = {{.domid = 0}, {.domid = domid, .dying = who & 1}};
        server_domain_list(&server, list, 2);
        break;
    }
    case 4:
        changed = (struct domain_status){
            .domid = (uint16_t)(who % (RINGS + 3)), .shutdown = who & 64, .dying = who & 128};
        has_changed = true;
        server_news(&server);
        FUZZ_CHECK(!has_changed);
        break;
    default:
        (void)server_introduce(&server, domid, 1, 1);
    }
    find_connections();
}

/* Asks a client of its own what the store thinks of its books. */
static void check_books(void)
{
    size_t unseen = 0;
    for (struct map_node *n = map_first(&server.domains); n;
         n = map_after(&server.domains, &MAP_ENTRY(n, struct domain, by_id)->domid)) {
        unseen += !MAP_ENTRY(n, struct domain, by_id)->seen;
    }
    FUZZ_CHECK(unseen == server.unseen);
    struct xsd_sockmsg hdr = {.type = XS_CONTROL, .req_id = 99, .len = 6};
    struct client *c = &client[CLIENTS - 1];
    if (c->conn) {
        c->conn->dead = true;
        conn_wake(c->conn);
        run_server();
    }
    socket_connect(c);
    buf_add(&c->in, &hdr, sizeof(hdr));
    buf_add(&c->in, "check", 6);
    run_server();
    FUZZ_CHECK(c->out.len >= sizeof(hdr) + 2);
    if (memcmp(c->out.data + sizeof(hdr), "OK", 2)) {
        dprintf(2, "%.*s\n", (int)(c->out.len - sizeof(hdr)), c->out.data + sizeof(hdr));
    }
    FUZZ_CHECK(!memcmp(c->out.data + sizeof(hdr), "OK", 2));
}

void fuzz_start(void)
{
    /* What the daemon says of broken clients interests nobody here. */
    stderr = fopen("/dev/null", "w");
}

void fuzz_one(const uint8_t *data, size_t bytes)
{
    struct fuzz_in in = {data, bytes};
    start_server();
    while (in.left) {
        uint8_t step = fuzz_byte(&in);
        struct client *c = &client[step % CLIENTS];
        switch (step / CLIENTS % 8) {
        case 4:
            raw(c, &in);
            break;
        case 5:
            c->room = fuzz_number(&in, 2);
            buf_free(&c->out);
            if (c->conn) {
                conn_wake(c->conn);
            }
            break;
        case 6:
            disturb(c, &in);
            break;
        case 7:
            machine_event(&in, step);
            break;
        default:
            request(c, &in);
        }
        run_server();
    }
    check_books();
    server_destroy(&server);
    for (unsigned i = 0; i < CLIENTS; i++) {
        FUZZ_CHECK(client[i].page == NULL && client[i].in.len == 0);
        buf_free(&client[i].out);
    }
}
