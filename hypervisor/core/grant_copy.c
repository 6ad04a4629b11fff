// SPDX-License-Identifier: MIT
/*
 * Copying between frames: each side is a frame of the caller or a grant to the caller. A granted
 * side is pinned for the time of the copy, like a mapping; a written frame has a writable
 * reference, so no copy lands in a page table. Both sides are memory that guests change at the same
 * time: nothing read here is believed.
 */
#include "base/string.h"
#include "core/grant_pin.h"
#include "core/hypercall.h"

/* Of a frame of the caller a use has nothing but the frame. */
static inline_always int16_t side_open(const struct hypercall *hc, const struct gnttab_copy_ptr *p,
                                       bool granted, bool readonly, struct grant_use *use)
{
    if (granted) {
        use->ref = p->u.ref;
        use->readonly = readonly;
        return grant_pin(use, p->domid, hc->d->id);
    }
    if (p->domid != DOMID_SELF && p->domid != hc->d->id) {
        return GNTST_permission_denied;
    }
    struct frame *f = frame_get_from_mfn(p->u.gmfn, hc->d);
    if (!f) {
        return GNTST_bad_page;
    }
    if (!readonly && frame_get_writable(f)) {
        frame_put(f);
        return GNTST_permission_denied;
    }
    *use = (struct grant_use){.readonly = readonly, .frame = f};
    return GNTST_okay;
}

static inline_always void side_close(const struct grant_use *use, bool granted)
{
    if (granted) {
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
    bool from_grant = op->flags & GNTCOPY_source_gref, to_grant = op->flags & GNTCOPY_dest_gref;
    struct grant_use source, dest;
    int16_t status = side_open(hc, &op->source, from_grant, true, &source);
    if (status != GNTST_okay) {
        return status;
    }
    status = side_open(hc, &op->dest, to_grant, false, &dest);
    if (status == GNTST_okay) {
        const char *from = frame_to_virt(source.frame);
        char *to = frame_to_virt(dest.frame);
        /* The two may be one frame, and overlap. */
        memmove(to + op->dest.offset, from + op->source.offset, op->len);
        side_close(&dest, to_grant);
    }
    side_close(&source, from_grant);
    return status;
}

long gnttabop_copy(struct hypercall *hc, struct gnttab_copy *arg)
{
    arg->status = copy_one(hc, arg);
    return 0;
}
