/* SPDX-License-Identifier: MIT */
/*
 * Results to be written where the guest itself could not write: its own page tables, a read-only
 * page. The call says -EFAULT, nothing is written there, and what it made belongs to the caller and
 * can be undone.
 */
#include "lib.h"

void test_main(void)
{
    uint64_t *page = page_new();
    struct evtchn_bind_ipi *bind = (struct evtchn_bind_ipi *)page;
    struct evtchn_bind_virq *virq = (struct evtchn_bind_virq *)(page + 4);
    long next = event_bind_ipi(0);
    NEED_OK(next);
    NEED_OK(event_close((uint32_t)next));
    NEED_OK(page_protect(page, PTE_RO));
    for (unsigned i = 0; i < 5; i++) {
        CHECK_IS(evtchn_op(EVTCHNOP_bind_ipi, bind), -EFAULT);
        (void)event_close((uint32_t)next);
    }
    CHECK_IS(evtchn_op(EVTCHNOP_bind_virq, virq), -EFAULT); /* the timer of vCPU 0 */
    (void)event_close((uint32_t)next);
    CHECK_IS(event_bind_virq(VIRQ_TIMER, 0), next);
    CHECK_IS(page[0], 0);

    uint64_t *l1 = table_find(VIRT_BASE, 1), *l4 = table_find(VIRT_BASE, 4);
    uint64_t was1 = l1[300], was4 = l4[511];
    CHECK_IS(xen_version(XENVER_extraversion, &l1[300]), -EFAULT);
    CHECK_IS(xen_version(XENVER_guest_handle, &l4[511]), -EFAULT);
    CHECK_IS(vcpu_op(VCPUOP_get_runstate_info, 0, &l1[300]), -EFAULT);
    struct mmu_update req = {.ptr = maddr_of(page) + 8, .val = 1};
    CHECK_IS(mmu_update(&req, 0, &l1[300], DOMID_SELF), -EFAULT);
    struct xen_memory_reservation r = {.nr_extents = 1, .domid = DOMID_SELF};
    set_xen_guest_handle(r.extent_start, (xen_pfn_t *)&l1[300]);
    domid_t self = DOMID_SELF;
    long pages = memory_op(XENMEM_current_reservation, &self);
    CHECK_IS(memory_op(XENMEM_populate_physmap, &r), 0);
    CHECK_IS(memory_op(XENMEM_increase_reservation, &r), 0);
    CHECK_IS(memory_op(XENMEM_current_reservation, &self), pages);
    struct xen_memory_map map = {.nr_entries = 1};
    set_xen_guest_handle(map.buffer, &l1[300]);
    CHECK_IS(memory_op(XENMEM_memory_map, &map), alone() ? -ENOSYS : -EFAULT);
    CHECK_IS(l1[300] & ~(PTE_A | PTE_D), was1 & ~(PTE_A | PTE_D));
    CHECK_IS(l4[511] & ~(PTE_A | PTE_D), was4 & ~(PTE_A | PTE_D));
}
