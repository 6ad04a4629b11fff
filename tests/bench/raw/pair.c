/* SPDX-License-Identifier: MIT */
/*
 * What two domains pay for what they do with each other: the rows "pair" of `make bench`. Started
 * twice, one right after the other: the first answers events and grants a page, the second, which
 * has the option "ask", measures. Output as raw.c's.
 */
#include "lib.h"

#define SAMPLES 15
#define REF 40
#define PORTS 64

static domid_t peer;
static uint32_t port; /* to the peer, masked: it is waited for by polling */
static void *area;
static struct gnttab_copy copy_op;

static void wait_event(void)
{
    struct sched_poll poll = {.nr_ports = 1};
    set_xen_guest_handle(poll.ports, &port);
    NEED_OK(sched_op(SCHEDOP_poll, &poll));
    event_clear(port);
}

static void answer(void)
{
    grant_init();
    grant_set(REF, peer, mfn_of(page_new()), GTF_permit_access);
    long got = event_alloc_unbound(DOMID_SELF, peer);
    NEED(got > 0 && got < PORTS);
    port = (uint32_t)got;
    event_mask(port, true);
    say("BENCH ready");
    for (;;) {
        wait_event();
        NEED_OK(event_send(port));
    }
}

static void op_ping(void)
{
    (void)event_send(port);
    wait_event();
}

static void op_copy(void)
{
    (void)grant_op(GNTTABOP_copy, &copy_op, 1);
}

static void op_map(void)
{
    grant_handle_t handle;
    (void)grant_map(peer, REF, (uint64_t)area, GNTMAP_host_map, &handle);
    (void)grant_unmap(handle, (uint64_t)area, 0);
}

static void row(const char *name, void (*op)(void), unsigned n)
{
    uint64_t sample[SAMPLES];
    for (unsigned s = 0; s < SAMPLES + 1; s++) { /* the first warms up and is overwritten */
        uint64_t start = rdtsc();
        for (unsigned i = 0; i < n; i++) {
            op();
        }
        uint64_t spent = rdtsc() - start;
        unsigned at = s ? s - 1 : 0;
        for (; at && sample[at - 1] > spent && s > 1; at--) {
            sample[at] = sample[at - 1];
        }
        sample[at] = spent;
    }
    say("BENCH %s|%lu", name, sample[SAMPLES / 2] * 100 / n);
}

static void ask(void)
{
    long got = -1;
    for (uint32_t p = 1; p < PORTS && got < 0; p++) {
        got = event_bind_interdomain(peer, p);
    }
    NEED(got > 0);
    port = (uint32_t)got;
    event_mask(port, true);
    event_clear(port); /* binding rings */
    test_area_init();
    area = test_va(0);
    grant_init();
    copy_op = (struct gnttab_copy){.len = 64, .flags = GNTCOPY_source_gref};
    copy_op.source.domid = peer;
    copy_op.source.u.ref = REF;
    copy_op.dest.domid = DOMID_SELF;
    copy_op.dest.u.gmfn = mfn_of(page_new());
    op_copy();
    NEED(copy_op.status == GNTST_okay);
    grant_handle_t handle;
    NEED_OK(grant_map(peer, REF, (uint64_t)area, GNTMAP_host_map, &handle));
    NEED_OK(grant_unmap(handle, (uint64_t)area, 0));
    row("event ping between two domains", op_ping, 50);
    row("grant copy of 64 bytes", op_copy, 50);
    copy_op.len = PAGE_BYTES;
    row("grant copy of 4 KiB", op_copy, 50);
    row("grant map and unmap", op_map, 50);
    say("BENCH end");
}

void test_main(void)
{
    uint64_t asks = 0;
    events_off();
    (void)option_number("ask", &asks);
    peer = (domid_t)(asks ? own_domid() - 1 : own_domid() + 1);
    if (asks) {
        ask();
    } else {
        answer();
    }
}
