/* SPDX-License-Identifier: MIT */
/*
 * Not a test but a domain that costs nothing while nobody asks: it says that it is ready, sleeps
 * without a timer, and answers each typed 'a' with "alive". The benchmarks of a domain's life are
 * made with it, and the boot test "hundred" fills a machine with it.
 *
 * Not alone: it waits to be destroyed.
 */
#include "lib.h"

void test_main(void)
{
    uint32_t port = start_info->console.domU.evtchn;
    event_mask(port, false);
    events_on();
    say("ready, domain %u", own_domid());
    for (;;) {
        (void)sched_op(SCHEDOP_block, 0);
        for (int c = console_read(); c >= 0; c = console_read()) {
            if (c == 'a') {
                say("alive");
            }
        }
    }
}
