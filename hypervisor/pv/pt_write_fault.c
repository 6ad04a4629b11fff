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

/* The frame that va maps read-only, if it is one of v's domain's level-1 tables in use; under the
 * lock. */
static inline struct frame *written_table(const struct vcpu *v, vaddr_t va)
{
    const struct frame *l1 = mmu_find_l1(v, va);
    if (!l1) {
        return NULL;
    }
    uint64_t pte = read_once(((const uint64_t *)frame_to_virt(l1))[PT_INDEX(va, 1)]);
    if ((pte & (X86_PTE_P | X86_PTE_RW)) != X86_PTE_P || !mfn_valid(PTE_MFN(pte))) {
        return NULL;
    }
    struct frame *table = mfn_to_frame(PTE_MFN(pte));
    return table->owner == v->domain && mmu_table_level(table) == 1 ? table : NULL;
}

/* Carry the store out, which is all within one entry; *part: what was there before. -ENOENT: it is
 * to no page table (any more): the fault is the guest's. -EAGAIN: the processor has set A or D
 * since, it shall look again. */
static int table_store(const struct vcpu *v, const struct cpu_user_regs *regs,
                       const struct insn_store *store, uint64_t *part)
{
    SPIN_GUARD(&v->domain->mmu_lock);
    struct frame *table = written_table(v, store->address);
    if (!table) {
        return -ENOENT;
    }
    unsigned index = (unsigned)(store->address & ~PAGE_MASK) / 8, shift = store->address % 8 * 8;
    uint64_t old = read_once(((const uint64_t *)frame_to_virt(table))[index]);
    uint64_t mask = insn_width_mask(store->insn.operand), value;
    *part = old >> shift & mask;
    if (!insn_store_value(store, regs, *part, &value)) {
        return 0;
    }
    uint64_t pte = (old & ~(mask << shift)) | (value & mask) << shift;
    return mmu_leaf_cmpxchg(table, index, old, pte, v->domain);
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
