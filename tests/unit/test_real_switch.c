// SPDX-License-Identifier: MIT
/*
 * arch/x86_64/switch.c as it is: what is loaded when another vCPU gets the processor is that vCPU's
 * and nothing of the one before, whatever selectors and tables their kernels have chosen.
 */
#include <stdlib.h>
#include <string.h>

#include "arch/x86_64/asm.h"
#include "arch/x86_64/machine.h"
#include "arch/x86_64/speculation.h"
#include "base/string.h"
#include "core/domain.h"
#include "core/frame.h"
#include "real_code.h"

#define INFO ((struct cpu_info *)(REAL_BLOCK + STACK_BYTES) - 1)
#define HYP_TABLES 0x1234000UL
#define USER_DS 0x2b /* of this program: a selector that can be loaded */
#define BAD 0xe0e3   /* one that cannot */
#define FPU_BYTES 16384

/* ---- the rest of arch/x86_64 ---- */

struct arch_facts arch_facts = {.xcr0_mask = 7};
static struct frame frames[32];
struct frame *frame_table = frames;
static uint64_t gdt_window[16], ldt_window[LDT_PAGES];
static unsigned maps, forgets, no_guest, clock_steps, ldt_entries;
static uint32_t flush_began, flush_ended;

maddr_t hyp_cr3(void)
{
    return HYP_TABLES;
}

void hyp_map_page(vaddr_t va, mfn_t mfn, uint64_t flags)
{
    uint64_t offset = va - PERCPU_START, pte = mfn == INVALID_MFN ? 0 : mfn << PAGE_SHIFT | flags;
    bool ldt = offset >= PERCPU_LDT;
    uint64_t page = (offset - (ldt ? PERCPU_LDT : PERCPU_GDT)) >> PAGE_SHIFT;
    CU_ASSERT_FATAL(page < (ldt ? LDT_PAGES : GUEST_GDT_FRAMES));
    (ldt ? ldt_window : gdt_window)[page] = pte;
    maps++;
}

void xpti_page(unsigned cpu, uint64_t offset, uint64_t pte)
{
    bool ldt = offset >= PERCPU_LDT;
    CU_ASSERT_EQUAL(cpu, 0);
    CU_ASSERT_EQUAL((ldt ? ldt_window : gdt_window)[offset >> PAGE_SHIFT & 15], pte);
}

maddr_t xpti_guest_cr3(unsigned cpu, bool kernel_mode, maddr_t cr3)
{
    (void)cpu, (void)kernel_mode;
    return cr3;
}

void ldt_descriptor_set(unsigned entries)
{
    ldt_entries = entries;
}

uint32_t tlb_flush_begin(void)
{
    return flush_began = 7;
}

void tlb_flush_end(uint32_t time)
{
    flush_ended = time;
}

void tlb_no_guest(void)
{
    no_guest++;
}

uint32_t *tlb_last_flush(void)
{
    static uint32_t last;
    return &last;
}

void tlb_clock_advance(void)
{
    clock_steps++;
}

void speculation_forget(void)
{
    forgets++;
}

/* ---- three vCPUs of two domains, and the idle one ---- */

static struct domain domains[3];
static struct vcpu vcpus[4];
static struct vcpu *const idle = &vcpus[3];
static uint8_t fpu[4][FPU_BYTES] __attribute__((aligned(64)));
static struct vcpu *from, *to;

static void switch_now(void)
{
    arch_context_switch(from, to);
    real_stop();
}

static void switch_to(struct vcpu *v)
{
    from = INFO->current;
    to = v;
    maps = forgets = no_guest = clock_steps = 0;
    flush_began = flush_ended = 0;
    real_run.loads = 0;
    real_go((vaddr_t)switch_now, REAL_BLOCK + STACK_BYTES - 0x1008);
    CU_ASSERT_PTR_EQUAL(INFO->current, v);
}

static void begin(void)
{
    memset(domains, 0, sizeof(domains));
    memset(vcpus, 0, sizeof(vcpus));
    memset(fpu, 0, sizeof(fpu));
    for (unsigned i = 0; i < ARRAY_SIZE(vcpus); i++) {
        struct vcpu *v = &vcpus[i];
        v->domain = &domains[i ? i - 1 : 0];
        v->domain->id = i == 3 ? DOMID_IDLE : (domid_t)(i ? i : 1);
        v->domain->serial = 100 + v->domain->id;
        v->pv.fpu = fpu[i];
        uint16_t *state = (uint16_t *)fpu[i];
        state[0] = 0x037f;
        state[12] = 0x1f80;
        state[256] = 3;
        v->pv.xcr0 = 3 + 4 * (i & 1);
        v->pv.kernel_mode = true;
        v->pv.l4 = i == 3 ? NULL : &frames[20 + i];
        v->pv.l4_user = i == 3 ? NULL : &frames[24 + i];
        v->pv.fs_base = 0x1000 + i;
        v->pv.gs_base_kernel = 0x2000 + i;
        v->pv.gs_base_user = 0x3000 + i;
        memset(&v->regs, 0x10 + (int)i, sizeof(v->regs));
        v->regs.ds = v->regs.es = v->regs.fs = v->regs.gs = 0;
    }
    memset(INFO, 0, sizeof(*INFO));
    INFO->current = idle;
}

static bool is_loaded(const struct vcpu *v)
{
    bool kernel = v->pv.kernel_mode;
    return !memcmp(&INFO->guest_regs, &v->regs, sizeof(v->regs)) &&
           real_run.fs_base == v->pv.fs_base &&
           real_run.gs_base == (kernel ? v->pv.gs_base_kernel : v->pv.gs_base_user) &&
           real_run.other_gs_base == (kernel ? v->pv.gs_base_user : v->pv.gs_base_kernel) &&
           real_run.cr3 == frame_to_mfn(kernel ? v->pv.l4 : v->pv.l4_user) << PAGE_SHIFT &&
           INFO->cr3 == real_run.cr3 && real_run.xcr0 == v->pv.xcr0;
}

/* ---- tests ---- */

static void test_switch__loads_what_is_its(void)
{
    begin();
    vcpus[1].pv.kernel_mode = false;
    /* The first's own tables, which are loaded again: its TLB may hold what this one must not. */
    vcpus[1].pv.l4_user = vcpus[0].pv.l4;
    vcpus[2].pv.ts = true;
    static const unsigned order[] = {0, 1, 2, 0, 3, 0, 2, 3, 1};
    static const bool forgotten[] = {true, false, true, true, false, false, true, false, true};
    for (unsigned i = 0; i < ARRAY_SIZE(order); i++) {
        struct vcpu *v = &vcpus[order[i]];
        switch_to(v);
        CU_ASSERT_EQUAL(forgets, forgotten[i]);
        if (v == idle) {
            CU_ASSERT(real_run.cr3 == HYP_TABLES && no_guest == 1);
            continue;
        }
        CU_ASSERT_TRUE(is_loaded(v));
        CU_ASSERT_EQUAL(real_run.loads, 1);
        CU_ASSERT(flush_began && flush_ended == flush_began && clock_steps == 1);
        CU_ASSERT_TRUE(cpumask_test(&v->domain->dirty_cpus, 0));
        CU_ASSERT_FALSE(cpumask_test(&domains[v->domain == &domains[0]].dirty_cpus, 0));
        CU_ASSERT_EQUAL(!!(real_run.cr0 & X86_CR0_TS), v->pv.ts);
        CU_ASSERT_FALSE(v->pv.failsafe_pending);
    }
}

/* What it has changed since is kept, whichever mode it was in. */
static void test_switch__keeps_what_was_changed(void)
{
    for (unsigned mode = 0; mode < 2; mode++) {
        begin();
        struct vcpu *v = &vcpus[0];
        v->pv.kernel_mode = mode;
        switch_to(v);
        real_run.fs_base = 0xf1;
        real_run.gs_base = 0xf2;
        real_run.other_gs_base = 0xf3;
        INFO->guest_regs.rax = 0x77;
        switch_to(&vcpus[2]);
        CU_ASSERT_TRUE(is_loaded(&vcpus[2]));
        CU_ASSERT(v->pv.fs_base == 0xf1 && v->regs.rax == 0x77);
        CU_ASSERT_EQUAL(v->pv.gs_base_kernel, mode ? 0xf2 : 0xf3);
        CU_ASSERT_EQUAL(v->pv.gs_base_user, mode ? 0xf3 : 0xf2);
        switch_to(v);
        CU_ASSERT_TRUE(is_loaded(v));
    }
}

/* A selector that cannot be loaded is null, and the guest hears of it; its bases stand. */
static void test_selectors__bad_ones(void)
{
    for (unsigned bad = 0; bad < 16; bad++) {
        begin();
        struct vcpu *v = &vcpus[0];
        v->regs.ds = bad & 1 ? BAD : USER_DS;
        v->regs.es = bad & 2 ? BAD : 0;
        v->regs.fs = bad & 4 ? BAD : 0;
        v->regs.gs = bad & 8 ? BAD : 0;
        switch_to(v);
        CU_ASSERT_EQUAL(v->pv.failsafe_pending, bad != 0);
        CU_ASSERT_TRUE(is_loaded(v));
        uint16_t ds;
        __asm__ volatile("mov %%ds, %0" : "=r"(ds));
        CU_ASSERT_EQUAL(ds, bad & 1 ? 0 : USER_DS);
        switch_to(&vcpus[2]);
        __asm__ volatile("mov %%ds, %0" : "=r"(ds));
        CU_ASSERT_EQUAL(ds, 0);
        CU_ASSERT_FALSE(vcpus[2].pv.failsafe_pending);
    }
}

static bool windows_are(const struct vcpu *v)
{
    bool good = ldt_entries == v->pv.ldt_entries;
    uint64_t nothing = gdt_window[GUEST_GDT_FRAMES - 1]; /* nobody here has so many */
    for (unsigned i = 0; i < GUEST_GDT_FRAMES; i++) {
        const struct frame *f = v->pv.gdt[i];
        good &= f ? PTE_MFN(gdt_window[i]) == frame_to_mfn(f) && (gdt_window[i] & X86_PTE_RW)
                  : gdt_window[i] == nothing && !(gdt_window[i] & X86_PTE_RW);
    }
    for (unsigned i = 0; i < LDT_PAGES; i++) {
        const struct frame *f = v->pv.ldt[i];
        good &= f ? PTE_MFN(ldt_window[i]) == frame_to_mfn(f) : !ldt_window[i];
    }
    return good;
}

static void tables(struct vcpu *v, unsigned gdt, unsigned first_frame, unsigned ldt_page)
{
    memset(v->pv.gdt, 0, sizeof(v->pv.gdt));
    memset(v->pv.ldt, 0, sizeof(v->pv.ldt));
    v->pv.gdt_entries = gdt * 512;
    for (unsigned i = 0; i < gdt; i++) {
        v->pv.gdt[i] = &frames[first_frame + i];
    }
    v->pv.ldt_entries = ldt_page ? 8192 : 0;
    if (ldt_page) {
        v->pv.ldt[ldt_page] = &frames[first_frame + 5];
    }
}

/* No descriptor of another guest's, nor one that it has had itself, can be reached. */
static void test_windows__nothing_is_left(void)
{
    begin();
    for (unsigned a = 0; a < 5; a++) {
        for (unsigned b = 0; b < 5; b++) {
            for (unsigned ldt = 0; ldt < 4; ldt++) {
                tables(&vcpus[0], a, 1, ldt & 1 ? 9 : 0);
                tables(&vcpus[2], b, 8, ldt & 2 ? 3 : 0);
                switch_to(&vcpus[0]);
                CU_ASSERT_TRUE(windows_are(&vcpus[0]));
                switch_to(&vcpus[2]);
                CU_ASSERT_TRUE(windows_are(&vcpus[2]));
                switch_to(idle);
                switch_to(&vcpus[2]);
                CU_ASSERT_TRUE(windows_are(&vcpus[2]));
                CU_ASSERT_TRUE(is_loaded(&vcpus[2]));
            }
        }
    }
}

static void test_debugregs__of_one_that_has_some(void)
{
    begin();
    for (unsigned i = 0; i < 4; i++) {
        vcpus[0].pv.debugreg[i] = 0x5000 + i;
    }
    vcpus[0].pv.debugreg[6] = 0xffff0ff0;
    vcpus[0].pv.debugreg[7] = 0x401;
    switch_to(&vcpus[0]);
    CU_ASSERT(real_run.debugreg[3] == 0x5003 && real_run.debugreg[7] == 0x401);
    switch_to(&vcpus[2]);
    CU_ASSERT_EQUAL(real_run.debugreg[7], 0x400); /* none is on */
    switch_to(idle);
    switch_to(&vcpus[0]);
    CU_ASSERT_EQUAL(real_run.debugreg[7], 0x401);
    switch_to(idle);
    CU_ASSERT_EQUAL(real_run.debugreg[7], 0x400);
}

static void test_cr4__only_what_a_guest_may_have(void)
{
    static const uint64_t ours = X86_CR4_OSXSAVE;
    begin();
    vcpus[0].pv.cr4 = ~0UL;
    vcpus[2].pv.cr4 = 0;
    uint64_t base = real_run.cr4 = 1UL << 21 | 1UL << 20 | 1UL << 5 | ours;
    switch_to(&vcpus[0]);
    CU_ASSERT_EQUAL(real_run.cr4 & ~(X86_CR4_TSD | X86_CR4_DE | X86_CR4_FSGSBASE), base);
    CU_ASSERT_TRUE(real_run.cr4 & X86_CR4_TSD);
    switch_to(&vcpus[2]);
    CU_ASSERT_EQUAL(real_run.cr4, base);
}

int main(void)
{
    CU_TestInfo tests[] = {
        {"switch__loads_what_is_its", test_switch__loads_what_is_its},
        {"switch__keeps_changes", test_switch__keeps_what_was_changed},
        {"selectors__bad_ones", test_selectors__bad_ones},
        {"windows__nothing_is_left", test_windows__nothing_is_left},
        {"debugregs", test_debugregs__of_one_that_has_some},
        {"cr4", test_cr4__only_what_a_guest_may_have},
        CU_TEST_INFO_NULL,
    };
    return real_main("real_switch", tests);
}
