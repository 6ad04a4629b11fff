// SPDX-License-Identifier: MIT
/*
 * ABI: the writable_pagetables assist. A guest kernel stores to its level-1 tables as if they were
 * writable; each store faults here, is decoded, and becomes an update with all checks. Lock:
 * mmu_lock of the current domain, never while guest memory is read.
 */
#include "base/log.h"
#include "pv/emul.h"
#include "pv/insn.h"
#include "pv/mmu_update.h"

/* The entry at va, which v's domain maps read-only, if that is in one of its level-1 tables in use;
 * under the lock. */
static inline uint64_t *written_entry(const struct vcpu *v, vaddr_t va)
{
    const uint64_t *slot = mmu_find_slot(v, va);
    uint64_t pte = slot ? read_once(*slot) : 0;
    mfn_t mfn = PTE_MFN(pte);
    if ((pte & (X86_PTE_P | X86_PTE_RW)) != X86_PTE_P || !mfn_valid(mfn)) {
        return NULL;
    }
    const struct frame *table = mfn_to_frame(mfn);
    return frame_is_of(table, v->domain) && mmu_is_l1(table)
               ? (uint64_t *)mfn_to_virt(mfn) + (va & ~PAGE_MASK) / 8
               : NULL;
}

/* Carry the store out, which is all within one entry; *part: what was there before. -ENOENT: it is
 * to no page table (any more): the fault is the guest's. -EAGAIN: the processor has set A or D
 * since, it shall look again. */
static inline int table_store(const struct vcpu *v, const struct cpu_user_regs *regs,
                              const struct insn_store *store, uint64_t *part)
{
    SPIN_GUARD(&v->domain->mmu_lock);
    uint64_t *entry = written_entry(v, store->address);
    if (!entry) {
        return -ENOENT;
    }
    unsigned shift = store->address % 8 * 8;
    uint64_t old = read_once(*entry), mask = insn_width_mask(store->insn.operand), value;
    *part = old >> shift & mask;
    if (!insn_store_value(store, regs, *part, &value)) {
        return 0;
    }
    uint64_t pte = (old & ~(mask << shift)) | (value & mask) << shift;
    return mmu_leaf_cmpxchg(entry, old, pte, v->domain);
}

bool pt_write_fault(struct vcpu *v, struct cpu_user_regs *regs, vaddr_t cr2)
{
    struct insn_store store;
    uint64_t part;
    /* A store to more than one entry is nothing a kernel does. */
    if (insn_decode_store(regs, &store) || store.address >> PAGE_SHIFT != cr2 >> PAGE_SHIFT ||
        store.address % 8 + store.insn.operand > 8) {
        return false;
    }
    int rc = table_store(v, regs, &store, &part);
    if (rc == 0) {
        insn_store_finish(&store, regs, part);
    } else if (rc != -EAGAIN && rc != -ENOENT) {
        log_guest(v->domain, "store of entry at %lx refused (%d)", store.address, rc);
    }
    return rc == 0 || rc == -EAGAIN;
}
