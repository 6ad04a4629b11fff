// SPDX-License-Identifier: MIT
/*
 * Physical interrupts: hands out vectors, programs the I/O APICs and sorts arriving vectors to
 * timer, IPIs, serial port and the lines and messages the control domain has asked for. A vector
 * means the same on all CPUs, so a line or message may go to another one at any time. Lock:
 * irq_lock (RANK_IOAPIC); handlers are called without it.
 *
 *   vectors  0x20..0x2f  the old controllers', masked: only spurious ones can arrive
 *            0x30..0xef  devices, without 0x80 and 0x82 (software interrupts of guests)
 *            0xf0..0xff  timer, IPIs, errors
 */
#include "arch/upcalls.h"
#include "base/assert.h"
#include "base/lock.h"
#include "base/log.h"
#include "machine.h"

#define VECTOR_DEVICE_FIRST 0x30
#define VECTOR_DEVICE_LAST 0xef
#define ISA_IRQS 16
#define UART_IRQ 4

#define IOAPIC_VERSION 1
#define IOAPIC_ENTRY(pin) (0x10 + 2 * (pin))
#define RTE_LOW (1u << 13)
#define RTE_LEVEL (1u << 15)
#define RTE_MASKED (1u << 16)

enum use { USE_FREE, USE_GSI, USE_MSI, USE_UART };

static struct spinlock irq_lock = SPINLOCK_INIT(RANK_IOAPIC);

/* under irq_lock; read without it by irq_dispatch(): an interrupt that is on its way while its line
 * is unbound or bound anew finds no port, or makes one event too many */
static struct vector_state {
    uint8_t use; /* enum use */
    uint16_t token;
} vectors[256];

static struct gsi_state {
    volatile uint32_t *ioapic; /* NULL: there is no such line */
    uint8_t pin;
    uint8_t vector; /* 0: not bound, and masked */
    uint8_t cpu;    /* that takes it */
    bool level, low, masked;
} gsis[MAX_GSIS];

static uint8_t uart_vector; /* 0: the port is polled */

/* Eight bits name a CPU, of which all ones mean each: the first one stands in for the others. */
static uint32_t destination(unsigned cpu)
{
    uint32_t id = acpi_facts.apic_id[cpu];
    return id < 0xff ? id : acpi_facts.apic_id[0];
}

/* ---- I/O APIC ---- */

static uint32_t ioapic_read(volatile uint32_t *ioapic, unsigned reg)
{
    ioapic[0] = reg;
    return ioapic[4];
}

static void ioapic_write(volatile uint32_t *ioapic, unsigned reg, uint32_t value)
{
    ioapic[0] = reg;
    ioapic[4] = value;
}

static uint32_t entry_low(const struct gsi_state *g)
{
    return g->vector | (g->level ? RTE_LEVEL : 0) | (g->low ? RTE_LOW : 0) |
           (g->masked || !g->vector ? RTE_MASKED : 0);
}

static void write_entry_locked(const struct gsi_state *g)
{
    /* ORDER: mask before the destination changes, unmask after. */
    ioapic_write(g->ioapic, IOAPIC_ENTRY(g->pin), entry_low(g) | RTE_MASKED);
    ioapic_write(g->ioapic, IOAPIC_ENTRY(g->pin) + 1, destination(g->cpu) << 24);
    ioapic_write(g->ioapic, IOAPIC_ENTRY(g->pin), entry_low(g));
}

static struct gsi_state *find_gsi(unsigned gsi)
{
    return gsi < arch_facts.gsi_count && gsis[gsi].ioapic ? &gsis[gsi] : NULL;
}

bool arch_gsi_is_level(unsigned gsi)
{
    return gsis[gsi].level;
}

int arch_gsi_setup(unsigned gsi, bool level, bool low)
{
    SPIN_GUARD(&irq_lock);
    struct gsi_state *g = find_gsi(gsi);
    if (!g || g->vector) {
        return g ? -EEXIST : -EINVAL;
    }
    g->level = level;
    g->low = low;
    write_entry_locked(g);
    return 0;
}

static int vector_alloc_locked(enum use use, unsigned token)
{
    for (unsigned v = VECTOR_DEVICE_FIRST; v <= VECTOR_DEVICE_LAST; v++) {
        if (vectors[v].use == USE_FREE && v != 0x80 && v != 0x82) {
            vectors[v] = (struct vector_state){.use = (uint8_t)use, .token = (uint16_t)token};
            return (int)v;
        }
    }
    return -ENOSPC;
}

/* Leaves the line masked. */
static int bind(unsigned gsi, enum use use, unsigned cpu)
{
    SPIN_GUARD(&irq_lock);
    struct gsi_state *g = find_gsi(gsi);
    if (!g || g->vector) {
        return g ? -EBUSY : -EINVAL;
    }
    int vector = vector_alloc_locked(use, gsi);
    if (vector < 0) {
        return vector;
    }
    g->vector = (uint8_t)vector;
    g->cpu = (uint8_t)cpu;
    g->masked = true;
    write_entry_locked(g);
    return 0;
}

int arch_gsi_bind(unsigned gsi, unsigned cpu)
{
    return bind(gsi, USE_GSI, cpu);
}

void arch_gsi_unbind(unsigned gsi)
{
    SPIN_GUARD(&irq_lock);
    struct gsi_state *g = &gsis[gsi];
    ASSERT(vectors[g->vector].use == USE_GSI);
    vectors[g->vector].use = USE_FREE;
    g->vector = 0;
    write_entry_locked(g);
}

void arch_gsi_mask(unsigned gsi, bool masked)
{
    SPIN_GUARD(&irq_lock);
    struct gsi_state *g = &gsis[gsi];
    g->masked = masked;
    ioapic_write(g->ioapic, IOAPIC_ENTRY(g->pin), entry_low(g));
}

void arch_gsi_route(unsigned gsi, unsigned cpu)
{
    SPIN_GUARD(&irq_lock);
    struct gsi_state *g = &gsis[gsi];
    g->cpu = (uint8_t)cpu;
    /* This half alone, and unmasked: an edge while it is masked would be lost. */
    ioapic_write(g->ioapic, IOAPIC_ENTRY(g->pin) + 1, destination(cpu) << 24);
}

/* ---- messages ---- */

int arch_msi_vector_alloc(unsigned token)
{
    SPIN_GUARD(&irq_lock);
    return vector_alloc_locked(USE_MSI, token);
}

void arch_msi_vector_free(int vector)
{
    SPIN_GUARD(&irq_lock);
    ASSERT(vectors[vector].use == USE_MSI);
    vectors[vector].use = USE_FREE;
}

void arch_msi_message(int vector, unsigned cpu, uint64_t *address, uint32_t *data)
{
    *address = 0xfee00000UL | (uint64_t)destination(cpu) << 12;
    *data = (uint32_t)vector;
}

/* ---- arrival ---- */

void irq_dispatch(unsigned vector)
{
    struct vector_state state = vectors[vector];
    if (vector < VECTOR_DEVICE_FIRST || vector == VECTOR_SPURIOUS) {
        return; /* nothing was delivered: no end of interrupt either */
    }
    if (state.use == USE_GSI && gsis[state.token].level) {
        /* The device holds the line until its driver has run: keep it from coming right back. */
        arch_gsi_mask(state.token, true);
    }
    apic_eoi();
    if (state.use == USE_GSI || state.use == USE_MSI) {
        upcall_irq(state.token);
    } else if (state.use == USE_UART) {
        upcall_console_input();
    } else if (vector == VECTOR_TIMER) {
        if (!uart_vector && arch_cpu_id() == 0 && uart_has_input()) {
            upcall_console_input();
        }
        upcall_timer();
    } else if (vector == VECTOR_FLUSH) {
        tlb_service();
    } else if (vector == VECTOR_APIC_ERROR) {
        apic_error();
    } else if (vector != VECTOR_KICK) {
        /* A kick is over here: this CPU looks at its deferred work on the way out. */
        log_guest(NULL, "interrupt at vector %02x, which nobody uses\n", vector);
    }
}

void arch_irq_window(void)
{
    /* STI delays interrupts by one instruction, hence the NOP. */
    __asm__ volatile("sti; nop; cli" : : : "memory");
}

void arch_idle(void)
{
    __asm__ volatile("sti; hlt; cli" : : : "memory");
}

void arch_kick_cpu(unsigned cpu)
{
    if (cpu != arch_cpu_id()) {
        apic_send_ipi(cpu, VECTOR_KICK);
    }
}

void arch_nmi_cpu(unsigned cpu)
{
    apic_send_ipi(cpu, IPI_NMI);
}

/* ---- start-up ---- */

void irq_mask_old_controllers(void)
{
    static const struct {
        uint8_t port, value;
    } writes[] = {
        /* initialise, vectors, how the two are joined, mode; then the mask */
        {0x20, 0x11}, {0x21, 0x20}, {0x21, 4}, {0x21, 1}, {0x21, 0xff},
        {0xa0, 0x11}, {0xa1, 0x28}, {0xa1, 2}, {0xa1, 1}, {0xa1, 0xff},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(writes); i++) {
        arch_out(writes[i].port, 1, writes[i].value);
    }
}

static void add_ioapic(unsigned index)
{
    volatile uint32_t *ioapic = arch_ioremap(acpi_facts.ioapic[index].base, PAGE_SIZE);
    if (!ioapic) {
        printk("I/O APIC %u cannot be mapped\n", index);
        return;
    }
    unsigned pins = (ioapic_read(ioapic, IOAPIC_VERSION) >> 16 & 0xff) + 1;
    unsigned first = acpi_facts.ioapic[index].gsi_base;
    for (unsigned pin = 0; pin < pins && first + pin < MAX_GSIS; pin++) {
        struct gsi_state *g = &gsis[first + pin];
        *g = (struct gsi_state){.ioapic = ioapic, .pin = (uint8_t)pin, .masked = true};
        g->level = g->low = first + pin >= ISA_IRQS; /* PCI's usual; ISA's is edge, high */
        arch_facts.gsi_count = MAX(arch_facts.gsi_count, first + pin + 1);
    }
}

/* Route the serial port's interrupt; without one the timer interrupt polls the port. */
static void init_uart(void)
{
    unsigned gsi = acpi_facts.isa[UART_IRQ].used ? acpi_facts.isa[UART_IRQ].gsi : UART_IRQ;
    if (uart_present() && bind(gsi, USE_UART, 0) == 0) {
        uart_vector = gsis[gsi].vector;
        arch_gsi_mask(gsi, false);
        uart_irq_enable();
    } else if (uart_present()) {
        printk("Serial port: no interrupt, input is polled\n");
    }
}

void irq_init(void)
{
    for (unsigned i = 0; i < acpi_facts.ioapic_count; i++) {
        add_ioapic(i);
    }
    for (unsigned i = 0; i < ISA_IRQS; i++) {
        struct gsi_state *g = find_gsi(acpi_facts.isa[i].gsi);
        if (acpi_facts.isa[i].used && g) {
            g->level = acpi_facts.isa[i].level;
            g->low = acpi_facts.isa[i].low;
        }
    }
    for (unsigned gsi = 0; gsi < arch_facts.gsi_count; gsi++) {
        if (gsis[gsi].ioapic) {
            write_entry_locked(&gsis[gsi]);
        }
    }
    printk("Interrupts: %u lines of %u I/O APICs\n", arch_facts.gsi_count, acpi_facts.ioapic_count);
    init_uart();
}

bool arch_mmio_denied(mfn_t mfn)
{
    /* Local APIC and the window in which writes become interrupts: the MiB from fee00000. */
    bool denied = (mfn >= 0xfee00 && mfn <= 0xfeeff) || mfn == acpi_facts.lapic >> PAGE_SHIFT;
    for (unsigned i = 0; i < acpi_facts.ioapic_count; i++) {
        denied = denied || mfn == acpi_facts.ioapic[i].base >> PAGE_SHIFT;
    }
    return denied || arch_frame_is_hyp(mfn);
}
