// SPDX-License-Identifier: MIT
/*
 * What changes on the processor when another vCPU gets it: registers, segments and their bases,
 * FPU, debug registers, descriptor-table windows, page tables. All of it is per pcpu and only
 * touched by the pcpu itself with interrupts off; no locks.
 */
#include "asm.h"
#include "base/string.h"
#include "core/domain.h"
#include "machine.h"
#include "speculation.h"

/* ---- page tables ---- */

static maddr_t tables_of(const struct vcpu *v, const struct frame *l4)
{
    return l4 && !vcpu_is_idle(v) ? frame_to_mfn(l4) << PAGE_SHIFT : 0;
}

/* again: even if they are loaded. */
static void load_tables(const struct vcpu *v, bool again)
{
    struct cpu_info *info = cpu_info();
    info->tables[false] = tables_of(v, v->pv.l4_user);
    info->tables[true] = tables_of(v, v->pv.l4);
    maddr_t cr3 = info->tables[v->pv.kernel_mode] ?: hyp_cr3();
    if (again || info->cr3 != cr3) {
        info->cr3 = cr3;
        uint32_t time = tlb_flush_begin();
        WRITE_CR(3, cr3);
        if (cr3 == hyp_cr3()) {
            tlb_no_guest();
        } else {
            tlb_flush_end(time);
        }
    }
}

void arch_load_page_tables(const struct vcpu *v)
{
    load_tables(v, false);
}

/* entry.S, on the way out with XPTI: the page tables to go with. */
maddr_t exit_page_tables(void);
maddr_t exit_page_tables(void)
{
    const struct cpu_info *info = cpu_info();
    return xpti_guest_cr3(info->cpu, info->current->pv.kernel_mode, info->cr3);
}

/* ---- segments ---- */

/* Load a data selector; a bad one becomes NUL and clears `ok`. */
#define LOAD_SEL(reg, sel, ok)                                                                     \
    do {                                                                                           \
        uint32_t sel_ = (sel);                                                                     \
        __asm__ volatile("1: mov %1, %%" #reg "\n"                                                 \
                         ".pushsection .text.fixup, \"ax\"\n"                                      \
                         "2: movb $0, %0\n"                                                        \
                         "   xor %1, %1\n"                                                         \
                         "   jmp 1b\n"                                                             \
                         ".popsection\n" EX_TABLE("1b", "2b")                                      \
                         : "+q"(ok), "+r"(sel_)                                                    \
                         :                                                                         \
                         : "memory");                                                              \
    } while (0)

static void save_segments(struct vcpu *v)
{
    __asm__ volatile("mov %%ds, %0" : "=m"(v->regs.ds));
    __asm__ volatile("mov %%es, %0" : "=m"(v->regs.es));
    __asm__ volatile("mov %%fs, %0" : "=m"(v->regs.fs));
    __asm__ volatile("mov %%gs, %0" : "=m"(v->regs.gs));
    v->pv.fs_base = rdmsr(MSR_FS_BASE);
    uint64_t active = rdmsr(MSR_GS_BASE), shadow = rdmsr(MSR_KERNEL_GS_BASE);
    v->pv.gs_base_kernel = v->pv.kernel_mode ? active : shadow;
    v->pv.gs_base_user = v->pv.kernel_mode ? shadow : active;
}

static bool load_segments(const struct vcpu *v)
{
    bool ok = true;
    LOAD_SEL(ds, v->regs.ds, ok);
    LOAD_SEL(es, v->regs.es, ok);
    LOAD_SEL(fs, v->regs.fs, ok);
    LOAD_SEL(gs, v->regs.gs, ok);
    /* After the selectors: loading one changes the base. */
    wrmsr(MSR_FS_BASE, v->pv.fs_base);
    wrmsr(MSR_GS_BASE, v->pv.kernel_mode ? v->pv.gs_base_kernel : v->pv.gs_base_user);
    wrmsr(MSR_KERNEL_GS_BASE, v->pv.kernel_mode ? v->pv.gs_base_user : v->pv.gs_base_kernel);
    return ok;
}

void arch_swap_gs(void)
{
    __asm__ volatile("swapgs" ::: "memory");
}

static uint32_t base_msr(unsigned which)
{
    return which == SEGBASE_FS          ? MSR_FS_BASE
           : which == SEGBASE_GS_KERNEL ? MSR_GS_BASE
                                        : MSR_KERNEL_GS_BASE;
}

void arch_set_segment_base(unsigned which, uint64_t base)
{
    wrmsr(base_msr(which), base);
}

uint64_t arch_get_segment_base(unsigned which)
{
    return rdmsr(base_msr(which));
}

void arch_load_user_gs(uint16_t sel)
{
    bool ok = true;
    /* The selector's base belongs to user mode: load it between two swaps. */
    arch_swap_gs();
    LOAD_SEL(gs, sel, ok);
    arch_swap_gs();
}

/* ---- descriptor-table windows ---- */

static struct window_state {
    mfn_t gdt[GUEST_GDT_FRAMES]; /* what the window maps; 0: the zero page */
    unsigned gdt_rest;           /* how many at its end are known to map that */
    unsigned ldt_pages;          /* 1 + highest LDT page mapped */
} window[MAX_PCPUS];

/* Stands in for GDT pages the guest does not have: no descriptor there can be loaded. */
static const uint8_t zero_page[PAGE_SIZE] __attribute__((aligned(PAGE_SIZE)));

#define WINDOW_RW (X86_PTE_P | X86_PTE_RW | X86_PTE_A | X86_PTE_D | X86_PTE_NX)
#define WINDOW_RO (X86_PTE_P | X86_PTE_A | X86_PTE_NX)

/* Map a page at `offset` of this CPU's block. */
static void window_map(uint64_t offset, mfn_t mfn, uint64_t flags)
{
    hyp_map_page(percpu_block() + offset, mfn, flags);
    xpti_page(arch_cpu_id(), offset, mfn == INVALID_MFN ? 0 : mfn << PAGE_SHIFT | flags);
    __asm__ volatile("invlpg (%0)" ::"r"(percpu_block() + offset) : "memory");
}

void arch_load_gdt(const struct vcpu *v)
{
    mfn_t zero_mfn = image_maddr(zero_page) >> PAGE_SHIFT;
    struct window_state *w = &window[arch_cpu_id()];
    mfn_t *mapped = w->gdt;
    unsigned count = DIV_ROUND_UP(v->pv.gdt_entries, 512);
    unsigned end = MAX(count, GUEST_GDT_FRAMES - w->gdt_rest);
    w->gdt_rest = GUEST_GDT_FRAMES - count;
    for (unsigned i = 0; i < end; i++) {
        mfn_t want = v->pv.gdt[i] ? frame_to_mfn(v->pv.gdt[i]) : zero_mfn;
        if (mapped[i] != want) {
            mapped[i] = want;
            /* Writable for the processor only: it marks a descriptor it loads as accessed. */
            window_map(PERCPU_GDT + i * PAGE_SIZE, want, v->pv.gdt[i] ? WINDOW_RW : WINDOW_RO);
        }
    }
}

void arch_ldt_map_page(const struct vcpu *v, unsigned page)
{
    unsigned *pages = &window[arch_cpu_id()].ldt_pages;
    window_map(PERCPU_LDT + page * PAGE_SIZE, frame_to_mfn(v->pv.ldt[page]), WINDOW_RW);
    *pages = MAX(*pages, page + 1);
}

void arch_load_ldt(const struct vcpu *v)
{
    unsigned *pages = &window[arch_cpu_id()].ldt_pages;
    for (; *pages; --*pages) {
        window_map(PERCPU_LDT + (*pages - 1) * PAGE_SIZE, INVALID_MFN, 0);
    }
    for (unsigned i = 0; i < LDT_PAGES; i++) {
        if (v->pv.ldt[i]) {
            arch_ldt_map_page(v, i);
        }
    }
    ldt_descriptor_set(v->pv.ldt_entries);
}

/* ---- FPU ---- */

void arch_set_ts(bool on)
{
    if (on) {
        WRITE_CR(0, READ_CR(0) | X86_CR0_TS);
    } else {
        __asm__ volatile("clts");
    }
}

/* By a register of the vCPU that was interrupted, which gets it back: half as many instructions as
 * with a general one. No interrupt comes in between, and what does not wait for that uses none. */
void arch_page_clear(void *page)
{
    uint64_t kept[2];
    bool ts = READ_CR(0) & X86_CR0_TS;
    arch_set_ts(false);
    __asm__ volatile("movups %%xmm0, (%[kept])\n"
                     "xorps %%xmm0, %%xmm0\n"
                     "1: .irp at, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15\n"
                     "movaps %%xmm0, 16 * \\at(%[page])\n"
                     ".endr\n"
                     "add $256, %[page]\n"
                     "test $4095, %[page]\n"
                     "jnz 1b\n"
                     "movups (%[kept]), %%xmm0"
                     : [page] "+r"(page)
                     : [kept] "r"(kept)
                     : "memory");
    if (ts) {
        arch_set_ts(true);
    }
}

void arch_xsetbv(uint64_t xcr0)
{
    __asm__ volatile("xsetbv" ::"c"(0), "a"((uint32_t)xcr0), "d"((uint32_t)(xcr0 >> 32)));
}

/* All components we support are saved and loaded, whatever the guest has enabled: a component it
 * has off now must not carry another guest's data when it turns it on. */
static void fpu_save(struct vcpu *v)
{
    arch_set_ts(false);
    if (arch_facts.xcr0_mask) {
        arch_xsetbv(arch_facts.xcr0_mask);
        __asm__ volatile("xsave64 (%0)" ::"r"(v->pv.fpu), "a"(-1), "d"(-1) : "memory");
    } else {
        __asm__ volatile("fxsave64 (%0)" ::"r"(v->pv.fpu) : "memory");
    }
}

static void fpu_load(const struct vcpu *v)
{
    arch_set_ts(false);
    if (arch_facts.xcr0_mask) {
        arch_xsetbv(arch_facts.xcr0_mask);
        __asm__ volatile("xrstor64 (%0)" ::"r"(v->pv.fpu), "a"(-1), "d"(-1) : "memory");
        arch_xsetbv(v->pv.xcr0);
    } else {
        __asm__ volatile("fxrstor64 (%0)" ::"r"(v->pv.fpu) : "memory");
    }
    if (v->pv.ts) {
        arch_set_ts(true);
    }
}

void arch_fpu_init(void *area, size_t bytes)
{
    uint16_t *p = memset(area, 0, bytes);
    p[0] = 0x037f;                         /* FCW: all x87 exceptions masked */
    p[12] = 0x1f80;                        /* MXCSR: all SSE exceptions masked */
    p[256] = arch_facts.xcr0_mask ? 3 : 0; /* XSTATE_BV: x87 and SSE parts are meaningful */
}

/* ---- debug registers ---- */

void arch_set_debugreg(unsigned reg, uint64_t value)
{
    switch (reg) { /* there are no 4 and 5 */
#define WRITE_DR(n)                                                                                \
    case n:                                                                                        \
        __asm__ volatile("mov %0, %%dr" #n ::"r"(value));                                          \
        break;
        WRITE_DR(0)
        WRITE_DR(1)
        WRITE_DR(2)
        WRITE_DR(3)
        WRITE_DR(6)
        WRITE_DR(7)
    }
}

uint64_t arch_get_dr6(void)
{
    uint64_t value;
    __asm__ volatile("mov %%dr6, %0" : "=r"(value));
    return value;
}

static void load_debugregs(const struct vcpu *prev, const struct vcpu *next)
{
    if (prev->pv.debugreg[7] & 0xff) {
        arch_set_debugreg(7, 0x400);
    }
    for (unsigned reg = 0; reg < 8 && (next->pv.debugreg[7] & 0xff); reg++) {
        arch_set_debugreg(reg, next->pv.debugreg[reg]);
    }
}

/* ---- control registers ---- */

void arch_set_cr4(const struct vcpu *v)
{
    static const uint64_t guest_bits =
        X86_CR4_TSD | X86_CR4_DE | X86_CR4_FSGSBASE | X86_CR4_OSXSAVE;
    uint64_t cr4 = READ_CR(4);
    uint64_t want = (cr4 & ~guest_bits) | (v->pv.cr4 & guest_bits);
    if (arch_facts.xcr0_mask) {
        want |= X86_CR4_OSXSAVE; /* XSAVE and XSETBV are ours to use at any time */
    }
    if (want != cr4) {
        WRITE_CR(4, want);
    }
}

/* ---- the switch ---- */

_Static_assert((PARAVANE_XEN_MAJOR << 16 | PARAVANE_XEN_MINOR) == XEN_VERSION_WORD, "asm.h");
_Static_assert(offsetof(struct vcpu, info) == VCPU_INFO, "asm.h");
_Static_assert(offsetof(struct vcpu, system) == VCPU_SYSTEM, "asm.h");
_Static_assert(offsetof(struct vcpu, pv.trap) == VCPU_TRAP, "asm.h");
_Static_assert(offsetof(struct vcpu, pv.kernel_mode) == VCPU_KERNEL_MODE, "asm.h");
_Static_assert(offsetof(struct vcpu, pv.shown_iopl) == VCPU_SHOWN_IOPL, "asm.h");
_Static_assert(offsetof(struct vcpu, pv.kernel_ss) == VCPU_KERNEL_SS, "asm.h");
_Static_assert(offsetof(struct vcpu, pv.kernel_sp) == VCPU_KERNEL_SP, "asm.h");
_Static_assert(offsetof(struct vcpu, pv.syscall.address) == VCPU_SYSCALL, "asm.h");
_Static_assert(offsetof(struct vcpu, pv.syscall.mask_events) == VCPU_SYSCALL + 8, "asm.h");

void arch_start_idle(struct vcpu *v)
{
    cpu_info()->current = v;
    cpu_info()->last_flush = tlb_last_flush();
}

/* Serial number of the domain that ran last; 0 none. */
static uint64_t last_domain[MAX_PCPUS];

void arch_context_switch(struct vcpu *prev, struct vcpu *next)
{
    unsigned cpu = arch_cpu_id();
    if (!vcpu_is_idle(prev)) {
        prev->regs = *guest_regs();
        save_segments(prev);
        fpu_save(prev);
    }
    cpu_info()->current = next;
    if (!vcpu_is_idle(next)) {
        cpumask_set(&next->domain->dirty_cpus, cpu);
        tlb_clock_advance();
    }
    load_debugregs(prev, next);
    /* Nothing of a guest is needed to idle, but its tables must not be relied upon either: they may
     * be taken apart while we sleep. Also tables that are loaded already are loaded again: what
     * this TLB holds may be what another vCPU was allowed to keep, and `next` has been told that
     * its own was flushed. */
    load_tables(next, !vcpu_is_idle(next));
    if (prev->domain != next->domain) {
        /* CR3 has been written: nothing of that domain is in this TLB any more. */
        cpumask_clear(&prev->domain->dirty_cpus, cpu);
    }
    if (vcpu_is_idle(next)) {
        return;
    }
    if (last_domain[cpu] != next->domain->serial) {
        last_domain[cpu] = next->domain->serial;
        speculation_forget();
    }
    arch_load_gdt(next);
    if (next->pv.ldt_entries || window[cpu].ldt_pages) {
        arch_load_ldt(next);
    }
    arch_set_cr4(next);
    *guest_regs() = next->regs;
    fpu_load(next);
    if (!load_segments(next)) {
        next->pv.failsafe_pending = true;
    }
}
