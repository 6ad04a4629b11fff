// SPDX-License-Identifier: MIT
/*
 * mmu_update: entries of page tables and of the M2P by machine address. Also the one function
 * through which every change of a live page-table entry goes. Lock: mmu_lock of the tables' owner.
 */
#include "pv/mmu_update.h"

#include "base/assert.h"
#include "base/log.h"
#include "core/guest_access.h"
#include "core/hypercall.h"
#include "pv/page_type.h"
#include "pv/pte.h"

unsigned mmu_table_level(const struct frame *f)
{
    uint64_t type = read_once(f->type);
    unsigned level = (unsigned)((type & TYPE_MASK) >> TYPE_SHIFT);
    bool usable = (type & TYPE_VALIDATED) && !(type & TYPE_PARTIAL) && (type & TYPE_COUNT_MASK);
    return usable && level >= 1 && level <= 4 ? level : 0;
}

/* How an entry is replaced. The processor may set A and D bits in it at any time; nobody else
 * writes it while we hold the lock. */
enum replace_mode { REPLACE, REPLACE_KEEP_AD, REPLACE_IF_SAME };

/* *old: in REPLACE_IF_SAME what the entry must be; always what it was. False: it was not. */
static bool exchange_entry(uint64_t *slot, uint64_t pte, enum replace_mode mode, uint64_t *old)
{
    uint64_t seen = mode == REPLACE_IF_SAME ? *old : read_once(*slot);
    for (;;) {
        uint64_t fresh = mode == REPLACE_KEEP_AD ? pte | (seen & (X86_PTE_A | X86_PTE_D)) : pte;
        if (__atomic_compare_exchange_n(slot, &seen, fresh, false, __ATOMIC_SEQ_CST,
                                        __ATOMIC_SEQ_CST)) {
            *old = seen;
            return true;
        }
        if (mode == REPLACE_IF_SAME) {
            return false;
        }
    }
}

/* An upper-level entry changed: CPUs may hold it in paging-structure caches. */
static void flush_structure_caches(struct domain *d)
{
    arch_tlb_flush_mask(&d->dirty_cpus, FLUSH_TLB, 0);
}

static int entry_replace(struct frame *f, unsigned index, uint64_t pte, struct domain *d,
                         struct domain *foreign, enum replace_mode mode, uint64_t expected)
{
    unsigned level = mmu_table_level(f);
    uint64_t *slot = (uint64_t *)frame_to_virt(f) + index, old = expected;
    ASSERT(spin_is_mine(&d->mmu_lock));
    if (!level || pte_slot_reserved(level, index)) {
        return -EINVAL;
    }
    if (pte_same_references(read_once(*slot), pte) && pte_bits_ok(level, pte, d)) {
        return exchange_entry(slot, pte_adjust(level, pte), mode, &old) ? 0 : -EAGAIN;
    }
    int rc = page_type_entry_get(level, &pte, d, foreign);
    if (rc) {
        return rc;
    }
    if (!exchange_entry(slot, pte, mode, &old)) {
        page_type_entry_put(level, pte);
        return -EAGAIN;
    }
    if (level > 1 && (old & X86_PTE_P)) {
        flush_structure_caches(d);
    }
    page_type_entry_put(level, old);
    return 0;
}

int mmu_entry_set(struct frame *f, unsigned index, uint64_t pte, struct domain *d,
                  struct domain *foreign, bool keep_ad)
{
    return entry_replace(f, index, pte, d, foreign, keep_ad ? REPLACE_KEEP_AD : REPLACE, 0);
}

int mmu_entry_cmpxchg(struct frame *f, unsigned index, uint64_t old, uint64_t pte, struct domain *d)
{
    return entry_replace(f, index, pte, d, d, REPLACE_IF_SAME, old);
}

struct frame *mmu_find_l1(const struct vcpu *v, vaddr_t va)
{
    const struct frame *table = v->pv.l4;
    if (!table || !is_canonical(va)) {
        return NULL;
    }
    for (unsigned level = 4; level > 1; level--) {
        unsigned index = PT_INDEX(va, level);
        if (pte_slot_reserved(level, index)) {
            return NULL;
        }
        uint64_t pte = read_once(((const uint64_t *)frame_to_virt(table))[index]);
        if (!(pte & X86_PTE_P) || !mfn_valid(PTE_MFN(pte))) {
            return NULL;
        }
        table = mfn_to_frame(PTE_MFN(pte));
    }
    return mmu_table_level(table) == 1 ? mfn_to_frame(frame_to_mfn(table)) : NULL;
}

int mmu_foreign_get(struct domain *d, domid_t id, struct domain **out)
{
    if (id == DOMID_SELF || id == d->id) {
        domain_get_held(d);
        *out = d;
        return 0;
    }
    if (!d->privileged) {
        return -EPERM;
    }
    if (id == DOMID_IO) {
        domain_get_held(dom_io);
        *out = dom_io;
        return 0;
    }
    if (id == DOMID_XEN) {
        domain_get_held(dom_xen);
        *out = dom_xen;
        return 0;
    }
    *out = domain_get(id);
    return *out ? 0 : -ESRCH;
}

/* A machine address of 8 bytes in a frame of `owner` that is not a page table: a plain store, as
 * Linux does to tables it has not pinned yet. */
static int plain_store(struct frame *f, unsigned index, uint64_t value)
{
    if (frame_get_writable(f)) {
        return -EINVAL;
    }
    write_once(((uint64_t *)frame_to_virt(f))[index], value);
    frame_put_writable(f);
    return 0;
}

static int update_entry(struct domain *owner, struct domain *foreign, uint64_t address,
                        uint64_t value, bool keep_ad)
{
    struct frame *f = frame_get_from_mfn(address >> PAGE_SHIFT, owner);
    if (!f) {
        return -EINVAL;
    }
    unsigned index = (unsigned)(address & ~PAGE_MASK) / 8;
    int rc;
    spin_lock(&owner->mmu_lock);
    if (mmu_table_level(f)) {
        rc = mmu_entry_set(f, index, value, owner, foreign, keep_ad);
        spin_unlock(&owner->mmu_lock);
    } else {
        spin_unlock(&owner->mmu_lock);
        rc = plain_store(f, index, value);
    }
    frame_put(f);
    return rc;
}

static int update_m2p(struct domain *foreign, uint64_t address, uint64_t pfn)
{
    struct frame *f = frame_get_from_mfn(address >> PAGE_SHIFT, foreign);
    if (!f) {
        return -EINVAL;
    }
    m2p_set(frame_to_mfn(f), pfn);
    frame_put(f);
    return 0;
}

static int update_one(const struct mmu_update *req, struct domain *owner, struct domain *foreign)
{
    uint64_t address = req->ptr & ~3UL;
    switch (req->ptr & 3) {
    case MMU_NORMAL_PT_UPDATE:
    case MMU_PT_UPDATE_NO_TRANSLATE:
        return address & 7 ? -EINVAL : update_entry(owner, foreign, address, req->val, false);
    case MMU_PT_UPDATE_PRESERVE_AD:
        return address & 7 ? -EINVAL : update_entry(owner, foreign, address, req->val, true);
    default:
        return update_m2p(foreign, address, req->val);
    }
}

/* The caller's total so far plus what this round did; on error too. */
static int report_done(uint64_t count_arg, vaddr_t done_va, unsigned done)
{
    if (!done_va) {
        return 0;
    }
    if (count_arg & MMU_COUNT_PREEMPTED) {
        unsigned before;
        if (guest_read(&before, done_va, sizeof(before))) {
            return -EFAULT;
        }
        done += before;
    }
    return guest_write(done_va, &done, sizeof(done));
}

long mmu_batch_end(struct hypercall *hc, long rc, unsigned done, size_t element_bytes)
{
    if (report_done(hc->arg[1], hc->arg[2], done)) {
        return -EFAULT;
    }
    if (rc == -ERESTART) {
        unsigned count = (unsigned)hc->arg[1] & ~MMU_COUNT_PREEMPTED;
        hc->arg[0] += done * element_bytes;
        hc->arg[1] = (count - done) | MMU_COUNT_PREEMPTED;
    }
    return rc;
}

long hc_mmu_update(struct hypercall *hc)
{
    vaddr_t reqs = hc->arg[0];
    unsigned count = (unsigned)hc->arg[1] & ~MMU_COUNT_PREEMPTED, i;
    domid_t foreign_id = (domid_t)hc->arg[3];
    domid_t table_id = (domid_t)(hc->arg[3] >> 16);
    struct domain *owner, *foreign;
    long rc = mmu_foreign_get(hc->d, table_id ? (domid_t)(table_id - 1) : DOMID_SELF, &owner);
    if (rc) {
        return rc;
    }
    rc = mmu_foreign_get(hc->d, foreign_id, &foreign);
    if (rc) {
        domain_put(owner);
        /* ABI: Linux reads the count after any error, also of a domain that has just gone. */
        return report_done(hc->arg[1], hc->arg[2], 0) ? -EFAULT : rc;
    }
    for (i = 0; i < count; i++) {
        struct mmu_update req;
        if (i && hypercall_preempt_check()) {
            rc = -ERESTART;
            break;
        }
        rc = guest_read_element(&req, reqs, i, sizeof(req));
        if (rc == 0) {
            rc = update_one(&req, owner, foreign);
        }
        if (rc) {
            break;
        }
    }
    domain_put(foreign);
    domain_put(owner);
    if (rc && rc != -ERESTART) {
        log_guest(hc->d, "mmu_update: request %u of %u refused (%ld)", i, count, rc);
    }
    return mmu_batch_end(hc, rc, i, sizeof(struct mmu_update));
}
