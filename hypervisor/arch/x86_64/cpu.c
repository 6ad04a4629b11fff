// SPDX-License-Identifier: MIT
/*
 * What the processor can do and how we set it: control registers, EFER, PAT, XCR0. Also the thin
 * instructions that need privilege (MSRs, ports) and the ways to stop or restart the machine.
 * Features are found on the first CPU and constant afterwards.
 */
#include "asm.h"
#include "base/assert.h"
#include "base/log.h"
#include "base/string.h"
#include "machine.h"

#define XCR0_SUPPORTED 0xe7UL /* x87, SSE, AVX, AVX-512 */
#define SLP_TYPE (7u << 10)
#define SLP_ENABLE (1u << 13)

static uint32_t features;
static unsigned maddr_bits;
static uint64_t xcr0_mask;

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

bool arch_has_nx(void)
{
    return cpu_has(CPU_NX);
}

unsigned arch_maddr_bits(void)
{
    return maddr_bits;
}

uint64_t arch_xcr0_mask(void)
{
    return xcr0_mask;
}

static void note(enum cpu_feature f, uint32_t reg, unsigned bit)
{
    features |= (reg >> bit & 1) << f;
}

static void detect(void)
{
    struct cpuid_regs r, max;
    arch_cpuid(0, 0, &max);
    arch_cpuid(1, 0, &r);
    note(CPU_PGE, r.edx, 13);
    note(CPU_X2APIC, r.ecx, 21);
    note(CPU_XSAVE, r.ecx, 26);
    if (max.eax >= 7) {
        arch_cpuid(7, 0, &r);
        note(CPU_FSGSBASE, r.ebx, 0);
        note(CPU_SMEP, r.ebx, 7);
        note(CPU_SMAP, r.ebx, 20);
    }
    arch_cpuid(0x80000001, 0, &r);
    note(CPU_NX, r.edx, 20);
    note(CPU_1GB, r.edx, 26);
    note(CPU_RDTSCP, r.edx, 27);
    maddr_bits = 36;
    arch_cpuid(0x80000000, 0, &max);
    if (max.eax >= 0x80000008) {
        arch_cpuid(0x80000008, 0, &r);
        maddr_bits = MIN(r.eax & 0xff, 52);
    }
    if (cpu_has(CPU_XSAVE)) {
        arch_cpuid(0xd, 0, &r);
        xcr0_mask = ((uint64_t)r.edx << 32 | r.eax) & XCR0_SUPPORTED;
    }
}

bool arch_rdmsr_safe(uint32_t msr, uint64_t *value)
{
    uint32_t lo, hi, failed = 0;
    __asm__ volatile("1: rdmsr\n"
                     "2:\n"
                     ".pushsection .text.fixup, \"ax\"\n"
                     "3: movl $1, %0\n"
                     "   xorl %%eax, %%eax\n"
                     "   xorl %%edx, %%edx\n"
                     "   jmp 2b\n"
                     ".popsection\n" EX_TABLE("1b", "3b")
                     : "+r"(failed), "=a"(lo), "=d"(hi)
                     : "c"(msr));
    *value = (uint64_t)hi << 32 | lo;
    return !failed;
}

bool arch_wrmsr_safe(uint32_t msr, uint64_t value)
{
    uint32_t failed = 0;
    __asm__ volatile("1: wrmsr\n"
                     "2:\n"
                     ".pushsection .text.fixup, \"ax\"\n"
                     "3: movl $1, %0\n"
                     "   jmp 2b\n"
                     ".popsection\n" EX_TABLE("1b", "3b")
                     : "+r"(failed)
                     : "c"(msr), "a"((uint32_t)value), "d"((uint32_t)(value >> 32))
                     : "memory");
    return !failed;
}

void cpu_init(unsigned cpu)
{
    if (cpu == 0) {
        detect();
    }
    /* SMAP stays off: QEMU's emulation takes the stack reads of a guest kernel's own IRETQ for
     * supervisor accesses and breaks Linux. UMIP stays off: guests' user programs may use SGDT. */
    uint64_t cr4 = X86_CR4_PAE | X86_CR4_DE | X86_CR4_MCE | X86_CR4_OSFXSR | X86_CR4_OSXMMEXCPT;
    cr4 |= cpu_has(CPU_PGE) ? X86_CR4_PGE : 0;
    cr4 |= cpu_has(CPU_SMEP) ? X86_CR4_SMEP : 0;
    cr4 |= cpu_has(CPU_XSAVE) ? X86_CR4_OSXSAVE : 0;
    uint64_t cr0 =
        X86_CR0_PE | X86_CR0_MP | X86_CR0_ET | X86_CR0_NE | X86_CR0_WP | X86_CR0_AM | X86_CR0_PG;
    __asm__ volatile("mov %0, %%cr0" : : "r"(cr0) : "memory");
    __asm__ volatile("mov %0, %%cr4" : : "r"(cr4) : "memory");
    wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_SCE | (cpu_has(CPU_NX) ? EFER_NX : 0));
    wrmsr(MSR_PAT, PAT_VALUE);
    if (cpu_has(CPU_XSAVE)) {
        arch_xsetbv(xcr0_mask);
    }
}

void cpu_report(void)
{
    static const char *const names[] = {
        [CPU_NX] = "nx",   [CPU_SMEP] = "smep",     [CPU_SMAP] = "smap(unused)",
        [CPU_PGE] = "pge", [CPU_XSAVE] = "xsave",   [CPU_FSGSBASE] = "fsgsbase",
        [CPU_1GB] = "1g",  [CPU_X2APIC] = "x2apic", [CPU_RDTSCP] = "rdtscp",
    };
    struct cpuid_regs r;
    char brand[49] = "";
    arch_cpuid(0x80000000, 0, &r);
    if (r.eax >= 0x80000004) {
        for (unsigned i = 0; i < 3; i++) {
            arch_cpuid(0x80000002 + i, 0, &r);
            memcpy(brand + 16 * i, &r, 16);
        }
    }
    arch_cpuid(1, 0, &r);
    printk("Processor: %s (%08x), %u-bit addresses:", brand, r.eax, maddr_bits);
    for (unsigned f = 0; f < ARRAY_SIZE(names); f++) {
        if (cpu_has(f)) {
            printk(" %s", names[f]);
        }
    }
    printk("\n");
}

/* ---- ports ---- */

uint32_t arch_in(uint16_t port, unsigned bytes)
{
    uint32_t value = 0;
    switch (bytes) {
    case 1:
        __asm__ volatile("inb %w1, %b0" : "+a"(value) : "Nd"(port));
        break;
    case 2:
        __asm__ volatile("inw %w1, %w0" : "+a"(value) : "Nd"(port));
        break;
    default:
        __asm__ volatile("inl %w1, %0" : "+a"(value) : "Nd"(port));
        break;
    }
    return value;
}

void arch_out(uint16_t port, unsigned bytes, uint32_t value)
{
    switch (bytes) {
    case 1:
        __asm__ volatile("outb %b0, %w1" : : "a"(value), "Nd"(port));
        break;
    case 2:
        __asm__ volatile("outw %w0, %w1" : : "a"(value), "Nd"(port));
        break;
    default:
        __asm__ volatile("outl %0, %w1" : : "a"(value), "Nd"(port));
        break;
    }
}

/* ---- the end ---- */

void arch_halt(void)
{
    for (;;) {
        __asm__ volatile("cli; hlt");
    }
}

void arch_reboot(void)
{
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
