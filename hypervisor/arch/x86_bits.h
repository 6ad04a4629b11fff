// SPDX-License-Identifier: MIT
/* Facts about the processor as constants: no instructions here, so the host build has them too. */
#pragma once

#include "arch/layout.h"
#include "base/types.h"

#define X86_PTE_P (1UL << 0)
#define X86_PTE_RW (1UL << 1)
#define X86_PTE_US (1UL << 2)
#define X86_PTE_PWT (1UL << 3)
#define X86_PTE_PCD (1UL << 4)
#define X86_PTE_A (1UL << 5)
#define X86_PTE_D (1UL << 6)
#define X86_PTE_PAT (1UL << 7) /* L1; PSE above */
#define X86_PTE_PSE (1UL << 7)
#define X86_PTE_G (1UL << 8)
#define X86_PTE_AVAIL (7UL << 9)
#define X86_PTE_AVAIL_HIGH (0x7ffUL << 52)
#define X86_PTE_NX (1UL << 63)
#define X86_PTE_ADDR 0x000ffffffffff000UL

#define PT_ENTRIES 512
#define PT_SHIFT(level) (12 + 9 * ((level)-1))
#define PT_INDEX(va, level) (((va) >> PT_SHIFT(level)) & (PT_ENTRIES - 1))
#define PTE_MFN(pte) (((pte)&X86_PTE_ADDR) >> 12)

#define X86_EFLAGS_FIXED (1UL << 1)
#define X86_EFLAGS_TF (1UL << 8)
#define X86_EFLAGS_IF (1UL << 9)
#define X86_EFLAGS_DF (1UL << 10)
#define X86_EFLAGS_IOPL (3UL << 12)
#define X86_EFLAGS_NT (1UL << 14)
#define X86_EFLAGS_RF (1UL << 16)
#define X86_EFLAGS_VM (1UL << 17)
#define X86_EFLAGS_AC (1UL << 18)
#define X86_EFLAGS_VIF (1UL << 19)
#define X86_EFLAGS_VIP (1UL << 20)

#define X86_CR0_PE (1UL << 0)
#define X86_CR0_MP (1UL << 1)
#define X86_CR0_TS (1UL << 3)
#define X86_CR0_ET (1UL << 4)
#define X86_CR0_NE (1UL << 5)
#define X86_CR0_WP (1UL << 16)
#define X86_CR0_AM (1UL << 18)
#define X86_CR0_PG (1UL << 31)

#define X86_CR4_TSD (1UL << 2)
#define X86_CR4_DE (1UL << 3)
#define X86_CR4_PAE (1UL << 5)
#define X86_CR4_MCE (1UL << 6)
#define X86_CR4_PGE (1UL << 7)
#define X86_CR4_OSFXSR (1UL << 9)
#define X86_CR4_OSXMMEXCPT (1UL << 10)
#define X86_CR4_UMIP (1UL << 11)
#define X86_CR4_FSGSBASE (1UL << 16)
#define X86_CR4_OSXSAVE (1UL << 18)
#define X86_CR4_SMEP (1UL << 20)
#define X86_CR4_SMAP (1UL << 21)

#define MSR_TSC 0x10
#define MSR_APIC_BASE 0x1b
#define MSR_MISC_ENABLE 0x1a0
#define MSR_PAT 0x277
#define MSR_EFER 0xc0000080
#define MSR_STAR 0xc0000081
#define MSR_LSTAR 0xc0000082
#define MSR_CSTAR 0xc0000083
#define MSR_SYSCALL_MASK 0xc0000084
#define MSR_FS_BASE 0xc0000100
#define MSR_GS_BASE 0xc0000101
#define MSR_KERNEL_GS_BASE 0xc0000102

#define EFER_SCE (1UL << 0)
#define EFER_LME (1UL << 8)
#define EFER_LMA (1UL << 10)
#define EFER_NX (1UL << 11)

/* The PAT value every PV guest is told and the processor is given (low byte first: WB WT UC- UC WC
 * WP UC UC). */
#define PAT_VALUE 0x050100070406UL

enum x86_trap {
    TRAP_DB = 1,
    TRAP_NMI = 2,
    TRAP_BP = 3,
    TRAP_OF = 4,
    TRAP_UD = 6,
    TRAP_NM = 7,
    TRAP_DF = 8,
    TRAP_GP = 13,
    TRAP_PF = 14,
    TRAP_MC = 18,
};
#define PF_P (1u << 0)
#define PF_W (1u << 1)
#define PF_U (1u << 2)
#define PF_RSVD (1u << 3)

static inline bool trap_has_error_code(unsigned vector)
{
    /* #DF, #TS to #PF, #AC, #CP, #VC, #SX */
    return vector < 32 && (0x60227d00u >> vector & 1);
}

static inline bool is_canonical(vaddr_t va)
{
    return (uint64_t)((int64_t)(va << 16) >> 16) == va;
}

/* Canonical and not in the hypervisor's range, which begins where the upper half does. */
static inline bool is_guest_address(vaddr_t va)
{
    return va - HYP_VIRT_END < (1UL << 47) - HYP_VIRT_END;
}
