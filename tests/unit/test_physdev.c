// SPDX-License-Identifier: MIT
/*
 * core/pirq.c and pci.c: a machine with one PCI device in its configuration space, whose
 * interrupts are mapped, bound, raised and taken away as Linux does it.
 */
#include <string.h>

#include "arch/upcalls.h"
#include "core/pci.h"
#include "core/pirq.h"
#include "suite.h"

#define CALL_EVTCHN 32
#define CALL_PHYSDEV 33
#define DEV_BUS 0
#define DEV_DEVFN 0x18
#define MSI_CAP 0x50
#define MSIX_CAP 0x70
#define TABLE_BAR 0xfebf0000u
#define TABLE_OFFSET 0x800u

static struct domain *control, *guest;

/* ---- the device ---- */

static uint8_t config[256];
static uint32_t cf8;

static void config_set(unsigned reg, unsigned bytes, uint32_t value)
{
    memcpy(config + reg, &value, bytes);
}

static uint32_t config_get(unsigned reg, unsigned bytes)
{
    uint32_t value = 0;
    memcpy(&value, config + reg, bytes);
    return value;
}

static bool selected(void)
{
    return (cf8 & 0xffffff00) == (0x80000000 | DEV_BUS << 16 | DEV_DEVFN << 8);
}

static uint32_t bus_in(uint16_t port, unsigned bytes)
{
    CU_ASSERT(port >= 0xcfc && port + bytes <= 0xd00);
    if (!selected()) {
        return ~0u >> (32 - 8 * bytes);
    }
    return config_get((cf8 & 0xfc) + (port & 3), bytes);
}

static void bus_out(uint16_t port, unsigned bytes, uint32_t value)
{
    if (port == 0xcf8) {
        CU_ASSERT_EQUAL(bytes, 4);
        cf8 = value;
    } else if (selected()) {
        config_set((cf8 & 0xfc) + (port & 3), bytes, value);
    }
}

static void device_reset(void)
{
    memset(config, 0, sizeof(config));
    config_set(0, 4, 0x10001af4);
    config_set(0x06, 2, 0x10); /* capabilities */
    config_set(0x34, 1, 0x40);
    config_set(0x40, 2, 0x5009);                    /* vendor's, then MSI */
    config_set(MSI_CAP, 4, 0x01b0 << 16 | 0x7005);  /* maskable, 64-bit, several messages on */
    config_set(MSIX_CAP, 4, 0x0003 << 16 | 0x0011); /* four entries, end of list */
    config_set(MSIX_CAP + 4, 4, TABLE_OFFSET | 1);  /* in BAR 1 */
    config_set(0x14, 4, TABLE_BAR);
}

/* The table as the fake arch_ioremap() maps every device page. */
static volatile uint32_t *table_entry(unsigned index)
{
    volatile uint8_t *page = arch_ioremap(TABLE_BAR, PAGE_SIZE);
    return (volatile uint32_t *)(page + TABLE_OFFSET + index * 16);
}

static void start(void)
{
    control = suite_control();
    guest = suite_domain(1, 1);
    suite_enter(control->vcpu[0]);
    device_reset();
    host.on_in = bus_in;
    host.on_out = bus_out;
    memset(host.gsi_bound, 0, sizeof(host.gsi_bound));
    memset(host.gsi_masked, 1, sizeof(host.gsi_masked));
    memset(host.gsi_level, 0, sizeof(host.gsi_level));
}

/* Interrupt lines outlive domains: leave none mapped. */
static void finish(void)
{
    for (unsigned i = 0; i < MAX_PIRQS; i++) {
        (void)!pirq_unmap(control, i);
    }
    CU_ASSERT_EQUAL(host.msi_vectors, 0);
    suite_enter(NULL);
    suite_destroy(guest);
    suite_destroy(control);
}

/* ---- calls ---- */

static long call_copy(unsigned nr, unsigned cmd, void *arg, size_t bytes)
{
    vaddr_t va = host_guest_put(arg, bytes);
    long rc = suite_call(nr, cmd, va, 0);
    memcpy(arg, host_guest_ptr(va), bytes);
    return rc;
}

#define PHYSDEV(cmd, arg) call_copy(CALL_PHYSDEV, PHYSDEVOP_##cmd, arg, sizeof(*(arg)))

static long map_gsi(int gsi, int pirq, int *got)
{
    struct physdev_map_pirq m = {
        .domid = DOMID_SELF, .type = MAP_PIRQ_TYPE_GSI, .index = gsi, .pirq = pirq};
    long rc = PHYSDEV(map_pirq, &m);
    *got = m.pirq;
    return rc;
}

static long map_msi(int type, uint64_t table, int entry, int *pirq)
{
    struct physdev_map_pirq m = {.domid = DOMID_SELF,
                                 .type = type,
                                 .index = -1,
                                 .pirq = -1,
                                 .bus = DEV_BUS,
                                 .devfn = DEV_DEVFN,
                                 .entry_nr = entry,
                                 .table_base = table};
    long rc = PHYSDEV(map_pirq, &m);
    *pirq = m.pirq;
    return rc;
}

static long unmap(int pirq)
{
    struct physdev_unmap_pirq u = {.domid = DOMID_SELF, .pirq = pirq};
    return PHYSDEV(unmap_pirq, &u);
}

static long bind(unsigned pirq, uint32_t *port)
{
    struct evtchn_bind_pirq b = {.pirq = pirq};
    long rc = call_copy(CALL_EVTCHN, EVTCHNOP_bind_pirq, &b, sizeof(b));
    *port = b.port;
    return rc;
}

static long eoi(unsigned pirq)
{
    struct physdev_eoi e = {pirq};
    return PHYSDEV(eoi, &e);
}

static bool take_event(uint32_t port)
{
    return test_and_clear_bit(port, (uint64_t *)control->shared_info->evtchn_pending);
}

/* ---- GSIs ---- */

static void test_gsi__level_stays_masked_until_eoi(void)
{
    int pirq;
    uint32_t port;
    start();
    CU_ASSERT_EQUAL(map_gsi(11, 11, &pirq), 0);
    CU_ASSERT_EQUAL(pirq, 11);
    struct physdev_irq vector = {.irq = 11};
    CU_ASSERT_EQUAL(PHYSDEV(alloc_irq_vector, &vector), 0);
    struct physdev_setup_gsi setup = {.gsi = 11, .triggering = 1, .polarity = 1};
    CU_ASSERT_EQUAL(PHYSDEV(setup_gsi, &setup), 0);
    CU_ASSERT(host.gsi_level[11] && !host.gsi_bound[11]);
    struct physdev_irq_status_query q = {.irq = 11};
    CU_ASSERT_EQUAL(PHYSDEV(irq_status_query, &q), 0);
    CU_ASSERT_EQUAL(q.flags, XENIRQSTAT_needs_eoi);
    CU_ASSERT_EQUAL(bind(11, &port), 0);
    CU_ASSERT(host.gsi_bound[11] && !host.gsi_masked[11]);
    CU_ASSERT_EQUAL(PHYSDEV(setup_gsi, &setup), -EEXIST);

    host.gsi_masked[11] = true; /* as arch/ does before the call */
    upcall_irq(11);
    CU_ASSERT(take_event(port));
    CU_ASSERT(host.gsi_masked[11]);
    CU_ASSERT_EQUAL(eoi(11), 0);
    CU_ASSERT(!host.gsi_masked[11]);
    /* An EOI too many does not open a line somebody masked. */
    host.gsi_masked[11] = true;
    CU_ASSERT_EQUAL(eoi(11), 0);
    CU_ASSERT(host.gsi_masked[11]);
    struct evtchn_close c = {port};
    CU_ASSERT_EQUAL(call_copy(CALL_EVTCHN, EVTCHNOP_close, &c, sizeof(c)), 0);
    CU_ASSERT(!host.gsi_bound[11]);
    upcall_irq(11);
    CU_ASSERT(!take_event(port));
    finish();
}

static void test_gsi__edge_needs_no_eoi(void)
{
    int pirq;
    uint32_t port;
    start();
    CU_ASSERT_EQUAL(map_gsi(4, -1, &pirq), 0);
    CU_ASSERT_EQUAL(pirq, 4); /* its own number */
    CU_ASSERT_EQUAL(bind(4, &port), 0);
    struct physdev_irq_status_query q = {.irq = 4};
    CU_ASSERT_EQUAL(PHYSDEV(irq_status_query, &q), 0);
    CU_ASSERT_EQUAL(q.flags, 0);
    upcall_irq(4);
    CU_ASSERT(take_event(port));
    upcall_irq(4);
    CU_ASSERT(take_event(port));
    finish();
}

static void test_gsi__mapping_twice_and_elsewhere(void)
{
    int pirq;
    uint32_t port;
    start();
    CU_ASSERT_EQUAL(map_gsi(9, 9, &pirq), 0);
    CU_ASSERT_EQUAL(map_gsi(9, 9, &pirq), 0);
    CU_ASSERT_EQUAL(map_gsi(9, -1, &pirq), 0);
    CU_ASSERT_EQUAL(pirq, 9);
    CU_ASSERT_EQUAL(map_gsi(9, 10, &pirq), -EEXIST);
    CU_ASSERT_EQUAL(map_gsi(10, 9, &pirq), -EEXIST);
    CU_ASSERT_EQUAL(map_gsi(24, 24, &pirq), -EINVAL);
    CU_ASSERT_EQUAL(map_gsi(-1, -1, &pirq), -EINVAL);
    CU_ASSERT_EQUAL(map_gsi(1, MAX_PIRQS, &pirq), -EINVAL);
    CU_ASSERT_EQUAL(bind(12, &port), -EINVAL);
    CU_ASSERT_EQUAL(bind(100000, &port), -EINVAL);
    CU_ASSERT_EQUAL(bind(9, &port), 0);
    CU_ASSERT_EQUAL(bind(9, &port), -EEXIST);
    CU_ASSERT_EQUAL(eoi(12), -EINVAL);
    CU_ASSERT_EQUAL(eoi(0xffffffff), -EINVAL);
    /* Unmapping takes it from its port, and the port can still be closed. */
    CU_ASSERT_EQUAL(unmap(9), 0);
    CU_ASSERT(!host.gsi_bound[9]);
    CU_ASSERT_EQUAL(unmap(9), -EINVAL);
    CU_ASSERT_EQUAL(unmap(-1), -EINVAL);
    CU_ASSERT_EQUAL(unmap(MAX_PIRQS), -EINVAL);
    finish();
}

static void test_setup_gsi__arguments(void)
{
    static const struct physdev_setup_gsi bad[] = {{-1, 0, 0}, {24, 0, 0}, {5, 2, 0}, {5, 0, 2}};
    start();
    for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
        struct physdev_setup_gsi s = bad[i];
        CU_ASSERT_EQUAL(PHYSDEV(setup_gsi, &s), -EINVAL);
    }
    struct physdev_irq vector = {.irq = 24};
    CU_ASSERT_EQUAL(PHYSDEV(alloc_irq_vector, &vector), -EINVAL);
    finish();
}

/* ---- message interrupts ---- */

static void test_msi__programmed_and_delivered(void)
{
    int pirq;
    uint32_t port;
    start();
    CU_ASSERT_EQUAL(map_msi(MAP_PIRQ_TYPE_MSI_SEG, 0, 0, &pirq), 0);
    CU_ASSERT(pirq >= 24);
    CU_ASSERT_EQUAL(config_get(MSI_CAP + 4, 4), 0xfee00000);
    CU_ASSERT_EQUAL(config_get(MSI_CAP + 8, 4), 0);
    CU_ASSERT_EQUAL(config_get(MSI_CAP + 12, 2), 0x40);
    CU_ASSERT_EQUAL(config_get(MSI_CAP + 16, 4), 1);     /* masked until bound */
    CU_ASSERT_EQUAL(config_get(MSI_CAP + 2, 2), 0x0180); /* one message */
    CU_ASSERT_EQUAL(bind((unsigned)pirq, &port), 0);
    CU_ASSERT_EQUAL(config_get(MSI_CAP + 16, 4), 0);
    upcall_irq(256); /* the first message interrupt's line */
    CU_ASSERT(take_event(port));
    CU_ASSERT_EQUAL(map_msi(MAP_PIRQ_TYPE_MSI, 0, 0, &pirq), -EEXIST);
    CU_ASSERT_EQUAL(host.msi_vectors, 1);
    finish();
}

static void test_msi__without_mask_bits_or_wide_address(void)
{
    int pirq;
    start();
    config_set(MSI_CAP + 2, 2, 1); /* enabled by the driver, nothing optional */
    CU_ASSERT_EQUAL(map_msi(MAP_PIRQ_TYPE_MSI, 0, 0, &pirq), 0);
    CU_ASSERT_EQUAL(config_get(MSI_CAP + 8, 2), 0x40);
    CU_ASSERT_EQUAL(config_get(MSI_CAP + 2, 2), 1);
    CU_ASSERT_EQUAL(config_get(MSI_CAP + 16, 4), 0);
    finish();
}

static void test_msix__each_entry_its_own(void)
{
    int pirq[4];
    uint32_t port;
    start();
    for (int i = 0; i < 4; i++) {
        CU_ASSERT_EQUAL(map_msi(MAP_PIRQ_TYPE_MSI_SEG, TABLE_BAR, i, &pirq[i]), 0);
        CU_ASSERT_EQUAL(table_entry((unsigned)i)[0], 0xfee00000);
        CU_ASSERT_EQUAL(table_entry((unsigned)i)[2], 0x40 + i);
        CU_ASSERT_EQUAL(table_entry((unsigned)i)[3], 1);
    }
    CU_ASSERT_EQUAL(bind((unsigned)pirq[2], &port), 0);
    CU_ASSERT(table_entry(2)[3] == 0 && table_entry(1)[3] == 1);
    upcall_irq(256 + 2);
    CU_ASSERT(take_event(port));
    upcall_irq(256 + 1); /* not bound */
    CU_ASSERT(!take_event(port));
    int other;
    CU_ASSERT_EQUAL(map_msi(MAP_PIRQ_TYPE_MSI_SEG, TABLE_BAR, 4, &other), -EINVAL);
    CU_ASSERT_EQUAL(map_msi(MAP_PIRQ_TYPE_MSI_SEG, TABLE_BAR, -1, &other), -EINVAL);
    CU_ASSERT_EQUAL(unmap(pirq[2]), 0);
    CU_ASSERT_EQUAL(table_entry(2)[3], 1);
    CU_ASSERT_EQUAL(map_msi(MAP_PIRQ_TYPE_MSI_SEG, TABLE_BAR, 2, &other), 0);
    finish();
}

static void test_msix__table_must_be_device_memory(void)
{
    static const uint32_t bars[] = {
        0,                      /* not set */
        0xc001,                 /* ports */
        0x100000,               /* RAM */
        0xfee00000 - 0x800 + 0, /* ends in the interrupt window */
    };
    int pirq;
    start();
    config_set(MSIX_CAP + 4, 4, 0x1000 | 1);
    for (unsigned i = 0; i < ARRAY_SIZE(bars); i++) {
        config_set(0x14, 4, bars[i]);
        CU_ASSERT_EQUAL(map_msi(MAP_PIRQ_TYPE_MSI_SEG, TABLE_BAR, 0, &pirq), -EINVAL);
    }
    /* 64-bit registers: beyond what the processor can address; and in the last slot. */
    config_set(0x14, 4, 0x4);
    config_set(0x18, 4, 0x100000);
    CU_ASSERT_EQUAL(map_msi(MAP_PIRQ_TYPE_MSI_SEG, TABLE_BAR, 0, &pirq), -EINVAL);
    config_set(0x18, 4, 0x10);
    CU_ASSERT_EQUAL(map_msi(MAP_PIRQ_TYPE_MSI_SEG, TABLE_BAR, 0, &pirq), 0);
    config_set(MSIX_CAP + 4, 4, 7); /* no such register */
    CU_ASSERT_EQUAL(map_msi(MAP_PIRQ_TYPE_MSI_SEG, TABLE_BAR, 1, &pirq), -EINVAL);
    finish();
}

static void test_msi__capability_list_of_a_bad_device(void)
{
    int pirq;
    start();
    config_set(0x41, 1, 0x40); /* a loop */
    CU_ASSERT_EQUAL(map_msi(MAP_PIRQ_TYPE_MSI_SEG, 0, 0, &pirq), -ENODEV);
    config_set(0x41, 1, 0x10); /* into the header */
    CU_ASSERT_EQUAL(map_msi(MAP_PIRQ_TYPE_MSI_SEG, 0, 0, &pirq), -ENODEV);
    config_set(0x06, 2, 0);
    CU_ASSERT_EQUAL(map_msi(MAP_PIRQ_TYPE_MSI_SEG, 0, 0, &pirq), -ENODEV);
    memset(config, 0xff, sizeof(config));
    CU_ASSERT_EQUAL(map_msi(MAP_PIRQ_TYPE_MSI_SEG, 0, 0, &pirq), -ENODEV);
    finish();
}

static void test_msi__vectors_run_out(void)
{
    int pirq;
    start();
    config_set(MSIX_CAP + 2, 2, 0xf);
    for (int i = 0; i < 8; i++) {
        CU_ASSERT_EQUAL(map_msi(MAP_PIRQ_TYPE_MSI_SEG, TABLE_BAR, i, &pirq), 0);
    }
    CU_ASSERT_EQUAL(map_msi(MAP_PIRQ_TYPE_MSI_SEG, TABLE_BAR, 8, &pirq), -ENOSPC);
    CU_ASSERT_EQUAL(unmap(24), 0);
    CU_ASSERT_EQUAL(map_msi(MAP_PIRQ_TYPE_MSI_SEG, TABLE_BAR, 8, &pirq), 0);
    finish();
}

static void test_map_pirq__refused_forms(void)
{
    int pirq;
    start();
    CU_ASSERT_EQUAL(map_msi(MAP_PIRQ_TYPE_UNKNOWN, 0, 0, &pirq), -EINVAL);
    CU_ASSERT_EQUAL(map_msi(MAP_PIRQ_TYPE_MULTI_MSI, 0, 4, &pirq), -EOPNOTSUPP);
    CU_ASSERT_EQUAL(map_msi(MAP_PIRQ_TYPE_MULTI_MSI, 0, 1, &pirq), 0);
    struct physdev_map_pirq m = {.domid = DOMID_SELF,
                                 .type = MAP_PIRQ_TYPE_MSI_SEG,
                                 .pirq = -1,
                                 .bus = 1 << 16,
                                 .devfn = DEV_DEVFN};
    CU_ASSERT_EQUAL(PHYSDEV(map_pirq, &m), -ENODEV); /* another segment */
    m.bus = 0x100;
    CU_ASSERT_EQUAL(PHYSDEV(map_pirq, &m), -EINVAL);
    m.bus = 0;
    m.devfn = 0x100;
    CU_ASSERT_EQUAL(PHYSDEV(map_pirq, &m), -EINVAL);
    m.domid = 1;
    CU_ASSERT_EQUAL(PHYSDEV(map_pirq, &m), -EINVAL);
    m.type = MAP_PIRQ_TYPE_GSI;
    m.index = 11;
    CU_ASSERT_EQUAL(PHYSDEV(map_pirq, &m), -EOPNOTSUPP); /* lines stay the control domain's */
    m.domid = 99;
    CU_ASSERT_EQUAL(PHYSDEV(map_pirq, &m), -ESRCH);
    finish();
}

/* ---- where they arrive ---- */

static void pin(struct vcpu *v, unsigned cpu)
{
    cpumask_t mask = {0};
    cpumask_set(&mask, cpu);
    CU_ASSERT_EQUAL(sched_set_affinity(v, &mask), 0);
    CU_ASSERT_EQUAL(v->sched.pcpu, cpu);
}

static long bind_vcpu(uint32_t port, uint32_t vcpu)
{
    struct evtchn_bind_vcpu b = {port, vcpu};
    return call_copy(CALL_EVTCHN, EVTCHNOP_bind_vcpu, &b, sizeof(b));
}

/* vCPU 0 on pcpu 0, vCPU 1 on pcpu 1. Line 11, MSI and MSI-X entry 2, bound. */
static void start_three(int pirq[3], uint32_t port[3])
{
    start();
    pin(control->vcpu[0], 0);
    pin(control->vcpu[1], 1);
    CU_ASSERT_EQUAL(map_gsi(11, 11, &pirq[0]), 0);
    CU_ASSERT_EQUAL(map_msi(MAP_PIRQ_TYPE_MSI_SEG, 0, 0, &pirq[1]), 0);
    CU_ASSERT_EQUAL(map_msi(MAP_PIRQ_TYPE_MSI_SEG, TABLE_BAR, 2, &pirq[2]), 0);
    for (unsigned i = 0; i < 3; i++) {
        CU_ASSERT_EQUAL(bind((unsigned)pirq[i], &port[i]), 0);
    }
}

static void all_at(unsigned cpu)
{
    CU_ASSERT_EQUAL(host.gsi_cpu[11], cpu);
    CU_ASSERT_EQUAL(config_get(MSI_CAP + 4, 4), 0xfee00000 | cpu << 12);
    CU_ASSERT_EQUAL(config_get(MSI_CAP + 12, 2), 0x40);
    CU_ASSERT_EQUAL(config_get(MSI_CAP + 16, 4), 0);
    CU_ASSERT_EQUAL(table_entry(2)[0], 0xfee00000 | cpu << 12);
    CU_ASSERT(table_entry(2)[2] == 0x41 && table_entry(2)[3] == 0);
}

static void test_route__with_the_vcpu_of_the_port(void)
{
    int pirq[3];
    uint32_t port[3];
    start_three(pirq, port);
    all_at(0);
    for (unsigned i = 0; i < 3; i++) {
        CU_ASSERT_EQUAL(bind_vcpu(port[i], 1), 0);
    }
    all_at(1);
    CU_ASSERT_EQUAL(bind_vcpu(port[0], 2), -ENOENT);
    all_at(1);
    CU_ASSERT_EQUAL(host.gsi_masked[11], 0);
    /* No business of a port of another kind. */
    struct evtchn_alloc_unbound other = {.dom = DOMID_SELF, .remote_dom = 1};
    CU_ASSERT_EQUAL(call_copy(CALL_EVTCHN, EVTCHNOP_alloc_unbound, &other, sizeof(other)), 0);
    CU_ASSERT_EQUAL(bind_vcpu(other.port, 0), 0);
    all_at(1);
    finish();
}

/* A vCPU that has moved is followed at the next arrival, which still reaches it. */
static void test_route__follows_a_move(void)
{
    static const unsigned token[] = {11, 256, 257};
    int pirq[3];
    uint32_t port[3];
    start_three(pirq, port);
    for (unsigned i = 0; i < 3; i++) {
        CU_ASSERT_EQUAL(bind_vcpu(port[i], 1), 0);
    }
    pin(control->vcpu[1], 0);
    all_at(1);
    host_play(1);
    for (unsigned i = 0; i < 3; i++) {
        upcall_irq(token[i]);
        CU_ASSERT(take_event(port[i]));
    }
    host_play(0);
    all_at(0);
    for (unsigned i = 0; i < 3; i++) {
        upcall_irq(token[i]);
        CU_ASSERT(take_event(port[i]));
    }
    all_at(0);
    finish();
}

/* A level that is masked until its EOI stays so, and what is bound anew is where it is said to be.
 */
static void test_route__masked_and_bound_anew(void)
{
    int pirq[3];
    uint32_t port[3];
    start_three(pirq, port);
    host.gsi_level[11] = host.gsi_masked[11] = true;
    upcall_irq(11);
    CU_ASSERT_EQUAL(bind_vcpu(port[0], 1), 0);
    CU_ASSERT(host.gsi_cpu[11] == 1 && host.gsi_masked[11]);
    CU_ASSERT_EQUAL(eoi(11), 0);
    CU_ASSERT(!host.gsi_masked[11]);
    for (unsigned i = 0; i < 3; i++) {
        struct evtchn_close c = {port[i]};
        CU_ASSERT_EQUAL(call_copy(CALL_EVTCHN, EVTCHNOP_close, &c, sizeof(c)), 0);
        CU_ASSERT_EQUAL(bind((unsigned)pirq[i], &port[i]), 0);
    }
    all_at(0); /* a new port is vCPU 0's */
    pirq_route(control, (unsigned)pirq[1], 1);
    device_reset();
    struct physdev_pci_device dev = {0, DEV_BUS, DEV_DEVFN};
    CU_ASSERT_EQUAL(PHYSDEV(restore_msi_ext, &dev), 0);
    CU_ASSERT_EQUAL(config_get(MSI_CAP + 4, 4), 0xfee01000);
    CU_ASSERT_EQUAL(unmap(pirq[1]), 0);
    pirq_route(control, (unsigned)pirq[1], 0);               /* nothing there */
    CU_ASSERT_EQUAL(config_get(MSI_CAP + 4, 4), 0xfee01000); /* and nothing touched */
    finish();
}

static void test_route__is_shown(void)
{
    int pirq[3];
    uint32_t port[3];
    start_three(pirq, port);
    CU_ASSERT_EQUAL(bind_vcpu(port[2], 1), 0);
    upcall_irq(11);
    upcall_irq(11);
    host_play(1);
    upcall_irq(257);
    host_play(0);
    upcall_irq(257); /* one that was on its way */
    host.console_bytes = 0;
    memset(host.console, 0, sizeof(host.console));
    evtchn_show(control);
    CU_ASSERT_PTR_NOT_NULL(strstr(host.console, "line to pcpu 0, taken there 2 times"));
    CU_ASSERT_PTR_NOT_NULL(strstr(host.console, "message to pcpu 0, taken there 0 times"));
    CU_ASSERT_PTR_NOT_NULL(strstr(host.console, "message to pcpu 1, taken there 1 times"));
    finish();
}

/* A message of a device for a guest: only the control domain maps it, the guest binds it and gets
 * the events, and with the guest it goes. */
static void test_map_pirq__for_a_guest(void)
{
    struct physdev_map_pirq m = {.domid = 1,
                                 .type = MAP_PIRQ_TYPE_MSI_SEG,
                                 .pirq = -1,
                                 .bus = DEV_BUS,
                                 .devfn = DEV_DEVFN,
                                 .entry_nr = 1,
                                 .table_base = TABLE_BAR};
    struct physdev_unmap_pirq u = {.domid = 1};
    uint32_t port, none;
    start();
    suite_enter(guest->vcpu[0]);
    CU_ASSERT_EQUAL(PHYSDEV(map_pirq, &m), -EPERM);
    m.domid = DOMID_SELF;
    CU_ASSERT_EQUAL(PHYSDEV(map_pirq, &m), -EPERM);
    suite_enter(control->vcpu[0]);
    m.domid = 1;
    CU_ASSERT_EQUAL(PHYSDEV(map_pirq, &m), 0);
    CU_ASSERT_EQUAL(bind((unsigned)m.pirq, &none), -EINVAL); /* not the control domain's */
    suite_enter(guest->vcpu[0]);
    CU_ASSERT_EQUAL(bind((unsigned)m.pirq, &port), 0);
    u.pirq = m.pirq;
    CU_ASSERT_EQUAL(PHYSDEV(unmap_pirq, &u), -EPERM);
    suite_enter(control->vcpu[0]);
    upcall_irq(MAX_GSIS);
    CU_ASSERT(test_and_clear_bit(port, (uint64_t *)guest->shared_info->evtchn_pending));
    CU_ASSERT_EQUAL(PHYSDEV(unmap_pirq, &u), 0);
    upcall_irq(MAX_GSIS);
    CU_ASSERT(!evtchn_is_pending(guest, port));
    CU_ASSERT_EQUAL(PHYSDEV(map_pirq, &m), 0);
    CU_ASSERT_EQUAL(host.msi_vectors, 1);
    suite_destroy(guest);
    CU_ASSERT_EQUAL(host.msi_vectors, 0);
    CU_ASSERT_EQUAL(PHYSDEV(map_pirq, &m), -ESRCH);
    guest = suite_domain(1, 1);
    finish();
}

/* ---- devices coming and going ---- */

static void test_device__restore_and_remove(void)
{
    int pirq, second;
    uint32_t port;
    start();
    struct physdev_pci_device dev = {0, DEV_BUS, DEV_DEVFN};
    CU_ASSERT_EQUAL(map_msi(MAP_PIRQ_TYPE_MSI_SEG, 0, 0, &pirq), 0);
    CU_ASSERT_EQUAL(map_msi(MAP_PIRQ_TYPE_MSI_SEG, TABLE_BAR, 1, &second), 0);
    CU_ASSERT_EQUAL(bind((unsigned)pirq, &port), 0);
    device_reset(); /* the device forgot everything */
    table_entry(1)[2] = 0;
    CU_ASSERT_EQUAL(PHYSDEV(restore_msi_ext, &dev), 0);
    CU_ASSERT_EQUAL(config_get(MSI_CAP + 12, 2), 0x40);
    CU_ASSERT_EQUAL(config_get(MSI_CAP + 16, 4), 0); /* bound: open */
    CU_ASSERT_EQUAL(table_entry(1)[2], 0x41);
    CU_ASSERT_EQUAL(table_entry(1)[3], 1); /* not bound: masked */
    CU_ASSERT_EQUAL(PHYSDEV(pci_device_remove, &dev), 0);
    CU_ASSERT_EQUAL(host.msi_vectors, 0);
    CU_ASSERT_EQUAL(unmap(pirq), -EINVAL);
    upcall_irq(256);
    CU_ASSERT(!take_event(port));
    finish();
}

static long pcitopoinfo(struct xen_sysctl *op)
{
    op->cmd = XEN_SYSCTL_pcitopoinfo;
    op->interface_version = XEN_SYSCTL_INTERFACE_VERSION;
    vaddr_t va = host_guest_put(op, sizeof(*op));
    long rc = suite_call(__HYPERVISOR_sysctl, va, 0, 0);
    *op = *(struct xen_sysctl *)host_guest_ptr(va);
    return rc;
}

static void test_sysctl_pcitopoinfo(void)
{
    physdev_pci_device_t devs[] = {
        {0, DEV_BUS, DEV_DEVFN}, {0, DEV_BUS, 0x20}, {1, DEV_BUS, DEV_DEVFN}};
    struct xen_sysctl op = {.u.pcitopoinfo = {.num_devs = 3}};
    start();
    vaddr_t nodes = host_guest_alloc(sizeof(uint32_t[3]));
    const uint32_t *node = host_guest_ptr(nodes);
    op.u.pcitopoinfo.devs.p = (void *)host_guest_put(devs, sizeof(devs));
    op.u.pcitopoinfo.nodes.p = (void *)nodes;
    CU_ASSERT_EQUAL(pcitopoinfo(&op), 0);
    CU_ASSERT_EQUAL(op.u.pcitopoinfo.num_devs, 3);
    CU_ASSERT(node[0] == 0 && node[1] == XEN_INVALID_DEV && node[2] == XEN_INVALID_DEV);
    op.u.pcitopoinfo.nodes.p = (void *)HOST_BAD_ADDR;
    CU_ASSERT_EQUAL(pcitopoinfo(&op), -EFAULT);
    op.u.pcitopoinfo.devs.p = (void *)HOST_BAD_ADDR;
    CU_ASSERT_EQUAL(pcitopoinfo(&op), -EFAULT);
    finish();
}

static void test_device__add(void)
{
    start();
    struct {
        struct physdev_pci_device_add dev;
        uint32_t pxm;
    } add = {.dev = {.bus = DEV_BUS, .devfn = DEV_DEVFN}};
    CU_ASSERT_EQUAL(PHYSDEV(pci_device_add, &add), 0);
    add.dev.devfn = 0x20;
    CU_ASSERT_EQUAL(PHYSDEV(pci_device_add, &add), -ENODEV);
    add.dev.devfn = DEV_DEVFN;
    add.dev.seg = 1;
    CU_ASSERT_EQUAL(PHYSDEV(pci_device_add, &add), -ENODEV);
    struct physdev_pci_device dev = {0, DEV_BUS, DEV_DEVFN};
    CU_ASSERT_EQUAL(PHYSDEV(prepare_msix, &dev), 0);
    CU_ASSERT_EQUAL(PHYSDEV(release_msix, &dev), 0);
    dev.devfn = 0;
    CU_ASSERT_EQUAL(PHYSDEV(prepare_msix, &dev), -ENODEV);
    CU_ASSERT_EQUAL(PHYSDEV(release_msix, &dev), -ENODEV);
    dev.seg = 1; /* there is one segment */
    CU_ASSERT_EQUAL(PHYSDEV(pci_device_remove, &dev), -ENODEV);
    CU_ASSERT_EQUAL(PHYSDEV(restore_msi_ext, &dev), -ENODEV);
    finish();
}

/* The calls from before there were segments; asked by a guest, each is refused. */
static void test_device__old_calls(void)
{
    start();
    struct physdev_manage_pci dev = {DEV_BUS, DEV_DEVFN};
    struct physdev_manage_pci_ext ext = {.bus = DEV_BUS, .devfn = DEV_DEVFN};
    struct physdev_restore_msi restore = {DEV_BUS, DEV_DEVFN};
    struct physdev_irq_status_query query = {.irq = 4711};
    int pirq;
    CU_ASSERT_EQUAL(PHYSDEV(manage_pci_add, &dev), 0);
    CU_ASSERT_EQUAL(PHYSDEV(manage_pci_add_ext, &ext), 0);
    CU_ASSERT_EQUAL(map_msi(MAP_PIRQ_TYPE_MSI_SEG, 0, 0, &pirq), 0);
    device_reset();
    CU_ASSERT_EQUAL(PHYSDEV(restore_msi, &restore), 0);
    CU_ASSERT_EQUAL(config_get(MSI_CAP + 12, 2), 0x40);
    CU_ASSERT_EQUAL(PHYSDEV(manage_pci_remove, &dev), 0);
    CU_ASSERT_EQUAL(host.msi_vectors, 0);
    CU_ASSERT_EQUAL(unmap(pirq), -EINVAL);
    CU_ASSERT_EQUAL(PHYSDEV(irq_status_query, &query), -EINVAL);
    dev.devfn = ext.devfn = 0x20;
    CU_ASSERT_EQUAL(PHYSDEV(manage_pci_add, &dev), -ENODEV);
    CU_ASSERT_EQUAL(PHYSDEV(manage_pci_add_ext, &ext), -ENODEV);
    suite_enter(guest->vcpu[0]);
    CU_ASSERT_EQUAL(PHYSDEV(manage_pci_remove, &dev), -EPERM);
    CU_ASSERT_EQUAL(PHYSDEV(restore_msi, &restore), -EPERM);
    finish();
}

static void test_free_pirq(void)
{
    start();
    struct physdev_get_free_pirq f = {.type = MAP_PIRQ_TYPE_MSI};
    CU_ASSERT_EQUAL(PHYSDEV(get_free_pirq, &f), 0);
    uint32_t first = f.pirq;
    CU_ASSERT_EQUAL(PHYSDEV(get_free_pirq, &f), 0);
    CU_ASSERT(first >= 24 && f.pirq == first + 1);
    uint32_t port;
    CU_ASSERT_EQUAL(bind(first, &port), -EINVAL); /* nothing behind it */
    CU_ASSERT_EQUAL(unmap((int)first), 0);
    f.type = MAP_PIRQ_TYPE_GSI;
    CU_ASSERT_EQUAL(PHYSDEV(get_free_pirq, &f), -EINVAL);
    finish();
}

/* ---- who may ---- */

static void test_unprivileged(void)
{
    static const unsigned cmds[] = {5, 10, 12, 15, 16, 19, 20, 21, 23, 25, 26, 27, 30, 31};
    start();
    suite_enter(guest->vcpu[0]);
    vaddr_t arg = host_guest_alloc(64);
    for (unsigned i = 0; i < ARRAY_SIZE(cmds); i++) {
        CU_ASSERT_EQUAL(suite_call(CALL_PHYSDEV, cmds[i], arg, 0), -EPERM);
    }
    int pirq;
    CU_ASSERT_EQUAL(map_gsi(9, 9, &pirq), -EPERM);
    CU_ASSERT_EQUAL(unmap(9), -EPERM);
    finish();
}

static void test_unknown_and_bad_address(void)
{
    static const unsigned unknown[] = {0, 4, 8, 9, 11, 17, 18, 22, 24, 28, 29, 32, 1000};
    static const unsigned known[] = {5, 6, 7, 10, 12, 13, 14, 21, 25};
    start();
    vaddr_t arg = host_guest_alloc(64);
    for (unsigned i = 0; i < ARRAY_SIZE(unknown); i++) {
        CU_ASSERT_EQUAL(suite_call(CALL_PHYSDEV, unknown[i], arg, 0), -ENOSYS);
    }
    for (unsigned i = 0; i < ARRAY_SIZE(known); i++) {
        CU_ASSERT_EQUAL(suite_call(CALL_PHYSDEV, known[i], HOST_BAD_ADDR, 0), -EFAULT);
    }
    finish();
}

static void test_io_rights__of_any_guest(void)
{
    start();
    suite_enter(guest->vcpu[0]);
    struct physdev_set_iopl iopl = {1};
    CU_ASSERT_EQUAL(PHYSDEV(set_iopl, &iopl), 0);
    CU_ASSERT_EQUAL(guest->vcpu[0]->pv.iopl, 1);
    iopl.iopl = 4;
    CU_ASSERT_EQUAL(PHYSDEV(set_iopl, &iopl), -EINVAL);
    struct physdev_set_iobitmap map = {.nr_ports = 65536};
    map.bitmap.p = (uint8_t *)0xffff888000000000UL;
    CU_ASSERT_EQUAL(PHYSDEV(set_iobitmap, &map), 0);
    CU_ASSERT_EQUAL(guest->vcpu[0]->pv.iobmp_ports, 65536);
    map.nr_ports = 65537;
    CU_ASSERT_EQUAL(PHYSDEV(set_iobitmap, &map), -EINVAL);
    map.nr_ports = 1;
    map.bitmap.p = (uint8_t *)0x8000000000000000UL;
    CU_ASSERT_EQUAL(PHYSDEV(set_iobitmap, &map), -EINVAL);
    finish();
}

/* ---- configuration space ---- */

static void test_pci_ports__address_is_the_domains(void)
{
    start();
    CU_ASSERT_EQUAL(pci_guest_in(control, 0xcfc, 4), ~0u); /* nothing enabled */
    pci_guest_out(control, 0xcf8, 4, 0x80000000 | DEV_DEVFN << 8);
    CU_ASSERT_EQUAL(pci_read(PCI_BDF(0, 0), 0, 4), ~0u); /* the hypervisor looks elsewhere */
    CU_ASSERT_EQUAL(pci_guest_in(control, 0xcf8, 4), 0x80000000 | DEV_DEVFN << 8);
    CU_ASSERT_EQUAL(pci_guest_in(control, 0xcfc, 4), 0x10001af4);
    CU_ASSERT_EQUAL(pci_guest_in(control, 0xcfe, 2), 0x1000);
    CU_ASSERT_EQUAL(pci_guest_in(control, 0xcfd, 1), 0x1a);
    CU_ASSERT_EQUAL(pci_guest_in(control, 0xcfe, 4), ~0u); /* over the end */
    pci_guest_out(control, 0xcf8, 4, 0x80000000 | DEV_DEVFN << 8 | 0x3c);
    pci_guest_out(control, 0xcfc, 1, 0x55);
    CU_ASSERT_EQUAL(config_get(0x3c, 4), 0x55);
    /* Narrow accesses to the address register are other ports. */
    pci_guest_out(control, 0xcf8, 1, 0);
    pci_guest_out(control, 0xcf9, 1, 6);
    CU_ASSERT_EQUAL(pci_guest_in(control, 0xcf8, 4), 0x80000000 | DEV_DEVFN << 8 | 0x3c);
    CU_ASSERT_EQUAL(pci_guest_in(control, 0xcfb, 1), ~0u);
    finish();
}

int main(void)
{
    static const struct suite_case cases[] = {
        CASE(test_gsi__level_stays_masked_until_eoi),
        CASE(test_gsi__edge_needs_no_eoi),
        CASE(test_gsi__mapping_twice_and_elsewhere),
        CASE(test_setup_gsi__arguments),
        CASE(test_msi__programmed_and_delivered),
        CASE(test_msi__without_mask_bits_or_wide_address),
        CASE(test_msix__each_entry_its_own),
        CASE(test_msix__table_must_be_device_memory),
        CASE(test_msi__capability_list_of_a_bad_device),
        CASE(test_msi__vectors_run_out),
        CASE(test_map_pirq__refused_forms),
        CASE(test_route__with_the_vcpu_of_the_port),
        CASE(test_route__follows_a_move),
        CASE(test_route__masked_and_bound_anew),
        CASE(test_route__is_shown),
        CASE(test_map_pirq__for_a_guest),
        CASE(test_device__restore_and_remove),
        CASE(test_sysctl_pcitopoinfo),
        CASE(test_device__add),
        CASE(test_device__old_calls),
        CASE(test_free_pirq),
        CASE(test_unprivileged),
        CASE(test_unknown_and_bad_address),
        CASE(test_io_rights__of_any_guest),
        CASE(test_pci_ports__address_is_the_domains),
    };
    return SUITE("physdev, pirq, pci", 2, cases);
}
