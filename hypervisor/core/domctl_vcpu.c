// SPDX-License-Identifier: MIT
/*
 * XEN_DOMCTL_* on vCPUs: registers, state, scheduling parameters. A vCPU whose registers are set or
 * read is kept from running meanwhile; context_busy keeps two setters apart.
 */
#include "base/string.h"
#include "core/domctl.h"
#include "core/frame_alloc.h"
#include "core/handlers.h"
#include "core/hooks.h"
#include "core/subop.h"

/* ABI: the flag of a context that lets the vCPU run. */
static void set_online(struct vcpu *v, bool online)
{
    if (online) {
        sched_resume(v, PAUSE_DOWN);
    } else {
        sched_pause(v, PAUSE_DOWN);
    }
}

static long load_context(struct domain *d, struct vcpu *v, const struct vcpu_guest_context *c)
{
    if (__atomic_exchange_n(&v->context_busy, true, __ATOMIC_ACQUIRE)) {
        return -EBUSY;
    }
    domain_pause_sync(d);
    long rc = pv_context_set(v, c);
    if (rc == 0) {
        set_online(v, c->flags & VGCF_online);
    }
    domain_unpause(d);
    __atomic_store_n(&v->context_busy, false, __ATOMIC_RELEASE);
    return rc;
}

long domctl_setvcpucontext(struct hypercall *hc, struct domain *d, struct xen_domctl *op)
{
    struct vcpu *v = domctl_vcpu(d, op->u.vcpucontext.vcpu);
    if (d == hc->d || !v || !GUEST_ADDR(op->u.vcpucontext.ctxt)) {
        return -EINVAL;
    }
    struct vcpu_guest_context *c = hyp_alloc(sizeof(*c));
    if (!c) {
        return -ENOMEM;
    }
    long rc = guest_read(c, GUEST_ADDR(op->u.vcpucontext.ctxt), sizeof(*c));
    if (rc == 0) {
        rc = load_context(d, v, c);
    }
    hyp_free(c);
    return rc;
}

long domctl_getvcpucontext(struct hypercall *hc, struct domain *d, struct xen_domctl *op)
{
    struct vcpu *v = domctl_vcpu(d, op->u.vcpucontext.vcpu);
    if (d == hc->d || !v) {
        return -EINVAL;
    }
    if (!v->initialised) {
        return -ENODATA;
    }
    struct vcpu_guest_context *c = hyp_alloc(sizeof(*c));
    if (!c) {
        return -ENOMEM;
    }
    domain_pause_sync(d);
    pv_context_get(v, c);
    domain_unpause(d);
    long rc = guest_write(GUEST_ADDR(op->u.vcpucontext.ctxt), c, sizeof(*c));
    hyp_free(c);
    return rc;
}

long domctl_getvcpuinfo(struct hypercall *hc, struct domain *d, struct xen_domctl *op)
{
    (void)hc;
    uint32_t id = op->u.getvcpuinfo.vcpu;
    const struct vcpu *v = domctl_vcpu(d, id);
    if (id >= d->max_vcpus) {
        return -EINVAL;
    }
    if (!v) {
        return -ESRCH;
    }
    uint32_t bits = read_once(v->sched.pause_bits);
    memset(&op->u.getvcpuinfo, 0, sizeof(op->u.getvcpuinfo));
    op->u.getvcpuinfo.vcpu = id;
    op->u.getvcpuinfo.online = !(bits & PAUSE_DOWN);
    op->u.getvcpuinfo.blocked = (bits & PAUSE_BLOCKED) != 0;
    op->u.getvcpuinfo.running = sched_is_running(v);
    op->u.getvcpuinfo.cpu_time = (uint64_t)sched_used_ns(v);
    op->u.getvcpuinfo.cpu = read_once(v->sched.pcpu);
    return 0;
}

long domctl_sendtrigger(struct hypercall *hc, struct domain *d, struct xen_domctl *op)
{
    (void)hc;
    struct vcpu *v = domctl_vcpu(d, op->u.sendtrigger.vcpu);
    if (!v) {
        return -EINVAL;
    }
    if (op->u.sendtrigger.trigger != XEN_DOMCTL_SENDTRIGGER_NMI) {
        return -ENOSYS;
    }
    pv_nmi_raise(v);
    return 0;
}

/* ---- scheduling ---- */

int domctl_write_cpumap(const struct xenctl_bitmap *map)
{
    uint64_t bytes = DIV_ROUND_UP((uint64_t)map->nr_bits, 8);
    for (uint64_t i = 0; i < MIN(bytes, MAX_PCPUS / 8UL); i++) {
        uint8_t byte = 0;
        for (unsigned bit = 0; bit < 8; bit++) {
            unsigned cpu = (unsigned)i * 8 + bit;
            byte |= cpu < arch_cpus_online() && cpu < map->nr_bits ? 1U << bit : 0;
        }
        if (guest_write_element(GUEST_ADDR(map->bitmap), i, &byte, 1)) {
            return -EFAULT;
        }
    }
    return 0;
}

/* Every vCPU may run on every online CPU: a map that leaves one out cannot be kept. */
static int check_cpumap(const struct xenctl_bitmap *map)
{
    unsigned found = 0;
    for (unsigned cpu = 0; cpu < arch_cpus_online(); cpu++) {
        uint8_t byte = 0;
        if (cpu < map->nr_bits && guest_read_element(&byte, GUEST_ADDR(map->bitmap), cpu / 8, 1)) {
            return -EFAULT;
        }
        found += byte >> (cpu % 8) & 1;
    }
    if (found == 0) {
        return -EINVAL;
    }
    return found == arch_cpus_online() ? 0 : -EOPNOTSUPP;
}

#define AFFINITY_BOTH (XEN_VCPUAFFINITY_HARD | XEN_VCPUAFFINITY_SOFT)

static int write_affinity(const struct xen_domctl_vcpuaffinity *a)
{
    int rc = 0;
    if (a->flags & XEN_VCPUAFFINITY_HARD) {
        rc = domctl_write_cpumap(&a->cpumap_hard);
    }
    if (rc == 0 && (a->flags & XEN_VCPUAFFINITY_SOFT)) {
        rc = domctl_write_cpumap(&a->cpumap_soft);
    }
    return rc;
}

long domctl_setvcpuaffinity(struct hypercall *hc, struct domain *d, struct xen_domctl *op)
{
    (void)hc;
    const struct xen_domctl_vcpuaffinity *a = &op->u.vcpuaffinity;
    int rc = 0;
    if (!domctl_vcpu(d, a->vcpu)) {
        return -ESRCH;
    }
    if (!(a->flags & AFFINITY_BOTH) || (a->flags & ~(AFFINITY_BOTH | XEN_VCPUAFFINITY_FORCE))) {
        return -EINVAL;
    }
    if (a->flags & XEN_VCPUAFFINITY_HARD) {
        rc = check_cpumap(&a->cpumap_hard);
    }
    /* Soft affinity is a wish; it has no effect. */
    return rc ? rc : write_affinity(a);
}

long domctl_getvcpuaffinity(struct hypercall *hc, struct domain *d, struct xen_domctl *op)
{
    (void)hc;
    const struct xen_domctl_vcpuaffinity *a = &op->u.vcpuaffinity;
    if (!domctl_vcpu(d, a->vcpu)) {
        return -ESRCH;
    }
    if (!(a->flags & AFFINITY_BOTH) || (a->flags & ~AFFINITY_BOTH)) {
        return -EINVAL;
    }
    return write_affinity(a);
}

static long put_weight(struct domain *d, const struct xen_domctl_sched_credit2 *c)
{
    if (c->cap > 100 * arch_cpus_online()) {
        return -EINVAL;
    }
    for (unsigned i = 0; i < d->max_vcpus; i++) {
        struct vcpu *v = d->vcpu[i];
        if (!v) {
            continue;
        }
        if (c->weight) { /* ABI: 0 leaves it as it is */
            write_once(v->sched.weight, c->weight);
        }
        write_once(v->sched.cap, c->cap);
    }
    return 0;
}

long domctl_scheduler_op(struct hypercall *hc, struct domain *d, struct xen_domctl *op)
{
    (void)hc;
    struct xen_domctl_scheduler_op *s = &op->u.scheduler_op;
    const struct vcpu *v = domctl_vcpu(d, 0);
    if (s->sched_id != XEN_SCHEDULER_CREDIT2 || !v) {
        return -EINVAL;
    }
    switch (s->cmd) {
    case XEN_DOMCTL_SCHEDOP_putinfo:
        return put_weight(d, &s->u.credit2);
    case XEN_DOMCTL_SCHEDOP_getinfo:
        s->u.credit2.weight = read_once(v->sched.weight);
        s->u.credit2.cap = read_once(v->sched.cap);
        return 0;
    default:
        return -EINVAL;
    }
}
