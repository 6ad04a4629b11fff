// SPDX-License-Identifier: MIT
/*
 * mmu_update: entries of page tables and of the M2P by machine address; update_va_mapping: the L1
 * entry of a linear address in the caller's present page tables. Also the one function through
 * which every change of a live page-table entry goes. Lock: mmu_lock of the tables' owner.
 */
#include "pv/mmu_update.h"

#include "base/assert.h"
#include "base/log.h"
#include "core/guest_access.h"
#include "core/hypercall.h"
#include "pv/page_type.h"
#include "pv/pte.h"

/* ABI: in the count argument of mmu_update and mmuext_op, a continuation: done is being summed. */
#define MMU_COUNT_PREEMPTED 0x80000000U

unsigned mmu_table_level(const struct frame *f)
{
    uint64_t type = read_once(f->type);
    bool usable = (type & (TYPE_VALIDATED | TYPE_PARTIAL)) == TYPE_VALIDATED;
    return usable && (type & TYPE_COUNT_MASK) ? page_type_level(type) : 0;
}

/* Replace the entry, which was *old when last seen. The processor may set A and D bits in it at any
 * time, nobody else writes it while we hold the lock: then either the bits in `keep` survive, or
 * with `exact` the answer is false. *old becomes what the entry was. */
static bool exchange_entry(uint64_t *slot, uint64_t *old, uint64_t pte, uint64_t keep, bool exact)
{
    while (!__atomic_compare_exchange_n(slot, old, pte | (*old & keep), false, __ATOMIC_SEQ_CST,
                                        __ATOMIC_SEQ_CST)) {
        if (exact) {
            return false;
        }
    }
    return true;
}

/* expected: what the entry must be; NULL: anything. */
static int entry_replace(struct frame *f, unsigned index, uint64_t pte, struct domain *d,
                         struct domain *foreign, uint64_t keep, const uint64_t *expected)
{
    unsigned level = mmu_table_level(f);
    uint64_t *slot = (uint64_t *)frame_to_virt(f) + index;
    uint64_t seen = read_once(*slot), old = expected ? *expected : seen;
    ASSERT(spin_is_mine(&d->mmu_lock));
    if (!level || pte_slot_reserved(level, index)) {
        return -EINVAL;
    }
    if (pte_same_references(seen, pte) && pte_bits_ok(level, pte, d)) {
        return exchange_entry(slot, &old, pte_adjust(level, pte), keep, expected) ? 0 : -EAGAIN;
    }
    int rc = page_type_entry_get(level, &pte, d, foreign);
    if (rc) {
        return rc;
    }
    if (!exchange_entry(slot, &old, pte, keep, expected)) {
        page_type_entry_put(level, pte);
        return -EAGAIN;
    }
    if (level > 1 && (old & X86_PTE_P)) {
        /* CPUs may hold an upper-level entry in paging-structure caches. */
        arch_tlb_flush_mask(&d->dirty_cpus, FLUSH_TLB, 0);
    }
    page_type_entry_put(level, old);
    return 0;
}

int mmu_entry_set(struct frame *f, unsigned index, uint64_t pte, struct domain *d,
                  struct domain *foreign, bool keep_ad)
{
    return entry_replace(f, index, pte, d, foreign, keep_ad ? X86_PTE_A | X86_PTE_D : 0, NULL);
}

int mmu_entry_cmpxchg(struct frame *f, unsigned index, uint64_t old, uint64_t pte, struct domain *d)
{
    return entry_replace(f, index, pte, d, d, 0, &old);
}

struct frame *mmu_find_l1(const struct vcpu *v, vaddr_t va)
{
    struct frame *table = v->pv.l4;
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
    return mmu_table_level(table) == 1 ? table : NULL;
}

int mmu_plain_store(struct frame *f, unsigned index, uint64_t value)
{
    if (frame_get_writable(f)) {
        return -EINVAL;
    }
    write_once(((uint64_t *)frame_to_virt(f))[index], value);
    frame_put_writable(f);
    return 0;
}

/* The domain whose frames a request maps or changes: the caller, or one that it may control. */
static int domain_for(struct domain *d, domid_t id, struct domain **out)
{
    bool self = id == DOMID_SELF || id == d->id;
    if (!self && !d->privileged) {
        return -EPERM;
    }
    struct domain *known = self ? d : id == DOMID_IO ? dom_io : id == DOMID_XEN ? dom_xen : NULL;
    if (known) {
        domain_get_held(known);
    }
    *out = known ?: domain_get(id);
    return *out ? 0 : -ESRCH;
}

/* ---- batches ---- */

/* The caller's total so far plus what this round did; on error too. */
static int report_done(const struct hypercall *hc, unsigned done)
{
    unsigned before = 0;
    vaddr_t va = hc->arg[2];
    if (va && (hc->arg[1] & MMU_COUNT_PREEMPTED) && guest_read(&before, va, sizeof(before))) {
        return -EFAULT;
    }
    done += before;
    return va ? guest_write(va, &done, sizeof(done)) : 0;
}

long mmu_batch(struct hypercall *hc, domid_t owner_id, size_t request_bytes, mmu_request_fn *handle)
{
    union mmu_request req;
    unsigned count = (unsigned)hc->arg[1] & ~MMU_COUNT_PREEMPTED, done = 0;
    struct domain *owner = NULL, *foreign = NULL;
    long rc = domain_for(hc->d, owner_id, &owner);
    if (rc == 0) {
        rc = domain_for(hc->d, (domid_t)hc->arg[3], &foreign);
    }
    for (; rc == 0 && done < count; done += rc == 0) {
        rc = done && hypercall_preempt_check()
                 ? -ERESTART
                 : guest_read_element(&req, hc->arg[0], done, request_bytes);
        if (rc == 0) {
            rc = handle(hc, owner, foreign, &req);
        }
    }
    if (foreign) {
        domain_put(foreign);
    }
    if (owner) {
        domain_put(owner);
    }
    /* ABI: Linux reads the count after any error, also of a domain that has just gone. */
    if (report_done(hc, done)) {
        return -EFAULT;
    }
    if (rc == -ERESTART) {
        hc->arg[0] += done * request_bytes;
        hc->arg[1] = (count - done) | MMU_COUNT_PREEMPTED;
    } else if (rc) {
        log_guest(hc->d, "hypercall %lu: request %u of %u refused (%ld)", hc->nr, done, count, rc);
    }
    return rc;
}

static int update_one(struct hypercall *hc, struct domain *owner, struct domain *foreign,
                      const union mmu_request *req)
{
    (void)hc;
    maddr_t address = req->update.ptr & ~3UL;
    unsigned kind = req->update.ptr & 3, index = (address & ~PAGE_MASK) / 8;
    bool m2p = kind == MMU_MACHPHYS_UPDATE;
    struct frame *f = frame_get_from_mfn(address >> PAGE_SHIFT, m2p ? foreign : owner);
    int rc = 0;
    if (!f) {
        return -EINVAL;
    }
    if (m2p) {
        m2p_set(frame_to_mfn(f), req->update.val);
    } else if (address & 7) {
        rc = -EINVAL;
    } else {
        spin_lock(&owner->mmu_lock);
        /* Linux also writes tables this way that it has not pinned yet. */
        rc = mmu_table_level(f) ? mmu_entry_set(f, index, req->update.val, owner, foreign,
                                                kind == MMU_PT_UPDATE_PRESERVE_AD)
                                : mmu_plain_store(f, index, req->update.val);
        spin_unlock(&owner->mmu_lock);
    }
    frame_put(f);
    return rc;
}

long hc_mmu_update(struct hypercall *hc)
{
    domid_t owner = (domid_t)(hc->arg[3] >> 16);
    return mmu_batch(hc, owner ? (domid_t)(owner - 1) : DOMID_SELF, sizeof(struct mmu_update),
                     update_one);
}

/* ---- one entry by its linear address ---- */

int mmu_flush_vcpus(struct domain *d, vaddr_t bitmap_va, unsigned flags, vaddr_t va)
{
    uint64_t bitmap = 0;
    cpumask_t mask = {{0}};
    int rc = guest_read(&bitmap, bitmap_va, DIV_ROUND_UP(d->max_vcpus, 8));
    if (rc) {
        return rc;
    }
    for (unsigned id = 0; id < d->max_vcpus; id++) {
        struct vcpu *v = d->vcpu[id];
        if ((bitmap >> id & 1) && v && cpumask_test(&d->dirty_cpus, v->sched.pcpu)) {
            cpumask_set(&mask, v->sched.pcpu);
        }
    }
    if (!cpumask_empty(&mask)) {
        arch_tlb_flush_mask(&mask, flags, va);
    }
    return 0;
}

static int flush_as_asked(struct domain *d, vaddr_t va, uint64_t flags)
{
    uint64_t type = flags & UVMF_FLUSHTYPE_MASK, where = flags & ~UVMF_FLUSHTYPE_MASK;
    unsigned kind = type == UVMF_INVLPG ? FLUSH_ONE : FLUSH_TLB;
    if (type != UVMF_TLB_FLUSH && type != UVMF_INVLPG) {
        return type == UVMF_NONE ? 0 : -EINVAL;
    }
    if (where == UVMF_LOCAL) {
        arch_tlb_flush_local(kind, va);
    } else if (where == UVMF_ALL) {
        arch_tlb_flush_mask(&d->dirty_cpus, kind, va);
    } else {
        return mmu_flush_vcpus(d, where, kind, va);
    }
    return 0;
}

static long update_va_mapping(struct hypercall *hc, struct domain *foreign)
{
    vaddr_t va = hc->arg[0];
    long rc = -EINVAL;
    spin_lock(&hc->d->mmu_lock);
    struct frame *l1 = mmu_find_l1(hc->v, va);
    if (l1 && l1->owner == hc->d) {
        rc = mmu_entry_set(l1, PT_INDEX(va, 1), hc->arg[1], hc->d, foreign, false);
    }
    spin_unlock(&hc->d->mmu_lock);
    int flushed = flush_as_asked(hc->d, va, hc->arg[2]);
    if (rc) {
        log_guest(hc->d, "update_va_mapping of %lx to %lx refused (%ld)", va, hc->arg[1], rc);
    }
    return rc ?: flushed;
}

long hc_update_va_mapping(struct hypercall *hc)
{
    return update_va_mapping(hc, hc->d);
}

long hc_update_va_mapping_otherdomain(struct hypercall *hc)
{
    struct domain *foreign;
    long rc = domain_for(hc->d, (domid_t)hc->arg[3], &foreign);
    if (rc == 0) {
        rc = update_va_mapping(hc, foreign);
        domain_put(foreign);
    }
    return rc;
}
