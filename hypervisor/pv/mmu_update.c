// SPDX-License-Identifier: MIT
/*
 * The one function through which every change of a live page-table entry goes, and the calls that
 * ask for it. mmu_update: entries of page tables and of the M2P by machine address;
 * update_va_mapping: the L1 entry of a linear address in the caller's present page tables;
 * mmuext_op: pins, base pointers, flushes, LDT, page clear and copy. Lock: mmu_lock of the domain
 * that owns the tables (the caller, or one under construction).
 */
#include "pv/mmu_update.h"

#include "base/assert.h"
#include "base/log.h"
#include "base/string.h"
#include "core/guest_access.h"
#include "core/hypercall.h"
#include "core/span.h"
#include "pv/descriptor.h"
#include "pv/page_type.h"
#include "pv/trap.h"

/* ABI: in the count argument of mmu_update and mmuext_op, a continuation: done is being summed. */
#define MMU_COUNT_PREEMPTED 0x80000000U

/* Replace the entry, which was *old when last seen. The processor may set A and D bits in it at any
 * time, nobody else writes it while we hold the lock: then either the bits in `keep` survive, or
 * with `exact` the answer is false. *old becomes what the entry was. */
static inline bool exchange_entry(uint64_t *slot, uint64_t *old, uint64_t pte, uint64_t keep,
                                  bool exact)
{
    if (!keep && !exact) {
        *old = __atomic_exchange_n(slot, pte, __ATOMIC_SEQ_CST);
        return true;
    }
    while (!__atomic_compare_exchange_n(slot, old, pte | (*old & keep), false, __ATOMIC_SEQ_CST,
                                        __ATOMIC_SEQ_CST)) {
        if (exact) {
            return false;
        }
    }
    return true;
}

/* How entries are to be replaced. */
struct replace {
    struct domain *d, *foreign;
    uint64_t keep;            /* bits of the old entry that survive */
    const uint64_t *expected; /* what the entry must be; NULL: anything */
};

/* An entry that maps `foreign`'s frame as before, but for being writable: only that reference comes
 * or goes. 1: this is not such a case. */
static inline_always int leaf_change_writable(uint64_t *slot, uint64_t seen, uint64_t pte,
                                              const struct replace *how)
{
    uint64_t old = how->expected ? *how->expected : seen;
    if (!pte_same_references(seen, pte ^ X86_PTE_RW)) {
        return 1;
    }
    struct frame *f = page_type_leaf_frame(seen);
    /* SAFETY: the entry's reference keeps the frame; whether it may be mapped is asked anew. */
    if (!f || !frame_is_of(f, how->foreign)) {
        return 1;
    }
    if ((pte & X86_PTE_RW) && frame_get_writable(f)) {
        return -EINVAL;
    }
    bool done = exchange_entry(slot, &old, pte_adjust(1, pte), how->keep, how->expected);
    if (done == !(pte & X86_PTE_RW)) {
        frame_put_writable(f); /* of the old entry, or what was taken in vain */
    }
    return done ? 0 : -EAGAIN;
}

/* `slot` is an entry of l1, a level-1 table in use. */
static inline_always int leaf_replace_inline(struct frame *l1, uint64_t *slot, uint64_t pte,
                                             const struct replace *how)
{
    uint64_t seen = read_once(*slot), old = how->expected ? *how->expected : seen;
    ASSERT(spin_is_mine(&how->d->mmu_lock));
    if (!pte_bits_ok(1, pte, how->d)) {
        return -EINVAL;
    }
    bool present = pte & X86_PTE_P;
    if (present) {
        bool same = pte_same_references(seen, pte);
        int rc = !same && (seen & X86_PTE_P) ? leaf_change_writable(slot, seen, pte, how) : 1;
        pte = pte_adjust(1, pte);
        if (same) {
            return exchange_entry(slot, &old, pte, how->keep, how->expected) ? 0 : -EAGAIN;
        }
        if (rc <= 0) {
            return rc;
        }
        if (!page_type_leaf_get(pte, how->d, how->foreign)) {
            return -EINVAL;
        }
    }
    if (!exchange_entry(slot, &old, pte, how->keep, how->expected)) {
        if (present) {
            page_type_leaf_put(pte);
        }
        return -EAGAIN;
    }
    if (old & X86_PTE_P) {
        l1->pt_done--;
        page_type_leaf_put(old);
    }
    l1->pt_done = (uint16_t)(l1->pt_done + present);
    return 0;
}

static int leaf_replace(struct frame *l1, uint64_t *slot, uint64_t pte, const struct replace *how)
{
    return leaf_replace_inline(l1, slot, pte, how);
}

static int upper_replace(struct frame *table, unsigned index, uint64_t pte,
                         const struct replace *how)
{
    struct domain *d = how->d;
    unsigned level = mmu_table_level(table);
    uint64_t *slot = (uint64_t *)frame_to_virt(table) + index;
    uint64_t seen = read_once(*slot), old = how->expected ? *how->expected : seen;
    ASSERT(spin_is_mine(&d->mmu_lock));
    if (!level || pte_slot_reserved(level, index)) {
        return -EINVAL;
    }
    if (pte_same_references(seen, pte) && pte_bits_ok(level, pte, d)) {
        if (!exchange_entry(slot, &old, pte_adjust(level, pte), how->keep, how->expected)) {
            return -EAGAIN;
        }
        if (level == 4 && arch_l4_changed()) {
            arch_tlb_flush_mask(&d->dirty_cpus, FLUSH_TLB, 0);
        }
        return 0;
    }
    int rc = page_type_entry_get(level, &pte, d, how->foreign);
    if (rc) {
        return rc;
    }
    if (!exchange_entry(slot, &old, pte, how->keep, how->expected)) {
        page_type_entry_put(level, pte);
        return -EAGAIN;
    }
    table->pt_done = (uint16_t)(table->pt_done + (pte & X86_PTE_P) - (old & X86_PTE_P));
    bool copied = level == 4 && arch_l4_changed();
    if (copied || (old & X86_PTE_P)) {
        /* CPUs may hold an upper-level entry in paging-structure caches. */
        arch_tlb_flush_mask(&d->dirty_cpus, FLUSH_TLB, 0);
        hypercall_preempt_soon(); /* the others may have been busy */
    }
    page_type_entry_put(level, old);
    return 0;
}

static inline uint64_t *slot_of(const struct frame *table, unsigned index)
{
    return (uint64_t *)frame_to_virt(table) + index;
}

int mmu_entry_set(struct frame *f, unsigned index, uint64_t pte, struct domain *d,
                  struct domain *foreign, bool keep_ad)
{
    const struct replace how = {d, foreign, keep_ad ? X86_PTE_A | X86_PTE_D : 0, NULL};
    return mmu_is_l1(f) ? leaf_replace(f, slot_of(f, index), pte, &how)
                        : upper_replace(f, index, pte, &how);
}

int mmu_leaf_set(uint64_t *slot, uint64_t pte, struct domain *d, struct domain *foreign)
{
    const struct replace how = {d, foreign, 0, NULL};
    return leaf_replace_inline(mfn_to_frame(virt_to_mfn(slot)), slot, pte, &how);
}

int mmu_leaf_cmpxchg(uint64_t *slot, uint64_t old, uint64_t pte, struct domain *d)
{
    const struct replace how = {d, d, 0, &old};
    return leaf_replace(mfn_to_frame(virt_to_mfn(slot)), slot, pte, &how);
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

/* The domain whose frames a request maps or changes: the caller, or one that it may control. Drop
 * it by domain_done(). */
static inline int domain_for(struct domain *d, domid_t id, struct domain **out)
{
    if (id == DOMID_SELF || id == d->id) {
        *out = d; /* stays while it calls */
        return 0;
    }
    if (!d->privileged) {
        return -EPERM;
    }
    struct domain *known = id == DOMID_IO ? dom_io : id == DOMID_XEN ? dom_xen : NULL;
    *out = known ? domain_get_held(known) : domain_get(id);
    return *out ? 0 : -ESRCH;
}

static inline void domain_done(const struct domain *self, struct domain *d)
{
    if (d && d != self) {
        domain_put(d);
    }
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

union request {
    struct mmu_update update;
    struct mmuext_op ext;
};
struct batch {
    struct vcpu *v;       /* the caller */
    struct domain *owner; /* whose tables change */
    struct replace how;   /* how.foreign: whose frames they map */
    struct frame *table;  /* the latest one, with a general reference; or NULL */
    mfn_t mfn;            /* its number */
    bool ask;             /* time for the question whether to stop */
};
typedef int request_fn(struct batch *b, const union request *req);

#define BATCH_READ 8U

/* Read up to `count` requests, as many as can be read. */
static unsigned read_requests(void *buffer, vaddr_t at, unsigned count, size_t bytes)
{
    size_t left = arch_copy_from_guest(buffer, at, count * bytes);
    unsigned have = (unsigned)(count - DIV_ROUND_UP(left, bytes));
    return have || count == 1 ? have : read_requests(buffer, at, 1, bytes);
}

/* Handle every request of the array at hc->arg[0] until one fails, then add to the guest's count of
 * those done and, for -ERESTART, leave what remains in hc->arg. owner: domain `owner_id`, whose
 * tables change; foreign: that of hc->arg[3], whose frames they map. At most `chunk` requests are
 * read at once. */
static inline_always long batch(struct hypercall *hc, domid_t owner_id, size_t request_bytes,
                                unsigned chunk, request_fn *handle)
{
    union request req[BATCH_READ];
    struct batch b = {.v = hc->v, .mfn = INVALID_MFN};
    unsigned count = (unsigned)hc->arg[1] & ~MMU_COUNT_PREEMPTED, done = 0, at = 0, have = 0;
    long rc = domain_for(hc->d, owner_id, &b.owner);
    if (rc == 0) {
        rc = domain_for(hc->d, (domid_t)hc->arg[3], &b.how.foreign);
    }
    b.how.d = b.owner;
    for (; rc == 0 && done < count; done += rc == 0) {
        if (done && b.ask && hypercall_preempt_check()) {
            rc = -ERESTART;
            break;
        }
        if (at == have) {
            vaddr_t from;
            at = 0;
            have = checked_add(hc->arg[0], (uint64_t)done * request_bytes, &from)
                       ? read_requests(req, from, MIN(count - done, chunk), request_bytes)
                       : 0;
            b.ask = true;
        }
        rc = have ? handle(&b, (union request *)((char *)req + at++ * request_bytes)) : -EFAULT;
    }
    if (b.table) {
        frame_put(b.table);
    }
    domain_done(hc->d, b.how.foreign);
    domain_done(hc->d, b.owner);
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

static int update_m2p(const struct batch *b, const struct mmu_update *update)
{
    struct frame *f = frame_get_from_mfn(update->ptr >> PAGE_SHIFT, b->how.foreign);
    if (!f) {
        return -EINVAL;
    }
    m2p_set(frame_to_mfn(f), update->val);
    frame_put(f);
    return 0;
}

static inline_always int update_one(struct batch *b, const union request *req)
{
    maddr_t address = req->update.ptr;
    unsigned kind = address & 3;
    mfn_t mfn = address >> PAGE_SHIFT;
    if (unlikely(kind == MMU_MACHPHYS_UPDATE)) {
        return update_m2p(b, &req->update);
    }
    /* Updates of one table come in a row. */
    if (b->mfn != mfn) {
        if (b->table) {
            frame_put(b->table);
        }
        b->mfn = mfn;
        b->table = frame_get_from_mfn(mfn, b->owner);
    }
    struct frame *f = b->table;
    if (!f) {
        return -EINVAL;
    }
    if (b->owner != b->v->domain && b->owner != b->how.foreign) {
        /* SAFETY: not even the control domain makes a guest map what that has no right to. */
        return -EPERM;
    }
    if (address & 4) {
        return -EINVAL;
    }
    unsigned index = (address & ~PAGE_MASK) / 8;
    int rc;
    b->how.keep = kind == MMU_PT_UPDATE_PRESERVE_AD ? X86_PTE_A | X86_PTE_D : 0;
    spin_lock(&b->owner->mmu_lock);
    if (mmu_is_l1(f)) {
        rc = leaf_replace_inline(f, (uint64_t *)mfn_to_virt(mfn) + index, req->update.val, &b->how);
        b->ask = b->ask && rc;
    } else {
        /* Linux also writes tables this way that it has not pinned yet. */
        rc = mmu_table_level(f)
                 ? mmu_entry_set(f, index, req->update.val, b->owner, b->how.foreign, b->how.keep)
                 : mmu_plain_store(f, index, req->update.val);
        b->ask = true;
    }
    spin_unlock(&b->owner->mmu_lock);
    return rc;
}

long hc_mmu_update(struct hypercall *hc)
{
    domid_t owner = (domid_t)(hc->arg[3] >> 16);
    return batch(hc, owner ? (domid_t)(owner - 1) : DOMID_SELF, sizeof(struct mmu_update),
                 BATCH_READ, update_one);
}

/* ---- update_va_mapping ---- */

/* Flush (enum FLUSH_*) on the pcpus where the vCPUs of the guest's bitmap run. */
static int flush_vcpus(struct domain *d, vaddr_t bitmap_va, unsigned flags, vaddr_t va)
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
        return flush_vcpus(d, where, kind, va);
    }
    return 0;
}

static inline_always int update_va_mapping(const struct vcpu *v, struct domain *foreign, vaddr_t va,
                                           uint64_t pte, uint64_t flags)
{
    struct domain *d = v->domain;
    int rc = -EINVAL;
    const struct replace how = {d, foreign, 0, NULL};
    spin_lock(&d->mmu_lock);
    uint64_t *slot = mmu_find_slot(v, va);
    if (slot) {
        rc = leaf_replace_inline(mfn_to_frame(virt_to_mfn(slot)), slot, pte, &how);
    }
    spin_unlock(&d->mmu_lock);
    int flushed = flags ? flush_as_asked(d, va, flags) : 0;
    if (unlikely(rc)) {
        log_guest(d, "update_va_mapping of %lx to %lx refused (%d)", va, pte, rc);
    }
    return rc ?: flushed;
}

long hc_update_va_mapping(struct hypercall *hc)
{
    return update_va_mapping(hc->v, hc->d, hc->arg[0], hc->arg[1], hc->arg[2]);
}

long hc_update_va_mapping_otherdomain(struct hypercall *hc)
{
    struct domain *foreign;
    long rc = domain_for(hc->d, (domid_t)hc->arg[3], &foreign);
    if (rc == 0) {
        rc = update_va_mapping(hc->v, foreign, hc->arg[0], hc->arg[1], hc->arg[2]);
        domain_done(hc->d, foreign);
    }
    return rc;
}

/* ---- mmuext_op: on frames of the caller or of another domain ---- */

static int mmuextop_pin(struct domain *d, const struct mmuext_op *op)
{
    SPIN_GUARD(&d->mmu_lock);
    return page_type_pin(op->arg1.mfn, d, (op->cmd + 1) << TYPE_SHIFT);
}

static int mmuextop_unpin(struct domain *d, const struct mmuext_op *op)
{
    SPIN_GUARD(&d->mmu_lock);
    return page_type_unpin(op->arg1.mfn, d);
}

static int mmuextop_clear_page(struct domain *d, const struct mmuext_op *op)
{
    struct frame *f = frame_get_writable_mfn(op->arg1.mfn, d);
    if (!f) {
        return -EINVAL;
    }
    memset(frame_to_virt(f), 0, PAGE_SIZE);
    frame_put_writable_and_ref(f);
    return 0;
}

static int mmuextop_copy_page(struct domain *d, const struct mmuext_op *op)
{
    struct frame *src = frame_get_from_mfn(op->arg2.src_mfn, d);
    struct frame *dst = src ? frame_get_writable_mfn(op->arg1.mfn, d) : NULL;
    if (dst) {
        memcpy(frame_to_virt(dst), frame_to_virt(src), PAGE_SIZE);
        frame_put_writable_and_ref(dst);
    }
    if (src) {
        frame_put(src);
    }
    return dst ? 0 : -EINVAL;
}

/* ---- mmuext_op: on the calling vCPU ---- */

static int mmuextop_new_baseptr(struct vcpu *v, const struct mmuext_op *op)
{
    bool user = op->cmd == MMUEXT_NEW_USER_BASEPTR;
    struct frame **slot = user ? &v->pv.l4_user : &v->pv.l4, *fresh = NULL, *old = *slot;
    mfn_t mfn = op->arg1.mfn;
    if (old && frame_to_mfn(old) == mfn) {
        return 0;
    }
    SPIN_GUARD(&v->domain->mmu_lock);
    /* User mode may be left without tables; frame 0 is nobody's. */
    int rc = user && !mfn ? 0 : page_type_get(mfn, v->domain, TYPE_L4, &fresh);
    if (rc) {
        return rc;
    }
    /* The processor gets the new tables before the old ones may go. */
    *slot = fresh;
    arch_load_page_tables(v);
    if (old) {
        page_type_put(old);
    }
    return 0;
}

static int mmuextop_flush(struct vcpu *v, const struct mmuext_op *op)
{
    vaddr_t va = op->arg1.linear_addr;
    /* Of each pair of operations the one with the odd number flushes a single address. */
    unsigned kind = op->cmd & 1 ? FLUSH_ONE : FLUSH_TLB, where = op->cmd & ~1U;
    hypercall_preempt_soon(); /* other CPUs may keep us waiting */
    if (kind == FLUSH_ONE && !is_canonical(va)) {
        return 0; /* ABI: nothing can be cached for such an address */
    }
    if (where == MMUEXT_TLB_FLUSH_LOCAL) {
        arch_tlb_flush_local(kind, va);
    } else if (where == MMUEXT_TLB_FLUSH_ALL) {
        arch_tlb_flush_mask(&v->domain->dirty_cpus, kind, va);
    } else {
        return flush_vcpus(v->domain, GUEST_ADDR(op->arg2.vcpumask), kind, va);
    }
    return 0;
}

static int mmuextop_flush_cache(struct vcpu *v, const struct mmuext_op *op unused)
{
    if (!v->domain->privileged) {
        return -EACCES;
    }
    arch_tlb_flush_mask(&v->domain->dirty_cpus, FLUSH_CACHE, 0);
    return 0;
}

static int mmuextop_set_ldt(struct vcpu *v, const struct mmuext_op *op)
{
    vaddr_t base = op->arg1.linear_addr;
    unsigned entries = op->arg2.nr_ents;
    if (entries > 8192 || (base & ~PAGE_MASK) || (entries && !trap_address_ok(base))) {
        return -EINVAL;
    }
    if (v->pv.ldt_base != base || v->pv.ldt_entries != entries) {
        descriptor_drop_ldt(v);
        v->pv.ldt_base = base;
        v->pv.ldt_entries = entries;
        arch_load_ldt(v);
    }
    return 0;
}

static inline int run_op(struct batch *b, const union request *req)
{
    const struct mmuext_op *op = &req->ext;
    struct vcpu *v = b->v;
    struct domain *d = b->how.foreign;
    span_note(SPAN_HYPERCALL, __HYPERVISOR_mmuext_op, op->cmd);
    switch (op->cmd) {
#define MMUEXT(nr, name, handler, doc)                                                             \
    case nr:                                                                                       \
        return handler(d, op);
#define MMUEXT_SELF(nr, name, handler, doc)                                                        \
    case nr:                                                                                       \
        return d == v->domain ? handler(v, op) : -EPERM;
#include "pv-abi/ops/mmuext.def"
#undef MMUEXT
#undef MMUEXT_SELF
    default:
        return -ENOSYS;
    }
}

long hc_mmuext_op(struct hypercall *hc)
{
    return batch(hc, DOMID_SELF, sizeof(struct mmuext_op), 1, run_op);
}

/* ---- one request of the caller's about itself: most of what Linux asks for ---- */

static inline_always int single(struct vcpu *v, const struct cpu_user_regs *regs, size_t bytes,
                                request_fn *handle)
{
    union request req;
    struct domain *d = v->domain;
    struct batch b = {.v = v, .owner = d, .how = {.d = d, .foreign = d}, .mfn = INVALID_MFN};
    int rc = guest_read(&req, regs->rdi, bytes) ?: handle(&b, &req);
    if (b.table) {
        frame_put(b.table);
    }
    if (unlikely(rc) && rc != -ERESTART) {
        log_guest(d, "hypercall %lu: request 0 of 1 refused (%d)", regs->rax, rc);
    }
    return rc;
}

int mmu_update_single(struct vcpu *v, const struct cpu_user_regs *regs)
{
    return single(v, regs, sizeof(struct mmu_update), update_one);
}

int mmu_ext_single(struct vcpu *v, const struct cpu_user_regs *regs)
{
    return single(v, regs, sizeof(struct mmuext_op), run_op);
}

int mmu_va_single(struct vcpu *v, const struct cpu_user_regs *regs)
{
    return update_va_mapping(v, v->domain, regs->rdi, regs->rsi, regs->rdx);
}
