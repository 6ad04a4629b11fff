/* SPDX-License-Identifier: MIT */
/*
 * A network card's front end that cheats the control domain's own back end: packets in pages never
 * granted, granted to somebody else, taken away while they are copied; frames of others; buffers
 * for reception that grant nothing or reading only. Each is answered and costs only the packet;
 * good ones go through before and after. Then, by `how`, what the back end answers by ending the
 * device: 0 a packet beyond its page, 1 more slots than there can be, 2 a producer index that has
 * run away, 3 an unknown kind of extra slot, 4 nothing, but death with all of it under way.
 * Not alone: the back end is in the control domain.
 */
#include "front.h"

#include <xen/io/netif.h>

#define PAGES 8
#define FRAME_BYTES 60

static uint8_t tx_page[PAGE_BYTES] PAGE_ALIGNED, rx_page[PAGE_BYTES] PAGE_ALIGNED;
static uint8_t data[PAGES][PAGE_BYTES] PAGE_ALIGNED, received[64][PAGE_BYTES] PAGE_ALIGNED;
static struct front f;
static netif_tx_front_ring_t tx;
static netif_rx_front_ring_t rx;
static uint16_t last_id;

static void send(void)
{
    RING_PUSH_REQUESTS(&tx);
    NEED_OK(event_send(f.port));
}

static void add(grant_ref_t ref, uint16_t offset, uint16_t size, uint16_t flags)
{
    struct netif_tx_request *r = RING_GET_REQUEST(&tx, tx.req_prod_pvt);
    tx.req_prod_pvt++;
    *r = (struct netif_tx_request){
        .gref = ref, .offset = offset, .flags = flags, .id = last_id++, .size = size};
}

/* The next answer's status; 100 when none comes. */
static int answer(void)
{
    uint64_t until = now_ns() + 20000000000UL;
    while (__atomic_load_n(&tx.sring->rsp_prod, __ATOMIC_ACQUIRE) == tx.rsp_cons) {
        if (now_ns() > until) {
            return 100;
        }
        sleep_ns(1000000);
    }
    return RING_GET_RESPONSE(&tx, tx.rsp_cons++)->status;
}

static int one(grant_ref_t ref, uint16_t offset, uint16_t size)
{
    add(ref, offset, size, 0);
    send();
    return answer();
}

/* Buffers to receive in: one of four is good. Whatever the bridge floods us with may use them. */
static void offer_buffers(void)
{
    for (unsigned i = 0; i < ARRAY_SIZE(received); i++) {
        struct netif_rx_request *r = RING_GET_REQUEST(&rx, rx.req_prod_pvt);
        rx.req_prod_pvt++;
        *r = (struct netif_rx_request){.id = (uint16_t)i};
        r->gref = i % 4 == 0   ? front_grant(&f, received[i], 0)
                  : i % 4 == 1 ? front_grant(&f, received[i], GTF_readonly)
                  : i % 4 == 2 ? 505
                               : ~0U;
    }
    RING_PUSH_REQUESTS(&rx);
}

static void connect(void)
{
    grant_init();
    front_open(&f, "vif", 0);
    SHARED_RING_INIT((netif_tx_sring_t *)tx_page);
    FRONT_RING_INIT(&tx, (netif_tx_sring_t *)tx_page, PAGE_BYTES);
    SHARED_RING_INIT((netif_rx_sring_t *)rx_page);
    FRONT_RING_INIT(&rx, (netif_rx_sring_t *)rx_page, PAGE_BYTES);
    front_put(&f, "tx-ring-ref", front_grant(&f, tx_page, 0));
    front_put(&f, "rx-ring-ref", front_grant(&f, rx_page, 0));
    front_put(&f, "event-channel", f.port);
    front_put(&f, "request-rx-copy", 1);
    front_put(&f, "feature-rx-notify", 1);
    offer_buffers();
    front_put(&f, "state", XenbusStateConnected);
    NEED(front_wait(&f, XenbusStateConnected));
}

/* An Ethernet frame of a type nobody listens to, to everybody. */
static void fill(uint8_t *page)
{
    memset(page, 0xff, 12);
    page[6] = 2;
    page[12] = 0x88;
    page[13] = 0xb5;
}

static void good(void)
{
    grant_ref_t ref = front_grant(&f, data[0], GTF_readonly);
    fill(data[0]);
    CHECK_IS(one(ref, 0, FRAME_BYTES), NETIF_RSP_OKAY);
    CHECK_IS(one(ref, 0, 1514), NETIF_RSP_OKAY);
    front_revoke(ref);
}

static void bad_grants(void)
{
    static const uint32_t frames[] = {0, 1, 0x100, 0xffffff, 0x7fffffff, 0xffffffff};
    grant_ref_t ref = front_grant(&f, data[1], GTF_readonly);
    fill(data[1]);
    CHECK_IS(one(500, 0, FRAME_BYTES), NETIF_RSP_ERROR);
    CHECK_IS(one(0x7fffffff, 0, FRAME_BYTES), NETIF_RSP_ERROR);
    CHECK_IS(one(~0U, 0, FRAME_BYTES), NETIF_RSP_ERROR);
    grant_table[ref].domid = (domid_t)(f.backend_id + 1);
    CHECK_IS(one(ref, 0, FRAME_BYTES), NETIF_RSP_ERROR);
    for (unsigned i = 0; i < ARRAY_SIZE(frames); i++) {
        grant_set(ref, f.backend_id, frames[i], GTF_permit_access | GTF_readonly);
        CHECK_IS(one(ref, 0, FRAME_BYTES), NETIF_RSP_ERROR);
    }
    /* Too short to be one, and a second slot that grants nothing. */
    grant_set(ref, f.backend_id, mfn_of(data[1]), GTF_permit_access | GTF_readonly);
    CHECK_IS(one(ref, 0, 3), NETIF_RSP_ERROR);
    add(ref, 0, 2000, NETTXF_more_data);
    add(506, 0, 500, 0);
    send();
    int first = answer(), second = answer();
    CHECK(first == NETIF_RSP_ERROR || second == NETIF_RSP_ERROR);
    front_revoke(ref);
}

static void change_in_use(void)
{
    grant_ref_t refs[PAGES];
    for (unsigned round = 0; round < 40; round++) {
        for (unsigned i = 0; i < PAGES; i++) {
            fill(data[i]);
            refs[i] = front_grant(&f, data[i], GTF_readonly);
            add(refs[i], 0, 1000, 0);
        }
        send();
        for (unsigned i = 0; i < PAGES; i++) {
            for (unsigned spin = 0; spin < round * 30; spin++) {
                cpu_relax();
            }
            if (i % 3 == 0) {
                front_revoke(refs[i]);
            } else if (i % 3 == 1) {
                grant_set(refs[i], f.backend_id, mfn_of(tx_page), 0xffff);
            } else {
                grant_table[refs[i]].domid = 77;
            }
        }
        for (unsigned i = 0; i < PAGES; i++) {
            int status = answer();
            CHECK(status == NETIF_RSP_OKAY || status == NETIF_RSP_ERROR);
        }
        for (unsigned i = 0; i < PAGES; i++) {
            front_revoke(refs[i]);
        }
    }
}

static void end_the_device(uint64_t how, grant_ref_t ref)
{
    if (how == 0) {
        add(ref, 4000, 1000, 0);
    } else if (how == 1) {
        add(ref, 0, 2000, NETTXF_more_data);
        for (unsigned i = 0; i < 60; i++) {
            add(ref, 0, 8, NETTXF_more_data);
        }
        add(ref, 0, 8, 0);
    } else if (how == 2) {
        tx.req_prod_pvt += 0x1000;
    } else if (how == 3) {
        add(ref, 0, FRAME_BYTES, NETTXF_extra_info);
        struct netif_extra_info *extra =
            (struct netif_extra_info *)RING_GET_REQUEST(&tx, tx.req_prod_pvt);
        tx.req_prod_pvt++;
        memset(extra, 0, sizeof(*extra));
        extra->type = 200;
    } else {
        for (unsigned i = 0; i < 30; i++) {
            add(ref, 0, 1000, 0);
        }
    }
    RING_PUSH_REQUESTS(&tx);
    (void)event_send(f.port);
}

void test_main(void)
{
    uint64_t how = 0;
    (void)option_number("how", &how);
    connect();
    good();
    bad_grants();
    good();
    change_in_use();
    good();
    expect_crash("it dies with packets under way");
    fill(data[2]);
    end_the_device(how, front_grant(&f, data[2], GTF_readonly));
    if (how != 4) {
        sleep_ns(300000000);
    }
    struct sched_shutdown off = {.reason = SHUTDOWN_crash};
    (void)sched_op(SCHEDOP_shutdown, &off);
}
