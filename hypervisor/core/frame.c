// SPDX-License-Identifier: MIT
/*
 * The two counts of struct frame; core/frame.h states what they mean. Everything here works by
 * compare-and-swap on the count word and the type word, without a lock, except that the last
 * reference of a frame goes through frame_free() and so takes pages_lock and heap_lock.
 *
 * Frames of the hypervisor have count 0 and no owner, so no guest-supplied number reaches them,
 * until frame_share() lends them to a domain.
 */
#include "core/frame.h"

#include "core/domain.h"

struct frame *frame_table;
struct frame_link *frame_links;

void frame_tlb_flush(const struct frame *f, const cpumask_t *cpus)
{
    cpumask_t mask = {{0}};
    for (unsigned cpu = 0; cpu < arch_facts.cpus_online; cpu++) {
        if (!cpus || cpumask_test(cpus, cpu)) {
            cpumask_set(&mask, cpu);
        }
    }
    arch_tlb_filter(&mask, frame_link(f)->tlb_stamp);
    if (!cpumask_empty(&mask)) {
        arch_tlb_flush_mask(&mask, FLUSH_TLB, 0);
    }
}

/* ---- general count ---- */

bool frame_drop_allocation(struct frame *f)
{
    uint32_t old = __atomic_fetch_and(&f->count, ~FRAME_ALLOCATED, __ATOMIC_SEQ_CST);
    if (!(old & FRAME_ALLOCATED)) {
        return false;
    }
    frame_put(f);
    return true;
}

/* ---- writable references ---- */

int frame_get_writable_slow(struct frame *f)
{
    uint32_t old = __atomic_load_n(&f->type, __ATOMIC_SEQ_CST);
    for (;;) {
        uint32_t count = old & TYPE_COUNT_MASK;
        if (old & TYPE_LOCKED) {
            arch_relax();
            old = __atomic_load_n(&f->type, __ATOMIC_SEQ_CST);
        } else if (count == 0) {
            /* SAFETY: a frame that was never typed needs nothing: it was flushed when allocated.
             * One that was a page table may still be walked by a CPU that keeps upper-level entries
             * in its paging-structure cache, so nobody may write to it before that CPU has flushed:
             * LOCKED makes other CPUs wait for the flush with us. Read-only mappings of the old use
             * that are left in TLBs are harmless. A page table is loaded, and a descriptor table
             * used, only by CPUs that run its owner. */
            uint32_t type = old & TYPE_MASK;
            bool flush = type != TYPE_NONE && type != TYPE_WRITABLE;
            if (!frame_cas(&f->type, &old, TYPE_WRITABLE | (flush ? TYPE_LOCKED : 0) | 1)) {
                continue;
            }
            if (flush) {
                frame_tlb_flush(f, &frame_owner(f)->dirty_cpus);
                __atomic_store_n(&f->type, TYPE_WRITABLE | 1, __ATOMIC_SEQ_CST);
            }
            return 0;
        } else if ((old & TYPE_MASK) != TYPE_WRITABLE || count == TYPE_COUNT_MASK) {
            return -EBUSY;
        } else if (frame_cas(&f->type, &old, old + 1)) {
            return 0;
        }
    }
}

void frame_put_writable_slow(struct frame *f)
{
    uint32_t old = __atomic_load_n(&f->type, __ATOMIC_SEQ_CST);
    for (;;) {
        BUG_ON((old & TYPE_MASK) != TYPE_WRITABLE || (old & TYPE_COUNT_MASK) == 0);
        if ((old & TYPE_COUNT_MASK) > 1) {
            if (frame_cas(&f->type, &old, old - 1)) {
                return;
            }
        } else if (frame_cas(&f->type, &old, old | TYPE_LOCKED)) {
            /* SAFETY: the stamp must be younger than the last writable mapping and in place before
             * the count can be seen to be 0. LOCKED keeps others from getting and putting a
             * reference between our reading the clock and our giving up the count, which would
             * leave the frame with a stamp that is too old. */
            frame_link(f)->tlb_stamp = arch_tlb_clock();
            __atomic_store_n(&f->type, TYPE_WRITABLE, __ATOMIC_SEQ_CST);
            return;
        }
    }
}

/* ---- frames of the hypervisor that a domain may map ---- */

void frame_share(struct frame *f, struct domain *d)
{
    BUG_ON(f->count || f->owner_page);
    frame_set_owner(f, d);
    f->type = TYPE_WRITABLE | 1; /* our own reference: it never becomes a page table */
    /* ORDER: owner and type before the count, which opens the frame to others. */
    __atomic_store_n(&f->count, FRAME_HYP | 1, __ATOMIC_SEQ_CST);
}

void frame_unshare(struct frame *f)
{
    BUG_ON(!(read_once(f->count) & FRAME_HYP));
    /* SAFETY: without an owner nobody can take new references (frame_get looks again after it has
     * taken one), and the frame may outlive d in the page tables of a control domain. */
    frame_set_owner(f, NULL);
    frame_put_writable_and_ref(f);
}
