// SPDX-License-Identifier: MIT
/* Are the hypervisor's page tables what they should be? Works on any tables that mfn_to_virt()
 * reaches. */
#pragma once

#include "arch/arch.h"

struct wx {
    const char *problem; /* NULL: none */
    vaddr_t at;          /* where */
    /* pages found */
    uint64_t executable, writable, read_only, user;
    unsigned stacks;      /* whose guard pages are indeed not mapped */
    unsigned range_count; /* of executable frames */
    struct arch_range range[MAX_PCPUS + 4];
};

/* Walk the hypervisor's part of the address space under l4. A problem is a page that is writable
 * and executable; a frame that is executable here and writable there; a page that guests can reach,
 * but the read-only M2P; a mapped guard page of a stack. */
void wx_walk(struct wx *wx, mfn_t l4);
