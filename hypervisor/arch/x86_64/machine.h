// SPDX-License-Identifier: MIT
/* What the files of arch/x86_64/ offer one another. Nobody outside this folder includes it. */
#pragma once

#include "arch/arch.h"
#include "boot/boot_info.h"

struct cpu_user_regs;

/* entry.S: one stub per vector, and the three fast-call entries. */
extern const uint64_t trap_entry_table[256];
void syscall_entry(void);
void syscall_compat_entry(void);
void sysenter_entry(void);

/* trap_entry.c: IDT, GDT tail, TSS, fast-call MSRs and stubs of this CPU; its per-CPU block must be
 * mapped. From here on exceptions are handled. */
void traps_init_cpu(unsigned cpu);
/* Point this CPU's LDTR at its LDT window, `entries` long; 0: no LDT. */
void ldt_descriptor_set(unsigned cpu, unsigned entries);

/* mmu.c */
/* Build the final page tables and leave the early ones; fills free ranges. */
void mmu_init(const struct boot_info *info);
/* Map the per-CPU block of `cpu`: stacks with guard page, GDT tail pages, stub page, TSS page. */
void percpu_map(unsigned cpu);
/* The page behind the read-execute stub page of `cpu`, writable through the direct map. */
void *percpu_stub_page(unsigned cpu);
/* Map one page of hypervisor address space (window, per-CPU block); flags are PTE bits. Machine
 * frame INVALID_MFN unmaps. Does not flush. */
void hyp_map_page(vaddr_t va, mfn_t mfn, uint64_t pte_flags);
/* The hypervisor's own page tables, for idle vCPUs. */
maddr_t hyp_cr3(void);
/* First CPU's switch to its mapped stack: calls fn there, never returns. */
noreturn void switch_to_percpu_stack(unsigned cpu, void (*fn)(void));

/* irq.c: called by entry code for vectors 32..255 with interrupts off, guest or hypervisor. */
void irq_dispatch(unsigned vector);
void irq_init(void);

/* apic.c */
void apic_init_cpu(void);
void apic_eoi(void);
void apic_timer_oneshot(uint64_t delta_ns);
void apic_send_ipi(unsigned cpu, unsigned vector);
void apic_spurious(void);

/* acpi.c */
void acpi_init(maddr_t rsdp);
struct acpi_facts {
    maddr_t rsdp, lapic, hpet;
    unsigned cpu_count;
    uint32_t apic_id[MAX_PCPUS];
    unsigned ioapic_count;
    struct {
        uint32_t id, gsi_base;
        maddr_t base;
    } ioapic[16];
    struct {
        bool used, level, low;
        uint8_t gsi;
    } isa[16];
    uint16_t pm1a_cnt, pm1b_cnt, pm_timer;
    bool pm_timer_32bit;
    uint16_t reset_port;
    uint8_t reset_value;
    bool has_reset;
    unsigned mcfg_count;
    struct {
        maddr_t base;
        uint16_t segment;
        uint8_t first_bus, last_bus;
    } mcfg[8];
};
extern struct acpi_facts acpi_facts;

/* tlb.c: this CPU has just flushed everything (CR3 was written). */
void tlb_note_flush(void);

/* clock.c, uart.c, cpu.c */
void clock_init(void);
void uart_early_init(const char *cmdline);
void cpu_init(unsigned cpu);
enum cpu_feature { CPU_NX, CPU_SMEP, CPU_SMAP, CPU_FSGSBASE, CPU_XSAVE, CPU_PGE, CPU_X2APIC, CPU_1GB, CPU_RDTSCP };
bool cpu_has(enum cpu_feature f);

/* panic.c */
void backtrace_from(uint64_t rbp, uint64_t rip);
void print_regs(const struct cpu_user_regs *regs);
noreturn void panic_regs(const struct cpu_user_regs *regs, const char *what);
