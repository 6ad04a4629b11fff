// SPDX-License-Identifier: MIT
/* What the files of arch/x86_64/ offer one another. Nobody outside this folder includes it. */
#pragma once

#include "arch/arch.h"
#include "arch/boot_info.h"
#include "arch/layout.h"

struct cpu_user_regs;

/* ---- instructions ---- */

#define READ_CR(nr)                                                                                \
    ({                                                                                             \
        uint64_t value_;                                                                           \
        __asm__ volatile("mov %%cr" #nr ", %0" : "=r"(value_));                                    \
        value_;                                                                                    \
    })
#define WRITE_CR(nr, value) __asm__ volatile("mov %0, %%cr" #nr ::"r"(value) : "memory")

/* This CPU does nothing any more. */
static inline noreturn void cpu_stop(void)
{
    for (;;) {
        __asm__ volatile("cli; hlt");
    }
}

static inline uint64_t rdmsr(uint32_t msr)
{
    uint32_t lo, hi;
    __asm__ volatile("rdmsr" : "=a"(lo), "=d"(hi) : "c"(msr));
    return (uint64_t)hi << 32 | lo;
}

static inline void wrmsr(uint32_t msr, uint64_t value)
{
    __asm__ volatile("wrmsr" ::"c"(msr), "a"((uint32_t)value), "d"((uint32_t)(value >> 32))
                     : "memory");
}

/* Operand of LGDT and LIDT. */
struct packed table_pointer {
    uint16_t limit;
    uint64_t base;
};

/* This CPU's block, see arch/layout.h. */
static inline vaddr_t percpu_block(void)
{
    return PERCPU_START + (vaddr_t)arch_cpu_id() * PERCPU_STRIDE;
}

/* Machine address of something in the image. */
static inline maddr_t image_maddr(const void *symbol)
{
    return (vaddr_t)symbol - HYP_IMAGE_START + HYP_LOAD_PHYS;
}

/* entry.S: overwrite what the processor predicts returns by. */
void rsb_overwrite(void);
/* entry.S: go to fn with rsp = rdi = sp; there is no way back. */
noreturn void jump_to_stack(void *sp, void (*fn)(void));

/* trap_entry.c: IDT, GDT tail, TSS and fast-call MSRs of this CPU; its per-CPU block must be
 * mapped. From here on exceptions are handled. */
void traps_init_cpu(unsigned cpu);
vaddr_t trap_idt(void); /* a page of its own */
/* Have exceptions of `vector` handled at `address`; 0: as always. */
void trap_gate_set(unsigned vector, vaddr_t address);
/* Fill a page that will run at `stub` with the syscall stubs. */
void syscall_stub_write(uint8_t *page, vaddr_t stub);
/* Point this CPU's LDTR at its LDT window, `entries` long; 0: no LDT. */
void ldt_descriptor_set(unsigned entries);

/* memmap.c */
/* Sort out the loader's memory map; free ranges are then RAM without image, modules, first
 * MiB. */
void memmap_init(const struct boot_info *info, mfn_t image_first, mfn_t image_end);
/* Whole RAM frames [*first, *end) of entry `index` of the memory map; false when it has none. */
bool memmap_ram(unsigned index, mfn_t *first, mfn_t *end);
/* Start-up allocator: highest free frames that end at or below frame `limit`; align is a power of
 * two. Panics when there are none. */
mfn_t memmap_alloc(uint64_t frames, uint64_t align, mfn_t limit);
/* A RAM frame below 1 MiB that holds no boot module and is nobody's; 0 when there is none. */
mfn_t memmap_low_frame(void);

/* mmu.c */
/* Build the final page tables and leave the early ones; fills free ranges. */
void mmu_init(const struct boot_info *info);
/* The free ranges are about to be handed out: page tables come from the reserve from now on. */
void mmu_init_done(void);
/* Map the per-CPU block of `cpu`: stacks with guard pages, GDT tail pages, stub page, TSS page. */
void percpu_map(unsigned cpu);
/* Map one page of hypervisor address space (window, per-CPU block); flags are PTE bits. Machine
 * frame INVALID_MFN unmaps. Does not flush. */
void hyp_map_page(vaddr_t va, mfn_t mfn, uint64_t pte_flags);
/* The hypervisor's own page tables, for idle vCPUs. */
maddr_t hyp_cr3(void);
/* The empty main stack of `cpu`, whose block is mapped. */
struct cpu_info *percpu_stack(unsigned cpu);

/* xpti.c: page tables of guest mode, where speculation.xpti asks for them */
/* Make those of a CPU, whose block is then filled in with xpti_page(). */
void xpti_map_cpu(unsigned cpu, const uint64_t *hyp_l4);
/* The page at `offset` of the CPU's block is now `pte`. */
void xpti_page(unsigned cpu, uint64_t offset, uint64_t pte);
/* Panic if they map anything of the hypervisor that is not on the list. Returns how many pages. */
unsigned xpti_check(unsigned cpu, const uint64_t *hyp_l4);
/* CR3 for the guest that leaves on this CPU with the full tables at `cr3`. */
maddr_t xpti_guest_cr3(unsigned cpu, bool kernel_mode, maddr_t cr3);

/* irq.c: called by entry code for vectors 32..255 with interrupts off, guest or hypervisor. */
void irq_dispatch(unsigned vector);
/* Silence the two 8259s. Before apic_init_cpu(), which cuts them off: an interrupt they had already
 * raised would otherwise stay pending for ever. */
void irq_mask_old_controllers(void);
/* Set up the I/O APICs and the serial port's interrupt. */
void irq_init(void);
enum {
    VECTOR_TIMER = 0xf0,
    VECTOR_KICK = 0xf1,
    VECTOR_FLUSH = 0xf2,
    VECTOR_APIC_ERROR = 0xfe,
    VECTOR_SPURIOUS = 0xff
};

/* apic.c */
void apic_init_cpu(void);
void apic_eoi(void);
/* command: a vector, or one of these. */
enum { IPI_NMI = 0x400, IPI_INIT = 0x500, IPI_STARTUP = 0x600 };
void apic_send_ipi(unsigned cpu, uint32_t command);
void apic_error(void);
uint32_t apic_id(void); /* of this CPU */

/* acpi.c */
/* Find the tables (from rsdp, or by search when 0) and fill acpi_facts. */
void acpi_init(maddr_t rsdp);
struct acpi_mcfg { /* as in the table */
    maddr_t base;
    uint16_t segment;
    uint8_t first_bus, last_bus;
    uint32_t reserved;
};
struct acpi_facts {
    maddr_t lapic, hpet;
    unsigned cpu_count;
    uint32_t apic_id[MAX_PCPUS];
    unsigned ioapic_count;
    struct {
        maddr_t base;
        uint32_t gsi_base;
    } ioapic[16];
    struct {
        bool used, level, low;
        uint8_t gsi;
    } isa[16];
    uint8_t century; /* CMOS register, 0 none */
    uint16_t pm1a_cnt, pm1b_cnt, pm_timer;
    bool has_reset;
    uint8_t reset_value;
    uint16_t reset_port;
    unsigned mcfg_count;
    struct acpi_mcfg mcfg[8];
};
extern struct acpi_facts acpi_facts;

/* tlb.c */
/* Around every write of CR3 that loads a guest's tables, which flushes all but global entries: the
 * time of the flush is taken before it and recorded after it. */
uint32_t tlb_flush_begin(void);
void tlb_flush_end(uint32_t time);
/* The hypervisor's own tables have been loaded: this TLB holds nothing of any guest. */
void tlb_no_guest(void);
/* Where this CPU records it, and the clock, for entry.S, which does the same. */
uint32_t *tlb_last_flush(void);
extern uint32_t tlb_clock;
/* Make stamps from before older than flushes from now on. */
void tlb_clock_advance(void);
/* Do what other CPUs asked of this one. */
void tlb_service(void);

/* smp.c */
/* Start the other CPUs: they wait, answering interrupts, for arch_release_cpus(). Sets
 * arch_facts.cpus_online. */
void smp_start(void);
/* Stop all other CPUs by NMI, for good; smp_stopped_at is then where each was, 0 where that is not
 * known. */
void smp_stop_others(void);
extern vaddr_t smp_stopped_at[MAX_PCPUS];
/* The handler's part, with the address the NMI came at: does not return from a stop. */
void smp_stop_check(vaddr_t rip);
/* What the CPU that comes out of boot.S next shall do. */
struct cpu_start {
    uint64_t cr3;
    void *stack;         /* NULL once it is taken */
    void (*enter)(void); /* never returns */
};

/* clock.c */
/* Another CPU's TSC is compared with the first one's and, where that is needed, set; the first one
 * calls clock_sync_answer() again and again meanwhile. */
void clock_sync(void);
void clock_sync_answer(void);
/* Find the TSC's frequency and start arch_now_ns(). */
void clock_init(void);
/* Busy-wait; before clock_init() it returns at once. */
void clock_delay_ms(uint64_t ms);

/* uart.c */
/* Set the serial port up: mode like "115200,8n1". */
void uart_early_init(const char *mode);
bool uart_present(void);
bool uart_has_input(void);
void uart_irq_enable(void);

/* cpu.c */
/* Control registers, EFER, PAT of this CPU; on the first one also find and log its features. */
void cpu_init(unsigned cpu);
enum cpu_feature { CPU_SMEP, CPU_XSAVE, CPU_PGE, CPU_X2APIC, CPU_1GB, CPU_SMAP, CPU_UMIP };
bool cpu_has(enum cpu_feature f);

/* smap.c */
/* Decide about SMAP and turn it on here; other CPUs follow smap_on. */
void smap_init(void);
extern bool smap_on;
/* Put in the PATCHED() instructions of a feature; while only one CPU runs. */
void patch_code(unsigned feature);

/* panic.c */
noreturn void panic_regs(const struct cpu_user_regs *regs, const char *what);
