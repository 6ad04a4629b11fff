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

/* what we need of it; skipped: bytes that lie between */
struct packed fadt {
    struct header header;
    uint8_t skipped0[28];
    uint32_t pm1a_cnt, pm1b_cnt, pm2_cnt, pm_timer;
    uint8_t skipped1[28], century, skipped2[3];
    uint32_t flags;
    struct gas reset;
    uint8_t reset_value, skipped3[43];
    struct gas x_pm1a_cnt, x_pm1b_cnt, x_pm2_cnt, x_pm_timer;
};
_Static_assert(offsetof(struct fadt, flags) == 112, "ACPI");
_Static_assert(sizeof(struct fadt) == 220, "ACPI");
#define FADT_HAS_RESET (1u << 10)

struct acpi_facts acpi_facts;

/* Memory of firmware: in the direct map where the memory map says it is RAM or ACPI's, else
 * mapped for good. */
static const void *phys(maddr_t base, uint64_t bytes)
{
    for (unsigned i = 0; i < arch_facts.e820_count; i++) {
        const struct arch_e820 *e = &arch_facts.e820[i];
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

/* Search [from, to) of the first MiB, mapped at `view`. */
static maddr_t rsdp_search(const char *view, maddr_t from, maddr_t to)
{
    for (maddr_t at = from; at + sizeof(struct rsdp) <= to; at += 16) {
        if (rsdp_ok((const struct rsdp *)(view + at))) {
            return at;
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
    maddr_t found = ebda >= 0x400 && ebda <= 0x9fc00 ? rsdp_search(low, ebda, ebda + 1024) : 0;
    return found ?: rsdp_search(low, 0xe0000, 0x100000);
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

static void add_cpu(uint32_t id, uint32_t flags)
{
    if ((flags & 1) && acpi_facts.cpu_count < MAX_PCPUS) {
        acpi_facts.apic_id[acpi_facts.cpu_count++] = id;
    }
}

static void parse_madt_entry(const uint8_t *e)
{
    enum { CPU, IOAPIC, ISA_OVERRIDE, LAPIC_ADDRESS = 5, X2APIC_CPU = 9 };
    static const uint8_t bytes[] = {
        [CPU] = 8, [IOAPIC] = 12, [ISA_OVERRIDE] = 10, [LAPIC_ADDRESS] = 12, [X2APIC_CPU] = 16};
    uint32_t word[4] = {0};
    if (e[0] >= sizeof(bytes) || e[1] < bytes[e[0]]) {
        return;
    }
    memcpy(word, e, MIN(e[1], sizeof(word)));
    switch (e[0]) {
    case CPU:
        add_cpu(e[3], word[1]);
        break;
    case IOAPIC:
        if (acpi_facts.ioapic_count < ARRAY_SIZE(acpi_facts.ioapic)) {
            printk("ACPI: I/O APIC %u at %x, lines from %u\n", e[2], word[1], word[2]);
            acpi_facts.ioapic[acpi_facts.ioapic_count].base = word[1];
            acpi_facts.ioapic[acpi_facts.ioapic_count++].gsi_base = word[2];
        }
        break;
    case ISA_OVERRIDE:
        if (e[2] == 0 && e[3] < 16 && word[1] < 256) {
            /* polarity and trigger: 0 is the bus's usual (ISA: high, edge), 3 is low, level */
            acpi_facts.isa[e[3]].used = true;
            acpi_facts.isa[e[3]].gsi = (uint8_t)word[1];
            acpi_facts.isa[e[3]].low = (word[2] & 3) == 3;
            acpi_facts.isa[e[3]].level = (word[2] >> 2 & 3) == 3;
        }
        break;
    case LAPIC_ADDRESS: /* all 64 bits of it */
        acpi_facts.lapic = (uint64_t)word[2] << 32 | word[1];
        break;
    case X2APIC_CPU:
        if (word[1] >= 255) {
            add_cpu(word[1], word[2]);
        }
        break;
    }
}

static void parse_madt(const struct header *h)
{
    const uint8_t *table = (const uint8_t *)h;
    uint32_t lapic;
    if (h->bytes < sizeof(*h) + 8) {
        return;
    }
    memcpy(&lapic, h + 1, sizeof(lapic));
    acpi_facts.lapic = lapic;
    for (uint32_t at = sizeof(*h) + 8; at + 2 <= h->bytes; at += table[at + 1]) {
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
    struct acpi_mcfg e;
    for (uint32_t at = sizeof(*h) + 8; at + sizeof(e) <= h->bytes; at += sizeof(e)) {
        memcpy(&e, (const char *)h + at, sizeof(e));
        if (acpi_facts.mcfg_count < ARRAY_SIZE(acpi_facts.mcfg) && e.first_bus <= e.last_bus) {
            acpi_facts.mcfg[acpi_facts.mcfg_count++] = e;
            printk("ACPI: PCI segment %u buses %02x-%02x at %lx\n", e.segment, e.first_bus,
                   e.last_bus, e.base);
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

/* The tables that the one at `base` lists; false when it is not usable. */
static bool parse_root(maddr_t base, uint32_t pointer_bytes)
{
    const struct header *root = table_at(base);
    for (uint32_t at = sizeof(*root); root && at + pointer_bytes <= root->bytes;
         at += pointer_bytes) {
        maddr_t table = 0;
        memcpy(&table, (const char *)root + at, pointer_bytes);
        parse_table(table);
    }
    return root;
}

void acpi_init(maddr_t rsdp)
{
    arch_facts.acpi_rsdp = rsdp ?: rsdp_find();
    const struct rsdp *r = arch_facts.acpi_rsdp ? phys(arch_facts.acpi_rsdp, sizeof(*r)) : NULL;
    if (!r || !rsdp_ok(r)) {
        printk("ACPI: none found\n");
        return;
    }
    if (!(r->revision >= 2 && parse_root(r->xsdt, 8)) && !parse_root(r->rsdt, 4)) {
        printk("ACPI: no usable root table\n");
    }
    arch_facts.cpus_present = MAX(acpi_facts.cpu_count, 1u);
    printk("ACPI: root at %lx, %u processors, local APIC at %lx, %u I/O APICs, HPET at %lx\n",
           arch_facts.acpi_rsdp, acpi_facts.cpu_count, acpi_facts.lapic, acpi_facts.ioapic_count,
           acpi_facts.hpet);
    printk("ACPI: PM1 control %x/%x, timer %x, reset %x=%02x\n", acpi_facts.pm1a_cnt,
           acpi_facts.pm1b_cnt, acpi_facts.pm_timer, acpi_facts.reset_port, acpi_facts.reset_value);
}
