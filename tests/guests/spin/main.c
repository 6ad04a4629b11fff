/* SPDX-License-Identifier: MIT */
/*
 * Not a test but a load, for the boot tests "fair" and "demand", which look at its account: it
 * works for run=N microseconds, sleeps for sleep=N, and so on; without them it works all the time.
 * With work=N it works until it has had that much of a processor, by its own account, however long
 * that takes. Its second vCPU stays down. It never ends by itself.
 *
 * Not alone: it has no verdict.
 */
#include "lib.h"

/* Of the processor, so far. The area is written whenever this vCPU gets a pcpu. */
static uint64_t used_ns(const volatile struct vcpu_runstate_info *r)
{
    uint64_t since, before, now;
    do {
        since = r->state_entry_time;
        before = r->time[RUNSTATE_running];
        now = now_ns();
    } while (since != r->state_entry_time);
    return before + (now > since ? now - since : 0);
}

void test_main(void)
{
    uint64_t run = 0, work = 0, sleep = 0;
    (void)option_number("run", &run);
    (void)option_number("work", &work);
    (void)option_number("sleep", &sleep);
    struct vcpu_runstate_info *r = (struct vcpu_runstate_info *)page_new();
    struct vcpu_register_runstate_memory_area area = {.addr.p = (uint64_t)r};
    NEED(vcpu_op(VCPUOP_register_runstate_memory_area, 0, &area) == 0);
    say("spinning");
    for (uint64_t start = work ? used_ns(r) : now_ns();;) {
        if (work && (int64_t)(used_ns(r) - start - work * 1000) >= 0) {
            sleep_ns(sleep * 1000);
            start += work * 1000; /* what was too much is made up for */
        } else if (!work && sleep && now_ns() - start >= run * 1000) {
            sleep_ns(sleep * 1000);
            start = now_ns();
        }
    }
}
