/* SPDX-License-Identifier: MIT */
/*
 * A guest that writes to its console as fast as it is taken and sends the event for each byte, for
 * `seconds` (2 if not said), with a few impossible indexes between. The daemon takes no more than a
 * guest's share and drops nothing: the last line arrives.
 * Not alone: the daemon is in the control domain.
 */
#include "lib.h"

#include <xen/io/console.h>

void test_main(void)
{
    static char line[128];
    uint64_t seconds = 2, bytes = 0;
    struct xencons_interface *ring =
        (struct xencons_interface *)(VIRT_BASE +
                                     pfn_of_mfn(start_info->console.domU.mfn) * PAGE_BYTES);
    struct evtchn_send send = {.port = start_info->console.domU.evtchn};
    (void)option_number("seconds", &seconds);
    memset(line, '.', sizeof(line));
    line[sizeof(line) - 1] = '\n';
    for (uint64_t until = now_ns() + seconds * 1000000000UL; now_ns() < until;) {
        if (ring->out_prod - ring->out_cons + sizeof(line) <= sizeof(ring->out)) {
            for (unsigned i = 0; i < sizeof(line); i++) {
                ring->out[ring->out_prod % sizeof(ring->out)] = line[i];
                __atomic_store_n(&ring->out_prod, ring->out_prod + 1, __ATOMIC_RELEASE);
                NEED_OK(evtchn_op(EVTCHNOP_send, &send));
            }
            bytes += sizeof(line);
        } else {
            NEED_OK(evtchn_op(EVTCHNOP_send, &send));
        }
        if (bytes % 8192 == 0 && bytes) {
            /* As if it had read beyond what was typed; the daemon takes its input for full. */
            ring->in_cons += 77;
            NEED_OK(evtchn_op(EVTCHNOP_send, &send));
            ring->in_cons -= 77;
        }
    }
    say("%lu bytes in %lu s", bytes, seconds);
    CHECK(bytes >= sizeof(ring->out));
    /* What the daemon takes of one guest: 1 MiB and a turn in 50 ms, and what was under way. */
    CHECK(bytes < (seconds + 2) * 20 * ((1 << 20) + 16384));
}
