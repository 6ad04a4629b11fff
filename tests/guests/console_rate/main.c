/* SPDX-License-Identifier: MIT */
/*
 * A guest that writes the numbers from 1 to `lines` (20000 if not said), one a line, to its console
 * as fast as they are taken, and says how long it took. With `wait` it begins when something is
 * typed. Whether all of them arrive, and at every reader, boot test "console" looks at.
 * Not alone: the daemon is in the control domain.
 */
#include "lib.h"

void test_main(void)
{
    static char chunk[512];
    size_t bytes = 0, used = 0;
    uint64_t lines = 20000, wait = 0;
    (void)option_number("lines", &lines);
    (void)option_number("wait", &wait);
    say("waits");
    while (wait && console_read() < 0) {
        (void)sched_op(SCHEDOP_yield, 0);
    }
    uint64_t begin = now_ns();
    for (uint64_t i = 1; i <= lines; i++) {
        used += text_print(chunk + used, sizeof(chunk) - used, "%lu\n", i);
        if (used > sizeof(chunk) - 24 || i == lines) {
            console_write(chunk, used);
            bytes += used;
            used = 0;
        }
    }
    say("%lu bytes in %lu ms", bytes, (now_ns() - begin) / 1000000);
    CHECK(bytes > lines);
}
