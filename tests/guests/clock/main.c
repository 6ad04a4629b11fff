/* SPDX-License-Identifier: MIT */
/*
 * Not a test by itself but the clock that boot tests watch. Two vCPUs read the system time in turns
 * as fast as they can: no reading may be before one that was taken earlier, on whichever of the
 * two; what is wrong is said as a complaint. A typed 't' is answered with the time since boot and
 * the wall clock, 'q' with the verdict.
 *
 * stamps=N: says the time since boot every 20 ms for N seconds instead.
 * timers=N: sets N one-shot timers, one after the other, and says how late the latest came.
 *
 * Not alone: it waits for who watches it, or is given one of the arguments above by its boot test.
 */
#include "lib.h"

#define STAMP_NS 20000000UL

static uint64_t latest; /* atomic: of all readings */
static volatile uint32_t stop, second_ended, complaints;
static uint64_t readings;
static volatile uint32_t ticks;
static uint64_t fired_ns;

static void look(void)
{
    /* Read before the clock: whatever is in it was taken earlier. */
    uint64_t before = __atomic_load_n(&latest, __ATOMIC_SEQ_CST);
    uint64_t now = now_ns();
    if (now < before) {
        complaints++;
        say("complaint: the clock went back, ns (%lu)", before - now);
    }
    while (before < now && !__atomic_compare_exchange_n(&latest, &before, now, false,
                                                        __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {
    }
}

static void second(uint64_t arg)
{
    (void)arg;
    while (!stop) {
        look();
    }
    second_ended = 1;
}

static uint64_t wall_ns(void)
{
    for (;;) {
        uint32_t version = __atomic_load_n(&shared_info->wc_version, __ATOMIC_ACQUIRE);
        uint64_t sec = shared_info->wc_sec | (uint64_t)shared_info->wc_sec_hi << 32;
        uint64_t ns = sec * 1000000000 + shared_info->wc_nsec + now_ns();
        barrier();
        if (!(version & 1) && version == shared_info->wc_version) {
            return ns;
        }
    }
}

static void typed(void)
{
    for (int c = console_read(); c >= 0; c = console_read()) {
        if (c == 't') {
            say("time %lu wall %lu", now_ns(), wall_ns());
        } else if (c == 'q') {
            stop = 1;
            CHECK(wait_for(&second_ended, 60000));
            CHECK(readings > 10);
            CHECK_IS(complaints, 0);
            success();
        }
    }
}

static void on_timer(uint32_t port)
{
    (void)port;
    fired_ns = now_ns();
    ticks++;
}

static _Noreturn void stamps(uint64_t seconds)
{
    uint64_t first = now_ns();
    for (uint64_t at = first; at < first + seconds * 1000000000; at += STAMP_NS) {
        while (now_ns() < at) {
            sleep_ns(at - now_ns());
        }
        look();
        say("time %lu wall %lu", now_ns(), wall_ns());
    }
    CHECK_IS(complaints, 0);
    success();
}

/* Distances from 10 us to 40 ms, in no order that a timer wheel or a slice could like. */
static _Noreturn void timers(uint64_t count)
{
    uint64_t worst = 0, random = 1;
    long port = event_bind_virq(VIRQ_TIMER, 0);
    NEED_OK(port);
    event_handlers[port % 256] = on_timer;
    event_mask((uint32_t)port, false);
    events_on();
    for (uint64_t i = 0; i < count; i++) {
        random = random * 6364136223846793005UL + 1442695040888963407UL;
        uint64_t deadline = now_ns() + 10000 + (random >> 33) % (1UL << (14 + i % 12));
        struct vcpu_set_singleshot_timer set = {.timeout_abs_ns = deadline};
        uint32_t before = ticks;
        NEED_OK(vcpu_op(VCPUOP_set_singleshot_timer, 0, &set));
        while (ticks == before) {
            (void)sched_op(SCHEDOP_block, 0);
        }
        CHECK(fired_ns >= deadline);
        if (fired_ns > deadline && fired_ns - deadline > worst) {
            worst = fired_ns - deadline;
        }
    }
    say("%lu timers, the latest %lu ns late", count, worst);
    success();
}

void test_main(void)
{
    uint64_t count;
    if (option_number("stamps", &count)) {
        stamps(count);
    }
    if (option_number("timers", &count)) {
        timers(count);
    }
    NEED_OK(cpu_start(1, second, 0));
    say("ready");
    for (;; readings++) {
        for (unsigned i = 0; i < 1000; i++) {
            look();
        }
        typed();
    }
}
