// SPDX-License-Identifier: MIT
/* Event channels: every EVTCHNOP_*, its errors and limits, the words shared with the guest, the
 * sources inside the hypervisor, and what closing and death leave behind. */
#include "suite.h"

#include "core/deferred.h"
#include "core/evtchn.h"
#include "core/frame.h"
#include "core/pirq.h"

static struct domain *dom0, *a, *b;

static void begin(void)
{
    dom0 = suite_control();
    a = suite_domain(11, 3);
    b = suite_domain(7, 2);
    suite_enter(a->vcpu[0]);
}

static void end(void)
{
    suite_destroy(b);
    suite_destroy(a);
    suite_destroy(dom0);
}

/* ---- callers ---- */

static long op(unsigned cmd, void *arg, size_t bytes)
{
    vaddr_t va = host_guest_put(arg, bytes);
    long rc = suite_call(32, cmd, va, 0);
    memcpy(arg, host_guest_ptr(va), bytes);
    return rc;
}
#define OP_CALL(cmd, arg) op(cmd, &(arg), sizeof(arg))

static uint32_t alloc_unbound(domid_t dom, domid_t remote)
{
    struct evtchn_alloc_unbound arg = {.dom = dom, .remote_dom = remote};
    CU_ASSERT_EQUAL(OP_CALL(EVTCHNOP_alloc_unbound, arg), 0);
    return arg.port;
}

static uint32_t bind_ipi(unsigned vcpu)
{
    struct evtchn_bind_ipi arg = {.vcpu = vcpu};
    CU_ASSERT_EQUAL(OP_CALL(EVTCHNOP_bind_ipi, arg), 0);
    return arg.port;
}

static long bind_virq(unsigned virq, unsigned vcpu, uint32_t *port)
{
    struct evtchn_bind_virq arg = {.virq = virq, .vcpu = vcpu};
    long rc = OP_CALL(EVTCHNOP_bind_virq, arg);
    if (port) {
        *port = arg.port;
    }
    return rc;
}

static long bind_interdomain(domid_t remote, uint32_t remote_port, uint32_t *port)
{
    struct evtchn_bind_interdomain arg = {.remote_dom = remote, .remote_port = remote_port};
    long rc = OP_CALL(EVTCHNOP_bind_interdomain, arg);
    if (port) {
        *port = arg.local_port;
    }
    return rc;
}

static long simple(unsigned cmd, uint32_t port)
{
    /* close, send and unmask have the port as their only member */
    return op(cmd, &port, sizeof(port));
}

static struct evtchn_status status(domid_t dom, uint32_t port)
{
    struct evtchn_status arg = {.dom = dom, .port = port};
    CU_ASSERT_EQUAL(OP_CALL(EVTCHNOP_status, arg), 0);
    return arg;
}

/* Connects port of a and port of b; a's vCPU 0 is current afterwards. */
static void connect(uint32_t *pa, uint32_t *pb)
{
    suite_enter(a->vcpu[0]);
    *pa = alloc_unbound(DOMID_SELF, b->id);
    suite_enter(b->vcpu[0]);
    CU_ASSERT_EQUAL(bind_interdomain(a->id, *pa, pb), 0);
    suite_enter(a->vcpu[0]);
}

static bool pending(const struct domain *d, uint32_t port)
{
    return test_bit(port, d->shared_info->evtchn_pending);
}

/* The guest has served everything. */
static void drain(struct domain *d)
{
    memset(d->shared_info->evtchn_pending, 0, sizeof(d->shared_info->evtchn_pending));
    for (unsigned i = 0; i < d->max_vcpus; i++) {
        d->vcpu[i]->info->evtchn_pending_sel = 0;
        d->vcpu[i]->info->evtchn_upcall_pending = 0;
    }
}

/* ---- alloc_unbound ---- */

static void test_evtchnop_alloc_unbound__success(void)
{
    begin();
    uint32_t p1 = alloc_unbound(DOMID_SELF, b->id), p2 = alloc_unbound(a->id, DOMID_SELF);
    CU_ASSERT_EQUAL(p1, 1);
    CU_ASSERT_EQUAL(p2, 2);
    CU_ASSERT_EQUAL(status(DOMID_SELF, p1).status, EVTCHNSTAT_unbound);
    CU_ASSERT_EQUAL(status(DOMID_SELF, p1).u.unbound.dom, b->id);
    CU_ASSERT_EQUAL(status(DOMID_SELF, p2).u.unbound.dom, a->id);
    end();
}

static void test_evtchnop_alloc_unbound__permission(void)
{
    begin();
    struct evtchn_alloc_unbound arg = {.dom = b->id, .remote_dom = a->id};
    CU_ASSERT_EQUAL(OP_CALL(EVTCHNOP_alloc_unbound, arg), -EPERM);
    suite_enter(dom0->vcpu[0]);
    uint32_t port = alloc_unbound(b->id, DOMID_SELF);
    CU_ASSERT_EQUAL(status(b->id, port).status, EVTCHNSTAT_unbound);
    CU_ASSERT_EQUAL(status(b->id, port).u.unbound.dom, 0);
    arg.dom = 99;
    CU_ASSERT_EQUAL(OP_CALL(EVTCHNOP_alloc_unbound, arg), -ESRCH);
    end();
}

static void test_evtchnop_alloc_unbound__limit(void)
{
    begin();
    const struct domain_limits limits = {
        .max_vcpus = 1, .max_evtchn_port = 5, .max_grant_frames = 1, .max_maptrack_frames = 1};
    struct domain *small;
    CU_ASSERT_EQUAL_FATAL(domain_create(20, &limits, false, &small), 0);
    suite_enter(small->vcpu[0]);
    for (uint32_t port = 1; port <= 5; port++) {
        CU_ASSERT_EQUAL(alloc_unbound(DOMID_SELF, 0), port);
    }
    struct evtchn_alloc_unbound arg = {.dom = DOMID_SELF};
    CU_ASSERT_EQUAL(OP_CALL(EVTCHNOP_alloc_unbound, arg), -ENOSPC);
    CU_ASSERT_EQUAL(simple(EVTCHNOP_close, 3), 0);
    CU_ASSERT_EQUAL(alloc_unbound(DOMID_SELF, 0), 3);
    suite_destroy(small);
    end();
}

static void test_evtchnop_alloc_unbound__all_4095_ports(void)
{
    begin();
    for (uint32_t port = 1; port < MAX_EVTCHNS; port++) {
        host_guest_reset();
        struct evtchn_alloc_unbound arg = {.dom = DOMID_SELF};
        CU_ASSERT_EQUAL_FATAL(OP_CALL(EVTCHNOP_alloc_unbound, arg), 0);
        CU_ASSERT_EQUAL_FATAL(arg.port, port);
    }
    struct evtchn_alloc_unbound arg = {.dom = DOMID_SELF};
    CU_ASSERT_EQUAL(OP_CALL(EVTCHNOP_alloc_unbound, arg), -ENOSPC);
    struct evtchn_reset all = {.dom = DOMID_SELF};
    CU_ASSERT_EQUAL(OP_CALL(EVTCHNOP_reset, all), 0);
    CU_ASSERT_EQUAL(a->evtchn.used, 0);
    CU_ASSERT_EQUAL(alloc_unbound(DOMID_SELF, 0), 1);
    end();
}

/* Ports the control domain needed for its guests hold no memory when these are gone. */
static void test_evtchnop_alloc_unbound__control_keeps_nothing(void)
{
    begin();
    suite_enter(dom0->vcpu[0]);
    uint64_t free_frames = frame_free_count();
    for (uint32_t port = 1; port < MAX_EVTCHNS; port++) {
        host_guest_reset();
        CU_ASSERT_EQUAL_FATAL(alloc_unbound(DOMID_SELF, a->id), port);
    }
    struct evtchn_reset all = {.dom = DOMID_SELF};
    CU_ASSERT_EQUAL(OP_CALL(EVTCHNOP_reset, all), 0);
    CU_ASSERT_EQUAL(frame_free_count(), free_frames);
    end();
}

static void test_evtchnop_alloc_unbound__out_of_memory(void)
{
    begin();
    for (uint32_t port = 1; port < PORTS_PER_PAGE; port++) {
        (void)alloc_unbound(DOMID_SELF, 0);
    }
    host.fault_in_alloc = 1;
    struct evtchn_alloc_unbound arg = {.dom = DOMID_SELF};
    CU_ASSERT_EQUAL(OP_CALL(EVTCHNOP_alloc_unbound, arg), -ENOMEM);
    CU_ASSERT_EQUAL(alloc_unbound(DOMID_SELF, 0), PORTS_PER_PAGE);
    end();
}

static void test_evtchnop__bad_addresses(void)
{
    begin();
    for (unsigned cmd = 0; cmd <= 10; cmd++) {
        CU_ASSERT_EQUAL(suite_call(32, cmd, HOST_BAD_ADDR, 0), -EFAULT);
    }
    /* The second access is the copy-out: the effect stands. */
    struct evtchn_alloc_unbound arg = {.dom = DOMID_SELF};
    host.fault_in_access = 2;
    CU_ASSERT_EQUAL(OP_CALL(EVTCHNOP_alloc_unbound, arg), -EFAULT);
    CU_ASSERT_EQUAL(status(DOMID_SELF, 1).status, EVTCHNSTAT_unbound);
    end();
}

static void test_evtchnop__unknown(void)
{
    begin();
    /* The FIFO operations are answered so that Linux falls back to two levels. */
    for (unsigned cmd = 11; cmd < 20; cmd++) {
        uint64_t arg[4] = {0};
        CU_ASSERT_EQUAL(op(cmd, arg, sizeof(arg)), -ENOSYS);
    }
    end();
}

/* ---- bind_interdomain, send, close ---- */

static void test_evtchnop_bind_interdomain__success(void)
{
    begin();
    uint32_t pa, pb;
    connect(&pa, &pb);
    struct evtchn_status s = status(DOMID_SELF, pa);
    CU_ASSERT_EQUAL(s.status, EVTCHNSTAT_interdomain);
    CU_ASSERT_EQUAL(s.u.interdomain.dom, b->id);
    CU_ASSERT_EQUAL(s.u.interdomain.port, pb);
    /* The binder's port is pending at once, the other one is not. */
    CU_ASSERT_TRUE(pending(b, pb));
    CU_ASSERT_FALSE(pending(a, pa));
    end();
}

static void test_evtchnop_bind_interdomain__needs_consent(void)
{
    begin();
    uint32_t pa = alloc_unbound(DOMID_SELF, 0); /* for the control domain, not for b */
    suite_enter(b->vcpu[0]);
    CU_ASSERT_EQUAL(bind_interdomain(a->id, pa, NULL), -EINVAL);
    CU_ASSERT_EQUAL(bind_interdomain(a->id, pa + 1, NULL), -EINVAL);
    CU_ASSERT_EQUAL(bind_interdomain(a->id, 0, NULL), -EINVAL);
    CU_ASSERT_EQUAL(bind_interdomain(a->id, MAX_EVTCHNS, NULL), -EINVAL);
    CU_ASSERT_EQUAL(bind_interdomain(a->id, UINT32_MAX, NULL), -EINVAL);
    CU_ASSERT_EQUAL(bind_interdomain(99, 1, NULL), -ESRCH);
    CU_ASSERT_EQUAL(b->evtchn.used, 0);
    end();
}

static void test_evtchnop_bind_interdomain__bound_already(void)
{
    begin();
    uint32_t pa, pb;
    connect(&pa, &pb);
    suite_enter(b->vcpu[0]);
    CU_ASSERT_EQUAL(bind_interdomain(a->id, pa, NULL), -EINVAL);
    end();
}

static void test_evtchnop_bind_interdomain__loopback(void)
{
    begin();
    uint32_t p1 = alloc_unbound(DOMID_SELF, DOMID_SELF), p2;
    CU_ASSERT_EQUAL(bind_interdomain(DOMID_SELF, p1, &p2), 0);
    drain(a);
    CU_ASSERT_EQUAL(simple(EVTCHNOP_send, p1), 0);
    CU_ASSERT_TRUE(pending(a, p2));
    CU_ASSERT_FALSE(pending(a, p1));
    CU_ASSERT_EQUAL(simple(EVTCHNOP_close, p1), 0);
    CU_ASSERT_EQUAL(status(DOMID_SELF, p2).status, EVTCHNSTAT_unbound);
    CU_ASSERT_EQUAL(simple(EVTCHNOP_close, p2), 0);
    CU_ASSERT_EQUAL(a->evtchn.used, 0);
    end();
}

static void test_evtchnop_send__interdomain(void)
{
    begin();
    uint32_t pa, pb;
    connect(&pa, &pb);
    drain(b);
    CU_ASSERT_EQUAL(simple(EVTCHNOP_send, pa), 0);
    CU_ASSERT_TRUE(pending(b, pb));
    CU_ASSERT_EQUAL(b->vcpu[0]->info->evtchn_pending_sel, 1);
    CU_ASSERT_EQUAL(b->vcpu[0]->info->evtchn_upcall_pending, 1);
    end();
}

static void test_evtchnop_send__bad_ports(void)
{
    begin();
    uint32_t virq;
    CU_ASSERT_EQUAL(bind_virq(VIRQ_TIMER, 0, &virq), 0);
    CU_ASSERT_EQUAL(simple(EVTCHNOP_send, virq), -EINVAL);
    CU_ASSERT_EQUAL(simple(EVTCHNOP_send, 0), -EINVAL);
    CU_ASSERT_EQUAL(simple(EVTCHNOP_send, 9), -EINVAL);
    CU_ASSERT_EQUAL(simple(EVTCHNOP_send, 1000), -EINVAL);
    CU_ASSERT_EQUAL(simple(EVTCHNOP_send, UINT32_MAX), -EINVAL);
    CU_ASSERT_EQUAL(simple(EVTCHNOP_send, alloc_unbound(DOMID_SELF, b->id)), 0);
    end();
}

static void test_evtchnop_send__masked_stays_silent(void)
{
    begin();
    uint32_t pa, pb;
    connect(&pa, &pb);
    drain(b);
    set_bit(pb, b->shared_info->evtchn_mask);
    CU_ASSERT_EQUAL(simple(EVTCHNOP_send, pa), 0);
    CU_ASSERT_TRUE(pending(b, pb));
    CU_ASSERT_EQUAL(b->vcpu[0]->info->evtchn_pending_sel, 0);
    CU_ASSERT_EQUAL(b->vcpu[0]->info->evtchn_upcall_pending, 0);
    suite_enter(b->vcpu[0]);
    CU_ASSERT_EQUAL(simple(EVTCHNOP_unmask, pb), 0);
    CU_ASSERT_FALSE(test_bit(pb, b->shared_info->evtchn_mask));
    CU_ASSERT_EQUAL(b->vcpu[0]->info->evtchn_pending_sel, 1);
    CU_ASSERT_EQUAL(b->vcpu[0]->info->evtchn_upcall_pending, 1);
    end();
}

static void test_evtchnop_unmask__nothing_pending(void)
{
    begin();
    uint32_t port = bind_ipi(0);
    set_bit(port, a->shared_info->evtchn_mask);
    CU_ASSERT_EQUAL(simple(EVTCHNOP_unmask, port), 0);
    CU_ASSERT_EQUAL(a->vcpu[0]->info->evtchn_upcall_pending, 0);
    CU_ASSERT_EQUAL(simple(EVTCHNOP_unmask, 0), -EINVAL);
    CU_ASSERT_EQUAL(simple(EVTCHNOP_unmask, MAX_EVTCHNS), -EINVAL);
    end();
}

static void test_evtchnop_close__peer_waits_again(void)
{
    begin();
    uint32_t pa, pb;
    connect(&pa, &pb);
    set_bit(pa, a->shared_info->evtchn_pending);
    CU_ASSERT_EQUAL(simple(EVTCHNOP_close, pa), 0);
    CU_ASSERT_FALSE(pending(a, pa));
    CU_ASSERT_EQUAL(status(DOMID_SELF, pa).status, EVTCHNSTAT_closed);
    suite_enter(b->vcpu[0]);
    CU_ASSERT_EQUAL(status(DOMID_SELF, pb).status, EVTCHNSTAT_unbound);
    CU_ASSERT_EQUAL(status(DOMID_SELF, pb).u.unbound.dom, a->id);
    CU_ASSERT_EQUAL(simple(EVTCHNOP_send, pb), 0); /* into the void */
    suite_enter(a->vcpu[0]);
    CU_ASSERT_EQUAL(bind_interdomain(b->id, pb, &pa), 0);
    /* And from the other side: here the locks are taken in the other order. */
    suite_enter(b->vcpu[0]);
    CU_ASSERT_EQUAL(simple(EVTCHNOP_close, pb), 0);
    CU_ASSERT_EQUAL(b->evtchn.used, 0);
    suite_enter(a->vcpu[0]);
    CU_ASSERT_EQUAL(status(DOMID_SELF, pa).status, EVTCHNSTAT_unbound);
    end();
}

static void test_evtchnop_close__bad_ports(void)
{
    begin();
    CU_ASSERT_EQUAL(simple(EVTCHNOP_close, 0), -EINVAL);
    CU_ASSERT_EQUAL(simple(EVTCHNOP_close, 1), -EINVAL);
    CU_ASSERT_EQUAL(simple(EVTCHNOP_close, MAX_EVTCHNS - 1), -EINVAL);
    CU_ASSERT_EQUAL(simple(EVTCHNOP_close, MAX_EVTCHNS), -EINVAL);
    CU_ASSERT_EQUAL(simple(EVTCHNOP_close, UINT32_MAX), -EINVAL);
    end();
}

/* While a has dropped its lock to take both in order, b closes: a must look again. */
static uint32_t racing_port;
static bool raced;
static long racing_close_rc;
void __real_spin_lock_pair(struct spinlock *first, struct spinlock *second);
void __wrap_spin_lock_pair(struct spinlock *first, struct spinlock *second);
void __wrap_spin_lock_pair(struct spinlock *first, struct spinlock *second)
{
    if (racing_port && !raced) {
        raced = true;
        struct vcpu *self = current_vcpu();
        host_current[host_cpu] = b->vcpu[0];
        racing_close_rc = simple(EVTCHNOP_close, racing_port);
        host_current[host_cpu] = self;
    }
    __real_spin_lock_pair(first, second);
}

static void test_evtchnop_close__race_with_the_peer(void)
{
    begin();
    uint32_t pa, pb;
    connect(&pa, &pb);
    racing_port = pb;
    raced = false;
    CU_ASSERT_EQUAL(simple(EVTCHNOP_close, pa), 0);
    racing_port = 0;
    CU_ASSERT_TRUE(raced);
    CU_ASSERT_EQUAL(racing_close_rc, 0);
    CU_ASSERT_EQUAL(a->evtchn.used, 0);
    CU_ASSERT_EQUAL(b->evtchn.used, 0);
    CU_ASSERT_EQUAL(b->refs, 1);
    end();
}

/* ---- virtual interrupts and IPIs ---- */

static void test_evtchnop_bind_virq__per_vcpu(void)
{
    begin();
    uint32_t p0, p1;
    CU_ASSERT_EQUAL(bind_virq(VIRQ_TIMER, 0, &p0), 0);
    CU_ASSERT_EQUAL(bind_virq(VIRQ_TIMER, 1, &p1), 0);
    CU_ASSERT_NOT_EQUAL(p0, p1);
    CU_ASSERT_EQUAL(bind_virq(VIRQ_TIMER, 1, NULL), -EEXIST);
    struct evtchn_status s = status(DOMID_SELF, p1);
    CU_ASSERT_EQUAL(s.status, EVTCHNSTAT_virq);
    CU_ASSERT_EQUAL(s.u.virq, VIRQ_TIMER);
    CU_ASSERT_EQUAL(s.vcpu, 1);
    evtchn_send_virq(a->vcpu[1], VIRQ_TIMER);
    CU_ASSERT_TRUE(pending(a, p1));
    CU_ASSERT_FALSE(pending(a, p0));
    CU_ASSERT_EQUAL(a->vcpu[1]->info->evtchn_upcall_pending, 1);
    CU_ASSERT_EQUAL(a->vcpu[0]->info->evtchn_upcall_pending, 0);
    end();
}

static void test_evtchnop_bind_virq__errors(void)
{
    begin();
    CU_ASSERT_EQUAL(bind_virq(NR_VIRQS, 0, NULL), -EINVAL);
    CU_ASSERT_EQUAL(bind_virq(UINT32_MAX, 0, NULL), -EINVAL);
    CU_ASSERT_EQUAL(bind_virq(5, 0, NULL), -EINVAL);
    CU_ASSERT_EQUAL(bind_virq(VIRQ_TIMER, 3, NULL), -ENOENT);
    CU_ASSERT_EQUAL(bind_virq(VIRQ_TIMER, UINT32_MAX, NULL), -ENOENT);
    CU_ASSERT_EQUAL(bind_virq(VIRQ_CONSOLE, 0, NULL), -EPERM);
    CU_ASSERT_EQUAL(bind_virq(VIRQ_DOM_EXC, 0, NULL), -EPERM);
    suite_enter(dom0->vcpu[0]);
    CU_ASSERT_EQUAL(bind_virq(VIRQ_DOM_EXC, 1, NULL), -EINVAL);
    CU_ASSERT_EQUAL(bind_virq(VIRQ_DOM_EXC, 0, NULL), 0);
    CU_ASSERT_EQUAL(bind_virq(VIRQ_DOM_EXC, 0, NULL), -EEXIST);
    end();
}

static void test_evtchnop_bind_virq__closed_and_bound_again(void)
{
    begin();
    uint32_t port, again;
    CU_ASSERT_EQUAL(bind_virq(VIRQ_TIMER, 1, &port), 0);
    CU_ASSERT_EQUAL(simple(EVTCHNOP_close, port), 0);
    evtchn_send_virq(a->vcpu[1], VIRQ_TIMER);
    CU_ASSERT_FALSE(pending(a, port));
    CU_ASSERT_EQUAL(bind_virq(VIRQ_TIMER, 1, &again), 0);
    end();
}

static void test_evtchn_send_global_virq__moved_and_closed(void)
{
    begin();
    suite_enter(dom0->vcpu[0]);
    uint32_t port;
    CU_ASSERT_EQUAL(bind_virq(VIRQ_CONSOLE, 0, &port), 0);
    struct evtchn_bind_vcpu move = {.port = port, .vcpu = 1};
    CU_ASSERT_EQUAL(OP_CALL(EVTCHNOP_bind_vcpu, move), 0);
    evtchn_send_global_virq(dom0, VIRQ_CONSOLE);
    CU_ASSERT_EQUAL(dom0->vcpu[1]->info->evtchn_upcall_pending, 1);
    CU_ASSERT_EQUAL(dom0->vcpu[0]->info->evtchn_upcall_pending, 0);
    /* Closing finds the slot although the port was moved. */
    CU_ASSERT_EQUAL(simple(EVTCHNOP_close, port), 0);
    CU_ASSERT_EQUAL(bind_virq(VIRQ_CONSOLE, 0, NULL), 0);
    evtchn_send_global_virq(NULL, VIRQ_CONSOLE); /* before there is a control domain */
    end();
}

/* What was pending before the port moved: the old vCPU would not look at it. */
static void test_evtchnop_bind_vcpu__tells_the_new_one(void)
{
    begin();
    suite_enter(dom0->vcpu[0]);
    uint32_t port;
    CU_ASSERT_EQUAL(bind_virq(VIRQ_CONSOLE, 0, &port), 0);
    evtchn_send_global_virq(dom0, VIRQ_CONSOLE);
    CU_ASSERT_EQUAL(dom0->vcpu[1]->info->evtchn_upcall_pending, 0);
    struct evtchn_bind_vcpu move = {.port = port, .vcpu = 1};
    CU_ASSERT_EQUAL(OP_CALL(EVTCHNOP_bind_vcpu, move), 0);
    CU_ASSERT_EQUAL(dom0->vcpu[1]->info->evtchn_upcall_pending, 1);
    end();
}

static void test_evtchnop_bind_ipi__send(void)
{
    begin();
    uint32_t port = bind_ipi(2);
    CU_ASSERT_EQUAL(status(DOMID_SELF, port).status, EVTCHNSTAT_ipi);
    CU_ASSERT_EQUAL(status(DOMID_SELF, port).vcpu, 2);
    CU_ASSERT_EQUAL(simple(EVTCHNOP_send, port), 0);
    CU_ASSERT_EQUAL(a->vcpu[2]->info->evtchn_upcall_pending, 1);
    struct evtchn_bind_ipi arg = {.vcpu = 3};
    CU_ASSERT_EQUAL(OP_CALL(EVTCHNOP_bind_ipi, arg), -ENOENT);
    end();
}

static void test_evtchnop_bind_vcpu__which_ports(void)
{
    begin();
    uint32_t pa, pb, virq, ipi = bind_ipi(0);
    connect(&pa, &pb);
    CU_ASSERT_EQUAL(bind_virq(VIRQ_TIMER, 0, &virq), 0);
    const struct {
        uint32_t port, vcpu;
        long rc;
    } want[] = {
        {pa, 2, 0},      {ipi, 1, -EINVAL}, {virq, 1, -EINVAL},        {pa, 3, -ENOENT},
        {0, 0, -EINVAL}, {99, 0, -EINVAL},  {MAX_EVTCHNS, 0, -EINVAL}, {pa, ~0u, -ENOENT},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(want); i++) {
        struct evtchn_bind_vcpu arg = {.port = want[i].port, .vcpu = want[i].vcpu};
        CU_ASSERT_EQUAL(OP_CALL(EVTCHNOP_bind_vcpu, arg), want[i].rc);
    }
    suite_enter(b->vcpu[0]);
    CU_ASSERT_EQUAL(simple(EVTCHNOP_send, pb), 0);
    CU_ASSERT_EQUAL(a->vcpu[2]->info->evtchn_upcall_pending, 1);
    CU_ASSERT_EQUAL(a->vcpu[0]->info->evtchn_upcall_pending, 0);
    end();
}

/* ---- physical interrupts ---- */

static void test_evtchnop_bind_pirq__errors_leave_no_port(void)
{
    begin();
    const uint32_t bad[] = {0, 5, MAX_PIRQS - 1, MAX_PIRQS, UINT32_MAX};
    for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
        struct evtchn_bind_pirq arg = {.pirq = bad[i]};
        CU_ASSERT_EQUAL(OP_CALL(EVTCHNOP_bind_pirq, arg), -EINVAL);
    }
    CU_ASSERT_EQUAL(a->evtchn.used, 0);
    end();
}

static void test_evtchnop_bind_pirq__deliver_and_close(void)
{
    begin();
    suite_enter(dom0->vcpu[0]);
    int pirq = 5;
    CU_ASSERT_EQUAL(pirq_map_gsi(dom0, 5, &pirq), 0);
    struct evtchn_bind_pirq arg = {.pirq = 5};
    CU_ASSERT_EQUAL(OP_CALL(EVTCHNOP_bind_pirq, arg), 0);
    struct evtchn_status s = status(DOMID_SELF, arg.port);
    CU_ASSERT_EQUAL(s.status, EVTCHNSTAT_pirq);
    CU_ASSERT_EQUAL(s.u.pirq, 5);
    struct evtchn_bind_pirq again = {.pirq = 5};
    CU_ASSERT_EQUAL(OP_CALL(EVTCHNOP_bind_pirq, again), -EEXIST);
    evtchn_send_pirq(dom0, arg.port);
    CU_ASSERT_TRUE(pending(dom0, arg.port));
    CU_ASSERT_EQUAL(simple(EVTCHNOP_close, arg.port), 0);
    /* One that was on its way when the port closed. */
    evtchn_send_pirq(dom0, arg.port);
    CU_ASSERT_FALSE(pending(dom0, arg.port));
    CU_ASSERT_EQUAL(pirq_unmap(dom0, 5), 0);
    end();
}

/* ---- status, reset ---- */

static void test_evtchnop_status__permission_and_range(void)
{
    begin();
    struct evtchn_status arg = {.dom = b->id, .port = 1};
    CU_ASSERT_EQUAL(OP_CALL(EVTCHNOP_status, arg), -EPERM);
    arg = (struct evtchn_status){.dom = DOMID_SELF, .port = MAX_EVTCHNS};
    CU_ASSERT_EQUAL(OP_CALL(EVTCHNOP_status, arg), -EINVAL);
    CU_ASSERT_EQUAL(status(DOMID_SELF, 0).status, EVTCHNSTAT_closed);
    CU_ASSERT_EQUAL(status(DOMID_SELF, MAX_EVTCHNS - 1).status, EVTCHNSTAT_closed);
    suite_enter(dom0->vcpu[0]);
    CU_ASSERT_EQUAL(status(b->id, 1).status, EVTCHNSTAT_closed);
    end();
}

static void test_evtchnop_reset__all_kinds(void)
{
    begin();
    uint32_t pa, pb;
    connect(&pa, &pb);
    (void)bind_ipi(1);
    CU_ASSERT_EQUAL(bind_virq(VIRQ_TIMER, 0, NULL), 0);
    struct evtchn_reset other = {.dom = b->id};
    CU_ASSERT_EQUAL(OP_CALL(EVTCHNOP_reset, other), -EPERM);
    struct evtchn_reset self = {.dom = DOMID_SELF};
    CU_ASSERT_EQUAL(OP_CALL(EVTCHNOP_reset, self), 0);
    CU_ASSERT_EQUAL(a->evtchn.used, 0);
    CU_ASSERT_EQUAL(bind_virq(VIRQ_TIMER, 0, NULL), 0);
    suite_enter(dom0->vcpu[0]);
    CU_ASSERT_EQUAL(status(b->id, pb).status, EVTCHNSTAT_unbound);
    CU_ASSERT_EQUAL(OP_CALL(EVTCHNOP_reset, other), 0);
    CU_ASSERT_EQUAL(b->evtchn.used, 0);
    end();
}

/* ---- delivery ---- */

static void test_evtchn__wakes_a_blocked_vcpu_and_kicks_a_running_one(void)
{
    begin();
    uint32_t pa, pb;
    connect(&pa, &pb);
    drain(b);
    struct vcpu *v = b->vcpu[0];
    sched_pause(v, PAUSE_BLOCKED);
    v->info->evtchn_upcall_mask = 0;
    CU_ASSERT_EQUAL(simple(EVTCHNOP_send, pa), 0);
    CU_ASSERT_EQUAL(v->sched.pause_bits & PAUSE_BLOCKED, 0);

    drain(b);
    v->sched.running = true; /* on another pcpu */
    unsigned home = v->sched.pcpu;
    v->sched.pcpu = 1;
    unsigned kicks = host.kicks[1];
    CU_ASSERT_EQUAL(simple(EVTCHNOP_send, pa), 0);
    CU_ASSERT_EQUAL(host.kicks[1], kicks + 1);
    /* A second event before the first was served needs no second kick. */
    CU_ASSERT_EQUAL(simple(EVTCHNOP_send, pa), 0);
    CU_ASSERT_EQUAL(host.kicks[1], kicks + 1);
    drain(b);
    v->info->evtchn_upcall_mask = 1; /* it will look by itself */
    CU_ASSERT_EQUAL(simple(EVTCHNOP_send, pa), 0);
    CU_ASSERT_EQUAL(host.kicks[1], kicks + 1);
    v->sched.running = false;
    v->sched.pcpu = home;
    end();
}

static void test_evtchn_upcall_wanted__words(void)
{
    begin();
    struct vcpu *v = a->vcpu[0];
    v->info->evtchn_upcall_pending = 0;
    v->info->evtchn_upcall_mask = 0;
    CU_ASSERT_FALSE(evtchn_upcall_wanted(v));
    v->info->evtchn_upcall_pending = 1;
    CU_ASSERT_TRUE(evtchn_upcall_wanted(v));
    v->info->evtchn_upcall_mask = 1;
    CU_ASSERT_FALSE(evtchn_upcall_wanted(v));
    vcpu_info_t *info = v->info;
    v->info = NULL;
    CU_ASSERT_FALSE(evtchn_upcall_wanted(v));
    evtchn_send_virq(v, VIRQ_TIMER);
    v->info = info;
    end();
}

static void test_evtchn__guest_scribbles_over_its_words(void)
{
    begin();
    uint32_t pa, pb;
    connect(&pa, &pb);
    memset(b->shared_info, 0xff, sizeof(*b->shared_info));
    CU_ASSERT_EQUAL(simple(EVTCHNOP_send, pa), 0);
    memset(b->shared_info, 0, sizeof(*b->shared_info));
    CU_ASSERT_EQUAL(simple(EVTCHNOP_send, pa), 0);
    CU_ASSERT_TRUE(pending(b, pb));
    end();
}

static void test_evtchn__death_unbinds_the_peers(void)
{
    begin();
    uint32_t pa, pb;
    connect(&pa, &pb);
    suite_enter(NULL);
    suite_destroy(a);
    suite_enter(b->vcpu[0]);
    CU_ASSERT_EQUAL(status(DOMID_SELF, pb).status, EVTCHNSTAT_unbound);
    CU_ASSERT_EQUAL(simple(EVTCHNOP_send, pb), 0);
    /* A dying domain binds nothing any more. */
    a = suite_domain(11, 3);
    suite_enter(a->vcpu[0]);
    a->state = DOM_DYING;
    struct evtchn_alloc_unbound arg = {.dom = DOMID_SELF};
    CU_ASSERT_EQUAL(OP_CALL(EVTCHNOP_alloc_unbound, arg), -EINVAL);
    CU_ASSERT_EQUAL(bind_virq(VIRQ_TIMER, 0, NULL), -EINVAL);
    a->state = DOM_ALIVE;
    end();
}

int main(void)
{
    static const struct suite_case cases[] = {
        CASE(test_evtchnop_alloc_unbound__success),
        CASE(test_evtchnop_alloc_unbound__permission),
        CASE(test_evtchnop_alloc_unbound__limit),
        CASE(test_evtchnop_alloc_unbound__all_4095_ports),
        CASE(test_evtchnop_alloc_unbound__control_keeps_nothing),
        CASE(test_evtchnop_alloc_unbound__out_of_memory),
        CASE(test_evtchnop__bad_addresses),
        CASE(test_evtchnop__unknown),
        CASE(test_evtchnop_bind_interdomain__success),
        CASE(test_evtchnop_bind_interdomain__needs_consent),
        CASE(test_evtchnop_bind_interdomain__bound_already),
        CASE(test_evtchnop_bind_interdomain__loopback),
        CASE(test_evtchnop_send__interdomain),
        CASE(test_evtchnop_send__bad_ports),
        CASE(test_evtchnop_send__masked_stays_silent),
        CASE(test_evtchnop_unmask__nothing_pending),
        CASE(test_evtchnop_close__peer_waits_again),
        CASE(test_evtchnop_close__bad_ports),
        CASE(test_evtchnop_close__race_with_the_peer),
        CASE(test_evtchnop_bind_virq__per_vcpu),
        CASE(test_evtchnop_bind_virq__errors),
        CASE(test_evtchnop_bind_virq__closed_and_bound_again),
        CASE(test_evtchn_send_global_virq__moved_and_closed),
        CASE(test_evtchnop_bind_ipi__send),
        CASE(test_evtchnop_bind_vcpu__which_ports),
        CASE(test_evtchnop_bind_vcpu__tells_the_new_one),
        CASE(test_evtchnop_bind_pirq__errors_leave_no_port),
        CASE(test_evtchnop_bind_pirq__deliver_and_close),
        CASE(test_evtchnop_status__permission_and_range),
        CASE(test_evtchnop_reset__all_kinds),
        CASE(test_evtchn__wakes_a_blocked_vcpu_and_kicks_a_running_one),
        CASE(test_evtchn_upcall_wanted__words),
        CASE(test_evtchn__guest_scribbles_over_its_words),
        CASE(test_evtchn__death_unbinds_the_peers),
    };
    return SUITE("event channels", 2, cases);
}
