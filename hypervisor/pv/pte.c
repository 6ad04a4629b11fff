// SPDX-License-Identifier: MIT
/* The rules of pte.h that need more than a line. Called by page_type.c and the update paths. */
#include "pv/pte.h"

bool pte_bits_ok(unsigned level, uint64_t pte, const struct domain *d)
{
    if (!(pte & X86_PTE_P)) {
        return true;
    }
    uint64_t allowed = X86_PTE_P | X86_PTE_RW | X86_PTE_US | X86_PTE_A | X86_PTE_D | X86_PTE_AVAIL |
                       X86_PTE_AVAIL_HIGH;
    if (arch_has_nx()) {
        allowed |= X86_PTE_NX;
    }
    if (level == 1) {
        allowed |= X86_PTE_G;
        if (d->privileged) {
            allowed |= X86_PTE_PWT | X86_PTE_PCD | X86_PTE_PAT;
        }
    }
    /* Address bits beyond what the processor implements would be reserved-bit faults. */
    allowed |= X86_PTE_ADDR & ((1UL << arch_maddr_bits()) - 1);
    return (pte & ~allowed) == 0;
}
