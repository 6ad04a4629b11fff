/* SPDX-License-Identifier: MIT */
/* Our grant table and mapping what others (or we ourselves) have granted. */
#include "lib.h"

static uint8_t grant_page[PAGE_BYTES] PAGE_ALIGNED;
grant_entry_v1_t *grant_table;

void grant_init(void)
{
    xen_pfn_t frame = 0;
    struct gnttab_setup_table setup = {.dom = DOMID_SELF, .nr_frames = 1};
    set_xen_guest_handle(setup.frame_list, &frame);
    NEED_OK(grant_op(GNTTABOP_setup_table, &setup, 1));
    NEED(setup.status == GNTST_okay);
    NEED_OK(update_va(grant_page, pte_make(frame, PTE_RW), UVMF_INVLPG | UVMF_ALL));
    grant_table = (grant_entry_v1_t *)grant_page;
}

void grant_set(grant_ref_t ref, domid_t to, uint64_t mfn, uint16_t flags)
{
    grant_table[ref].frame = (uint32_t)mfn;
    grant_table[ref].domid = to;
    __atomic_store_n(&grant_table[ref].flags, flags, __ATOMIC_SEQ_CST);
}

long grant_map(domid_t dom, grant_ref_t ref, uint64_t host_addr, uint32_t flags,
               grant_handle_t *handle)
{
    struct gnttab_map_grant_ref map = {
        .host_addr = host_addr, .flags = flags, .ref = ref, .dom = dom, .status = 1};
    long rc = grant_op(GNTTABOP_map_grant_ref, &map, 1);
    *handle = map.handle;
    return rc ? rc : map.status;
}

long grant_unmap(grant_handle_t handle, uint64_t host_addr, uint64_t dev_bus_addr)
{
    struct gnttab_unmap_grant_ref unmap = {
        .host_addr = host_addr, .dev_bus_addr = dev_bus_addr, .handle = handle, .status = 1};
    long rc = grant_op(GNTTABOP_unmap_grant_ref, &unmap, 1);
    return rc ? rc : unmap.status;
}
