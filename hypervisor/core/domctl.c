// SPDX-License-Identifier: MIT
/*
 * XEN_DOMCTL_*: the control domain's operations on domains and their vCPUs, and those XEN_SYSCTL_*
 * that describe domains and sets of CPUs. Handlers check and shape arguments and call whoever owns
 * the state; they hold a reference of the target and no lock.
 */
#include "base/string.h"
#include "core/deferred.h"
#include "core/hooks.h"
#include "core/subop.h"
#include "core/time.h"

#define GRANT_VERSION_MAX 2u
#define FRAME_INFO_MAX 1024u
/* ABI: tsc_mode values: default, always and never emulated */
#define TSC_MODE_DEFAULT 0u
#define TSC_MODE_NEVER_EMULATE 2u

/* ---- describing a domain ---- */

static void fill_vcpus(const struct domain *d, struct xen_domctl_getdomaininfo *info)
{
    info->flags |= XEN_DOMINF_blocked;
    for (unsigned i = 0; i < d->max_vcpus; i++) {
        const struct vcpu *v = d->vcpu[i];
        uint32_t bits = read_once(v->sched.pause_bits);
        info->cpu_time += (uint64_t)sched_used_ns(v);
        if (bits & PAUSE_DOWN) {
            continue;
        }
        info->nr_online_vcpus++;
        if (!(bits & PAUSE_BLOCKED)) {
            info->flags &= ~XEN_DOMINF_blocked;
        }
        if (sched_is_running(v)) {
            info->flags |= XEN_DOMINF_running;
        }
    }
}

static void fill_info(struct domain *d, struct xen_domctl_getdomaininfo *info)
{
    memset(info, 0, sizeof(*info));
    info->domain = d->id;
    info->tot_pages = read_once(d->page_count);
    info->max_pages = read_once(d->max_pages);
    info->shared_info_frame = d->shared_frame ? frame_to_mfn(d->shared_frame) : INVALID_MFN;
    info->max_vcpu_id = d->max_vcpus ? d->max_vcpus - 1 : XEN_INVALID_MAX_VCPU_ID;
    info->gpaddr_bits = (uint8_t)arch_facts.maddr_bits;
    SPIN_GUARD(&d->life_lock);
    info->flags = (d->state != DOM_ALIVE ? XEN_DOMINF_dying : 0) |
                  (d->control_pauses ? XEN_DOMINF_paused : 0);
    if (d->shut_down) {
        info->flags |= XEN_DOMINF_shutdown | (uint32_t)d->shutdown_code << XEN_DOMINF_shutdownshift;
    }
    memcpy(info->handle, d->handle, sizeof(info->handle));
    fill_vcpus(d, info);
}

/* ABI: describes the first domain from the given id on. */
long domctl_getdomaininfo(struct xen_domctl *op)
{
    struct domain *d = domain_get_next(op->domain);
    if (!d) {
        return -ESRCH;
    }
    fill_info(d, &op->u.getdomaininfo);
    op->domain = d->id;
    domain_put(d);
    return 0;
}

long domctl_changed_domain(struct xen_domctl *op)
{
    struct pv_domctl_changed_domain *arg = (void *)&op->u;
    struct xen_domctl_getdomaininfo info = {.flags = XEN_DOMINF_dying};
    if (!domain_take_changed(&op->domain)) {
        return -ENOENT;
    }
    /* ORDER: looked at after its note was taken, so a later change makes another. */
    struct domain *d = domain_get(op->domain);
    if (d) {
        fill_info(d, &info);
        domain_put(d);
    }
    *arg = (struct pv_domctl_changed_domain){.exists = d != NULL, .flags = info.flags};
    return 0;
}

long sysctl_getdomaininfolist(struct xen_sysctl_getdomaininfolist *arg)
{
    uint32_t count = 0;
    domid_t next = arg->first_domain;
    struct domain *d;
    while (count < arg->max_domains && (d = domain_get_next(next))) {
        struct xen_domctl_getdomaininfo info;
        fill_info(d, &info);
        next = d->id + 1;
        domain_put(d);
        if (guest_write_element(GUEST_ADDR(arg->buffer), count, &info, sizeof(info))) {
            return -EFAULT;
        }
        count++;
        irq_window(false);
    }
    arg->num_domains = count;
    return 0;
}

/* ---- life ---- */

long domctl_createdomain(struct xen_domctl *op)
{
    const struct xen_domctl_createdomain *c = &op->u.createdomain;
    unsigned version = XEN_DOMCTL_GRANT_version(c->grant_opts);
    if (c->flags || c->iommu_opts || c->vmtrace_size || c->cpupool_id || c->arch.emulation_flags ||
        (c->arch.misc_flags & ~XEN_X86_MSR_RELAXED) ||
        (c->grant_opts & ~XEN_DOMCTL_GRANT_version_mask) || version == 0 ||
        version > GRANT_VERSION_MAX || c->max_evtchn_port == 0 ||
        c->max_grant_frames > MAX_GRANT_FRAMES || c->max_maptrack_frames > MAX_MAPTRACK_FRAMES) {
        return -EINVAL;
    }
    /* ABI: negative limits mean the hypervisor's own; without sign they are beyond these. */
    struct domain_limits limits = {
        .max_vcpus = c->max_vcpus,
        .max_evtchn_port = MIN(c->max_evtchn_port, MAX_EVTCHNS - 1u),
        .max_grant_frames = MIN((uint32_t)c->max_grant_frames, (uint32_t)MAX_GRANT_FRAMES),
        .max_maptrack_frames = MIN((uint32_t)c->max_maptrack_frames, (uint32_t)MAX_MAPTRACK_FRAMES),
    };
    bool any_id = op->domain == 0 || op->domain >= DOMID_FIRST_RESERVED;
    struct domain *d;
    long rc = domain_create(any_id ? DOMID_INVALID : op->domain, &limits, false, &d);
    if (rc) {
        return rc;
    }
    SPIN_GUARD(&d->life_lock);
    memcpy(d->handle, c->handle, sizeof(d->handle));
    op->domain = d->id;
    return 0;
}

long domctl_destroydomain(struct domain *d)
{
    return d->privileged ? -EINVAL : domain_kill(d);
}

/* ---- properties ---- */

long domctl_max_mem(struct domain *d, struct xen_domctl_max_mem *arg)
{
    SPIN_GUARD(&d->pages_lock);
    write_once(d->max_pages, arg->max_memkb >> (PAGE_SHIFT - 10));
    return 0;
}

long domctl_max_vcpus(struct domain *d, struct xen_domctl_max_vcpus *arg)
{
    return arg->max == d->max_vcpus ? 0 : -EINVAL;
}

long domctl_setdomainhandle(struct domain *d, struct xen_domctl_setdomainhandle *arg)
{
    SPIN_GUARD(&d->life_lock);
    memcpy(d->handle, arg->handle, sizeof(d->handle));
    return 0;
}

long domctl_setdebugging(struct domain *d unused, struct xen_domctl_setdebugging *arg)
{
    return arg->enable ? -EOPNOTSUPP : 0;
}

/* Devices stay with the control domain, which has them all: there is nothing to grant anybody else,
 * and nothing to revoke. */
long domctl_device_permission(struct domain *d, uint8_t *allow)
{
    return *allow && !d->privileged ? -EOPNOTSUPP : 0;
}

/* The control domain has everything as it is. */
static long device_permission(struct domain *d, struct device_range *ranges, uint64_t limit,
                              const struct device_range *want, bool allow)
{
    if (want->count == 0 || want->first >= limit || want->count > limit - want->first) {
        return -EINVAL;
    }
    if (d->privileged) {
        return 0;
    }
    struct device_range *free = NULL;
    SPIN_GUARD(&d->pages_lock);
    for (unsigned i = 0; i < DEVICE_RANGES; i++) {
        if (ranges[i].first == want->first && ranges[i].count == want->count) {
            ranges[i].count = allow ? want->count : 0;
            return 0;
        }
        free = ranges[i].count == 0 ? &ranges[i] : free;
    }
    if (allow && free) {
        *free = *want;
    }
    return allow && !free ? -ENOSPC : 0;
}

long domctl_iomem_permission(struct domain *d, struct xen_domctl_iomem_permission *arg)
{
    const struct device_range want = {arg->first_mfn, arg->nr_mfns};
    long rc = device_permission(d, d->pv.mmio, 1UL << (52 - PAGE_SHIFT), &want, arg->allow_access);
    /* ABI: Xen leaves mapped what had been mapped. */
    return rc || arg->allow_access || d->privileged ? rc : pv_device_unmap(d);
}

long domctl_ioport_permission(struct domain *d, struct xen_domctl_ioport_permission *arg)
{
    const struct device_range want = {arg->first_port, arg->nr_ports};
    return device_permission(d, d->pv.ports, 0x10000, &want, arg->allow_access);
}

bool domain_may_reach(struct domain *d, const struct device_range *ranges, uint64_t first,
                      uint64_t count)
{
    SPIN_GUARD(&d->pages_lock);
    for (unsigned i = 0; i < DEVICE_RANGES; i++) {
        uint64_t at = first - ranges[i].first; /* too large when it is below */
        if (at < ranges[i].count && count <= ranges[i].count - at) {
            return true;
        }
    }
    return false;
}

long domctl_hypercall_init(struct domain *d, struct xen_domctl_hypercall_init *arg)
{
    return hypercall_page_write(d, arg->gmfn) ? 0 : -EACCES;
}

long domctl_settimeoffset(struct domain *d, struct xen_domctl_settimeoffset *arg)
{
    time_set_offset(d, arg->time_offset_seconds);
    return 0;
}

long domctl_set_address_size(struct domain *d unused, struct xen_domctl_address_size *arg)
{
    return arg->size == 64 ? 0 : -EINVAL;
}

long domctl_get_address_size(struct domain *d unused, struct xen_domctl_address_size *arg)
{
    arg->size = 64;
    return 0;
}

long domctl_gettscinfo(struct domain *d unused, struct xen_domctl_tsc_info *arg)
{
    *arg = (struct xen_domctl_tsc_info){
        .tsc_mode = TSC_MODE_DEFAULT,
        .gtsc_khz = (uint32_t)arch_facts.tsc.khz,
        .elapsed_nsec = (uint64_t)arch_now_ns(),
    };
    return 0;
}

long domctl_settscinfo(struct domain *d unused, struct xen_domctl_tsc_info *arg)
{
    uint32_t mode = arg->tsc_mode;
    return mode == TSC_MODE_DEFAULT || mode == TSC_MODE_NEVER_EMULATE ? 0 : -EOPNOTSUPP;
}

/* ---- frames ---- */

static uint64_t frame_info(const struct domain *d, mfn_t mfn)
{
    struct frame *f = frame_get_from_mfn(mfn, d);
    if (!f) {
        return XEN_DOMCTL_PFINFO_XTAB;
    }
    uint32_t type = read_once(f->type), info = XEN_DOMCTL_PFINFO_NOTAB;
    if ((type & TYPE_COUNT_MASK) && (type & TYPE_MASK) >= TYPE_L1 &&
        (type & TYPE_MASK) <= TYPE_L4) {
        info = (type >> TYPE_SHIFT & 7) << XEN_DOMCTL_PFINFO_LTAB_SHIFT |
               (type & TYPE_PINNED ? XEN_DOMCTL_PFINFO_LPINTAB : 0);
    }
    frame_put(f);
    return info;
}

long domctl_getpageframeinfo3(struct domain *d, struct xen_domctl_getpageframeinfo3 *arg)
{
    if (arg->num > FRAME_INFO_MAX) {
        return -E2BIG;
    }
    for (uint64_t i = 0; i < arg->num; i++) {
        uint64_t word;
        if (guest_read_element(&word, GUEST_ADDR(arg->array), i, sizeof(word))) {
            return -EFAULT;
        }
        word = frame_info(d, word);
        if (guest_write_element(GUEST_ADDR(arg->array), i, &word, sizeof(word))) {
            return -EFAULT;
        }
        if (i % 256 == 255) {
            irq_window(false);
        }
    }
    return 0;
}

long domctl_write_pages(struct domain *d, uint8_t (*pad)[128])
{
    const struct pv_domctl_write_pages *arg = (const void *)pad;
    if (arg->count > PV_WRITE_PAGES_MAX) {
        return -E2BIG;
    }
    int rc = 0;
    for (uint64_t i = 0; i < arg->count && rc == 0; i++) {
        uint64_t mfn;
        if (guest_read_element(&mfn, GUEST_ADDR(arg->frames), i, sizeof(mfn))) {
            return -EFAULT;
        }
        /* SAFETY: the references keep the frame d's, and no table, while it is written. */
        struct frame *f = frame_get_writable_mfn(mfn, d);
        if (!f) {
            return -EINVAL;
        }
        rc = guest_read_element(frame_to_virt(f), GUEST_ADDR(arg->data), i, PAGE_SIZE);
        frame_put_writable_and_ref(f);
        if (i % 32 == 31) {
            irq_window(false);
        }
    }
    return rc;
}

/* ---- bitmaps of nodes and CPUs ---- */

static cpumask_t first_bits(unsigned count)
{
    cpumask_t mask = {{0}};
    for (unsigned i = 0; i < count; i++) {
        mask.word[i / 64] |= 1UL << i % 64;
    }
    return mask;
}

/* Those of the first `bits` that are also in `other`. */
static cpumask_t common_bits(unsigned bits, const cpumask_t *other)
{
    cpumask_t mask = first_bits(bits);
    for (unsigned i = 0; i < ARRAY_SIZE(mask.word); i++) {
        mask.word[i] &= other->word[i];
    }
    return mask;
}

/* Write online CPUs or nodes to a guest's bitmap, cut or padded with zeros. */
static int write_bitmap(const struct xenctl_bitmap *map, const cpumask_t *mask)
{
    unsigned bits = MIN(map->nr_bits, MAX_PCPUS);
    cpumask_t cut = common_bits(bits, mask);
    return guest_write(GUEST_ADDR(map->bitmap), &cut, DIV_ROUND_UP(bits, 8));
}

/* The CPUs of a guest's bitmap that are online. */
static int read_cpumap(const struct xenctl_bitmap *map, cpumask_t *mask)
{
    unsigned bits = MIN(map->nr_bits, arch_facts.cpus_online);
    cpumask_t given = {{0}};
    int rc = guest_read(&given, GUEST_ADDR(map->bitmap), DIV_ROUND_UP(bits, 8));
    *mask = common_bits(bits, &given);
    return rc;
}

/* Memory has one node. */
long domctl_setnodeaffinity(struct domain *d unused, struct xen_domctl_nodeaffinity *arg)
{
    uint8_t first = 0;
    if (arg->nodemap.nr_bits && guest_read(&first, GUEST_ADDR(arg->nodemap.bitmap), 1)) {
        return -EFAULT;
    }
    return first & 1 ? 0 : -EINVAL;
}

long domctl_getnodeaffinity(struct domain *d unused, struct xen_domctl_nodeaffinity *arg)
{
    cpumask_t only = first_bits(1);
    return write_bitmap(&arg->nodemap, &only);
}

/* Soft affinity is a wish; it has no effect. ABI: setting answers with what is in effect. */
static long affinity(struct domain *d, const struct xen_domctl_vcpuaffinity *a, bool set)
{
    uint32_t both = XEN_VCPUAFFINITY_HARD | XEN_VCPUAFFINITY_SOFT;
    uint32_t known = both | (set ? XEN_VCPUAFFINITY_FORCE : 0);
    struct vcpu *v = domain_vcpu(d, a->vcpu);
    if (!v) {
        return -ESRCH;
    }
    if (!(a->flags & both) || (a->flags & ~known)) {
        return -EINVAL;
    }
    cpumask_t mask;
    int rc = 0;
    if (set && (a->flags & XEN_VCPUAFFINITY_HARD)) {
        rc = read_cpumap(&a->cpumap_hard, &mask) ?: sched_set_affinity(v, &mask);
    }
    mask = sched_affinity(v);
    if (rc == 0 && (a->flags & XEN_VCPUAFFINITY_HARD)) {
        rc = write_bitmap(&a->cpumap_hard, &mask);
    }
    if (rc == 0 && (a->flags & XEN_VCPUAFFINITY_SOFT)) {
        rc = write_bitmap(&a->cpumap_soft, &mask);
    }
    return rc;
}

long domctl_setvcpuaffinity(struct domain *d, struct xen_domctl_vcpuaffinity *arg)
{
    return affinity(d, arg, true);
}

long domctl_getvcpuaffinity(struct domain *d, struct xen_domctl_vcpuaffinity *arg)
{
    return affinity(d, arg, false);
}

/* ABI: pools are asked for one by one, each time for the first from an id on. */
long sysctl_cpupool_op(struct xen_sysctl_cpupool_op *arg)
{
    cpumask_t cpus = {{0}}; /* of none: all are in the pool */
    if (arg->op == XEN_SYSCTL_CPUPOOL_OP_INFO) {
        if (arg->cpupool_id != 0 && arg->cpupool_id != XEN_SYSCTL_CPUPOOL_PAR_ANY) {
            return -ENOENT;
        }
        arg->cpupool_id = 0;
        arg->sched_id = XEN_SCHEDULER_CREDIT2;
        arg->n_dom = read_once(domain_count);
        cpus = first_bits(arch_facts.cpus_online);
    } else if (arg->op != XEN_SYSCTL_CPUPOOL_OP_FREEINFO) {
        return -EOPNOTSUPP;
    }
    return write_bitmap(&arg->cpumap, &cpus);
}

/* ---- vCPUs ---- */

long domctl_setvcpucontext(struct domain *d, struct xen_domctl_vcpucontext *arg)
{
    struct vcpu *v = domain_vcpu(d, arg->vcpu);
    if (d == current_vcpu()->domain || !v || !GUEST_ADDR(arg->ctxt)) {
        return -EINVAL;
    }
    domain_pause_sync(d);
    long rc = vcpu_set_context(v, GUEST_ADDR(arg->ctxt), true);
    domain_unpause(d);
    return rc;
}

long domctl_getvcpucontext(struct domain *d, struct xen_domctl_vcpucontext *arg)
{
    struct vcpu *v = domain_vcpu(d, arg->vcpu);
    if (d == current_vcpu()->domain || !v) {
        return -EINVAL;
    }
    if (!v->initialised) {
        return -ENODATA;
    }
    struct vcpu_guest_context *c = hyp_alloc(sizeof(*c)); /* too large for the stack */
    if (!c) {
        return -ENOMEM;
    }
    domain_pause_sync(d);
    pv_context_get(v, c);
    domain_unpause(d);
    long rc = guest_write(GUEST_ADDR(arg->ctxt), c, sizeof(*c));
    hyp_free(c);
    return rc;
}

long domctl_getvcpuinfo(struct domain *d, struct xen_domctl_getvcpuinfo *arg)
{
    const struct vcpu *v = domain_vcpu(d, arg->vcpu);
    if (!v) {
        return -EINVAL;
    }
    uint32_t bits = read_once(v->sched.pause_bits);
    *arg = (struct xen_domctl_getvcpuinfo){
        .vcpu = v->id,
        .online = !(bits & PAUSE_DOWN),
        .blocked = (bits & PAUSE_BLOCKED) != 0,
        .running = sched_is_running(v),
        .cpu_time = (uint64_t)sched_used_ns(v),
        .cpu = read_once(v->sched.pcpu),
    };
    return 0;
}

long domctl_sendtrigger(struct domain *d, struct xen_domctl_sendtrigger *arg)
{
    struct vcpu *v = domain_vcpu(d, arg->vcpu);
    if (!v || arg->trigger != XEN_DOMCTL_SENDTRIGGER_NMI) {
        return v ? -ENOSYS : -EINVAL;
    }
    pv_nmi_raise(v);
    return 0;
}

long domctl_scheduler_op(struct domain *d, struct xen_domctl_scheduler_op *arg)
{
    struct xen_domctl_sched_credit2 *params = &arg->u.credit2;
    if (arg->sched_id != XEN_SCHEDULER_CREDIT2) {
        return -EINVAL;
    }
    switch (arg->cmd) {
    case XEN_DOMCTL_SCHEDOP_putinfo:
        if (params->cap > 100 * arch_facts.cpus_online) {
            return -EINVAL;
        }
        /* ABI: weight 0 leaves it as it is. */
        return sched_set_params(d, params->weight ?: d->sched.weight, params->cap);
    case XEN_DOMCTL_SCHEDOP_getinfo:
        params->weight = read_once(d->sched.weight);
        params->cap = read_once(d->sched.cap);
        return 0;
    default:
        return -EINVAL;
    }
}

/* ---- the envelope ---- */

long hc_domctl(struct hypercall *hc)
{
    struct xen_domctl op;
    struct domain *d = NULL;
    long rc = envelope_in(hc, &op, sizeof(op), XEN_DOMCTL_INTERFACE_VERSION);
    if (rc) {
        return rc;
    }
    switch (op.cmd) {
#define DOMCTL_WHOLE(nr, name, handler, doc)                                                       \
    case nr:                                                                                       \
        rc = handler(&op);                                                                         \
        break;
#define DOMCTL_VOID(nr, name, handler, doc)                                                        \
    case nr:                                                                                       \
        d = domain_get(op.domain);                                                                 \
        rc = d ? handler(d) : -ESRCH;                                                              \
        break;
#define DOMCTL(nr, name, member, handler, doc)                                                     \
    case nr:                                                                                       \
        d = domain_get(op.domain);                                                                 \
        rc = d ? handler(d, &op.u.member) : -ESRCH;                                                \
        break;
#include "pv-abi/ops/domctl.def"
    default:
        rc = -ENOSYS;
    }
    rc = envelope_out(hc, &op, sizeof(op), rc);
    if (d) {
        domain_put(d);
    }
    return rc;
}
