// SPDX-License-Identifier: MIT
/*
 * XENMEM_*: reservations, exchange, memory maps, frames of a domain's grant table.
 *
 * Invariants: a frame given to a domain has its M2P entry written before the domain learns the
 * frame number; an entry is invalidated before the frame can go to somebody else. Arrays of the
 * guest are read one element at a time, each element once, with no lock held. Operations on long
 * arrays stop for preemption: the number of extents done travels in the operation number.
 */
#include "arch/layout.h"
#include "base/checked.h"
#include "base/string.h"
#include "core/deferred.h"
#include "core/domain.h"
#include "core/grant_table.h"
#include "core/subop.h"

#define MEMOP_START_SHIFT 6
#define MEMOP_CMD_MASK ((1UL << MEMOP_START_SHIFT) - 1)

/* Greatest extent, so that clearing one stays short and nobody drains the large blocks. */
#define EXTENT_ORDER_MAX 10u
/* Pages one exchange may trade: it is all or nothing, so it has windows but is not continued. */
#define EXCHANGE_PAGES_MAX 1024u

/* ---- reservations ---- */

static uint64_t memop_start(const struct hypercall *hc)
{
    return hc->arg[0] >> MEMOP_START_SHIFT;
}

/* Pages are handled in small numbers between windows; `nr` counts them. */
static void window_after(uint64_t nr)
{
    if (nr % 128 == 127) {
        irq_window(false);
    }
}

/* Take an extent away from d; false when something of it is no allocation of d's (any more). */
static bool extent_take(struct domain *d, mfn_t mfn, unsigned order)
{
    for (mfn_t end = mfn + (1UL << order); mfn != end; mfn++) {
        struct frame *f = frame_get_from_mfn(mfn, d);
        if (!f) {
            return false;
        }
        bool taken = frame_drop_allocation(f);
        if (taken) {
            m2p_set(mfn, INVALID_M2P); /* our reference keeps the frame d's until here */
        }
        frame_put(f);
        if (!taken) {
            return false;
        }
        window_after(mfn);
    }
    return true;
}

static void extent_set_m2p(mfn_t mfn, pfn_t pfn, unsigned order)
{
    for (uint64_t k = 0; k < 1UL << order; k++) {
        m2p_set(mfn + k, pfn == INVALID_M2P ? INVALID_M2P : pfn + k);
    }
}

static void extent_free(struct frame *f, unsigned order)
{
    irq_window(false);
    extent_set_m2p(frame_to_mfn(f), INVALID_M2P, order);
    frame_free_hyp(f, order);
}

/* d may have lost the right to frames meanwhile (it is dying): then they go back to the heap. */
static bool extent_assign(struct domain *d, struct frame *f, unsigned order)
{
    if (frame_assign(d, f, order)) {
        extent_free(f, order);
        return false;
    }
    return true;
}

static bool extent_give(struct domain *d, const struct xen_memory_reservation *r, uint64_t i,
                        pfn_t pfn)
{
    vaddr_t list = GUEST_ADDR(r->extent_start);
    /* Not worth clearing memory for a domain that cannot have it; frame_assign() decides. */
    if (read_once(d->page_count) + (1UL << r->extent_order) > d->max_pages) {
        return false;
    }
    struct frame *f = frame_alloc_hyp(r->extent_order, XENMEMF_get_address_bits(r->mem_flags));
    if (!f) {
        return false;
    }
    uint64_t mfn = frame_to_mfn(f);
    extent_set_m2p(mfn, pfn, r->extent_order);
    if (!extent_assign(d, f, r->extent_order)) {
        return false;
    }
    if (list && guest_write_element(list, i, &mfn, sizeof(mfn))) {
        (void)extent_take(d, mfn, r->extent_order);
        return false;
    }
    return true;
}

/* One extent of each operation on reservations. False ends the operation. */

static bool extent_increase(struct domain *d, const struct xen_memory_reservation *r, uint64_t i)
{
    return extent_give(d, r, i, INVALID_M2P);
}

static bool extent_populate(struct domain *d, const struct xen_memory_reservation *r, uint64_t i)
{
    vaddr_t list = GUEST_ADDR(r->extent_start);
    uint64_t pfn;
    return list && guest_read_element(&pfn, list, i, sizeof(pfn)) == 0 && extent_give(d, r, i, pfn);
}

static bool extent_decrease(struct domain *d, const struct xen_memory_reservation *r, uint64_t i)
{
    uint64_t mfn;
    return guest_read_element(&mfn, GUEST_ADDR(r->extent_start), i, sizeof(mfn)) == 0 &&
           extent_take(d, mfn, r->extent_order);
}

/* ABI: the result is the number of extents done, whatever stopped the rest. */
static long reservation(struct hypercall *hc, const struct xen_memory_reservation *r,
                        bool (*extent)(struct domain *d, const struct xen_memory_reservation *r,
                                       uint64_t i))
{
    uint64_t done = memop_start(hc);
    if (r->nr_extents > INT64_MAX >> MEMOP_START_SHIFT || r->extent_order > EXTENT_ORDER_MAX) {
        return (long)done;
    }
    while (done < r->nr_extents && extent(hc->target, r, done)) {
        done++;
        hypercall_preempt_soon();
        if (done < r->nr_extents && hypercall_preempt_check()) {
            hc->arg[0] = (hc->arg[0] & MEMOP_CMD_MASK) | done << MEMOP_START_SHIFT;
            return -ERESTART;
        }
    }
    return (long)done;
}

long memop_increase_reservation(struct hypercall *hc, struct xen_memory_reservation *arg)
{
    return reservation(hc, arg, extent_increase);
}

long memop_populate_physmap(struct hypercall *hc, struct xen_memory_reservation *arg)
{
    return reservation(hc, arg, extent_populate);
}

long memop_decrease_reservation(struct hypercall *hc, struct xen_memory_reservation *arg)
{
    return reservation(hc, arg, extent_decrease);
}

long memop_maximum_ram_page(struct hypercall *hc unused)
{
    return (long)arch_facts.max_mfn - 1;
}

long memop_current_reservation(struct hypercall *hc, struct xen_memory_domain *arg unused)
{
    return (long)read_once(hc->target->page_count);
}

long memop_maximum_reservation(struct hypercall *hc, struct xen_memory_domain *arg unused)
{
    uint64_t max = read_once(hc->target->max_pages);
    return (long)MIN(max, (uint64_t)INT64_MAX);
}

long memop_claim_pages(struct hypercall *hc, struct xen_memory_reservation *arg)
{
    if (!hc->d->privileged) {
        return -EPERM;
    }
    if (arg->extent_order || arg->mem_flags || GUEST_ADDR(arg->extent_start)) {
        return -EINVAL;
    }
    /* One builder works at a time, so an answer to "is there enough" is as good as a claim. */
    uint64_t have = read_once(hc->target->page_count);
    if (arg->nr_extents > have && arg->nr_extents - have > frame_free_count()) {
        return -ENOMEM;
    }
    return 0;
}

/* ---- exchange ---- */

/* Frames in transit belong to nobody; they are stacked through their links. */
static void push(uint32_t *stack, struct frame *f)
{
    frame_link(f)->next = *stack;
    *stack = (uint32_t)frame_to_mfn(f);
}

static struct frame *pop(uint32_t *stack)
{
    struct frame *f = *stack == INVALID_LINK ? NULL : mfn_to_frame(*stack);
    *stack = f ? frame_link(f)->next : INVALID_LINK;
    return f;
}

/* Allocate what goes out, with its M2P entries. Each list element is written back as it was: what
 * cannot be written is found out before anything changes. */
static int exchange_allocate(const struct xen_memory_reservation *out, uint32_t *fresh)
{
    for (uint64_t i = 0; i < out->nr_extents; i++) {
        vaddr_t list = GUEST_ADDR(out->extent_start);
        uint64_t pfn;
        if (guest_read_element(&pfn, list, i, sizeof(pfn)) ||
            guest_write_element(list, i, &pfn, sizeof(pfn))) {
            return -EFAULT;
        }
        struct frame *f =
            frame_alloc_hyp(out->extent_order, XENMEMF_get_address_bits(out->mem_flags));
        if (!f) {
            return -ENOMEM;
        }
        extent_set_m2p(frame_to_mfn(f), pfn, out->extent_order);
        push(fresh, f);
        irq_window(false);
    }
    return 0;
}

/* Take what comes in from d. Frames that are mapped or granted anywhere are refused. */
static int exchange_steal(struct domain *d, const struct xen_memory_reservation *in,
                          uint32_t *stolen)
{
    for (uint64_t i = 0, pages = 0; i < in->nr_extents; i++) {
        uint64_t mfn;
        if (guest_read_element(&mfn, GUEST_ADDR(in->extent_start), i, sizeof(mfn))) {
            return -EFAULT;
        }
        for (mfn_t end = mfn + (1UL << in->extent_order); mfn != end; mfn++) {
            if (!mfn_valid(mfn)) {
                return -EINVAL;
            }
            if (!frame_steal(d, mfn_to_frame(mfn))) {
                return -EBUSY;
            }
            push(stolen, mfn_to_frame(mfn));
            window_after(pages++);
        }
    }
    return 0;
}

/* Hand the fresh frames over, the last one first. */
static int exchange_commit(struct domain *d, const struct xen_memory_reservation *out,
                           uint32_t *fresh)
{
    int rc = 0;
    for (uint64_t i = out->nr_extents; i-- > 0;) {
        struct frame *f = pop(fresh);
        uint64_t mfn = frame_to_mfn(f);
        irq_window(false);
        if (!extent_assign(d, f, out->extent_order)) {
            rc = -ENOMEM;
        } else if (guest_write_element(GUEST_ADDR(out->extent_start), i, &mfn, sizeof(mfn))) {
            rc = -EFAULT;
        }
    }
    return rc;
}

static long exchange_check(struct hypercall *hc, const struct xen_memory_exchange *x)
{
    uint64_t in_pages, out_pages;
    if ((x->in.domid != DOMID_SELF && x->in.domid != hc->d->id) || x->out.domid != x->in.domid ||
        x->in.extent_order > EXTENT_ORDER_MAX || x->out.extent_order > EXTENT_ORDER_MAX) {
        return -EPERM;
    }
    if (x->nr_exchanged || !checked_mul(x->in.nr_extents, 1UL << x->in.extent_order, &in_pages) ||
        !checked_mul(x->out.nr_extents, 1UL << x->out.extent_order, &out_pages) ||
        in_pages != out_pages) {
        return -EINVAL;
    }
    /* A domain above its limit (it was lowered) could not be given anything back. */
    if (read_once(hc->d->page_count) > read_once(hc->d->max_pages)) {
        return -ENOMEM;
    }
    return in_pages > EXCHANGE_PAGES_MAX ? -E2BIG : 0;
}

long memop_exchange(struct hypercall *hc, struct xen_memory_exchange *arg)
{
    struct domain *d = hc->d;
    uint32_t fresh = INVALID_LINK, stolen = INVALID_LINK;
    struct frame *f;
    long rc = exchange_check(hc, arg);
    if (rc) {
        return rc;
    }
    rc = exchange_allocate(&arg->out, &fresh);
    if (rc == 0) {
        rc = exchange_steal(d, &arg->in, &stolen);
    }
    if (rc) {
        while ((f = pop(&stolen))) {
            (void)extent_assign(d, f, 0);
            irq_window(false);
        }
        while ((f = pop(&fresh))) {
            extent_free(f, arg->out.extent_order);
        }
        return rc;
    }
    /* ABI: the guest cleared its mappings without flushing. The frames' TLB stamps see to it that
     * nobody gets them while an old translation is left. */
    while ((f = pop(&stolen))) {
        extent_free(f, 0);
    }
    rc = exchange_commit(d, &arg->out, &fresh);
    if (rc == 0) {
        arg->nr_exchanged = arg->in.nr_extents;
    }
    return rc;
}

/* ---- maps ---- */

long memop_machphys_mapping(struct hypercall *hc unused, struct xen_machphys_mapping *arg)
{
    uint64_t bytes = ROUND_UP(arch_facts.max_mfn * sizeof(uint64_t), 2UL << 20);
    arg->v_start = M2P_RO_START;
    arg->v_end = M2P_RO_START + bytes;
    arg->max_mfn = arch_facts.max_mfn - 1;
    return 0;
}

long memop_memory_map(struct hypercall *hc, struct xen_memory_map *arg)
{
    struct arch_e820 map[PV_E820_MAX];
    spin_lock(&hc->d->pages_lock);
    unsigned count = hc->d->pv.e820_count;
    memcpy(map, hc->d->pv.e820, count * sizeof(map[0]));
    spin_unlock(&hc->d->pages_lock);
    if (count == 0) {
        return -ENOSYS;
    }
    arg->nr_entries = MIN(count, arg->nr_entries);
    return guest_write(GUEST_ADDR(arg->buffer), map, arg->nr_entries * sizeof(map[0]));
}

long memop_machine_memory_map(struct hypercall *hc unused, struct xen_memory_map *arg)
{
    arg->nr_entries = MIN(arch_facts.e820_count, arg->nr_entries);
    return guest_write(GUEST_ADDR(arg->buffer), arch_facts.e820,
                       arg->nr_entries * sizeof(struct arch_e820));
}

long memop_set_memory_map(struct hypercall *hc, struct xen_foreign_memory_map *arg)
{
    struct domain *d = hc->target;
    struct arch_e820 map[PV_E820_MAX];
    unsigned count = arg->map.nr_entries;
    if (!hc->d->privileged) {
        return -EPERM;
    }
    if (count > PV_E820_MAX) {
        return -EINVAL;
    }
    if (guest_read(map, GUEST_ADDR(arg->map.buffer), count * sizeof(map[0]))) {
        return -EFAULT;
    }
    SPIN_GUARD(&d->pages_lock);
    memcpy(d->pv.e820, map, count * sizeof(map[0]));
    d->pv.e820_count = count;
    return 0;
}

/* ---- resources ---- */

long memop_acquire_resource(struct hypercall *hc, struct xen_mem_acquire_resource *arg)
{
    struct domain *d = hc->target;
    uint32_t max = d->grant->max_frames;
    vaddr_t list = GUEST_ADDR(arg->frame_list);
    if (!hc->d->privileged) {
        return -EPERM;
    }
    if (arg->type != XENMEM_resource_grant_table) {
        return -EOPNOTSUPP;
    }
    if (arg->id != XENMEM_resource_grant_table_id_shared || arg->pad ||
        (arg->nr_frames == 0 ? list != 0
                             : arg->frame >= max || arg->nr_frames > max - arg->frame)) {
        return -EINVAL;
    }
    if (arg->nr_frames == 0) {
        arg->nr_frames = max;
        return 0;
    }
    return grant_table_list(d, (uint32_t)arg->frame, arg->nr_frames, list);
}

long hc_memory_op(struct hypercall *hc)
{
    unsigned cmd = hc->arg[0] & MEMOP_CMD_MASK;
    /* Only operations on reservations can be continued, so only they may start in the middle. */
    if (memop_start(hc) && cmd != XENMEM_increase_reservation &&
        cmd != XENMEM_decrease_reservation && cmd != XENMEM_populate_physmap) {
        return -EINVAL;
    }
    switch (cmd) {
#include "pv-abi/ops/memory.def"
    }
    return -ENOSYS;
}
