// SPDX-License-Identifier: MIT
/*
 * The pending, mask and selector words of 2-level event channels, in the page and in the vcpu_info
 * shared with the guest: every access to them by the hypervisor is here. The guest changes them at
 * the same time, so all changes are atomic and nothing read is trusted. No lock.
 *
 * A pending bit leads to a callback by three steps: its bit in evtchn_pending, the bit of its word
 * in the vCPU's evtchn_pending_sel, and the vCPU's evtchn_upcall_pending. Each step is only taken
 * by who did the one before; the guest undoes them in the opposite order.
 */
#include "base/bitmap.h"
#include "core/domain.h"
#include "core/evtchn.h"
#include "core/sched.h"

static void notify(struct vcpu *v)
{
    vcpu_info_t *info = read_once(v->info);
    if (!info) {
        return; /* found by evtchn_bits_resync() when there is one */
    }
    __atomic_store_n(&info->evtchn_upcall_pending, 1, __ATOMIC_SEQ_CST);
    /* ORDER: the store above comes before the look at the mask (here) and at the vCPU's state (in
     * sched_wake); a vCPU that unmasks or blocks writes first and looks at `pending` after. One of
     * the two sees the other. */
    if (!read_once(info->evtchn_upcall_mask)) {
        sched_wake(v);
    }
}

static void select_word(struct vcpu *v, uint32_t port)
{
    vcpu_info_t *info = read_once(v->info);
    if (info && !test_and_set_bit(port / 64, &info->evtchn_pending_sel)) {
        notify(v);
    }
}

static noinline long tell(struct domain *d, uint32_t port, const uint16_t *vcpu)
{
    if (!test_bit(port, d->shared_info->evtchn_mask)) {
        /* ORDER: read behind the atomic operation below; see evtchn_bits_rebound(). */
        select_word(d->vcpu[read_once(*vcpu)], port);
    }
    sched_op_wake_pollers(d, port);
    return 1;
}

long evtchn_bits_raise(struct domain *d, uint32_t port, const uint16_t *vcpu)
{
    if (test_and_set_bit(port, d->shared_info->evtchn_pending)) {
        return 0;
    }
    /* ABI: polling sees masked ports too. */
    bool quiet = test_bit(port, d->shared_info->evtchn_mask) &&
                 find_next_bit(d->pollers, MAX_VCPUS, 0) == MAX_VCPUS;
    return quiet ? 0 : tell(d, port, vcpu);
}

void evtchn_bits_unmask(struct vcpu *v, uint32_t port)
{
    struct domain *d = v->domain;
    if (test_and_clear_bit(port, d->shared_info->evtchn_mask) &&
        test_bit(port, d->shared_info->evtchn_pending)) {
        select_word(v, port);
    }
}

void evtchn_bits_rebound(struct vcpu *v, uint32_t port)
{
    const struct domain *d = v->domain;
    /* ORDER: the port's vCPU was changed before this look; a sender sets the bit before it reads
     * the vCPU. One of the two notifies the new one: the old one ignores ports that are not its
     * own, and the event would be lost for good. */
    smp_mb();
    if (test_bit(port, d->shared_info->evtchn_pending) &&
        !test_bit(port, d->shared_info->evtchn_mask)) {
        select_word(v, port);
    }
}

void evtchn_bits_clear(struct domain *d, uint32_t port)
{
    clear_bit(port, d->shared_info->evtchn_pending);
}

void evtchn_bits_resync(struct vcpu *v)
{
    /* ORDER: v->info has been changed before; whoever set a pending bit and still used the old
     * vcpu_info did so before this barrier, so the guest's scan of all words finds the bit. */
    smp_mb();
    __atomic_store_n(&v->info->evtchn_pending_sel, ~0UL, __ATOMIC_SEQ_CST);
    notify(v);
}

bool evtchn_is_pending(const struct domain *d, uint32_t port)
{
    return port < MAX_EVTCHNS && test_bit(port, d->shared_info->evtchn_pending);
}

bool evtchn_is_masked(const struct domain *d, uint32_t port)
{
    return port < MAX_EVTCHNS && test_bit(port, d->shared_info->evtchn_mask);
}
