// SPDX-License-Identifier: MIT
/*
 * The static ACPI tables: found, checked (bounds and checksum) and boiled down to acpi_facts at
 * start-up. AML is never looked at; the control domain does that. Runs once, on the first CPU.
 */
#include "base/log.h"
#include "base/string.h"
#include "machine.h"

#define TABLE_BYTES_MAX (1u << 20)
#define SPACE_MEMORY 0
#define SPACE_IO 1

struct packed rsdp {
    char signature[8];
    uint8_t checksum;
    char oem[6];
    uint8_t revision;
    uint32_t rsdt;
    uint32_t bytes;
    uint64_t xsdt;
    uint8_t checksum2, reserved[3];
};
#define RSDP_V1_BYTES 20

struct packed header {
    char signature[4];
    uint32_t bytes;
    uint8_t revision, checksum;
    char oem[6], oem_table[8];
    uint32_t oem_revision, creator, creator_revision;
};

struct packed gas {
    uint8_t space, bits, offset, access;
    uint64_t address;
};

struct packed fadt {
    struct header header;
    uint32_t facs, dsdt;
    uint8_t reserved0, profile;
    uint16_t sci;
    uint32_t smi_command;
    uint8_t enable, disable, s4, pstate;
    uint32_t pm1a_evt, pm1b_evt, pm1a_cnt, pm1b_cnt, pm2_cnt, pm_timer, gpe0, gpe1;
    uint8_t lengths[12];
    uint16_t flush_size, flush_stride;
    uint8_t duty_offset, duty_width, day_alarm, month_alarm, century;
    uint16_t boot_flags;
    uint8_t reserved1;
    uint32_t flags;
    struct gas reset;
    uint8_t reset_value;
    uint8_t arm[2], minor;
    uint64_t x_facs, x_dsdt;
    struct gas x_pm1a_evt, x_pm1b_evt, x_pm1a_cnt, x_pm1b_cnt, x_pm2_cnt, x_pm_timer;
};
#define FADT_TIMER_32BIT (1u << 8)
#define FADT_HAS_RESET (1u << 10)

struct acpi_facts acpi_facts;

/* Memory of firmware: in the direct map where the memory map says it is RAM or ACPI's, else
 * mapped for good. */
static const void *phys(maddr_t base, uint64_t bytes)
{
    for (unsigned i = 0; i < arch_e820_count(); i++) {
        const struct arch_e820 *e = arch_e820(i);
        bool direct = e->type == 3 || e->type == 4 || arch_mfn_is_ram(base >> PAGE_SHIFT);
        if (direct && base >= e->start && base + bytes <= e->start + e->bytes) {
            return (const char *)mfn_to_virt(0) + base;
        }
    }
    return (const void *)(uintptr_t)arch_ioremap(base, bytes);
}

static bool checksum_ok(const void *table, uint64_t bytes)
{
    uint8_t sum = 0;
    for (uint64_t i = 0; i < bytes; i++) {
        sum = (uint8_t)(sum + ((const uint8_t *)table)[i]);
    }
    return !sum;
}

/* ---- root pointer ---- */

static bool rsdp_ok(const struct rsdp *r)
{
    return !memcmp(r->signature, "RSD PTR ", 8) && checksum_ok(r, RSDP_V1_BYTES);
}

/* Search [base, base + bytes) of the first MiB, mapped at `view`. */
static maddr_t rsdp_search(const char *view, maddr_t base, uint64_t bytes)
{
    for (uint64_t at = 0; at + sizeof(struct rsdp) <= bytes; at += 16) {
        if (rsdp_ok((const struct rsdp *)(view + base + at))) {
            return base + at;
        }
    }
    return 0;
}

static maddr_t rsdp_find(void)
{
    const char *low = (const char *)(uintptr_t)arch_ioremap(0, 1 << 20);
    if (!low) {
        return 0;
    }
    uint16_t segment;
    memcpy(&segment, low + 0x40e, sizeof(segment));
    maddr_t ebda = (maddr_t)segment << 4;
    maddr_t found = ebda >= 0x400 && ebda <= 0x9fc00 ? rsdp_search(low, ebda, 1024) : 0;
    return found ? found : rsdp_search(low, 0xe0000, 0x20000);
}

/* ---- tables ---- */

/* A table at `base`, checked; NULL when it is not usable. */
static const struct header *table_at(maddr_t base)
{
    const struct header *h = base ? phys(base, sizeof(*h)) : NULL;
    if (!h || h->bytes < sizeof(*h) || h->bytes > TABLE_BYTES_MAX) {
        return NULL;
    }
    h = phys(base, h->bytes);
    if (!h || !checksum_ok(h, h->bytes)) {
        printk("ACPI: the table at %lx has a wrong checksum, ignored\n", base);
        return NULL;
    }
    return h;
}

static void parse_isa_override(const uint8_t *e)
{
    uint32_t gsi;
    uint16_t flags;
    memcpy(&gsi, e + 4, sizeof(gsi));
    memcpy(&flags, e + 8, sizeof(flags));
    if (e[2] == 0 && e[3] < 16 && gsi < 256) {
        /* polarity and trigger: 0 is the bus's usual (ISA: high, edge), 3 is low, level */
        acpi_facts.isa[e[3]].used = true;
        acpi_facts.isa[e[3]].gsi = (uint8_t)gsi;
        acpi_facts.isa[e[3]].low = (flags & 3) == 3;
        acpi_facts.isa[e[3]].level = (flags >> 2 & 3) == 3;
    }
}

static void add_cpu(uint32_t id, uint32_t flags)
{
    if ((flags & 1) && acpi_facts.cpu_count < MAX_PCPUS) {
        acpi_facts.apic_id[acpi_facts.cpu_count++] = id;
    }
}

static void parse_madt_entry(const uint8_t *e)
{
    uint32_t word[4] = {0};
    memcpy(word, e, MIN(e[1], sizeof(word)));
    switch (e[0]) {
    case 0: /* processor */
        if (e[1] >= 8) {
            add_cpu(e[3], word[1]);
        }
        break;
    case 1: /* I/O APIC */
        if (e[1] >= 12 && acpi_facts.ioapic_count < ARRAY_SIZE(acpi_facts.ioapic)) {
            unsigned i = acpi_facts.ioapic_count++;
            acpi_facts.ioapic[i].id = e[2];
            acpi_facts.ioapic[i].base = word[1];
            acpi_facts.ioapic[i].gsi_base = word[2];
        }
        break;
    case 2:
        if (e[1] >= 10) {
            parse_isa_override(e);
        }
        break;
    case 5: /* 64-bit address of the local APICs */
        if (e[1] >= 12) {
            memcpy(&acpi_facts.lapic, e + 4, sizeof(acpi_facts.lapic));
        }
        break;
    case 9: /* processor with an x2APIC id */
        if (e[1] >= 16 && word[1] >= 255) {
            add_cpu(word[1], word[2]);
        }
        break;
    default:
        break;
    }
}

static void parse_madt(const struct header *h)
{
    const uint8_t *table = (const uint8_t *)h;
    uint32_t word[2];
    if (h->bytes < sizeof(*h) + sizeof(word)) {
        return;
    }
    memcpy(word, h + 1, sizeof(word));
    acpi_facts.lapic = word[0];
    acpi_facts.has_8259 = word[1] & 1;
    for (uint32_t at = sizeof(*h) + sizeof(word); at + 2 <= h->bytes; at += table[at + 1]) {
        if (table[at + 1] < 2 || at + table[at + 1] > h->bytes) {
            printk("ACPI: malformed entry in the MADT\n");
            return;
        }
        parse_madt_entry(table + at);
    }
}

/* The I/O port of a register that has an old 32-bit field and perhaps a newer, generic one. */
static uint16_t io_port(uint32_t old, const struct gas *gas)
{
    if (gas->space == SPACE_IO && gas->address && gas->address < 0x10000) {
        return (uint16_t)gas->address;
    }
    return old < 0x10000 ? (uint16_t)old : 0;
}

static void parse_fadt(const struct header *h)
{
    struct fadt f = {0};
    memcpy(&f, h, MIN(h->bytes, sizeof(f)));
    acpi_facts.pm1a_cnt = io_port(f.pm1a_cnt, &f.x_pm1a_cnt);
    acpi_facts.pm1b_cnt = io_port(f.pm1b_cnt, &f.x_pm1b_cnt);
    acpi_facts.pm_timer = io_port(f.pm_timer, &f.x_pm_timer);
    acpi_facts.pm_timer_32bit = f.flags & FADT_TIMER_32BIT;
    acpi_facts.century = f.century;
    if ((f.flags & FADT_HAS_RESET) && f.reset.space == SPACE_IO && f.reset.address < 0x10000) {
        acpi_facts.has_reset = true;
        acpi_facts.reset_port = (uint16_t)f.reset.address;
        acpi_facts.reset_value = f.reset_value;
    }
}

static void parse_hpet(const struct header *h)
{
    struct gas gas;
    if (h->bytes >= sizeof(*h) + 4 + sizeof(gas)) {
        memcpy(&gas, (const char *)(h + 1) + 4, sizeof(gas));
        acpi_facts.hpet = gas.space == SPACE_MEMORY ? gas.address : 0;
    }
}

static void parse_mcfg(const struct header *h)
{
    struct packed {
        uint64_t base;
        uint16_t segment;
        uint8_t first_bus, last_bus;
        uint32_t reserved;
    } e;
    for (uint32_t at = sizeof(*h) + 8; at + sizeof(e) <= h->bytes; at += sizeof(e)) {
        memcpy(&e, (const char *)h + at, sizeof(e));
        if (acpi_facts.mcfg_count < ARRAY_SIZE(acpi_facts.mcfg) && e.first_bus <= e.last_bus) {
            unsigned i = acpi_facts.mcfg_count++;
            acpi_facts.mcfg[i].base = e.base;
            acpi_facts.mcfg[i].segment = e.segment;
            acpi_facts.mcfg[i].first_bus = e.first_bus;
            acpi_facts.mcfg[i].last_bus = e.last_bus;
        }
    }
}

static void parse_table(maddr_t base)
{
    static const struct {
        char signature[5];
        void (*parse)(const struct header *h);
    } parsers[] = {
        {"APIC", parse_madt}, {"FACP", parse_fadt}, {"HPET", parse_hpet}, {"MCFG", parse_mcfg}};
    const struct header *h = table_at(base);
    for (unsigned i = 0; h && i < ARRAY_SIZE(parsers); i++) {
        if (!memcmp(h->signature, parsers[i].signature, 4)) {
            parsers[i].parse(h);
        }
    }
}

static void parse_root(const struct rsdp *r)
{
    bool extended = r->revision >= 2 && r->xsdt;
    const struct header *root = table_at(extended ? r->xsdt : r->rsdt);
    if (!root && extended) {
        extended = false;
        root = table_at(r->rsdt);
    }
    if (!root) {
        printk("ACPI: no usable root table\n");
        return;
    }
    uint32_t step = extended ? 8 : 4;
    for (uint32_t at = sizeof(*root); at + step <= root->bytes; at += step) {
        maddr_t base = 0;
        memcpy(&base, (const char *)root + at, step);
        parse_table(base);
    }
}

static void report(void)
{
    printk("ACPI: root at %lx, %u processors, local APIC at %lx, %u I/O APICs, HPET at %lx\n",
           acpi_facts.rsdp, acpi_facts.cpu_count, acpi_facts.lapic, acpi_facts.ioapic_count,
           acpi_facts.hpet);
    for (unsigned i = 0; i < acpi_facts.ioapic_count; i++) {
        printk("ACPI: I/O APIC %u at %lx, lines from %u\n", acpi_facts.ioapic[i].id,
               acpi_facts.ioapic[i].base, acpi_facts.ioapic[i].gsi_base);
    }
    printk("ACPI: PM1 control %x/%x, timer %x (%u bits), reset %x=%02x\n", acpi_facts.pm1a_cnt,
           acpi_facts.pm1b_cnt, acpi_facts.pm_timer, acpi_facts.pm_timer_32bit ? 32 : 24,
           acpi_facts.reset_port, acpi_facts.reset_value);
    for (unsigned i = 0; i < acpi_facts.mcfg_count; i++) {
        printk("ACPI: PCI segment %u buses %02x-%02x at %lx\n", acpi_facts.mcfg[i].segment,
               acpi_facts.mcfg[i].first_bus, acpi_facts.mcfg[i].last_bus, acpi_facts.mcfg[i].base);
    }
}

void acpi_init(maddr_t rsdp)
{
    acpi_facts.rsdp = rsdp ? rsdp : rsdp_find();
    const struct rsdp *r = acpi_facts.rsdp ? phys(acpi_facts.rsdp, sizeof(*r)) : NULL;
    if (r && rsdp_ok(r)) {
        parse_root(r);
        report();
    } else {
        printk("ACPI: none found\n");
    }
}

maddr_t arch_acpi_rsdp(void)
{
    return acpi_facts.rsdp;
}

unsigned arch_cpus_present(void)
{
    return MAX(acpi_facts.cpu_count, 1u);
}

unsigned arch_cpus_online(void)
{
    return 1;
}
