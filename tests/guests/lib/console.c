/* SPDX-License-Identifier: MIT */
/* What a test says: beside the canary by the console ring, which reaches a log in the control
 * domain; alone by the hypercall, which reaches the machine's serial line. Any vCPU may write; a
 * byte lock keeps lines in one piece. */
#include "lib.h"

#include <xen/io/console.h>

#define PATIENCE 200000 /* yields before output is dropped: nobody reads */

static struct xencons_interface *ring;
static volatile uint32_t lock;

void console_init(void)
{
    if (!alone()) {
        ring = (struct xencons_interface *)(VIRT_BASE +
                                            pfn_of_mfn(start_info->console.domU.mfn) * PAGE_BYTES);
    }
}

static void notify(void)
{
    struct evtchn_send send = {.port = start_info->console.domU.evtchn};
    (void)evtchn_op(EVTCHNOP_send, &send);
}

static void ring_write(const char *text, size_t bytes)
{
    uint32_t patience = PATIENCE;
    uint32_t prod = ring->out_prod;
    while (bytes && patience) {
        uint32_t cons = __atomic_load_n(&ring->out_cons, __ATOMIC_ACQUIRE);
        if (prod - cons >= sizeof(ring->out)) {
            notify();
            (void)sched_op(SCHEDOP_yield, 0);
            patience--;
            continue;
        }
        ring->out[prod++ % sizeof(ring->out)] = *text++;
        __atomic_store_n(&ring->out_prod, prod, __ATOMIC_RELEASE);
        bytes--;
    }
    notify();
}

void console_write(const char *text, size_t bytes)
{
    if (!ring && !alone()) {
        return;
    }
    while (__atomic_exchange_n(&lock, 1, __ATOMIC_ACQUIRE)) {
        (void)sched_op(SCHEDOP_yield, 0);
    }
    if (ring) {
        ring_write(text, bytes);
    } else {
        (void)console_io(CONSOLEIO_write, bytes, text);
    }
    __atomic_store_n(&lock, 0, __ATOMIC_RELEASE);
}

int console_read(void)
{
    if (!ring) {
        return -1;
    }
    uint32_t cons = ring->in_cons;
    if (__atomic_load_n(&ring->in_prod, __ATOMIC_ACQUIRE) == cons) {
        return -1;
    }
    int c = (unsigned char)ring->in[cons % sizeof(ring->in)];
    __atomic_store_n(&ring->in_cons, cons + 1, __ATOMIC_RELEASE);
    notify();
    return c;
}
