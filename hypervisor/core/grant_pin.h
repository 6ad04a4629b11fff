// SPDX-License-Identifier: MIT
/*
 * The life of one active entry, which mapping and copying share: a pin is one use of a grant.
 *
 * The shared entry belongs to the granter, who may scribble on it at any time. While a reference
 * has pins, the hypervisor believes only its own active entry; the shared one is read when the
 * first pin is taken, once, and otherwise only has its status bits set and cleared.
 *
 *   no pins  --pin: entry says permit_access to this domain; GTF_reading (_writing) set-->  pinned
 *   pinned   --last writer leaves: GTF_writing cleared; last pin leaves: both cleared-->    no pins
 *
 * Inline, because a copy of few bytes is little else: where `readonly` is known half of it goes.
 * Lock: the granter's table (RANK_DOM_GRANT), within each of the two.
 */
#pragma once

#include "core/grant_table.h"

#define STATUS_TRIES 16

/* One use of a grant: the caller sets ref and readonly, grant_pin() the rest. */
struct grant_use {
    grant_ref_t ref;
    bool readonly;
    struct domain *granter;      /* referenced */
    struct frame *frame;         /* a general reference and, unless readonly, a writable one */
    struct grant_active *active; /* of ref; neither this nor the next moves while it is pinned */
    grant_entry_v1_t *entry;
};

/* Find the entries of a reference below the size of `gt`, the granter's table. */
static inline void grant_use_find(struct grant_use *use, const struct grant_table *gt)
{
    grant_entry_v1_t *table = frame_to_virt(gt->frame[use->ref / GRANTS_PER_FRAME]);
    use->entry = &table[use->ref % GRANTS_PER_FRAME];
    use->active = grant_active(gt, use->ref);
}

/* Check that the entry allows the use and mark it as used, in one atomic step on its flags and
 * domain. The granter can make the step fail by writing at the same time, so tries are limited. */
static inline must_check bool grant_status_set(const struct grant_use *use, domid_t grantee)
{
    uint32_t *word = (uint32_t *)use->entry;
    uint32_t cared = 0xffff0000U | GTF_type_mask | (use->readonly ? 0 : GTF_readonly);
    uint32_t mark = GTF_reading | (use->readonly ? 0 : GTF_writing);
    uint32_t old = __atomic_load_n(word, __ATOMIC_SEQ_CST);
    for (unsigned tries = 0; tries < STATUS_TRIES; tries++) {
        if ((old & cared) != ((uint32_t)grantee << 16 | GTF_permit_access)) {
            return false;
        }
        if (__atomic_compare_exchange_n(word, &old, old | mark, false, __ATOMIC_SEQ_CST,
                                        __ATOMIC_SEQ_CST)) {
            return true;
        }
    }
    return false;
}

/* Take back the status bits that the pins left do not justify. */
static inline void grant_status_clear(const struct grant_use *use)
{
    if (!use->active->readers && !use->active->writers) {
        __atomic_fetch_and(&use->entry->flags, (uint16_t) ~(GTF_writing | GTF_reading),
                           __ATOMIC_SEQ_CST);
    } else if (!use->active->writers) {
        __atomic_fetch_and(&use->entry->flags, (uint16_t)~GTF_writing, __ATOMIC_SEQ_CST);
    }
}

static inline uint16_t *grant_pins(const struct grant_use *use)
{
    return use->readonly ? &use->active->readers : &use->active->writers;
}

static inline_always must_check int16_t grant_pin_alive(struct grant_use *use, domid_t grantee)
{
    struct grant_table *gt = use->granter->grant;
    SPIN_GUARD(&gt->lock);
    uint64_t limit = gt->frame_count * GRANTS_PER_FRAME;
    if (use->ref >= limit) {
        return GNTST_bad_gntref;
    }
    /* SAFETY: tested against the present size, clamped for speculation. */
    use->ref = (grant_ref_t)clamp_index(use->ref, limit);
    grant_use_find(use, gt);
    struct grant_active *active = use->active;
    bool pinned = active->readers || active->writers;
    if (pinned && active->grantee != grantee) {
        return GNTST_general_error;
    }
    if (*grant_pins(use) == UINT16_MAX) {
        return GNTST_no_space;
    }
    if ((!pinned || (!use->readonly && !active->writers)) && !grant_status_set(use, grantee)) {
        return GNTST_general_error;
    }
    struct frame *f = frame_get_from_mfn(
        pinned ? frame_to_mfn(active->frame) : read_once(use->entry->frame), use->granter);
    if (!f || (!use->readonly && frame_get_writable(f))) {
        grant_status_clear(use);
        if (f) {
            frame_put(f);
        }
        return f ? GNTST_general_error : GNTST_bad_page;
    }
    use->frame = active->frame = f;
    active->grantee = grantee;
    ++*grant_pins(use);
    return GNTST_okay;
}

/* Start one use by domain `grantee` of a grant of the domain a guest names `granter`: marks the
 * shared entry and adds a pin. Returns a GNTST value. */
static inline_always must_check int16_t grant_pin(struct grant_use *use, domid_t granter,
                                                  domid_t grantee)
{
    use->granter = domain_get(granter);
    if (!use->granter) {
        return GNTST_bad_domain;
    }
    /* A dying domain's frames are on their way out; whoever comes just before keeps what it has. */
    bool alive = read_once(use->granter->state) == DOM_ALIVE;
    int16_t status = alive ? grant_pin_alive(use, grantee) : GNTST_bad_domain;
    if (status != GNTST_okay) {
        domain_put(use->granter);
    }
    return status;
}

/* End that use: the reverse of all of it. */
static inline_always void grant_unpin(const struct grant_use *use)
{
    struct grant_table *gt = use->granter->grant;
    spin_lock(&gt->lock);
    BUG_ON(*grant_pins(use) == 0);
    --*grant_pins(use);
    grant_status_clear(use);
    spin_unlock(&gt->lock);
    if (!use->readonly) {
        frame_put_writable(use->frame);
    }
    frame_put(use->frame);
    domain_put(use->granter);
}
