// SPDX-License-Identifier: MIT
/*
 * Grant tables as such: making, growing and freeing them, and what a domain asks of its table.
 *
 * Lock: the table's (RANK_DOM_GRANT).
 */
#include "core/grant_table.h"

#include "core/deferred.h"
#include "core/hypercall.h"
#include "core/subop.h"

/* ---- life of a table ---- */

int grant_table_create(struct domain *d, uint32_t max_frames, uint32_t max_maptrack)
{
    if (max_frames == 0) {
        return -EINVAL;
    }
    struct grant_table *gt = hyp_alloc(sizeof(*gt));
    if (!gt) {
        return -ENOMEM;
    }
    gt->lock = SPINLOCK_INIT(RANK_DOM_GRANT);
    gt->max_frames = MIN(max_frames, MAX_GRANT_FRAMES);
    gt->max_maptrack = MIN(max_maptrack, MAX_MAPTRACK_FRAMES);
    grant_maptrack_add(gt, 0, &gt->first);
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
    /* Each pin is owned by somebody with a reference of d, so there are none left; and without a
     * mapping of its own d has no maptrack page but the first. */
    for (uint32_t i = 0; i < gt->frame_count; i++) {
        frame_unshare(gt->frame[i]);
        hyp_free(gt->active[i]);
    }
    hyp_free(gt);
    d->grant = NULL;
}

int grant_table_grow(struct domain *d, uint32_t nr_frames)
{
    struct grant_table *gt = d->grant;
    if (nr_frames > gt->max_frames) {
        return -EINVAL;
    }
    SPIN_GUARD(&gt->lock);
    uint32_t count = gt->frame_count;
    for (; count < nr_frames; count++) {
        gt->active[count] = hyp_alloc(GRANTS_PER_FRAME * sizeof(struct grant_active));
        gt->frame[count] = gt->active[count] ? frame_alloc_hyp(0, 0) : NULL;
        if (!gt->frame[count]) {
            goto undo_frames;
        }
        if (count % 16 == 15) {
            irq_window(false);
        }
    }
    for (; gt->frame_count < count; gt->frame_count++) {
        frame_share(gt->frame[gt->frame_count], d);
    }
    return 0;

undo_frames:
    hyp_free(gt->active[count]);
    while (count-- > gt->frame_count) {
        frame_free_hyp(gt->frame[count], 0);
        hyp_free(gt->active[count]);
    }
    return -ENOMEM;
}

int grant_table_list(struct domain *d, uint32_t first, uint32_t count, vaddr_t list)
{
    int rc = grant_table_grow(d, first + count);
    for (uint32_t i = 0; i < count && rc == 0; i++) {
        /* SAFETY: below the table's size, which does not shrink; clamped for speculation. */
        uint64_t mfn = frame_to_mfn(d->grant->frame[clamp_index(first + i, MAX_GRANT_FRAMES)]);
        rc = guest_write_element(list, i, &mfn, sizeof(mfn));
    }
    return rc;
}

/* ---- operations on the table ---- */

/* ABI: whether there is such a domain comes before whether the caller may ask about its table. */
static long table_enter(struct hypercall *hc, domid_t id)
{
    long rc = subop_enter(hc, WHO_ANY, id);
    if (rc == 0 && hc->target != hc->d && !hc->d->privileged) {
        subop_leave(hc);
        rc = -EPERM;
    }
    return rc;
}

static int16_t status_of(long rc)
{
    return rc == 0         ? GNTST_okay
           : rc == -ESRCH  ? GNTST_bad_domain
           : rc == -EPERM  ? GNTST_permission_denied
           : rc == -EFAULT ? GNTST_bad_virt_addr
                           : GNTST_general_error;
}

long gnttabop_setup_table(struct hypercall *hc, struct gnttab_setup_table *arg)
{
    long rc = table_enter(hc, arg->dom);
    if (rc == 0) {
        rc = grant_table_list(hc->target, 0, arg->nr_frames, GUEST_ADDR(arg->frame_list));
        subop_leave(hc);
    }
    arg->status = status_of(rc);
    return 0;
}

long gnttabop_query_size(struct hypercall *hc, struct gnttab_query_size *arg)
{
    long rc = table_enter(hc, arg->dom);
    if (rc == 0) {
        arg->nr_frames = read_once(hc->target->grant->frame_count);
        arg->max_nr_frames = hc->target->grant->max_frames;
        subop_leave(hc);
    }
    arg->status = status_of(rc);
    return 0;
}

long gnttabop_set_version(struct hypercall *hc unused, struct gnttab_set_version *arg)
{
    /* ABI: refused like this, guests fall back from version 2 to 1. */
    return arg->version == 1 ? 0 : arg->version == 2 ? -ENOSYS : -EINVAL;
}

long gnttabop_get_version(struct hypercall *hc, struct gnttab_get_version *arg)
{
    long rc = table_enter(hc, arg->dom);
    if (rc == 0) {
        arg->version = 1;
        subop_leave(hc);
    }
    return rc;
}

static inline_always long dispatch(struct hypercall *hc)
{
    switch (hc->arg[0]) {
#include "pv-abi/ops/gnttab.def"
    }
    return -ENOSYS;
}

int grant_single(struct vcpu *v, const struct cpu_user_regs *regs)
{
    struct hypercall hc; /* clearing all of it would be a part of what this is to spare */
    hc.v = v;
    hc.d = v->domain;
    hc.arg[0] = regs->rdi;
    hc.arg[1] = regs->rsi;
    hc.arg[2] = 1;
    int rc = (int)dispatch(&hc);
    grant_unmap_finish(v);
    return rc;
}

long hc_grant_table_op(struct hypercall *hc)
{
    uint64_t op = hc->arg[0];
    hc->arg[2] = (uint32_t)hc->arg[2];
    /* ABI: operations on a table as such take one element at a time. */
    bool single = op == GNTTABOP_setup_table || op == GNTTABOP_query_size ||
                  op == GNTTABOP_set_version || op == GNTTABOP_get_version;
    if (hc->arg[2] > (single ? 1 : INT32_MAX)) {
        return -EINVAL;
    }
    long rc = dispatch(hc);
    grant_unmap_finish(hc->v);
    return rc;
}
