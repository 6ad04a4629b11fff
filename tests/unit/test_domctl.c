// SPDX-License-Identifier: MIT
/* core/domctl.c and domctl_vcpu.c: the control domain's operations as its tools issue them. */
#include <string.h>

/* The C library and the hypervisor both have a sched_yield(). */
#define sched_yield libc_sched_yield
#include <pthread.h>
#undef sched_yield
#include <poll.h>

#include "core/deferred.h"
#include "core/frame.h"
#include "suite.h"

#define CALL_DOMCTL 36

static struct domain *control;
static domid_t made; /* by the case, 0 none */

static void start(void)
{
    control = suite_control();
    made = 0;
    suite_enter(control->vcpu[0]);
}

static long raw(struct xen_domctl *op)
{
    vaddr_t va = host_guest_put(op, sizeof(*op));
    long rc = suite_call(CALL_DOMCTL, va, 0, 0);
    memcpy(op, host_guest_ptr(va), sizeof(*op));
    return rc;
}

static long domctl(uint32_t cmd, domid_t id, struct xen_domctl *op)
{
    op->cmd = cmd;
    op->interface_version = XEN_DOMCTL_INTERFACE_VERSION;
    op->domain = id;
    return raw(op);
}

static long plain(uint32_t cmd, domid_t id)
{
    struct xen_domctl op = {0};
    return domctl(cmd, id, &op);
}

static struct xen_domctl create_request(void)
{
    struct xen_domctl op = {.u.createdomain = {.handle = {1, 2, 3},
                                               .max_vcpus = 2,
                                               .max_evtchn_port = 1023,
                                               .max_grant_frames = -1,
                                               .max_maptrack_frames = -1,
                                               .grant_opts = 1}};
    return op;
}

static domid_t create(void)
{
    struct xen_domctl op = create_request();
    CU_ASSERT_EQUAL_FATAL(domctl(XEN_DOMCTL_createdomain, DOMID_FIRST_RESERVED, &op), 0);
    made = op.domain;
    return made;
}

static void finish(void)
{
    suite_enter(control->vcpu[0]);
    if (made) {
        CU_ASSERT_EQUAL(plain(XEN_DOMCTL_destroydomain, made), 0);
    }
    suite_enter(NULL);
    suite_destroy(control);
}

static struct domain *peek(domid_t id)
{
    struct domain *d = domain_get(id);
    CU_ASSERT_PTR_NOT_NULL_FATAL(d);
    domain_put(d);
    return d;
}

static void get_info(domid_t id, struct xen_domctl_getdomaininfo *info)
{
    struct xen_domctl op = {0};
    CU_ASSERT_EQUAL(domctl(XEN_DOMCTL_getdomaininfo, id, &op), 0);
    *info = op.u.getdomaininfo;
}

/* ---- envelope ---- */

static void test_envelope(void)
{
    static const uint32_t unknown[] = {0,  6,  7,  10, 23, 26, 29, 33,   37,
                                       38, 39, 49, 84, 85, 86, 87, 1000, 0xffffffff};
    start();
    struct xen_domctl op = {.cmd = XEN_DOMCTL_pausedomain, .domain = 9};
    op.interface_version = XEN_DOMCTL_INTERFACE_VERSION + 1;
    CU_ASSERT_EQUAL(raw(&op), -EACCES);
    op.interface_version = XEN_DOMCTL_INTERFACE_VERSION;
    CU_ASSERT_EQUAL(raw(&op), -ESRCH);
    for (unsigned i = 0; i < ARRAY_SIZE(unknown); i++) {
        CU_ASSERT_EQUAL(plain(unknown[i], 9), -ENOSYS);
    }
    CU_ASSERT_EQUAL(suite_call(CALL_DOMCTL, HOST_BAD_ADDR, 0, 0), -EFAULT);
    domid_t id = create();
    suite_enter(peek(id)->vcpu[0]);
    CU_ASSERT_EQUAL(plain(XEN_DOMCTL_getdomaininfo, id), -EPERM);
    op.interface_version = 0;
    CU_ASSERT_EQUAL(raw(&op), -EPERM);
    finish();
}

/* ---- life ---- */

static void test_createdomain(void)
{
    struct xen_domctl_getdomaininfo info;
    start();
    domid_t id = create();
    CU_ASSERT(id > 0 && id < DOMID_FIRST_RESERVED);
    get_info(id, &info);
    CU_ASSERT_EQUAL(info.domain, id);
    CU_ASSERT_EQUAL(info.flags & (XEN_DOMINF_paused | XEN_DOMINF_dying | XEN_DOMINF_shutdown),
                    XEN_DOMINF_paused);
    CU_ASSERT_EQUAL(info.max_vcpu_id, 1);
    CU_ASSERT_EQUAL(info.nr_online_vcpus, 0);
    CU_ASSERT_EQUAL(info.tot_pages, 0);
    CU_ASSERT_EQUAL(info.handle[2], 3);
    CU_ASSERT_EQUAL(info.shared_info_frame, frame_to_mfn(peek(id)->shared_frame));
    struct xen_domctl op = create_request();
    CU_ASSERT_EQUAL(domctl(XEN_DOMCTL_createdomain, id, &op), -EEXIST);
    finish();
}

static void test_createdomain__bad_requests(void)
{
    start();
    struct xen_domctl bad[12];
    for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
        bad[i] = create_request();
    }
    bad[0].u.createdomain.flags = XEN_DOMCTL_CDF_hvm;
    bad[1].u.createdomain.flags = 1u << 31;
    bad[2].u.createdomain.grant_opts = 0;
    bad[3].u.createdomain.grant_opts = 3;
    bad[4].u.createdomain.max_vcpus = 0;
    bad[5].u.createdomain.max_vcpus = MAX_VCPUS + 1;
    bad[6].u.createdomain.max_grant_frames = MAX_GRANT_FRAMES + 1;
    bad[7].u.createdomain.max_maptrack_frames = 0x7fffffff;
    bad[8].u.createdomain.arch.emulation_flags = 1;
    bad[9].u.createdomain.vmtrace_size = 4096;
    bad[10].u.createdomain.iommu_opts = 1;
    bad[11].u.createdomain.max_evtchn_port = 0;
    uint64_t free_before = frame_free_count();
    for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
        CU_ASSERT_EQUAL(domctl(XEN_DOMCTL_createdomain, 0, &bad[i]), -EINVAL);
    }
    /* Each allocation in turn fails, and leaves nothing behind. */
    long rc = -ENOMEM;
    for (unsigned n = 1; n < 50 && rc == -ENOMEM; n++) {
        struct xen_domctl op = create_request();
        host.fault_in_alloc = n;
        rc = domctl(XEN_DOMCTL_createdomain, 0, &op);
        bool reached = host.fault_in_alloc == 0;
        host.fault_in_alloc = 0;
        CU_ASSERT_EQUAL(rc, reached ? -ENOMEM : 0);
        if (rc == 0) {
            made = op.domain;
        } else {
            CU_ASSERT_EQUAL(frame_free_count(), free_before);
        }
    }
    CU_ASSERT_EQUAL(rc, 0);
    finish();
}

static void test_pause_and_unpause__counted(void)
{
    struct xen_domctl_getdomaininfo info;
    start();
    domid_t id = create();
    CU_ASSERT_EQUAL(plain(XEN_DOMCTL_pausedomain, id), 0);
    CU_ASSERT_EQUAL(plain(XEN_DOMCTL_unpausedomain, id), 0);
    get_info(id, &info);
    CU_ASSERT(info.flags & XEN_DOMINF_paused);
    CU_ASSERT_EQUAL(plain(XEN_DOMCTL_unpausedomain, id), 0);
    get_info(id, &info);
    CU_ASSERT(!(info.flags & XEN_DOMINF_paused));
    CU_ASSERT_EQUAL(plain(XEN_DOMCTL_unpausedomain, id), -EINVAL);
    finish();
}

static void test_nobody_ends_the_caller(void)
{
    static const uint32_t cmds[] = {XEN_DOMCTL_destroydomain,  XEN_DOMCTL_pausedomain,
                                    XEN_DOMCTL_unpausedomain,  XEN_DOMCTL_resumedomain,
                                    XEN_DOMCTL_setvcpucontext, XEN_DOMCTL_getvcpucontext};
    start();
    for (unsigned i = 0; i < ARRAY_SIZE(cmds); i++) {
        CU_ASSERT_EQUAL(plain(cmds[i], 0), -EINVAL);
        CU_ASSERT_EQUAL(plain(cmds[i], DOMID_SELF), -EINVAL);
    }
    CU_ASSERT_EQUAL(control->state, DOM_ALIVE);
    finish();
}

static void test_shutdown_and_resume(void)
{
    struct xen_domctl_getdomaininfo info;
    start();
    domid_t id = create();
    domain_shutdown(peek(id), SHUTDOWN_suspend);
    get_info(id, &info);
    CU_ASSERT(info.flags & XEN_DOMINF_shutdown);
    CU_ASSERT_EQUAL(info.flags >> XEN_DOMINF_shutdownshift & XEN_DOMINF_shutdownmask,
                    SHUTDOWN_suspend);
    CU_ASSERT_EQUAL(plain(XEN_DOMCTL_resumedomain, id), 0);
    get_info(id, &info);
    CU_ASSERT(!(info.flags & XEN_DOMINF_shutdown));
    finish();
}

static void test_destroydomain__memory_comes_back(void)
{
    start();
    uint64_t free_before = frame_free_count();
    domid_t id = create();
    struct domain *d = peek(id);
    d->max_pages = 100;
    for (unsigned i = 0; i < 100; i++) {
        CU_ASSERT_PTR_NOT_NULL(frame_alloc_domain(d, 0, 0));
    }
    CU_ASSERT_EQUAL(plain(XEN_DOMCTL_destroydomain, id), 0);
    made = 0;
    CU_ASSERT_EQUAL(frame_free_count(), free_before);
    CU_ASSERT_EQUAL(plain(XEN_DOMCTL_destroydomain, id), -ESRCH);
    finish();
}

/* ABI: the first domain from the id on; -ESRCH at the end. */
static void test_getdomaininfo__next(void)
{
    struct xen_domctl_getdomaininfo info;
    start();
    struct xen_domctl op = create_request();
    CU_ASSERT_EQUAL(domctl(XEN_DOMCTL_createdomain, 50, &op), 0);
    CU_ASSERT_EQUAL(op.domain, 50);
    made = 50;
    get_info(1, &info);
    CU_ASSERT_EQUAL(info.domain, 50);
    CU_ASSERT_EQUAL(plain(XEN_DOMCTL_getdomaininfo, 51), -ESRCH);
    finish();
}

/* ---- properties ---- */

static void test_properties(void)
{
    struct xen_domctl_getdomaininfo info;
    struct xen_domctl op = {0};
    start();
    domid_t id = create();
    op.u.max_mem.max_memkb = 4096;
    CU_ASSERT_EQUAL(domctl(XEN_DOMCTL_max_mem, id, &op), 0);
    op.u.setdomainhandle.handle[15] = 0x77;
    CU_ASSERT_EQUAL(domctl(XEN_DOMCTL_setdomainhandle, id, &op), 0);
    get_info(id, &info);
    CU_ASSERT_EQUAL(info.max_pages, 1024);
    CU_ASSERT_EQUAL(info.handle[15], 0x77);
    op.u.max_vcpus.max = 2;
    CU_ASSERT_EQUAL(domctl(XEN_DOMCTL_max_vcpus, id, &op), 0);
    op.u.max_vcpus.max = 3;
    CU_ASSERT_EQUAL(domctl(XEN_DOMCTL_max_vcpus, id, &op), -EINVAL);
    op.u.address_size.size = 64;
    CU_ASSERT_EQUAL(domctl(XEN_DOMCTL_set_address_size, id, &op), 0);
    op.u.address_size.size = 32;
    CU_ASSERT_EQUAL(domctl(XEN_DOMCTL_set_address_size, id, &op), -EINVAL);
    CU_ASSERT_EQUAL(domctl(XEN_DOMCTL_get_address_size, id, &op), 0);
    CU_ASSERT_EQUAL(op.u.address_size.size, 64);
    op.u.settimeoffset.time_offset_seconds = -3600;
    CU_ASSERT_EQUAL(domctl(XEN_DOMCTL_settimeoffset, id, &op), 0);
    CU_ASSERT_EQUAL(peek(id)->wallclock_offset_sec, -3600);
    CU_ASSERT_EQUAL(domctl(XEN_DOMCTL_gettscinfo, id, &op), 0);
    CU_ASSERT_EQUAL(op.u.tsc_info.gtsc_khz, 1000000);
    CU_ASSERT_EQUAL(domctl(XEN_DOMCTL_settscinfo, id, &op), 0);
    op.u.tsc_info.tsc_mode = 1;
    CU_ASSERT_EQUAL(domctl(XEN_DOMCTL_settscinfo, id, &op), -EOPNOTSUPP);
    finish();
}

/* Lines of interrupts are not given: that is refused, taking away succeeds. */
static void test_device_rights(void)
{
    start();
    domid_t id = create();
    for (uint8_t allow = 0; allow < 2; allow++) {
        struct xen_domctl op = {.u.irq_permission = {.pirq = 3, .allow_access = allow}};
        CU_ASSERT_EQUAL(domctl(XEN_DOMCTL_irq_permission, id, &op), allow ? -EOPNOTSUPP : 0);
        op.u.setdebugging.enable = allow;
        CU_ASSERT_EQUAL(domctl(XEN_DOMCTL_setdebugging, id, &op), allow ? -EOPNOTSUPP : 0);
    }
    finish();
}

static long iomem(domid_t id, uint64_t first, uint64_t count, uint8_t allow)
{
    struct xen_domctl op = {.u.iomem_permission = {first, count, allow}};
    return domctl(XEN_DOMCTL_iomem_permission, id, &op);
}

static long ioport(domid_t id, uint32_t first, uint32_t count, uint8_t allow)
{
    struct xen_domctl op = {.u.ioport_permission = {first, count, allow}};
    return domctl(XEN_DOMCTL_ioport_permission, id, &op);
}

/* Ranges of device memory and ports, each given and taken as a whole. */
static void test_device_ranges(void)
{
    start();
    domid_t id = create();
    struct domain *d = domain_get(id);
    CU_ASSERT_EQUAL(iomem(id, 0xfeb00, 0, 1), -EINVAL);
    CU_ASSERT_EQUAL(iomem(id, ~0UL, 1, 1), -EINVAL);
    CU_ASSERT_EQUAL(iomem(id, 0xfeb00, ~0UL, 1), -EINVAL);
    CU_ASSERT_EQUAL(ioport(id, 0xffff, 2, 1), -EINVAL);
    CU_ASSERT_EQUAL(iomem(id, 0xfeb00, 4, 0), 0); /* what it never had */
    CU_ASSERT_EQUAL(iomem(id, 0xfeb00, 4, 1), 0);
    CU_ASSERT_EQUAL(iomem(id, 0xfeb00, 4, 1), 0);
    CU_ASSERT(domain_may_reach(d, d->pv.mmio, 0xfeb00, 1));
    CU_ASSERT(domain_may_reach(d, d->pv.mmio, 0xfeb03, 1));
    CU_ASSERT(!domain_may_reach(d, d->pv.mmio, 0xfeb03, 2));
    CU_ASSERT(!domain_may_reach(d, d->pv.mmio, 0xfeb04, 1));
    CU_ASSERT(!domain_may_reach(d, d->pv.mmio, 0xfeaff, 1));
    CU_ASSERT(!domain_may_reach(d, d->pv.mmio, 0xfeb01, ~0UL));
    CU_ASSERT(!domain_may_reach(d, d->pv.ports, 0xfeb00, 1));
    /* Only what has been given can be taken, and then it is gone. */
    CU_ASSERT_EQUAL(iomem(id, 0xfeb00, 2, 0), 0);
    CU_ASSERT(domain_may_reach(d, d->pv.mmio, 0xfeb00, 1));
    CU_ASSERT_EQUAL(iomem(id, 0xfeb00, 4, 0), 0);
    CU_ASSERT(!domain_may_reach(d, d->pv.mmio, 0xfeb00, 1));
    for (unsigned i = 0; i < DEVICE_RANGES; i++) {
        CU_ASSERT_EQUAL(ioport(id, 0xc000 + i * 0x20, 0x20, 1), 0);
    }
    CU_ASSERT_EQUAL(ioport(id, 0xd000, 0x20, 1), -ENOSPC);
    CU_ASSERT_EQUAL(ioport(id, 0xc020, 0x20, 0), 0);
    CU_ASSERT_EQUAL(ioport(id, 0xd000, 0x20, 1), 0);
    CU_ASSERT(domain_may_reach(d, d->pv.ports, 0xd01f, 1));
    CU_ASSERT_EQUAL(iomem(DOMID_SELF, 0xa0, 1, 1), 0); /* the control domain has it anyway */
    domain_put(d);
    finish();
}

static void test_hypercall_init(void)
{
    struct xen_domctl op = {0};
    start();
    domid_t id = create();
    struct domain *d = peek(id);
    d->max_pages = 1;
    struct frame *f = frame_alloc_domain(d, 0, 0);
    CU_ASSERT_PTR_NOT_NULL_FATAL(f);
    op.u.hypercall_init.gmfn = frame_to_mfn(f);
    CU_ASSERT_EQUAL(domctl(XEN_DOMCTL_hypercall_init, id, &op), 0);
    CU_ASSERT_NOT_EQUAL(*(uint64_t *)frame_to_virt(f), 0);
    CU_ASSERT_EQUAL(frame_ref_count(f), 1);
    static const uint64_t bad[] = {0, 20, HOST_FRAMES, ~0UL};
    for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
        op.u.hypercall_init.gmfn = bad[i];
        CU_ASSERT_EQUAL(domctl(XEN_DOMCTL_hypercall_init, id, &op), -EACCES);
    }
    finish();
}

static void test_getpageframeinfo3(void)
{
    struct xen_domctl op = {0};
    start();
    domid_t id = create();
    struct domain *d = peek(id);
    d->max_pages = 2;
    struct frame *plain_frame = frame_alloc_domain(d, 0, 0), *f = frame_alloc_domain(d, 0, 0);
    CU_ASSERT_FATAL(plain_frame && f);
    uint64_t type = f->type;
    f->type = TYPE_L2 | TYPE_PINNED | TYPE_VALIDATED | 1;
    uint64_t list[4] = {frame_to_mfn(plain_frame), frame_to_mfn(f), 0, ~0UL};
    vaddr_t va = host_guest_put(list, sizeof(list));
    op.u.getpageframeinfo3.num = 4;
    op.u.getpageframeinfo3.array.p = (xen_pfn_t *)va;
    CU_ASSERT_EQUAL(domctl(XEN_DOMCTL_getpageframeinfo3, id, &op), 0);
    f->type = type;
    memcpy(list, host_guest_ptr(va), sizeof(list));
    CU_ASSERT_EQUAL(list[0], XEN_DOMCTL_PFINFO_NOTAB);
    CU_ASSERT_EQUAL(list[1], XEN_DOMCTL_PFINFO_L2TAB | XEN_DOMCTL_PFINFO_LPINTAB);
    CU_ASSERT_EQUAL(list[2], XEN_DOMCTL_PFINFO_XTAB);
    CU_ASSERT_EQUAL(list[3], XEN_DOMCTL_PFINFO_XTAB);
    op.u.getpageframeinfo3.num = 1025;
    CU_ASSERT_EQUAL(domctl(XEN_DOMCTL_getpageframeinfo3, id, &op), -E2BIG);
    op.u.getpageframeinfo3.num = 1;
    op.u.getpageframeinfo3.array.p = (xen_pfn_t *)HOST_BAD_ADDR;
    CU_ASSERT_EQUAL(domctl(XEN_DOMCTL_getpageframeinfo3, id, &op), -EFAULT);
    finish();
}

static void test_write_pages(void)
{
    struct xen_domctl op = {0};
    struct pv_domctl_write_pages *arg = (void *)&op.u;
    start();
    domid_t id = create();
    struct domain *d = peek(id);
    d->max_pages = 3;
    struct frame *f[3];
    for (unsigned i = 0; i < 3; i++) {
        f[i] = frame_alloc_domain(d, 0, 0);
        CU_ASSERT_PTR_NOT_NULL_FATAL(f[i]);
    }
    uint64_t mine = frame_to_mfn(current_vcpu()->domain->shared_frame);
    uint64_t list[3] = {frame_to_mfn(f[2]), frame_to_mfn(f[0]), frame_to_mfn(f[1])};
    static uint8_t pages[2 * PAGE_SIZE];
    memset(pages, 0x11, PAGE_SIZE);
    memset(pages + PAGE_SIZE, 0x22, PAGE_SIZE);
    arg->frames.p = (uint64_t *)host_guest_put(list, sizeof(list));
    arg->data.p = (uint8_t *)host_guest_put(pages, sizeof(pages));
    arg->count = 2;
    CU_ASSERT_EQUAL(domctl(PV_DOMCTL_write_pages, id, &op), 0);
    CU_ASSERT_EQUAL(memcmp(frame_to_virt(f[2]), pages, PAGE_SIZE), 0);
    CU_ASSERT_EQUAL(memcmp(frame_to_virt(f[0]), pages + PAGE_SIZE, PAGE_SIZE), 0);
    CU_ASSERT_EQUAL(*(uint8_t *)frame_to_virt(f[1]), 0);
    for (unsigned i = 0; i < 3; i++) {
        CU_ASSERT_EQUAL(f[i]->count, FRAME_ALLOCATED | 1);
        CU_ASSERT_EQUAL(f[i]->type & TYPE_COUNT_MASK, 0);
    }
    /* A page table, somebody else's frame, none at all: what was done before stays. */
    uint64_t type = f[0]->type;
    f[0]->type = TYPE_L1 | TYPE_VALIDATED | 1;
    memset(frame_to_virt(f[2]), 0, PAGE_SIZE);
    CU_ASSERT_EQUAL(domctl(PV_DOMCTL_write_pages, id, &op), -EINVAL);
    f[0]->type = type;
    CU_ASSERT_EQUAL(memcmp(frame_to_virt(f[2]), pages, PAGE_SIZE), 0);
    uint64_t wrong[] = {mine, 0, ~0UL};
    for (unsigned i = 0; i < ARRAY_SIZE(wrong); i++) {
        arg->frames.p = (uint64_t *)host_guest_put(&wrong[i], sizeof(wrong[i]));
        CU_ASSERT_EQUAL(domctl(PV_DOMCTL_write_pages, id, &op), -EINVAL);
    }
    arg->count = PV_WRITE_PAGES_MAX + 1;
    CU_ASSERT_EQUAL(domctl(PV_DOMCTL_write_pages, id, &op), -E2BIG);
    arg->count = 1;
    arg->frames.p = (uint64_t *)host_guest_put(list, sizeof(list));
    arg->data.p = (uint8_t *)HOST_BAD_ADDR;
    CU_ASSERT_EQUAL(domctl(PV_DOMCTL_write_pages, id, &op), -EFAULT);
    CU_ASSERT_EQUAL(f[2]->count, FRAME_ALLOCATED | 1);
    CU_ASSERT_EQUAL(f[2]->type & TYPE_COUNT_MASK, 0);
    arg->frames.p = (uint64_t *)HOST_BAD_ADDR;
    CU_ASSERT_EQUAL(domctl(PV_DOMCTL_write_pages, id, &op), -EFAULT);
    arg->count = 0;
    CU_ASSERT_EQUAL(domctl(PV_DOMCTL_write_pages, id, &op), 0);
    CU_ASSERT_EQUAL(domctl(PV_DOMCTL_write_pages, 77, &op), -ESRCH);
    finish();
}

/* ---- which domain has changed ---- */

/* Nothing is left of what earlier cases have changed. */
static void take_all(void)
{
    domid_t id;
    while (domain_take_changed(&id)) {
    }
}

static void expect_changed(domid_t id, bool exists, uint32_t flags)
{
    struct xen_domctl op = {0};
    struct pv_domctl_changed_domain *arg = (void *)&op.u;
    CU_ASSERT_EQUAL(domctl(PV_DOMCTL_changed_domain, 4711, &op), 0);
    CU_ASSERT_EQUAL(op.domain, id);
    CU_ASSERT_EQUAL(arg->exists, exists);
    CU_ASSERT_EQUAL(arg->flags & ~(uint32_t)(XEN_DOMINF_blocked | XEN_DOMINF_paused), flags);
}

#define STOPPED(code) (XEN_DOMINF_shutdown | (code) << XEN_DOMINF_shutdownshift)

static void test_changed_domain(void)
{
    start();
    take_all();
    domid_t id = create();
    CU_ASSERT_EQUAL(plain(PV_DOMCTL_changed_domain, id), -ENOENT); /* a birth is no news */
    domain_shutdown(peek(id), SHUTDOWN_reboot);
    domain_shutdown(peek(id), SHUTDOWN_poweroff); /* too late */
    expect_changed(id, true, STOPPED(SHUTDOWN_reboot));
    CU_ASSERT_EQUAL(plain(PV_DOMCTL_changed_domain, id), -ENOENT);
    /* Again after it was resumed; what is told is what it is when it is asked. */
    CU_ASSERT_EQUAL(plain(XEN_DOMCTL_resumedomain, id), 0);
    CU_ASSERT_EQUAL(plain(PV_DOMCTL_changed_domain, id), -ENOENT);
    domain_crash(peek(id), "as a test");
    expect_changed(id, true, STOPPED(SHUTDOWN_crash));
    CU_ASSERT_EQUAL(plain(XEN_DOMCTL_resumedomain, id), 0);
    domain_shutdown(peek(id), SHUTDOWN_poweroff);
    CU_ASSERT_EQUAL(plain(XEN_DOMCTL_resumedomain, id), 0);
    expect_changed(id, true, 0);
    CU_ASSERT_EQUAL(plain(XEN_DOMCTL_destroydomain, id), 0);
    made = 0;
    expect_changed(id, false, XEN_DOMINF_dying);
    CU_ASSERT_EQUAL(plain(PV_DOMCTL_changed_domain, id), -ENOENT);
    finish();
}

static void test_changed_domain__while_it_dies(void)
{
    start();
    take_all();
    struct domain *d = suite_domain(9, 1);
    for (unsigned i = 0; i < 2000; i++) {
        CU_ASSERT_PTR_NOT_NULL_FATAL(frame_alloc_domain(d, 0, 0));
    }
    deferred_raise(host_cpu, DEFER_CONSOLE);
    CU_ASSERT_EQUAL(domain_kill(d), -ERESTART);
    (void)deferred_take();
    expect_changed(9, true, XEN_DOMINF_dying);
    CU_ASSERT_EQUAL(plain(PV_DOMCTL_changed_domain, 9), -ENOENT);
    suite_destroy(d);
    expect_changed(9, false, XEN_DOMINF_dying);
    finish();
}

/* Ids at both ends of words and of the table; of a thousand in the same word none is lost. */
static void test_changed_domain__all_ids(void)
{
    static const domid_t ids[] = {1, 62, 63, 64, 65, 4095, 4096, 32704, DOMID_FIRST_RESERVED - 1};
    struct domain *d[ARRAY_SIZE(ids)];
    start();
    take_all();
    for (unsigned i = ARRAY_SIZE(ids); i-- > 0;) {
        d[i] = suite_domain(ids[i], 1);
        domain_shutdown(d[i], SHUTDOWN_poweroff);
    }
    /* One that changes when others have been taken comes in its place. */
    expect_changed(1, true, STOPPED(SHUTDOWN_poweroff));
    expect_changed(62, true, STOPPED(SHUTDOWN_poweroff));
    suite_destroy(d[1]);
    for (unsigned i = 1; i < ARRAY_SIZE(ids); i++) {
        expect_changed(ids[i], i > 1, i > 1 ? STOPPED(SHUTDOWN_poweroff) : XEN_DOMINF_dying);
    }
    CU_ASSERT_EQUAL(plain(PV_DOMCTL_changed_domain, 0), -ENOENT);
    for (unsigned i = 0; i < ARRAY_SIZE(ids); i++) {
        if (i != 1) {
            suite_destroy(d[i]);
        }
    }
    take_all();
    finish();
}

#define RACE_ROUNDS 3000
#define RACE_PATIENCE 10000 /* ms */
static unsigned race_round; /* what the other pcpu is to do, and has been told to have done */

/* Another pcpu: two domains of one word of the table stop, again and again. */
static void *stop_again_and_again(void *arg)
{
    struct domain *const *d = arg;
    host_cpu = 1;
    for (unsigned i = 1; i <= RACE_ROUNDS; i++) {
        while (__atomic_load_n(&race_round, __ATOMIC_ACQUIRE) < i) {
        }
        for (unsigned k = 0; k < 2; k++) {
            spin_lock(&d[k]->life_lock);
            d[k]->shut_down = false;
            spin_unlock(&d[k]->life_lock);
            domain_shutdown(d[k], SHUTDOWN_reboot);
        }
    }
    return NULL;
}

/* Whatever the moment at which one stops, who asks hears of it. */
static void test_changed_domain__race(void)
{
    static const struct domain_limits limits = {
        .max_vcpus = 1, .max_evtchn_port = 100, .max_grant_frames = 4, .max_maptrack_frames = 4};
    struct domain *d[2];
    pthread_t thread;
    bool lost = false;
    start();
    take_all();
    race_round = 0;
    for (unsigned i = 0; i < 2; i++) {
        CU_ASSERT_EQUAL_FATAL(domain_create((domid_t)(64 + i), &limits, false, &d[i]), 0);
    }
    CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, stop_again_and_again, d), 0);
    for (unsigned round = 1; round <= RACE_ROUNDS && !lost; round++) {
        unsigned seen = 0, waited = 0;
        __atomic_store_n(&race_round, round, __ATOMIC_RELEASE);
        for (uint64_t tries = 1; seen != 3 && waited < RACE_PATIENCE; tries++) {
            domid_t id;
            if (domain_take_changed(&id)) {
                seen |= 1u << (id - 64);
            } else if (tries % 100000 == 0) {
                poll(NULL, 0, 1);
                waited++;
            }
        }
        lost = seen != 3;
    }
    CU_ASSERT_FALSE(lost);
    __atomic_store_n(&race_round, RACE_ROUNDS, __ATOMIC_RELEASE);
    pthread_join(thread, NULL);
    suite_destroy(d[0]);
    suite_destroy(d[1]);
    take_all();
    finish();
}

static void test_changed_domain__refused(void)
{
    start();
    take_all();
    domid_t id = create();
    domain_shutdown(peek(id), SHUTDOWN_poweroff);
    /* Whoever may not ask takes nothing away. */
    suite_enter(peek(id)->vcpu[0]);
    CU_ASSERT_EQUAL(plain(PV_DOMCTL_changed_domain, id), -EPERM);
    suite_enter(control->vcpu[0]);
    struct xen_domctl op = {.cmd = PV_DOMCTL_changed_domain};
    CU_ASSERT_EQUAL(raw(&op), -EACCES);
    CU_ASSERT_EQUAL(suite_call(CALL_DOMCTL, HOST_BAD_ADDR, 0, 0), -EFAULT);
    expect_changed(id, true, STOPPED(SHUTDOWN_poweroff));
    finish();
}

static void test_nodeaffinity(void)
{
    uint8_t nodes[2] = {1, 0xff};
    struct xen_domctl op = {0};
    start();
    domid_t id = create();
    vaddr_t va = host_guest_put(nodes, sizeof(nodes));
    op.u.nodeaffinity.nodemap.bitmap.p = (uint8_t *)va;
    op.u.nodeaffinity.nodemap.nr_bits = 16;
    CU_ASSERT_EQUAL(domctl(XEN_DOMCTL_setnodeaffinity, id, &op), 0);
    CU_ASSERT_EQUAL(domctl(XEN_DOMCTL_getnodeaffinity, id, &op), 0);
    CU_ASSERT_EQUAL(memcmp(host_guest_ptr(va), "\1\0", 2), 0);
    op.u.nodeaffinity.nodemap.nr_bits = 0;
    CU_ASSERT_EQUAL(domctl(XEN_DOMCTL_setnodeaffinity, id, &op), -EINVAL);
    finish();
}

/* ---- vCPUs ---- */

static long context_call(uint32_t cmd, domid_t id, uint32_t vcpu, vaddr_t va)
{
    struct xen_domctl op = {.u.vcpucontext = {.vcpu = vcpu}};
    op.u.vcpucontext.ctxt.p = (void *)va;
    return domctl(cmd, id, &op);
}

static void test_vcpucontext__set_and_get(void)
{
    start();
    domid_t id = create();
    struct domain *d = peek(id);
    d->max_pages = 1;
    struct frame *l4 = frame_alloc_domain(d, 0, 0); /* an empty page table will do */
    CU_ASSERT_PTR_NOT_NULL_FATAL(l4);
    struct vcpu_guest_context c = {.flags = VGCF_in_kernel | VGCF_online};
    c.user_regs.rip = 0xffffffff81000000;
    c.user_regs.rsi = 0x1234;
    c.user_regs.cs = SEL_GUEST_CS64;
    c.user_regs.ss = SEL_GUEST_DS;
    c.user_regs.rflags = 0x202;
    c.ctrlreg[3] = frame_to_mfn(l4) << 12;
    vaddr_t va = host_guest_put(&c, sizeof(c)), out = host_guest_alloc(sizeof(c));
    CU_ASSERT_EQUAL(context_call(XEN_DOMCTL_getvcpucontext, id, 0, out), -ENODATA);
    CU_ASSERT_EQUAL(context_call(XEN_DOMCTL_setvcpucontext, id, 0, va), 0);
    CU_ASSERT(d->vcpu[0]->initialised && !(d->vcpu[0]->sched.pause_bits & PAUSE_DOWN));
    CU_ASSERT(d->vcpu[1]->sched.pause_bits & PAUSE_DOWN);
    CU_ASSERT_EQUAL(context_call(XEN_DOMCTL_getvcpucontext, id, 0, out), 0);
    struct vcpu_guest_context *got = host_guest_ptr(out);
    CU_ASSERT_EQUAL(got->user_regs.rip, c.user_regs.rip);
    CU_ASSERT_EQUAL(got->user_regs.rsi, 0x1234);
    CU_ASSERT_EQUAL(got->ctrlreg[3], c.ctrlreg[3]);
    CU_ASSERT(got->flags & VGCF_online);

    CU_ASSERT_EQUAL(context_call(XEN_DOMCTL_setvcpucontext, id, 2, va), -EINVAL);
    CU_ASSERT_EQUAL(context_call(XEN_DOMCTL_setvcpucontext, id, 0xffffffff, va), -EINVAL);
    CU_ASSERT_EQUAL(context_call(XEN_DOMCTL_setvcpucontext, id, 0, 0), -EINVAL);
    CU_ASSERT_EQUAL(context_call(XEN_DOMCTL_setvcpucontext, id, 0, HOST_BAD_ADDR), -EFAULT);
    CU_ASSERT_EQUAL(context_call(XEN_DOMCTL_getvcpucontext, id, 0, HOST_BAD_ADDR), -EFAULT);
    host.fault_in_alloc = 1;
    CU_ASSERT_EQUAL(context_call(XEN_DOMCTL_getvcpucontext, id, 0, out), -ENOMEM);
    /* Set by somebody else at the same moment. */
    d->vcpu[0]->context_busy = true;
    CU_ASSERT_EQUAL(context_call(XEN_DOMCTL_setvcpucontext, id, 0, va), -EBUSY);
    d->vcpu[0]->context_busy = false;
    finish();
}

static void test_vcpucontext__bad_ones_change_nothing(void)
{
    start();
    domid_t id = create();
    struct domain *d = peek(id);
    struct vcpu_guest_context c = {.flags = VGCF_in_kernel | VGCF_online};
    static const uint64_t cr3[] = {0, 20UL << 12, (uint64_t)HOST_FRAMES << 12, ~0UL};
    for (unsigned i = 0; i < ARRAY_SIZE(cr3); i++) {
        c.ctrlreg[3] = cr3[i];
        vaddr_t va = host_guest_put(&c, sizeof(c));
        CU_ASSERT(context_call(XEN_DOMCTL_setvcpucontext, id, 0, va) < 0);
        CU_ASSERT(!d->vcpu[0]->initialised && (d->vcpu[0]->sched.pause_bits & PAUSE_DOWN));
    }
    finish();
}

static void test_getvcpuinfo(void)
{
    struct xen_domctl op = {.u.getvcpuinfo.vcpu = 1};
    start();
    domid_t id = create();
    CU_ASSERT_EQUAL(domctl(XEN_DOMCTL_getvcpuinfo, id, &op), 0);
    CU_ASSERT(op.u.getvcpuinfo.vcpu == 1 && !op.u.getvcpuinfo.online && !op.u.getvcpuinfo.running);
    op.u.getvcpuinfo.vcpu = 0;
    CU_ASSERT_EQUAL(domctl(XEN_DOMCTL_getvcpuinfo, 0, &op), 0);
    CU_ASSERT(op.u.getvcpuinfo.online);
    op.u.getvcpuinfo.vcpu = 2;
    CU_ASSERT_EQUAL(domctl(XEN_DOMCTL_getvcpuinfo, id, &op), -EINVAL);
    finish();
}

static void test_affinity(void)
{
    uint8_t cpus[2] = {0xff, 0xff};
    start();
    domid_t id = create();
    vaddr_t va = host_guest_put(cpus, sizeof(cpus));
    struct xen_domctl op = {.u.vcpuaffinity = {.flags = XEN_VCPUAFFINITY_HARD}};
    struct xen_domctl_vcpuaffinity *a = &op.u.vcpuaffinity;
    a->cpumap_hard.bitmap.p = (uint8_t *)va;
    a->cpumap_hard.nr_bits = 16;
    CU_ASSERT_EQUAL(domctl(XEN_DOMCTL_setvcpuaffinity, id, &op), 0);
    CU_ASSERT_EQUAL(memcmp(host_guest_ptr(va), "\3\0", 2), 0); /* two CPUs are online */
    CU_ASSERT_EQUAL(domctl(XEN_DOMCTL_getvcpuaffinity, id, &op), 0);
    *(uint8_t *)host_guest_ptr(va) = 0xfc; /* none that is there */
    CU_ASSERT_EQUAL(domctl(XEN_DOMCTL_setvcpuaffinity, id, &op), -EINVAL);
    CU_ASSERT_EQUAL(domctl(XEN_DOMCTL_getvcpuaffinity, id, &op), 0);
    CU_ASSERT_EQUAL(memcmp(host_guest_ptr(va), "\3\0", 2), 0); /* nothing has changed */
    *(uint8_t *)host_guest_ptr(va) = 0x82;                     /* one that is, one that is not */
    CU_ASSERT_EQUAL(domctl(XEN_DOMCTL_setvcpuaffinity, id, &op), 0);
    CU_ASSERT_EQUAL(memcmp(host_guest_ptr(va), "\2\0", 2), 0);
    CU_ASSERT_EQUAL(peek(id)->vcpu[0]->sched.pcpu, 1);
    *(uint8_t *)host_guest_ptr(va) = 0xff;
    a->cpumap_hard.nr_bits = 1; /* no more than that is read, and written */
    CU_ASSERT_EQUAL(domctl(XEN_DOMCTL_setvcpuaffinity, id, &op), 0);
    CU_ASSERT_EQUAL(memcmp(host_guest_ptr(va), "\1\0", 2), 0);
    CU_ASSERT_EQUAL(peek(id)->vcpu[0]->sched.pcpu, 0);
    a->flags = XEN_VCPUAFFINITY_SOFT;
    a->cpumap_soft = a->cpumap_hard;
    *(uint8_t *)host_guest_ptr(va) = 0;
    CU_ASSERT_EQUAL(domctl(XEN_DOMCTL_setvcpuaffinity, id, &op), 0);
    CU_ASSERT_EQUAL(memcmp(host_guest_ptr(va), "\1\0", 2), 0); /* soft is no choice: the hard one */
    a->flags = 0;
    CU_ASSERT_EQUAL(domctl(XEN_DOMCTL_setvcpuaffinity, id, &op), -EINVAL);
    CU_ASSERT_EQUAL(domctl(XEN_DOMCTL_getvcpuaffinity, id, &op), -EINVAL);
    a->flags = XEN_VCPUAFFINITY_HARD;
    a->vcpu = 5;
    CU_ASSERT_EQUAL(domctl(XEN_DOMCTL_setvcpuaffinity, id, &op), -ESRCH);
    a->vcpu = 0;
    a->cpumap_hard.bitmap.p = (uint8_t *)HOST_BAD_ADDR;
    CU_ASSERT_EQUAL(domctl(XEN_DOMCTL_getvcpuaffinity, id, &op), -EFAULT);
    finish();
}

static void test_scheduler_op(void)
{
    struct xen_domctl op = {.u.scheduler_op = {.sched_id = XEN_SCHEDULER_CREDIT2,
                                               .cmd = XEN_DOMCTL_SCHEDOP_putinfo,
                                               .u.credit2 = {.weight = 512, .cap = 50}}};
    start();
    domid_t id = create();
    CU_ASSERT_EQUAL(domctl(XEN_DOMCTL_scheduler_op, id, &op), 0);
    CU_ASSERT_EQUAL(peek(id)->sched.weight, 512);
    op.u.scheduler_op.u.credit2.weight = 0; /* leave it */
    CU_ASSERT_EQUAL(domctl(XEN_DOMCTL_scheduler_op, id, &op), 0);
    op.u.scheduler_op.cmd = XEN_DOMCTL_SCHEDOP_getinfo;
    CU_ASSERT_EQUAL(domctl(XEN_DOMCTL_scheduler_op, id, &op), 0);
    CU_ASSERT(op.u.scheduler_op.u.credit2.weight == 512 && op.u.scheduler_op.u.credit2.cap == 50);
    op.u.scheduler_op.cmd = XEN_DOMCTL_SCHEDOP_putinfo;
    op.u.scheduler_op.u.credit2.cap = 201; /* more than two CPUs give */
    CU_ASSERT_EQUAL(domctl(XEN_DOMCTL_scheduler_op, id, &op), -EINVAL);
    op.u.scheduler_op.cmd = XEN_DOMCTL_SCHEDOP_putvcpuinfo;
    CU_ASSERT_EQUAL(domctl(XEN_DOMCTL_scheduler_op, id, &op), -EINVAL);
    op.u.scheduler_op.sched_id = XEN_SCHEDULER_CREDIT;
    CU_ASSERT_EQUAL(domctl(XEN_DOMCTL_scheduler_op, id, &op), -EINVAL);
    finish();
}

static void test_sendtrigger(void)
{
    struct xen_domctl op = {.u.sendtrigger = {.trigger = XEN_DOMCTL_SENDTRIGGER_NMI}};
    start();
    domid_t id = create();
    CU_ASSERT_EQUAL(domctl(XEN_DOMCTL_sendtrigger, id, &op), 0);
    CU_ASSERT(peek(id)->vcpu[0]->pv.nmi_pending);
    op.u.sendtrigger.vcpu = 9;
    CU_ASSERT_EQUAL(domctl(XEN_DOMCTL_sendtrigger, id, &op), -EINVAL);
    op.u.sendtrigger = (struct xen_domctl_sendtrigger){XEN_DOMCTL_SENDTRIGGER_POWER, 0};
    CU_ASSERT_EQUAL(domctl(XEN_DOMCTL_sendtrigger, id, &op), -ENOSYS);
    finish();
}

int main(void)
{
    static const struct suite_case cases[] = {
        CASE(test_envelope),
        CASE(test_createdomain),
        CASE(test_createdomain__bad_requests),
        CASE(test_pause_and_unpause__counted),
        CASE(test_nobody_ends_the_caller),
        CASE(test_shutdown_and_resume),
        CASE(test_destroydomain__memory_comes_back),
        CASE(test_getdomaininfo__next),
        CASE(test_properties),
        CASE(test_device_rights),
        CASE(test_device_ranges),
        CASE(test_hypercall_init),
        CASE(test_getpageframeinfo3),
        CASE(test_write_pages),
        CASE(test_changed_domain),
        CASE(test_changed_domain__while_it_dies),
        CASE(test_changed_domain__all_ids),
        CASE(test_changed_domain__race),
        CASE(test_changed_domain__refused),
        CASE(test_nodeaffinity),
        CASE(test_vcpucontext__set_and_get),
        CASE(test_vcpucontext__bad_ones_change_nothing),
        CASE(test_getvcpuinfo),
        CASE(test_affinity),
        CASE(test_scheduler_op),
        CASE(test_sendtrigger),
    };
    return SUITE("domctl", 2, cases);
}
