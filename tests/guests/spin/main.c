/* SPDX-License-Identifier: MIT */
/*
 * Not a test but a load, for the boot test "fair", which looks at its account: it works for run=N
 * microseconds, sleeps for sleep=N, and so on; without them it works all the time. Its second vCPU
 * stays down. It never ends by itself.
 *
 * Not alone: it has no verdict.
 */
#include "lib.h"

void test_main(void)
{
    uint64_t run = 0, sleep = 0;
    (void)option_number("run", &run);
    (void)option_number("sleep", &sleep);
    say("spinning");
    for (uint64_t until = now_ns() + run * 1000;;) {
        if (sleep && now_ns() >= until) {
            sleep_ns(sleep * 1000);
            until = now_ns() + run * 1000;
        }
    }
}
