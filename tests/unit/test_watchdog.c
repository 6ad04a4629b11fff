// SPDX-License-Identifier: MIT
/* The watchdog: who is kicked, who gets NMIs, what stops the machine, and above all what does not.
 */
#include "suite.h"

#include "arch/upcalls.h"
#include "base/cmdline.h"
#include "core/watchdog.h"

#define ROUND (2 * NS_PER_SEC)

/* pcpu 0 watches pcpu 1; the test plays both. */
static void start_watch(void)
{
    cmdline.watchdog = 10;
    for (unsigned cpu = 0; cpu < 2; cpu++) {
        watches[cpu] = (struct watch){0};
    }
    memset(host.kicks, 0, sizeof(host.kicks));
    memset(host.nmis, 0, sizeof(host.nmis));
    watchdog_init_pcpu(0);
    timer_run(); /* the first look finds no beat yet */
}

static void end_watch(void)
{
    timer_stop(&watches[0].timer);
    cmdline.watchdog = 0;
}

static void rounds(unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        host_advance(ROUND);
        timer_run();
    }
}

static void beat(void)
{
    host_play(1);
    watchdog_beat();
    host_play(0);
}

/* An NMI arrives at pcpu 1. */
static bool nmi(bool interruptible)
{
    host_play(1);
    bool report = upcall_nmi(interruptible);
    host_play(0);
    return report;
}

static void test_watchdog__progress_keeps_it_quiet(void)
{
    start_watch();
    for (unsigned i = 0; i < 40; i++) {
        beat();
        rounds(1);
    }
    CU_ASSERT_TRUE(host.kicks[1] <= 1);
    CU_ASSERT_EQUAL(host.nmis[1], 0);
    end_watch();
}

static void test_watchdog__a_kick_brings_the_beat(void)
{
    start_watch();
    for (unsigned i = 0; i < 40; i++) {
        unsigned kicks = host.kicks[1];
        rounds(1);
        if (host.kicks[1] > kicks) {
            beat();
        }
    }
    CU_ASSERT_TRUE(host.kicks[1] >= 19);
    CU_ASSERT_EQUAL(host.nmis[1], 0);
    end_watch();
}

static void test_watchdog__a_stuck_pcpu_reports(void)
{
    start_watch();
    rounds(2);
    CU_ASSERT_EQUAL(host.nmis[1], 0);
    rounds(1);
    CU_ASSERT_EQUAL(host.nmis[1], 1); /* only to see whether it runs */
    CU_ASSERT_FALSE(nmi(false));
    rounds(2);
    CU_ASSERT_EQUAL(host.nmis[1], 2);
    CU_ASSERT_TRUE(nmi(false));
    end_watch();
}

static void test_watchdog__not_while_interrupts_get_through(void)
{
    start_watch();
    rounds(3);
    CU_ASSERT_FALSE(nmi(true));
    rounds(2);
    CU_ASSERT_EQUAL(host.nmis[1], 2);
    CU_ASSERT_FALSE(nmi(true));
    beat();
    rounds(1);
    CU_ASSERT_EQUAL(watches[1].nmi, WATCHDOG_NONE);
    CU_ASSERT_EQUAL(host.nmis[1], 2);
    end_watch();
}

static void test_watchdog__a_beat_after_the_first_nmi_ends_it(void)
{
    start_watch();
    rounds(3);
    CU_ASSERT_FALSE(nmi(false));
    beat();
    rounds(3);
    CU_ASSERT_EQUAL(host.nmis[1], 1);
    /* The NMI on its way when the count started anew reports nothing either. */
    CU_ASSERT_FALSE(nmi(false));
    end_watch();
}

static void test_watchdog__a_long_standstill_of_the_whole_machine(void)
{
    start_watch();
    host_advance(3600 * NS_PER_SEC);
    timer_run();
    CU_ASSERT_EQUAL(host.nmis[1], 0);
    end_watch();
}

static void test_watchdog__unanswered_nmi_is_not_repeated_but_ends_it(void)
{
    start_watch();
    rounds(13);
    CU_ASSERT_EQUAL(host.nmis[1], 1);
    CU_ASSERT_TRUE(HOST_ENDS_IN(HOST_PANIC, rounds(1)));
    CU_ASSERT_PTR_NOT_NULL(strstr(host_panic_message, "CPU 1"));
    end_watch();
}

static void waits(unsigned seconds)
{
    for (unsigned i = 0; i < seconds; i++) {
        host_advance(NS_PER_SEC);
        upcall_waiting();
    }
}

static void test_watchdog__one_that_waits_for_ever(void)
{
    start_watch();
    watchdog_beat();
    waits(31);
    CU_ASSERT_TRUE(HOST_ENDS_IN(HOST_PANIC, waits(1)));
    CU_ASSERT_PTR_NOT_NULL(strstr(host_panic_message, "CPU 0 has waited"));
    end_watch();
}

static void test_watchdog__waiting_that_gets_somewhere(void)
{
    start_watch();
    for (unsigned i = 0; i < 10; i++) {
        waits(20);
        watchdog_beat();
    }
    waits(10);
    host_advance(3600 * NS_PER_SEC); /* nobody has run meanwhile */
    waits(20);
    end_watch();
    waits(100);
}

static void test_watchdog__off(void)
{
    start_watch();
    end_watch();
    watchdog_init_pcpu(0);
    rounds(20);
    CU_ASSERT_EQUAL(host.nmis[1], 0);
    CU_ASSERT_FALSE(nmi(false)); /* somebody else's NMI */
}

int main(void)
{
    static const struct suite_case cases[] = {
        CASE(test_watchdog__progress_keeps_it_quiet),
        CASE(test_watchdog__a_kick_brings_the_beat),
        CASE(test_watchdog__a_stuck_pcpu_reports),
        CASE(test_watchdog__not_while_interrupts_get_through),
        CASE(test_watchdog__a_beat_after_the_first_nmi_ends_it),
        CASE(test_watchdog__a_long_standstill_of_the_whole_machine),
        CASE(test_watchdog__unanswered_nmi_is_not_repeated_but_ends_it),
        CASE(test_watchdog__one_that_waits_for_ever),
        CASE(test_watchdog__waiting_that_gets_somewhere),
        CASE(test_watchdog__off),
    };
    return SUITE("watchdog", 2, cases);
}
