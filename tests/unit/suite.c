// SPDX-License-Identifier: MIT
/* The shared part of the hypervisor's unit tests; see suite.h. */
#include "suite.h"

#include "base/lock.h"
#include "core/deferred.h"
#include "core/frame.h"
#include "core/hypercall.h"
#include "pv/page_type.h"

static uint64_t frames_before;

static void setup(void)
{
    host_reset();
    frames_before = frame_free_count();
}

static void teardown(void)
{
    suite_enter(NULL);
    host.fault_in_access = host.fault_in_alloc = 0;
    spin_assert_none_held();
    CU_ASSERT_EQUAL(frame_free_count(), frames_before);
    CU_ASSERT_EQUAL(host.double_fetches, 0);
}

int suite_run(const char *name, const struct suite_case *cases, size_t count, unsigned cpus)
{
    host_start(cpus);
    if (CU_initialize_registry() != CUE_SUCCESS) {
        return 1;
    }
    CU_pSuite suite = CU_add_suite_with_setup_and_teardown(name, NULL, NULL, setup, teardown);
    for (size_t i = 0; i < count; i++) {
        if (!CU_add_test(suite, cases[i].name, cases[i].fn)) {
            return 1;
        }
    }
    CU_basic_set_mode(CU_BRM_NORMAL);
    CU_basic_run_tests();
    unsigned failed = CU_get_number_of_failures() + CU_get_number_of_suites_failed();
    unsigned run = CU_get_number_of_tests_run();
    CU_cleanup_registry();
    return failed || run != count || count == 0;
}

static struct domain *create(domid_t id, unsigned vcpus, bool privileged)
{
    const struct domain_limits limits = {.max_vcpus = vcpus,
                                         .max_evtchn_port = MAX_EVTCHNS - 1,
                                         .max_grant_frames = 4,
                                         .max_maptrack_frames = 4};
    struct domain *d = NULL;
    CU_ASSERT_EQUAL_FATAL(domain_create(id, &limits, privileged, &d), 0);
    d->max_pages = HOST_FRAMES;
    d->vcpu[0]->initialised = true;
    sched_resume(d->vcpu[0], PAUSE_DOWN);
    domain_unpause(d);
    return d;
}

struct domain *suite_domain(domid_t id, unsigned vcpus)
{
    return create(id, vcpus, false);
}

struct domain *suite_control(void)
{
    return create(0, 2, true);
}

void suite_destroy(struct domain *d)
{
    if (current_vcpu()->domain == d) {
        suite_enter(NULL);
    }
    long rc;
    do {
        (void)page_type_finish_deferred(current_vcpu());
        rc = domain_kill(d);
    } while (rc == -ERESTART);
    CU_ASSERT_EQUAL(rc, 0);
}

void suite_enter(struct vcpu *v)
{
    host_current[host_cpu] = v ? v : vcpu_idle(host_cpu);
    host_fetch_reset();
}

long suite_call(uint64_t nr, uint64_t a0, uint64_t a1, uint64_t a2)
{
    struct vcpu *v = current_vcpu();
    struct hypercall hc = {.v = v, .d = v->domain, .nr = nr, .arg = {a0, a1, a2}};
    long rc;
    do {
        (void)deferred_take();
        host_fetch_reset();
        rc = hypercall_dispatch(&hc);
    } while (rc == -ERESTART);
    return rc;
}
