/* SPDX-License-Identifier: MIT */
/*
 * libhv, processors: weights and caps, the pcpus a vCPU may use, where time has gone.
 *
 * The parameters of a domain are asked for under the name of the scheduler the hypervisor says it
 * has; both that have weights keep them in the same form.
 */
#include "dom0-tools/libhv/hv_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "pv-abi/accounting.h"

/* Records taken in one call. */
#define ACCOUNT_ROOM 512u
/* As many vCPUs as 32,752 domains can have; more means that the hypervisor does not end. */
#define ACCOUNT_MAX (32752u * 64)

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

/* --- where time has gone ----------------------------------------------------------------- */

/* The records gathered so far. */
struct gathered {
    struct hv_vcpu_time *times;
    size_t count;
};

static int gather(struct gathered *all, const struct pv_vcpu_account *records, uint32_t count)
{
    struct hv_vcpu_time *larger =
        realloc(all->times, (all->count + count + 1) * sizeof(*all->times));

    if (larger == NULL) {
        return -ENOMEM;
    }
    all->times = larger;
    for (uint32_t i = 0; i < count; i++) {
        const struct pv_vcpu_account *record = &records[i];

        all->times[all->count++] = (struct hv_vcpu_time){
            .domid = record->domid,
            .vcpu = record->vcpu,
            .pcpu = record->pcpu,
            .online = (record->flags & PV_ACCOUNT_DOWN) == 0,
            .used_ns = record->used_ns,
            .system_ns = record->system_ns,
            .ready_ns = record->ready_ns,
            .wait_ns = record->wait_ns,
            .offline_ns = record->offline_ns,
        };
    }
    return 0;
}

int hv_accounting(struct hv *hv, struct hv_vcpu_time **times, size_t *count, uint64_t *now_ns)
{
    struct pv_vcpu_account *bounce = xencall_alloc_buffer(hv->call, ACCOUNT_ROOM * sizeof(*bounce));
    struct pv_sysctl_accounting ask = {0};
    struct gathered all = {0};
    int rc = bounce != NULL ? 0 : -ENOMEM;

    while (rc == 0 && ask.domid != PV_ACCOUNTING_END) {
        struct xen_sysctl op = {.cmd = PV_SYSCTL_accounting};

        ask.count = ACCOUNT_ROOM;
        set_xen_guest_handle(ask.buffer, bounce);
        memcpy(&op.u, &ask, sizeof(ask));
        rc = hv_sysctl(hv, &op);
        memcpy(&ask, &op.u, sizeof(ask));
        if (rc == 0 && (ask.count > ACCOUNT_ROOM || all.count > ACCOUNT_MAX)) {
            rc = -EIO;
        }
        rc = rc != 0 ? rc : gather(&all, bounce, ask.count);
    }
    if (bounce != NULL) {
        xencall_free_buffer(hv->call, bounce);
    }
    if (rc != 0) {
        free(all.times);
        return rc;
    }
    *times = all.times;
    *count = all.count;
    *now_ns = ask.now_ns;
    return 0;
}

int hv_idle_time(struct hv *hv, uint64_t *idle_ns)
{
    struct xen_sysctl op = {.cmd = XEN_SYSCTL_getcpuinfo};
    size_t bytes = HV_MAX_PCPUS * sizeof(xen_sysctl_cpuinfo_t);
    xen_sysctl_cpuinfo_t *bounce = xencall_alloc_buffer(hv->call, bytes);
    int rc;

    if (bounce == NULL) {
        return -ENOMEM;
    }
    memset(bounce, 0, bytes);
    op.u.getcpuinfo.max_cpus = HV_MAX_PCPUS;
    set_xen_guest_handle(op.u.getcpuinfo.info, bounce);
    rc = hv_sysctl(hv, &op);
    *idle_ns = 0;
    for (uint32_t i = 0; rc == 0 && i < op.u.getcpuinfo.nr_cpus && i < HV_MAX_PCPUS; i++) {
        *idle_ns += bounce[i].idletime;
    }
    xencall_free_buffer(hv->call, bounce);
    return rc;
}
