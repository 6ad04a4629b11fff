// SPDX-License-Identifier: MIT
/*
 * vCPUs: creation and release, runstate, the areas a guest registers, VCPUOP_*. All vCPUs of a
 * domain are made with it and live as long as it does; "down" is only a reason not to run.
 *
 * Locks: none of its own. runstate is under the run-queue lock; context_busy keeps two callers from
 * giving registers to one vCPU at once.
 */
#include "core/domain.h"
#include "core/guest_access.h"
#include "core/hooks.h"
#include "core/hypercall.h"
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

static void timer_fired(void *vcpu)
{
    evtchn_send_virq(vcpu, VIRQ_TIMER);
}

static void periodic_fired(void *vcpu)
{
    struct vcpu *v = vcpu;
    ns_t period = read_once(v->periodic_period), now = arch_now_ns();
    if (period) {
        /* Ticks that were missed are not made up for. */
        ns_t missed = (now - v->periodic.deadline) / period;
        timer_set(&v->periodic, v->periodic.deadline + (missed + 1) * period);
    }
    timer_fired(v);
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
    idle_vcpus[cpu] = idle_vcpus[cpu] ?: vcpu_alloc(dom_idle, cpu);
    if (!idle_vcpus[cpu]) {
        panic("no memory for the idle vCPU of CPU %u", cpu);
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
    /* Another pcpu's clock may be some ns behind: the times add up to the entry time, always. */
    uint64_t entered = MAX((uint64_t)now, r->state_entry_time);
    r->time[r->state] += entered - r->state_entry_time;
    r->state = new_state;
    r->state_entry_time = entered;
}

/* Write it to the guest. With the assist a reader sees XEN_RUNSTATE_UPDATE while it is torn. */
static int write_runstate(const struct vcpu *v, vaddr_t va)
{
    vcpu_runstate_info_t copy;
    const size_t bytes = sizeof(copy.state_entry_time);
    vaddr_t entry_va = va + offsetof(vcpu_runstate_info_t, state_entry_time);
    bool flag = read_once(v->domain->pv.vm_assist) & (1u << VMASST_TYPE_runstate_update_flag);
    if (v == current_vcpu()) {
        /* ABI: the present state's time is not in it yet. Its reader adds what has passed since. */
        copy = v->runstate;
    } else {
        sched_get_runstate(v, &copy);
    }
    copy.state_entry_time |= flag ? XEN_RUNSTATE_UPDATE : 0;
    if (flag && guest_write(entry_va, &copy.state_entry_time, bytes)) {
        return -EFAULT;
    }
    smp_wmb();
    int rc = guest_write(va, &copy, sizeof(copy));
    smp_wmb();
    copy.state_entry_time &= ~XEN_RUNSTATE_UPDATE;
    return rc || !flag ? rc : guest_write(entry_va, &copy.state_entry_time, bytes);
}

void vcpu_runstate_update_area(struct vcpu *v)
{
    if (v->runstate_va) {
        /* The guest may have unmapped it: then there is nothing to update. */
        (void)write_runstate(v, v->runstate_va);
    }
}

/* ---- vcpu_info ---- */

long vcpuop_register_vcpu_info(struct vcpu *v, struct vcpu_register_vcpu_info *arg)
{
    if (arg->offset > PAGE_SIZE - sizeof(vcpu_info_t) || arg->offset % _Alignof(vcpu_info_t)) {
        return -ENXIO;
    }
    if (v != current_vcpu() && !(read_once(v->sched.pause_bits) & PAUSE_DOWN)) {
        return -EINVAL;
    }
    struct frame *f = frame_get_writable_mfn(arg->mfn, v->domain);
    if (!f) {
        return -EINVAL;
    }
    /* Once only, and two vCPUs of the guest may do this for a third at the same time. */
    if (!__sync_bool_compare_and_swap(&v->info_frame, NULL, f)) {
        frame_put_writable_and_ref(f);
        return -EINVAL;
    }
    vcpu_info_t *info = (vcpu_info_t *)((char *)frame_to_virt(f) + arg->offset);
    *info = v->info ? *v->info : (vcpu_info_t){.evtchn_upcall_mask = 1};
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

long vcpuop_initialise(struct vcpu *v, vaddr_t context)
{
    return v->info ? vcpu_set_context(v, context, false) : -EINVAL;
}

long vcpuop_up(struct vcpu *v)
{
    if (!read_once(v->initialised)) {
        return -EINVAL;
    }
    sched_resume(v, PAUSE_DOWN);
    return 0;
}

long vcpuop_down(struct vcpu *v)
{
    struct domain *d = v->domain;
    for (unsigned i = 0; i < d->max_vcpus; i++) {
        if (d->vcpu[i] != v && !(read_once(d->vcpu[i]->sched.pause_bits) & PAUSE_DOWN)) {
            sched_pause(v, PAUSE_DOWN);
            return 0;
        }
    }
    /* ABI: without any vCPU the domain is as good as switched off. */
    domain_shutdown(d, SHUTDOWN_poweroff);
    return 0;
}

long vcpuop_is_up(struct vcpu *v)
{
    return !(read_once(v->sched.pause_bits) & PAUSE_DOWN);
}

long vcpuop_get_runstate_info(struct vcpu *v, vaddr_t to)
{
    vcpu_runstate_info_t copy;
    sched_get_runstate(v, &copy);
    return guest_write(to, &copy, sizeof(copy));
}

long vcpuop_register_runstate(struct vcpu *v, struct vcpu_register_runstate_memory_area *arg)
{
    vaddr_t va = arg->addr.p;
    int rc = va ? write_runstate(v, va) : 0;
    if (rc == 0) {
        write_once(v->runstate_va, va);
    }
    return rc;
}

long vcpuop_set_periodic_timer(struct vcpu *v, struct vcpu_set_periodic_timer *arg)
{
    if (arg->period_ns < PERIOD_MIN_NS || arg->period_ns > PERIOD_MAX_NS) {
        return -EINVAL;
    }
    write_once(v->periodic_period, (ns_t)arg->period_ns);
    timer_set(&v->periodic, arch_now_ns() + (ns_t)arg->period_ns);
    return 0;
}

long vcpuop_stop_periodic_timer(struct vcpu *v)
{
    write_once(v->periodic_period, 0);
    timer_stop(&v->periodic);
    return 0;
}

long vcpuop_set_singleshot_timer(struct vcpu *v, struct vcpu_set_singleshot_timer *arg)
{
    if (v != current_vcpu()) {
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

long vcpuop_stop_singleshot_timer(struct vcpu *v)
{
    if (v != current_vcpu()) {
        return -EINVAL;
    }
    timer_stop(&v->singleshot);
    return 0;
}

long vcpuop_send_nmi(struct vcpu *v)
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
        return guest_read(&arg, hc->arg[2], sizeof(arg)) ?: handler(v, &arg);                      \
    }
#define VOP_VOID(nr, name, handler, doc)                                                           \
    case nr:                                                                                       \
        return handler(v);
#define VOP_AT(nr, name, handler, doc)                                                             \
    case nr:                                                                                       \
        return handler(v, hc->arg[2]);
#include "pv-abi/ops/vcpu.def"
    }
    return -ENOSYS;
}
