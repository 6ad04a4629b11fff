// SPDX-License-Identifier: MIT
/* The domain table and the life of a domain: creation with every allocation failing in turn, ids,
 * references, pauses, shutdown, death in steps with frames still in use elsewhere. */
#include "suite.h"

#include "base/cmdline.h"
#include "core/deferred.h"
#include "core/evtchn.h"
#include "core/frame.h"
#include "core/grant_table.h"

static const struct domain_limits limits = {
    .max_vcpus = 2, .max_evtchn_port = 100, .max_grant_frames = 4, .max_maptrack_frames = 4};

static struct domain *create(domid_t id)
{
    struct domain *d = NULL;
    CU_ASSERT_EQUAL_FATAL(domain_create(id, &limits, false, &d), 0);
    return d;
}

static void test_domain_create__fresh_state(void)
{
    struct domain *d = create(5);
    CU_ASSERT_EQUAL(d->id, 5);
    CU_ASSERT_EQUAL(d->refs, 1);
    CU_ASSERT_EQUAL(d->state, DOM_ALIVE);
    CU_ASSERT_EQUAL(d->pause_count, 1);
    CU_ASSERT_EQUAL(d->control_pauses, 1);
    CU_ASSERT_FALSE(d->shut_down);
    CU_ASSERT_EQUAL(d->max_pages, 0);
    CU_ASSERT_EQUAL(d->page_count, 0);
    for (unsigned i = 0; i < 2; i++) {
        struct vcpu *v = d->vcpu[i];
        CU_ASSERT_EQUAL(v->id, i);
        CU_ASSERT_PTR_EQUAL(v->domain, d);
        CU_ASSERT_EQUAL(v->sched.pause_bits, PAUSE_DOWN | PAUSE_DOMAIN);
        CU_ASSERT_EQUAL(v->info->evtchn_upcall_mask, 1);
        CU_ASSERT_FALSE(v->initialised);
    }
    CU_ASSERT_PTR_NULL(d->vcpu[2]);
    CU_ASSERT_PTR_NULL(domain_vcpu(d, 2));
    CU_ASSERT_PTR_NULL(domain_vcpu(d, UINT64_MAX));
    CU_ASSERT_PTR_EQUAL(domain_vcpu(d, 1), d->vcpu[1]);
    suite_destroy(d);
}

static void test_domain_create__64_vcpus(void)
{
    struct domain_limits many = limits;
    many.max_vcpus = MAX_VCPUS;
    struct domain *d;
    CU_ASSERT_EQUAL_FATAL(domain_create(5, &many, false, &d), 0);
    CU_ASSERT_PTR_NOT_NULL(d->vcpu[31]->info);
    CU_ASSERT_PTR_NULL(d->vcpu[32]->info); /* no slot in the shared page */
    evtchn_send_virq(d->vcpu[63], VIRQ_TIMER);
    suite_destroy(d);
}

static void test_domain_create__bad_arguments(void)
{
    struct domain *d = NULL;
    struct domain_limits bad = limits;
    bad.max_vcpus = 0;
    CU_ASSERT_EQUAL(domain_create(5, &bad, false, &d), -EINVAL);
    bad.max_vcpus = MAX_VCPUS + 1;
    CU_ASSERT_EQUAL(domain_create(5, &bad, false, &d), -EINVAL);
    CU_ASSERT_EQUAL(domain_create(DOMID_FIRST_RESERVED, &limits, false, &d), -EINVAL);
    CU_ASSERT_EQUAL(domain_create(DOMID_XEN, &limits, false, &d), -EINVAL);
    CU_ASSERT_EQUAL(domain_create(DOMID_IDLE, &limits, false, &d), -EINVAL);
    CU_ASSERT_PTR_NULL(d);
}

static void test_domain_create__id_in_use(void)
{
    struct domain *d = create(5), *other = NULL;
    CU_ASSERT_EQUAL(domain_create(5, &limits, false, &other), -EEXIST);
    CU_ASSERT_PTR_NULL(other);
    suite_destroy(d);
    suite_destroy(create(5));
}

static void test_domain_create__chosen_ids_do_not_come_again_soon(void)
{
    struct domain *a = create(DOMID_INVALID), *b = create(DOMID_INVALID);
    domid_t first = a->id;
    CU_ASSERT_TRUE(first != 0 && first < DOMID_FIRST_RESERVED);
    CU_ASSERT_EQUAL(b->id, first + 1);
    suite_destroy(b);
    b = create(DOMID_INVALID);
    CU_ASSERT_EQUAL(b->id, first + 2);
    suite_destroy(b);
    /* Once around the circle: past the ids in use, never 0. */
    struct domain *in_the_way = create(3);
    for (unsigned i = 0; i < DOMID_FIRST_RESERVED; i++) {
        b = create(DOMID_INVALID);
        CU_ASSERT_TRUE_FATAL(b->id != 0 && b->id != 3 && b->id != first);
        suite_destroy(b);
    }
    suite_destroy(in_the_way);
    suite_destroy(a);
}

static void test_domain_create__each_allocation_fails_once(void)
{
    uint64_t before = frame_free_count();
    unsigned failures = 0;
    for (unsigned nth = 1;; nth++) {
        struct domain *d = NULL;
        host.fault_in_alloc = nth;
        int rc = domain_create(5, &limits, false, &d);
        bool injected = host.fault_in_alloc == 0;
        host.fault_in_alloc = 0;
        if (!injected) {
            CU_ASSERT_EQUAL(rc, 0);
            suite_destroy(d);
            break;
        }
        failures++;
        CU_ASSERT_EQUAL(rc, -ENOMEM);
        CU_ASSERT_EQUAL(frame_free_count(), before);
        struct domain *found = domain_get(5);
        CU_ASSERT_PTR_NULL(found);
    }
    CU_ASSERT_TRUE(failures >= 8); /* domain, shared page, ports, grants, two vCPUs, FPU areas */
}

/* ---- table ---- */

static void test_domain_get__found_self_and_not_found(void)
{
    struct domain *d = create(5);
    struct domain *found = domain_get(5);
    CU_ASSERT_PTR_EQUAL(found, d);
    CU_ASSERT_EQUAL(d->refs, 2);
    suite_enter(d->vcpu[0]);
    struct domain *self = domain_get(DOMID_SELF);
    CU_ASSERT_PTR_EQUAL(self, d);
    domain_put(self);
    domain_put(found);
    const domid_t none[] = {
        4,          6,     DOMID_FIRST_RESERVED - 1, DOMID_IO, DOMID_XEN, DOMID_COW, DOMID_INVALID,
        DOMID_IDLE, 0xffff};
    for (unsigned i = 0; i < ARRAY_SIZE(none); i++) {
        struct domain *nobody = domain_get(none[i]);
        CU_ASSERT_PTR_NULL(nobody);
    }
    suite_enter(NULL);
    suite_destroy(d);
}

static void test_domain_get_next__in_order(void)
{
    const domid_t ids[] = {1, 2, 511, 512, 20000, DOMID_FIRST_RESERVED - 1};
    struct domain *d[ARRAY_SIZE(ids)];
    for (unsigned i = 0; i < ARRAY_SIZE(ids); i++) {
        d[ARRAY_SIZE(ids) - 1 - i] = create(ids[ARRAY_SIZE(ids) - 1 - i]);
    }
    unsigned count = 0;
    for (struct domain *next = domain_get_next(0); next;) {
        CU_ASSERT_EQUAL(next->id, ids[count]);
        domid_t after = (domid_t)(next->id + 1);
        domain_put(next);
        count++;
        next = domain_get_next(after);
    }
    CU_ASSERT_EQUAL(count, ARRAY_SIZE(ids));
    struct domain *exact = domain_get_next(512);
    CU_ASSERT_PTR_EQUAL(exact, d[3]);
    domain_put(exact);
    for (unsigned i = 0; i < ARRAY_SIZE(ids); i++) {
        suite_destroy(d[i]);
    }
}

static void test_domain_put__too_often_is_our_bug(void)
{
    struct domain *d = create(5);
    CU_ASSERT_TRUE(HOST_ENDS_IN(HOST_PANIC, domain_put(d))); /* alive, yet unreferenced */
    d->refs = 1;
    suite_destroy(d);
}

/* ---- pausing ---- */

static bool stopped(const struct domain *d)
{
    return d->vcpu[0]->sched.pause_bits & PAUSE_DOMAIN;
}

static void test_domain_pause__counts(void)
{
    struct domain *d = suite_domain(5, 2);
    CU_ASSERT_FALSE(stopped(d));
    domain_pause(d);
    domain_pause(d);
    CU_ASSERT_TRUE(stopped(d));
    domain_unpause(d);
    CU_ASSERT_TRUE(stopped(d));
    domain_unpause(d);
    CU_ASSERT_FALSE(stopped(d));
    suite_destroy(d);
}

static void test_domain_pause_by_control__counts_and_limits(void)
{
    struct domain *d = create(5);
    CU_ASSERT_EQUAL(domctl_unpausedomain(d), 0); /* the one of creation */
    CU_ASSERT_FALSE(stopped(d));
    CU_ASSERT_EQUAL(domctl_unpausedomain(d), -EINVAL);
    for (unsigned i = 0; i < 255; i++) {
        CU_ASSERT_EQUAL(domctl_pausedomain(d), 0);
    }
    CU_ASSERT_EQUAL(domctl_pausedomain(d), -EOVERFLOW);
    for (unsigned i = 0; i < 255; i++) {
        CU_ASSERT_TRUE(stopped(d));
        CU_ASSERT_EQUAL(domctl_unpausedomain(d), 0);
    }
    CU_ASSERT_FALSE(stopped(d));
    /* An internal pause is none of the controller's. */
    domain_pause(d);
    CU_ASSERT_EQUAL(domctl_unpausedomain(d), -EINVAL);
    CU_ASSERT_TRUE(stopped(d));
    domain_unpause(d);
    suite_enter(d->vcpu[0]);
    CU_ASSERT_EQUAL(domctl_pausedomain(d), -EINVAL);
    CU_ASSERT_EQUAL(domctl_unpausedomain(d), -EINVAL);
    suite_enter(NULL);
    suite_destroy(d);
}

static void test_domain_pause_sync__caller_excepted(void)
{
    struct domain *d = suite_domain(5, 2);
    CU_ASSERT_PTR_EQUAL(host_exit_path(), d->vcpu[0]);
    domain_pause_sync(d); /* would wait for ever for the caller itself */
    CU_ASSERT_TRUE(vcpu_is_idle(host_exit_path()));
    domain_unpause(d);
    domain_pause(d);
    host_exit_path();
    suite_destroy(d);
}

/* ---- shutdown ---- */

static void test_domain_shutdown__first_reason_stays(void)
{
    struct domain *d = suite_domain(5, 1);
    domain_shutdown(d, SHUTDOWN_suspend);
    domain_shutdown(d, SHUTDOWN_crash);
    CU_ASSERT_EQUAL(d->shutdown_code, SHUTDOWN_suspend);
    CU_ASSERT_TRUE(stopped(d));
    /* Unpausing does not undo it, resuming does. */
    domain_pause(d);
    domain_unpause(d);
    CU_ASSERT_TRUE(stopped(d));
    domctl_resumedomain(d);
    CU_ASSERT_FALSE(stopped(d));
    CU_ASSERT_FALSE(d->shut_down);
    CU_ASSERT_EQUAL(d->shutdown_code, DOMAIN_NO_CODE);
    domain_shutdown(d, SHUTDOWN_crash);
    CU_ASSERT_EQUAL(d->shutdown_code, SHUTDOWN_crash);
    suite_destroy(d);
}

static void test_domain_resume__stays_paused_when_paused(void)
{
    struct domain *d = suite_domain(5, 1);
    domain_shutdown(d, SHUTDOWN_suspend);
    domain_pause(d);
    domctl_resumedomain(d);
    CU_ASSERT_TRUE(stopped(d));
    domain_unpause(d);
    CU_ASSERT_FALSE(stopped(d));
    suite_destroy(d);
}

static void test_domain_crash__reason_in_the_log(void)
{
    struct domain *d = suite_domain(5, 1);
    domain_crash(d, "wrote to frame 0x%x", 0x1234);
    CU_ASSERT_TRUE(d->shut_down);
    CU_ASSERT_EQUAL(d->shutdown_code, SHUTDOWN_crash);
    CU_ASSERT_PTR_NOT_NULL(strstr(host.console, "wrote to frame 0x1234"));
    suite_destroy(d);
}

static void control_goes_down(uint8_t reason, bool noreboot, enum host_end how)
{
    struct domain *dom0 = suite_control();
    CU_ASSERT_PTR_EQUAL(dom0, dom_control);
    cmdline.noreboot = noreboot;
    CU_ASSERT_TRUE(HOST_ENDS_IN(how, domain_shutdown(dom0, reason)));
    cmdline.noreboot = false;
    suite_destroy(dom0);
    CU_ASSERT_PTR_NULL(dom_control);
}

static void test_domain_shutdown__control_domain_acts_on_the_machine(void)
{
    control_goes_down(SHUTDOWN_poweroff, false, HOST_HALT);
    control_goes_down(SHUTDOWN_poweroff, true, HOST_HALT);
    control_goes_down(SHUTDOWN_reboot, false, HOST_REBOOT);
    control_goes_down(SHUTDOWN_reboot, true, HOST_REBOOT);
    control_goes_down(SHUTDOWN_crash, false, HOST_REBOOT);
    control_goes_down(SHUTDOWN_crash, true, HOST_HALT);
    control_goes_down(SHUTDOWN_watchdog, false, HOST_REBOOT);
}

/* ---- death ---- */

static void test_domain_kill__not_oneself(void)
{
    struct domain *d = suite_domain(5, 1);
    suite_enter(d->vcpu[0]);
    CU_ASSERT_EQUAL(domain_kill(d), -EINVAL);
    suite_enter(NULL);
    CU_ASSERT_EQUAL(domain_kill(dom_xen), -EINVAL);
    CU_ASSERT_EQUAL(d->state, DOM_ALIVE);
    suite_destroy(d);
}

static void test_domain_kill__everything_comes_back(void)
{
    uint64_t before = frame_free_count();
    for (unsigned round = 0; round < 20; round++) {
        struct domain *d = suite_domain(5, 2);
        for (unsigned i = 0; i < 300; i++) {
            CU_ASSERT_PTR_NOT_NULL_FATAL(frame_alloc_domain(d, 0, 0));
        }
        CU_ASSERT_EQUAL(grant_table_grow(d, 3), 0);
        timer_set(&d->vcpu[1]->singleshot, host.now + NS_PER_SEC);
        timer_set(&d->vcpu[0]->poll_timer, host.now + NS_PER_SEC);
        suite_destroy(d);
        CU_ASSERT_EQUAL(frame_free_count(), before);
    }
    host_advance(2 * NS_PER_SEC);
    timer_run(); /* nothing of the dead is armed any more */
}

/* Interrupts want something all the time: each step of the death gives way. */
static void want_cpu(void)
{
    struct domain *d = domain_get(5);
    if (d) {
        CU_ASSERT_EQUAL(d->state, DOM_DYING);
        domain_put(d);
    }
}

static void test_domain_kill__in_steps(void)
{
    struct domain *d = suite_domain(5, 2);
    for (unsigned i = 0; i < 2000; i++) {
        CU_ASSERT_PTR_NOT_NULL_FATAL(frame_alloc_domain(d, 0, 0));
    }
    host.on_window = want_cpu;
    deferred_raise(host_cpu, DEFER_CONSOLE);
    unsigned steps = 1;
    long rc;
    while ((rc = domain_kill(d)) == -ERESTART) {
        steps++;
        CU_ASSERT_TRUE_FATAL(steps < 100000);
        deferred_raise(host_cpu, DEFER_CONSOLE);
    }
    CU_ASSERT_EQUAL(rc, 0);
    CU_ASSERT_TRUE(steps > 10);
    host.on_window = NULL;
    (void)deferred_take();
}

static void test_domain_kill__one_at_a_time(void)
{
    struct domain *d = suite_domain(5, 1);
    d->kill_busy = true; /* another CPU is in it */
    CU_ASSERT_EQUAL(domain_kill(d), -ERESTART);
    CU_ASSERT_EQUAL(d->state, DOM_ALIVE);
    d->kill_busy = false;
    domain_get_held(d);
    suite_destroy(d);
    CU_ASSERT_EQUAL(d->state, DOM_DEAD);
    CU_ASSERT_EQUAL(domain_kill(d), 0); /* somebody who still had a reference: done already */
    domain_put(d);
}

static void test_domain_kill__control_domain_is_told(void)
{
    struct domain *dom0 = suite_control(), *d = suite_domain(5, 1);
    suite_enter(dom0->vcpu[0]);
    struct evtchn_bind_virq arg = {.virq = VIRQ_DOM_EXC};
    vaddr_t va = host_guest_put(&arg, sizeof(arg));
    CU_ASSERT_EQUAL(suite_call(32, EVTCHNOP_bind_virq, va, 0), 0);
    uint32_t port = ((struct evtchn_bind_virq *)host_guest_ptr(va))->port;
    suite_destroy(d);
    CU_ASSERT_TRUE(evtchn_is_pending(dom0, port));
    struct domain *gone = domain_get(5);
    CU_ASSERT_PTR_NULL(gone);
    suite_destroy(dom0);
}

static void test_domain_kill__frame_in_use_elsewhere_keeps_the_structure(void)
{
    uint64_t before = frame_free_count();
    struct domain *d = suite_domain(5, 1);
    struct frame *f = frame_alloc_domain(d, 0, 0);
    CU_ASSERT_PTR_NOT_NULL_FATAL(f);
    CU_ASSERT_TRUE(frame_get(f, d)); /* as the control domain's mapping would */
    suite_destroy(d);
    /* Nobody finds it, the id is free, the frame still has its owner. */
    struct domain *gone = domain_get(5);
    CU_ASSERT_PTR_NULL(gone);
    CU_ASSERT_PTR_EQUAL(frame_owner(f), d);
    CU_ASSERT_EQUAL(d->state, DOM_DEAD);
    CU_ASSERT_TRUE(frame_free_count() < before);
    struct domain *again = create(5);
    suite_destroy(again);
    frame_put(f);
    CU_ASSERT_EQUAL(frame_free_count(), before);
}

static void test_domain_kill__shared_page_mapped_elsewhere(void)
{
    uint64_t before = frame_free_count();
    struct domain *d = suite_domain(5, 1);
    struct frame *f = d->shared_frame;
    CU_ASSERT_TRUE(frame_get(f, d));
    suite_destroy(d);
    CU_ASSERT_EQUAL(frame_free_count(), before - 1);
    CU_ASSERT_PTR_NULL(frame_owner(f));
    frame_put(f);
    CU_ASSERT_EQUAL(frame_free_count(), before);
}

static void test_domain_kill__registered_vcpu_info_is_given_back(void)
{
    struct domain *d = suite_domain(5, 1);
    struct frame *f = frame_alloc_domain(d, 0, 0);
    suite_enter(d->vcpu[0]);
    struct vcpu_register_vcpu_info place = {.mfn = frame_to_mfn(f)};
    CU_ASSERT_EQUAL(vcpuop_register_vcpu_info(d->vcpu[0], &place), 0);
    CU_ASSERT_EQUAL(frame_ref_count(f), 2);
    suite_enter(NULL);
    suite_destroy(d);
    CU_ASSERT_EQUAL(f->count, 0);
}

static void cpu1_exits(void)
{
    unsigned self = host_cpu;
    host_play(1);
    host_exit_path();
    host_play(self);
}

static void test_domain_kill__while_a_vcpu_runs(void)
{
    struct domain *d = suite_domain(5, 2);
    host_play(1);
    sched_resume(d->vcpu[1], PAUSE_DOWN);
    for (unsigned cpu = 0; cpu < 2; cpu++) {
        host_play(cpu);
        host_exit_path();
    }
    struct vcpu *there = host_current[1];
    CU_ASSERT_PTR_EQUAL_FATAL(there->domain, d);
    /* CPU 0 must not be in the domain that it kills. */
    host_play(0);
    if (current_vcpu()->domain == d) {
        sched_pause(current_vcpu(), PAUSE_BLOCKED);
        host_exit_path();
    }
    host.on_relax = cpu1_exits;
    suite_destroy(d);
    host.on_relax = NULL;
    CU_ASSERT_TRUE(vcpu_is_idle(host_current[1]));
}

int main(void)
{
    static const struct suite_case cases[] = {
        CASE(test_domain_create__fresh_state),
        CASE(test_domain_create__64_vcpus),
        CASE(test_domain_create__bad_arguments),
        CASE(test_domain_create__id_in_use),
        CASE(test_domain_create__chosen_ids_do_not_come_again_soon),
        CASE(test_domain_create__each_allocation_fails_once),
        CASE(test_domain_get__found_self_and_not_found),
        CASE(test_domain_get_next__in_order),
        CASE(test_domain_put__too_often_is_our_bug),
        CASE(test_domain_pause__counts),
        CASE(test_domain_pause_by_control__counts_and_limits),
        CASE(test_domain_pause_sync__caller_excepted),
        CASE(test_domain_shutdown__first_reason_stays),
        CASE(test_domain_resume__stays_paused_when_paused),
        CASE(test_domain_crash__reason_in_the_log),
        CASE(test_domain_shutdown__control_domain_acts_on_the_machine),
        CASE(test_domain_kill__not_oneself),
        CASE(test_domain_kill__everything_comes_back),
        CASE(test_domain_kill__in_steps),
        CASE(test_domain_kill__one_at_a_time),
        CASE(test_domain_kill__control_domain_is_told),
        CASE(test_domain_kill__frame_in_use_elsewhere_keeps_the_structure),
        CASE(test_domain_kill__shared_page_mapped_elsewhere),
        CASE(test_domain_kill__registered_vcpu_info_is_given_back),
        CASE(test_domain_kill__while_a_vcpu_runs),
    };
    return SUITE("domains", 2, cases);
}
