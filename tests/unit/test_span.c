// SPDX-License-Identifier: MIT
/* core/span.c, and that what is long has interrupt windows: make bound says how long is long. */
#include <string.h>

#include "core/deferred.h"
#include "core/frame.h"
#include "core/span.h"
#include "core/timer.h"
#include "pv/page_type.h"
#include "suite.h"

static struct domain *control, *guest;

static void begin(void)
{
    control = suite_control();
    guest = suite_domain(1, 1);
    guest->max_pages = 4096;
    suite_enter(control->vcpu[0]);
    (void)span_close();
}

static void end(void)
{
    suite_enter(NULL);
    suite_destroy(guest);
    suite_destroy(control);
}

static bool reported(const char *line)
{
    host.console_bytes = 0;
    span_report(true);
    return strstr(host.console, line);
}

static void test_span__longest_piece_gets_it(void)
{
    begin();
    span_note(SPAN_HYPERCALL, 36, 5);
    host_tsc += 100;
    span_note(SPAN_HYPERCALL, 26, 3);
    span_note(SPAN_HYPERCALL, 26, 3);
    host_tsc += 300000000;
    span_note(SPAN_WORK, 0, 1);
    host_tsc += 7;
    (void)span_close();
    CU_ASSERT(reported("span: up to 300000107 cycles in hypercall 26.3\n"));
    CU_ASSERT(reported("span: longest 300000107 cycles in hypercall 26.3\n"));
    /* A shorter one changes nothing, a longer one does; huge ones do not wrap. */
    span_note(SPAN_HYPERCALL, 26, 3);
    host_tsc += 1000;
    (void)span_close();
    CU_ASSERT(reported("span: up to 300000107 cycles in hypercall 26.3\n"));
    span_note(SPAN_EXCEPTION, 14, 0);
    host_tsc += 1UL << 32;
    (void)span_close();
    CU_ASSERT(reported("span: longest 4294967295 cycles in exception 14.0\n"));
    CU_ASSERT_EQUAL(span_close(), SPAN_NONE);
    end();
}

/* An interrupt that comes in a window, and takes long. */
static void interrupt(void)
{
    host_tsc += 90;
    span_note(SPAN_ENTRY, 1, 9);
    host_tsc += 50;
}

static void test_span__windows_end_it(void)
{
    begin();
    span_note(SPAN_HYPERCALL, 12, 60);
    host_tsc += 40;
    host.on_window = interrupt;
    irq_window(false);
    host.on_window = NULL;
    host_tsc += 41;
    (void)span_close();
    CU_ASSERT(reported("span: up to 41 cycles in hypercall 12.60\n"));
    CU_ASSERT(reported("span: up to 50 cycles in entry 1.9\n"));
    /* Without a span, as during start-up, a window opens none. */
    irq_window(true);
    CU_ASSERT_EQUAL(span_close(), SPAN_NONE);
    end();
}

/* ---- windows ---- */

/* Windows that a whole call opens. */
static unsigned windows_of(unsigned nr, uint64_t a, uint64_t b, uint64_t c, long want)
{
    unsigned before = host.windows;
    CU_ASSERT_EQUAL(suite_call(nr, a, b, c), want);
    return host.windows - before;
}

static void test_windows__memory(void)
{
    begin();
    vaddr_t list = host_guest_alloc(1024 * 8), one = host_guest_alloc(8);
    struct xen_memory_reservation r = {.nr_extents = 1, .extent_order = 9, .domid = 1};
    r.extent_start.p = (xen_pfn_t *)one;
    vaddr_t at = host_guest_put(&r, sizeof(r));
    CU_ASSERT(windows_of(12, XENMEM_increase_reservation, at, 0, 1) >= 4);
    CU_ASSERT(windows_of(12, XENMEM_decrease_reservation, at, 0, 1) >= 4);
    CU_ASSERT_EQUAL(guest->page_count, 0);

    suite_enter(guest->vcpu[0]);
    CU_ASSERT_EQUAL(suite_call(12, XENMEM_increase_reservation, at, 0), 1);
    for (unsigned i = 0; i < 512; i++) {
        ((uint64_t *)host_guest_ptr(list))[i] = *(uint64_t *)host_guest_ptr(one) + i;
    }
    struct xen_memory_exchange x = {
        .in = {.nr_extents = 512, .domid = DOMID_SELF},
        .out = {.nr_extents = 1, .extent_order = 9, .domid = DOMID_SELF},
    };
    x.in.extent_start.p = (xen_pfn_t *)list;
    x.out.extent_start.p = (xen_pfn_t *)one;
    /* Taken 128 at a time, freed one at a time, cleared 128 at a time. */
    CU_ASSERT(windows_of(12, XENMEM_exchange, host_guest_put(&x, sizeof(x)), 0, 0) >= 4 + 512 + 4);
    end();
}

static void test_windows__page_tables(void)
{
    begin();
    control->max_pages = 16;
    struct frame *l1 = frame_alloc_domain(control, 0, 0), *l2 = frame_alloc_domain(control, 0, 0);
    struct frame *data = frame_alloc_domain(control, 0, 0);
    for (unsigned i = 0; i < PT_ENTRIES; i++) {
        ((uint64_t *)frame_to_virt(l1))[i] = frame_to_mfn(data) << PAGE_SHIFT | 7;
    }
    ((uint64_t *)frame_to_virt(l2))[3] = frame_to_mfn(l1) << PAGE_SHIFT | 7;
    struct mmuext_op op[2] = {{.cmd = MMUEXT_PIN_L2_TABLE, .arg1.mfn = frame_to_mfn(l2)},
                              {.cmd = MMUEXT_UNPIN_TABLE, .arg1.mfn = frame_to_mfn(l2)}};
    vaddr_t at = host_guest_put(op, sizeof(op));
    /* Four in the level-1 table each way; and the questions after it and between the two operations
     * are none of those that are skipped, whatever was asked before. */
    for (unsigned round = 0; round < 8; round++) {
        CU_ASSERT(windows_of(26, at, 2, 0, 0) >= 11);
        (void)hypercall_preempt_check();
    }
    end();
}

static void test_windows__multicall(void)
{
    begin();
    struct multicall_entry entry[8] = {{.op = 999}};
    CU_ASSERT(windows_of(13, host_guest_put(entry, sizeof(entry)), 8, 0, 0) >= 7);
    end();
}

static unsigned give_up;

/* Another CPU waits for the lock of the page tables: a large tree is not checked at its cost. */
static void other_waits(void)
{
    if (give_up++ == 0) {
        control->mmu_lock.next++;
    }
}

static void test_windows__contended_lock(void)
{
    begin();
    control->max_pages = 16;
    struct frame *l1[2] = {frame_alloc_domain(control, 0, 0), frame_alloc_domain(control, 0, 0)};
    struct frame *l2 = frame_alloc_domain(control, 0, 0);
    for (unsigned i = 0; i < 2; i++) {
        ((uint64_t *)frame_to_virt(l2))[i] = frame_to_mfn(l1[i]) << PAGE_SHIFT | 7;
    }
    host.on_window = other_waits;
    spin_lock(&control->mmu_lock);
    (void)deferred_take();
    CU_ASSERT_EQUAL(page_type_pin(frame_to_mfn(l2), control, TYPE_L2), -ERESTART);
    CU_ASSERT_EQUAL(l2->pt_done, 1);
    host.on_window = NULL;
    control->mmu_lock.next--;
    CU_ASSERT_EQUAL(page_type_pin(frame_to_mfn(l2), control, TYPE_L2), 0);
    /* The same on the way back. */
    control->mmu_lock.next++;
    CU_ASSERT_EQUAL(page_type_unpin(frame_to_mfn(l2), control), 0);
    CU_ASSERT_EQUAL(l2->pt_done, 1);
    control->mmu_lock.next--;
    spin_unlock(&control->mmu_lock);
    CU_ASSERT(page_type_finish_deferred(current_vcpu()));
    CU_ASSERT_EQUAL(l2->type & TYPE_COUNT_MASK, 0);
    end();
}

/* Handlers of interrupts take locks: no window under those. */
static void test_windows__not_under_high_locks(void)
{
    begin();
    spin_lock(&guest->mmu_lock);
    irq_window(false);
    spin_lock(&guest->evtchn_lock);
    CU_ASSERT_EQUAL(HOST_ENDS_IN(HOST_PANIC, irq_window(false)), true);
    spin_unlock(&guest->evtchn_lock);
    spin_unlock(&guest->mmu_lock);
    end();
}

static void interrupt_wants_console(void)
{
    deferred_raise(host_cpu, DEFER_CONSOLE);
}

static void test_windows__event_channels(void)
{
    begin();
    struct evtchn_alloc_unbound alloc = {.dom = 1, .remote_dom = 0};
    vaddr_t at = host_guest_put(&alloc, sizeof(alloc));
    while (suite_call(32, EVTCHNOP_alloc_unbound, at, 0) == 0) {
    }
    CU_ASSERT_EQUAL(guest->evtchn.used, MAX_EVTCHNS - 1);
    /* One that is interrupted is continued where it was. */
    struct evtchn_reset reset = {.dom = 1};
    struct hypercall hc = {.v = current_vcpu(), .d = control, .nr = 32};
    hc.arg[0] = EVTCHNOP_reset;
    hc.arg[1] = host_guest_put(&reset, sizeof(reset));
    host.on_window = interrupt_wants_console;
    CU_ASSERT_EQUAL(hypercall_dispatch(&hc), -ERESTART);
    CU_ASSERT(guest->evtchn.used < MAX_EVTCHNS - 1 && guest->evtchn.used > MAX_EVTCHNS - 10);
    host.on_window = NULL;
    (void)deferred_take();
    CU_ASSERT(windows_of(32, EVTCHNOP_reset, hc.arg[1], 0, 0) >= MAX_EVTCHNS / 8 - 2);
    CU_ASSERT_EQUAL(guest->evtchn.used, 0);
    end();
}

static unsigned fired;

static void fire(void *arg)
{
    (void)arg;
    fired++;
}

static void test_windows__timers(void)
{
    static struct timer t[200];
    begin();
    for (unsigned i = 0; i < ARRAY_SIZE(t); i++) {
        timer_init(&t[i], fire, NULL, 0);
        timer_set(&t[i], host.now + 1);
    }
    host_advance(2);
    timer_run();
    CU_ASSERT_EQUAL(fired, 64);
    CU_ASSERT(host.timer_deadline[0] <= host.now);
    while (host.timer_deadline[0] <= host.now) {
        timer_run();
    }
    CU_ASSERT_EQUAL(fired, ARRAY_SIZE(t));
    end();
}

int main(void)
{
    static const struct suite_case cases[] = {
        CASE(test_span__longest_piece_gets_it),
        CASE(test_span__windows_end_it),
        CASE(test_windows__memory),
        CASE(test_windows__page_tables),
        CASE(test_windows__multicall),
        CASE(test_windows__contended_lock),
        CASE(test_windows__not_under_high_locks),
        CASE(test_windows__event_channels),
        CASE(test_windows__timers),
    };
    return SUITE("span", 1, cases);
}
