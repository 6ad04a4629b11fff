// SPDX-License-Identifier: MIT
/*
 * ABI: the writable_pagetables assist. A guest kernel stores to its level-1 tables as if they were
 * writable; each store faults here, is decoded, and becomes an update with all checks. Lock:
 * mmu_lock of the current domain, never while guest memory is read.
 */
#include "pv/pt_write_fault.h"

#include "base/log.h"
#include "pv/insn.h"
#include "pv/mmu_update.h"

/* The frame that va maps read-only, if it is one of d's level-1 tables in use; under the lock. */
static struct frame *written_table(const struct vcpu *v, vaddr_t va)
{
    struct frame *l1 = mmu_find_l1(v, va);
    if (!l1) {
        return NULL;
    }
    uint64_t pte = read_once(((const uint64_t *)frame_to_virt(l1))[PT_INDEX(va, 1)]);
    if ((pte & (X86_PTE_P | X86_PTE_RW)) != X86_PTE_P || !arch_mfn_is_ram(PTE_MFN(pte))) {
        return NULL;
    }
    struct frame *table = mfn_to_frame(PTE_MFN(pte));
    return table->owner == v->domain && mmu_table_level(table) == 1 ? table : NULL;
}

/* The part of an entry that the store covers. */
static uint64_t part_mask(const struct insn_store *s)
{
    return s->bytes == 8 ? ~0UL : (1UL << (s->bytes * 8)) - 1;
}

bool pt_write_fault(struct vcpu *v, struct cpu_user_regs *regs, vaddr_t cr2)
{
    struct domain *d = v->domain;
    struct insn_store store;

    spin_lock(&d->mmu_lock);
    bool ours = written_table(v, cr2) != NULL;
    spin_unlock(&d->mmu_lock);
    if (!ours || insn_decode_store(regs, &store)) {
        return false;
    }
    if (store.address >> PAGE_SHIFT != cr2 >> PAGE_SHIFT || (store.address & 7) + store.bytes > 8) {
        return false; /* more than one entry: nothing a kernel does */
    }

    unsigned shift = (unsigned)(store.address & 7) * 8;
    uint64_t part = 0, value;
    int rc = 0;
    spin_lock(&d->mmu_lock);
    struct frame *table = written_table(v, store.address);
    if (!table) {
        /* Another vCPU has changed the mapping since: let the processor look again. */
        spin_unlock(&d->mmu_lock);
        return true;
    }
    unsigned index = (unsigned)(store.address & ~PAGE_MASK) / 8;
    uint64_t old = read_once(((const uint64_t *)frame_to_virt(table))[index]);
    part = old >> shift & part_mask(&store);
    if (insn_store_value(&store, regs, part, &value)) {
        uint64_t pte = (old & ~(part_mask(&store) << shift)) | (value & part_mask(&store)) << shift;
        rc = mmu_entry_cmpxchg(table, index, old, pte, d);
    }
    spin_unlock(&d->mmu_lock);
    if (rc == -EAGAIN) {
        return true;
    }
    if (rc) {
        log_guest(d, "store of entry %u at %lx refused (%d)", index, store.address, rc);
        return false;
    }
    insn_store_finish(&store, regs, part);
    return true;
}
