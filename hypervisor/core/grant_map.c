// SPDX-License-Identifier: MIT
/*
 * Mapping granted frames: handles (map tracking of the mapping domain) and the two operations.
 *
 * A LIVE handle owns one pin, and with it a general reference on the frame, a writable one unless
 * it is read-only, and a reference of the granting domain. The page-table entry has references of
 * its own, which pv_grant_map() takes and pv_grant_unmap(), or the end of the page table, drops: an
 * entry that was left behind never dangles, and none is dropped twice.
 *
 * Lock: the mapping domain's grant lock; never held while pv/ works on page tables.
 */
#include "core/grant_pin.h"
#include "core/hooks.h"
#include "core/hypercall.h"

#define NO_HANDLE 0xffffffffU
#define MAP_KINDS (GNTMAP_host_map | GNTMAP_device_map)

/* ---- handles ---- */

/* A page that is not needed goes back once this many handles are free. Until the number in use has
 * changed by half a page the next does not come or go: each coming costs a flush of TLBs. */
#define FREE_HANDLES_MAX (MAPPINGS_PER_PAGE + MAPPINGS_PER_PAGE / 2)

/* The caller has a handle of the page in use. */
static struct grant_mapping *mapping(const struct grant_table *gt, uint32_t handle)
{
    return &gt->maptrack[handle / HANDLES_PER_PAGE]->mapping[handle % HANDLES_PER_PAGE];
}

void grant_maptrack_add(struct grant_table *gt, uint32_t nr, struct maptrack_page *page)
{
    for (uint32_t i = 0; i < MAPPINGS_PER_PAGE; i++) {
        page->mapping[i].ref = i + 1;
    }
    gt->maptrack[nr] = page;
    gt->free_handles += MAPPINGS_PER_PAGE;
    set_bit(nr, gt->roomy);
}

static uint32_t handle_alloc(struct grant_table *gt)
{
    SPIN_GUARD(&gt->lock);
    /* The lowest page first, for the others to become free. */
    uint32_t nr = find_next_bit(gt->roomy, gt->max_maptrack, 0);
    if (nr == gt->max_maptrack) {
        for (nr = 0; nr < gt->max_maptrack && gt->maptrack[nr]; nr++) {
        }
        struct maptrack_page *new = nr < gt->max_maptrack ? hyp_alloc(sizeof(*new)) : NULL;
        if (!new) {
            return NO_HANDLE;
        }
        grant_maptrack_add(gt, nr, new);
    }
    struct maptrack_page *page = gt->maptrack[nr];
    uint32_t index = page->first_free;
    page->first_free = page->mapping[index].ref;
    if (++page->used == MAPPINGS_PER_PAGE) {
        clear_bit(nr, gt->roomy);
    }
    if (nr == gt->spare) {
        gt->spare = 0;
    }
    gt->free_handles--;
    return nr * HANDLES_PER_PAGE + index;
}

static void handle_free(struct grant_table *gt, uint32_t handle)
{
    SPIN_GUARD(&gt->lock);
    uint32_t nr = handle / HANDLES_PER_PAGE, index = handle % HANDLES_PER_PAGE;
    struct maptrack_page *page = gt->maptrack[nr];
    page->mapping[index] = (struct grant_mapping){.ref = page->first_free};
    page->first_free = index;
    page->used--;
    set_bit(nr, gt->roomy);
    gt->free_handles++;
    /* There is no other spare: two would have been more free handles than are kept. */
    if (nr && page->used == 0) {
        gt->spare = nr;
    }
    if (gt->spare && gt->free_handles >= FREE_HANDLES_MAX) {
        hyp_free(gt->maptrack[gt->spare]);
        gt->maptrack[gt->spare] = NULL;
        gt->free_handles -= MAPPINGS_PER_PAGE;
        clear_bit(gt->spare, gt->roomy);
        gt->spare = 0;
    }
}

/* Take a live mapping out of the hands of other vCPUs; NULL when there is none. */
static struct grant_mapping *mapping_claim(struct grant_table *gt, uint32_t handle)
{
    SPIN_GUARD(&gt->lock);
    uint64_t limit = gt->max_maptrack * HANDLES_PER_PAGE;
    /* SAFETY: tested, clamped for speculation. */
    uint32_t tested = (uint32_t)clamp_index(handle, limit);
    if (handle >= limit || tested % HANDLES_PER_PAGE == MAPPINGS_PER_PAGE ||
        !gt->maptrack[tested / HANDLES_PER_PAGE]) {
        return NULL;
    }
    struct grant_mapping *m = mapping(gt, tested);
    if (!__atomic_load_n(&m->live, __ATOMIC_ACQUIRE)) {
        return NULL;
    }
    m->live = false;
    return m;
}

/* Forget a mapping: handle, pin, references. */
static void mapping_release(struct grant_table *gt, uint32_t handle)
{
    const struct grant_mapping *m = mapping(gt, handle);
    struct grant_use use = {
        .ref = m->ref, .readonly = m->flags & GNTMAP_readonly, .granter = m->granter};
    grant_use_find(&use, use.granter->grant);
    use.frame = use.active->frame;
    handle_free(gt, handle);
    grant_unpin(&use);
}

/* ---- map ---- */

static int16_t map(const struct hypercall *hc, struct gnttab_map_grant_ref *op)
{
    struct grant_table *gt = hc->d->grant;
    struct grant_use use = {.ref = op->ref, .readonly = op->flags & GNTMAP_readonly};
    if (!(op->flags & MAP_KINDS)) {
        return GNTST_bad_gntref;
    }
    uint32_t handle = handle_alloc(gt);
    if (handle == NO_HANDLE) {
        return GNTST_no_space;
    }
    int16_t status = grant_pin(&use, op->dom, hc->d->id);
    if (status == GNTST_okay && (op->flags & GNTMAP_host_map)) {
        /* The three software bits an entry has below its address. */
        uint64_t avail = ((uint64_t)op->flags >> _GNTMAP_guest_avail0 << 9) & X86_PTE_AVAIL;
        if (pv_grant_map(hc->v, op->host_addr, op->flags & GNTMAP_contains_pte, use.frame,
                         !use.readonly, avail)) {
            grant_unpin(&use);
            status = GNTST_general_error;
        }
    }
    if (status != GNTST_okay) {
        handle_free(gt, handle);
        return status;
    }
    op->handle = handle;
    op->dev_bus_addr = frame_to_mfn(use.frame) << PAGE_SHIFT;
    struct grant_mapping *m = mapping(gt, handle);
    m->granter = use.granter;
    m->ref = use.ref;
    m->flags = op->flags & (MAP_KINDS | GNTMAP_readonly | GNTMAP_contains_pte);
    /* ORDER: from here on others may claim it. */
    __atomic_store_n(&m->live, true, __ATOMIC_RELEASE);
    return GNTST_okay;
}

long gnttabop_map_grant_ref(struct hypercall *hc, struct gnttab_map_grant_ref *arg)
{
    arg->status = map(hc, arg);
    return 0;
}

/* ---- unmap ---- */

void grant_unmap_finish(struct vcpu *v)
{
    if (v->unmapped_count) {
        arch_tlb_flush_mask(&v->domain->dirty_cpus, FLUSH_TLB, 0);
    }
    while (v->unmapped_count) {
        /* SAFETY: entry and TLBs are clean, so the granter may be told. */
        mapping_release(v->domain->grant, v->unmapped[--v->unmapped_count]);
    }
}

/* Undo what op names of a mapping this call has claimed, all of it or nothing. */
static int16_t unmap_claimed(const struct hypercall *hc, const struct gnttab_unmap_grant_ref *op,
                             struct grant_mapping *m)
{
    struct frame *f = grant_active(m->granter->grant, m->ref)->frame;
    unsigned undo = (op->host_addr ? m->flags & GNTMAP_host_map : 0) |
                    (op->dev_bus_addr ? m->flags & GNTMAP_device_map : 0);
    if ((undo & GNTMAP_device_map) && op->dev_bus_addr != frame_to_mfn(f) << PAGE_SHIFT) {
        return GNTST_bad_dev_addr;
    }
    if ((undo & GNTMAP_host_map) &&
        pv_grant_unmap(hc->v, op->host_addr, m->flags & GNTMAP_contains_pte, f,
                       !(m->flags & GNTMAP_readonly))) {
        return GNTST_general_error;
    }
    m->flags &= (uint16_t)~undo;
    return GNTST_okay;
}

long gnttabop_unmap_grant_ref(struct hypercall *hc, struct gnttab_unmap_grant_ref *arg)
{
    struct grant_table *gt = hc->d->grant;
    struct grant_mapping *m = mapping_claim(gt, arg->handle);
    if (!m) {
        arg->status = GNTST_bad_handle;
        return 0;
    }
    arg->status = unmap_claimed(hc, arg, m);
    if (m->flags & MAP_KINDS) {
        /* What is left of it keeps the handle out of the batch. */
        if (arg->status == GNTST_okay) {
            arch_tlb_flush_mask(&hc->d->dirty_cpus, FLUSH_TLB, 0);
        }
        __atomic_store_n(&m->live, true, __ATOMIC_RELEASE);
        return 0;
    }
    hc->v->unmapped[hc->v->unmapped_count++] = arg->handle;
    if (hc->v->unmapped_count == UNMAPPED_MAX) {
        grant_unmap_finish(hc->v);
    }
    return 0;
}

/* ---- death of the mapping domain ---- */

long grant_table_release_mappings(struct domain *d)
{
    struct grant_table *gt = d->grant;
    /* SAFETY: d is dying and none of its vCPUs is in a hypercall: its table is ours alone, and
     * every handle in use is live. Entries in its page tables go with these, and no CPU runs on
     * them any more. */
    while (gt->release_next < gt->max_maptrack * HANDLES_PER_PAGE) {
        uint32_t handle = gt->release_next++;
        if (!gt->maptrack[handle / HANDLES_PER_PAGE] ||
            handle % HANDLES_PER_PAGE == MAPPINGS_PER_PAGE) {
            gt->release_next = (handle / HANDLES_PER_PAGE + 1) * HANDLES_PER_PAGE;
            continue;
        }
        if (mapping(gt, handle)->live) {
            mapping_release(gt, handle);
        }
        if (hypercall_preempt_check()) {
            return -ERESTART;
        }
    }
    return 0;
}
