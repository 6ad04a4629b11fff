// SPDX-License-Identifier: MIT
/*
 * What one page-table entry of a guest may say, level by level, and whether changing one entry into
 * another needs new references. Pure rules; no state, no locks.
 */
#pragma once

#include "arch/layout.h"
#include "core/domain.h"

/* True for the L4 slots only the hypervisor may fill. */
static inline bool pte_slot_reserved(unsigned level, unsigned index)
{
    return level == 4 && index >= HYP_L4_FIRST && index <= HYP_L4_LAST;
}

/* The entry's bits are allowed at this level for a table of d; a non-present entry always is. */
static inline bool pte_bits_ok(unsigned level, uint64_t pte, const struct domain *d)
{
    uint64_t allowed = X86_PTE_P | X86_PTE_RW | X86_PTE_US | X86_PTE_A | X86_PTE_D | X86_PTE_AVAIL |
                       X86_PTE_AVAIL_HIGH | (arch_has_nx() ? X86_PTE_NX : 0) |
                       (level == 1 ? X86_PTE_G : 0) |
                       (level == 1 && d->privileged ? X86_PTE_PWT | X86_PTE_PCD | X86_PTE_PAT : 0);
    /* Address bits beyond what the processor implements would be reserved-bit faults. */
    allowed |= X86_PTE_ADDR & ((1UL << arch_maddr_bits()) - 1);
    return !(pte & X86_PTE_P) || !(pte & ~allowed);
}

/* What is really stored for a guest's wish: the guest kernel runs at CPL 3, so user access is
 * forced on; global entries would survive address-space switches, so that bit is forced off. */
static inline uint64_t pte_adjust(unsigned level, uint64_t pte)
{
    if (!(pte & X86_PTE_P)) {
        return pte;
    }
    return level == 1 ? (pte | X86_PTE_US) & ~X86_PTE_G : pte | X86_PTE_US | X86_PTE_A;
}

/* Both entries are present, name the same frame with the same rights that references depend on:
 * replacing one by the other needs no reference changed. Writability, presence, page size and
 * cache attributes must never be in the list of harmless bits. */
static inline bool pte_same_references(uint64_t a, uint64_t b)
{
    const uint64_t harmless = X86_PTE_NX | X86_PTE_AVAIL | X86_PTE_AVAIL_HIGH | X86_PTE_A |
                              X86_PTE_D | X86_PTE_US | X86_PTE_G;
    return (a & X86_PTE_P) && ((a ^ b) & ~harmless) == 0;
}
