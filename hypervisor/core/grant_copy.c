// SPDX-License-Identifier: MIT
/*
 * Copying between frames: each side is a frame of the caller or a grant to the caller. A granted
 * side is pinned for the time of the copy, like a mapping; a written frame has a writable
 * reference, so no copy lands in a page table. Both sides are memory that guests change at the same
 * time: nothing read here is believed.
 */
#include "base/string.h"
#include "core/grant_table.h"
#include "core/hypercall.h"

struct copy_side {
    struct frame *frame;
    struct domain *granter; /* NULL: a frame of the caller */
    grant_ref_t ref;
    bool readonly;
};

static int16_t side_open_own(const struct hypercall *hc, const struct gnttab_copy_ptr *p,
                             struct copy_side *side)
{
    if (p->domid != DOMID_SELF && p->domid != hc->d->id) {
        return GNTST_permission_denied;
    }
    side->frame = frame_get_from_mfn(p->u.gmfn, hc->d);
    if (!side->frame) {
        return GNTST_bad_page;
    }
    if (!side->readonly && frame_get_writable(side->frame)) {
        frame_put(side->frame);
        return GNTST_permission_denied;
    }
    return GNTST_okay;
}

static int16_t side_open(const struct hypercall *hc, const struct gnttab_copy_ptr *p, bool granted,
                         bool readonly, struct copy_side *side)
{
    *side = (struct copy_side){.readonly = readonly};
    if (!granted) {
        return side_open_own(hc, p, side);
    }
    struct domain *granter = grant_domain_get(p->domid);
    if (!granter) {
        return GNTST_bad_domain;
    }
    int16_t status = grant_pin(granter, p->u.ref, hc->d->id, readonly, &side->frame);
    if (status != GNTST_okay) {
        domain_put(granter);
        return status;
    }
    side->granter = granter;
    side->ref = p->u.ref;
    return GNTST_okay;
}

static void side_close(const struct copy_side *side)
{
    if (side->granter) {
        grant_unpin(side->granter, side->ref, side->readonly);
        domain_put(side->granter);
    } else if (side->readonly) {
        frame_put(side->frame);
    } else {
        frame_put_writable_and_ref(side->frame);
    }
}

static int16_t copy_one(const struct hypercall *hc, const struct gnttab_copy *op)
{
    if ((uint32_t)op->source.offset + op->len > PAGE_SIZE ||
        (uint32_t)op->dest.offset + op->len > PAGE_SIZE) {
        return GNTST_bad_copy_arg;
    }
    struct copy_side source, dest;
    int16_t status = side_open(hc, &op->source, op->flags & GNTCOPY_source_gref, true, &source);
    if (status != GNTST_okay) {
        return status;
    }
    status = side_open(hc, &op->dest, op->flags & GNTCOPY_dest_gref, false, &dest);
    if (status == GNTST_okay) {
        const char *from = frame_to_virt(source.frame);
        char *to = frame_to_virt(dest.frame);
        /* The two may be one frame, and overlap. */
        memmove(to + op->dest.offset, from + op->source.offset, op->len);
        side_close(&dest);
    }
    side_close(&source);
    return status;
}

long gnttabop_copy(struct hypercall *hc, struct gnttab_copy *arg)
{
    arg->status = copy_one(hc, arg);
    return 0;
}
