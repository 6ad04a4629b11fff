// SPDX-License-Identifier: MIT
/*
 * vCPUs: creation and release, runstate, the areas a guest registers, VCPUOP_*. All vCPUs of a
 * domain are made with it and live as long as it does; "down" is only a reason not to run.
 *
 * Locks: none of its own. runstate is under the run-queue lock; context_busy keeps two callers from
 * giving registers to one vCPU at once.
 */
#include "base/bitmap.h"
#include "base/string.h"
#include "core/domain.h"
#include "core/frame_alloc.h"
#include "core/guest_access.h"
#include "core/hooks.h"
#include "core/hypercall.h"
#include "core/sched.h"
#include "core/time.h"

#define PERIOD_MIN_NS NS_PER_MS
#define PERIOD_MAX_NS (3600 * NS_PER_SEC)

static struct vcpu *idle_vcpus[MAX_PCPUS];

/* ---- life ---- */

static struct vcpu *vcpu_alloc(struct domain *d, unsigned id)
{
    struct vcpu *v = hyp_alloc(sizeof(*v));
    if (v) {
        v->domain = d;
        v->id = id;
    }
    return v;
}

static void timer_fired(void *arg)
{
    struct vcpu *v = arg;
    evtchn_send_virq(v, VIRQ_TIMER);
}

static void periodic_fired(void *arg)
{
    struct vcpu *v = arg;
    ns_t period = read_once(v->periodic_period), now = arch_now_ns();
    if (period) {
        /* Ticks that were missed are not made up for. */
        ns_t missed = (now - v->periodic.deadline) / period;
        timer_set(&v->periodic, v->periodic.deadline + (missed + 1) * period);
    }
    evtchn_send_virq(v, VIRQ_TIMER);
}

int vcpu_create(struct domain *d, unsigned id)
{
    struct vcpu *v = vcpu_alloc(d, id);
    if (!v) {
        return -ENOMEM;
    }
    int rc = pv_vcpu_init(v);
    if (rc) {
        hyp_free(v);
        return rc;
    }
    sched_vcpu_init(v);
    timer_init(&v->singleshot, timer_fired, v, v->sched.pcpu);
    timer_init(&v->periodic, periodic_fired, v, v->sched.pcpu);
    timer_init(&v->poll_timer, sched_op_poll_timeout, v, v->sched.pcpu);
    if (id < ARRAY_SIZE(d->shared_info->vcpu_info)) {
        v->info = &d->shared_info->vcpu_info[id];
        v->info->evtchn_upcall_mask = 1;
        time_vcpu_update(v);
    }
    d->vcpu[id] = v;
    return 0;
}

void vcpu_stop_timers(struct vcpu *v)
{
    write_once(v->periodic_period, 0);
    timer_stop(&v->singleshot);
    timer_stop(&v->periodic);
    timer_stop(&v->poll_timer);
}

void vcpu_free(struct vcpu *v)
{
    vcpu_stop_timers(v);
    sched_vcpu_destroy(v);
    pv_vcpu_free(v);
    hyp_free(v);
}

struct vcpu *vcpu_idle_create(unsigned cpu)
{
    if (!idle_vcpus[cpu]) {
        struct vcpu *v = vcpu_alloc(dom_idle, cpu);
        if (!v) {
            panic("no memory for the idle vCPU of CPU %u", cpu);
        }
        idle_vcpus[cpu] = v;
    }
    return idle_vcpus[cpu];
}

struct vcpu *vcpu_idle(unsigned cpu)
{
    return idle_vcpus[cpu];
}

/* ---- runstate ---- */

void vcpu_runstate_change(struct vcpu *v, int new_state, ns_t now)
{
    vcpu_runstate_info_t *r = &v->runstate;
    if (r->state == new_state) {
        return;
    }
    if ((uint64_t)now > r->state_entry_time) {
        r->time[r->state] += (uint64_t)now - r->state_entry_time;
    }
    r->state = new_state;
    r->state_entry_time = (uint64_t)now;
}

/* Write a copy to the guest. With the assist a reader sees XEN_RUNSTATE_UPDATE while it is torn. */
static int write_runstate(const struct domain *d, vaddr_t va, vcpu_runstate_info_t *copy)
{
    const size_t entry = offsetof(vcpu_runstate_info_t, state_entry_time);
    bool flag = read_once(d->pv.vm_assist) & (1u << VMASST_TYPE_runstate_update_flag);
    if (flag) {
        copy->state_entry_time |= XEN_RUNSTATE_UPDATE;
        if (guest_write(va + entry, &copy->state_entry_time, sizeof(copy->state_entry_time))) {
            return -EFAULT;
        }
        smp_wmb();
    }
    int rc = guest_write(va, copy, sizeof(*copy));
    if (flag && rc == 0) {
        smp_wmb();
        copy->state_entry_time &= ~XEN_RUNSTATE_UPDATE;
        rc = guest_write(va + entry, &copy->state_entry_time, sizeof(copy->state_entry_time));
    }
    return rc;
}

void vcpu_runstate_update_area(struct vcpu *v)
{
    if (v->runstate_va) {
        vcpu_runstate_info_t copy;
        sched_get_runstate(v, &copy);
        /* The guest may have unmapped it: then there is nothing to update. */
        (void)write_runstate(v->domain, v->runstate_va, &copy);
    }
}

/* ---- vcpu_info ---- */

int vcpu_register_info(struct vcpu *v, mfn_t mfn, uint32_t offset)
{
    struct domain *d = v->domain;
    if (offset > PAGE_SIZE - sizeof(vcpu_info_t) || offset % _Alignof(vcpu_info_t)) {
        return -ENXIO;
    }
    if (v->info_frame || (v != current_vcpu() && !(read_once(v->sched.pause_bits) & PAUSE_DOWN))) {
        return -EINVAL;
    }
    struct frame *f = frame_get_writable_mfn(mfn, d);
    if (!f) {
        return -EINVAL;
    }
    /* Two vCPUs of the guest may do this for a third at the same time. */
    struct frame *none = NULL;
    if (!__atomic_compare_exchange_n(&v->info_frame, &none, f, false, __ATOMIC_SEQ_CST,
                                     __ATOMIC_SEQ_CST)) {
        frame_put_writable_and_ref(f);
        return -EINVAL;
    }
    vcpu_info_t *info = (vcpu_info_t *)((char *)frame_to_virt(f) + offset);
    if (v->info) {
        memcpy(info, v->info, sizeof(*info));
    } else {
        memset(info, 0, sizeof(*info));
        info->evtchn_upcall_mask = 1;
    }
    /* ORDER: the new place is complete before others find it. */
    __atomic_store_n(&v->info, info, __ATOMIC_SEQ_CST);
    time_vcpu_update(v);
    evtchn_bits_resync(v);
    return 0;
}

void vcpu_unregister_info(struct vcpu *v)
{
    struct frame *f = v->info_frame;
    write_once(v->info, NULL);
    v->info_frame = NULL;
    if (f) {
        frame_put_writable_and_ref(f);
    }
}

/* ---- registers ---- */

long vcpu_set_context(struct vcpu *v, vaddr_t context, bool again)
{
    struct vcpu_guest_context *c = hyp_alloc(sizeof(*c)); /* too large for the stack */
    if (!c) {
        return -ENOMEM;
    }
    long rc = guest_read(c, context, sizeof(*c));
    if (rc == 0 && __atomic_exchange_n(&v->context_busy, true, __ATOMIC_ACQUIRE)) {
        rc = -EBUSY;
    } else if (rc == 0) {
        rc = v->initialised && !again ? -EEXIST : pv_context_set(v, c);
        if (rc == 0 && again) {
            (c->flags & VGCF_online ? sched_resume : sched_pause)(v, PAUSE_DOWN);
        }
        __atomic_store_n(&v->context_busy, false, __ATOMIC_RELEASE);
    }
    hyp_free(c);
    return rc;
}

/* ---- VCPUOP_* ---- */

long vcpuop_initialise(struct hypercall *hc, struct vcpu *v)
{
    return v->info ? vcpu_set_context(v, hc->arg[2], false) : -EINVAL;
}

long vcpuop_up(struct hypercall *hc unused, struct vcpu *v)
{
    if (!read_once(v->initialised)) {
        return -EINVAL;
    }
    sched_resume(v, PAUSE_DOWN);
    return 0;
}

long vcpuop_down(struct hypercall *hc, struct vcpu *v)
{
    struct domain *d = hc->d;
    bool last = true;
    for (unsigned i = 0; i < d->max_vcpus; i++) {
        const struct vcpu *other = d->vcpu[i];
        if (other != v && !(read_once(other->sched.pause_bits) & PAUSE_DOWN)) {
            last = false;
        }
    }
    /* ABI: without any vCPU the domain is as good as switched off. */
    if (last) {
        domain_shutdown(d, SHUTDOWN_poweroff);
    } else {
        sched_pause(v, PAUSE_DOWN);
    }
    return 0;
}

long vcpuop_is_up(struct hypercall *hc unused, struct vcpu *v)
{
    return !(read_once(v->sched.pause_bits) & PAUSE_DOWN);
}

long vcpuop_get_runstate_info(struct hypercall *hc, struct vcpu *v)
{
    vcpu_runstate_info_t copy;
    sched_get_runstate(v, &copy);
    return guest_write(hc->arg[2], &copy, sizeof(copy));
}

long vcpuop_register_runstate(struct hypercall *hc, struct vcpu *v,
                              struct vcpu_register_runstate_memory_area *arg)
{
    vaddr_t va = arg->addr.p;
    if (va) {
        vcpu_runstate_info_t copy;
        sched_get_runstate(v, &copy);
        int rc = write_runstate(hc->d, va, &copy);
        if (rc) {
            return rc;
        }
    }
    write_once(v->runstate_va, va);
    return 0;
}

long vcpuop_set_periodic_timer(struct hypercall *hc unused, struct vcpu *v,
                               struct vcpu_set_periodic_timer *arg)
{
    if (arg->period_ns < PERIOD_MIN_NS || arg->period_ns > PERIOD_MAX_NS) {
        return -EINVAL;
    }
    write_once(v->periodic_period, (ns_t)arg->period_ns);
    timer_set(&v->periodic, arch_now_ns() + (ns_t)arg->period_ns);
    return 0;
}

long vcpuop_stop_periodic_timer(struct hypercall *hc unused, struct vcpu *v)
{
    write_once(v->periodic_period, 0);
    timer_stop(&v->periodic);
    return 0;
}

long vcpuop_set_singleshot_timer(struct hypercall *hc, struct vcpu *v,
                                 struct vcpu_set_singleshot_timer *arg)
{
    if (v != hc->v) {
        return -EINVAL;
    }
    /* Beyond the clock's range means never. */
    ns_t deadline = (ns_t)MIN(arg->timeout_abs_ns, (uint64_t)INT64_MAX);
    if ((arg->flags & VCPU_SSHOTTMR_future) && deadline < arch_now_ns()) {
        return -ETIME;
    }
    timer_migrate(&v->singleshot, arch_cpu_id());
    timer_set(&v->singleshot, deadline);
    return 0;
}

long vcpuop_stop_singleshot_timer(struct hypercall *hc, struct vcpu *v)
{
    if (v != hc->v) {
        return -EINVAL;
    }
    timer_stop(&v->singleshot);
    return 0;
}

long vcpuop_register_vcpu_info(struct hypercall *hc unused, struct vcpu *v,
                               struct vcpu_register_vcpu_info *arg)
{
    return vcpu_register_info(v, arg->mfn, arg->offset);
}

long vcpuop_send_nmi(struct hypercall *hc unused, struct vcpu *v)
{
    pv_nmi_raise(v);
    return 0;
}

long hc_vcpu_op(struct hypercall *hc)
{
    struct vcpu *v = domain_vcpu(hc->d, hc->arg[1]);
    if (!v) {
        return -ENOENT;
    }
    switch ((uint32_t)hc->arg[0]) {
#define VOP(nr, name, type, handler, doc)                                                          \
    case nr: {                                                                                     \
        type arg;                                                                                  \
        long rc = guest_read(&arg, hc->arg[2], sizeof(arg));                                       \
        return rc ? rc : handler(hc, v, &arg);                                                     \
    }
#define VOP_VOID(nr, name, handler, doc)                                                           \
    case nr:                                                                                       \
        return handler(hc, v);
#include "pv-abi/ops/vcpu.def"
#undef VOP
#undef VOP_VOID
    default:
        return -ENOSYS;
    }
}
