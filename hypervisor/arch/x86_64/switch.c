// SPDX-License-Identifier: MIT
/*
 * What changes on the processor when another vCPU gets it: registers, segments and their bases,
 * FPU, debug registers, descriptor-table windows, page tables. All of it is per pcpu and only
 * touched by the pcpu itself with interrupts off; no locks.
 */
#include "asm.h"
#include "base/assert.h"
#include "base/string.h"
#include "core/domain.h"
#include "machine.h"

/* ---- page tables ---- */

static maddr_t loaded_cr3[MAX_PCPUS];

void arch_load_page_tables(const struct vcpu *v)
{
    maddr_t cr3 = hyp_cr3();
    if (!vcpu_is_idle(v)) {
        const struct frame *l4 = v->pv.kernel_mode ? v->pv.l4 : v->pv.l4_user;
        if (l4) {
            cr3 = frame_to_mfn(l4) << PAGE_SHIFT;
        }
    }
    unsigned cpu = arch_cpu_id();
    if (loaded_cr3[cpu] != cr3) {
        loaded_cr3[cpu] = cr3;
        uint32_t time = tlb_flush_begin();
        __asm__ volatile("mov %0, %%cr3" ::"r"(cr3) : "memory");
        tlb_flush_end(time);
    }
}

/* ---- segments ---- */

#define SAVE_SEL(reg, where) __asm__("mov %%" #reg ", %0" : "=r"(where))

/* Load a data selector; a bad one becomes NUL and the function says so. */
#define LOAD_SEL(reg)                                                                              \
    static bool load_##reg(uint16_t sel)                                                           \
    {                                                                                              \
        bool ok = true;                                                                            \
        __asm__ volatile("1: mov %w1, %%" #reg "\n"                                                \
                         "2:\n"                                                                    \
                         ".pushsection .text.fixup, \"ax\"\n"                                      \
                         "3: movb $0, %0\n"                                                        \
                         "   push $0\n"                                                            \
                         "   mov (%%rsp), %%" #reg "\n"                                            \
                         "   add $8, %%rsp\n"                                                      \
                         "   jmp 2b\n"                                                             \
                         ".popsection\n" EX_TABLE("1b", "3b")                                      \
                         : "+q"(ok)                                                                \
                         : "r"(sel)                                                                \
                         : "memory");                                                              \
        return ok;                                                                                 \
    }
LOAD_SEL(ds)
LOAD_SEL(es)
LOAD_SEL(fs)
LOAD_SEL(gs)

static void save_segments(struct vcpu *v)
{
    uint16_t sel;
    SAVE_SEL(ds, sel);
    v->regs.ds = sel;
    SAVE_SEL(es, sel);
    v->regs.es = sel;
    SAVE_SEL(fs, sel);
    v->regs.fs = sel;
    SAVE_SEL(gs, sel);
    v->regs.gs = sel;
    v->pv.fs_base = rdmsr(MSR_FS_BASE);
    uint64_t active = rdmsr(MSR_GS_BASE), shadow = rdmsr(MSR_KERNEL_GS_BASE);
    v->pv.gs_base_kernel = v->pv.kernel_mode ? active : shadow;
    v->pv.gs_base_user = v->pv.kernel_mode ? shadow : active;
}

static bool load_segments(const struct vcpu *v)
{
    bool ok = load_ds(v->regs.ds);
    ok = load_es(v->regs.es) && ok;
    ok = load_fs(v->regs.fs) && ok;
    ok = load_gs(v->regs.gs) && ok;
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

void arch_set_segment_base(unsigned which, uint64_t base)
{
    switch (which) {
    case SEGBASE_FS:
        wrmsr(MSR_FS_BASE, base);
        break;
    case SEGBASE_GS_KERNEL:
        wrmsr(MSR_GS_BASE, base);
        break;
    case SEGBASE_GS_USER:
        wrmsr(MSR_KERNEL_GS_BASE, base);
        break;
    default:
        break;
    }
}

uint64_t arch_get_segment_base(unsigned which)
{
    return which == SEGBASE_FS          ? rdmsr(MSR_FS_BASE)
           : which == SEGBASE_GS_KERNEL ? rdmsr(MSR_GS_BASE)
                                        : rdmsr(MSR_KERNEL_GS_BASE);
}

void arch_load_user_gs(uint16_t sel)
{
    /* The selector's base belongs to user mode: load it between two swaps. */
    arch_swap_gs();
    (void)load_gs(sel);
    arch_swap_gs();
}

/* ---- descriptor-table windows ---- */

static struct window_state {
    mfn_t gdt[GUEST_GDT_FRAMES]; /* what the window maps; 0: the zero page */
    unsigned ldt_pages;          /* 1 + highest LDT page mapped */
} window[MAX_PCPUS];

/* Stands in for GDT pages the guest does not have: no descriptor there can be loaded. */
static const uint8_t zero_page[PAGE_SIZE] __attribute__((aligned(PAGE_SIZE)));

static mfn_t zero_page_mfn(void)
{
    return ((vaddr_t)zero_page - HYP_IMAGE_START + HYP_LOAD_PHYS) >> PAGE_SHIFT;
}

#define WINDOW_RW (X86_PTE_P | X86_PTE_RW | X86_PTE_A | X86_PTE_D | X86_PTE_NX)
#define WINDOW_RO (X86_PTE_P | X86_PTE_A | X86_PTE_NX)

void arch_load_gdt(const struct vcpu *v)
{
    struct window_state *w = &window[arch_cpu_id()];
    vaddr_t base = percpu_block() + PERCPU_GDT;
    for (unsigned i = 0; i < GUEST_GDT_FRAMES; i++) {
        mfn_t want = v->pv.gdt[i] ? frame_to_mfn(v->pv.gdt[i]) : zero_page_mfn();
        if (w->gdt[i] == want) {
            continue;
        }
        w->gdt[i] = want;
        /* Writable for the processor only: it sets the accessed bit of a descriptor it loads. */
        hyp_map_page(base + i * PAGE_SIZE, want, v->pv.gdt[i] ? WINDOW_RW : WINDOW_RO);
        invlpg(base + i * PAGE_SIZE);
    }
}

void arch_ldt_map_page(const struct vcpu *v, unsigned page)
{
    struct window_state *w = &window[arch_cpu_id()];
    vaddr_t va = percpu_block() + PERCPU_LDT + page * PAGE_SIZE;
    hyp_map_page(va, frame_to_mfn(v->pv.ldt[page]), WINDOW_RW);
    invlpg(va);
    w->ldt_pages = MAX(w->ldt_pages, page + 1);
}

void arch_load_ldt(const struct vcpu *v)
{
    struct window_state *w = &window[arch_cpu_id()];
    vaddr_t base = percpu_block() + PERCPU_LDT;
    for (unsigned i = 0; i < w->ldt_pages; i++) {
        hyp_map_page(base + i * PAGE_SIZE, INVALID_MFN, 0);
        invlpg(base + i * PAGE_SIZE);
    }
    w->ldt_pages = 0;
    for (unsigned i = 0; i < LDT_PAGES; i++) {
        if (v->pv.ldt[i]) {
            arch_ldt_map_page(v, i);
        }
    }
    ldt_descriptor_set(v->pv.ldt_entries);
}

/* ---- FPU ---- */

static void clts(void)
{
    __asm__ volatile("clts");
}

void arch_set_ts(bool on)
{
    if (on) {
        uint64_t cr0;
        __asm__ volatile("mov %%cr0, %0" : "=r"(cr0));
        __asm__ volatile("mov %0, %%cr0" ::"r"(cr0 | X86_CR0_TS));
    } else {
        clts();
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
    clts();
    if (arch_xcr0_mask()) {
        arch_xsetbv(arch_xcr0_mask());
        __asm__ volatile("xsave64 (%0)" ::"r"(v->pv.fpu), "a"(-1), "d"(-1) : "memory");
    } else {
        __asm__ volatile("fxsave64 (%0)" ::"r"(v->pv.fpu) : "memory");
    }
}

static void fpu_load(const struct vcpu *v)
{
    clts();
    if (arch_xcr0_mask()) {
        arch_xsetbv(arch_xcr0_mask());
        __asm__ volatile("xrstor64 (%0)" ::"r"(v->pv.fpu), "a"(-1), "d"(-1) : "memory");
        arch_xsetbv(v->pv.xcr0);
    } else {
        __asm__ volatile("fxrstor64 (%0)" ::"r"(v->pv.fpu) : "memory");
    }
    if (v->pv.ts) {
        arch_set_ts(true);
    }
}

size_t arch_fpu_bytes(void)
{
    struct cpuid_regs r;
    if (!arch_xcr0_mask()) {
        return 512;
    }
    arch_cpuid(0xd, 0, &r);
    return MIN(r.ecx, PAGE_SIZE);
}

void arch_fpu_init(void *area)
{
    uint8_t *p = area;
    memset(area, 0, PAGE_SIZE);
    p[0] = 0x7f; /* FCW 0x037f: all x87 exceptions masked */
    p[1] = 0x03;
    p[24] = 0x80; /* MXCSR 0x1f80: all SSE exceptions masked */
    p[25] = 0x1f;
    if (arch_xcr0_mask()) {
        p[512] = 3; /* XSTATE_BV: x87 and SSE parts are meaningful */
    }
}

/* ---- debug registers ---- */

void arch_set_debugreg(unsigned reg, uint64_t value)
{
    switch (reg) {
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
    default:
        break;
    }
}

uint64_t arch_get_debugreg(unsigned reg)
{
    uint64_t value = 0;
    if (reg == 6) {
        __asm__ volatile("mov %%dr6, %0" : "=r"(value));
    } else if (reg == 7) {
        __asm__ volatile("mov %%dr7, %0" : "=r"(value));
    }
    return value;
}

static void load_debugregs(const struct vcpu *prev, const struct vcpu *next)
{
    if (prev->pv.debugreg[7] & 0xff) {
        arch_set_debugreg(7, 0x400);
    }
    if (next->pv.debugreg[7] & 0xff) {
        for (unsigned i = 0; i < 4; i++) {
            arch_set_debugreg(i, next->pv.debugreg[i]);
        }
        arch_set_debugreg(6, next->pv.debugreg[6]);
        arch_set_debugreg(7, next->pv.debugreg[7]);
    }
}

/* ---- control registers ---- */

void arch_set_cr4(const struct vcpu *v)
{
    static const uint64_t guest_bits =
        X86_CR4_TSD | X86_CR4_DE | X86_CR4_FSGSBASE | X86_CR4_OSXSAVE;
    uint64_t cr4;
    __asm__ volatile("mov %%cr4, %0" : "=r"(cr4));
    uint64_t want = (cr4 & ~guest_bits) | (v->pv.cr4 & guest_bits);
    if (arch_xcr0_mask()) {
        want |= X86_CR4_OSXSAVE; /* XSAVE and XSETBV are ours to use at any time */
    }
    if (want != cr4) {
        __asm__ volatile("mov %0, %%cr4" ::"r"(want) : "memory");
    }
}

/* ---- the switch ---- */

void arch_start_idle(struct vcpu *v)
{
    cpu_info()->current = v;
}

void arch_vcpu_sync(struct vcpu *v)
{
    if (v != current_vcpu()) {
        return;
    }
    v->regs = *guest_regs();
    save_segments(v);
    fpu_save(v);
    fpu_load(v);
}

/* CR3 has been written: nothing of the domain we leave is in this TLB any more. */
static void leave_domain(const struct vcpu *prev, const struct vcpu *next)
{
    if (prev->domain != next->domain) {
        cpumask_clear(&prev->domain->dirty_cpus, arch_cpu_id());
    }
}

void arch_context_switch(struct vcpu *prev, struct vcpu *next)
{
    if (!vcpu_is_idle(prev)) {
        prev->regs = *guest_regs();
        save_segments(prev);
        fpu_save(prev);
    }
    cpu_info()->current = next;
    if (vcpu_is_idle(next)) {
        /* Nothing of the guest is needed to idle, but its tables must not be relied upon either:
         * they may be taken apart while we sleep. */
        load_debugregs(prev, next);
        arch_load_page_tables(next);
        leave_domain(prev, next);
        return;
    }
    cpumask_set(&next->domain->dirty_cpus, arch_cpu_id());
    arch_load_page_tables(next);
    leave_domain(prev, next);
    arch_load_gdt(next);
    if (next->pv.ldt_entries || window[arch_cpu_id()].ldt_pages) {
        arch_load_ldt(next);
    }
    load_debugregs(prev, next);
    arch_set_cr4(next);
    *guest_regs() = next->regs;
    fpu_load(next);
    if (!load_segments(next)) {
        next->pv.failsafe_pending = true;
    }
}
