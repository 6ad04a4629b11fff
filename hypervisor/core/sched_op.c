// SPDX-License-Identifier: MIT
/*
 * SCHEDOP_*: a vCPU gives up its pcpu, or its domain's life. A handler only marks the vCPU; the
 * exit path switches. A vCPU that polls has its bit in domain.pollers while blocked; whoever clears
 * the bit wakes it. No locks of its own.
 */
#include "core/domain.h"
#include "core/sched.h"
#include "core/subop.h"

#define POLL_PORTS_MAX 128

long schedop_yield(struct hypercall *hc unused)
{
    sched_yield();
    return 0;
}

/* Whatever v waited for in an earlier poll does not matter any more. */
static void forget_poll(struct vcpu *v)
{
    if (test_and_clear_bit(v->id, v->domain->pollers)) {
        timer_stop(&v->poll_timer);
    }
}

long schedop_block(struct hypercall *hc)
{
    struct vcpu *v = hc->v;
    forget_poll(v);
    if (v->info) {
        write_once(v->info->evtchn_upcall_mask, 0);
    }
    sched_pause(v, PAUSE_BLOCKED);
    /* ORDER: blocked (an atomic operation) before this look; senders set pending before they look
     * whether v is blocked. */
    if (evtchn_upcall_wanted(v)) {
        sched_resume(v, PAUSE_BLOCKED);
    }
    return 0;
}

/* ---- poll ---- */

void sched_op_poll_timeout(void *vcpu)
{
    struct vcpu *v = vcpu;
    if (test_and_clear_bit(v->id, v->domain->pollers)) {
        sched_wake(v);
    }
}

void sched_op_wake_pollers(struct domain *d, uint32_t port)
{
    for (unsigned id = 0; (id = find_next_bit(d->pollers, d->max_vcpus, id)) < d->max_vcpus; id++) {
        uint32_t wanted = read_once(d->vcpu[id]->poll_port);
        if (wanted == port || wanted == 0) {
            sched_op_poll_timeout(d->vcpu[id]);
        }
    }
}

long schedop_poll(struct hypercall *hc, struct sched_poll *arg)
{
    struct vcpu *v = hc->v;
    struct domain *d = hc->d;
    evtchn_port_t ports[POLL_PORTS_MAX];
    if (arg->nr_ports > POLL_PORTS_MAX) {
        return -EINVAL;
    }
    if (guest_read(ports, GUEST_ADDR(arg->ports), arg->nr_ports * sizeof(ports[0]))) {
        return -EFAULT;
    }
    for (unsigned i = 0; i < arg->nr_ports; i++) {
        if (ports[i] == 0 || ports[i] >= d->evtchn.port_limit) {
            return -EINVAL;
        }
    }
    forget_poll(v);
    write_once(v->poll_port, arg->nr_ports == 1 ? ports[0] : 0);
    sched_pause(v, PAUSE_BLOCKED);
    set_bit(v->id, d->pollers);
    /* ORDER: blocked and among the pollers, both by atomic operations, before this look; a sender
     * sets the pending bit before it looks for pollers. */
    bool wake = evtchn_upcall_wanted(v);
    for (unsigned i = 0; i < arg->nr_ports && !wake; i++) {
        wake = evtchn_is_pending(d, ports[i]);
    }
    if (wake) {
        clear_bit(v->id, d->pollers);
        sched_resume(v, PAUSE_BLOCKED);
    } else if (arg->timeout) {
        timer_migrate(&v->poll_timer, arch_cpu_id());
        timer_set(&v->poll_timer, (ns_t)MIN(arg->timeout, (uint64_t)INT64_MAX));
    }
    return 0;
}

/* ---- the domain's end ---- */

static long shut_down(struct domain *d, unsigned reason)
{
    if (reason > SHUTDOWN_MAX) {
        return -EINVAL;
    }
    domain_shutdown(d, (uint8_t)reason);
    return 0;
}

long schedop_shutdown(struct hypercall *hc, struct sched_shutdown *arg)
{
    return shut_down(hc->d, arg->reason);
}

long schedop_remote_shutdown(struct hypercall *hc, struct sched_remote_shutdown *arg)
{
    /* Oneself is what SCHEDOP_shutdown is for. */
    return hc->target == hc->d ? -EPERM : shut_down(hc->target, arg->reason);
}

long schedop_shutdown_code(struct hypercall *hc, struct sched_shutdown *arg)
{
    if (arg->reason > SHUTDOWN_MAX) {
        return -EINVAL;
    }
    domain_set_shutdown_code(hc->d, (uint8_t)arg->reason);
    return 0;
}

long hc_sched_op(struct hypercall *hc)
{
    switch ((uint32_t)hc->arg[0]) {
#include "pv-abi/ops/sched.def"
    }
    return -ENOSYS;
}
