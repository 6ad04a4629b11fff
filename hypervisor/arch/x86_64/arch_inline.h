// SPDX-License-Identifier: MIT
/* The inline part of arch/arch.h for hardware: per-CPU data hangs off the stack pointer, so entry
 * code needs no segment register that a guest could own. */
#pragma once

#include "arch/arch.h"
#include "arch/layout.h"
#include "base/types.h"
#include "pv-abi/abi.h"

struct vcpu;

/* At the very top of each pcpu's main stack. The hardware frame of an interrupt from guest mode
 * fills guest_regs from its `ss` downwards. */
struct cpu_info {
    struct cpu_user_regs guest_regs;
    struct vcpu *current;
    uint32_t cpu;
    uint16_t verw; /* selector of a writable segment: operand of VERW */
    uint16_t pad;
    uint64_t cr3; /* the full page tables, while the guest runs too */
    /* For entry.S: the guest's page tables in user and kernel mode, 0 none; where this pcpu notes
     * what tlb.c's clock was when it loaded some. */
    uint64_t tables[2];
    uint32_t *last_flush;
};

static inline struct cpu_info *cpu_info(void)
{
    unsigned long sp;
    __asm__("mov %%rsp, %0" : "=r"(sp));
    return (struct cpu_info *)((sp & ~(STACK_BYTES - 1UL)) + STACK_BYTES) - 1;
}

static inline unsigned arch_cpu_id(void)
{
    return cpu_info()->cpu;
}

static inline struct vcpu *current_vcpu(void)
{
    return cpu_info()->current;
}

static inline struct cpu_user_regs *guest_regs(void)
{
    return &cpu_info()->guest_regs;
}

static inline void *mfn_to_virt(mfn_t mfn)
{
    return (void *)(DIRECTMAP_START + (mfn << 12));
}

static inline mfn_t virt_to_mfn(const void *va)
{
    return ((uint64_t)va - DIRECTMAP_START) >> 12;
}

static inline uint64_t *arch_m2p(void)
{
    return (uint64_t *)M2P_RW_START;
}

static inline uint64_t arch_rdtsc(void)
{
    uint32_t lo, hi;
    __asm__ volatile("rdtsc" : "=a"(lo), "=d"(hi));
    return (uint64_t)hi << 32 | lo;
}

/* Its lower half, for stretches of less than 2^32 ticks. */
static inline uint32_t arch_rdtsc_low(void)
{
    uint32_t lo, hi;
    __asm__ volatile("rdtsc" : "=a"(lo), "=d"(hi));
    return lo;
}

/* Frame table and M2P exist for whole sections of this many frames (128 MiB) that hold any RAM. */
#define SECTION_SHIFT 15
extern uint64_t section_present[]; /* mmu.c; constant after start-up */

static inline bool arch_mfn_has_frame(mfn_t mfn)
{
    return mfn < arch_facts.max_mfn && test_bit((unsigned)(mfn >> SECTION_SHIFT), section_present);
}
