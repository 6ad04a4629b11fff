// SPDX-License-Identifier: MIT
/*
 * Grant tables as such: making, growing and freeing them, and the life of one active entry
 * (grant_pin, grant_unpin) that mapping and copying share.
 *
 * The shared entry belongs to the granter, who may scribble on it at any time. While a reference
 * has pins, the hypervisor believes only its own active entry; the shared one is read when the
 * first pin is taken, once, and otherwise only has its status bits set and cleared.
 *
 *   no pins  --pin: entry says permit_access to this domain; GTF_reading (_writing) set-->  pinned
 *   pinned   --last writer leaves: GTF_writing cleared; last pin leaves: both cleared-->    no pins
 *
 * Lock: the table's (RANK_DOM_GRANT).
 */
#include "core/grant_table.h"

#include "base/checked.h"
#include "base/string.h"
#include "core/frame_alloc.h"
#include "core/grant_private.h"
#include "core/subop.h"

#define STATUS_TRIES 16

static unsigned order_for(uint64_t bytes)
{
    unsigned order = 0;
    while (PAGE_SIZE << order < bytes) {
        order++;
    }
    return order;
}

/* ---- life of a table ---- */

static unsigned maptrack_order(const struct grant_table *gt)
{
    return order_for(gt->max_maptrack * sizeof(*gt->maptrack));
}

int grant_table_create(struct domain *d, uint32_t max_frames, uint32_t max_maptrack)
{
    _Static_assert(sizeof(struct grant_table) <= PAGE_SIZE, "one page");
    _Static_assert(sizeof(struct grant_active) * GRANTS_PER_FRAME == PAGE_SIZE << ACTIVE_ORDER,
                   "fills its frames");
    if (max_frames == 0) {
        return -EINVAL;
    }
    struct grant_table *gt = hyp_alloc(PAGE_SIZE);
    if (!gt) {
        return -ENOMEM;
    }
    gt->lock = SPINLOCK_INIT(RANK_DOM_GRANT);
    gt->max_frames = MIN(max_frames, MAX_GRANT_FRAMES);
    gt->max_maptrack = MIN(max_maptrack, MAX_MAPTRACK_FRAMES);
    gt->free_handle = NO_HANDLE;
    struct frame *f = frame_alloc_hyp(maptrack_order(gt), 0);
    if (!f) {
        hyp_free(gt);
        return -ENOMEM;
    }
    gt->maptrack = frame_to_virt(f);
    d->grant = gt;
    int rc = grant_table_grow(d, 1);
    if (rc) {
        grant_table_free(d);
    }
    return rc;
}

void grant_table_free(struct domain *d)
{
    struct grant_table *gt = d->grant;
    if (!gt) {
        return;
    }
    for (uint32_t i = 0; i < gt->frame_count; i++) {
        /* Each pin is owned by somebody with a reference of d, so there are none left. */
        frame_unshare(gt->frame[i]);
        frame_free_hyp(mfn_to_frame(virt_to_mfn(gt->active[i])), ACTIVE_ORDER);
    }
    for (uint32_t i = 0; i < gt->maptrack_count; i++) {
        hyp_free(gt->maptrack[i]);
    }
    frame_free_hyp(mfn_to_frame(virt_to_mfn(gt->maptrack)), maptrack_order(gt));
    hyp_free(gt);
    d->grant = NULL;
}

static int grow_locked(struct domain *d)
{
    struct grant_table *gt = d->grant;
    struct frame *active = frame_alloc_hyp(ACTIVE_ORDER, 0);
    struct frame *shared = active ? frame_alloc_hyp(0, 0) : NULL;
    if (!shared) {
        if (active) {
            frame_free_hyp(active, ACTIVE_ORDER);
        }
        return -ENOMEM;
    }
    frame_share(shared, d, true);
    gt->active[gt->frame_count] = frame_to_virt(active);
    gt->frame[gt->frame_count] = shared;
    /* ORDER: readers without the lock see the frame before the count that includes it. */
    __atomic_store_n(&gt->frame_count, gt->frame_count + 1, __ATOMIC_RELEASE);
    return 0;
}

int grant_table_grow(struct domain *d, uint32_t nr_frames)
{
    struct grant_table *gt = d->grant;
    if (nr_frames > gt->max_frames) {
        return -EINVAL;
    }
    int rc = 0;
    spin_lock(&gt->lock);
    while (gt->frame_count < nr_frames && rc == 0) {
        rc = grow_locked(d);
    }
    spin_unlock(&gt->lock);
    return rc;
}

uint32_t grant_table_frames(const struct domain *d)
{
    return __atomic_load_n(&d->grant->frame_count, __ATOMIC_ACQUIRE);
}

uint32_t grant_table_max_frames(const struct domain *d)
{
    return d->grant->max_frames;
}

mfn_t grant_table_frame_mfn(const struct domain *d, uint32_t index)
{
    if (index >= grant_table_frames(d)) {
        return INVALID_MFN;
    }
    /* SAFETY: tested above, clamped for speculation. */
    return frame_to_mfn(d->grant->frame[clamp_index(index, MAX_GRANT_FRAMES)]);
}

struct domain *grant_domain_get(domid_t id)
{
    struct domain *d = domain_get(id);
    /* A dying domain's frames are on their way out; whoever comes just before keeps what it gets.
     */
    if (d && (!d->grant || read_once(d->state) != DOM_ALIVE)) {
        domain_put(d);
        d = NULL;
    }
    return d;
}

/* ---- one active entry ---- */

static struct grant_active *active_entry(const struct grant_table *gt, grant_ref_t ref)
{
    return &gt->active[ref / GRANTS_PER_FRAME][ref % GRANTS_PER_FRAME];
}

static grant_entry_v1_t *shared_entry(const struct grant_table *gt, grant_ref_t ref)
{
    grant_entry_v1_t *table = frame_to_virt(gt->frame[ref / GRANTS_PER_FRAME]);
    return &table[ref % GRANTS_PER_FRAME];
}

/* Check that the entry allows the use and mark it as used, in one atomic step on its flags and
 * domain. The granter can make the step fail by writing at the same time, so tries are limited. */
static int16_t set_status(grant_entry_v1_t *entry, domid_t grantee, bool readonly)
{
    uint32_t *word = (uint32_t *)entry;
    uint32_t old = __atomic_load_n(word, __ATOMIC_SEQ_CST);
    for (unsigned tries = 0; tries < STATUS_TRIES; tries++) {
        uint16_t flags = (uint16_t)old;
        if ((flags & GTF_type_mask) != GTF_permit_access || (domid_t)(old >> 16) != grantee ||
            (!readonly && (flags & GTF_readonly))) {
            return GNTST_general_error;
        }
        uint32_t marked = old | GTF_reading | (readonly ? 0 : GTF_writing);
        if (__atomic_compare_exchange_n(word, &old, marked, false, __ATOMIC_SEQ_CST,
                                        __ATOMIC_SEQ_CST)) {
            return GNTST_okay;
        }
    }
    return GNTST_general_error;
}

/* Take back the status bits that the pins left do not justify. */
static void clear_status(const struct grant_active *active, grant_entry_v1_t *entry)
{
    uint16_t bits = active->writers ? 0 : GTF_writing;
    if (!active->writers && !active->readers) {
        bits |= GTF_reading;
    }
    if (bits) {
        __atomic_fetch_and(&entry->flags, (uint16_t)~bits, __ATOMIC_SEQ_CST);
    }
}

/* Find the frame of an entry about to be pinned and take a general reference. */
static struct frame *active_frame_get(struct domain *granter, const struct grant_active *active,
                                      const grant_entry_v1_t *entry)
{
    if (active->readers || active->writers) {
        frame_get_held(active->frame);
        return active->frame;
    }
    return frame_get_from_mfn(read_once(entry->frame), granter);
}

static int16_t pin_locked(struct domain *granter, grant_ref_t ref, domid_t grantee, bool readonly,
                          struct frame **out)
{
    struct grant_active *active = active_entry(granter->grant, ref);
    grant_entry_v1_t *entry = shared_entry(granter->grant, ref);
    bool used = active->readers || active->writers;
    if (used && active->grantee != grantee) {
        return GNTST_general_error;
    }
    if ((readonly ? active->readers : active->writers) == UINT16_MAX) {
        return GNTST_no_space;
    }
    if (!used || (!readonly && !active->writers)) {
        int16_t status = set_status(entry, grantee, readonly);
        if (status != GNTST_okay) {
            return status;
        }
    }
    struct frame *f = active_frame_get(granter, active, entry);
    if (!f) {
        clear_status(active, entry);
        return GNTST_bad_page;
    }
    if (!readonly && frame_get_writable(f)) {
        clear_status(active, entry);
        frame_put(f);
        return GNTST_general_error;
    }
    active->frame = f;
    active->grantee = grantee;
    if (readonly) {
        active->readers++;
    } else {
        active->writers++;
    }
    *out = f;
    return GNTST_okay;
}

int16_t grant_pin(struct domain *granter, grant_ref_t ref, domid_t grantee, bool readonly,
                  struct frame **out)
{
    struct grant_table *gt = granter->grant;
    int16_t status = GNTST_bad_gntref;
    spin_lock(&gt->lock);
    uint64_t limit = gt->frame_count * GRANTS_PER_FRAME;
    if (ref < limit) {
        /* SAFETY: tested against the present size, clamped for speculation. */
        ref = (grant_ref_t)clamp_index(ref, limit);
        status = pin_locked(granter, ref, grantee, readonly, out);
    }
    spin_unlock(&gt->lock);
    return status;
}

void grant_unpin(struct domain *granter, grant_ref_t ref, bool readonly)
{
    struct grant_table *gt = granter->grant;
    spin_lock(&gt->lock);
    struct grant_active *active = active_entry(gt, ref);
    struct frame *f = active->frame;
    if (readonly) {
        BUG_ON(active->readers == 0);
        active->readers--;
    } else {
        BUG_ON(active->writers == 0);
        active->writers--;
    }
    clear_status(active, shared_entry(gt, ref));
    spin_unlock(&gt->lock);
    if (readonly) {
        frame_put(f);
    } else {
        frame_put_writable_and_ref(f);
    }
}

struct frame *grant_pinned_frame(const struct domain *granter, grant_ref_t ref)
{
    /* SAFETY: a pinned entry's frame does not change, and the caller owns a pin. */
    return active_entry(granter->grant, ref)->frame;
}

/* ---- operations on the table ---- */

/* Operations the ABI allows one element at a time. */
static bool single(const struct hypercall *hc)
{
    return hc->arg[2] == 1;
}

/* The domain whose table an operation names: oneself, or anybody for the control domain. */
static int16_t table_domain_get(const struct hypercall *hc, domid_t id, struct domain **out)
{
    struct domain *d = grant_domain_get(id);
    if (!d) {
        return GNTST_bad_domain;
    }
    if (d != hc->d && !hc->d->privileged) {
        domain_put(d);
        return GNTST_permission_denied;
    }
    *out = d;
    return GNTST_okay;
}

long gnttabop_setup_table(struct hypercall *hc, struct gnttab_setup_table *arg)
{
    if (!single(hc)) {
        return -EINVAL;
    }
    struct domain *d;
    arg->status = table_domain_get(hc, arg->dom, &d);
    if (arg->status != GNTST_okay) {
        return 0;
    }
    if (grant_table_grow(d, arg->nr_frames)) {
        arg->status = GNTST_general_error;
    }
    for (uint32_t i = 0; i < arg->nr_frames && arg->status == GNTST_okay; i++) {
        xen_pfn_t mfn = grant_table_frame_mfn(d, i);
        if (guest_write_element(GUEST_ADDR(arg->frame_list), i, &mfn, sizeof(mfn))) {
            arg->status = GNTST_bad_virt_addr;
        }
    }
    domain_put(d);
    return 0;
}

long gnttabop_query_size(struct hypercall *hc, struct gnttab_query_size *arg)
{
    if (!single(hc)) {
        return -EINVAL;
    }
    struct domain *d;
    arg->status = table_domain_get(hc, arg->dom, &d);
    if (arg->status == GNTST_okay) {
        arg->nr_frames = grant_table_frames(d);
        arg->max_nr_frames = d->grant->max_frames;
        domain_put(d);
    }
    return 0;
}

long gnttabop_set_version(struct hypercall *hc, struct gnttab_set_version *arg)
{
    if (!single(hc)) {
        return -EINVAL;
    }
    if (arg->version == 2) {
        return -ENOSYS; /* ABI: guests fall back to version 1 */
    }
    return arg->version == 1 ? 0 : -EINVAL;
}

long gnttabop_get_version(struct hypercall *hc, struct gnttab_get_version *arg)
{
    if (!single(hc)) {
        return -EINVAL;
    }
    struct domain *d;
    int16_t status = table_domain_get(hc, arg->dom, &d);
    if (status != GNTST_okay) {
        return status == GNTST_bad_domain ? -ESRCH : -EPERM;
    }
    arg->version = 1;
    domain_put(d);
    return 0;
}

long hc_grant_table_op(struct hypercall *hc)
{
    uint64_t op = hc->arg[0];
    hc->arg[2] = (uint32_t)hc->arg[2];
    if (hc->arg[2] > INT32_MAX) {
        return -EINVAL;
    }
    switch (op) {
#include "pv-abi/ops/gnttab.def"
    }
    return -ENOSYS;
}
