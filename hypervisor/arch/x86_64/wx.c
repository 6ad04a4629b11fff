// SPDX-License-Identifier: MIT
/*
 * The check of our own page tables. Called once, when start-up has made them; what is mapped later
 * are windows and device memory, never executable. Two passes: the second knows which frames are
 * executable and looks for writable aliases of them. No lock.
 */
#include "wx.h"

#include "arch/layout.h"

static void fail(struct wx *wx, vaddr_t at, const char *problem)
{
    wx->problem = problem;
    wx->at = at;
}

/* The bit of PERCPU_STACK_PAGES for the page at va is `value`; false outside the stack blocks. */
static bool stack_bit_is(vaddr_t va, unsigned value)
{
    uint64_t offset = (va - PERCPU_START) % PERCPU_STRIDE;
    return va >= PERCPU_START && va < IOREMAP_START && offset < STACK_BYTES &&
           (PERCPU_STACK_PAGES >> (offset >> PAGE_SHIFT) & 1) == value;
}

static void add_range(struct wx *wx, vaddr_t va, mfn_t first, uint64_t pages)
{
    struct arch_range *last = &wx->range[wx->range_count - 1];
    if (wx->range_count && last->end == first) {
        last->end += pages;
    } else if (wx->range_count < ARRAY_SIZE(wx->range)) {
        wx->range[wx->range_count++] = (struct arch_range){first, first + pages};
    } else {
        fail(wx, va, "too many executable pieces");
    }
}

static void first_look(struct wx *wx, vaddr_t va, mfn_t mfn, uint64_t pages, uint64_t rights)
{
    bool execute = !(rights & X86_PTE_NX), write = rights & X86_PTE_RW, user = rights & X86_PTE_US;
    bool m2p = va >= M2P_RO_START && va < M2P_RW_START;
    *(execute ? &wx->executable : write ? &wx->writable : &wx->read_only) += pages;
    if (execute && write) {
        fail(wx, va, "writable and executable");
    } else if (user && (!m2p || execute || write)) {
        fail(wx, va, "open to guests");
    } else if (stack_bit_is(va, 0)) {
        fail(wx, va, "mapped guard page of a stack");
    } else if (execute) {
        add_range(wx, va, mfn, pages);
    }
    wx->user += user ? pages : 0;
    wx->stacks += stack_bit_is(va, 1) && stack_bit_is(va - PAGE_SIZE, 0);
}

static void look_for_alias(struct wx *wx, vaddr_t va, mfn_t mfn, uint64_t pages)
{
    for (unsigned i = 0; i < wx->range_count; i++) {
        if (mfn < wx->range[i].end && mfn + pages > wx->range[i].first) {
            fail(wx, va, "executable elsewhere, but writable");
        }
    }
}

static void walk(struct wx *wx, bool second, mfn_t table, unsigned level, vaddr_t va,
                 uint64_t rights)
{
    const uint64_t *entries = mfn_to_virt(table);
    unsigned first = level == 4 ? HYP_L4_FIRST : 0, last = level == 4 ? HYP_L4_LAST : 511;
    for (unsigned i = first; i <= last && !wx->problem; i++) {
        uint64_t pte = entries[i], pages = 1UL << (9 * (level - 1));
        uint64_t here = (rights & pte & (X86_PTE_RW | X86_PTE_US)) | ((rights | pte) & X86_PTE_NX);
        vaddr_t at = va + i * pages * PAGE_SIZE;
        if (!(pte & X86_PTE_P)) {
            continue;
        }
        if (level == 4 || (level > 1 && !(pte & X86_PTE_PSE))) {
            walk(wx, second, PTE_MFN(pte), level - 1, at, here);
        } else if (!second) {
            first_look(wx, at, PTE_MFN(pte) & ~(pages - 1), pages, here);
        } else if (here & X86_PTE_RW) {
            look_for_alias(wx, at, PTE_MFN(pte) & ~(pages - 1), pages);
        }
    }
}

void wx_walk(struct wx *wx, mfn_t l4)
{
    *wx = (struct wx){.problem = NULL};
    for (unsigned pass = 0; pass < 2; pass++) {
        walk(wx, pass, l4, 4, 0xffff000000000000, X86_PTE_RW | X86_PTE_US);
    }
}
