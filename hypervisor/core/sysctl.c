// SPDX-License-Identifier: MIT
/*
 * XEN_SYSCTL_*: host-wide figures for the control domain's tools. The machine is described flat:
 * one memory node, one socket, one core a processor, one pool. No locks of its own.
 */
#include "base/log.h"
#include "core/console.h"
#include "core/deferred.h"
#include "core/hooks.h"
#include "core/pci.h"
#include "core/subop.h"

#define READ_CHUNK 512u
#define DEBUG_KEYS_MAX 32u
#define DISTANCE_SELF 10u

long sysctl_readconsole(struct xen_sysctl_readconsole *arg)
{
    char chunk[READ_CHUNK];
    /* An index that is not in the ring stands for the oldest byte. */
    uint32_t done = 0, index = arg->incremental ? arg->index : 0;
    while (done < arg->count) {
        size_t bytes = log_read(chunk, MIN(READ_CHUNK, arg->count - done), &index);
        if (bytes == 0) {
            break;
        }
        if (guest_write(GUEST_ADDR(arg->buffer) + done, chunk, bytes)) {
            return -EFAULT;
        }
        done += (uint32_t)bytes;
        irq_window(false);
    }
    if (arg->clear) {
        log_clear();
    }
    arg->index = index;
    arg->count = done;
    return 0;
}

long sysctl_physinfo(struct xen_sysctl_physinfo *arg)
{
    *arg = (struct xen_sysctl_physinfo){
        .threads_per_core = 1,
        .cores_per_socket = arch_facts.cpus_present,
        .nr_cpus = arch_facts.cpus_online,
        .max_cpu_id = arch_facts.cpus_present - 1,
        .nr_nodes = 1,
        .cpu_khz = (uint32_t)arch_facts.tsc.khz,
        .capabilities = XEN_SYSCTL_PHYSCAP_pv | XEN_SYSCTL_PHYSCAP_gnttab_v1,
        .total_pages = frame_total_count(),
        .free_pages = frame_free_count(),
        .max_mfn = arch_facts.max_mfn - 1,
    };
    pv_host_features(arg->hw_cap, ARRAY_SIZE(arg->hw_cap));
    return 0;
}

long sysctl_sched_id(struct xen_sysctl_sched_id *arg)
{
    arg->sched_id = XEN_SCHEDULER_CREDIT2;
    return 0;
}

long sysctl_scheduler_op(struct xen_sysctl_scheduler_op *arg)
{
    struct xen_sysctl_credit2_schedule *params = &arg->u.sched_credit2;
    if (arg->sched_id != XEN_SCHEDULER_CREDIT2 || arg->cpupool_id != 0) {
        return -EINVAL;
    }
    switch (arg->cmd) {
    case XEN_SYSCTL_SCHEDOP_putinfo:
        return sched_set_min_run((ns_t)params->ratelimit_us * NS_PER_US);
    case XEN_SYSCTL_SCHEDOP_getinfo:
        params->ratelimit_us = (unsigned)(sched_min_run() / NS_PER_US);
        return 0;
    default:
        return -EINVAL;
    }
}

long sysctl_debug_keys(struct xen_sysctl_debug_keys *arg)
{
    if (arg->nr_keys > DEBUG_KEYS_MAX) {
        return -E2BIG;
    }
    for (uint32_t i = 0; i < arg->nr_keys; i++) {
        char key;
        if (guest_read_element(&key, GUEST_ADDR(arg->keys), i, 1)) {
            return -EFAULT;
        }
        console_keys_handle(key);
    }
    return 0;
}

long sysctl_getcpuinfo(struct xen_sysctl_getcpuinfo *arg)
{
    uint32_t count = MIN(arg->max_cpus, arch_facts.cpus_online);
    for (uint32_t i = 0; i < count; i++) {
        struct xen_sysctl_cpuinfo info = {(uint64_t)sched_used_ns(vcpu_idle(i))};
        if (guest_write_element(GUEST_ADDR(arg->info), i, &info, sizeof(info))) {
            return -EFAULT;
        }
    }
    arg->nr_cpus = count;
    return 0;
}

/* The heap does not count by address: the limits are not looked at. */
long sysctl_availheap(struct xen_sysctl_availheap *arg)
{
    if (arg->node < -1 || arg->node > 0) {
        return -EINVAL;
    }
    arg->avail_bytes = frame_free_count() << PAGE_SHIFT;
    return 0;
}

/* ABI: without an array the question is how many entries there are. */
long sysctl_cputopoinfo(struct xen_sysctl_cputopoinfo *arg)
{
    uint32_t present = arch_facts.cpus_present;
    if (!GUEST_ADDR(arg->cputopo)) {
        arg->num_cpus = present;
        return 0;
    }
    arg->num_cpus = MIN(arg->num_cpus, present);
    for (uint32_t i = 0; i < arg->num_cpus; i++) {
        struct xen_sysctl_cputopo cpu = {i, 0, 0};
        if (i >= arch_facts.cpus_online) {
            cpu = (struct xen_sysctl_cputopo){XEN_INVALID_CORE_ID, XEN_INVALID_SOCKET_ID,
                                              XEN_INVALID_NODE_ID};
        }
        if (guest_write_element(GUEST_ADDR(arg->cputopo), i, &cpu, sizeof(cpu))) {
            return -EFAULT;
        }
    }
    return 0;
}

long sysctl_numainfo(struct xen_sysctl_numainfo *arg)
{
    struct xen_sysctl_meminfo mem = {frame_total_count() << PAGE_SHIFT, frame_free_count()
                                                                            << PAGE_SHIFT};
    uint32_t distance = DISTANCE_SELF;
    bool want_mem = GUEST_ADDR(arg->meminfo), want_distance = GUEST_ADDR(arg->distance);
    if (arg->num_nodes &&
        ((want_mem && guest_write(GUEST_ADDR(arg->meminfo), &mem, sizeof(mem))) ||
         (want_distance && guest_write(GUEST_ADDR(arg->distance), &distance, sizeof(distance))))) {
        return -EFAULT;
    }
    if (arg->num_nodes || (!want_mem && !want_distance)) {
        arg->num_nodes = 1;
    }
    return 0;
}

/* Those that are there are at the only node. */
long sysctl_pcitopoinfo(struct xen_sysctl_pcitopoinfo *arg)
{
    uint32_t count = arg->num_devs;
    for (arg->num_devs = 0; arg->num_devs < count; arg->num_devs++) {
        physdev_pci_device_t dev;
        if (guest_read_element(&dev, GUEST_ADDR(arg->devs), arg->num_devs, sizeof(dev))) {
            return -EFAULT;
        }
        bool known = dev.seg == 0 && pci_present(PCI_BDF(dev.bus, dev.devfn));
        uint32_t node = known ? 0 : XEN_INVALID_DEV;
        if (guest_write_element(GUEST_ADDR(arg->nodes), arg->num_devs, &node, sizeof(node))) {
            return -EFAULT;
        }
        irq_window(false);
    }
    return 0;
}

long sysctl_get_cpu_levelling_caps(struct xen_sysctl_cpu_levelling_caps *arg)
{
    arg->caps = 0;
    return 0;
}

long hc_sysctl(struct hypercall *hc)
{
    struct xen_sysctl op;
    long rc = envelope_in(hc, &op, sizeof(op), XEN_SYSCTL_INTERFACE_VERSION);
    if (rc) {
        return rc;
    }
    switch (op.cmd) {
#include "pv-abi/ops/sysctl.def"
    default:
        rc = -ENOSYS;
    }
    return envelope_out(hc, &op, sizeof(op), rc);
}
