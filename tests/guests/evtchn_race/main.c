/* SPDX-License-Identifier: MIT */
/*
 * Two vCPUs make, connect, send through, move and close the same ports as fast as they can. Every
 * answer is one that is documented; at the end all ports can be closed and made again.
 */
#include "lib.h"

#define ROUNDS 2500

static volatile uint32_t ready, done;

static void round_of(uint32_t i)
{
    uint32_t port = 3 + i % 13;
    long rc;
    switch (i % 7) {
    case 0:
    case 1:
        rc = event_alloc_unbound(DOMID_SELF, DOMID_SELF);
        CHECK(rc > 0 || rc == -ENOSPC);
        break;
    case 2:
        rc = event_bind_interdomain(DOMID_SELF, port);
        CHECK(rc > 0 || rc == -EINVAL || rc == -ENOSPC);
        break;
    case 3:
        rc = event_send(port);
        CHECK(rc == 0 || rc == -EINVAL);
        break;
    case 4: {
        struct evtchn_bind_vcpu move = {.port = port, .vcpu = i & 1};
        rc = evtchn_op(EVTCHNOP_bind_vcpu, &move);
        CHECK(rc == 0 || rc == -EINVAL);
        break;
    }
    case 5: {
        struct evtchn_status status;
        CHECK_IS(event_status(port, &status), 0);
        CHECK(status.status <= EVTCHNSTAT_ipi);
        break;
    }
    default:
        for (uint32_t at = 0; at < 3; at++) {
            rc = event_close(3 + (i + at) % 40);
            CHECK(rc == 0 || rc == -EINVAL);
        }
        break;
    }
}

static void second(uint64_t arg)
{
    (void)arg;
    ready = 1;
    for (uint32_t i = 0; i < ROUNDS; i++) {
        round_of(i * 5 + 3);
    }
    done = 1;
}

void test_main(void)
{
    NEED_OK(cpu_start(1, second, 0));
    NEED(wait_for(&ready, 10000));
    for (uint32_t i = 0; i < ROUNDS; i++) {
        round_of(i * 3);
    }
    CHECK(wait_for(&done, 30000));
    for (uint32_t port = 3; port < 1024; port++) {
        long rc = event_close(port);
        CHECK(rc == 0 || rc == -EINVAL);
    }
    CHECK_IS(event_bind_ipi(0), 3);
    CHECK_IS(event_bind_virq(VIRQ_TIMER, 1), 4);
}
