/* SPDX-License-Identifier: MIT */
/*
 * Not a test but the bystander of all of them. It fills its memory with a pattern and, until it is
 * told to stop, looks again and again at that pattern, at its clock (never back), at its timer and
 * at an event to itself (never early, never later than LATE_MS). It says "complaint" for each thing
 * that is wrong, answers a typed 'a' with "alive", and 'q' with its verdict.
 *
 * For tests that need a second domain it offers each of the DOMAINS domains after it one event
 * channel, which it answers, one page to read and one to write; see canary.h.
 *
 * Not alone: it is a bystander and waits to be stopped.
 */
#include "canary.h"
#include "lib.h"

#define LATE_MS 10000 /* more than any busy host takes from the machine */
#define TICK_NS 20000000UL
#define PATTERN_FRAMES 512

static uint8_t read_page[PAGE_BYTES] PAGE_ALIGNED;
static uint8_t write_page[PAGE_BYTES] PAGE_ALIGNED;
static volatile uint64_t pattern[PATTERN_FRAMES][PAGE_BYTES / 8] PAGE_ALIGNED;
static volatile uint32_t ticks, ipis;
static uint32_t rounds, complaints;
static uint64_t last_ns, worst_ns;

static void complain(const char *what, uint64_t value)
{
    complaints++;
    say("complaint: %s (%lu)", what, value);
}

static uint64_t pattern_word(uint64_t page, uint64_t word)
{
    return (page * 512 + word) * 0x9e3779b97f4a7c15UL;
}

static void on_timer(uint32_t port)
{
    (void)port;
    ticks++;
}

static void on_ipi(uint32_t port)
{
    (void)port;
    ipis++;
}

static void on_peer(uint32_t port)
{
    (void)event_send(port);
}

static void offer(void)
{
    domid_t me = own_domid();
    grant_init();
    memset(read_page, CANARY_BYTE, sizeof(read_page));
    for (unsigned i = 1; i <= CANARY_DOMAINS; i++) {
        grant_set(CANARY_REF_READ + i, (domid_t)(me + i), mfn_of(read_page),
                  GTF_permit_access | GTF_readonly);
        grant_set(CANARY_REF_WRITE + i, (domid_t)(me + i), mfn_of(write_page), GTF_permit_access);
    }
    for (unsigned i = 1; i <= CANARY_DOMAINS; i++) {
        long port = event_alloc_unbound(DOMID_SELF, (domid_t)(me + i));
        NEED(port == (long)(CANARY_PORT + i));
        event_handlers[port % 256] = on_peer;
        event_mask((uint32_t)port, false);
    }
}

static void look_at_clock(void)
{
    uint64_t now = now_ns();
    if (now < last_ns) {
        complain("the clock went back, ns", last_ns - now);
    }
    last_ns = now;
}

/* Sleeps until the timer; the time it is late is the domain's latency. */
static void look_at_timer(long ipi)
{
    uint64_t deadline = now_ns() + TICK_NS;
    struct vcpu_set_singleshot_timer set = {.timeout_abs_ns = deadline};
    uint32_t before = ticks;
    NEED_OK(vcpu_op(VCPUOP_set_singleshot_timer, 0, &set));
    while (ticks == before) {
        (void)sched_op(SCHEDOP_block, 0);
        if (now_ns() > deadline + LATE_MS * 1000000UL) {
            complain("a timer is late, ms", (now_ns() - deadline) / 1000000);
            return;
        }
    }
    uint64_t now = now_ns();
    if (now < deadline) {
        complain("a timer is early, ns", deadline - now);
    } else if (now - deadline > LATE_MS * 1000000UL) {
        complain("a timer was late, ms", (now - deadline) / 1000000);
    } else if (now - deadline > worst_ns) {
        worst_ns = now - deadline;
    }
    before = ipis;
    NEED_OK(event_send((uint32_t)ipi));
    if (ipis != before + 1) {
        complain("an event to itself did not come at once", ipis - before);
    }
}

static void look_at_memory(void)
{
    uint64_t page = rounds % PATTERN_FRAMES;
    for (uint64_t i = 0; i < PAGE_BYTES / 8; i++) {
        if (pattern[page][i] != pattern_word(page, i)) {
            complain("memory has changed, page", page);
            pattern[page][i] = pattern_word(page, i);
        }
    }
    for (unsigned i = 0; i < PAGE_BYTES; i++) {
        if (read_page[i] != CANARY_BYTE) {
            complain("a page granted read-only has changed, byte", i);
            read_page[i] = CANARY_BYTE;
        }
    }
}

static void typed(void)
{
    for (int c = console_read(); c >= 0; c = console_read()) {
        if (c == 'a') {
            say("alive, %u rounds, %u complaints, latest timer %lu us", rounds, complaints,
                worst_ns / 1000);
        } else if (c == 'q') {
            CHECK(rounds > 10);
            CHECK_IS(complaints, 0);
            success();
        }
    }
}

void test_main(void)
{
    for (uint64_t page = 0; page < PATTERN_FRAMES; page++) {
        for (uint64_t i = 0; i < PAGE_BYTES / 8; i++) {
            pattern[page][i] = pattern_word(page, i);
        }
    }
    offer();
    long timer = event_bind_virq(VIRQ_TIMER, 0), ipi = event_bind_ipi(0);
    NEED(timer > 0 && ipi > 0);
    event_handlers[timer % 256] = on_timer;
    event_handlers[ipi % 256] = on_ipi;
    event_mask((uint32_t)timer, false);
    event_mask((uint32_t)ipi, false);
    events_on();
    say("ready, domain %u", own_domid());
    for (;; rounds++) {
        look_at_clock();
        look_at_timer(ipi);
        look_at_memory();
        typed();
    }
}
