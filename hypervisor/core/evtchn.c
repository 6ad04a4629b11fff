// SPDX-License-Identifier: MIT
/*
 * Event channels: a domain's ports and what they are bound to, EVTCHNOP_*, and the sources inside
 * the hypervisor (virtual and physical interrupts). Port structures live in pages that are added on
 * demand and stay until the domain is freed.
 *
 *   closed -> unbound -> interdomain -> (peer closes) unbound -> closed
 *   closed -> virq, pirq, ipi -> closed
 *
 * Lock: the domain's evtchn_lock (RANK_DOM_EVTCHN); an interdomain binding is made and undone under
 * both domains' locks, so either one is enough to follow it. Each port has a lock of its own
 * besides (RANK_EVTCHN_PORT), which sending needs alone: what different ports send runs in
 * parallel. Port 0 is never used.
 */
#include "core/evtchn.h"

#include "base/checked.h"
#include "base/log.h"
#include "core/deferred.h"
#include "core/domain.h"
#include "core/pirq.h"
#include "core/subop.h"

static int page_add(struct domain *d, unsigned nr)
{
    struct evtchn_port *page = hyp_alloc(PAGE_SIZE);
    if (!page) {
        return -ENOMEM;
    }
    for (unsigned i = 0; i < PORTS_PER_PAGE; i++) {
        page[i].lock = SPINLOCK_INIT(RANK_EVTCHN_PORT);
    }
    /* ORDER: others look for ports without a lock. */
    __atomic_store_n(&d->evtchn.page[nr], page, __ATOMIC_RELEASE);
    return 0;
}

int evtchn_init(struct domain *d, uint32_t max_port)
{
    d->evtchn.port_limit = MIN(max_port, MAX_EVTCHNS - 1) + 1;
    d->evtchn.lowest = 1;
    /* The first page now, so that a guest that gets as far as running can bind something. All for
     * the control domain: pages stay, and the end of its guests leaves as much memory as before. */
    int rc = 0;
    for (unsigned i = 0; i < (d->privileged ? ARRAY_SIZE(d->evtchn.page) : 1) && rc == 0; i++) {
        rc = page_add(d, i);
    }
    return rc;
}

void evtchn_free(struct domain *d)
{
    for (unsigned i = 0; i < ARRAY_SIZE(d->evtchn.page); i++) {
        hyp_free(d->evtchn.page[i]);
    }
}

/* ---- ports ---- */

/* Stands for the ports that do not exist: closed, and stays so. */
static struct evtchn_port no_port;

/* The structure of a port number that a guest gave, or no_port. Needs no lock: pages stay. */
static struct evtchn_port *find_port(const struct domain *d, uint32_t port)
{
    if (port == 0 || port >= d->evtchn.port_limit) {
        return &no_port;
    }
    /* SAFETY: tested above, clamped in speculation. */
    port = (uint32_t)clamp_index(port, MAX_EVTCHNS);
    struct evtchn_port *page = read_once(d->evtchn.page[port / PORTS_PER_PAGE]);
    return page ? &page[port % PORTS_PER_PAGE] : &no_port;
}

/* Under the evtchn_lock of the port's domain. */
static void port_set(struct evtchn_port *p, const struct evtchn_port *binding)
{
    SPIN_GUARD(&p->lock);
    p->state = binding->state;
    p->vcpu = binding->vcpu;
    p->irq = binding->irq;
    p->remote_domid = binding->remote_domid;
    p->remote_port = binding->remote_port;
    p->remote = binding->remote;
}

/* Give d's lowest free port this binding. */
static int bind_locked(struct domain *d, struct evtchn_port binding, uint32_t *out)
{
    /* SAFETY: DYING is set before evtchn_close_all() takes the lock, so a port bound here while the
     * domain is alive is seen there. */
    if (read_once(d->state) != DOM_ALIVE) {
        return -EINVAL;
    }
    for (uint32_t port = d->evtchn.lowest; port < d->evtchn.port_limit; port++) {
        unsigned nr = port / PORTS_PER_PAGE;
        if (!d->evtchn.page[nr] && page_add(d, nr)) {
            return -ENOMEM;
        }
        struct evtchn_port *p = &d->evtchn.page[nr][port % PORTS_PER_PAGE];
        if (p->state == EVTCHNSTAT_closed) {
            /* What an earlier binding left behind is not the new one's. */
            evtchn_bits_clear(d, port);
            port_set(p, &binding);
            d->evtchn.used++;
            d->evtchn.lowest = port + 1;
            *out = port;
            return 0;
        }
    }
    d->evtchn.lowest = d->evtchn.port_limit;
    return -ENOSPC;
}

static bool virq_is_per_vcpu(unsigned virq)
{
    return virq == VIRQ_TIMER || virq == VIRQ_DEBUG || virq == VIRQ_XENOPROF || virq == VIRQ_XENPMU;
}

/* Where the port bound to a virtual interrupt is noted; global ones live with vCPU 0. */
static uint16_t *virq_slot(struct domain *d, unsigned vcpu, unsigned virq)
{
    return &d->vcpu[virq_is_per_vcpu(virq) ? vcpu : 0]->virq_to_port[virq];
}

/* The domain whose lock the binding of p is under besides d's: d itself when there is none. */
static struct domain *peer_of_locked(struct domain *d, const struct evtchn_port *p)
{
    return p->state == EVTCHNSTAT_interdomain ? p->remote : d;
}

static int close_locked(struct domain *d, uint32_t port)
{
    struct evtchn_port *p = find_port(d, port);
    if (p->state == EVTCHNSTAT_closed) {
        return -EINVAL;
    }
    if (p->state == EVTCHNSTAT_interdomain) {
        /* The other end waits for the same domain again. */
        struct evtchn_port *peer = find_port(p->remote, p->remote_port);
        port_set(peer, &(struct evtchn_port){.state = EVTCHNSTAT_unbound,
                                             .vcpu = peer->vcpu,
                                             .remote_domid = peer->remote_domid});
    } else if (p->state == EVTCHNSTAT_pirq) {
        pirq_unbind(d, p->irq, port);
    } else if (p->state == EVTCHNSTAT_virq) {
        *virq_slot(d, p->vcpu, p->irq) = 0;
    }
    port_set(p, &(struct evtchn_port){.state = EVTCHNSTAT_closed});
    d->evtchn.used--;
    d->evtchn.lowest = MIN(d->evtchn.lowest, port);
    evtchn_bits_clear(d, port);
    return 0;
}

static int close_port(struct domain *d, uint32_t port)
{
    const struct evtchn_port *p = find_port(d, port);
    if (p == &no_port) {
        return -EINVAL;
    }
    for (;;) {
        spin_lock(&d->evtchn_lock);
        struct domain *peer = domain_get_held(peer_of_locked(d, p));
        spin_unlock(&d->evtchn_lock);
        /* Both locks, in order; look again, for the peer may have closed meanwhile. */
        spin_lock_pair(&d->evtchn_lock, &peer->evtchn_lock);
        bool same = peer_of_locked(d, p) == peer;
        int rc = same ? close_locked(d, port) : 0;
        spin_unlock_pair(&d->evtchn_lock, &peer->evtchn_lock);
        domain_put(peer);
        if (same) {
            return rc;
        }
    }
}

long evtchn_close_all(struct domain *d)
{
    /* ORDER: whoever has seen d alive and binds a port is through with it. */
    spin_lock(&d->evtchn_lock);
    spin_unlock(&d->evtchn_lock);
    for (uint32_t port = 1; port < d->evtchn.port_limit; port++) {
        if (read_once(find_port(d, port)->state) != EVTCHNSTAT_closed) {
            (void)close_port(d, port); /* -EINVAL: somebody else was faster */
            if (hypercall_preempt_check()) {
                return -ERESTART;
            }
        }
    }
    return 0;
}

/* ---- sending ---- */

bool evtchn_set_pending(struct domain *d, uint32_t port)
{
    /* bind_vcpu only ever stores ids of vCPUs that exist. */
    return evtchn_bits_raise(d, port, &find_port(d, port)->vcpu);
}

void evtchn_send_virq(struct vcpu *v, unsigned virq)
{
    SPIN_GUARD(&v->domain->evtchn_lock);
    if (v->virq_to_port[virq]) {
        evtchn_set_pending(v->domain, v->virq_to_port[virq]);
    }
}

void evtchn_send_global_virq(struct domain *d, unsigned virq)
{
    if (d) {
        evtchn_send_virq(d->vcpu[0], virq);
    }
}

/* An interrupt goes to the pcpu of the vCPU that is told of it, so that nobody has to be kicked. */
static void route_pirq(struct domain *d, const struct evtchn_port *p)
{
    if (p->state == EVTCHNSTAT_pirq) {
        pirq_route(d, p->irq, read_once(d->vcpu[p->vcpu]->sched.pcpu));
    }
}

void evtchn_send_pirq(struct domain *d, uint32_t port)
{
    SPIN_GUARD(&d->evtchn_lock);
    const struct evtchn_port *p = find_port(d, port);
    /* The guest may have closed it while the interrupt was on its way. */
    if (p->state == EVTCHNSTAT_pirq) {
        evtchn_set_pending(d, port);
        /* It may have moved since the last one, by this wake-up, too. */
        if (read_once(d->vcpu[p->vcpu]->sched.pcpu) != arch_cpu_id()) {
            route_pirq(d, p);
        }
    }
}

static noinline long send_locked(struct domain *d, uint32_t port, struct evtchn_port *p)
{
    if (p == &no_port) {
        return -EINVAL;
    }
    SPIN_GUARD(&p->lock);
    switch (p->state) {
    case EVTCHNSTAT_interdomain:
        return evtchn_set_pending(p->remote, p->remote_port);
    case EVTCHNSTAT_ipi:
        return evtchn_set_pending(d, port);
    case EVTCHNSTAT_unbound:
        return 0; /* ABI: nobody listens yet, which is no error */
    default:
        return -EINVAL;
    }
}

long evtchn_send(struct domain *d, uint32_t port)
{
    struct evtchn_port *p = find_port(d, port);
    /* SAFETY: without the lock it may be closed by now. The bit is the guest's own. */
    return read_once(p->state) == EVTCHNSTAT_ipi ? evtchn_bits_raise(d, port, &p->vcpu)
                                                 : send_locked(d, port, p);
}

long evtchnop_send(struct hypercall *hc, struct evtchn_send *arg)
{
    return MIN(evtchn_send(hc->d, arg->port), 0L);
}

/* ---- binding ---- */

long evtchnop_alloc_unbound(struct hypercall *hc, struct evtchn_alloc_unbound *arg)
{
    struct evtchn_port binding = {.state = EVTCHNSTAT_unbound,
                                  .remote_domid =
                                      arg->remote_dom == DOMID_SELF ? hc->d->id : arg->remote_dom};
    SPIN_GUARD(&hc->target->evtchn_lock);
    return bind_locked(hc->target, binding, &arg->port);
}

long evtchnop_bind_interdomain(struct hypercall *hc, struct evtchn_bind_interdomain *arg)
{
    struct domain *d = hc->d, *remote = hc->target;
    spin_lock_pair(&d->evtchn_lock, &remote->evtchn_lock);
    /* Consent: the other domain made this port for us. Its death frees the port first. */
    struct evtchn_port *peer = find_port(remote, arg->remote_port);
    int rc = -EINVAL;
    if (peer->state == EVTCHNSTAT_unbound && peer->remote_domid == d->id) {
        struct evtchn_port binding = {.state = EVTCHNSTAT_interdomain,
                                      .remote = remote,
                                      .remote_port = arg->remote_port,
                                      .remote_domid = remote->id};
        rc = bind_locked(d, binding, &arg->local_port);
    }
    if (rc == 0) {
        port_set(peer, &(struct evtchn_port){.state = EVTCHNSTAT_interdomain,
                                             .vcpu = peer->vcpu,
                                             .remote = d,
                                             .remote_port = arg->local_port,
                                             .remote_domid = d->id});
        /* ABI: events sent before the binding were dropped; one now makes up for them. */
        evtchn_set_pending(d, arg->local_port);
    }
    spin_unlock_pair(&d->evtchn_lock, &remote->evtchn_lock);
    return rc;
}

long evtchnop_bind_virq(struct hypercall *hc, struct evtchn_bind_virq *arg)
{
    struct domain *d = hc->d;
    if (arg->virq >= NR_VIRQS || arg->virq == 5 || arg->virq == VIRQ_ARGO || arg->virq == 14 ||
        arg->virq == 15) {
        return -EINVAL;
    }
    /* SAFETY: below NR_VIRQS, tested above; clamped in speculation. */
    unsigned virq = (unsigned)clamp_index(arg->virq, NR_VIRQS);
    bool global = !virq_is_per_vcpu(virq);
    if (global && (!d->privileged || arg->vcpu != 0)) {
        return d->privileged ? -EINVAL : -EPERM;
    }
    if (!domain_vcpu(d, arg->vcpu)) {
        return -ENOENT;
    }
    struct evtchn_port binding = {
        .state = EVTCHNSTAT_virq, .irq = (uint16_t)virq, .vcpu = (uint16_t)arg->vcpu};
    SPIN_GUARD(&d->evtchn_lock);
    uint16_t *slot = virq_slot(d, arg->vcpu, virq);
    int rc = *slot ? -EEXIST : bind_locked(d, binding, &arg->port);
    if (rc == 0) {
        *slot = (uint16_t)arg->port;
    }
    return rc;
}

long evtchnop_bind_ipi(struct hypercall *hc, struct evtchn_bind_ipi *arg)
{
    struct domain *d = hc->d;
    if (!domain_vcpu(d, arg->vcpu)) {
        return -ENOENT;
    }
    struct evtchn_port binding = {.state = EVTCHNSTAT_ipi, .vcpu = (uint16_t)arg->vcpu};
    SPIN_GUARD(&d->evtchn_lock);
    return bind_locked(d, binding, &arg->port);
}

long evtchnop_bind_pirq(struct hypercall *hc, struct evtchn_bind_pirq *arg)
{
    struct domain *d = hc->d;
    struct evtchn_port binding = {.state = EVTCHNSTAT_pirq, .irq = (uint16_t)arg->pirq};
    SPIN_GUARD(&d->evtchn_lock);
    /* The interrupt may arrive as soon as it is bound: the port is complete before. */
    int rc = bind_locked(d, binding, &arg->port);
    if (rc == 0) {
        rc = pirq_bind(d, arg->pirq, arg->port);
        if (rc) {
            (void)close_locked(d, arg->port);
        }
        route_pirq(d, find_port(d, arg->port));
    }
    return rc;
}

/* ---- the rest of the operations ---- */

long evtchnop_close(struct hypercall *hc, struct evtchn_close *arg)
{
    return close_port(hc->d, arg->port);
}

long evtchnop_reset(struct hypercall *hc, struct evtchn_reset *arg unused)
{
    return evtchn_close_all(hc->target);
}

long evtchnop_bind_vcpu(struct hypercall *hc, struct evtchn_bind_vcpu *arg)
{
    if (!domain_vcpu(hc->d, arg->vcpu)) {
        return -ENOENT;
    }
    struct evtchn_port *p = find_port(hc->d, arg->port);
    SPIN_GUARD(&hc->d->evtchn_lock);
    if (p->state == EVTCHNSTAT_closed || p->state == EVTCHNSTAT_ipi ||
        (p->state == EVTCHNSTAT_virq && virq_is_per_vcpu(p->irq))) {
        return -EINVAL;
    }
    write_once(p->vcpu, (uint16_t)arg->vcpu);
    evtchn_bits_rebound(hc->d->vcpu[arg->vcpu], arg->port);
    route_pirq(hc->d, p);
    return 0;
}

long evtchnop_unmask(struct hypercall *hc, struct evtchn_unmask *arg)
{
    const struct evtchn_port *p = find_port(hc->d, arg->port);
    if (p == &no_port) {
        return -EINVAL;
    }
    evtchn_bits_unmask(hc->d->vcpu[read_once(p->vcpu)], arg->port);
    return 0;
}

long evtchnop_status(struct hypercall *hc, struct evtchn_status *arg)
{
    struct domain *d = hc->target;
    if (arg->port >= d->evtchn.port_limit) {
        return -EINVAL;
    }
    SPIN_GUARD(&d->evtchn_lock);
    const struct evtchn_port *p = find_port(d, arg->port);
    arg->status = p->state;
    arg->vcpu = p->vcpu;
    if (p->state == EVTCHNSTAT_unbound) {
        arg->u.unbound.dom = p->remote_domid;
    } else if (p->state == EVTCHNSTAT_interdomain) {
        arg->u.interdomain.dom = p->remote_domid;
        arg->u.interdomain.port = p->remote_port;
    } else if (p->state == EVTCHNSTAT_pirq) {
        arg->u.pirq = p->irq;
    } else if (p->state == EVTCHNSTAT_virq) {
        arg->u.virq = p->irq;
    }
    return 0;
}

void evtchn_show(const struct domain *d)
{
    static const char *const state[] = {"closed", "unbound", "interdomain", "pirq", "virq", "ipi"};
    printk("domain %u: %u ports\n", (unsigned)d->id, d->evtchn.used);
    for (uint32_t port = 1; port < d->evtchn.port_limit; port++) {
        const struct evtchn_port *p = find_port(d, port);
        if (p->state == EVTCHNSTAT_closed || !d->shared_info) {
            continue;
        }
        printk("  %u: vcpu %u %s %u domain %u port %u%s%s\n", port, p->vcpu, state[p->state],
               p->irq, (unsigned)p->remote_domid, p->remote_port,
               evtchn_is_pending(d, port) ? " pending" : "",
               evtchn_is_masked(d, port) ? " masked" : "");
        if (p->state == EVTCHNSTAT_pirq) {
            pirq_show(d, p->irq);
        }
        irq_window(false);
    }
}

long hc_event_channel_op(struct hypercall *hc)
{
    switch ((uint32_t)hc->arg[0]) {
#include "pv-abi/ops/evtchn.def"
    }
    return -ENOSYS;
}
