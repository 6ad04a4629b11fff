// SPDX-License-Identifier: MIT
/*
 * Grant tables: operations on the table, mapping and unmapping, copying. Each case has a granting
 * guest (1) with one frame and a control domain (0) with a small tree of page tables that maps it.
 * After each, every count is back where it was.
 */
#include <string.h>

#include "core/deferred.h"
#include "core/frame.h"
#include "core/grant_table.h"
#include "pv/page_type.h"
#include "suite.h"

#define GRANT_OP 20
#define TABLE (X86_PTE_P | X86_PTE_RW | X86_PTE_US)
#define MAP_VA 0x400000UL
#define REF 9
#define BUSY (GTF_reading | GTF_writing)

static struct domain *control, *guest;
static struct frame *page; /* the guest's, granted */
static struct frame *l1;   /* the control domain's, maps MAP_VA */

static uint64_t *entries(struct frame *f)
{
    return frame_to_virt(f);
}

static struct frame *new_frame(struct domain *d)
{
    struct frame *f = frame_alloc_domain(d, 0, 0);
    CU_ASSERT_PTR_NOT_NULL_FATAL(f);
    return f;
}

static uint64_t table_entry(const struct frame *f)
{
    return frame_to_mfn(f) << PAGE_SHIFT | TABLE;
}

static void give_page_tables(struct domain *d)
{
    struct frame *l4 = new_frame(d);
    struct frame *l3 = new_frame(d);
    struct frame *l2 = new_frame(d);
    l1 = new_frame(d);
    entries(l4)[PT_INDEX(MAP_VA, 4)] = table_entry(l3);
    entries(l3)[PT_INDEX(MAP_VA, 3)] = table_entry(l2);
    entries(l2)[PT_INDEX(MAP_VA, 2)] = table_entry(l1);
    int rc;
    do {
        spin_lock(&d->mmu_lock);
        rc = page_type_get(frame_to_mfn(l4), d, TYPE_L4, &d->vcpu[0]->pv.l4);
        spin_unlock(&d->mmu_lock);
    } while (rc == -ERESTART && deferred_take());
    CU_ASSERT_EQUAL_FATAL(rc, 0);
}

static void begin(void)
{
    control = suite_control();
    guest = suite_domain(1, 1);
    page = new_frame(guest);
    suite_enter(control->vcpu[0]);
    give_page_tables(control);
    host.flush_count = 0;
}

static void end(void)
{
    if (guest) {
        suite_destroy(guest);
    }
    suite_destroy(control);
}

static volatile grant_entry_v1_t *entry(struct domain *d, grant_ref_t ref)
{
    return (grant_entry_v1_t *)frame_to_virt(d->grant->frame[0]) + ref;
}

static void grant(struct domain *d, grant_ref_t ref, domid_t to, const struct frame *f,
                  unsigned flags)
{
    entry(d, ref)->frame = (uint32_t)frame_to_mfn(f);
    entry(d, ref)->domid = to;
    entry(d, ref)->flags = (uint16_t)(GTF_permit_access | flags);
}

/* One operation with one element; the element comes back. */
static long op(unsigned cmd, void *arg, size_t bytes)
{
    vaddr_t va = host_guest_put(arg, bytes);
    long rc = suite_call(GRANT_OP, cmd, va, 1);
    memcpy(arg, host_guest_ptr(va), bytes);
    return rc;
}

static int map_at(uint64_t host_addr, unsigned flags, grant_ref_t ref, domid_t dom,
                  struct gnttab_map_grant_ref *out)
{
    struct gnttab_map_grant_ref arg = {
        .host_addr = host_addr, .flags = flags, .ref = ref, .dom = dom, .status = 99};
    CU_ASSERT_EQUAL(op(GNTTABOP_map_grant_ref, &arg, sizeof(arg)), 0);
    if (out) {
        *out = arg;
    }
    return arg.status;
}

static int map(unsigned slot, unsigned flags, grant_handle_t *handle)
{
    struct gnttab_map_grant_ref arg;
    int status = map_at(MAP_VA + slot * PAGE_SIZE, flags, REF, 1, &arg);
    if (status == GNTST_okay) {
        *handle = arg.handle;
    }
    return status;
}

static int unmap_at(uint64_t host_addr, uint64_t dev_bus_addr, grant_handle_t handle)
{
    struct gnttab_unmap_grant_ref arg = {
        .host_addr = host_addr, .dev_bus_addr = dev_bus_addr, .handle = handle, .status = 99};
    CU_ASSERT_EQUAL(op(GNTTABOP_unmap_grant_ref, &arg, sizeof(arg)), 0);
    return arg.status;
}

static int unmap(unsigned slot, grant_handle_t handle)
{
    return unmap_at(MAP_VA + slot * PAGE_SIZE, 0, handle);
}

static void expect_unused(void)
{
    CU_ASSERT_EQUAL(page->count, FRAME_ALLOCATED | 1);
    CU_ASSERT_EQUAL(page->type & TYPE_COUNT_MASK, 0);
    CU_ASSERT_EQUAL(entry(guest, REF)->flags & BUSY, 0);
    CU_ASSERT_EQUAL(guest->grant->active[0][REF].readers, 0);
    CU_ASSERT_EQUAL(guest->grant->active[0][REF].writers, 0);
}

/* ---- the table ---- */

static int setup_table(domid_t dom, uint32_t nr_frames, vaddr_t list)
{
    struct gnttab_setup_table arg = {.dom = dom, .nr_frames = nr_frames, .status = 99};
    arg.frame_list.p = (xen_pfn_t *)list;
    CU_ASSERT_EQUAL(op(GNTTABOP_setup_table, &arg, sizeof(arg)), 0);
    return arg.status;
}

static void test_gnttabop_setup_table__grows(void)
{
    begin();
    vaddr_t list = host_guest_alloc(4 * sizeof(xen_pfn_t));
    const xen_pfn_t *mfn = host_guest_ptr(list);
    CU_ASSERT_EQUAL(control->grant->frame_count, 1);
    CU_ASSERT_EQUAL(setup_table(DOMID_SELF, 3, list), GNTST_okay);
    CU_ASSERT_EQUAL(control->grant->frame_count, 3);
    for (unsigned i = 0; i < 3; i++) {
        CU_ASSERT_EQUAL(mfn[i], frame_to_mfn(control->grant->frame[i]));
        struct frame *f = frame_get_writable_mfn(mfn[i], control);
        CU_ASSERT_PTR_NOT_NULL_FATAL(f);
        frame_put_writable_and_ref(f);
    }
    CU_ASSERT_EQUAL(mfn[3], 0);
    CU_ASSERT_EQUAL(setup_table(DOMID_SELF, 1, list), GNTST_okay);
    CU_ASSERT_EQUAL(control->grant->frame_count, 3);
    CU_ASSERT_EQUAL(setup_table(1, 2, list), GNTST_okay);
    CU_ASSERT_EQUAL(mfn[0], frame_to_mfn(guest->grant->frame[0]));
    CU_ASSERT_EQUAL(guest->grant->frame_count, 2);
    end();
}

static void test_gnttabop_setup_table__refused(void)
{
    begin();
    vaddr_t list = host_guest_alloc(4 * sizeof(xen_pfn_t));
    CU_ASSERT_EQUAL(setup_table(DOMID_SELF, 5, list), GNTST_general_error);
    CU_ASSERT_EQUAL(setup_table(DOMID_SELF, UINT32_MAX, list), GNTST_general_error);
    CU_ASSERT_EQUAL(control->grant->frame_count, 1);
    CU_ASSERT_EQUAL(setup_table(77, 1, list), GNTST_bad_domain);
    CU_ASSERT_EQUAL(setup_table(DOMID_XEN, 1, list), GNTST_bad_domain);
    CU_ASSERT_EQUAL(setup_table(DOMID_SELF, 1, HOST_BAD_ADDR), GNTST_bad_virt_addr);
    suite_enter(guest->vcpu[0]);
    CU_ASSERT_EQUAL(setup_table(0, 1, list), GNTST_permission_denied);
    CU_ASSERT_EQUAL(setup_table(1, 1, list), GNTST_okay);
    end();
}

static void test_gnttabop_setup_table__out_of_memory(void)
{
    begin();
    vaddr_t list = host_guest_alloc(4 * sizeof(xen_pfn_t));
    unsigned failures = 0;
    for (;; failures++) {
        host.fault_in_alloc = failures + 1;
        int status = setup_table(DOMID_SELF, 3, list);
        if (!host.fault_in_alloc) {
            CU_ASSERT_EQUAL(status, GNTST_general_error);
        } else {
            CU_ASSERT_EQUAL(status, GNTST_okay);
            break;
        }
    }
    host.fault_in_alloc = 0;
    CU_ASSERT(failures >= 2);
    CU_ASSERT_EQUAL(control->grant->frame_count, 3);
    end();
}

static void test_grant_table_create__out_of_memory(void)
{
    begin();
    struct grant_table *kept = guest->grant;
    uint64_t free_before = frame_free_count();
    unsigned failures = 0;
    for (;; failures++) {
        host.fault_in_alloc = failures + 1;
        int rc = grant_table_create(guest, 4, MAX_MAPTRACK_FRAMES);
        if (rc == 0) {
            break;
        }
        CU_ASSERT_EQUAL(rc, -ENOMEM);
        CU_ASSERT_EQUAL(frame_free_count(), free_before);
    }
    host.fault_in_alloc = 0;
    CU_ASSERT_EQUAL(failures, 3);
    grant_table_free(guest);
    CU_ASSERT_EQUAL(frame_free_count(), free_before);
    CU_ASSERT_EQUAL(grant_table_create(guest, 0, 4), -EINVAL);
    guest->grant = kept;
    end();
}

static void test_gnttabop_query_size__answers(void)
{
    begin();
    struct gnttab_query_size arg = {.dom = DOMID_SELF};
    CU_ASSERT_EQUAL(op(GNTTABOP_query_size, &arg, sizeof(arg)), 0);
    CU_ASSERT_EQUAL(arg.status, GNTST_okay);
    CU_ASSERT_EQUAL(arg.nr_frames, 1);
    CU_ASSERT_EQUAL(arg.max_nr_frames, 4);
    CU_ASSERT_EQUAL(control->grant->max_frames, 4);
    arg.dom = 77;
    CU_ASSERT_EQUAL(op(GNTTABOP_query_size, &arg, sizeof(arg)), 0);
    CU_ASSERT_EQUAL(arg.status, GNTST_bad_domain);
    suite_enter(guest->vcpu[0]);
    arg.dom = 0;
    CU_ASSERT_EQUAL(op(GNTTABOP_query_size, &arg, sizeof(arg)), 0);
    CU_ASSERT_EQUAL(arg.status, GNTST_permission_denied);
    arg.dom = 77;
    CU_ASSERT_EQUAL(op(GNTTABOP_query_size, &arg, sizeof(arg)), 0);
    CU_ASSERT_EQUAL(arg.status, GNTST_bad_domain);
    end();
}

static void test_gnttabop_set_version__only_one(void)
{
    begin();
    struct gnttab_set_version arg = {.version = 1};
    CU_ASSERT_EQUAL(op(GNTTABOP_set_version, &arg, sizeof(arg)), 0);
    arg.version = 2;
    CU_ASSERT_EQUAL(op(GNTTABOP_set_version, &arg, sizeof(arg)), -ENOSYS);
    arg.version = 3;
    CU_ASSERT_EQUAL(op(GNTTABOP_set_version, &arg, sizeof(arg)), -EINVAL);
    end();
}

static void test_gnttabop_get_version__answers(void)
{
    begin();
    struct gnttab_get_version arg = {.dom = 1, .version = 55};
    CU_ASSERT_EQUAL(op(GNTTABOP_get_version, &arg, sizeof(arg)), 0);
    CU_ASSERT_EQUAL(arg.version, 1);
    arg.dom = 77;
    CU_ASSERT_EQUAL(op(GNTTABOP_get_version, &arg, sizeof(arg)), -ESRCH);
    suite_enter(guest->vcpu[0]);
    arg.dom = 0;
    CU_ASSERT_EQUAL(op(GNTTABOP_get_version, &arg, sizeof(arg)), -EPERM);
    end();
}

static void test_hc_grant_table_op__arguments(void)
{
    static const unsigned absent[] = {GNTTABOP_dump_table,        GNTTABOP_transfer,
                                      GNTTABOP_unmap_and_replace, GNTTABOP_get_status_frames,
                                      GNTTABOP_swap_grant_ref,    999};
    static const unsigned single[] = {GNTTABOP_setup_table, GNTTABOP_query_size,
                                      GNTTABOP_set_version, GNTTABOP_get_version};
    begin();
    vaddr_t va = host_guest_alloc(256);
    for (unsigned i = 0; i < ARRAY_SIZE(absent); i++) {
        CU_ASSERT_EQUAL(suite_call(GRANT_OP, absent[i], va, 1), -ENOSYS);
    }
    for (unsigned i = 0; i < ARRAY_SIZE(single); i++) {
        CU_ASSERT_EQUAL(suite_call(GRANT_OP, single[i], va, 2), -EINVAL);
        CU_ASSERT_EQUAL(suite_call(GRANT_OP, single[i], va, 0), 0);
        CU_ASSERT_EQUAL(suite_call(GRANT_OP, single[i], HOST_BAD_ADDR, 1), -EFAULT);
    }
    CU_ASSERT_EQUAL(suite_call(GRANT_OP, GNTTABOP_map_grant_ref, HOST_BAD_ADDR, 1), -EFAULT);
    CU_ASSERT_EQUAL(suite_call(GRANT_OP, GNTTABOP_unmap_grant_ref, HOST_BAD_ADDR, 1), -EFAULT);
    CU_ASSERT_EQUAL(suite_call(GRANT_OP, GNTTABOP_copy, HOST_BAD_ADDR, 1), -EFAULT);
    CU_ASSERT_EQUAL(suite_call(GRANT_OP, GNTTABOP_copy, va, 0x80000000u), -EINVAL);
    end();
}

/* ---- map and unmap ---- */

static void test_gnttabop_map_grant_ref__writable(void)
{
    begin();
    grant(guest, REF, 0, page, 0);
    struct gnttab_map_grant_ref arg;
    CU_ASSERT_EQUAL(map_at(MAP_VA, GNTMAP_host_map, REF, 1, &arg), GNTST_okay);
    CU_ASSERT_EQUAL(arg.dev_bus_addr, frame_to_mfn(page) << PAGE_SHIFT);
    uint64_t pte = entries(l1)[0];
    CU_ASSERT_EQUAL(PTE_MFN(pte), frame_to_mfn(page));
    CU_ASSERT_EQUAL(pte & (X86_PTE_P | X86_PTE_RW), X86_PTE_P | X86_PTE_RW);
    CU_ASSERT_EQUAL(entry(guest, REF)->flags, GTF_permit_access | BUSY);
    /* The handle's references and the page-table entry's. */
    CU_ASSERT_EQUAL(frame_ref_count(page), 3);
    CU_ASSERT_EQUAL(page->type, TYPE_WRITABLE | 2);
    CU_ASSERT_EQUAL(unmap(0, arg.handle), GNTST_okay);
    CU_ASSERT_EQUAL(entries(l1)[0], 0);
    CU_ASSERT(host.flush_count > 0);
    expect_unused();
    end();
}

static void test_gnttabop_map_grant_ref__readonly(void)
{
    begin();
    grant(guest, REF, 0, page, GTF_readonly);
    grant_handle_t handle;
    CU_ASSERT_EQUAL(map(1, GNTMAP_host_map | GNTMAP_readonly, &handle), GNTST_okay);
    CU_ASSERT_EQUAL(entries(l1)[1] & (X86_PTE_P | X86_PTE_RW), X86_PTE_P);
    CU_ASSERT_EQUAL(entry(guest, REF)->flags, GTF_permit_access | GTF_readonly | GTF_reading);
    CU_ASSERT_EQUAL(page->type & TYPE_COUNT_MASK, 0);
    /* It stays read-only, whoever asks. */
    grant_handle_t other;
    CU_ASSERT_EQUAL(map(2, GNTMAP_host_map, &other), GNTST_general_error);
    CU_ASSERT_EQUAL(entries(l1)[2], 0);
    CU_ASSERT_EQUAL(entry(guest, REF)->flags, GTF_permit_access | GTF_readonly | GTF_reading);
    CU_ASSERT_EQUAL(unmap(1, handle), GNTST_okay);
    expect_unused();
    end();
}

static void test_gnttabop_map_grant_ref__contains_pte(void)
{
    begin();
    grant(guest, REF, 0, page, 0);
    struct gnttab_map_grant_ref arg;
    uint64_t pte_addr = (frame_to_mfn(l1) << PAGE_SHIFT) + 7 * 8;
    unsigned flags =
        GNTMAP_host_map | GNTMAP_contains_pte | GNTMAP_application_map | 1u << _GNTMAP_guest_avail0;
    CU_ASSERT_EQUAL(map_at(pte_addr, flags, REF, 1, &arg), GNTST_okay);
    CU_ASSERT_EQUAL(PTE_MFN(entries(l1)[7]), frame_to_mfn(page));
    CU_ASSERT_EQUAL(entries(l1)[7] & X86_PTE_AVAIL, 1UL << 9);
    CU_ASSERT_EQUAL(unmap_at(pte_addr + 8, 0, arg.handle), GNTST_general_error);
    CU_ASSERT_EQUAL(unmap_at(pte_addr, 0, arg.handle), GNTST_okay);
    CU_ASSERT_EQUAL(entries(l1)[7], 0);
    CU_ASSERT_EQUAL(map_at(pte_addr + 4, flags, REF, 1, NULL), GNTST_general_error);
    CU_ASSERT_EQUAL(map_at(frame_to_mfn(page) << PAGE_SHIFT, flags, REF, 1, NULL),
                    GNTST_general_error);
    CU_ASSERT_EQUAL(map_at(1UL << 50, flags, REF, 1, NULL), GNTST_general_error);
    expect_unused();
    end();
}

static void test_gnttabop_map_grant_ref__refused(void)
{
    begin();
    grant(guest, REF, 0, page, 0);
    unsigned flags = GNTMAP_host_map;
    CU_ASSERT_EQUAL(map_at(MAP_VA, 0, REF, 1, NULL), GNTST_bad_gntref);
    CU_ASSERT_EQUAL(map_at(MAP_VA, GNTMAP_readonly, REF, 1, NULL), GNTST_bad_gntref);
    CU_ASSERT_EQUAL(map_at(MAP_VA, flags, REF, 77, NULL), GNTST_bad_domain);
    CU_ASSERT_EQUAL(map_at(MAP_VA, flags, REF, DOMID_IO, NULL), GNTST_bad_domain);
    CU_ASSERT_EQUAL(map_at(MAP_VA, flags, 512, 1, NULL), GNTST_bad_gntref);
    CU_ASSERT_EQUAL(map_at(MAP_VA, flags, UINT32_MAX, 1, NULL), GNTST_bad_gntref);
    CU_ASSERT_EQUAL(map_at(MAP_VA, flags, REF + 1, 1, NULL), GNTST_general_error);
    CU_ASSERT_EQUAL(map_at(0x800000, flags, REF, 1, NULL), GNTST_general_error);
    CU_ASSERT_EQUAL(map_at(1UL << 60, flags, REF, 1, NULL), GNTST_general_error);
    expect_unused();
    entry(guest, REF)->domid = 5;
    CU_ASSERT_EQUAL(map_at(MAP_VA, flags, REF, 1, NULL), GNTST_general_error);
    entry(guest, REF)->domid = 0;
    entry(guest, REF)->flags = GTF_accept_transfer;
    CU_ASSERT_EQUAL(map_at(MAP_VA, flags, REF, 1, NULL), GNTST_general_error);
    CU_ASSERT_EQUAL(entry(guest, REF)->flags, GTF_accept_transfer);
    entry(guest, REF)->flags = GTF_transitive;
    CU_ASSERT_EQUAL(map_at(MAP_VA, flags, REF, 1, NULL), GNTST_general_error);
    guest->state = DOM_DYING;
    grant(guest, REF, 0, page, 0);
    CU_ASSERT_EQUAL(map_at(MAP_VA, flags, REF, 1, NULL), GNTST_bad_domain);
    guest->state = DOM_ALIVE;
    CU_ASSERT_EQUAL(entries(l1)[0], 0);
    expect_unused();
    end();
}

static void test_gnttabop_map_grant_ref__bad_frame(void)
{
    begin();
    grant(guest, REF, 0, l1, 0); /* somebody else's */
    CU_ASSERT_EQUAL(map_at(MAP_VA, GNTMAP_host_map, REF, 1, NULL), GNTST_bad_page);
    CU_ASSERT_EQUAL(entry(guest, REF)->flags, GTF_permit_access);
    entry(guest, REF)->frame = 0xfffffff0;
    CU_ASSERT_EQUAL(map_at(MAP_VA, GNTMAP_host_map, REF, 1, NULL), GNTST_bad_page);
    CU_ASSERT_EQUAL(entry(guest, REF)->flags, GTF_permit_access);
    /* A page table of the guest: to look at, not to write. */
    grant(guest, REF, 0, page, 0);
    page->type = TYPE_L1 | TYPE_VALIDATED | 1;
    CU_ASSERT_EQUAL(map_at(MAP_VA, GNTMAP_host_map, REF, 1, NULL), GNTST_general_error);
    CU_ASSERT_EQUAL(entry(guest, REF)->flags, GTF_permit_access);
    grant_handle_t handle;
    CU_ASSERT_EQUAL(map(0, GNTMAP_host_map | GNTMAP_readonly, &handle), GNTST_okay);
    CU_ASSERT_EQUAL(map_at(MAP_VA, GNTMAP_host_map, REF, 1, NULL), GNTST_general_error);
    CU_ASSERT_EQUAL(entry(guest, REF)->flags, GTF_permit_access | GTF_reading);
    CU_ASSERT_EQUAL(unmap(0, handle), GNTST_okay);
    page->type = TYPE_NONE;
    expect_unused();
    end();
}

static void test_gnttabop_map_grant_ref__pins(void)
{
    begin();
    grant(guest, REF, 0, page, 0);
    grant_handle_t reader, writer[2];
    CU_ASSERT_EQUAL(map(0, GNTMAP_host_map | GNTMAP_readonly, &reader), GNTST_okay);
    CU_ASSERT_EQUAL(entry(guest, REF)->flags & BUSY, GTF_reading);
    CU_ASSERT_EQUAL(map(1, GNTMAP_host_map, &writer[0]), GNTST_okay);
    CU_ASSERT_EQUAL(map(2, GNTMAP_host_map, &writer[1]), GNTST_okay);
    CU_ASSERT_EQUAL(entry(guest, REF)->flags & BUSY, BUSY);
    CU_ASSERT_EQUAL(unmap(1, writer[0]), GNTST_okay);
    CU_ASSERT_EQUAL(entry(guest, REF)->flags & BUSY, BUSY);
    CU_ASSERT_EQUAL(unmap(2, writer[1]), GNTST_okay);
    CU_ASSERT_EQUAL(entry(guest, REF)->flags & BUSY, GTF_reading);
    CU_ASSERT_EQUAL(unmap(0, reader), GNTST_okay);
    expect_unused();
    /* A writer alone counts as reading too, until the end. */
    CU_ASSERT_EQUAL(map(0, GNTMAP_host_map, &writer[0]), GNTST_okay);
    CU_ASSERT_EQUAL(map(1, GNTMAP_host_map | GNTMAP_readonly, &reader), GNTST_okay);
    CU_ASSERT_EQUAL(unmap(0, writer[0]), GNTST_okay);
    CU_ASSERT_EQUAL(entry(guest, REF)->flags & BUSY, GTF_reading);
    CU_ASSERT_EQUAL(unmap(1, reader), GNTST_okay);
    expect_unused();
    end();
}

static void test_gnttabop_map_grant_ref__pins_full(void)
{
    begin();
    grant(guest, REF, 0, page, 0);
    grant_handle_t handle, other;
    struct grant_active *active = &guest->grant->active[0][REF];
    CU_ASSERT_EQUAL(map(0, GNTMAP_host_map, &handle), GNTST_okay);
    active->writers = UINT16_MAX;
    CU_ASSERT_EQUAL(map(1, GNTMAP_host_map, &other), GNTST_no_space);
    active->readers = UINT16_MAX;
    CU_ASSERT_EQUAL(map(1, GNTMAP_host_map | GNTMAP_readonly, &other), GNTST_no_space);
    active->readers = 0;
    active->writers = 1;
    CU_ASSERT_EQUAL(unmap(0, handle), GNTST_okay);
    expect_unused();
    end();
}

/* The granter rewrites its entry while the grant is in use: what is mapped stays what it was. */
static void test_gnttabop_map_grant_ref__revoked_in_use(void)
{
    begin();
    struct frame *other_page = new_frame(guest);
    struct domain *third = suite_domain(2, 1);
    grant(guest, REF, 0, page, 0);
    grant_handle_t first, second;
    CU_ASSERT_EQUAL(map(0, GNTMAP_host_map, &first), GNTST_okay);
    entry(guest, REF)->frame = (uint32_t)frame_to_mfn(other_page);
    CU_ASSERT_EQUAL(map(1, GNTMAP_host_map, &second), GNTST_okay);
    CU_ASSERT_EQUAL(PTE_MFN(entries(l1)[1]), frame_to_mfn(page));
    entry(guest, REF)->flags = 0;
    entry(guest, REF)->domid = 2;
    suite_enter(third->vcpu[0]);
    CU_ASSERT_EQUAL(map_at(MAP_VA, GNTMAP_device_map, REF, 1, NULL), GNTST_general_error);
    suite_enter(control->vcpu[0]);
    CU_ASSERT_EQUAL(unmap(0, first), GNTST_okay);
    CU_ASSERT_EQUAL(unmap(1, second), GNTST_okay);
    CU_ASSERT_EQUAL(entry(guest, REF)->flags, 0);
    CU_ASSERT_EQUAL(map(0, GNTMAP_host_map, &first), GNTST_general_error);
    CU_ASSERT_EQUAL(frame_ref_count(other_page), 1);
    expect_unused();
    suite_destroy(third);
    end();
}

static void test_gnttabop_map_grant_ref__handles_run_out(void)
{
    begin();
    grant(guest, REF, 0, page, 0);
    struct gnttab_map_grant_ref arg;
    unsigned limit = 4 * MAPPINGS_PER_PAGE; /* of suite_control() */
    static uint8_t seen[4 * HANDLES_PER_PAGE];
    memset(seen, 0, sizeof(seen));
    for (unsigned i = 0; i < limit; i++) {
        if (i && i % MAPPINGS_PER_PAGE == 0) {
            host.fault_in_alloc = 1;
            CU_ASSERT_EQUAL(map_at(0, GNTMAP_device_map, REF, 1, NULL), GNTST_no_space);
            CU_ASSERT_EQUAL(host.fault_in_alloc, 0);
        }
        CU_ASSERT_EQUAL_FATAL(map_at(0, GNTMAP_device_map, REF, 1, &arg), GNTST_okay);
        CU_ASSERT_FATAL(arg.handle < sizeof(seen) && !seen[arg.handle]);
        seen[arg.handle] = 1;
    }
    CU_ASSERT_EQUAL(map_at(0, GNTMAP_device_map, REF, 1, NULL), GNTST_no_space);
    CU_ASSERT_EQUAL(frame_ref_count(page), 1 + limit);
    for (unsigned i = 0; i < sizeof(seen); i++) {
        CU_ASSERT_EQUAL(unmap_at(0, arg.dev_bus_addr, i), seen[i] ? GNTST_okay : GNTST_bad_handle);
    }
    CU_ASSERT_EQUAL(map_at(0, GNTMAP_device_map, REF, 1, &arg), GNTST_okay);
    CU_ASSERT_EQUAL(unmap_at(0, arg.dev_bus_addr, arg.handle), GNTST_okay);
    expect_unused();
    end();
}

/* However many handles there were, in whatever order they go: the memory for them comes back. */
static void test_gnttabop_unmap_grant_ref__memory_comes_back(void)
{
    static grant_handle_t handle[4 * MAPPINGS_PER_PAGE];
    static const unsigned counts[] = {1, MAPPINGS_PER_PAGE, MAPPINGS_PER_PAGE + 1,
                                      ARRAY_SIZE(handle) - 3, ARRAY_SIZE(handle)};
    /* Ways through all handles: forwards, backwards, in steps that have no factor with their
     * number. */
    static const unsigned steps[] = {1, ARRAY_SIZE(handle) - 1, 7, 251};
    begin();
    grant(guest, REF, 0, page, 0);
    uint64_t free_before = frame_free_count(), mfn = frame_to_mfn(page);
    for (unsigned i = 0; i < ARRAY_SIZE(counts) * ARRAY_SIZE(steps); i++) {
        unsigned count = counts[i % ARRAY_SIZE(counts)], at = 0;
        for (unsigned k = 0; k < count; k++) {
            struct gnttab_map_grant_ref arg;
            CU_ASSERT_EQUAL_FATAL(map_at(0, GNTMAP_device_map, REF, 1, &arg), GNTST_okay);
            handle[k] = arg.handle;
        }
        for (unsigned k = 0; k < ARRAY_SIZE(handle); k++) {
            if (at < count) {
                CU_ASSERT_EQUAL(unmap_at(0, mfn << PAGE_SHIFT, handle[at]), GNTST_okay);
            }
            at = (at + steps[i / ARRAY_SIZE(counts)]) % ARRAY_SIZE(handle);
        }
        CU_ASSERT_EQUAL(frame_free_count(), free_before);
        expect_unused();
    }
    end();
}

/* A page for handles that comes and goes costs a flush of all TLBs each time: a number of handles
 * that wavers about a border between pages does not make it. */
static void test_gnttabop_map_grant_ref__wavering_count(void)
{
    begin();
    grant(guest, REF, 0, page, 0);
    uint64_t mfn = frame_to_mfn(page);
    for (unsigned used = 0; used < 2 * MAPPINGS_PER_PAGE; used++) {
        struct gnttab_map_grant_ref arg;
        CU_ASSERT_EQUAL_FATAL(map_at(0, GNTMAP_device_map, REF, 1, &arg), GNTST_okay);
        uint64_t free_frames = frame_free_count();
        CU_ASSERT_EQUAL(unmap_at(0, mfn << PAGE_SHIFT, arg.handle), GNTST_okay);
        CU_ASSERT_EQUAL(frame_free_count(), free_frames);
        CU_ASSERT_EQUAL_FATAL(map_at(0, GNTMAP_device_map, REF, 1, &arg), GNTST_okay);
        CU_ASSERT_EQUAL(frame_free_count(), free_frames);
    }
    end();
}

static void test_gnttabop_map_grant_ref__own_grant(void)
{
    begin();
    struct frame *own = new_frame(control);
    grant(control, 8, 0, own, 0);
    struct gnttab_map_grant_ref arg;
    CU_ASSERT_EQUAL(map_at(MAP_VA, GNTMAP_host_map, 8, DOMID_SELF, &arg), GNTST_okay);
    CU_ASSERT_EQUAL(entry(control, 8)->flags & BUSY, BUSY);
    CU_ASSERT_EQUAL(unmap(0, arg.handle), GNTST_okay);
    CU_ASSERT_EQUAL(frame_ref_count(own), 1);
    CU_ASSERT_EQUAL(entry(control, 8)->flags & BUSY, 0);
    end();
}

/* Many at once cost a flush for every UNMAPPED_MAX of them, and the granter is told after it. */
static void test_gnttabop_unmap_grant_ref__flushes_by_the_batch(void)
{
    static struct gnttab_unmap_grant_ref args[2 * UNMAPPED_MAX + 6];
    begin();
    grant(guest, REF, 0, page, 0);
    for (unsigned round = 0; round < 2; round++) {
        for (unsigned i = 0; i < ARRAY_SIZE(args); i++) {
            args[i] = (struct gnttab_unmap_grant_ref){.host_addr = MAP_VA + i * PAGE_SIZE};
            CU_ASSERT_EQUAL_FATAL(map(i, GNTMAP_host_map, &args[i].handle), GNTST_okay);
        }
        /* Failures between are nobody's flush; the second time, the list has no end. */
        grant_handle_t left = args[3].handle;
        args[3].handle = UINT32_MAX;
        vaddr_t va = host_guest_put(args, sizeof(args));
        host.flush_count = 0;
        host.fault_in_access = round ? 2 * ARRAY_SIZE(args) + 1 : 0;
        CU_ASSERT_EQUAL(
            suite_call(GRANT_OP, GNTTABOP_unmap_grant_ref, va, ARRAY_SIZE(args) + round),
            round ? -EFAULT : 0);
        CU_ASSERT_EQUAL(host.flush_count, 3);
        CU_ASSERT_EQUAL(control->vcpu[0]->unmapped_count, 0);
        CU_ASSERT_EQUAL(frame_ref_count(page), 3);
        CU_ASSERT_EQUAL(unmap(3, left), GNTST_okay);
        expect_unused();
    }
    end();
}

static void test_gnttabop_unmap_grant_ref__bad_handle(void)
{
    begin();
    grant(guest, REF, 0, page, 0);
    CU_ASSERT_EQUAL(unmap(0, 0), GNTST_bad_handle);
    grant_handle_t handle;
    CU_ASSERT_EQUAL(map(0, GNTMAP_host_map, &handle), GNTST_okay);
    CU_ASSERT_EQUAL(unmap(0, handle + 1), GNTST_bad_handle);
    CU_ASSERT_EQUAL(unmap(0, MAPPINGS_PER_PAGE), GNTST_bad_handle);
    CU_ASSERT_EQUAL(unmap(0, HANDLES_PER_PAGE), GNTST_bad_handle);
    CU_ASSERT_EQUAL(unmap(0, 4 * HANDLES_PER_PAGE), GNTST_bad_handle);
    CU_ASSERT_EQUAL(unmap(0, UINT32_MAX), GNTST_bad_handle);
    suite_enter(guest->vcpu[0]); /* handles are the mapper's */
    CU_ASSERT_EQUAL(unmap(0, handle), GNTST_bad_handle);
    suite_enter(control->vcpu[0]);
    CU_ASSERT_EQUAL(unmap(0, handle), GNTST_okay);
    CU_ASSERT_EQUAL(unmap(0, handle), GNTST_bad_handle);
    expect_unused();
    end();
}

static void test_gnttabop_unmap_grant_ref__entry_differs(void)
{
    begin();
    grant(guest, REF, 0, page, 0);
    grant_handle_t first, second;
    CU_ASSERT_EQUAL(map(0, GNTMAP_host_map, &first), GNTST_okay);
    CU_ASSERT_EQUAL(map(1, GNTMAP_host_map | GNTMAP_readonly, &second), GNTST_okay);
    /* No mapping there, and one of another kind. */
    CU_ASSERT_EQUAL(unmap(5, first), GNTST_general_error);
    CU_ASSERT_EQUAL(unmap(1, first), GNTST_general_error);
    CU_ASSERT_EQUAL(unmap(0, second), GNTST_general_error);
    /* Neither address named: nothing is undone. */
    CU_ASSERT_EQUAL(unmap_at(0, 0, first), GNTST_okay);
    CU_ASSERT_EQUAL(frame_ref_count(page), 5);
    CU_ASSERT_EQUAL(unmap(0, first), GNTST_okay);
    CU_ASSERT_EQUAL(unmap(1, second), GNTST_okay);
    expect_unused();
    end();
}

static void test_gnttabop_unmap_grant_ref__device_and_host(void)
{
    begin();
    grant(guest, REF, 0, page, 0);
    struct gnttab_map_grant_ref arg;
    CU_ASSERT_EQUAL(map_at(MAP_VA, GNTMAP_host_map | GNTMAP_device_map, REF, 1, &arg), GNTST_okay);
    CU_ASSERT_EQUAL(unmap_at(0, arg.dev_bus_addr + PAGE_SIZE, arg.handle), GNTST_bad_dev_addr);
    CU_ASSERT_EQUAL(unmap_at(MAP_VA, 0, arg.handle), GNTST_okay);
    CU_ASSERT_EQUAL(entries(l1)[0], 0);
    CU_ASSERT_EQUAL(entry(guest, REF)->flags & BUSY, BUSY);
    CU_ASSERT_EQUAL(unmap_at(0, arg.dev_bus_addr, arg.handle), GNTST_okay);
    expect_unused();
    CU_ASSERT_EQUAL(unmap_at(0, arg.dev_bus_addr, arg.handle), GNTST_bad_handle);
    CU_ASSERT_EQUAL(map_at(MAP_VA, GNTMAP_host_map | GNTMAP_device_map, REF, 1, &arg), GNTST_okay);
    CU_ASSERT_EQUAL(unmap_at(MAP_VA, arg.dev_bus_addr, arg.handle), GNTST_okay);
    expect_unused();
    end();
}

static void raise_work(void)
{
    deferred_raise(host_cpu, DEFER_SCHED);
}

/* An array is interrupted between elements and goes on where it was. */
static void test_gnttabop_unmap_grant_ref__continued(void)
{
    enum { COUNT = 40 };
    begin();
    grant(guest, REF, 0, page, 0);
    struct gnttab_unmap_grant_ref list[COUNT] = {{0}};
    struct gnttab_map_grant_ref arg;
    for (unsigned i = 0; i < COUNT; i++) {
        CU_ASSERT_EQUAL(map_at(0, GNTMAP_device_map, REF, 1, &arg), GNTST_okay);
        list[i].handle = arg.handle;
        list[i].dev_bus_addr = arg.dev_bus_addr;
        list[i].status = 99;
    }
    vaddr_t va = host_guest_put(list, sizeof(list));
    struct vcpu *v = current_vcpu();
    struct hypercall hc = {
        .v = v, .d = v->domain, .nr = GRANT_OP, .arg = {GNTTABOP_unmap_grant_ref, va, COUNT}};
    unsigned rounds = 0;
    long rc;
    host.on_window = raise_work;
    do {
        rc = hypercall_dispatch(&hc);
        CU_ASSERT_EQUAL(hc.arg[1], va + (COUNT - hc.arg[2]) * sizeof(list[0]));
        (void)deferred_take();
        rounds++;
    } while (rc == -ERESTART);
    host.on_window = NULL;
    CU_ASSERT_EQUAL(rc, 0);
    CU_ASSERT(rounds > 1 && rounds <= COUNT);
    memcpy(list, host_guest_ptr(va), sizeof(list));
    for (unsigned i = 0; i < COUNT; i++) {
        CU_ASSERT_EQUAL(list[i].status, GNTST_okay);
    }
    expect_unused();
    end();
}

/* ---- death ---- */

static void test_grant_table_release_mappings__mapper_dies(void)
{
    begin();
    struct domain *mapper = suite_domain(2, 1);
    grant(guest, REF, 2, page, 0);
    suite_enter(mapper->vcpu[0]);
    struct frame *control_l1 = l1;
    give_page_tables(mapper);
    for (unsigned i = 0; i < 3; i++) {
        grant_handle_t handle;
        CU_ASSERT_EQUAL(map(i, GNTMAP_host_map, &handle), GNTST_okay);
    }
    CU_ASSERT_EQUAL(map_at(0, GNTMAP_device_map | GNTMAP_readonly, REF, 1, NULL), GNTST_okay);
    CU_ASSERT_EQUAL(frame_ref_count(page), 1 + 3 * 2 + 1);
    l1 = control_l1;
    suite_enter(control->vcpu[0]);
    suite_destroy(mapper);
    expect_unused();
    end();
}

static void test_grant__granter_dies_while_mapped(void)
{
    begin();
    grant(guest, REF, 0, page, 0);
    memset(frame_to_virt(page), 0x42, PAGE_SIZE);
    grant_handle_t handle, other;
    CU_ASSERT_EQUAL(map(0, GNTMAP_host_map, &handle), GNTST_okay);
    suite_destroy(guest);
    guest = NULL;
    /* The frame is still what it was; nobody gets it anew. */
    CU_ASSERT_EQUAL(((uint8_t *)frame_to_virt(page))[99], 0x42);
    CU_ASSERT_EQUAL(page->count, 2);
    CU_ASSERT_EQUAL(map(1, GNTMAP_host_map, &other), GNTST_bad_domain);
    uint64_t free_before = frame_free_count();
    CU_ASSERT_EQUAL(unmap(0, handle), GNTST_okay);
    CU_ASSERT(frame_free_count() > free_before);
    end();
}

/* ---- copy ---- */

static struct gnttab_copy_ptr by_ref(domid_t dom, grant_ref_t ref, uint16_t offset)
{
    return (struct gnttab_copy_ptr){.u.ref = ref, .domid = dom, .offset = offset};
}

static struct gnttab_copy_ptr by_frame(const struct frame *f, uint16_t offset)
{
    return (struct gnttab_copy_ptr){
        .u.gmfn = frame_to_mfn(f), .domid = DOMID_SELF, .offset = offset};
}

static int copy(struct gnttab_copy_ptr source, struct gnttab_copy_ptr dest, uint16_t len,
                uint16_t flags)
{
    struct gnttab_copy arg = {
        .source = source, .dest = dest, .len = len, .flags = flags, .status = 99};
    CU_ASSERT_EQUAL(op(GNTTABOP_copy, &arg, sizeof(arg)), 0);
    return arg.status;
}

static char *bytes_of(struct frame *f)
{
    return frame_to_virt(f);
}

static void test_gnttabop_copy__all_ways(void)
{
    begin();
    struct frame *own = new_frame(control);
    struct frame *second = new_frame(guest);
    grant(guest, REF, 0, page, GTF_readonly);
    grant(guest, REF + 1, 0, second, 0);
    strcpy(bytes_of(page) + 100, "from the guest");
    CU_ASSERT_EQUAL(copy(by_ref(1, REF, 100), by_frame(own, 8), 15, GNTCOPY_source_gref),
                    GNTST_okay);
    CU_ASSERT_STRING_EQUAL(bytes_of(own) + 8, "from the guest");
    CU_ASSERT_EQUAL(
        copy(by_frame(own, 8), by_ref(1, REF + 1, PAGE_SIZE - 15), 15, GNTCOPY_dest_gref),
        GNTST_okay);
    CU_ASSERT_STRING_EQUAL(bytes_of(second) + PAGE_SIZE - 15, "from the guest");
    CU_ASSERT_EQUAL(copy(by_ref(1, REF, 105), by_ref(1, REF + 1, 0), 10,
                         GNTCOPY_source_gref | GNTCOPY_dest_gref),
                    GNTST_okay);
    CU_ASSERT_STRING_EQUAL(bytes_of(second), "the guest");
    CU_ASSERT_EQUAL(copy(by_frame(own, 8), by_frame(own, 10), 15, 0), GNTST_okay);
    CU_ASSERT_STRING_EQUAL(bytes_of(own) + 8, "frfrom the guest");
    CU_ASSERT_EQUAL(copy(by_ref(1, REF, 0), by_frame(own, 0), 0, GNTCOPY_source_gref), GNTST_okay);
    CU_ASSERT_EQUAL(copy(by_ref(1, REF, 0), by_frame(own, 0), PAGE_SIZE, GNTCOPY_source_gref),
                    GNTST_okay);
    CU_ASSERT_EQUAL(memcmp(bytes_of(own), bytes_of(page), PAGE_SIZE), 0);
    expect_unused();
    CU_ASSERT_EQUAL(entry(guest, REF + 1)->flags, GTF_permit_access);
    CU_ASSERT_EQUAL(frame_ref_count(second), 1);
    CU_ASSERT_EQUAL(own->type, TYPE_WRITABLE);
    end();
}

static void test_gnttabop_copy__across_page_end(void)
{
    begin();
    struct frame *own = new_frame(control);
    grant(guest, REF, 0, page, 0);
    memset(bytes_of(page), 0x11, PAGE_SIZE);
    CU_ASSERT_EQUAL(copy(by_ref(1, REF, PAGE_SIZE - 4), by_frame(own, 0), 5, GNTCOPY_source_gref),
                    GNTST_bad_copy_arg);
    CU_ASSERT_EQUAL(copy(by_ref(1, REF, 0), by_frame(own, PAGE_SIZE - 1), 2, GNTCOPY_source_gref),
                    GNTST_bad_copy_arg);
    CU_ASSERT_EQUAL(copy(by_ref(1, REF, 0xffff), by_frame(own, 0), 0, GNTCOPY_source_gref),
                    GNTST_bad_copy_arg);
    CU_ASSERT_EQUAL(copy(by_ref(1, REF, 1), by_frame(own, 1), 0xffff, GNTCOPY_source_gref),
                    GNTST_bad_copy_arg);
    CU_ASSERT_EQUAL(bytes_of(own)[0], 0);
    expect_unused();
    end();
}

static void test_gnttabop_copy__refused(void)
{
    begin();
    struct frame *own = new_frame(control);
    struct gnttab_copy_ptr foreign = by_frame(page, 0);
    foreign.domid = 1;
    grant(guest, REF, 0, page, GTF_readonly);
    /* Frames by number only of oneself, even for the control domain. */
    CU_ASSERT_EQUAL(copy(foreign, by_frame(own, 0), 4, 0), GNTST_permission_denied);
    CU_ASSERT_EQUAL(copy(by_frame(own, 0), foreign, 4, 0), GNTST_permission_denied);
    CU_ASSERT_EQUAL(copy(by_frame(page, 0), by_frame(own, 0), 4, 0), GNTST_bad_page);
    CU_ASSERT_EQUAL(copy(by_frame(own, 0), by_frame(page, 0), 4, 0), GNTST_bad_page);
    struct gnttab_copy_ptr nowhere = {.u.gmfn = 1UL << 60, .domid = DOMID_SELF};
    CU_ASSERT_EQUAL(copy(nowhere, by_frame(own, 0), 4, 0), GNTST_bad_page);
    CU_ASSERT_EQUAL(copy(by_frame(own, 0), by_frame(l1, 0), 4, 0), GNTST_permission_denied);
    CU_ASSERT_EQUAL(copy(by_frame(l1, 0), by_frame(own, 0), 4, 0), GNTST_okay);
    CU_ASSERT_EQUAL(copy(by_frame(own, 0), by_ref(1, REF, 0), 4, GNTCOPY_dest_gref),
                    GNTST_general_error);
    CU_ASSERT_EQUAL(copy(by_ref(77, REF, 0), by_frame(own, 0), 4, GNTCOPY_source_gref),
                    GNTST_bad_domain);
    CU_ASSERT_EQUAL(copy(by_ref(1, 600, 0), by_frame(own, 0), 4, GNTCOPY_source_gref),
                    GNTST_bad_gntref);
    CU_ASSERT_EQUAL(copy(by_ref(1, REF + 1, 0), by_frame(own, 0), 4, GNTCOPY_source_gref),
                    GNTST_general_error);
    CU_ASSERT_EQUAL(frame_ref_count(own), 1);
    expect_unused();
    end();
}

/* A copy uses a grant that is mapped as well. */
static void test_gnttabop_copy__while_mapped(void)
{
    begin();
    struct frame *own = new_frame(control);
    grant(guest, REF, 0, page, 0);
    grant_handle_t handle;
    CU_ASSERT_EQUAL(map(0, GNTMAP_host_map | GNTMAP_readonly, &handle), GNTST_okay);
    strcpy(bytes_of(own), "written");
    CU_ASSERT_EQUAL(copy(by_frame(own, 0), by_ref(1, REF, 0), 8, GNTCOPY_dest_gref), GNTST_okay);
    CU_ASSERT_STRING_EQUAL(bytes_of(page), "written");
    CU_ASSERT_EQUAL(entry(guest, REF)->flags & BUSY, GTF_reading);
    CU_ASSERT_EQUAL(unmap(0, handle), GNTST_okay);
    expect_unused();
    end();
}

int main(void)
{
    static const struct suite_case cases[] = {
        CASE(test_gnttabop_setup_table__grows),
        CASE(test_gnttabop_setup_table__refused),
        CASE(test_gnttabop_setup_table__out_of_memory),
        CASE(test_grant_table_create__out_of_memory),
        CASE(test_gnttabop_query_size__answers),
        CASE(test_gnttabop_set_version__only_one),
        CASE(test_gnttabop_get_version__answers),
        CASE(test_hc_grant_table_op__arguments),
        CASE(test_gnttabop_map_grant_ref__writable),
        CASE(test_gnttabop_map_grant_ref__readonly),
        CASE(test_gnttabop_map_grant_ref__contains_pte),
        CASE(test_gnttabop_map_grant_ref__refused),
        CASE(test_gnttabop_map_grant_ref__bad_frame),
        CASE(test_gnttabop_map_grant_ref__pins),
        CASE(test_gnttabop_map_grant_ref__pins_full),
        CASE(test_gnttabop_map_grant_ref__revoked_in_use),
        CASE(test_gnttabop_map_grant_ref__handles_run_out),
        CASE(test_gnttabop_unmap_grant_ref__memory_comes_back),
        CASE(test_gnttabop_map_grant_ref__wavering_count),
        CASE(test_gnttabop_map_grant_ref__own_grant),
        CASE(test_gnttabop_unmap_grant_ref__flushes_by_the_batch),
        CASE(test_gnttabop_unmap_grant_ref__bad_handle),
        CASE(test_gnttabop_unmap_grant_ref__entry_differs),
        CASE(test_gnttabop_unmap_grant_ref__device_and_host),
        CASE(test_gnttabop_unmap_grant_ref__continued),
        CASE(test_grant_table_release_mappings__mapper_dies),
        CASE(test_grant__granter_dies_while_mapped),
        CASE(test_gnttabop_copy__all_ways),
        CASE(test_gnttabop_copy__across_page_end),
        CASE(test_gnttabop_copy__refused),
        CASE(test_gnttabop_copy__while_mapped),
    };
    return SUITE("grant", 2, cases);
}
