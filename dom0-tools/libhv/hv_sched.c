/* SPDX-License-Identifier: MIT */
/*
 * libhv, processors: weights and caps, the pcpus a vCPU may use.
 *
 * The parameters of a domain are asked for under the name of the scheduler the hypervisor says it
 * has; both that have weights keep them in the same form.
 */
#include "dom0-tools/libhv/hv_internal.h"

#include <errno.h>
#include <string.h>

/* --- weight and cap ---------------------------------------------------------------------- */

static int scheduler_op(struct hv *hv, uint32_t domid, uint32_t cmd, struct hv_share *share)
{
    struct xen_domctl op = {.cmd = XEN_DOMCTL_scheduler_op, .domain = (domid_t)domid};
    struct xen_domctl_scheduler_op *sched = &op.u.scheduler_op;
    int rc = hv_sched_id(hv, &sched->sched_id);

    if (rc != 0) {
        return rc;
    }
    sched->cmd = cmd;
    switch (sched->sched_id) {
    case XEN_SCHEDULER_CREDIT2:
        sched->u.credit2.weight = (uint16_t)share->weight;
        sched->u.credit2.cap = (uint16_t)share->cap;
        rc = hv_domctl(hv, &op);
        *share = (struct hv_share){sched->u.credit2.weight, sched->u.credit2.cap};
        return rc;
    case XEN_SCHEDULER_CREDIT:
        sched->u.credit.weight = (uint16_t)share->weight;
        sched->u.credit.cap = (uint16_t)share->cap;
        rc = hv_domctl(hv, &op);
        *share = (struct hv_share){sched->u.credit.weight, sched->u.credit.cap};
        return rc;
    default:
        return -EOPNOTSUPP;
    }
}

int hv_share_get(struct hv *hv, uint32_t domid, struct hv_share *share)
{
    *share = (struct hv_share){0};
    return scheduler_op(hv, domid, XEN_DOMCTL_SCHEDOP_getinfo, share);
}

int hv_share_set(struct hv *hv, uint32_t domid, const struct hv_share *share)
{
    struct hv_share copy = *share;

    if (share->weight < 1 || share->weight > HV_MAX_WEIGHT || share->cap > UINT16_MAX) {
        return -EINVAL;
    }
    return scheduler_op(hv, domid, XEN_DOMCTL_SCHEDOP_putinfo, &copy);
}

/* --- pcpus of a vCPU --------------------------------------------------------------------- */

static int affinity(struct hv *hv, uint32_t cmd, uint32_t domid, uint32_t vcpu,
                    uint8_t map[HV_CPUMAP_BYTES])
{
    struct xen_domctl op = {.cmd = cmd, .domain = (domid_t)domid};
    struct xen_domctl_vcpuaffinity *affinity = &op.u.vcpuaffinity;
    uint8_t *bounce = xencall_alloc_buffer(hv->call, HV_CPUMAP_BYTES);
    int rc;

    if (bounce == NULL) {
        return -ENOMEM;
    }
    memcpy(bounce, map, HV_CPUMAP_BYTES);
    affinity->vcpu = vcpu;
    affinity->flags = XEN_VCPUAFFINITY_HARD;
    affinity->cpumap_hard.nr_bits = HV_MAX_PCPUS;
    set_xen_guest_handle(affinity->cpumap_hard.bitmap, bounce);
    rc = hv_domctl(hv, &op);
    memcpy(map, bounce, HV_CPUMAP_BYTES);
    xencall_free_buffer(hv->call, bounce);
    return rc;
}

int hv_vcpu_affinity_get(struct hv *hv, uint32_t domid, uint32_t vcpu, uint8_t map[HV_CPUMAP_BYTES])
{
    memset(map, 0, HV_CPUMAP_BYTES);
    return affinity(hv, XEN_DOMCTL_getvcpuaffinity, domid, vcpu, map);
}

int hv_vcpu_affinity_set(struct hv *hv, uint32_t domid, uint32_t vcpu,
                         const uint8_t map[HV_CPUMAP_BYTES])
{
    uint8_t copy[HV_CPUMAP_BYTES];

    memcpy(copy, map, sizeof(copy));
    return affinity(hv, XEN_DOMCTL_setvcpuaffinity, domid, vcpu, copy);
}
