/* SPDX-License-Identifier: MIT */
/*
 * Bad addresses in the arguments of every hypercall that takes one: in the hypervisor, at its ends,
 * not canonical, at the end of the lower half, wrapping around, of nothing. Always -EFAULT.
 */
#include "lib.h"

struct call {
    unsigned short nr;
    unsigned short op; /* first argument, when `at` is not 0 */
    unsigned char at;  /* which argument is the address */
    unsigned char third;
};

static const struct call calls[] = {
    {__HYPERVISOR_set_trap_table, 0, 0, 0},
    {__HYPERVISOR_set_gdt, 0, 0, 0}, /* with one entry */
    {__HYPERVISOR_mmu_update, 0, 0, 0},
    {__HYPERVISOR_mmuext_op, 0, 0, 0},
    {__HYPERVISOR_multicall, 0, 0, 0},
    {__HYPERVISOR_xen_version, XENVER_extraversion, 1, 0},
    {__HYPERVISOR_xen_version, XENVER_compile_info, 1, 0},
    {__HYPERVISOR_xen_version, XENVER_capabilities, 1, 0},
    {__HYPERVISOR_xen_version, XENVER_changeset, 1, 0},
    {__HYPERVISOR_xen_version, XENVER_platform_parameters, 1, 0},
    {__HYPERVISOR_xen_version, XENVER_get_features, 1, 0},
    {__HYPERVISOR_xen_version, XENVER_guest_handle, 1, 0},
    {__HYPERVISOR_xen_version, XENVER_commandline, 1, 0},
    {__HYPERVISOR_sched_op, SCHEDOP_shutdown, 1, 0},
    {__HYPERVISOR_sched_op, SCHEDOP_poll, 1, 0},
    {__HYPERVISOR_sched_op, SCHEDOP_remote_shutdown, 1, 0},
    {__HYPERVISOR_sched_op, SCHEDOP_shutdown_code, 1, 0},
    {__HYPERVISOR_callback_op, CALLBACKOP_register, 1, 0},
    {__HYPERVISOR_callback_op, CALLBACKOP_unregister, 1, 0},
    {__HYPERVISOR_event_channel_op, EVTCHNOP_bind_interdomain, 1, 0},
    {__HYPERVISOR_event_channel_op, EVTCHNOP_bind_virq, 1, 0},
    {__HYPERVISOR_event_channel_op, EVTCHNOP_bind_pirq, 1, 0},
    {__HYPERVISOR_event_channel_op, EVTCHNOP_close, 1, 0},
    {__HYPERVISOR_event_channel_op, EVTCHNOP_send, 1, 0},
    {__HYPERVISOR_event_channel_op, EVTCHNOP_status, 1, 0},
    {__HYPERVISOR_event_channel_op, EVTCHNOP_alloc_unbound, 1, 0},
    {__HYPERVISOR_event_channel_op, EVTCHNOP_bind_ipi, 1, 0},
    {__HYPERVISOR_event_channel_op, EVTCHNOP_bind_vcpu, 1, 0},
    {__HYPERVISOR_event_channel_op, EVTCHNOP_unmask, 1, 0},
    {__HYPERVISOR_event_channel_op, EVTCHNOP_reset, 1, 0},
    {__HYPERVISOR_physdev_op, PHYSDEVOP_set_iopl, 1, 0},
    {__HYPERVISOR_physdev_op, PHYSDEVOP_set_iobitmap, 1, 0},
    {__HYPERVISOR_memory_op, XENMEM_increase_reservation, 1, 0},
    {__HYPERVISOR_memory_op, XENMEM_decrease_reservation, 1, 0},
    {__HYPERVISOR_memory_op, XENMEM_populate_physmap, 1, 0},
    {__HYPERVISOR_memory_op, XENMEM_current_reservation, 1, 0},
    {__HYPERVISOR_memory_op, XENMEM_maximum_reservation, 1, 0},
    {__HYPERVISOR_memory_op, XENMEM_exchange, 1, 0},
    {__HYPERVISOR_memory_op, XENMEM_memory_map, 1, 0},
    {__HYPERVISOR_memory_op, XENMEM_machphys_mapping, 1, 0},
    {__HYPERVISOR_grant_table_op, GNTTABOP_map_grant_ref, 1, 1},
    {__HYPERVISOR_grant_table_op, GNTTABOP_unmap_grant_ref, 1, 1},
    {__HYPERVISOR_grant_table_op, GNTTABOP_setup_table, 1, 1},
    {__HYPERVISOR_grant_table_op, GNTTABOP_copy, 1, 1},
    {__HYPERVISOR_grant_table_op, GNTTABOP_query_size, 1, 1},
    {__HYPERVISOR_grant_table_op, GNTTABOP_set_version, 1, 1},
    {__HYPERVISOR_grant_table_op, GNTTABOP_get_version, 1, 1},
    {__HYPERVISOR_vcpu_op, VCPUOP_initialise, 2, 0},
    {__HYPERVISOR_vcpu_op, VCPUOP_get_runstate_info, 2, 0},
    {__HYPERVISOR_vcpu_op, VCPUOP_register_runstate_memory_area, 2, 0},
    {__HYPERVISOR_vcpu_op, VCPUOP_set_periodic_timer, 2, 0},
    {__HYPERVISOR_vcpu_op, VCPUOP_set_singleshot_timer, 2, 0},
    {__HYPERVISOR_vcpu_op, VCPUOP_register_vcpu_info, 2, 0},
    {__HYPERVISOR_vcpu_op, VCPUOP_register_vcpu_time_memory_area, 2, 0},
};

static const uint64_t bad[] = {
    HYP_START,
    0xffff804000000000,
    0xffff828000000000,
    0xffff828040000000,
    0xffff840000000000,
    0xffff840000200000,
    HYP_END - 1,
    HYP_END - 2,
    NONCANONICAL,
    0x00007fffffffffff,
    0x0000800000000000,
    0xffff7fffffffffff,
    0x8000000000000000,
    ~0UL,
    ~1UL,
    0,
    0x10,
    0x7ffffffff000,
};

void test_main(void)
{
    for (unsigned i = 0; i < ARRAY_SIZE(calls); i++) {
        const struct call *c = &calls[i];
        for (unsigned k = 0; k < ARRAY_SIZE(bad); k++) {
            long rc;
            if (c->nr == __HYPERVISOR_set_trap_table && bad[k] == 0) {
                continue; /* that one means "none" */
            }
            if (c->at == 0) {
                rc = HC4(c->nr, bad[k], 1, 0, DOMID_SELF);
            } else if (c->at == 1) {
                rc = HC3(c->nr, c->op, bad[k], c->third);
            } else {
                rc = HC3(c->nr, c->op, 1, bad[k]);
            }
            CHECK_IS(rc, -EFAULT);
            if (rc != -EFAULT) {
                say("call %u op %u address %lx: %ld", c->nr, c->op, bad[k], rc);
            }
        }
    }
}
