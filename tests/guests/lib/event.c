/* SPDX-License-Identifier: MIT */
/* Event channels (two-level) and the clock. */
#include "lib.h"

void (*event_handlers[256])(uint32_t port);

void event_init(void)
{
    memset(shared_info->evtchn_mask, 0xff, sizeof(shared_info->evtchn_mask));
}

struct vcpu_info *my_vcpu_info(void)
{
    const struct cpu *cpu = this_cpu();
    return cpu->info ? cpu->info : &shared_info->vcpu_info[cpu->id];
}

static unsigned long bit_of(uint32_t port)
{
    return 1UL << (port % 64);
}

bool event_is_pending(uint32_t port)
{
    return __atomic_load_n(&shared_info->evtchn_pending[port / 64], __ATOMIC_SEQ_CST) &
           bit_of(port);
}

void event_clear(uint32_t port)
{
    __atomic_fetch_and(&shared_info->evtchn_pending[port / 64], ~bit_of(port), __ATOMIC_SEQ_CST);
}

void event_mask(uint32_t port, bool on)
{
    if (on) {
        __atomic_fetch_or(&shared_info->evtchn_mask[port / 64], bit_of(port), __ATOMIC_SEQ_CST);
    } else {
        struct evtchn_unmask unmask = {.port = port};
        (void)evtchn_op(EVTCHNOP_unmask, &unmask);
    }
}

void event_dispatch(void)
{
    struct vcpu_info *info = my_vcpu_info();
    info->evtchn_upcall_pending = 0;
    unsigned long words = __atomic_exchange_n(&info->evtchn_pending_sel, 0, __ATOMIC_SEQ_CST);
    for (; words; words &= words - 1) {
        unsigned word = (unsigned)__builtin_ctzl(words);
        unsigned long bits;
        while ((bits = shared_info->evtchn_pending[word] & ~shared_info->evtchn_mask[word])) {
            uint32_t port = word * 64 + (unsigned)__builtin_ctzl(bits);
            event_clear(port);
            if (port < ARRAY_SIZE(event_handlers) && event_handlers[port]) {
                event_handlers[port](port);
            }
        }
    }
}

long event_send(uint32_t port)
{
    struct evtchn_send send = {.port = port};
    return evtchn_op(EVTCHNOP_send, &send);
}

long event_close(uint32_t port)
{
    struct evtchn_close arg = {.port = port};
    return evtchn_op(EVTCHNOP_close, &arg);
}

long event_bind_ipi(unsigned vcpu)
{
    struct evtchn_bind_ipi bind = {.vcpu = vcpu};
    long rc = evtchn_op(EVTCHNOP_bind_ipi, &bind);
    return rc ? rc : bind.port;
}

long event_bind_virq(unsigned virq, unsigned vcpu)
{
    struct evtchn_bind_virq bind = {.virq = virq, .vcpu = vcpu};
    long rc = evtchn_op(EVTCHNOP_bind_virq, &bind);
    return rc ? rc : bind.port;
}

long event_alloc_unbound(domid_t dom, domid_t remote)
{
    struct evtchn_alloc_unbound alloc = {.dom = dom, .remote_dom = remote};
    long rc = evtchn_op(EVTCHNOP_alloc_unbound, &alloc);
    return rc ? rc : alloc.port;
}

long event_bind_interdomain(domid_t remote, uint32_t port)
{
    struct evtchn_bind_interdomain bind = {.remote_dom = remote, .remote_port = port};
    long rc = evtchn_op(EVTCHNOP_bind_interdomain, &bind);
    return rc ? rc : bind.local_port;
}

long event_status(uint32_t port, struct evtchn_status *status)
{
    memset(status, 0, sizeof(*status));
    status->dom = DOMID_SELF;
    status->port = port;
    return evtchn_op(EVTCHNOP_status, status);
}

void events_on(void)
{
    struct vcpu_info *info = my_vcpu_info();
    info->evtchn_upcall_mask = 0;
    barrier();
    if (info->evtchn_upcall_pending) {
        (void)xen_version(XENVER_version, 0); /* any call delivers on its way out */
    }
}

void events_off(void)
{
    my_vcpu_info()->evtchn_upcall_mask = 1;
    barrier();
}

uint64_t now_ns(void)
{
    const volatile struct vcpu_time_info *t = &my_vcpu_info()->time;
    uint32_t version;
    uint64_t ns;
    do {
        version = t->version;
        barrier();
        uint64_t ticks = rdtsc() - t->tsc_timestamp;
        ticks = t->tsc_shift < 0 ? ticks >> -t->tsc_shift : ticks << t->tsc_shift;
        ns = t->system_time + (uint64_t)((unsigned __int128)ticks * t->tsc_to_system_mul >> 32);
        barrier();
    } while ((version & 1) || t->version != version);
    return ns;
}

void sleep_ns(uint64_t ns)
{
    uint64_t until = now_ns() + ns;
    while (now_ns() < until) {
        struct sched_poll poll = {.nr_ports = 0, .timeout = until};
        (void)sched_op(SCHEDOP_poll, &poll);
        if (my_vcpu_info()->evtchn_upcall_pending) {
            cpu_relax();
        }
    }
}

bool wait_for(const volatile uint32_t *flag, unsigned ms)
{
    uint64_t until = now_ns() + ms * 1000000UL;
    while (!*flag) {
        if (now_ns() > until) {
            return false;
        }
        (void)sched_op(SCHEDOP_yield, 0);
    }
    return true;
}

/* A port for ourselves says who we are. */
domid_t own_domid(void)
{
    struct evtchn_status status;
    long port = event_alloc_unbound(DOMID_SELF, DOMID_SELF);
    NEED_OK(port);
    NEED_OK(event_status((uint32_t)port, &status));
    NEED_OK(event_close((uint32_t)port));
    return status.u.unbound.dom;
}
