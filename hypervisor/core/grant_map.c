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
#include "base/checked.h"
#include "core/frame_alloc.h"
#include "core/grant_private.h"
#include "core/hooks.h"
#include "core/hypercall.h"

#define RELEASE_BATCH 64

/* The caller has tested that the handle exists. */
static struct grant_mapping *mapping(const struct grant_table *gt, uint32_t handle)
{
    return &gt->maptrack[handle / MAPPINGS_PER_PAGE][handle % MAPPINGS_PER_PAGE];
}

/* ---- handles ---- */

static bool maptrack_grow_locked(struct grant_table *gt)
{
    if (gt->maptrack_count == gt->max_maptrack) {
        return false;
    }
    struct grant_mapping *page = hyp_alloc(PAGE_SIZE);
    if (!page) {
        return false;
    }
    uint32_t first = gt->maptrack_count * (uint32_t)MAPPINGS_PER_PAGE;
    for (uint32_t i = 0; i < MAPPINGS_PER_PAGE; i++) {
        page[i].ref = i + 1 < MAPPINGS_PER_PAGE ? first + i + 1 : gt->free_handle;
    }
    gt->maptrack[gt->maptrack_count++] = page;
    gt->free_handle = first;
    return true;
}

static uint32_t handle_alloc(struct domain *d)
{
    struct grant_table *gt = d->grant;
    uint32_t handle = NO_HANDLE;
    spin_lock(&gt->lock);
    if (gt->free_handle != NO_HANDLE || maptrack_grow_locked(gt)) {
        handle = gt->free_handle;
        struct grant_mapping *m = mapping(gt, handle);
        gt->free_handle = m->ref;
        m->state = MAPPING_CHANGING;
        m->flags = 0;
        m->granter = NULL;
    }
    spin_unlock(&gt->lock);
    return handle;
}

static void handle_free(struct domain *d, uint32_t handle)
{
    struct grant_table *gt = d->grant;
    spin_lock(&gt->lock);
    struct grant_mapping *m = mapping(gt, handle);
    m->state = MAPPING_FREE;
    m->granter = NULL;
    m->ref = gt->free_handle;
    gt->free_handle = handle;
    spin_unlock(&gt->lock);
}

static void mapping_set_state(struct domain *d, struct grant_mapping *m, uint16_t state)
{
    spin_lock(&d->grant->lock);
    m->state = state;
    spin_unlock(&d->grant->lock);
}

/* Take a LIVE mapping out of the hands of other vCPUs; NULL when there is none. */
static struct grant_mapping *mapping_claim(struct domain *d, uint32_t handle)
{
    struct grant_table *gt = d->grant;
    struct grant_mapping *m = NULL;
    spin_lock(&gt->lock);
    uint64_t limit = gt->maptrack_count * MAPPINGS_PER_PAGE;
    if (handle < limit) {
        /* SAFETY: tested, clamped for speculation. */
        m = mapping(gt, (uint32_t)clamp_index(handle, limit));
        if (m->state == MAPPING_LIVE) {
            m->state = MAPPING_CHANGING;
        } else {
            m = NULL;
        }
    }
    spin_unlock(&gt->lock);
    return m;
}

void grant_map_release(struct domain *d, uint32_t handle)
{
    const struct grant_mapping *m = mapping(d->grant, handle);
    struct domain *granter = m->granter;
    grant_ref_t ref = m->ref;
    bool readonly = m->flags & GNTMAP_readonly;
    handle_free(d, handle);
    grant_unpin(granter, ref, readonly);
    domain_put(granter);
}

/* ---- map ---- */

static int16_t map_pinned(const struct hypercall *hc, struct gnttab_map_grant_ref *op,
                          struct domain *granter, uint32_t handle)
{
    bool readonly = op->flags & GNTMAP_readonly;
    struct frame *f;
    int16_t status = grant_pin(granter, op->ref, hc->d->id, readonly, &f);
    if (status != GNTST_okay) {
        return status;
    }
    if (op->flags & GNTMAP_host_map) {
        /* The three software bits an entry has below its address. */
        uint64_t avail = ((uint64_t)op->flags >> _GNTMAP_guest_avail0 << 9) & X86_PTE_AVAIL;
        if (pv_grant_map(hc->v, op->host_addr, op->flags & GNTMAP_contains_pte, frame_to_mfn(f),
                         !readonly, avail)) {
            grant_unpin(granter, op->ref, readonly);
            return GNTST_general_error;
        }
    }
    struct grant_table *gt = hc->d->grant;
    spin_lock(&gt->lock);
    struct grant_mapping *m = mapping(gt, handle);
    domain_get_held(granter);
    m->granter = granter;
    m->ref = op->ref;
    m->flags =
        op->flags & (GNTMAP_host_map | GNTMAP_device_map | GNTMAP_readonly | GNTMAP_contains_pte);
    m->state = MAPPING_LIVE;
    spin_unlock(&gt->lock);
    op->handle = handle;
    op->dev_bus_addr = frame_to_mfn(f) << PAGE_SHIFT;
    return GNTST_okay;
}

long gnttabop_map_grant_ref(struct hypercall *hc, struct gnttab_map_grant_ref *arg)
{
    if (!(arg->flags & (GNTMAP_host_map | GNTMAP_device_map))) {
        arg->status = GNTST_bad_gntref;
        return 0;
    }
    struct domain *granter = grant_domain_get(arg->dom);
    if (!granter) {
        arg->status = GNTST_bad_domain;
        return 0;
    }
    uint32_t handle = handle_alloc(hc->d);
    if (handle == NO_HANDLE) {
        arg->status = GNTST_no_space;
    } else {
        arg->status = map_pinned(hc, arg, granter, handle);
        if (arg->status != GNTST_okay) {
            handle_free(hc->d, handle);
        }
    }
    domain_put(granter);
    return 0;
}

/* ---- unmap ---- */

/* Undo what op names of a mapping this call has claimed; *left gets the kinds that remain. */
static int16_t unmap_claimed(const struct hypercall *hc, const struct gnttab_unmap_grant_ref *op,
                             const struct grant_mapping *m, uint16_t *left)
{
    mfn_t mfn = frame_to_mfn(grant_pinned_frame(m->granter, m->ref));
    *left = m->flags & (GNTMAP_host_map | GNTMAP_device_map);
    if (op->dev_bus_addr && (m->flags & GNTMAP_device_map)) {
        if (op->dev_bus_addr != mfn << PAGE_SHIFT) {
            return GNTST_bad_dev_addr;
        }
        *left &= (uint16_t)~GNTMAP_device_map;
    }
    if (op->host_addr && (m->flags & GNTMAP_host_map)) {
        if (pv_grant_unmap(hc->v, op->host_addr, m->flags & GNTMAP_contains_pte, mfn,
                           !(m->flags & GNTMAP_readonly))) {
            *left = m->flags & (GNTMAP_host_map | GNTMAP_device_map);
            return GNTST_general_error;
        }
        *left &= (uint16_t)~GNTMAP_host_map;
    }
    return GNTST_okay;
}

long gnttabop_unmap_grant_ref(struct hypercall *hc, struct gnttab_unmap_grant_ref *arg)
{
    struct grant_mapping *m = mapping_claim(hc->d, arg->handle);
    if (!m) {
        arg->status = GNTST_bad_handle;
        return 0;
    }
    uint16_t left;
    arg->status = unmap_claimed(hc, arg, m, &left);
    if (left) {
        m->flags = (uint16_t)((m->flags & ~(GNTMAP_host_map | GNTMAP_device_map)) | left);
        mapping_set_state(hc->d, m, MAPPING_LIVE);
    } else {
        /* SAFETY: entry and TLBs are clean, so the granter may be told. */
        grant_map_release(hc->d, arg->handle);
    }
    return 0;
}

/* ---- death of the mapping domain ---- */

long grant_table_release_mappings(struct domain *d)
{
    struct grant_table *gt = d->grant;
    if (!gt) {
        return 0;
    }
    /* SAFETY: d is dying and none of its vCPUs is in a hypercall: its table is ours alone. Entries
     * in its page tables go with these, and no CPU runs on them any more. */
    uint32_t limit = gt->maptrack_count * (uint32_t)MAPPINGS_PER_PAGE;
    while (gt->release_next < limit) {
        uint32_t handle = gt->release_next++;
        if (mapping(gt, handle)->state == MAPPING_LIVE) {
            grant_map_release(d, handle);
        }
        if (gt->release_next % RELEASE_BATCH == 0 && hypercall_preempt_check()) {
            return -ERESTART;
        }
    }
    return 0;
}
