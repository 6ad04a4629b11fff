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
#include "core/domain.h"
#include "core/frame_alloc.h"
#include "core/grant_table.h"
#include "core/subop.h"

#define MEMOP_START_SHIFT 6
#define MEMOP_CMD_MASK ((1UL << MEMOP_START_SHIFT) - 1)

/* Greatest extent, so that clearing one stays short and nobody drains the large blocks. */
#define EXTENT_ORDER_MAX 10u
/* Pages one exchange may trade: it is all or nothing, so it is not preemptible. */
#define EXCHANGE_PAGES_MAX 4096u

/* 20 bytes: the BIOS's form of a memory map entry. */
struct packed guest_e820 {
    uint64_t addr, size;
    uint32_t type;
};

static uint64_t memop_start(const struct hypercall *hc)
{
    return hc->arg[0] >> MEMOP_START_SHIFT;
}

static long memop_continue(struct hypercall *hc, uint64_t done)
{
    hc->arg[0] = (hc->arg[0] & MEMOP_CMD_MASK) | done << MEMOP_START_SHIFT;
    return -ERESTART;
}

/* Frames to allocate below this many address bits; false when no extent of the order can lie there.
 */
static bool extent_bits(uint32_t mem_flags, unsigned order, unsigned *bits)
{
    *bits = XENMEMF_get_address_bits(mem_flags);
    if (*bits >= 64) {
        *bits = 0;
    }
    return *bits == 0 || *bits >= order + PAGE_SHIFT;
}

/* Take one frame away from d. The caller holds a reference of its own, so the frame is still d's
 * when its M2P entry goes. False when it is no allocation of d's (any more). */
static bool frame_take(struct frame *f)
{
    if (!frame_drop_allocation(f)) {
        return false;
    }
    m2p_set(frame_to_mfn(f), INVALID_M2P);
    return true;
}

static void extent_release(struct domain *d, struct frame *f, unsigned order)
{
    for (uint64_t k = 0; k < 1UL << order; k++) {
        if (frame_get(f + k, d)) {
            (void)frame_take(f + k);
            frame_put(f + k);
        }
    }
}

static void extent_set_m2p(mfn_t mfn, pfn_t pfn, unsigned order)
{
    for (uint64_t k = 0; k < 1UL << order; k++) {
        m2p_set(mfn + k, pfn == INVALID_M2P ? INVALID_M2P : pfn + k);
    }
}

/* One extent of increase_reservation and populate_physmap. False ends the operation. */
static bool extent_allocate(struct domain *d, const struct xen_memory_reservation *r, uint64_t i,
                            unsigned bits, bool named)
{
    vaddr_t list = GUEST_ADDR(r->extent_start);
    uint64_t pfn = INVALID_M2P;
    if (named && guest_read_element(&pfn, list, i, sizeof(pfn))) {
        return false;
    }
    struct frame *f = frame_alloc_domain(d, r->extent_order, bits);
    if (!f) {
        return false;
    }
    uint64_t mfn = frame_to_mfn(f);
    extent_set_m2p(mfn, pfn, r->extent_order);
    if (list && guest_write_element(list, i, &mfn, sizeof(mfn))) {
        extent_release(d, f, r->extent_order);
        return false;
    }
    return true;
}

/* ABI: the result is the number of extents done, whatever stopped the rest. */
static long reservation_allocate(struct hypercall *hc, const struct xen_memory_reservation *r,
                                 bool named)
{
    uint64_t done = memop_start(hc);
    unsigned bits;
    if (done >= r->nr_extents || r->nr_extents > INT64_MAX >> MEMOP_START_SHIFT ||
        r->extent_order > EXTENT_ORDER_MAX || !extent_bits(r->mem_flags, r->extent_order, &bits) ||
        (named && !GUEST_ADDR(r->extent_start))) {
        return (long)done;
    }
    while (extent_allocate(hc->target, r, done, bits, named)) {
        done++;
        if (done == r->nr_extents) {
            break;
        }
        if (hypercall_preempt_check()) {
            return memop_continue(hc, done);
        }
    }
    return (long)done;
}

long memop_increase_reservation(struct hypercall *hc, struct xen_memory_reservation *arg)
{
    return reservation_allocate(hc, arg, false);
}

long memop_populate_physmap(struct hypercall *hc, struct xen_memory_reservation *arg)
{
    return reservation_allocate(hc, arg, true);
}

static bool extent_decrease(struct domain *d, mfn_t mfn, unsigned order)
{
    for (uint64_t k = 0; k < 1UL << order; k++) {
        uint64_t nr;
        struct frame *f = checked_add(mfn, k, &nr) ? frame_get_from_mfn(nr, d) : NULL;
        if (!f) {
            return false;
        }
        bool taken = frame_take(f);
        frame_put(f);
        if (!taken) {
            return false;
        }
    }
    return true;
}

long memop_decrease_reservation(struct hypercall *hc, struct xen_memory_reservation *arg)
{
    uint64_t done = memop_start(hc);
    if (done >= arg->nr_extents || arg->nr_extents > INT64_MAX >> MEMOP_START_SHIFT ||
        arg->extent_order > EXTENT_ORDER_MAX) {
        return (long)done;
    }
    for (;;) {
        uint64_t mfn;
        if (guest_read_element(&mfn, GUEST_ADDR(arg->extent_start), done, sizeof(mfn)) ||
            !extent_decrease(hc->target, mfn, arg->extent_order)) {
            return (long)done;
        }
        done++;
        if (done == arg->nr_extents) {
            return (long)done;
        }
        if (hypercall_preempt_check()) {
            return memop_continue(hc, done);
        }
    }
}

long memop_maximum_ram_page(struct hypercall *hc)
{
    (void)hc;
    return (long)arch_max_mfn() - 1;
}

long memop_current_reservation(struct hypercall *hc, struct xen_memory_domain *arg)
{
    (void)arg;
    return (long)read_once(hc->target->page_count);
}

long memop_maximum_reservation(struct hypercall *hc, struct xen_memory_domain *arg)
{
    (void)arg;
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

/* Frames in transit belong to nobody; they are chained through their links. */
struct chain {
    uint32_t first, last;
};

static void chain_add(struct chain *c, struct frame *f)
{
    uint32_t nr = (uint32_t)frame_to_mfn(f);
    f->next = INVALID_LINK;
    if (c->first == INVALID_LINK) {
        c->first = nr;
    } else {
        mfn_to_frame(c->last)->next = nr;
    }
    c->last = nr;
}

static struct frame *chain_take(struct chain *c)
{
    if (c->first == INVALID_LINK) {
        return NULL;
    }
    struct frame *f = mfn_to_frame(c->first);
    c->first = f->next;
    return f;
}

static void chain_free(struct chain *c, unsigned order)
{
    for (struct frame *f = chain_take(c); f; f = chain_take(c)) {
        extent_set_m2p(frame_to_mfn(f), INVALID_M2P, order);
        frame_free_hyp(f, order);
    }
}

/* Allocate what goes out, with its M2P entries. Each list element is written back as it was: what
 * cannot be written is found out before anything changes. */
static int exchange_allocate(const struct xen_memory_reservation *out, unsigned bits,
                             struct chain *fresh)
{
    for (uint64_t i = 0; i < out->nr_extents; i++) {
        vaddr_t list = GUEST_ADDR(out->extent_start);
        uint64_t pfn;
        if (guest_read_element(&pfn, list, i, sizeof(pfn)) ||
            guest_write_element(list, i, &pfn, sizeof(pfn))) {
            return -EFAULT;
        }
        struct frame *f = frame_alloc_hyp(out->extent_order, bits);
        if (!f) {
            return -ENOMEM;
        }
        extent_set_m2p(frame_to_mfn(f), pfn, out->extent_order);
        chain_add(fresh, f);
    }
    return 0;
}

/* Take what comes in from d. Frames that are mapped or granted anywhere are refused. */
static int exchange_steal(struct domain *d, const struct xen_memory_reservation *in,
                          struct chain *stolen)
{
    for (uint64_t i = 0; i < in->nr_extents; i++) {
        uint64_t mfn;
        if (guest_read_element(&mfn, GUEST_ADDR(in->extent_start), i, sizeof(mfn))) {
            return -EFAULT;
        }
        for (uint64_t k = 0; k < 1UL << in->extent_order; k++) {
            uint64_t nr;
            if (!checked_add(mfn, k, &nr) || !mfn_valid(nr)) {
                return -EINVAL;
            }
            if (!frame_steal(d, mfn_to_frame(nr))) {
                return -EBUSY;
            }
            chain_add(stolen, mfn_to_frame(nr));
        }
    }
    return 0;
}

/* Hand the fresh frames over. d may have lost the right to them meanwhile (it is dying): what is
 * left goes back to the heap. */
static int exchange_commit(struct domain *d, const struct xen_memory_reservation *out,
                           struct chain *fresh)
{
    int rc = 0;
    uint64_t i = 0;
    for (struct frame *f = chain_take(fresh); f; f = chain_take(fresh), i++) {
        uint64_t mfn = frame_to_mfn(f);
        if (frame_assign(d, f, out->extent_order)) {
            extent_set_m2p(mfn, INVALID_M2P, out->extent_order);
            frame_free_hyp(f, out->extent_order);
            chain_free(fresh, out->extent_order);
            return -ENOMEM;
        }
        if (guest_write_element(GUEST_ADDR(out->extent_start), i, &mfn, sizeof(mfn))) {
            rc = -EFAULT;
        }
    }
    return rc;
}

static long exchange_check(struct hypercall *hc, const struct xen_memory_exchange *x)
{
    uint64_t in_pages, out_pages;
    if ((x->in.domid != DOMID_SELF && x->in.domid != hc->d->id) || x->out.domid != x->in.domid) {
        return -EPERM;
    }
    if (x->in.extent_order > EXTENT_ORDER_MAX || x->out.extent_order > EXTENT_ORDER_MAX) {
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
    struct chain fresh = {INVALID_LINK, INVALID_LINK}, stolen = fresh;
    unsigned bits;
    long rc = exchange_check(hc, arg);
    if (rc) {
        return rc;
    }
    if (!extent_bits(arg->out.mem_flags, arg->out.extent_order, &bits)) {
        return -ENOMEM;
    }
    rc = exchange_allocate(&arg->out, bits, &fresh);
    if (rc) {
        goto undo_allocate;
    }
    rc = exchange_steal(d, &arg->in, &stolen);
    if (rc) {
        goto undo_steal;
    }
    /* ABI: the guest cleared its mappings without flushing. The frames' TLB stamps see to it that
     * nobody gets them while an old translation is left. */
    chain_free(&stolen, 0);
    rc = exchange_commit(d, &arg->out, &fresh);
    if (rc == 0) {
        arg->nr_exchanged = arg->in.nr_extents;
    }
    return rc;

undo_steal:
    for (struct frame *f = chain_take(&stolen); f; f = chain_take(&stolen)) {
        if (frame_assign(d, f, 0)) {
            m2p_set(frame_to_mfn(f), INVALID_M2P);
            frame_free_hyp(f, 0);
        }
    }
undo_allocate:
    chain_free(&fresh, arg->out.extent_order);
    return rc;
}

/* ---- maps ---- */

long memop_machphys_mapping(struct hypercall *hc, struct xen_machphys_mapping *arg)
{
    (void)hc;
    uint64_t bytes = ROUND_UP(arch_max_mfn() * sizeof(uint64_t), 2UL << 20);
    arg->v_start = M2P_RO_START;
    arg->v_end = M2P_RO_START + bytes;
    arg->max_mfn = arch_max_mfn() - 1;
    return 0;
}

long memop_memory_map(struct hypercall *hc, struct xen_memory_map *arg)
{
    struct pv_domain *pv = &hc->d->pv;
    unsigned count = read_once(pv->e820_count);
    if (count == 0) {
        return -ENOSYS;
    }
    count = MIN(count, arg->nr_entries);
    for (unsigned i = 0; i < count; i++) {
        spin_lock(&hc->d->pages_lock);
        struct guest_e820 e = {pv->e820[i].addr, pv->e820[i].size, pv->e820[i].type};
        spin_unlock(&hc->d->pages_lock);
        if (guest_write_element(GUEST_ADDR(arg->buffer), i, &e, sizeof(e))) {
            return -EFAULT;
        }
    }
    arg->nr_entries = count;
    return 0;
}

long memop_machine_memory_map(struct hypercall *hc, struct xen_memory_map *arg)
{
    (void)hc;
    unsigned count = MIN(arch_e820_count(), arg->nr_entries);
    for (unsigned i = 0; i < count; i++) {
        const struct arch_e820 *entry = arch_e820(i);
        struct guest_e820 e = {entry->start, entry->bytes, entry->type};
        if (guest_write_element(GUEST_ADDR(arg->buffer), i, &e, sizeof(e))) {
            return -EFAULT;
        }
    }
    arg->nr_entries = count;
    return 0;
}

long memop_set_memory_map(struct hypercall *hc, struct xen_foreign_memory_map *arg)
{
    struct domain *d = hc->target;
    struct xen_memory_map_entry map[PV_E820_MAX];
    unsigned count = arg->map.nr_entries;
    if (!hc->d->privileged) {
        return -EPERM;
    }
    if (count > PV_E820_MAX) {
        return -EINVAL;
    }
    for (unsigned i = 0; i < count; i++) {
        struct guest_e820 e;
        if (guest_read_element(&e, GUEST_ADDR(arg->map.buffer), i, sizeof(e))) {
            return -EFAULT;
        }
        map[i] = (struct xen_memory_map_entry){e.addr, e.size, e.type};
    }
    spin_lock(&d->pages_lock);
    memcpy(d->pv.e820, map, count * sizeof(map[0]));
    d->pv.e820_count = count;
    spin_unlock(&d->pages_lock);
    return 0;
}

/* ---- resources ---- */

long memop_acquire_resource(struct hypercall *hc, struct xen_mem_acquire_resource *arg)
{
    struct domain *d = hc->target;
    uint32_t max = d->grant->max_frames;
    if (!hc->d->privileged) {
        return -EPERM;
    }
    if (arg->type != XENMEM_resource_grant_table) {
        return -EOPNOTSUPP;
    }
    if (arg->id != XENMEM_resource_grant_table_id_shared || arg->pad) {
        return -EINVAL;
    }
    if (arg->nr_frames == 0) {
        if (GUEST_ADDR(arg->frame_list)) {
            return -EINVAL;
        }
        arg->nr_frames = max;
        return 0;
    }
    if (arg->frame >= max || arg->nr_frames > max - arg->frame) {
        return -EINVAL;
    }
    int rc = grant_table_grow(d, (uint32_t)arg->frame + arg->nr_frames);
    if (rc) {
        return rc;
    }
    for (uint32_t i = 0; i < arg->nr_frames; i++) {
        uint64_t mfn = grant_table_frame_mfn(d, (uint32_t)arg->frame + i);
        if (guest_write_element(GUEST_ADDR(arg->frame_list), i, &mfn, sizeof(mfn))) {
            return -EFAULT;
        }
    }
    return 0;
}

/* Only operations on reservations can be continued, so only they may start in the middle. */
static bool memop_continues(unsigned cmd)
{
    return cmd == XENMEM_increase_reservation || cmd == XENMEM_decrease_reservation ||
           cmd == XENMEM_populate_physmap;
}

long hc_memory_op(struct hypercall *hc)
{
    unsigned cmd = hc->arg[0] & MEMOP_CMD_MASK;
    if (memop_start(hc) && !memop_continues(cmd)) {
        return -EINVAL;
    }
    switch (cmd) {
#include "pv-abi/ops/memory.def"
    }
    return -ENOSYS;
}
