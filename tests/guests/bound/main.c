/* SPDX-License-Identifier: MIT */
/*
 * Every kind of long hypercall at the most the ABI allows, in the control domain's place, for the
 * hypervisor to measure how long each keeps interrupts off; at the end it is asked for its list.
 * tests/boot/bound.py judges what it says, on an instruction-counted clock.
 *
 * Not alone: what it does is judged from outside.
 */
#include "lib.h"

#include "pv-abi/accounting.h"

#define BATCH 256

static struct multicall_entry batch[BATCH];
static union {
    struct xen_sysctl sysctl;
    struct xen_platform_op platform;
} u;
static uint8_t buffer[1 << 18] PAGE_ALIGNED;
static struct trap_info traps[257];
static uint64_t gdt_frames[16];

static void repeat(unsigned nr, uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
    for (unsigned i = 0; i < BATCH; i++) {
        batch[i] = (struct multicall_entry){.op = nr, .args = {a, b, c, d}};
    }
    CHECK_IS(multicall(batch, BATCH), 0);
}

static long sysctl(uint32_t cmd)
{
    u.sysctl.cmd = cmd;
    u.sysctl.interface_version = XEN_SYSCTL_INTERFACE_VERSION;
    return HC1(__HYPERVISOR_sysctl, &u);
}

static void debug_keys(char key, unsigned times)
{
    char keys[32];
    memset(keys, key, times);
    memset(&u, 0, sizeof(u));
    u.sysctl.u.debug_keys.nr_keys = times;
    set_xen_guest_handle(u.sysctl.u.debug_keys.keys, keys);
    CHECK_IS(sysctl(XEN_SYSCTL_debug_keys), 0);
}

/* ---- event channels ---- */

static void events(void)
{
    struct evtchn_reset reset = {.dom = DOMID_SELF};
    struct evtchn_bind_ipi bind = {.vcpu = 0};
    long port = 0, last = 0;
    evtchn_port_t ports[128];
    struct sched_poll poll = {.nr_ports = ARRAY_SIZE(ports), .timeout = 1};
    /* Pairs: closing one end takes both domains' locks and tells the other end. */
    while (port >= 0) {
        port = event_alloc_unbound(DOMID_SELF, DOMID_SELF);
        last = port > 0 ? port : last;
        if (port > 0) {
            port = event_bind_interdomain(DOMID_SELF, (uint32_t)port);
        }
    }
    CHECK(last > 4000);
    repeat(__HYPERVISOR_event_channel_op, EVTCHNOP_bind_ipi, ARG(&bind), 0, 0); /* all in use */
    repeat(__HYPERVISOR_event_channel_op, EVTCHNOP_send, ARG(&last), 0, 0);
    for (unsigned i = 0; i < ARRAY_SIZE(ports); i++) {
        ports[i] = 3900 + i;
        event_clear(ports[i]);
    }
    set_xen_guest_handle(poll.ports, ports);
    events_off();
    shared_info->vcpu_info[0].evtchn_upcall_pending = 0;
    CHECK_IS(sched_op(SCHEDOP_poll, &poll), 0);
    CHECK_IS(evtchn_op(EVTCHNOP_reset, &reset), 0);
    while (event_bind_ipi(0) > 0) {
    }
    CHECK_IS(evtchn_op(EVTCHNOP_reset, &reset), 0);
}

/* ---- grants ---- */

static void grants(void)
{
    static xen_pfn_t list[64];
    static struct gnttab_map_grant_ref maps[512];
    static struct gnttab_unmap_grant_ref unmaps[512];
    static struct gnttab_copy copies[512];
    struct gnttab_setup_table setup = {.dom = DOMID_SELF, .nr_frames = 64};
    set_xen_guest_handle(setup.frame_list, list);
    CHECK_IS(grant_op(GNTTABOP_setup_table, &setup, 1), 0);
    CHECK_IS(setup.status, GNTST_okay);
    repeat(__HYPERVISOR_grant_table_op, GNTTABOP_setup_table, ARG(&setup), 1, 0);
    grant_init();
    test_area_init();
    grant_set(20, DOMID_SELF == own_domid() ? 0 : own_domid(), mfn_of(buffer), GTF_permit_access);
    for (unsigned i = 0; i < ARRAY_SIZE(maps); i++) {
        maps[i] = (struct gnttab_map_grant_ref){
            .host_addr = ARG(test_va(i)), .flags = GNTMAP_host_map, .ref = 20, .dom = DOMID_SELF};
        copies[i] =
            (struct gnttab_copy){.source = {.u.ref = 20, .domid = DOMID_SELF},
                                 .dest = {.u.gmfn = mfn_of(buffer + 4096), .domid = DOMID_SELF},
                                 .len = 4096,
                                 .flags = GNTCOPY_source_gref};
    }
    CHECK_IS(grant_op(GNTTABOP_copy, copies, ARRAY_SIZE(copies)), 0);
    CHECK_IS(copies[511].status, GNTST_okay);
    for (unsigned round = 0; round < 4; round++) {
        CHECK_IS(grant_op(GNTTABOP_map_grant_ref, maps, ARRAY_SIZE(maps)), 0);
        CHECK_IS(maps[511].status, GNTST_okay);
        for (unsigned i = 0; i < ARRAY_SIZE(maps); i++) {
            unmaps[i] = (struct gnttab_unmap_grant_ref){.host_addr = maps[i].host_addr,
                                                        .handle = maps[i].handle};
        }
        CHECK_IS(grant_op(GNTTABOP_unmap_grant_ref, unmaps, ARRAY_SIZE(unmaps)), 0);
        CHECK_IS(unmaps[511].status, GNTST_okay);
    }
}

/* ---- processor state ---- */

static void processor(void)
{
    static struct vcpu_guest_context context;
    for (unsigned i = 0; i < 256; i++) {
        traps[i] = (struct trap_info){
            .vector = (uint8_t)i, .flags = 3, .cs = FLAT_KERNEL_CS, .address = ARG(trap_stub(i))};
    }
    repeat(__HYPERVISOR_set_trap_table, ARG(traps), 0, 0, 0);
    for (unsigned i = 0; i < 14; i++) {
        uint8_t *page = page_new();
        for (unsigned k = 0; k < 512; k++) {
            ((uint64_t *)page)[k] = 0x00cf92000000ffff; /* data, DPL 0: to be corrected */
        }
        NEED_OK(page_protect(page, PTE_RO));
        gdt_frames[i] = mfn_of(page);
    }
    for (unsigned i = 0; i < BATCH; i++) {
        batch[i] = (struct multicall_entry){.op = __HYPERVISOR_set_gdt,
                                            .args = {ARG(gdt_frames), i % 2 ? 14 * 512 : 0}};
    }
    CHECK_IS(multicall(batch, BATCH), 0);
    CHECK_IS(set_gdt(gdt_frames, 0), 0);
    for (unsigned id = 1; id < 64; id++) {
        cpu_fill_context(&context, 1, 0, 0);
        context.gdt_ents = 14 * 512;
        memcpy(context.gdt_frames, gdt_frames, sizeof(gdt_frames));
        (void)vcpu_op(VCPUOP_initialise, id, &context);
        struct vcpu_set_periodic_timer timer = {.period_ns = 1000000};
        (void)vcpu_op(VCPUOP_set_periodic_timer, id, &timer);
    }
    repeat(__HYPERVISOR_vcpu_op, VCPUOP_initialise, 1, ARG(&context), 0);
    for (unsigned id = 1; id < 64; id++) {
        (void)vcpu_op(VCPUOP_stop_periodic_timer, id, 0);
    }
}

/* Strings of port I/O: to a port with a rule for each byte, to the hardware, to PCI space. */
static void ports(void)
{
    static const uint16_t port[] = {0x80, 0x71, 0x3f8, 0x6e, 0xcfc, 0xcf6};
    struct physdev_set_iopl iopl = {.iopl = 1};
    CHECK_IS(physdev_op(PHYSDEVOP_set_iopl, &iopl), 0);
    for (unsigned i = 0; i < ARRAY_SIZE(port); i++) {
        void *at = buffer;
        uint64_t count = 16384;
        __asm__ volatile("rep insl" : "+D"(at), "+c"(count) : "d"(port[i]) : "memory");
        at = buffer;
        count = 16384;
        if (port[i] == 0x80 || port[i] == 0x3f8) {
            __asm__ volatile("rep outsl" : "+S"(at), "+c"(count) : "d"(port[i]) : "memory");
        }
    }
}

/* ---- console, host ---- */

static void host(void)
{
    memset(buffer, 'x', sizeof(buffer));
    for (unsigned i = 100; i < sizeof(buffer); i += 100) {
        buffer[i] = '\n';
    }
    CHECK_IS(console_io(CONSOLEIO_write, 1 << 15, buffer), 0);
    for (unsigned i = 0; i < 2; i++) {
        memset(&u, 0, sizeof(u));
        u.sysctl.u.readconsole.count = sizeof(buffer);
        set_xen_guest_handle(u.sysctl.u.readconsole.buffer, (char *)buffer);
        CHECK_IS(sysctl(XEN_SYSCTL_readconsole), 0);
    }
    memset(&u, 0, sizeof(u));
    u.platform.cmd = XENPF_settime64;
    u.platform.interface_version = XENPF_INTERFACE_VERSION;
    u.platform.u.settime64.secs = 1700000000;
    CHECK_IS(HC1(__HYPERVISOR_platform_op, &u), 0);
    memset(&u, 0, sizeof(u));
    u.sysctl.u.getdomaininfolist.max_domains = 2048;
    set_xen_guest_handle(u.sysctl.u.getdomaininfolist.buffer, (void *)buffer);
    CHECK_IS(sysctl(XEN_SYSCTL_getdomaininfolist), 0);
    say("%u domains", u.sysctl.u.getdomaininfolist.num_domains);
    static pv_vcpu_account_t accounts[1024];
    memset(&u, 0, sizeof(u));
    struct pv_sysctl_accounting *a = (void *)&u.sysctl.u;
    a->count = ARRAY_SIZE(accounts);
    set_xen_guest_handle(a->buffer, accounts);
    CHECK_IS(sysctl(PV_SYSCTL_accounting), 0);
    debug_keys('q', 2);
    debug_keys('d', 1);
}

static void devices(void)
{
    for (unsigned devfn = 0; devfn < 256; devfn++) {
        struct physdev_pci_device_add add = {.bus = 0, .devfn = (uint8_t)devfn};
        (void)physdev_op(PHYSDEVOP_pci_device_add, &add);
        struct physdev_map_pirq map = {.domid = DOMID_SELF,
                                       .type = MAP_PIRQ_TYPE_MSI,
                                       .index = -1,
                                       .pirq = -1,
                                       .devfn = (int)devfn};
        (void)physdev_op(PHYSDEVOP_map_pirq, &map);
        struct physdev_get_free_pirq get = {.type = MAP_PIRQ_TYPE_MSI};
        (void)physdev_op(PHYSDEVOP_get_free_pirq, &get);
    }
}

/* ---- memory: reservations in large and small pieces, exchanges ---- */

#define PAGES_MAX 4096

static xen_pfn_t list[PAGES_MAX], list_out[PAGES_MAX];
static struct mmu_update updates[512];
static struct mmuext_op ops[512];

static long reservation(unsigned cmd, unsigned order, unsigned count)
{
    struct xen_memory_reservation r = {
        .nr_extents = count, .extent_order = order, .domid = DOMID_SELF};
    set_xen_guest_handle(r.extent_start, list);
    return memory_op(cmd, &r);
}

static long exchange(unsigned in_order, unsigned in_count, unsigned out_order, unsigned out_count)
{
    struct xen_memory_exchange x = {
        .in = {.nr_extents = in_count, .extent_order = in_order, .domid = DOMID_SELF},
        .out = {.nr_extents = out_count, .extent_order = out_order, .domid = DOMID_SELF}};
    set_xen_guest_handle(x.in.extent_start, list);
    set_xen_guest_handle(x.out.extent_start, list_out);
    long rc = memory_op(XENMEM_exchange, &x);
    if (rc == 0) {
        memcpy(list, list_out, sizeof(list));
    }
    return rc;
}

static void own_frames(unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        list[i] = frame_new();
    }
}

static void memory(void)
{
    own_frames(PAGES_MAX);
    CHECK_IS(reservation(XENMEM_decrease_reservation, 0, PAGES_MAX), PAGES_MAX);
    for (unsigned order = 0; order <= 10; order++) {
        unsigned count = PAGES_MAX >> order;
        CHECK_IS(reservation(XENMEM_increase_reservation, order, count), count);
        CHECK_IS(reservation(XENMEM_decrease_reservation, order, count), count);
        for (unsigned i = 0; i < count; i++) {
            list[i] = 0x100000 + i;
        }
        CHECK_IS(reservation(XENMEM_populate_physmap, order, count), count);
        CHECK_IS(reservation(XENMEM_decrease_reservation, order, count), count);
    }
    CHECK_IS(reservation(XENMEM_increase_reservation, 0, 1024), 1024);
    CHECK_IS(exchange(0, 1024, 10, 1), 0);
    CHECK_IS(exchange(10, 1, 0, 1024), 0);
    CHECK_IS(exchange(0, 1024, 5, 32), 0);
    CHECK_IS(reservation(XENMEM_decrease_reservation, 5, 32), 32);
    CHECK_IS(reservation(XENMEM_increase_reservation, 0, PAGES_MAX), PAGES_MAX);
    (void)exchange(0, PAGES_MAX, 0, PAGES_MAX);
    /* Frames that are not at the end of anything. */
    unsigned count = 0;
    for (unsigned i = 0; i < PAGES_MAX && count < 1024; i++) {
        if (list[i] % 128 != 127) {
            list[count++] = list[i];
        }
    }
    CHECK_IS(exchange(0, 1024, 0, 1024), 0);
}

/* ---- page tables ---- */

/* A frame that is no table yet, filled with entries for `count` frames one after the other. */
static uint64_t table_new(const xen_pfn_t *frames, unsigned count, uint64_t flags)
{
    uint64_t mfn = frame_new();
    NEED_OK(test_area_set(0, pte_make(mfn, PTE_RW)));
    uint64_t *table = test_va(0);
    for (unsigned i = 0; i < ENTRIES; i++) {
        /* A hole where one might look whether it is time. */
        table[i] = i < count && (count < ENTRIES || i % 128) ? pte_make(frames[i], flags) : 0;
    }
    NEED_OK(test_area_set(0, 0));
    return mfn;
}

static void ext(unsigned cmd, const xen_pfn_t *frames, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        ops[i] = (struct mmuext_op){.cmd = cmd, .arg1.mfn = frames[i]};
    }
    CHECK_IS(mmuext_op(ops, count, 0, DOMID_SELF), 0);
}

static void set_entries(uint64_t table, const xen_pfn_t *frames, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        updates[i] = (struct mmu_update){.ptr = table * PAGE_BYTES + i * 8,
                                         .val = frames ? pte_make(frames[i], PTE_RW) : 0};
    }
    CHECK_IS(mmu_update(updates, count, 0, DOMID_SELF), 0);
}

#define TABLES 128

static void tables(void)
{
    static xen_pfn_t leaf[ENTRIES], l1[TABLES], other[TABLES], full[ENTRIES];
    test_area_init();
    for (unsigned i = 0; i < ENTRIES; i++) {
        leaf[i] = frame_new();
    }
    for (unsigned i = 0; i < TABLES; i++) {
        l1[i] = table_new(leaf, ENTRIES, PTE_RW);
        other[i] = table_new(leaf, ENTRIES, PTE_RW);
    }
    xen_pfn_t l2 = table_new(l1, TABLES, PTE_RW), l3 = table_new(&l2, 1, PTE_RW);
    xen_pfn_t l4 = table_new(&l3, 1, PTE_RW);
    ext(MMUEXT_PIN_L4_TABLE, &l4, 1);
    /* An entry changes from one whole table to another, each nowhere else in use. */
    set_entries(l2, other, TABLES);
    set_entries(l2, l1, TABLES);
    ext(MMUEXT_UNPIN_TABLE, &l4, 1);
    ext(MMUEXT_PIN_L1_TABLE, l1, TABLES);
    ext(MMUEXT_UNPIN_TABLE, l1, TABLES);
    /* Empty tables under a full one, three levels. */
    for (unsigned level = 2; level <= 3; level++) {
        for (unsigned i = 0; i < ENTRIES; i++) {
            full[i] = table_new(leaf, 0, 0);
        }
        xen_pfn_t top = table_new(full, ENTRIES, PTE_RW);
        ext(MMUEXT_PIN_L1_TABLE + level - 1, &top, 1);
        ext(MMUEXT_UNPIN_TABLE, &top, 1);
    }
    /* Frames given back while mapped go with their last entry. */
    ext(MMUEXT_PIN_L2_TABLE, &l2, 1);
    set_entries(l2, NULL, TABLES);
    for (unsigned round = 0; round < 4; round++) {
        for (unsigned i = 0; i < ENTRIES; i++) {
            list[i] = frame_new();
        }
        xen_pfn_t dying = table_new(list, ENTRIES, PTE_RW);
        set_entries(l2, &dying, 1);
        CHECK_IS(reservation(XENMEM_decrease_reservation, 0, ENTRIES), ENTRIES);
        set_entries(l2, round % 2 ? NULL : l1, 1);
        set_entries(l2, NULL, 1);
    }
    /* Stores of ours to a table, carried out by the hypervisor. */
    CHECK_IS(vm_assist(VMASST_CMD_enable, VMASST_TYPE_writable_pagetables), 0);
    ext(MMUEXT_PIN_L1_TABLE, l1, 1);
    NEED_OK(test_area_set(1, pte_make(l1[0], PTE_RO)));
    volatile uint64_t *entry = test_va(1);
    *entry = pte_make(leaf[1], PTE_RW);
    *entry = 0;
    /* Whole pages. */
    for (unsigned i = 0; i < ENTRIES; i++) {
        ops[i] = (struct mmuext_op){
            .cmd = i % 2 ? MMUEXT_CLEAR_PAGE : MMUEXT_COPY_PAGE,
            .arg1.mfn = leaf[i],
            .arg2.src_mfn = leaf[0],
        };
    }
    CHECK_IS(mmuext_op(ops, ENTRIES, 0, DOMID_SELF), 0);
    /* Refused at once, and said so. */
    for (unsigned i = 0; i < 100; i++) {
        updates[0] = (struct mmu_update){.ptr = ~0UL << 3, .val = 0};
        CHECK(mmu_update(updates, 1, 0, DOMID_SELF) < 0);
    }
}

/* ---- domains: a large one and many small ones made, looked at, ended ---- */

#define SMALL_DOMAINS 600
#define PAGES 8192U
#define VCPUS 64
#define ZOMBIES 40

static struct xen_domctl op;
static xen_pfn_t frames[PAGES];
static domid_t small[SMALL_DOMAINS];
static unsigned small_count;
static struct vcpu_guest_context context;

static long domctl(uint32_t cmd, domid_t dom)
{
    op.cmd = cmd;
    op.interface_version = XEN_DOMCTL_INTERFACE_VERSION;
    op.domain = dom;
    return HC1(__HYPERVISOR_domctl, &op);
}

static long create(unsigned vcpus, domid_t *dom)
{
    memset(&op, 0, sizeof(op));
    op.u.createdomain = (struct xen_domctl_createdomain){.max_vcpus = vcpus,
                                                         .max_evtchn_port = 4095,
                                                         .max_grant_frames = 64,
                                                         .max_maptrack_frames = 1024,
                                                         .grant_opts = 1};
    long rc = domctl(XEN_DOMCTL_createdomain, 0);
    *dom = op.domain;
    return rc;
}

static long destroy(domid_t dom)
{
    memset(&op, 0, sizeof(op));
    return domctl(XEN_DOMCTL_destroydomain, dom);
}

static void populate(domid_t dom, unsigned order)
{
    struct xen_memory_reservation r = {
        .nr_extents = PAGES >> order, .extent_order = order, .domid = dom};
    memset(&op, 0, sizeof(op));
    op.u.max_mem.max_memkb = PAGES * 4;
    CHECK_IS(domctl(XEN_DOMCTL_max_mem, dom), 0);
    set_xen_guest_handle(r.extent_start, frames);
    CHECK_IS(memory_op(XENMEM_increase_reservation, &r), PAGES >> order);
    for (unsigned i = PAGES; i-- > 0;) {
        frames[i] = frames[i >> order] + (i & ((1U << order) - 1));
    }
}

static void fill(domid_t dom)
{
    static xen_pfn_t table[64];
    static struct xen_foreign_memory_map map;
    static struct e820_entry {
        uint64_t start, bytes;
        uint32_t type;
    } __attribute__((packed)) e820[128];
    struct gnttab_setup_table setup = {.dom = dom, .nr_frames = 64};
    set_xen_guest_handle(setup.frame_list, table);
    CHECK_IS(grant_op(GNTTABOP_setup_table, &setup, 1), 0);
    CHECK_IS(setup.status, GNTST_okay);
    while (event_alloc_unbound(dom, DOMID_SELF) > 0) {
    }
    map.domid = dom;
    map.map.nr_entries = ARRAY_SIZE(e820);
    set_xen_guest_handle(map.map.buffer, (void *)e820);
    (void)memory_op(XENMEM_set_memory_map, &map);
    /* An L1 table for each 512 frames, of their domain, pinned. */
    for (unsigned i = 0; i < 8; i++) {
        struct mmuext_op pin = {.cmd = MMUEXT_PIN_L1_TABLE, .arg1.mfn = frames[PAGES - 1 - i]};
        NEED_OK(HC4(__HYPERVISOR_update_va_mapping_otherdomain, test_va(2),
                    pte_make(frames[PAGES - 1 - i], PTE_RW), UVMF_INVLPG, dom));
        for (unsigned k = 0; k < ENTRIES; k++) {
            ((volatile uint64_t *)test_va(2))[k] = pte_make(frames[k], PTE_RW);
        }
        NEED_OK(test_area_set(2, 0));
        CHECK_IS(mmuext_op(&pin, 1, 0, dom), 0);
    }
}

/* Registers for all: an empty L4 table of each vCPU's own, a full GDT, no code. */
static void vcpus(domid_t dom)
{
    memset(&context, 0, sizeof(context));
    context.flags = VGCF_in_kernel | VGCF_online;
    context.user_regs.cs = FLAT_KERNEL_CS;
    context.user_regs.ss = FLAT_KERNEL_SS;
    context.user_regs.rip = 0x1000;
    context.gdt_ents = 14 * 512;
    for (unsigned i = 0; i < 14; i++) {
        context.gdt_frames[i] = frames[1000 + i];
    }
    for (unsigned id = 0; id < VCPUS; id++) {
        context.ctrlreg[3] = xen_pfn_to_cr3(frames[2000 + id]);
        memset(&op, 0, sizeof(op));
        op.u.vcpucontext.vcpu = id;
        set_xen_guest_handle(op.u.vcpucontext.ctxt, &context);
        CHECK_IS(domctl(XEN_DOMCTL_setvcpucontext, dom), 0);
    }
}

static void look(domid_t dom)
{
    static vcpu_guest_context_t got;
    static uint64_t info[1024];
    for (unsigned id = 0; id < VCPUS; id++) {
        memset(&op, 0, sizeof(op));
        op.u.vcpucontext.vcpu = id;
        set_xen_guest_handle(op.u.vcpucontext.ctxt, &got);
        CHECK_IS(domctl(XEN_DOMCTL_getvcpucontext, dom), 0);
    }
    memset(&op, 0, sizeof(op));
    CHECK_IS(domctl(XEN_DOMCTL_getdomaininfo, dom), 0);
    memcpy(info, frames, sizeof(info));
    memset(&op, 0, sizeof(op));
    op.u.getpageframeinfo3.num = ARRAY_SIZE(info);
    set_xen_guest_handle(op.u.getpageframeinfo3.array, info);
    CHECK_IS(domctl(XEN_DOMCTL_getpageframeinfo3, dom), 0);
    for (unsigned i = 0; i < 4; i++) {
        memset(&op, 0, sizeof(op));
        op.u.scheduler_op.sched_id = XEN_SCHEDULER_CREDIT2;
        op.u.scheduler_op.cmd = XEN_DOMCTL_SCHEDOP_putinfo;
        op.u.scheduler_op.u.credit2.weight = 100;
        CHECK_IS(domctl(XEN_DOMCTL_scheduler_op, dom), 0);
        CHECK_IS(domctl(XEN_DOMCTL_pausedomain, dom), 0);
        CHECK_IS(domctl(XEN_DOMCTL_unpausedomain, dom), 0);
    }
}

/* Domains that have ended but for a page each that one table of ours still maps: dropping that is
 * the end of all of them. */
static void zombies(void)
{
    domid_t dom[ZOMBIES];
    xen_pfn_t l1 = table_new(NULL, 0, 0);
    ext(MMUEXT_PIN_L1_TABLE, &l1, 1);
    for (unsigned i = 0; i < ZOMBIES; i++) {
        struct gnttab_setup_table setup = {.nr_frames = 64};
        xen_pfn_t frame, table[64];
        struct xen_memory_reservation r = {.nr_extents = 1};
        NEED_OK(create(VCPUS, &dom[i]));
        memset(&op, 0, sizeof(op));
        op.u.max_mem.max_memkb = 4;
        NEED_OK(domctl(XEN_DOMCTL_max_mem, dom[i]));
        r.domid = setup.dom = dom[i];
        set_xen_guest_handle(r.extent_start, &frame);
        CHECK_IS(memory_op(XENMEM_increase_reservation, &r), 1);
        set_xen_guest_handle(setup.frame_list, table);
        CHECK_IS(grant_op(GNTTABOP_setup_table, &setup, 1), 0);
        struct mmu_update map = {.ptr = (l1 * PAGE_BYTES + i * 8) | MMU_NORMAL_PT_UPDATE,
                                 .val = pte_make(frame, PTE_RW)};
        CHECK_IS(mmu_update(&map, 1, 0, dom[i]), 0);
    }
    for (unsigned i = 0; i < ZOMBIES; i++) {
        CHECK_IS(destroy(dom[i]), 0);
    }
    ext(MMUEXT_UNPIN_TABLE, &l1, 1);
}

static void domains(void)
{
    zombies();
    for (unsigned order = 0; order <= 9; order += 9) {
        domid_t dom;
        if (create(VCPUS, &dom)) {
            failure("no domain of %u vCPUs", VCPUS);
        }
        populate(dom, order);
        fill(dom);
        vcpus(dom);
        look(dom);
        memset(&op, 0, sizeof(op));
        /* All run, fault at once, and the domain is ended. */
        CHECK_IS(domctl(XEN_DOMCTL_unpausedomain, dom), 0);
        (void)sched_op(SCHEDOP_yield, 0);
        CHECK_IS(destroy(dom), 0);
    }
    for (unsigned i = 0; i < 8; i++) {
        NEED_OK(create(VCPUS, &small[small_count++]));
    }
    while (small_count < SMALL_DOMAINS && create(1, &small[small_count]) == 0) {
        small_count++;
    }
}

static void domains_end(void)
{
    while (small_count) {
        CHECK_IS(destroy(small[--small_count]), 0);
    }
}

void test_main(void)
{
    events();
    grants();
    processor();
    ports();
    devices();
    memory();
    tables();
    domains();
    host();
    domains_end();
    debug_keys('i', 1);
    CHECK(true);
}
