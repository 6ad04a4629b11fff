/* SPDX-License-Identifier: MIT */
/*
 * Every event-channel operation with ports, vCPUs and domains that are not the caller's to use, and
 * with arguments that cannot be read: the documented error each, and no port comes into being.
 *
 * Not alone: it asks for what is domain 0's.
 */
#include "lib.h"

static const uint32_t bad_ports[] = {0, 1024, 4096, 131072, 0x7fffffff, 0xffffffff};

static void ports(void)
{
    struct evtchn_status status;
    for (unsigned i = 0; i < ARRAY_SIZE(bad_ports); i++) {
        uint32_t port = bad_ports[i];
        struct evtchn_unmask unmask = {.port = port};
        struct evtchn_bind_vcpu move = {.port = port, .vcpu = 0};
        CHECK_IS(event_send(port), -EINVAL);
        CHECK_IS(event_close(port), -EINVAL);
        CHECK_IS(evtchn_op(EVTCHNOP_unmask, &unmask), -EINVAL);
        CHECK_IS(evtchn_op(EVTCHNOP_bind_vcpu, &move), -EINVAL);
        CHECK_IS(event_bind_interdomain(DOMID_SELF, port), -EINVAL);
        CHECK_IS(event_status(port, &status), port ? -EINVAL : 0);
    }
    /* Free, but within the limit. */
    CHECK_IS(event_send(1000), -EINVAL);
    CHECK_IS(event_close(1000), -EINVAL);
    CHECK_IS(event_bind_interdomain(DOMID_SELF, 1000), -EINVAL);
}

static void vcpus(void)
{
    static const uint32_t ids[] = {2, 32, 128, 0x7fffffff, 0xffffffff};
    long port = event_bind_ipi(0);
    NEED_OK(port);
    for (unsigned i = 0; i < ARRAY_SIZE(ids); i++) {
        struct evtchn_bind_vcpu move = {.port = (uint32_t)port, .vcpu = ids[i]};
        CHECK_IS(event_bind_ipi(ids[i]), -ENOENT);
        CHECK_IS(event_bind_virq(VIRQ_TIMER, ids[i]), -ENOENT);
        CHECK_IS(evtchn_op(EVTCHNOP_bind_vcpu, &move), -ENOENT);
    }
    /* An IPI stays with its vCPU. */
    struct evtchn_bind_vcpu move = {.port = (uint32_t)port, .vcpu = 1};
    CHECK_IS(evtchn_op(EVTCHNOP_bind_vcpu, &move), -EINVAL);
}

static void domains(void)
{
    struct evtchn_status status = {.dom = 0, .port = 1};
    struct evtchn_reset reset = {.dom = 0};
    CHECK_IS(evtchn_op(EVTCHNOP_status, &status), -EPERM);
    status.dom = DOMID_XEN;
    CHECK_IS(evtchn_op(EVTCHNOP_status, &status), -EPERM);
    CHECK_IS(evtchn_op(EVTCHNOP_reset, &reset), -EPERM);
    CHECK_IS(event_alloc_unbound(0, DOMID_SELF), -EPERM);
    CHECK_IS(event_alloc_unbound(DOMID_XEN, 0), -EPERM);
    CHECK_IS(event_bind_interdomain(30000, 1), -ESRCH);
    CHECK_IS(event_bind_interdomain(DOMID_XEN, 1), -ESRCH);
    CHECK_IS(event_bind_interdomain(DOMID_INVALID, 1), -ESRCH);
    for (uint32_t port = 1; port < 40; port++) {
        CHECK_IS(event_bind_interdomain(0, port), -EINVAL); /* none of dom0's was made for us */
    }
}

static void refused(void)
{
    static struct evtchn_init_control init;
    for (uint32_t pirq = 0; pirq < 300; pirq++) {
        struct evtchn_bind_pirq bind = {.pirq = pirq};
        CHECK_IS(evtchn_op(EVTCHNOP_bind_pirq, &bind), -EINVAL);
    }
    struct evtchn_bind_pirq bind = {.pirq = ~0u};
    CHECK_IS(evtchn_op(EVTCHNOP_bind_pirq, &bind), -EINVAL);
    CHECK_IS(evtchn_op(EVTCHNOP_init_control, &init), -ENOSYS);
    CHECK_IS(evtchn_op(EVTCHNOP_expand_array, &init), -ENOSYS);
    CHECK_IS(evtchn_op(EVTCHNOP_set_priority, &init), -ENOSYS);
    for (unsigned op = 0; op <= EVTCHNOP_reset; op++) {
        CHECK_IS(evtchn_op(op, HYP_START), -EFAULT);
        CHECK_IS(evtchn_op(op, NONCANONICAL), -EFAULT);
        CHECK_IS(evtchn_op(op, 0x10), -EFAULT);
        CHECK_IS(evtchn_op(op, -4L), -EFAULT);
    }
}

void test_main(void)
{
    long first = event_alloc_unbound(DOMID_SELF, 0);
    NEED_OK(first);
    NEED_OK(event_close((uint32_t)first));
    ports();
    vcpus();
    domains();
    refused();
    /* Nothing was left behind: only the IPI of vcpus() is new. */
    CHECK_IS(event_alloc_unbound(DOMID_SELF, 0), first + 1);
}
