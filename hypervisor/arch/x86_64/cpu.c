// SPDX-License-Identifier: MIT
/*
 * What the processor can do and how we set it: control registers, EFER, PAT, XCR0. Also the thin
 * instructions that need privilege (MSRs, ports) and the ways to stop or restart the machine.
 * Features are found on the first CPU and constant afterwards.
 */
#include "asm.h"
#include "base/log.h"
#include "base/protection.h"
#include "base/string.h"
#include "machine.h"
#include "speculation.h"

#define XCR0_SUPPORTED 0xe7UL /* x87, SSE, AVX, AVX-512 */
#define SLP_TYPE (7u << 10)
#define SLP_ENABLE (1u << 13)

/* Where CPUID shows what cpu_has() tells. */
static const struct {
    uint32_t leaf;
    char reg; /* e.x */
    uint8_t bit;
    const char *name;
} known[] = {
    [CPU_SMEP] = {7, 'b', 7, "smep"},        [CPU_XSAVE] = {1, 'c', 26, "xsave"},
    [CPU_PGE] = {1, 'd', 13, "pge"},         [CPU_X2APIC] = {1, 'c', 21, "x2apic"},
    [CPU_1GB] = {0x80000001, 'd', 26, "1g"}, [CPU_SMAP] = {7, 'b', 20, "smap"},
    [CPU_UMIP] = {7, 'c', 2, "umip"},
};

static uint32_t features;

void arch_cpuid(uint32_t leaf, uint32_t subleaf, struct cpuid_regs *out)
{
    __asm__ volatile("cpuid"
                     : "=a"(out->eax), "=b"(out->ebx), "=c"(out->ecx), "=d"(out->edx)
                     : "a"(leaf), "c"(subleaf));
}

bool cpu_has(enum cpu_feature f)
{
    return features >> f & 1;
}

/* All zero for a leaf the processor does not have. */
static struct cpuid_regs cpuid(uint32_t leaf)
{
    struct cpuid_regs r;
    arch_cpuid(leaf & 0x80000000, 0, &r);
    if (leaf > r.eax) {
        return (struct cpuid_regs){0};
    }
    arch_cpuid(leaf, 0, &r);
    return r;
}

static void detect(void)
{
    char brand[49] = "";
    for (unsigned i = 0; i < 3; i++) {
        struct cpuid_regs r = cpuid(0x80000002 + i);
        memcpy(brand + 16 * i, &r, 16);
    }
    arch_facts.maddr_bits = MIN(cpuid(0x80000008).eax & 0xff ?: 36, 52);
    printk("Processor: %s (%08x), %u-bit addresses:", brand, cpuid(1).eax, arch_facts.maddr_bits);
    for (unsigned f = 0; f < ARRAY_SIZE(known); f++) {
        struct cpuid_regs r = cpuid(known[f].leaf);
        uint32_t reg = known[f].reg == 'b' ? r.ebx : known[f].reg == 'c' ? r.ecx : r.edx;
        if (reg >> known[f].bit & 1) {
            features |= 1u << f;
            printk(" %s", known[f].name);
        }
    }
    printk("\n");
    if (cpu_has(CPU_XSAVE)) {
        struct cpuid_regs r = cpuid(0xd);
        arch_facts.xcr0_mask = ((uint64_t)r.edx << 32 | r.eax) & XCR0_SUPPORTED;
    }
}

bool arch_rdmsr_safe(uint32_t msr, uint64_t *value)
{
    uint32_t lo = 0, hi = 0;
    bool ok = false;
    __asm__ volatile("1: rdmsr\n"
                     "   movb $1, %0\n"
                     "2:\n" EX_TABLE("1b", "2b")
                     : "+q"(ok), "+a"(lo), "+d"(hi)
                     : "c"(msr));
    *value = (uint64_t)hi << 32 | lo;
    return ok;
}

/* Not all of AMD's processors do, and not all that do say so. */
static bool null_clears_base(void)
{
    wrmsr(MSR_FS_BASE, PAGE_SIZE);
    __asm__ volatile("mov %0, %%fs" : : "r"(0));
    bool clears = rdmsr(MSR_FS_BASE) == 0;
    wrmsr(MSR_FS_BASE, 0);
    return clears;
}

void cpu_init(unsigned cpu)
{
    if (cpu == 0) {
        detect();
        arch_facts.null_clears = null_clears_base();
        speculation_init();
        if (speculation.xpti) {
            features &= ~(1u << CPU_PGE); /* guests run with no translation of ours left */
        }
    }
    uint64_t cr4 = X86_CR4_PAE | X86_CR4_DE | X86_CR4_MCE | X86_CR4_OSFXSR | X86_CR4_OSXMMEXCPT;
    cr4 |= cpu_has(CPU_PGE) ? X86_CR4_PGE : 0;
    cr4 |= cpu_has(CPU_SMEP) ? X86_CR4_SMEP : 0;
    cr4 |= cpu_has(CPU_UMIP) ? X86_CR4_UMIP : 0;
    cr4 |= smap_on ? X86_CR4_SMAP : 0; /* decided after the first CPU has been here */
    cr4 |= cpu_has(CPU_XSAVE) ? X86_CR4_OSXSAVE : 0;
    if (cpu == 0) {
        protection_report("NX", "on"); /* boot.S stops without */
        static const char no[] = "off: not in this processor";
        protection_report("SMEP", "%s", cpu_has(CPU_SMEP) ? "on" : no);
        protection_report("UMIP", "%s", cpu_has(CPU_UMIP) ? "on" : no);
    }
    WRITE_CR(0, X86_CR0_PE | X86_CR0_MP | X86_CR0_ET | X86_CR0_NE | X86_CR0_WP | X86_CR0_AM |
                    X86_CR0_PG);
    WRITE_CR(4, cr4);
    wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_SCE | EFER_NX);
    wrmsr(MSR_PAT, PAT_VALUE);
    if (cpu_has(CPU_XSAVE)) {
        arch_xsetbv(arch_facts.xcr0_mask);
    }
    speculation_init_cpu();
}

/* ---- ports ---- */

uint32_t arch_in(uint16_t port, unsigned bytes)
{
    uint32_t value = 0;
    if (bytes == 1) {
        __asm__ volatile("inb %w1, %b0" : "+a"(value) : "Nd"(port));
    } else if (bytes == 2) {
        __asm__ volatile("inw %w1, %w0" : "+a"(value) : "Nd"(port));
    } else {
        __asm__ volatile("inl %w1, %0" : "+a"(value) : "Nd"(port));
    }
    return value;
}

void arch_out(uint16_t port, unsigned bytes, uint32_t value)
{
    if (bytes == 1) {
        __asm__ volatile("outb %b0, %w1" : : "a"(value), "Nd"(port));
    } else if (bytes == 2) {
        __asm__ volatile("outw %w0, %w1" : : "a"(value), "Nd"(port));
    } else {
        __asm__ volatile("outl %0, %w1" : : "a"(value), "Nd"(port));
    }
}

/* ---- the end ---- */

void arch_halt(void)
{
    smp_stop_others();
    cpu_stop();
}

void arch_reboot(void)
{
    smp_stop_others();
    if (acpi_facts.has_reset) {
        arch_out(acpi_facts.reset_port, 1, acpi_facts.reset_value);
        clock_delay_ms(100);
    }
    uint32_t control = arch_in(0xcf9, 1) & ~6u;
    arch_out(0xcf9, 1, control | 2);
    arch_out(0xcf9, 1, control | 6);
    clock_delay_ms(100);
    arch_out(0x64, 1, 0xfe); /* keyboard controller: pulse the reset line */
    clock_delay_ms(100);
    /* Without an IDT the next exception shuts the processor down. */
    struct table_pointer none = {0, 0};
    __asm__ volatile("lidt %0; int3" : : "m"(none));
    arch_halt();
}

static void enter_sleep(uint16_t port, uint32_t value)
{
    if (port) {
        uint32_t other = arch_in(port, 2) & ~(SLP_TYPE | SLP_ENABLE);
        arch_out(port, 2, other | (value & SLP_TYPE) | SLP_ENABLE);
    }
}

int arch_acpi_sleep(unsigned state, uint32_t pm1a, uint32_t pm1b)
{
    if (state != 5 || !acpi_facts.pm1a_cnt) {
        return -EINVAL;
    }
    enter_sleep(acpi_facts.pm1a_cnt, pm1a);
    enter_sleep(acpi_facts.pm1b_cnt, pm1b);
    clock_delay_ms(1000);
    return -EBUSY; /* still here */
}
