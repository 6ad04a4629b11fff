// SPDX-License-Identifier: MIT
/*
 * The local interrupt controller of each CPU, through its registers in memory (xAPIC) or in MSRs
 * (x2APIC, used when the processor has it), and its one-shot timer. Only touched by the CPU it
 * belongs to, with interrupts off; no lock.
 */
#include "base/assert.h"
#include "base/log.h"
#include "machine.h"

enum apic_reg {
    REG_ID = 0x20,
    REG_TPR = 0x80,
    REG_EOI = 0xb0,
    REG_SPURIOUS = 0xf0,
    REG_ERROR = 0x280,
    REG_ICR = 0x300,
    REG_ICR_HIGH = 0x310,
    REG_LVT_TIMER = 0x320,
    REG_LVT_PERF = 0x340,
    REG_LVT_LINT0 = 0x350,
    REG_LVT_LINT1 = 0x360,
    REG_LVT_ERROR = 0x370,
    REG_TIMER_INITIAL = 0x380,
    REG_TIMER_CURRENT = 0x390,
    REG_TIMER_DIVIDE = 0x3e0,
};

#define BASE_X2APIC (1UL << 10)
#define BASE_ENABLE (1UL << 11)
#define SPURIOUS_ENABLE (1u << 8)
#define LVT_MASKED (1u << 16)
#define LVT_NMI (4u << 8)
#define ICR_BUSY (1u << 12)
#define ICR_ASSERT (1u << 14)
#define MSR_X2APIC(reg) (0x800u + ((reg) >> 4))
#define DIVIDE_BY_1 0xb
#define CALIBRATION_NS (20 * NS_PER_MS)

static bool x2apic;
static volatile uint32_t *registers; /* xAPIC; same address on every CPU */
static uint64_t ticks_per_ms;        /* of the timer; the same on every CPU */

static uint32_t reg_read(enum apic_reg reg)
{
    return x2apic ? (uint32_t)rdmsr(MSR_X2APIC(reg)) : registers[reg / 4];
}

static void reg_write(enum apic_reg reg, uint32_t value)
{
    if (x2apic) {
        wrmsr(MSR_X2APIC(reg), value);
    } else {
        registers[reg / 4] = value;
    }
}

uint32_t apic_id(void)
{
    uint32_t id = reg_read(REG_ID);
    return x2apic ? id : id >> 24;
}

void apic_eoi(void)
{
    reg_write(REG_EOI, 0);
}

void apic_error(void)
{
    reg_write(REG_ERROR, 0);
    log_guest(NULL, "APIC error %02x on CPU %u\n", reg_read(REG_ERROR), arch_cpu_id());
}

void apic_send_ipi(unsigned cpu, uint32_t command)
{
    uint32_t id = acpi_facts.apic_id[cpu];
    if (x2apic) {
        /* ORDER: an MSR write to the x2APIC does not wait for earlier stores by itself. */
        smp_mb();
        wrmsr(MSR_X2APIC(REG_ICR), (uint64_t)id << 32 | ICR_ASSERT | command);
        return;
    }
    while (reg_read(REG_ICR) & ICR_BUSY) {
        __asm__ volatile("pause");
    }
    reg_write(REG_ICR_HIGH, id << 24);
    reg_write(REG_ICR, ICR_ASSERT | command);
}

void arch_timer_set(ns_t deadline)
{
    uint64_t ticks = 0; /* stops it */
    if (deadline != INT64_MAX) {
        /* A far deadline becomes an early interrupt; whoever asked finds nothing due and asks
         * again. */
        uint64_t longest = 0xffffffffUL / ticks_per_ms * NS_PER_MS;
        ns_t now = arch_now_ns();
        uint64_t delta = deadline > now ? (uint64_t)(deadline - now) : 0;
        ticks = MAX(MIN(delta, longest) * ticks_per_ms / NS_PER_MS, 1UL);
    }
    reg_write(REG_TIMER_INITIAL, (uint32_t)ticks);
}

static void calibrate_timer(void)
{
    reg_write(REG_LVT_TIMER, LVT_MASKED | VECTOR_TIMER);
    reg_write(REG_TIMER_DIVIDE, DIVIDE_BY_1);
    ns_t start = arch_now_ns();
    reg_write(REG_TIMER_INITIAL, 0xffffffff);
    ns_t now;
    do {
        now = arch_now_ns();
    } while (now < start + CALIBRATION_NS);
    uint64_t ticks = 0xffffffffU - reg_read(REG_TIMER_CURRENT);
    now = (now + arch_now_ns()) / 2;
    reg_write(REG_TIMER_INITIAL, 0);
    ticks_per_ms = ticks * NS_PER_MS / (uint64_t)(now - start);
    if (!ticks_per_ms) {
        panic("the local APIC's timer does not run");
    }
}

void apic_init_cpu(void)
{
    uint64_t value = rdmsr(MSR_APIC_BASE);
    bool first = !ticks_per_ms;
    if (first) {
        acpi_facts.lapic = value & X86_PTE_ADDR;
        x2apic = cpu_has(CPU_X2APIC);
        registers = x2apic ? NULL : arch_ioremap(acpi_facts.lapic, PAGE_SIZE);
        BUG_ON(!x2apic && !registers);
    }
    value = (value & ~X86_PTE_ADDR) | acpi_facts.lapic | BASE_ENABLE;
    wrmsr(MSR_APIC_BASE, value);
    if (x2apic) {
        wrmsr(MSR_APIC_BASE, value | BASE_X2APIC);
    }
    reg_write(REG_TPR, 0);
    reg_write(REG_SPURIOUS, SPURIOUS_ENABLE | VECTOR_SPURIOUS);
    reg_write(REG_LVT_LINT0, LVT_MASKED); /* the old interrupt controllers */
    reg_write(REG_LVT_LINT1, LVT_NMI);
    reg_write(REG_LVT_PERF, LVT_MASKED);
    reg_write(REG_LVT_ERROR, VECTOR_APIC_ERROR);
    reg_write(REG_ERROR, 0);
    if (first) {
        calibrate_timer();
        printk("APIC: id %u, %s, timer at %lu kHz\n", apic_id(), x2apic ? "x2APIC" : "xAPIC",
               ticks_per_ms);
    }
    reg_write(REG_TIMER_DIVIDE, DIVIDE_BY_1);
    reg_write(REG_LVT_TIMER, VECTOR_TIMER);
}
