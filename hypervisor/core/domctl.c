// SPDX-License-Identifier: MIT
/*
 * XEN_DOMCTL_*: the control domain's operations on domains. The envelope is handled here, once:
 * caller, version, target, copy-out. Handlers check and shape arguments and call whoever owns the
 * state; they hold a reference of the target and no lock.
 */
#include "core/domctl.h"

#include "base/checked.h"
#include "base/string.h"
#include "core/frame_alloc.h"
#include "core/handlers.h"
#include "core/hooks.h"
#include "core/subop.h"
#include "core/time.h"

#define GRANT_VERSION_MAX 2u
#define FRAME_INFO_MAX 1024u
/* ABI: tsc_mode values: default, always and never emulated */
#define TSC_MODE_DEFAULT 0u
#define TSC_MODE_NEVER_EMULATE 2u

/* ---- describing a domain ---- */

struct vcpu *domctl_vcpu(struct domain *d, uint32_t id)
{
    return id < d->max_vcpus ? d->vcpu[clamp_index(id, MAX_VCPUS)] : NULL;
}

static void fill_vcpus(const struct domain *d, struct xen_domctl_getdomaininfo *info)
{
    bool blocked = true;
    for (unsigned i = 0; i < d->max_vcpus; i++) {
        const struct vcpu *v = read_once(d->vcpu[i]);
        if (!v) {
            continue;
        }
        uint32_t bits = read_once(v->sched.pause_bits);
        info->cpu_time += (uint64_t)sched_used_ns(v);
        if (bits & PAUSE_DOWN) {
            continue;
        }
        info->nr_online_vcpus++;
        if (!(bits & PAUSE_BLOCKED)) {
            blocked = false;
        }
        if (sched_is_running(v)) {
            info->flags |= XEN_DOMINF_running;
        }
    }
    if (blocked) {
        info->flags |= XEN_DOMINF_blocked;
    }
}

void domctl_fill_info(struct domain *d, struct xen_domctl_getdomaininfo *info)
{
    memset(info, 0, sizeof(*info));
    info->domain = d->id;
    spin_lock(&d->life_lock);
    if (d->state != DOM_ALIVE) {
        info->flags |= XEN_DOMINF_dying;
    }
    if (d->shut_down) {
        info->flags |= XEN_DOMINF_shutdown | (uint32_t)d->shutdown_code << XEN_DOMINF_shutdownshift;
    }
    if (d->control_pauses) {
        info->flags |= XEN_DOMINF_paused;
    }
    memcpy(info->handle, d->handle, sizeof(info->handle));
    fill_vcpus(d, info);
    spin_unlock(&d->life_lock);
    info->tot_pages = read_once(d->page_count);
    info->max_pages = read_once(d->max_pages);
    info->shared_info_frame = d->shared_frame ? frame_to_mfn(d->shared_frame) : INVALID_MFN;
    info->max_vcpu_id = d->max_vcpus ? d->max_vcpus - 1 : XEN_INVALID_MAX_VCPU_ID;
    info->gpaddr_bits = (uint8_t)arch_maddr_bits();
}

long domctl_getdomaininfo(struct hypercall *hc, struct domain *d, struct xen_domctl *op)
{
    (void)hc;
    domctl_fill_info(d, &op->u.getdomaininfo);
    op->domain = d->id;
    return 0;
}

/* ---- life ---- */

static long check_create(const struct xen_domctl_createdomain *c)
{
    unsigned version = XEN_DOMCTL_GRANT_version(c->grant_opts);
    if (c->flags || c->iommu_opts || c->vmtrace_size || c->cpupool_id || c->arch.emulation_flags ||
        (c->arch.misc_flags & ~XEN_X86_MSR_RELAXED) ||
        (c->grant_opts & ~XEN_DOMCTL_GRANT_version_mask) || version == 0 ||
        version > GRANT_VERSION_MAX) {
        return -EINVAL;
    }
    if (c->max_vcpus == 0 || c->max_vcpus > MAX_VCPUS || c->max_evtchn_port == 0 ||
        c->max_grant_frames > MAX_GRANT_FRAMES || c->max_maptrack_frames > MAX_MAPTRACK_FRAMES) {
        return -EINVAL;
    }
    return 0;
}

/* ABI: negative limits mean the hypervisor's own. */
static uint32_t limit_or_default(int32_t asked, uint32_t fallback)
{
    return asked < 0 ? fallback : (uint32_t)asked;
}

long domctl_createdomain(struct hypercall *hc, struct domain *d, struct xen_domctl *op)
{
    const struct xen_domctl_createdomain *c = &op->u.createdomain;
    (void)hc;
    long rc = check_create(c);
    if (rc) {
        return rc;
    }
    struct domain_limits limits = {
        .max_vcpus = c->max_vcpus,
        .max_evtchn_port = MIN(c->max_evtchn_port, MAX_EVTCHNS - 1u),
        .max_grant_frames = limit_or_default(c->max_grant_frames, MAX_GRANT_FRAMES),
        .max_maptrack_frames = limit_or_default(c->max_maptrack_frames, MAX_MAPTRACK_FRAMES),
    };
    bool any_id = op->domain == 0 || op->domain >= DOMID_FIRST_RESERVED;
    rc = domain_create(any_id ? DOMID_INVALID : op->domain, &limits, false, &d);
    if (rc) {
        return rc;
    }
    spin_lock(&d->life_lock);
    memcpy(d->handle, c->handle, sizeof(d->handle));
    spin_unlock(&d->life_lock);
    op->domain = d->id;
    return 0;
}

/* Nobody ends, stops or resumes the domain that asks. */
static bool is_caller(const struct hypercall *hc, const struct domain *d)
{
    return d == hc->d;
}

long domctl_destroydomain(struct hypercall *hc, struct domain *d, struct xen_domctl *op)
{
    (void)op;
    return is_caller(hc, d) || d->privileged ? -EINVAL : domain_kill(d);
}

long domctl_pausedomain(struct hypercall *hc, struct domain *d, struct xen_domctl *op)
{
    (void)op;
    return is_caller(hc, d) ? -EINVAL : domain_pause_by_control(d);
}

long domctl_unpausedomain(struct hypercall *hc, struct domain *d, struct xen_domctl *op)
{
    (void)op;
    return is_caller(hc, d) ? -EINVAL : domain_unpause_by_control(d);
}

long domctl_resumedomain(struct hypercall *hc, struct domain *d, struct xen_domctl *op)
{
    (void)op;
    if (is_caller(hc, d)) {
        return -EINVAL;
    }
    domain_resume(d);
    return 0;
}

/* ---- properties ---- */

long domctl_max_mem(struct hypercall *hc, struct domain *d, struct xen_domctl *op)
{
    (void)hc;
    spin_lock(&d->pages_lock);
    write_once(d->max_pages, op->u.max_mem.max_memkb >> (PAGE_SHIFT - 10));
    spin_unlock(&d->pages_lock);
    return 0;
}

long domctl_max_vcpus(struct hypercall *hc, struct domain *d, struct xen_domctl *op)
{
    (void)hc;
    return op->u.max_vcpus.max == d->max_vcpus ? 0 : -EINVAL;
}

long domctl_setdomainhandle(struct hypercall *hc, struct domain *d, struct xen_domctl *op)
{
    (void)hc;
    spin_lock(&d->life_lock);
    memcpy(d->handle, op->u.setdomainhandle.handle, sizeof(d->handle));
    spin_unlock(&d->life_lock);
    return 0;
}

long domctl_setdebugging(struct hypercall *hc, struct domain *d, struct xen_domctl *op)
{
    (void)hc;
    (void)d;
    return op->u.setdebugging.enable ? -EOPNOTSUPP : 0;
}

/* Devices stay with the control domain, which has them all: there is nothing to grant anybody else,
 * and nothing to revoke. */
static long device_permission(const struct domain *d, uint8_t allow)
{
    return allow && !d->privileged ? -EOPNOTSUPP : 0;
}

long domctl_irq_permission(struct hypercall *hc, struct domain *d, struct xen_domctl *op)
{
    (void)hc;
    return device_permission(d, op->u.irq_permission.allow_access);
}

long domctl_iomem_permission(struct hypercall *hc, struct domain *d, struct xen_domctl *op)
{
    (void)hc;
    return device_permission(d, op->u.iomem_permission.allow_access);
}

long domctl_ioport_permission(struct hypercall *hc, struct domain *d, struct xen_domctl *op)
{
    (void)hc;
    return device_permission(d, op->u.ioport_permission.allow_access);
}

long domctl_hypercall_init(struct hypercall *hc, struct domain *d, struct xen_domctl *op)
{
    (void)hc;
    struct frame *f = frame_get_writable_mfn(op->u.hypercall_init.gmfn, d);
    if (!f) {
        return -EACCES;
    }
    hypercall_page_fill(frame_to_virt(f));
    frame_put_writable_and_ref(f);
    return 0;
}

long domctl_settimeoffset(struct hypercall *hc, struct domain *d, struct xen_domctl *op)
{
    (void)hc;
    time_set_offset(d, op->u.settimeoffset.time_offset_seconds);
    return 0;
}

long domctl_set_address_size(struct hypercall *hc, struct domain *d, struct xen_domctl *op)
{
    (void)hc;
    (void)d;
    return op->u.address_size.size == 64 ? 0 : -EINVAL;
}

long domctl_get_address_size(struct hypercall *hc, struct domain *d, struct xen_domctl *op)
{
    (void)hc;
    (void)d;
    op->u.address_size.size = 64;
    return 0;
}

long domctl_gettscinfo(struct hypercall *hc, struct domain *d, struct xen_domctl *op)
{
    (void)hc;
    (void)d;
    op->u.tsc_info = (struct xen_domctl_tsc_info){
        .tsc_mode = TSC_MODE_DEFAULT,
        .gtsc_khz = (uint32_t)arch_tsc_scale()->khz,
        .elapsed_nsec = (uint64_t)arch_now_ns(),
    };
    return 0;
}

long domctl_settscinfo(struct hypercall *hc, struct domain *d, struct xen_domctl *op)
{
    (void)hc;
    (void)d;
    uint32_t mode = op->u.tsc_info.tsc_mode;
    return mode == TSC_MODE_DEFAULT || mode == TSC_MODE_NEVER_EMULATE ? 0 : -EOPNOTSUPP;
}

/* ---- frames ---- */

static uint64_t frame_info(const struct domain *d, mfn_t mfn)
{
    struct frame *f = frame_get_from_mfn(mfn, d);
    if (!f) {
        return XEN_DOMCTL_PFINFO_XTAB;
    }
    uint64_t type = read_once(f->type), info = XEN_DOMCTL_PFINFO_NOTAB;
    if ((type & TYPE_COUNT_MASK) && (type & TYPE_MASK) >= TYPE_L1 &&
        (type & TYPE_MASK) <= TYPE_L4) {
        info = (type >> TYPE_SHIFT & 7) << XEN_DOMCTL_PFINFO_LTAB_SHIFT;
        if (type & TYPE_PINNED) {
            info |= XEN_DOMCTL_PFINFO_LPINTAB;
        }
    }
    frame_put(f);
    return info;
}

long domctl_getpageframeinfo3(struct hypercall *hc, struct domain *d, struct xen_domctl *op)
{
    (void)hc;
    const struct xen_domctl_getpageframeinfo3 *q = &op->u.getpageframeinfo3;
    if (q->num > FRAME_INFO_MAX) {
        return -E2BIG;
    }
    for (uint64_t i = 0; i < q->num; i++) {
        uint64_t word;
        if (guest_read_element(&word, GUEST_ADDR(q->array), i, sizeof(word))) {
            return -EFAULT;
        }
        word = frame_info(d, word);
        if (guest_write_element(GUEST_ADDR(q->array), i, &word, sizeof(word))) {
            return -EFAULT;
        }
    }
    return 0;
}

/* Memory has one node. */
long domctl_setnodeaffinity(struct hypercall *hc, struct domain *d, struct xen_domctl *op)
{
    uint8_t first = 0;
    (void)hc;
    (void)d;
    const struct xenctl_bitmap *map = &op->u.nodeaffinity.nodemap;
    if (map->nr_bits && guest_read(&first, GUEST_ADDR(map->bitmap), 1)) {
        return -EFAULT;
    }
    return first & 1 ? 0 : -EINVAL;
}

long domctl_getnodeaffinity(struct hypercall *hc, struct domain *d, struct xen_domctl *op)
{
    (void)hc;
    (void)d;
    const struct xenctl_bitmap *map = &op->u.nodeaffinity.nodemap;
    for (uint32_t i = 0; i < DIV_ROUND_UP((uint64_t)map->nr_bits, 8) && i < MAX_PCPUS / 8; i++) {
        uint8_t byte = i == 0;
        if (guest_write_element(GUEST_ADDR(map->bitmap), i, &byte, 1)) {
            return -EFAULT;
        }
    }
    return 0;
}

/* ---- the envelope ---- */

static bool is_known(uint32_t cmd)
{
    switch (cmd) {
#define ENV(nr, name, handler, doc) case nr:
#include "pv-abi/ops/domctl.def"
#undef ENV
        return true;
    default:
        return false;
    }
}

static long dispatch(struct hypercall *hc, struct domain *d, struct xen_domctl *op)
{
    switch (op->cmd) {
#define ENV(nr, name, handler, doc)                                                                \
    case nr:                                                                                       \
        return handler(hc, d, op);
#include "pv-abi/ops/domctl.def"
#undef ENV
    default:
        return -ENOSYS;
    }
}

/* Target of the operation, referenced. ABI: getdomaininfo describes the first domain from the given
 * id on. */
static struct domain *find_target(const struct xen_domctl *op)
{
    return op->cmd == XEN_DOMCTL_getdomaininfo ? domain_get_next(op->domain)
                                               : domain_get(op->domain);
}

long hc_domctl(struct hypercall *hc)
{
    struct xen_domctl op;
    struct domain *d = NULL;
    if (!hc->d->privileged) {
        return -EPERM;
    }
    if (guest_read(&op, hc->arg[0], sizeof(op))) {
        return -EFAULT;
    }
    if (op.interface_version != XEN_DOMCTL_INTERFACE_VERSION) {
        return -EACCES;
    }
    if (!is_known(op.cmd)) {
        return -ENOSYS;
    }
    if (op.cmd != XEN_DOMCTL_createdomain) {
        d = find_target(&op);
        if (!d) {
            return -ESRCH;
        }
    }
    long rc = dispatch(hc, d, &op);
    if (rc >= 0 && guest_write(hc->arg[0], &op, sizeof(op))) {
        rc = -EFAULT;
    }
    if (d) {
        domain_put(d);
    }
    return rc;
}
