// SPDX-License-Identifier: MIT
/* core/sysctl.c and core/platform_op.c: figures for tools, and what a control kernel sets. */
#include <string.h>

#include "base/log.h"
#include "core/frame.h"
#include "suite.h"

#define CALL_PLATFORM 7
#define CALL_SYSCTL 35

static struct domain *control, *guest;

static void start(void)
{
    control = suite_control();
    guest = suite_domain(3, 1);
    suite_enter(control->vcpu[0]);
}

static void finish(void)
{
    suite_enter(NULL);
    suite_destroy(guest);
    suite_destroy(control);
}

static long sysctl(uint32_t cmd, struct xen_sysctl *op)
{
    op->cmd = cmd;
    op->interface_version = XEN_SYSCTL_INTERFACE_VERSION;
    vaddr_t va = host_guest_put(op, sizeof(*op));
    long rc = suite_call(CALL_SYSCTL, va, 0, 0);
    memcpy(op, host_guest_ptr(va), sizeof(*op));
    return rc;
}

static long platform(uint32_t cmd, struct xen_platform_op *op)
{
    op->cmd = cmd;
    op->interface_version = XENPF_INTERFACE_VERSION;
    vaddr_t va = host_guest_put(op, sizeof(*op));
    long rc = suite_call(CALL_PLATFORM, va, 0, 0);
    memcpy(op, host_guest_ptr(va), sizeof(*op));
    return rc;
}

static void test_sysctl_envelope(void)
{
    static const uint32_t unknown[] = {0, 2, 5, 10, 11, 12, 14, 21, 23, 27, 28, 1000};
    struct xen_sysctl op = {.cmd = XEN_SYSCTL_sched_id};
    start();
    CU_ASSERT_EQUAL(suite_call(CALL_SYSCTL, host_guest_put(&op, sizeof(op)), 0, 0), -EACCES);
    CU_ASSERT_EQUAL(suite_call(CALL_SYSCTL, HOST_BAD_ADDR, 0, 0), -EFAULT);
    for (unsigned i = 0; i < ARRAY_SIZE(unknown); i++) {
        CU_ASSERT_EQUAL(sysctl(unknown[i], &op), -ENOSYS);
    }
    suite_enter(guest->vcpu[0]);
    CU_ASSERT_EQUAL(sysctl(XEN_SYSCTL_sched_id, &op), -EPERM);
    finish();
}

static void test_sysctl_physinfo(void)
{
    struct xen_sysctl op = {0};
    start();
    CU_ASSERT_EQUAL(sysctl(XEN_SYSCTL_physinfo, &op), 0);
    const struct xen_sysctl_physinfo *p = &op.u.physinfo;
    CU_ASSERT(p->nr_cpus == 2 && p->max_cpu_id == 1 && p->nr_nodes == 1);
    CU_ASSERT_EQUAL(p->cpu_khz, 1000000);
    CU_ASSERT_EQUAL(p->total_pages, frame_total_count());
    CU_ASSERT_EQUAL(p->free_pages, frame_free_count());
    CU_ASSERT_EQUAL(p->capabilities, XEN_SYSCTL_PHYSCAP_pv | XEN_SYSCTL_PHYSCAP_gnttab_v1);
    CU_ASSERT_EQUAL(p->scrub_pages + p->outstanding_pages, 0);
    CU_ASSERT_EQUAL(sysctl(XEN_SYSCTL_sched_id, &op), 0);
    CU_ASSERT_EQUAL(op.u.sched_id.sched_id, XEN_SCHEDULER_CREDIT2);
    CU_ASSERT_EQUAL(sysctl(XEN_SYSCTL_get_cpu_levelling_caps, &op), 0);
    CU_ASSERT_EQUAL(op.u.cpu_levelling_caps.caps, 0);
    finish();
}

static void test_sysctl_getdomaininfolist(void)
{
    struct xen_sysctl op = {.u.getdomaininfolist = {.max_domains = 8}};
    start();
    vaddr_t va = host_guest_alloc(8 * sizeof(struct xen_domctl_getdomaininfo));
    struct xen_domctl_getdomaininfo *info = host_guest_ptr(va);
    op.u.getdomaininfolist.buffer.p = (void *)va;
    CU_ASSERT_EQUAL(sysctl(XEN_SYSCTL_getdomaininfolist, &op), 0);
    CU_ASSERT_EQUAL(op.u.getdomaininfolist.num_domains, 2);
    CU_ASSERT(info[0].domain == 0 && info[1].domain == 3);
    op.u.getdomaininfolist.first_domain = 1;
    CU_ASSERT_EQUAL(sysctl(XEN_SYSCTL_getdomaininfolist, &op), 0);
    CU_ASSERT(op.u.getdomaininfolist.num_domains == 1 && info[0].domain == 3);
    op.u.getdomaininfolist.first_domain = DOMID_FIRST_RESERVED;
    CU_ASSERT_EQUAL(sysctl(XEN_SYSCTL_getdomaininfolist, &op), 0);
    CU_ASSERT_EQUAL(op.u.getdomaininfolist.num_domains, 0);
    op.u.getdomaininfolist.first_domain = 0;
    op.u.getdomaininfolist.max_domains = 1;
    CU_ASSERT_EQUAL(sysctl(XEN_SYSCTL_getdomaininfolist, &op), 0);
    CU_ASSERT_EQUAL(op.u.getdomaininfolist.num_domains, 1);
    op.u.getdomaininfolist.buffer.p = (void *)HOST_BAD_ADDR;
    CU_ASSERT_EQUAL(sysctl(XEN_SYSCTL_getdomaininfolist, &op), -EFAULT);
    finish();
}

static uint64_t account_sum(const struct pv_vcpu_account *a)
{
    return a->used_ns + a->ready_ns + a->wait_ns + a->offline_ns + a->system_ns;
}

/* All records from where *arg says, each call with room for `room` and possibly ending early. */
static unsigned all_accounts(struct xen_sysctl *op, unsigned room, struct pv_vcpu_account *all)
{
    struct pv_sysctl_accounting *arg = (struct pv_sysctl_accounting *)&op->u;
    unsigned n = 0;
    do {
        arg->count = room;
        CU_ASSERT_EQUAL_FATAL(sysctl(PV_SYSCTL_accounting, op), 0);
        CU_ASSERT_FATAL(arg->count <= room && n + arg->count <= 8);
        memcpy(&all[n], host_guest_ptr((vaddr_t)arg->buffer.p), arg->count * sizeof(*all));
        n += arg->count;
    } while (arg->domid != PV_ACCOUNTING_END);
    return n;
}

static void test_sysctl_accounting(void)
{
    start();
    struct domain *wide = suite_domain(5, 3);
    vaddr_t va = host_guest_alloc(8 * sizeof(struct pv_vcpu_account));
    struct pv_vcpu_account a[8];
    struct xen_sysctl op = {0};
    struct pv_sysctl_accounting *arg = (struct pv_sysctl_accounting *)&op.u;
    arg->buffer.p = (void *)va;
    CU_ASSERT_EQUAL(all_accounts(&op, 8, a), 6);
    CU_ASSERT_EQUAL(arg->now_ns, (uint64_t)host.now);
    CU_ASSERT(a[0].domid == 0 && a[2].domid == 3 && a[3].domid == 5 && a[5].vcpu == 2);
    CU_ASSERT(a[2].weight == 256 && a[2].cap == 0);
    CU_ASSERT(!(a[3].flags & PV_ACCOUNT_DOWN) && (a[4].flags & PV_ACCOUNT_DOWN));
    uint64_t before = account_sum(&a[5]);
    host_advance(NS_PER_MS);
    /* In pieces, which may end within a domain. */
    *arg = (struct pv_sysctl_accounting){.buffer = arg->buffer};
    CU_ASSERT_EQUAL(all_accounts(&op, 2, a), 6);
    CU_ASSERT(a[5].domid == 5 && a[5].vcpu == 2 && a[5].offline_ns >= (uint64_t)NS_PER_MS);
    CU_ASSERT_EQUAL(account_sum(&a[5]) - before, (uint64_t)NS_PER_MS);
    *arg = (struct pv_sysctl_accounting){.domid = 5, .vcpu = 2, .buffer = arg->buffer};
    CU_ASSERT(all_accounts(&op, 8, a) == 1 && a[0].vcpu == 2);
    *arg = (struct pv_sysctl_accounting){.domid = 5, .vcpu = 9, .buffer = arg->buffer};
    CU_ASSERT_EQUAL(all_accounts(&op, 8, a), 0);
    *arg = (struct pv_sysctl_accounting){.buffer = arg->buffer};
    CU_ASSERT_EQUAL(sysctl(PV_SYSCTL_accounting, &op), 0);
    CU_ASSERT_EQUAL(arg->count, 0);
    arg->buffer.p = (void *)HOST_BAD_ADDR;
    arg->count = 1;
    CU_ASSERT_EQUAL(sysctl(PV_SYSCTL_accounting, &op), -EFAULT);
    suite_enter(guest->vcpu[0]);
    CU_ASSERT_EQUAL(sysctl(PV_SYSCTL_accounting, &op), -EPERM);
    suite_enter(NULL);
    suite_destroy(wide);
    finish();
}

static void test_sysctl_scheduler_op(void)
{
    struct xen_sysctl op = {
        .u.scheduler_op = {.sched_id = XEN_SCHEDULER_CREDIT2, .cmd = XEN_SYSCTL_SCHEDOP_getinfo}};
    struct xen_sysctl_scheduler_op *arg = &op.u.scheduler_op;
    unsigned *us = &arg->u.sched_credit2.ratelimit_us;
    static const unsigned good[] = {100, 10000, 500}, bad[] = {0, 99, 10001, UINT32_MAX};
    start();
    CU_ASSERT_EQUAL(sysctl(XEN_SYSCTL_scheduler_op, &op), 0);
    CU_ASSERT_EQUAL(*us, 2000);
    for (unsigned i = 0; i < ARRAY_SIZE(good); i++) {
        *us = good[i];
        arg->cmd = XEN_SYSCTL_SCHEDOP_putinfo;
        CU_ASSERT_EQUAL(sysctl(XEN_SYSCTL_scheduler_op, &op), 0);
        CU_ASSERT_EQUAL(sched_min_run(), good[i] * NS_PER_US);
    }
    for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
        *us = bad[i];
        CU_ASSERT_EQUAL(sysctl(XEN_SYSCTL_scheduler_op, &op), -EINVAL);
    }
    CU_ASSERT_EQUAL(sched_min_run(), 500 * NS_PER_US);
    arg->cmd = 7;
    CU_ASSERT_EQUAL(sysctl(XEN_SYSCTL_scheduler_op, &op), -EINVAL);
    arg->cmd = XEN_SYSCTL_SCHEDOP_getinfo;
    arg->cpupool_id = 1;
    CU_ASSERT_EQUAL(sysctl(XEN_SYSCTL_scheduler_op, &op), -EINVAL);
    arg->cpupool_id = 0;
    arg->sched_id = XEN_SCHEDULER_CREDIT;
    CU_ASSERT_EQUAL(sysctl(XEN_SYSCTL_scheduler_op, &op), -EINVAL);
    finish();
}

static void test_sysctl_readconsole(void)
{
    struct xen_sysctl op = {0};
    start();
    log_clear();
    for (unsigned i = 0; i < 40; i++) {
        printk("line %02u of the log, long enough to need several pieces\n", i);
    }
    vaddr_t va = host_guest_alloc(8192);
    const char *text = host_guest_ptr(va);
    op.u.readconsole.buffer.p = (char *)va;
    op.u.readconsole.count = 8191;
    CU_ASSERT_EQUAL(sysctl(XEN_SYSCTL_readconsole, &op), 0);
    CU_ASSERT_PTR_NOT_NULL(strstr(text, "line 00"));
    CU_ASSERT_PTR_NOT_NULL(strstr(text, "line 39"));
    CU_ASSERT_EQUAL(op.u.readconsole.count, strlen(text));
    /* From where it ended: only what came since. */
    printk("the newest\n");
    op.u.readconsole.incremental = 1;
    op.u.readconsole.clear = 1;
    op.u.readconsole.count = 8191;
    memset(host_guest_ptr(va), 0, 8192);
    CU_ASSERT_EQUAL(sysctl(XEN_SYSCTL_readconsole, &op), 0);
    CU_ASSERT_PTR_NOT_NULL(strstr(text, "the newest\n"));
    CU_ASSERT_PTR_NULL(strstr(text, "line 39"));
    op.u.readconsole.incremental = 0;
    op.u.readconsole.count = 8191;
    CU_ASSERT_EQUAL(sysctl(XEN_SYSCTL_readconsole, &op), 0);
    CU_ASSERT_EQUAL(op.u.readconsole.count, 0); /* it was cleared */
    printk("x\n");
    op.u.readconsole.count = 10;
    op.u.readconsole.buffer.p = (char *)HOST_BAD_ADDR;
    CU_ASSERT_EQUAL(sysctl(XEN_SYSCTL_readconsole, &op), -EFAULT);
    finish();
}

static void test_sysctl_processors_and_memory(void)
{
    struct xen_sysctl op = {0};
    start();
    vaddr_t va = host_guest_alloc(256);
    op.u.getcpuinfo.max_cpus = 8;
    op.u.getcpuinfo.info.p = (void *)va;
    CU_ASSERT_EQUAL(sysctl(XEN_SYSCTL_getcpuinfo, &op), 0);
    CU_ASSERT_EQUAL(op.u.getcpuinfo.nr_cpus, 2);
    op = (struct xen_sysctl){.u.availheap.node = -1};
    CU_ASSERT_EQUAL(sysctl(XEN_SYSCTL_availheap, &op), 0);
    CU_ASSERT_EQUAL(op.u.availheap.avail_bytes, frame_free_count() * PAGE_SIZE);
    op.u.availheap.node = 1;
    CU_ASSERT_EQUAL(sysctl(XEN_SYSCTL_availheap, &op), -EINVAL);
    op = (struct xen_sysctl){0};
    CU_ASSERT_EQUAL(sysctl(XEN_SYSCTL_cputopoinfo, &op), 0);
    CU_ASSERT_EQUAL(op.u.cputopoinfo.num_cpus, 2);
    op.u.cputopoinfo.cputopo.p = (void *)va;
    CU_ASSERT_EQUAL(sysctl(XEN_SYSCTL_cputopoinfo, &op), 0);
    CU_ASSERT_EQUAL(((struct xen_sysctl_cputopo *)host_guest_ptr(va))[1].core, 1);
    op = (struct xen_sysctl){0};
    CU_ASSERT_EQUAL(sysctl(XEN_SYSCTL_numainfo, &op), 0);
    CU_ASSERT_EQUAL(op.u.numainfo.num_nodes, 1);
    op.u.numainfo.meminfo.p = (void *)va;
    CU_ASSERT_EQUAL(sysctl(XEN_SYSCTL_numainfo, &op), 0);
    CU_ASSERT_EQUAL(((struct xen_sysctl_meminfo *)host_guest_ptr(va))->memsize,
                    frame_total_count() * PAGE_SIZE);
    finish();
}

static void test_sysctl_arrays_that_cannot_be_written(void)
{
    struct xen_sysctl op = {.u.getcpuinfo.max_cpus = 1};
    start();
    op.u.getcpuinfo.info.p = (void *)HOST_BAD_ADDR;
    CU_ASSERT_EQUAL(sysctl(XEN_SYSCTL_getcpuinfo, &op), -EFAULT);
    op = (struct xen_sysctl){.u.cputopoinfo.num_cpus = 2};
    op.u.cputopoinfo.cputopo.p = (void *)(HOST_GUEST_BASE + HOST_GUEST_BYTES -
                                          sizeof(struct xen_sysctl_cputopo)); /* room for one */
    CU_ASSERT_EQUAL(sysctl(XEN_SYSCTL_cputopoinfo, &op), -EFAULT);
    op = (struct xen_sysctl){.u.numainfo.num_nodes = 1};
    op.u.numainfo.meminfo.p = (void *)HOST_BAD_ADDR;
    CU_ASSERT_EQUAL(sysctl(XEN_SYSCTL_numainfo, &op), -EFAULT);
    op = (struct xen_sysctl){.u.numainfo.num_nodes = 1};
    op.u.numainfo.distance.p = (void *)HOST_BAD_ADDR;
    CU_ASSERT_EQUAL(sysctl(XEN_SYSCTL_numainfo, &op), -EFAULT);
    finish();
}

static void test_sysctl_numainfo__as_much_as_asked_for(void)
{
    struct xen_sysctl op = {.u.numainfo.num_nodes = 1};
    start();
    vaddr_t va = host_guest_alloc(256);
    uint32_t *distance = host_guest_ptr(va);
    op.u.numainfo.distance.p = (void *)va;
    CU_ASSERT_EQUAL(sysctl(XEN_SYSCTL_numainfo, &op), 0);
    CU_ASSERT(op.u.numainfo.num_nodes == 1 && *distance == 10);
    *distance = 0;
    op.u.numainfo.num_nodes = 0; /* no room */
    CU_ASSERT_EQUAL(sysctl(XEN_SYSCTL_numainfo, &op), 0);
    CU_ASSERT(op.u.numainfo.num_nodes == 0 && *distance == 0);
    op = (struct xen_sysctl){.u.availheap.node = -2};
    CU_ASSERT_EQUAL(sysctl(XEN_SYSCTL_availheap, &op), -EINVAL);
    finish();
}

static void test_sysctl_cputopoinfo__processor_that_did_not_start(void)
{
    struct xen_sysctl op = {.u.cputopoinfo.num_cpus = 8};
    start();
    vaddr_t va = host_guest_alloc(8 * sizeof(struct xen_sysctl_cputopo));
    const struct xen_sysctl_cputopo *cpu = host_guest_ptr(va);
    op.u.cputopoinfo.cputopo.p = (void *)va;
    arch_facts.cpus_present = 3;
    CU_ASSERT_EQUAL(sysctl(XEN_SYSCTL_cputopoinfo, &op), 0);
    arch_facts.cpus_present = 2;
    CU_ASSERT_EQUAL(op.u.cputopoinfo.num_cpus, 3);
    CU_ASSERT(cpu[1].core == 1 && cpu[1].socket == 0 && cpu[1].node == 0);
    CU_ASSERT(cpu[2].core == XEN_INVALID_CORE_ID && cpu[2].node == XEN_INVALID_NODE_ID);
    finish();
}

static void words(uint32_t leaf, uint32_t subleaf, struct cpuid_regs *out)
{
    *out = (struct cpuid_regs){leaf & 0x7fffffff ? 0 : leaf + 8, leaf + 1, leaf + 2,
                               leaf + 3 + subleaf};
}

static void test_sysctl_physinfo__feature_words(void)
{
    struct xen_sysctl op = {0};
    start();
    host.on_cpuid = words;
    CU_ASSERT_EQUAL(sysctl(XEN_SYSCTL_physinfo, &op), 0);
    const uint32_t *cap = op.u.physinfo.hw_cap;
    CU_ASSERT(cap[0] == 4 && cap[1] == 3 && cap[5] == 8 && cap[6] == 9);
    CU_ASSERT(cap[2] == 0x80000004 && cap[3] == 0x80000003);
    CU_ASSERT(cap[4] == 0 && cap[7] == 0x8000000a); /* no leaf 0xd */
    finish();
}

static void test_sysctl_cpupool_op(void)
{
    struct xen_sysctl op = {.u.cpupool_op = {.op = XEN_SYSCTL_CPUPOOL_OP_INFO}};
    start();
    vaddr_t va = host_guest_alloc(8);
    op.u.cpupool_op.cpumap.bitmap.p = (uint8_t *)va;
    op.u.cpupool_op.cpumap.nr_bits = 2;
    CU_ASSERT_EQUAL(sysctl(XEN_SYSCTL_cpupool_op, &op), 0);
    CU_ASSERT(op.u.cpupool_op.sched_id == XEN_SCHEDULER_CREDIT2 && op.u.cpupool_op.n_dom == 2);
    CU_ASSERT_EQUAL(*(uint8_t *)host_guest_ptr(va), 3);
    op.u.cpupool_op.cpupool_id = 1;
    CU_ASSERT_EQUAL(sysctl(XEN_SYSCTL_cpupool_op, &op), -ENOENT);
    op.u.cpupool_op.op = XEN_SYSCTL_CPUPOOL_OP_FREEINFO; /* all are in the pool */
    CU_ASSERT_EQUAL(sysctl(XEN_SYSCTL_cpupool_op, &op), 0);
    CU_ASSERT_EQUAL(*(uint8_t *)host_guest_ptr(va), 0);
    op.u.cpupool_op.cpumap.bitmap.p = (uint8_t *)HOST_BAD_ADDR;
    CU_ASSERT_EQUAL(sysctl(XEN_SYSCTL_cpupool_op, &op), -EFAULT);
    op.u.cpupool_op.op = XEN_SYSCTL_CPUPOOL_OP_CREATE;
    CU_ASSERT_EQUAL(sysctl(XEN_SYSCTL_cpupool_op, &op), -EOPNOTSUPP);
    finish();
}

static void test_sysctl_debug_keys(void)
{
    struct xen_sysctl op = {.u.debug_keys = {.nr_keys = 1}};
    start();
    op.u.debug_keys.keys.p = (const char *)host_guest_put("q", 1);
    host.console_bytes = 0;
    CU_ASSERT_EQUAL(sysctl(XEN_SYSCTL_debug_keys, &op), 0);
    CU_ASSERT_PTR_NOT_NULL(strstr(host.console, "domain 3"));
    op.u.debug_keys.nr_keys = 1000;
    CU_ASSERT_EQUAL(sysctl(XEN_SYSCTL_debug_keys, &op), -E2BIG);
    op.u.debug_keys.nr_keys = 1;
    op.u.debug_keys.keys.p = (const char *)HOST_BAD_ADDR;
    CU_ASSERT_EQUAL(sysctl(XEN_SYSCTL_debug_keys, &op), -EFAULT);
    finish();
}

/* ---- platform_op ---- */

static void test_platform_envelope(void)
{
    static const uint32_t unknown[] = {0,  31, 32, 33, 35, 39, 49, 52,
                                       53, 56, 57, 58, 59, 60, 61, 63};
    struct xen_platform_op op = {.cmd = XENPF_get_cpuinfo};
    start();
    CU_ASSERT_EQUAL(suite_call(CALL_PLATFORM, host_guest_put(&op, sizeof(op)), 0, 0), -EACCES);
    CU_ASSERT_EQUAL(suite_call(CALL_PLATFORM, HOST_BAD_ADDR, 0, 0), -EFAULT);
    for (unsigned i = 0; i < ARRAY_SIZE(unknown); i++) {
        CU_ASSERT_EQUAL(platform(unknown[i], &op), -ENOSYS);
    }
    suite_enter(guest->vcpu[0]);
    CU_ASSERT_EQUAL(platform(XENPF_get_cpuinfo, &op), -EPERM);
    CU_ASSERT_EQUAL(platform(XENPF_enter_acpi_sleep, &op), -EPERM);
    finish();
}

/* The time of day as the control domain reads it. */
static ns_t wall_clock(void)
{
    const shared_info_t *s = control->shared_info;
    return (ns_t)s->wc_sec * NS_PER_SEC + s->wc_nsec + arch_now_ns();
}

static void test_platform_settime(void)
{
    struct xen_platform_op op = {.u.settime64 = {.secs = 1800000000, .nsecs = 5}};
    start();
    op.u.settime64.system_time = (uint64_t)arch_now_ns();
    CU_ASSERT_EQUAL(platform(XENPF_settime64, &op), 0);
    CU_ASSERT_EQUAL(wall_clock(), 1800000000 * NS_PER_SEC + 5);
    op.u.settime64.mbz = 1;
    CU_ASSERT_EQUAL(platform(XENPF_settime64, &op), -EINVAL);
    op.u.settime64 = (struct xenpf_settime64){.secs = 1, .nsecs = 2000000000};
    CU_ASSERT_EQUAL(platform(XENPF_settime64, &op), -EINVAL);
    op.u.settime32 = (struct xenpf_settime32){1700000000, 0, (uint64_t)arch_now_ns()};
    CU_ASSERT_EQUAL(platform(XENPF_settime32, &op), 0);
    CU_ASSERT_EQUAL(wall_clock(), 1700000000 * NS_PER_SEC);
    finish();
}

static void test_platform_sleep_and_power(void)
{
    struct xen_platform_op op = {.u.enter_acpi_sleep = {.sleep_state = 5}};
    start();
    host.acpi_sleep_state = 0;
    CU_ASSERT_EQUAL(platform(XENPF_enter_acpi_sleep, &op), 0);
    CU_ASSERT_EQUAL(host.acpi_sleep_state, 5);
    op.u.enter_acpi_sleep.sleep_state = 3;
    CU_ASSERT_EQUAL(platform(XENPF_enter_acpi_sleep, &op), -EINVAL);
    op.u.enter_acpi_sleep.flags = XENPF_ACPI_SLEEP_EXTENDED;
    CU_ASSERT_EQUAL(platform(XENPF_enter_acpi_sleep, &op), -EOPNOTSUPP);
    op.u.set_pminfo.type = XEN_PM_PDC;
    CU_ASSERT_EQUAL(platform(XENPF_set_processor_pminfo, &op), 0);
    op.u.set_pminfo.type = 99;
    CU_ASSERT_EQUAL(platform(XENPF_set_processor_pminfo, &op), -EINVAL);
    op.u.firmware_info.type = XEN_FW_EFI_INFO;
    CU_ASSERT_EQUAL(platform(XENPF_firmware_info, &op), -EOPNOTSUPP);
    op.u.firmware_info.type = 99;
    CU_ASSERT_EQUAL(platform(XENPF_firmware_info, &op), -EINVAL);
    finish();
}

static void skylake(uint32_t leaf, uint32_t subleaf, struct cpuid_regs *out)
{
    (void)subleaf;
    if (leaf == 0) {
        *out = (struct cpuid_regs){0x16, 0x756e6547, 0x6c65746e, 0x49656e69};
    } else if (leaf == 1) {
        out->eax = 0x000506e3;
    }
}

static void zen(uint32_t leaf, uint32_t subleaf, struct cpuid_regs *out)
{
    (void)subleaf;
    if (leaf == 1) {
        out->eax = 0x00a20f12;
    }
}

static void test_platform_processors(void)
{
    struct xen_platform_op op = {.u.pcpu_info = {.xen_cpuid = 1}};
    start();
    CU_ASSERT_EQUAL(platform(XENPF_get_cpuinfo, &op), 0);
    CU_ASSERT(op.u.pcpu_info.max_present == 1 && op.u.pcpu_info.flags == XEN_PCPU_FLAGS_ONLINE);
    op.u.pcpu_info.xen_cpuid = 2;
    CU_ASSERT_EQUAL(platform(XENPF_get_cpuinfo, &op), 0);
    CU_ASSERT_EQUAL(op.u.pcpu_info.flags, XEN_PCPU_FLAGS_INVALID);
    host.on_cpuid = skylake;
    op.u.pcpu_version.xen_cpuid = 0;
    CU_ASSERT_EQUAL(platform(XENPF_get_cpu_version, &op), 0);
    CU_ASSERT_EQUAL(memcmp(op.u.pcpu_version.vendor_id, "GenuineIntel", 12), 0);
    CU_ASSERT(op.u.pcpu_version.family == 6 && op.u.pcpu_version.model == 0x5e &&
              op.u.pcpu_version.stepping == 3);
    host.on_cpuid = zen;
    CU_ASSERT_EQUAL(platform(XENPF_get_cpu_version, &op), 0);
    CU_ASSERT(op.u.pcpu_version.family == 0x19 && op.u.pcpu_version.model == 0x21 &&
              op.u.pcpu_version.stepping == 2);
    op.u.pcpu_version.xen_cpuid = 2;
    CU_ASSERT_EQUAL(platform(XENPF_get_cpu_version, &op), -EINVAL);
    finish();
}

int main(void)
{
    static const struct suite_case cases[] = {
        CASE(test_sysctl_envelope),
        CASE(test_sysctl_physinfo),
        CASE(test_sysctl_getdomaininfolist),
        CASE(test_sysctl_accounting),
        CASE(test_sysctl_scheduler_op),
        CASE(test_sysctl_readconsole),
        CASE(test_sysctl_processors_and_memory),
        CASE(test_sysctl_arrays_that_cannot_be_written),
        CASE(test_sysctl_numainfo__as_much_as_asked_for),
        CASE(test_sysctl_cputopoinfo__processor_that_did_not_start),
        CASE(test_sysctl_physinfo__feature_words),
        CASE(test_sysctl_cpupool_op),
        CASE(test_sysctl_debug_keys),
        CASE(test_platform_envelope),
        CASE(test_platform_settime),
        CASE(test_platform_sleep_and_power),
        CASE(test_platform_processors),
    };
    return SUITE("sysctl and platform_op", 2, cases);
}
