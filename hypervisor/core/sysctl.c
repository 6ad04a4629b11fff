// SPDX-License-Identifier: MIT
/*
 * XEN_SYSCTL_*: host-wide figures for the control domain's tools. The machine is described flat:
 * one memory node, one socket, one core a processor, one pool. No locks of its own.
 */
#include "base/log.h"
#include "base/string.h"
#include "core/console_keys.h"
#include "core/domctl.h"
#include "core/frame_alloc.h"
#include "core/handlers.h"
#include "core/subop.h"

#define READ_CHUNK 512u
#define DEBUG_KEYS_MAX 32u
#define DISTANCE_SELF 10u

long sysctl_readconsole(struct hypercall *hc, struct xen_sysctl *op)
{
    (void)hc;
    struct xen_sysctl_readconsole *r = &op->u.readconsole;
    char chunk[READ_CHUNK];
    /* An index that is not in the ring stands for the oldest byte. */
    uint32_t done = 0, index = r->incremental ? r->index : 0;
    while (done < r->count) {
        size_t bytes = log_read(chunk, MIN(READ_CHUNK, r->count - done), &index);
        if (bytes == 0) {
            break;
        }
        if (guest_write(GUEST_ADDR(r->buffer) + done, chunk, bytes)) {
            return -EFAULT;
        }
        done += (uint32_t)bytes;
    }
    if (r->clear) {
        log_clear();
    }
    r->index = index;
    r->count = done;
    return 0;
}

/* ABI: feature words in the order tools print them. */
static void fill_hw_cap(uint32_t *cap)
{
    struct cpuid_regs r;
    arch_cpuid(1, 0, &r);
    cap[0] = r.edx;
    cap[1] = r.ecx;
    arch_cpuid(0x80000001, 0, &r);
    cap[2] = r.edx;
    cap[3] = r.ecx;
    arch_cpuid(0, 0, &r);
    if (r.eax >= 7) {
        arch_cpuid(7, 0, &r);
        cap[5] = r.ebx;
        cap[6] = r.ecx;
    }
}

long sysctl_physinfo(struct hypercall *hc, struct xen_sysctl *op)
{
    (void)hc;
    struct xen_sysctl_physinfo *p = &op->u.physinfo;
    memset(p, 0, sizeof(*p));
    p->threads_per_core = 1;
    p->cores_per_socket = arch_cpus_present();
    p->nr_cpus = arch_cpus_online();
    p->max_cpu_id = arch_cpus_present() - 1;
    p->nr_nodes = 1;
    p->cpu_khz = (uint32_t)arch_tsc_scale()->khz;
    p->capabilities = XEN_SYSCTL_PHYSCAP_pv | XEN_SYSCTL_PHYSCAP_gnttab_v1;
    p->total_pages = frame_total_count();
    p->free_pages = frame_free_count();
    p->max_mfn = arch_max_mfn() - 1;
    fill_hw_cap(p->hw_cap);
    return 0;
}

long sysctl_sched_id(struct hypercall *hc, struct xen_sysctl *op)
{
    (void)hc;
    op->u.sched_id.sched_id = XEN_SCHEDULER_CREDIT2;
    return 0;
}

long sysctl_getdomaininfolist(struct hypercall *hc, struct xen_sysctl *op)
{
    (void)hc;
    struct xen_sysctl_getdomaininfolist *l = &op->u.getdomaininfolist;
    uint32_t count = 0;
    domid_t next = l->first_domain;
    while (count < l->max_domains) {
        struct xen_domctl_getdomaininfo info;
        struct domain *d = domain_get_next(next);
        if (!d) {
            break;
        }
        domctl_fill_info(d, &info);
        next = d->id + 1;
        domain_put(d);
        if (guest_write_element(GUEST_ADDR(l->buffer), count, &info, sizeof(info))) {
            return -EFAULT;
        }
        count++;
    }
    l->num_domains = count;
    return 0;
}

long sysctl_debug_keys(struct hypercall *hc, struct xen_sysctl *op)
{
    (void)hc;
    const struct xen_sysctl_debug_keys *k = &op->u.debug_keys;
    if (k->nr_keys > DEBUG_KEYS_MAX) {
        return -E2BIG;
    }
    for (uint32_t i = 0; i < k->nr_keys; i++) {
        char key;
        if (guest_read_element(&key, GUEST_ADDR(k->keys), i, 1)) {
            return -EFAULT;
        }
        console_keys_handle(key);
    }
    return 0;
}

long sysctl_getcpuinfo(struct hypercall *hc, struct xen_sysctl *op)
{
    (void)hc;
    struct xen_sysctl_getcpuinfo *g = &op->u.getcpuinfo;
    uint32_t count = MIN(g->max_cpus, arch_cpus_online());
    for (uint32_t i = 0; i < count; i++) {
        struct xen_sysctl_cpuinfo info = {(uint64_t)sched_used_ns(vcpu_idle(i))};
        if (guest_write_element(GUEST_ADDR(g->info), i, &info, sizeof(info))) {
            return -EFAULT;
        }
    }
    g->nr_cpus = count;
    return 0;
}

/* The heap does not count by address: the limits are not looked at. */
long sysctl_availheap(struct hypercall *hc, struct xen_sysctl *op)
{
    (void)hc;
    struct xen_sysctl_availheap *a = &op->u.availheap;
    if (a->node < -1 || a->node > 0) {
        return -EINVAL;
    }
    a->avail_bytes = frame_free_count() << PAGE_SHIFT;
    return 0;
}

/* ABI: without an array the question is how many entries there are. */
long sysctl_cputopoinfo(struct hypercall *hc, struct xen_sysctl *op)
{
    (void)hc;
    struct xen_sysctl_cputopoinfo *t = &op->u.cputopoinfo;
    uint32_t present = arch_cpus_present();
    if (!GUEST_ADDR(t->cputopo)) {
        t->num_cpus = present;
        return 0;
    }
    t->num_cpus = MIN(t->num_cpus, present);
    for (uint32_t i = 0; i < t->num_cpus; i++) {
        struct xen_sysctl_cputopo cpu = {i, 0, 0};
        if (i >= arch_cpus_online()) {
            cpu = (struct xen_sysctl_cputopo){XEN_INVALID_CORE_ID, XEN_INVALID_SOCKET_ID,
                                              XEN_INVALID_NODE_ID};
        }
        if (guest_write_element(GUEST_ADDR(t->cputopo), i, &cpu, sizeof(cpu))) {
            return -EFAULT;
        }
    }
    return 0;
}

long sysctl_numainfo(struct hypercall *hc, struct xen_sysctl *op)
{
    (void)hc;
    struct xen_sysctl_numainfo *n = &op->u.numainfo;
    struct xen_sysctl_meminfo mem = {frame_total_count() << PAGE_SHIFT, frame_free_count()
                                                                            << PAGE_SHIFT};
    uint32_t distance = DISTANCE_SELF;
    bool asked = n->num_nodes > 0;
    bool want_mem = GUEST_ADDR(n->meminfo), want_distance = GUEST_ADDR(n->distance);
    if (asked && want_mem && guest_write(GUEST_ADDR(n->meminfo), &mem, sizeof(mem))) {
        return -EFAULT;
    }
    if (asked && want_distance && guest_write(GUEST_ADDR(n->distance), &distance, 4)) {
        return -EFAULT;
    }
    if (asked || (!want_mem && !want_distance)) {
        n->num_nodes = 1;
    }
    return 0;
}

static uint32_t domain_count(void)
{
    uint32_t count = 0;
    struct domain *d = domain_get_next(0);
    while (d) {
        domid_t next = d->id + 1;
        count++;
        domain_put(d);
        d = domain_get_next(next);
    }
    return count;
}

/* ABI: pools are asked for one by one, each time for the first from an id on. */
long sysctl_cpupool_op(struct hypercall *hc, struct xen_sysctl *op)
{
    (void)hc;
    struct xen_sysctl_cpupool_op *p = &op->u.cpupool_op;
    if (p->op != XEN_SYSCTL_CPUPOOL_OP_INFO) {
        return -EOPNOTSUPP;
    }
    if (p->cpupool_id != 0 && p->cpupool_id != XEN_SYSCTL_CPUPOOL_PAR_ANY) {
        return -ENOENT;
    }
    p->cpupool_id = 0;
    p->sched_id = XEN_SCHEDULER_CREDIT2;
    p->n_dom = domain_count();
    return domctl_write_cpumap(&p->cpumap);
}

long sysctl_get_cpu_levelling_caps(struct hypercall *hc, struct xen_sysctl *op)
{
    (void)hc;
    op->u.cpu_levelling_caps.caps = 0;
    return 0;
}

long hc_sysctl(struct hypercall *hc)
{
    struct xen_sysctl op;
    long rc;
    if (!hc->d->privileged) {
        return -EPERM;
    }
    if (guest_read(&op, hc->arg[0], sizeof(op))) {
        return -EFAULT;
    }
    if (op.interface_version != XEN_SYSCTL_INTERFACE_VERSION) {
        return -EACCES;
    }
    switch (op.cmd) {
#define ENV(nr, name, handler, doc)                                                                \
    case nr:                                                                                       \
        rc = handler(hc, &op);                                                                     \
        break;
#include "pv-abi/ops/sysctl.def"
#undef ENV
    default:
        return -ENOSYS;
    }
    if (rc >= 0 && guest_write(hc->arg[0], &op, sizeof(op))) {
        rc = -EFAULT;
    }
    return rc;
}
