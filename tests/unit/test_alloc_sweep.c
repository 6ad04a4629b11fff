// SPDX-License-Identifier: MIT
/*
 * Every hypercall that allocates, with its first allocation failing, then its second, and so on
 * until it succeeds. Each failure must be reported as the ABI says and leave nothing behind: no
 * frame, no reference, no port, no bit of the state the hypervisor keeps.
 */
#include <string.h>

#include "core/deferred.h"
#include "core/frame.h"
#include "core/grant_table.h"
#include "core/pirq.h"
#include "suite.h"

#define TABLE (X86_PTE_P | X86_PTE_RW | X86_PTE_US)
#define ALLOCATIONS_MAX 64

static struct domain *control, *guest;

/* ---- what a failure must not change ---- */

static uint64_t hash_of(uint64_t hash, const void *bytes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        hash = (hash ^ ((const uint8_t *)bytes)[i]) * 0x100000001b3;
    }
    return hash;
}

#define HASH(hash, value) hash_of(hash, &(value), sizeof(value))

static uint64_t hash_vcpu(uint64_t hash, const struct vcpu *v)
{
    hash = HASH(hash, v->pv);
    hash = HASH(hash, v->regs);
    hash = HASH(hash, v->info);
    hash = HASH(hash, v->info_frame);
    hash = HASH(hash, v->initialised);
    hash = HASH(hash, v->context_busy);
    hash = HASH(hash, v->sched.pause_bits);
    hash = HASH(hash, v->virq_to_port);
    return HASH(hash, v->mmu_deferred_count);
}

static uint64_t hash_ports(uint64_t hash, const struct evtchn_table *t)
{
    hash = HASH(hash, t->used);
    for (unsigned i = 0; i < ARRAY_SIZE(t->page); i++) {
        hash = HASH(hash, t->page[i]);
        if (t->page[i]) {
            hash = hash_of(hash, t->page[i], PAGE_SIZE);
        }
    }
    return hash;
}

static uint64_t hash_grants(uint64_t hash, const struct grant_table *gt)
{
    hash = HASH(hash, gt->frame_count);
    hash = HASH(hash, gt->free_handles);
    hash = HASH(hash, gt->spare);
    hash = HASH(hash, gt->roomy);
    hash = HASH(hash, gt->maptrack);
    hash = HASH(hash, gt->first);
    for (uint32_t i = 0; i < gt->frame_count; i++) {
        hash = hash_of(hash, frame_to_virt(gt->frame[i]), PAGE_SIZE);
        hash = hash_of(hash, gt->active[i], GRANTS_PER_FRAME * sizeof(*gt->active[i]));
    }
    return hash;
}

static uint64_t hash_domain(uint64_t hash, const struct domain *d)
{
    hash = HASH(hash, d->id);
    hash = HASH(hash, d->refs);
    hash = HASH(hash, d->state);
    hash = HASH(hash, d->pause_count);
    hash = HASH(hash, d->control_pauses);
    hash = HASH(hash, d->page_list);
    hash = HASH(hash, d->page_count);
    hash = HASH(hash, d->max_pages);
    hash = HASH(hash, d->pv);
    /* The clock after it may be written again at any time. */
    hash = hash_of(hash, d->shared_info, offsetof(shared_info_t, wc_version));
    for (unsigned i = 0; i < d->max_vcpus; i++) {
        hash = hash_vcpu(hash, d->vcpu[i]);
    }
    return hash_grants(hash_ports(hash, &d->evtchn), d->grant);
}

struct state {
    uint64_t free_frames, frames, m2p, control, guest, domains;
};

static struct state take_state(void)
{
    struct state s = {.free_frames = frame_free_count(),
                      .m2p = hash_of(0, host_m2p, HOST_FRAMES * sizeof(*host_m2p))};
    for (mfn_t mfn = 0; mfn < HOST_FRAMES; mfn++) {
        const struct frame *f = mfn_to_frame(mfn);
        if (f->count) {
            s.frames = HASH(s.frames, mfn);
            s.frames = HASH(s.frames, f->count);
            s.frames = HASH(s.frames, f->type);
            s.frames = HASH(s.frames, f->owner_page);
        }
    }
    s.control = hash_domain(0, control);
    s.guest = hash_domain(0, guest);
    for (struct domain *d = domain_get_next(0); d;) {
        unsigned next = d->id + 1U;
        domain_put(d);
        s.domains++;
        d = domain_get_next((domid_t)next);
    }
    return s;
}

static bool same_state(const struct state *a, const struct state *b)
{
    CU_ASSERT_EQUAL(a->free_frames, b->free_frames);
    CU_ASSERT_EQUAL(a->frames, b->frames);
    CU_ASSERT_EQUAL(a->m2p, b->m2p);
    CU_ASSERT_EQUAL(a->control, b->control);
    CU_ASSERT_EQUAL(a->guest, b->guest);
    CU_ASSERT_EQUAL(a->domains, b->domains);
    return !memcmp(a, b, sizeof(*a));
}

/* ---- the sweep ---- */

/* One attempt: makes its arguments anew and returns what the guest sees. */
typedef long (*attempt_fn)(void);

/* Expect exactly `allocations` points of failure, each reported as `error`, and then `success`. */
static void sweep(attempt_fn attempt, long error, long success, unsigned allocations)
{
    for (unsigned n = 1; n <= ALLOCATIONS_MAX; n++) {
        struct state before = take_state();
        host.fault_in_alloc = n;
        long rc = attempt();
        bool failed = host.fault_in_alloc == 0;
        host.fault_in_alloc = 0;
        if (!failed) {
            CU_ASSERT_EQUAL(rc, success);
            CU_ASSERT_EQUAL(n - 1, allocations);
            return;
        }
        struct state after = take_state();
        CU_ASSERT_EQUAL(rc, error);
        if (!same_state(&before, &after)) {
            return;
        }
    }
    CU_FAIL("never succeeds");
}

static void begin(bool as_guest)
{
    control = suite_control();
    guest = suite_domain(1, 2);
    suite_enter((as_guest ? guest : control)->vcpu[0]);
    (void)deferred_take();
}

static void end(void)
{
    suite_enter(NULL);
    suite_destroy(guest);
    suite_destroy(control);
}

/* ---- domains and vCPUs ---- */

static domid_t created;

static long create_with_id(domid_t id)
{
    struct xen_domctl op = {.cmd = XEN_DOMCTL_createdomain,
                            .interface_version = XEN_DOMCTL_INTERFACE_VERSION,
                            .domain = id,
                            .u.createdomain = {.max_vcpus = 3,
                                               .max_evtchn_port = 1023,
                                               .max_grant_frames = 2,
                                               .max_maptrack_frames = 2,
                                               .grant_opts = 1}};
    vaddr_t va = host_guest_put(&op, sizeof(op));
    long rc = suite_call(__HYPERVISOR_domctl, va, 0, 0);
    memcpy(&op, host_guest_ptr(va), sizeof(op));
    created = op.domain;
    return rc;
}

static long create_domain(void)
{
    return create_with_id(0);
}

static long create_far_domain(void)
{
    return create_with_id(5000);
}

static void destroy_created(void)
{
    struct domain *d = domain_get(created);
    CU_ASSERT_PTR_NOT_NULL_FATAL(d);
    domain_put(d);
    suite_destroy(d);
}

static void test_domctl_createdomain__each_allocation_fails(void)
{
    begin(false);
    /* Domain, shared page, ports, grant table, its first frame and what is active in it, and three
     * vCPUs with their FPU state. */
    sweep(create_domain, -ENOMEM, 0, 9);
    destroy_created();
    sweep(create_far_domain, -ENOMEM, 0, 9);
    destroy_created();
    end();
}

/* A tree of one table a level and a page, of the guest. */
static mfn_t tree[4];

static void make_tree(void)
{
    for (unsigned i = 0; i < 4; i++) {
        struct frame *f = frame_alloc_domain(guest, 0, 0);
        CU_ASSERT_PTR_NOT_NULL_FATAL(f);
        tree[i] = frame_to_mfn(f);
        if (i) {
            *(uint64_t *)mfn_to_virt(tree[i - 1]) = tree[i] << PAGE_SHIFT | TABLE;
        }
    }
}

static vaddr_t put_context(void)
{
    vaddr_t va = host_guest_alloc(sizeof(struct vcpu_guest_context));
    struct vcpu_guest_context *c = host_guest_ptr(va);
    c->flags = VGCF_in_kernel;
    c->ctrlreg[3] = xen_pfn_to_cr3(tree[0]);
    return va;
}

static long initialise_vcpu(void)
{
    return suite_call(__HYPERVISOR_vcpu_op, VCPUOP_initialise, 1, put_context());
}

static void test_vcpuop_initialise__each_allocation_fails(void)
{
    begin(true);
    make_tree();
    sweep(initialise_vcpu, -ENOMEM, 0, 1);
    end();
}

static long vcpu_context(uint32_t cmd)
{
    struct xen_domctl op = {.cmd = cmd,
                            .interface_version = XEN_DOMCTL_INTERFACE_VERSION,
                            .domain = guest->id,
                            .u.vcpucontext.vcpu = 1};
    op.u.vcpucontext.ctxt.p = (vcpu_guest_context_t *)put_context();
    return suite_call(__HYPERVISOR_domctl, host_guest_put(&op, sizeof(op)), 0, 0);
}

static long set_context(void)
{
    return vcpu_context(XEN_DOMCTL_setvcpucontext);
}

static long get_context(void)
{
    return vcpu_context(XEN_DOMCTL_getvcpucontext);
}

static void test_domctl_vcpucontext__each_allocation_fails(void)
{
    begin(false);
    make_tree();
    sweep(set_context, -ENOMEM, 0, 1);
    sweep(get_context, -ENOMEM, 0, 1);
    end();
}

/* ---- event channels ---- */

static long evtchn(unsigned cmd, const void *arg, size_t bytes)
{
    return suite_call(__HYPERVISOR_event_channel_op, cmd, host_guest_put(arg, bytes), 0);
}

static long alloc_unbound(void)
{
    struct evtchn_alloc_unbound op = {.dom = DOMID_SELF, .remote_dom = 0};
    return evtchn(EVTCHNOP_alloc_unbound, &op, sizeof(op));
}

/* Use ports up until the next one needs a page. */
static void fill_ports(void)
{
    for (unsigned i = 1; i < PORTS_PER_PAGE; i++) {
        CU_ASSERT_EQUAL(alloc_unbound(), 0);
        host_guest_reset();
    }
}

static void test_evtchnop_alloc_unbound__each_allocation_fails(void)
{
    begin(true);
    fill_ports();
    sweep(alloc_unbound, -ENOMEM, 0, 1);
    end();
}

static long bind_virq(void)
{
    struct evtchn_bind_virq op = {.virq = VIRQ_TIMER};
    return evtchn(EVTCHNOP_bind_virq, &op, sizeof(op));
}

static void test_evtchnop_bind_virq__each_allocation_fails(void)
{
    begin(true);
    fill_ports();
    sweep(bind_virq, -ENOMEM, 0, 1);
    end();
}

static long bind_ipi(void)
{
    struct evtchn_bind_ipi op = {.vcpu = 1};
    return evtchn(EVTCHNOP_bind_ipi, &op, sizeof(op));
}

static void test_evtchnop_bind_ipi__each_allocation_fails(void)
{
    begin(true);
    fill_ports();
    sweep(bind_ipi, -ENOMEM, 0, 1);
    end();
}

static long bind_interdomain(void)
{
    struct evtchn_bind_interdomain op = {.remote_dom = 0, .remote_port = 1};
    return evtchn(EVTCHNOP_bind_interdomain, &op, sizeof(op));
}

static void test_evtchnop_bind_interdomain__each_allocation_fails(void)
{
    begin(false);
    struct evtchn_alloc_unbound op = {.dom = DOMID_SELF, .remote_dom = 1};
    CU_ASSERT_EQUAL(evtchn(EVTCHNOP_alloc_unbound, &op, sizeof(op)), 0);
    suite_enter(guest->vcpu[0]);
    fill_ports();
    sweep(bind_interdomain, -ENOMEM, 0, 1);
    end();
}

static long bind_pirq(void)
{
    struct evtchn_bind_pirq op = {.pirq = 5};
    return evtchn(EVTCHNOP_bind_pirq, &op, sizeof(op));
}

static void test_evtchnop_bind_pirq__each_allocation_fails(void)
{
    begin(false);
    struct physdev_map_pirq map = {
        .domid = DOMID_SELF, .type = MAP_PIRQ_TYPE_GSI, .index = 5, .pirq = 5};
    CU_ASSERT_EQUAL(suite_call(__HYPERVISOR_physdev_op, PHYSDEVOP_map_pirq,
                               host_guest_put(&map, sizeof(map)), 0),
                    0);
    fill_ports();
    sweep(bind_pirq, -ENOMEM, 0, 0); /* the control domain has all of its ports from the start */
    end();
}

/* ---- grants ---- */

static long grant_op(unsigned cmd, void *arg, size_t bytes, vaddr_t *va)
{
    *va = host_guest_put(arg, bytes);
    return suite_call(__HYPERVISOR_grant_table_op, cmd, *va, 1);
}

static long setup_table(void)
{
    struct gnttab_setup_table op = {.dom = DOMID_SELF, .nr_frames = 4};
    vaddr_t va;
    op.frame_list.p = (xen_pfn_t *)host_guest_alloc(4 * sizeof(xen_pfn_t));
    CU_ASSERT_EQUAL(grant_op(GNTTABOP_setup_table, &op, sizeof(op), &va), 0);
    return ((struct gnttab_setup_table *)host_guest_ptr(va))->status;
}

static void test_gnttabop_setup_table__each_allocation_fails(void)
{
    begin(true);
    /* One frame is there; each of three more has its active entries. */
    sweep(setup_table, GNTST_general_error, GNTST_okay, 6);
    end();
}

static long acquire_resource(void)
{
    struct xen_mem_acquire_resource op = {
        .domid = 1, .type = XENMEM_resource_grant_table, .frame = 1, .nr_frames = 3};
    op.frame_list.p = (xen_pfn_t *)host_guest_alloc(3 * sizeof(xen_pfn_t));
    return suite_call(__HYPERVISOR_memory_op, XENMEM_acquire_resource,
                      host_guest_put(&op, sizeof(op)), 0);
}

static void test_memop_acquire_resource__each_allocation_fails(void)
{
    begin(false);
    sweep(acquire_resource, -ENOMEM, 0, 6);
    end();
}

static long map_grant(void)
{
    struct gnttab_map_grant_ref op = {.flags = GNTMAP_device_map, .ref = 9, .dom = 1};
    vaddr_t va;
    CU_ASSERT_EQUAL(grant_op(GNTTABOP_map_grant_ref, &op, sizeof(op), &va), 0);
    return ((struct gnttab_map_grant_ref *)host_guest_ptr(va))->status;
}

static void test_gnttabop_map_grant_ref__each_allocation_fails(void)
{
    begin(false);
    make_tree();
    grant_entry_v1_t *entry = (grant_entry_v1_t *)frame_to_virt(guest->grant->frame[0]) + 9;
    *entry = (grant_entry_v1_t){GTF_permit_access, 0, (uint32_t)tree[3]};
    for (unsigned i = 0; i < MAPPINGS_PER_PAGE; i++) {
        CU_ASSERT_EQUAL(map_grant(), GNTST_okay);
        host_guest_reset();
    }
    /* The first page of map tracking is full. */
    sweep(map_grant, GNTST_no_space, GNTST_okay, 1);
    end();
}

/* ---- memory ---- */

#define EXTENTS 3

/* ABI: operations on reservations answer how many extents were done. */
static long reserve(unsigned cmd, unsigned count)
{
    uint64_t pfns[EXTENTS] = {700, 701, 702};
    struct xen_memory_reservation r = {.nr_extents = count, .domid = DOMID_SELF};
    r.extent_start.p = (xen_pfn_t *)host_guest_put(pfns, sizeof(pfns));
    return suite_call(__HYPERVISOR_memory_op, cmd, host_guest_put(&r, sizeof(r)), 0);
}

static long increase_one(void)
{
    return reserve(XENMEM_increase_reservation, 1);
}

static long populate_one(void)
{
    return reserve(XENMEM_populate_physmap, 1);
}

static void test_memop_reservations__each_allocation_fails(void)
{
    begin(true);
    sweep(increase_one, 0, 1, 1);
    sweep(populate_one, 0, 1, 1);
    /* In the middle: what was done stays, and is what the answer says. */
    for (unsigned n = 1; n <= EXTENTS; n++) {
        uint64_t free_before = frame_free_count(), pages = guest->page_count;
        host.fault_in_alloc = n;
        CU_ASSERT_EQUAL(reserve(XENMEM_populate_physmap, EXTENTS), n - 1);
        CU_ASSERT_EQUAL(frame_free_count(), free_before - (n - 1));
        CU_ASSERT_EQUAL(guest->page_count, pages + n - 1);
    }
    end();
}

static long exchange(void)
{
    uint64_t pfns[2] = {700, 701}, in[2] = {tree[2], tree[3]};
    struct xen_memory_exchange x = {.in = {.nr_extents = 2, .domid = DOMID_SELF},
                                    .out = {.nr_extents = 2, .domid = DOMID_SELF}};
    x.in.extent_start.p = (xen_pfn_t *)host_guest_put(in, sizeof(in));
    x.out.extent_start.p = (xen_pfn_t *)host_guest_put(pfns, sizeof(pfns));
    return suite_call(__HYPERVISOR_memory_op, XENMEM_exchange, host_guest_put(&x, sizeof(x)), 0);
}

static void test_memop_exchange__each_allocation_fails(void)
{
    begin(true);
    make_tree();
    sweep(exchange, -ENOMEM, 0, 2);
    end();
}

static const struct suite_case cases[] = {
    CASE(test_domctl_createdomain__each_allocation_fails),
    CASE(test_vcpuop_initialise__each_allocation_fails),
    CASE(test_domctl_vcpucontext__each_allocation_fails),
    CASE(test_evtchnop_alloc_unbound__each_allocation_fails),
    CASE(test_evtchnop_bind_virq__each_allocation_fails),
    CASE(test_evtchnop_bind_ipi__each_allocation_fails),
    CASE(test_evtchnop_bind_interdomain__each_allocation_fails),
    CASE(test_evtchnop_bind_pirq__each_allocation_fails),
    CASE(test_gnttabop_setup_table__each_allocation_fails),
    CASE(test_memop_acquire_resource__each_allocation_fails),
    CASE(test_gnttabop_map_grant_ref__each_allocation_fails),
    CASE(test_memop_reservations__each_allocation_fails),
    CASE(test_memop_exchange__each_allocation_fails),
};

int main(void)
{
    return SUITE("alloc_sweep", 1, cases);
}
