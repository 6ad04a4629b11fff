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

/* A frame of the caller becomes a use without a granter. */
static inline_always int16_t side_open(const struct hypercall *hc, const struct gnttab_copy_ptr *p,
                                       bool granted, struct grant_use *use)
{
    if (granted) {
        use->ref = p->u.ref;
        return grant_pin(use, p->domid, hc->d->id);
    }
    if (p->domid != DOMID_SELF && p->domid != hc->d->id) {
        return GNTST_permission_denied;
    }
    use->frame = frame_get_from_mfn(p->u.gmfn, hc->d);
    if (!use->frame) {
        return GNTST_bad_page;
    }
    if (!use->readonly && frame_get_writable(use->frame)) {
        frame_put(use->frame);
        return GNTST_permission_denied;
    }
    return GNTST_okay;
}

static inline_always void side_close(const struct grant_use *use)
{
    if (use->granter) {
        grant_unpin(use);
    } else if (use->readonly) {
        frame_put(use->frame);
    } else {
        frame_put_writable_and_ref(use->frame);
    }
}

static int16_t copy_one(const struct hypercall *hc, const struct gnttab_copy *op)
{
    if ((uint32_t)op->source.offset + op->len > PAGE_SIZE ||
        (uint32_t)op->dest.offset + op->len > PAGE_SIZE) {
        return GNTST_bad_copy_arg;
    }
    struct grant_use source = {.readonly = true}, dest = {.readonly = false};
    int16_t status = side_open(hc, &op->source, op->flags & GNTCOPY_source_gref, &source);
    if (status != GNTST_okay) {
        return status;
    }
    status = side_open(hc, &op->dest, op->flags & GNTCOPY_dest_gref, &dest);
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
