// SPDX-License-Identifier: MIT
/* core/memory_op.c: every operation as a guest calls it, its refusals, and failures in the middle.
 */
#include <string.h>

#include "core/deferred.h"
#include "core/frame.h"
#include "core/grant_table.h"
#include "suite.h"

#define CALL_MEMORY 12
#define NONE HOST_BAD_ADDR

static struct domain *control, *guest;

static void start(struct domain **caller)
{
    control = suite_control();
    guest = suite_domain(1, 1);
    suite_enter((*caller)->vcpu[0]);
}

static void finish(void)
{
    suite_enter(NULL);
    suite_destroy(guest);
    suite_destroy(control);
}

/* The whole call, with as many continuations as it asks for. */
static long op(unsigned cmd, const void *arg, size_t bytes, vaddr_t *at)
{
    vaddr_t va = arg ? host_guest_put(arg, bytes) : NONE;
    if (at) {
        *at = va;
    }
    return suite_call(CALL_MEMORY, cmd, va, 0);
}

static vaddr_t list_of(const uint64_t *values, unsigned count)
{
    return host_guest_put(values, count * sizeof(*values));
}

static uint64_t *list_at(vaddr_t va)
{
    return host_guest_ptr(va);
}

static struct xen_memory_reservation reservation(vaddr_t list, uint64_t count, unsigned order,
                                                 domid_t domid)
{
    struct xen_memory_reservation r = {.nr_extents = count, .extent_order = order, .domid = domid};
    r.extent_start.p = (xen_pfn_t *)list;
    return r;
}

static long reserve(unsigned cmd, vaddr_t list, uint64_t count, unsigned order, domid_t domid)
{
    struct xen_memory_reservation r = reservation(list, count, order, domid);
    return op(cmd, &r, sizeof(r), NULL);
}

/* Populate pfns first.. of the caller; the MFNs are in the returned list. */
static vaddr_t populate(uint64_t first, unsigned count)
{
    uint64_t pfns[64];
    for (unsigned i = 0; i < count; i++) {
        pfns[i] = first + i;
    }
    vaddr_t list = list_of(pfns, count);
    CU_ASSERT_EQUAL(reserve(XENMEM_populate_physmap, list, count, 0, DOMID_SELF), count);
    return list;
}

/* ---- populate, increase, decrease ---- */

static void test_populate__self(void)
{
    start(&guest);
    vaddr_t list = populate(100, 4);
    CU_ASSERT_EQUAL(guest->page_count, 4);
    for (unsigned i = 0; i < 4; i++) {
        struct frame *f = mfn_to_frame(list_at(list)[i]);
        CU_ASSERT_PTR_EQUAL(frame_owner(f), guest);
        CU_ASSERT_EQUAL(m2p_get(list_at(list)[i]), 100 + i);
    }
    uint64_t pfn = 512;
    vaddr_t large = list_of(&pfn, 1);
    CU_ASSERT_EQUAL(reserve(XENMEM_populate_physmap, large, 1, 9, DOMID_SELF), 1);
    CU_ASSERT_EQUAL(guest->page_count, 4 + 512);
    CU_ASSERT_EQUAL(m2p_get(*list_at(large) + 511), 512 + 511);
    finish();
}

static void test_populate__other_domain(void)
{
    uint64_t pfn = 7;
    start(&control);
    vaddr_t list = list_of(&pfn, 1);
    CU_ASSERT_EQUAL(reserve(XENMEM_populate_physmap, list, 1, 0, 1), 1);
    CU_ASSERT_PTR_EQUAL(frame_owner(mfn_to_frame(*list_at(list))), guest);
    CU_ASSERT_EQUAL(reserve(XENMEM_populate_physmap, list, 1, 0, 77), -ESRCH);
    suite_enter(guest->vcpu[0]);
    CU_ASSERT_EQUAL(reserve(XENMEM_populate_physmap, list, 1, 0, 0), -EPERM);
    CU_ASSERT_EQUAL(control->page_count, 0);
    finish();
}

static void test_populate__stops_where_it_must(void)
{
    uint64_t pfns[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    start(&guest);
    guest->max_pages = 3; /* the quota */
    CU_ASSERT_EQUAL(reserve(XENMEM_populate_physmap, list_of(pfns, 8), 8, 0, DOMID_SELF), 3);
    guest->max_pages = HOST_FRAMES;
    host.fault_in_alloc = 3; /* the heap */
    CU_ASSERT_EQUAL(reserve(XENMEM_populate_physmap, list_of(pfns, 8), 8, 0, DOMID_SELF), 2);
    CU_ASSERT_EQUAL(guest->page_count, 5);
    CU_ASSERT_EQUAL(reserve(XENMEM_populate_physmap, NONE, 8, 0, DOMID_SELF), 0);
    CU_ASSERT_EQUAL(reserve(XENMEM_populate_physmap, 0, 8, 0, DOMID_SELF), 0);
    CU_ASSERT_EQUAL(reserve(XENMEM_populate_physmap, list_of(pfns, 8), 8, 11, DOMID_SELF), 0);
    CU_ASSERT_EQUAL(reserve(XENMEM_populate_physmap, list_of(pfns, 8), ~0UL, 0, DOMID_SELF), 0);
    CU_ASSERT_EQUAL(op(XENMEM_populate_physmap, NULL, 0, NULL), -EFAULT);
    CU_ASSERT_EQUAL(guest->page_count, 5);
    /* Access 1 is the argument, 2 reads a pfn, 3 writes an MFN: what cannot be told is taken back.
     */
    vaddr_t list = list_of(pfns, 8);
    struct xen_memory_reservation r = reservation(list, 8, 0, DOMID_SELF);
    host.fault_in_access = 3;
    CU_ASSERT_EQUAL(op(XENMEM_populate_physmap, &r, sizeof(r), NULL), 0);
    CU_ASSERT_EQUAL(guest->page_count, 5);
    finish();
}

static void test_populate__continues(void)
{
    start(&guest);
    uint64_t pfns[40];
    for (unsigned i = 0; i < 40; i++) {
        pfns[i] = i;
    }
    struct xen_memory_reservation r = reservation(list_of(pfns, 40), 40, 0, DOMID_SELF);
    struct hypercall hc = {.v = guest->vcpu[0],
                           .d = guest,
                           .nr = CALL_MEMORY,
                           .arg = {XENMEM_populate_physmap, host_guest_put(&r, sizeof(r))}};
    unsigned rounds = 0;
    long rc;
    do {
        deferred_raise(0, DEFER_SCHED);
        host_fetch_reset();
        rc = hypercall_dispatch(&hc);
        CU_ASSERT_EQUAL(hc.arg[0] & 63, XENMEM_populate_physmap);
        rounds++;
    } while (rc == -ERESTART && rounds < 100);
    CU_ASSERT_EQUAL(rc, 40);
    CU_ASSERT(rounds > 1 && rounds <= 40);
    CU_ASSERT_EQUAL(guest->page_count, 40);
    finish();
}

static void test_increase_reservation(void)
{
    uint64_t mfns[2] = {0};
    start(&guest);
    vaddr_t list = list_of(mfns, 2);
    CU_ASSERT_EQUAL(reserve(XENMEM_increase_reservation, list, 2, 1, DOMID_SELF), 2);
    CU_ASSERT_EQUAL(guest->page_count, 4);
    CU_ASSERT_EQUAL(m2p_get(list_at(list)[1]), INVALID_M2P);
    CU_ASSERT_EQUAL(reserve(XENMEM_increase_reservation, 0, 1, 0, DOMID_SELF), 1);
    CU_ASSERT_EQUAL(guest->page_count, 5);
    finish();
}

static void test_decrease_reservation(void)
{
    start(&guest);
    vaddr_t list = populate(0, 4);
    uint64_t mfn = list_at(list)[0];
    uint64_t free_before = frame_free_count();
    CU_ASSERT_EQUAL(reserve(XENMEM_decrease_reservation, list, 2, 0, DOMID_SELF), 2);
    CU_ASSERT_EQUAL(guest->page_count, 2);
    CU_ASSERT_EQUAL(frame_free_count(), free_before + 2);
    CU_ASSERT_EQUAL(m2p_get(mfn), INVALID_M2P);
    /* Twice, somebody else's, no frame at all. */
    uint64_t bad[] = {mfn, 0, HOST_FRAMES + 5, ~0UL};
    for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
        CU_ASSERT_EQUAL(reserve(XENMEM_decrease_reservation, list_of(&bad[i], 1), 1, 0, DOMID_SELF),
                        0);
    }
    uint64_t shared = frame_to_mfn(guest->shared_frame);
    CU_ASSERT_EQUAL(reserve(XENMEM_decrease_reservation, list_of(&shared, 1), 1, 0, DOMID_SELF), 0);
    CU_ASSERT_EQUAL(reserve(XENMEM_decrease_reservation, NONE, 1, 0, DOMID_SELF), 0);
    CU_ASSERT_EQUAL(guest->page_count, 2);
    finish();
}

static void test_decrease_reservation__mapped_frame_stays_until_unmapped(void)
{
    start(&guest);
    vaddr_t list = populate(9, 1);
    struct frame *f = mfn_to_frame(*list_at(list));
    CU_ASSERT_FATAL(frame_get(f, guest)); /* as a mapping would */
    uint64_t free_before = frame_free_count();
    CU_ASSERT_EQUAL(reserve(XENMEM_decrease_reservation, list, 1, 0, DOMID_SELF), 1);
    CU_ASSERT_EQUAL(frame_free_count(), free_before);
    CU_ASSERT_EQUAL(m2p_get(frame_to_mfn(f)), INVALID_M2P);
    frame_put(f);
    CU_ASSERT_EQUAL(frame_free_count(), free_before + 1);
    finish();
}

/* ---- figures ---- */

static void test_figures(void)
{
    struct xen_memory_domain self = {DOMID_SELF}, other = {0};
    start(&guest);
    (void)populate(0, 3);
    guest->max_pages = 1000;
    CU_ASSERT_EQUAL(op(XENMEM_current_reservation, &self, sizeof(self), NULL), 3);
    CU_ASSERT_EQUAL(op(XENMEM_maximum_reservation, &self, sizeof(self), NULL), 1000);
    CU_ASSERT_EQUAL(op(XENMEM_current_reservation, &other, sizeof(other), NULL), -EPERM);
    CU_ASSERT_EQUAL(op(XENMEM_maximum_ram_page, NULL, 0, NULL), HOST_FRAMES - 1);
    guest->max_pages = ~0UL;
    CU_ASSERT(op(XENMEM_maximum_reservation, &self, sizeof(self), NULL) > 0);
    finish();
}

static void test_unknown__enosys(void)
{
    static const unsigned unknown[] = {5, 7, 8, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 26, 27, 63};
    start(&control);
    for (unsigned i = 0; i < ARRAY_SIZE(unknown); i++) {
        CU_ASSERT_EQUAL(op(unknown[i], NULL, 0, NULL), -ENOSYS);
    }
    /* Only operations on reservations start in the middle. */
    CU_ASSERT_EQUAL(suite_call(CALL_MEMORY, XENMEM_machphys_mapping | 1 << 6, 0, 0), -EINVAL);
    finish();
}

static void test_claim_pages(void)
{
    struct xen_memory_reservation r = {.nr_extents = 10, .domid = 1};
    start(&control);
    CU_ASSERT_EQUAL(op(XENMEM_claim_pages, &r, sizeof(r), NULL), 0);
    r.nr_extents = HOST_FRAMES * 2;
    CU_ASSERT_EQUAL(op(XENMEM_claim_pages, &r, sizeof(r), NULL), -ENOMEM);
    r.extent_order = 1;
    CU_ASSERT_EQUAL(op(XENMEM_claim_pages, &r, sizeof(r), NULL), -EINVAL);
    suite_enter(guest->vcpu[0]);
    r = (struct xen_memory_reservation){.nr_extents = 1, .domid = DOMID_SELF};
    CU_ASSERT_EQUAL(op(XENMEM_claim_pages, &r, sizeof(r), NULL), -EPERM);
    finish();
}

/* ---- exchange ---- */

static struct xen_memory_exchange exchange_of(vaddr_t in, uint64_t in_count, unsigned in_order,
                                              vaddr_t out, uint64_t out_count, unsigned out_order)
{
    return (struct xen_memory_exchange){
        .in = reservation(in, in_count, in_order, DOMID_SELF),
        .out = reservation(out, out_count, out_order, DOMID_SELF),
    };
}

static long exchange(struct xen_memory_exchange *x)
{
    vaddr_t at;
    long rc = op(XENMEM_exchange, x, sizeof(*x), &at);
    memcpy(x, host_guest_ptr(at), sizeof(*x));
    return rc;
}

static void test_exchange__many_for_one(void)
{
    uint64_t pfn = 1000;
    start(&guest);
    vaddr_t in = populate(1000, 8), out = list_of(&pfn, 1);
    uint64_t old = list_at(in)[7];
    struct xen_memory_exchange x = exchange_of(in, 8, 0, out, 1, 3);
    x.out.mem_flags = XENMEMF_address_bits(32);
    CU_ASSERT_EQUAL(exchange(&x), 0);
    CU_ASSERT_EQUAL(x.nr_exchanged, 8);
    uint64_t mfn = *list_at(out);
    CU_ASSERT_EQUAL(mfn % 8, 0);
    CU_ASSERT_EQUAL(guest->page_count, 8);
    for (unsigned i = 0; i < 8; i++) {
        CU_ASSERT_EQUAL(m2p_get(mfn + i), 1000 + i);
        CU_ASSERT_PTR_EQUAL(frame_owner(mfn_to_frame(mfn + i)), guest);
    }
    CU_ASSERT(old / 8 == mfn / 8 || m2p_get(old) == INVALID_M2P);
    /* And back, to single frames. */
    uint64_t pfns[8] = {1000, 1001, 1002, 1003, 1004, 1005, 1006, 1007};
    vaddr_t back = list_of(pfns, 8);
    x = exchange_of(out, 1, 3, back, 8, 0);
    CU_ASSERT_EQUAL(exchange(&x), 0);
    CU_ASSERT_EQUAL(x.nr_exchanged, 1);
    CU_ASSERT_EQUAL(m2p_get(list_at(back)[5]), 1005);
    CU_ASSERT_EQUAL(guest->page_count, 8);
    finish();
}

static void test_exchange__arguments(void)
{
    uint64_t pfn = 5;
    start(&guest);
    vaddr_t in = populate(5, 2), out = list_of(&pfn, 1);
    struct xen_memory_exchange good = exchange_of(in, 2, 0, out, 1, 1), x = good;
    x.in.nr_extents = 3;
    CU_ASSERT_EQUAL(exchange(&x), -EINVAL);
    x = good;
    x.in.nr_extents = x.out.nr_extents = 1UL << 63;
    x.in.extent_order = x.out.extent_order = 1;
    CU_ASSERT_EQUAL(exchange(&x), -EINVAL);
    x = good;
    x.in.extent_order = 64;
    CU_ASSERT_EQUAL(exchange(&x), -EPERM);
    x = good;
    x.in.domid = 0;
    CU_ASSERT_EQUAL(exchange(&x), -EPERM);
    x = good;
    x.nr_exchanged = 1;
    CU_ASSERT_EQUAL(exchange(&x), -EINVAL);
    x = exchange_of(in, 1 << 20, 0, out, 1 << 20, 0);
    CU_ASSERT_EQUAL(exchange(&x), -E2BIG);
    x = good;
    x.out.mem_flags = XENMEMF_address_bits(12);
    CU_ASSERT_EQUAL(exchange(&x), -ENOMEM);
    x = good;
    x.out.extent_start.p = (xen_pfn_t *)NONE;
    CU_ASSERT_EQUAL(exchange(&x), -EFAULT);
    CU_ASSERT_EQUAL(x.nr_exchanged, 0);
    CU_ASSERT_EQUAL(guest->page_count, 2);
    finish();
}

/* Nothing has changed: frames, their M2P entries, the domain's books. */
static void assert_unchanged(const uint64_t *mfns, unsigned count, uint64_t free_before)
{
    CU_ASSERT_EQUAL(guest->page_count, count);
    CU_ASSERT_EQUAL(frame_free_count(), free_before);
    for (unsigned i = 0; i < count; i++) {
        CU_ASSERT_PTR_EQUAL(frame_owner(mfn_to_frame(mfns[i])), guest);
        CU_ASSERT_EQUAL(m2p_get(mfns[i]), 50 + i);
        CU_ASSERT_EQUAL(frame_ref_count(mfn_to_frame(mfns[i])), 1);
    }
}

static void test_exchange__undone_on_every_failure(void)
{
    uint64_t pfns[4] = {50, 51, 52, 53}, mfns[4];
    start(&guest);
    vaddr_t in = populate(50, 4);
    memcpy(mfns, list_at(in), sizeof(mfns));
    uint64_t free_before = frame_free_count();
    for (unsigned n = 1; n <= 4; n++) {
        struct xen_memory_exchange x = exchange_of(in, 4, 0, list_of(pfns, 4), 4, 0);
        host.fault_in_alloc = n;
        CU_ASSERT_EQUAL(exchange(&x), -ENOMEM);
        CU_ASSERT_EQUAL(x.nr_exchanged, 0);
        assert_unchanged(mfns, 4, free_before);
    }
    /* Accesses: the argument, reading and probing 4 pfns, reading 4 MFNs. */
    for (unsigned n = 1; n <= 1 + 8 + 4; n++) {
        struct xen_memory_exchange x = exchange_of(in, 4, 0, list_of(pfns, 4), 4, 0);
        host.fault_in_access = n;
        CU_ASSERT_EQUAL(exchange(&x), -EFAULT);
        CU_ASSERT_EQUAL(x.nr_exchanged, 0);
        assert_unchanged(mfns, 4, free_before);
    }
    finish();
}

/* What was given up is gone by then: the guest has as much as before, and is told. */
static void test_exchange__result_cannot_be_written(void)
{
    uint64_t pfns[4] = {50, 51, 52, 53}, mfns[4];
    start(&guest);
    vaddr_t in = populate(50, 4);
    memcpy(mfns, list_at(in), sizeof(mfns));
    uint64_t free_before = frame_free_count();
    struct xen_memory_exchange x = exchange_of(in, 4, 0, list_of(pfns, 4), 4, 0);
    host.fault_in_access = 1 + 8 + 4 + 1;
    CU_ASSERT_EQUAL(exchange(&x), -EFAULT);
    CU_ASSERT_EQUAL(x.nr_exchanged, 0);
    CU_ASSERT_EQUAL(guest->page_count, 4);
    CU_ASSERT_EQUAL(frame_free_count(), free_before);
    for (unsigned i = 0; i < 4; i++) {
        CU_ASSERT_PTR_NOT_EQUAL(frame_owner(mfn_to_frame(mfns[i])), guest);
    }
    finish();
}

static void test_exchange__frame_in_use(void)
{
    uint64_t pfns[4] = {50, 51, 52, 53}, mfns[4];
    start(&guest);
    vaddr_t in = populate(50, 4);
    memcpy(mfns, list_at(in), sizeof(mfns));
    struct frame *f = mfn_to_frame(mfns[2]);
    struct xen_memory_exchange x = exchange_of(in, 4, 0, list_of(pfns, 4), 4, 0);
    uint64_t free_before = frame_free_count();
    CU_ASSERT_FATAL(frame_get(f, guest));
    CU_ASSERT_EQUAL(exchange(&x), -EBUSY);
    frame_put(f);
    assert_unchanged(mfns, 4, free_before);
    /* The same frame twice. */
    uint64_t twice[4] = {mfns[0], mfns[1], mfns[1], mfns[3]};
    x = exchange_of(list_of(twice, 4), 4, 0, list_of(pfns, 4), 4, 0);
    CU_ASSERT_EQUAL(exchange(&x), -EBUSY);
    assert_unchanged(mfns, 4, free_before);
    uint64_t none[4] = {mfns[0], ~0UL, mfns[2], mfns[3]};
    x = exchange_of(list_of(none, 4), 4, 0, list_of(pfns, 4), 4, 0);
    CU_ASSERT_EQUAL(exchange(&x), -EINVAL);
    assert_unchanged(mfns, 4, free_before);
    guest->max_pages = 3;
    x = exchange_of(in, 4, 0, list_of(pfns, 4), 4, 0);
    CU_ASSERT_EQUAL(exchange(&x), -ENOMEM);
    assert_unchanged(mfns, 4, free_before);
    finish();
}

/* ---- maps ---- */

struct packed e820 {
    uint64_t addr, size;
    uint32_t type;
};

static long get_map(unsigned cmd, vaddr_t buffer, unsigned entries, unsigned *got)
{
    vaddr_t at;
    struct xen_memory_map m = {.nr_entries = entries};
    m.buffer.p = (void *)buffer;
    long rc = op(cmd, &m, sizeof(m), &at);
    *got = ((struct xen_memory_map *)host_guest_ptr(at))->nr_entries;
    return rc;
}

static void test_memory_map(void)
{
    struct e820 entries[2] = {{0, 0x1000000, 1}, {0x1000000, 0x1000, 2}};
    unsigned got;
    start(&control);
    struct xen_foreign_memory_map set = {.domid = 1, .map = {.nr_entries = 2}};
    set.map.buffer.p = (void *)host_guest_put(entries, sizeof(entries));
    CU_ASSERT_EQUAL(op(XENMEM_set_memory_map, &set, sizeof(set), NULL), 0);
    set.map.nr_entries = 1000000;
    CU_ASSERT_EQUAL(op(XENMEM_set_memory_map, &set, sizeof(set), NULL), -EINVAL);
    suite_enter(guest->vcpu[0]);
    vaddr_t buffer = host_guest_alloc(sizeof(entries));
    CU_ASSERT_EQUAL(get_map(XENMEM_memory_map, buffer, 128, &got), 0);
    CU_ASSERT_EQUAL(got, 2);
    CU_ASSERT_EQUAL(memcmp(host_guest_ptr(buffer), entries, sizeof(entries)), 0);
    CU_ASSERT_EQUAL(get_map(XENMEM_memory_map, buffer, 1, &got), 0);
    CU_ASSERT_EQUAL(got, 1);
    CU_ASSERT_EQUAL(get_map(XENMEM_memory_map, NONE, 2, &got), -EFAULT);
    set = (struct xen_foreign_memory_map){.domid = DOMID_SELF};
    CU_ASSERT_EQUAL(op(XENMEM_set_memory_map, &set, sizeof(set), NULL), -EPERM);
    suite_enter(control->vcpu[0]);
    CU_ASSERT_EQUAL(get_map(XENMEM_memory_map, buffer, 2, &got), -ENOSYS);
    finish();
}

static void test_machine_memory_map(void)
{
    unsigned got;
    start(&control);
    vaddr_t buffer = host_guest_alloc(sizeof(struct e820) * 128);
    CU_ASSERT_EQUAL(get_map(XENMEM_machine_memory_map, buffer, 128, &got), 0);
    CU_ASSERT_EQUAL(got, arch_facts.e820_count);
    const struct e820 *e = host_guest_ptr(buffer);
    CU_ASSERT(e[1].addr == arch_facts.e820[1].start && e[1].size == arch_facts.e820[1].bytes &&
              e[1].type == 1);
    suite_enter(guest->vcpu[0]);
    CU_ASSERT_EQUAL(get_map(XENMEM_machine_memory_map, buffer, 128, &got), -EPERM);
    finish();
}

static void test_machphys_mapping(void)
{
    vaddr_t at;
    struct xen_machphys_mapping m = {0};
    start(&guest);
    CU_ASSERT_EQUAL(op(XENMEM_machphys_mapping, &m, sizeof(m), &at), 0);
    memcpy(&m, host_guest_ptr(at), sizeof(m));
    CU_ASSERT_EQUAL(m.v_start, M2P_RO_START);
    CU_ASSERT_EQUAL(m.max_mfn, HOST_FRAMES - 1);
    CU_ASSERT(m.v_end >= m.v_start + HOST_FRAMES * 8 && m.v_end <= M2P_RW_START);
    finish();
}

static void test_acquire_resource(void)
{
    vaddr_t at, frames;
    struct xen_mem_acquire_resource a = {.domid = 1, .type = XENMEM_resource_grant_table};
    start(&control);
    CU_ASSERT_EQUAL(op(XENMEM_acquire_resource, &a, sizeof(a), &at), 0);
    memcpy(&a, host_guest_ptr(at), sizeof(a));
    CU_ASSERT_EQUAL(a.nr_frames, 4); /* the limit the domain was made with */
    frames = host_guest_alloc(4 * sizeof(uint64_t));
    a.frame_list.p = (xen_pfn_t *)frames;
    a.nr_frames = 2;
    CU_ASSERT_EQUAL(op(XENMEM_acquire_resource, &a, sizeof(a), NULL), 0);
    CU_ASSERT_EQUAL(list_at(frames)[1], frame_to_mfn(guest->grant->frame[1]));
    CU_ASSERT_EQUAL(guest->grant->frame_count, 2);
    a.frame = 3;
    CU_ASSERT_EQUAL(op(XENMEM_acquire_resource, &a, sizeof(a), NULL), -EINVAL);
    a.frame = ~0UL;
    CU_ASSERT_EQUAL(op(XENMEM_acquire_resource, &a, sizeof(a), NULL), -EINVAL);
    a.frame = 0;
    a.id = XENMEM_resource_grant_table_id_status;
    CU_ASSERT_EQUAL(op(XENMEM_acquire_resource, &a, sizeof(a), NULL), -EINVAL);
    a.id = 0;
    a.type = XENMEM_resource_ioreq_server;
    CU_ASSERT_EQUAL(op(XENMEM_acquire_resource, &a, sizeof(a), NULL), -EOPNOTSUPP);
    a.type = XENMEM_resource_grant_table;
    a.frame_list.p = (xen_pfn_t *)NONE;
    CU_ASSERT_EQUAL(op(XENMEM_acquire_resource, &a, sizeof(a), NULL), -EFAULT);
    suite_enter(guest->vcpu[0]);
    CU_ASSERT_EQUAL(op(XENMEM_acquire_resource, &a, sizeof(a), NULL), -EPERM);
    finish();
}

int main(void)
{
    static const struct suite_case cases[] = {
        CASE(test_populate__self),
        CASE(test_populate__other_domain),
        CASE(test_populate__stops_where_it_must),
        CASE(test_populate__continues),
        CASE(test_increase_reservation),
        CASE(test_decrease_reservation),
        CASE(test_decrease_reservation__mapped_frame_stays_until_unmapped),
        CASE(test_figures),
        CASE(test_unknown__enosys),
        CASE(test_claim_pages),
        CASE(test_exchange__many_for_one),
        CASE(test_exchange__arguments),
        CASE(test_exchange__undone_on_every_failure),
        CASE(test_exchange__result_cannot_be_written),
        CASE(test_exchange__frame_in_use),
        CASE(test_memory_map),
        CASE(test_machine_memory_map),
        CASE(test_machphys_mapping),
        CASE(test_acquire_resource),
    };
    return SUITE("memory_op", 1, cases);
}
