// SPDX-License-Identifier: MIT
/*
 * Event channels: a domain's ports and what they are bound to, EVTCHNOP_*, and the sources inside
 * the hypervisor (virtual and physical interrupts). Port structures live in pages that are added on
 * demand and stay until the domain is freed.
 *
 *   FREE -> UNBOUND -> INTERDOMAIN -> (peer closes) UNBOUND -> FREE
 *   FREE -> VIRQ, PIRQ, IPI -> FREE
 *
 * Lock: the domain's evtchn_lock (RANK_DOM_EVTCHN); an interdomain binding is made and undone under
 * both domains' locks, by domain id, so either one is enough to follow it. Port 0 is never used.
 */
#include "core/evtchn.h"

#include "base/checked.h"
#include "core/domain.h"
#include "core/frame_alloc.h"
#include "core/pirq.h"
#include "core/subop.h"

int evtchn_init(struct domain *d, uint32_t max_port)
{
    d->evtchn.port_limit = MIN(max_port, MAX_EVTCHNS - 1) + 1;
    /* The first page now, so that a guest that gets as far as running can bind something. */
    d->evtchn.page[0] = hyp_alloc(PAGE_SIZE);
    return d->evtchn.page[0] ? 0 : -ENOMEM;
}

void evtchn_free(struct domain *d)
{
    for (unsigned i = 0; i < ARRAY_SIZE(d->evtchn.page); i++) {
        if (d->evtchn.page[i]) {
            hyp_free(d->evtchn.page[i]);
            d->evtchn.page[i] = NULL;
        }
    }
}

/* ---- ports ---- */

/* The structure of a port number that a guest gave, or NULL. Needs no lock: pages stay. */
static struct evtchn_port *find_port(const struct domain *d, uint32_t port)
{
    if (port == 0 || port >= d->evtchn.port_limit) {
        return NULL;
    }
    /* SAFETY: tested above, clamped in speculation. */
    port = (uint32_t)clamp_index(port, MAX_EVTCHNS);
    struct evtchn_port *page = read_once(d->evtchn.page[port / PORTS_PER_PAGE]);
    return page ? &page[port % PORTS_PER_PAGE] : NULL;
}

/* Find a free port and keep it as RESERVED. */
static int alloc_port_locked(struct domain *d, uint32_t *out)
{
    /* SAFETY: DYING is set before evtchn_close_all() takes the lock, so a port bound here while the
     * domain is alive is seen there. */
    if (read_once(d->state) != DOM_ALIVE) {
        return -EINVAL;
    }
    for (uint32_t port = 1; port < d->evtchn.port_limit; port++) {
        struct evtchn_port **page = &d->evtchn.page[port / PORTS_PER_PAGE];
        if (!*page) {
            struct evtchn_port *new = hyp_alloc(PAGE_SIZE);
            if (!new) {
                return -ENOMEM;
            }
            write_once(*page, new);
        }
        struct evtchn_port *p = &(*page)[port % PORTS_PER_PAGE];
        if (p->state == PORT_FREE) {
            p->state = PORT_RESERVED;
            d->evtchn.used++;
            /* What an earlier binding left behind is not the new one's. */
            evtchn_bits_clear(d, port);
            *out = port;
            return 0;
        }
    }
    return -ENOSPC;
}

static void free_port_locked(struct domain *d, uint32_t port)
{
    struct evtchn_port *p = find_port(d, port);
    *p = (struct evtchn_port){.state = PORT_FREE};
    d->evtchn.used--;
    evtchn_bits_clear(d, port);
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

static bool before(const struct domain *a, const struct domain *b)
{
    return a->id != b->id ? a->id < b->id : a < b;
}

static void lock_both(struct domain *a, struct domain *b)
{
    struct domain *first = before(a, b) ? a : b;
    spin_lock_pair(&first->evtchn_lock, first == a ? &b->evtchn_lock : &a->evtchn_lock);
}

static void unlock_both(struct domain *a, struct domain *b)
{
    struct domain *first = before(a, b) ? a : b;
    spin_unlock_pair(&first->evtchn_lock, first == a ? &b->evtchn_lock : &a->evtchn_lock);
}

/* Undo a binding that only concerns d itself. */
static void close_local_locked(struct domain *d, uint32_t port)
{
    struct evtchn_port *p = find_port(d, port);
    if (p->state == PORT_PIRQ) {
        pirq_unbind(d, p->pirq, port);
    } else if (p->state == PORT_VIRQ) {
        *virq_slot(d, p->vcpu, p->virq) = 0;
    }
    free_port_locked(d, port);
}

/* Undo an interdomain binding: the other end waits for the same domain again. */
static void close_connected_locked(struct domain *d, uint32_t port)
{
    struct evtchn_port *p = find_port(d, port);
    struct evtchn_port *peer = find_port(p->remote, p->remote_port);
    if (p->remote != d || p->remote_port != port) {
        peer->state = PORT_UNBOUND;
        peer->remote = NULL;
        peer->remote_port = 0;
        peer->remote_domid = d->id;
    }
    free_port_locked(d, port);
}

static int close_port(struct domain *d, uint32_t port)
{
    struct evtchn_port *p = find_port(d, port);
    if (!p) {
        return -EINVAL;
    }
    for (;;) {
        spin_lock(&d->evtchn_lock);
        unsigned state = p->state;
        struct domain *remote = p->remote;
        if (state == PORT_INTERDOMAIN && remote != d) {
            domain_get_held(remote);
        } else if (state == PORT_INTERDOMAIN) {
            close_connected_locked(d, port);
        } else if (state != PORT_FREE) {
            close_local_locked(d, port);
        }
        spin_unlock(&d->evtchn_lock);
        if (state == PORT_FREE) {
            return -EINVAL;
        }
        if (state != PORT_INTERDOMAIN || remote == d) {
            return 0;
        }
        /* Both locks, in order; look again, for the peer may have closed meanwhile. */
        lock_both(d, remote);
        bool same = p->state == PORT_INTERDOMAIN && p->remote == remote;
        if (same) {
            close_connected_locked(d, port);
        }
        unlock_both(d, remote);
        domain_put(remote);
        if (same) {
            return 0;
        }
    }
}

void evtchn_close_all(struct domain *d)
{
    for (uint32_t port = 1; port < d->evtchn.port_limit; port++) {
        if (find_port(d, port)) {
            (void)close_port(d, port); /* -EINVAL: it was free */
        }
    }
}

/* ---- sending ---- */

void evtchn_set_pending(struct domain *d, uint32_t port)
{
    const struct evtchn_port *p = find_port(d, port);
    if (p) {
        /* bind_vcpu only ever stores ids of vCPUs that exist. */
        evtchn_bits_raise(d->vcpu[read_once(p->vcpu)], port);
    }
}

static void send_virq(struct domain *d, unsigned vcpu, unsigned virq)
{
    spin_lock(&d->evtchn_lock);
    uint32_t port = *virq_slot(d, vcpu, virq);
    if (port) {
        evtchn_set_pending(d, port);
    }
    spin_unlock(&d->evtchn_lock);
}

void evtchn_send_virq(struct vcpu *v, unsigned virq)
{
    send_virq(v->domain, v->id, virq);
}

void evtchn_send_global_virq(struct domain *d, unsigned virq)
{
    if (d) {
        send_virq(d, 0, virq);
    }
}

void evtchn_send_pirq(struct domain *d, uint32_t port)
{
    spin_lock(&d->evtchn_lock);
    const struct evtchn_port *p = find_port(d, port);
    /* The guest may have closed it while the interrupt was on its way. */
    if (p && p->state == PORT_PIRQ) {
        evtchn_set_pending(d, port);
    }
    spin_unlock(&d->evtchn_lock);
}

long evtchnop_send(struct hypercall *hc, struct evtchn_send *arg)
{
    struct domain *d = hc->d;
    const struct evtchn_port *p = find_port(d, arg->port);
    if (!p) {
        return -EINVAL;
    }
    long rc = 0;
    spin_lock(&d->evtchn_lock);
    switch (p->state) {
    case PORT_INTERDOMAIN:
        evtchn_set_pending(p->remote, p->remote_port);
        break;
    case PORT_IPI:
        evtchn_set_pending(d, arg->port);
        break;
    case PORT_UNBOUND:
        break; /* ABI: nobody listens yet, which is no error */
    default:
        rc = -EINVAL;
    }
    spin_unlock(&d->evtchn_lock);
    return rc;
}

/* ---- binding ---- */

long evtchnop_alloc_unbound(struct hypercall *hc, struct evtchn_alloc_unbound *arg)
{
    struct domain *d = hc->target;
    uint32_t port;
    spin_lock(&d->evtchn_lock);
    int rc = alloc_port_locked(d, &port);
    if (rc == 0) {
        struct evtchn_port *p = find_port(d, port);
        p->remote_domid = arg->remote_dom == DOMID_SELF ? hc->d->id : arg->remote_dom;
        p->state = PORT_UNBOUND;
        arg->port = port;
    }
    spin_unlock(&d->evtchn_lock);
    return rc;
}

long evtchnop_bind_interdomain(struct hypercall *hc, struct evtchn_bind_interdomain *arg)
{
    struct domain *d = hc->d, *remote = hc->target;
    uint32_t port;
    lock_both(d, remote);
    /* Consent: the other domain made this port for us. Its death frees the port first. */
    struct evtchn_port *peer = find_port(remote, arg->remote_port);
    int rc = -EINVAL;
    if (peer && peer->state == PORT_UNBOUND && peer->remote_domid == d->id) {
        rc = alloc_port_locked(d, &port);
    }
    if (rc == 0) {
        struct evtchn_port *p = find_port(d, port);
        *p = (struct evtchn_port){.state = PORT_INTERDOMAIN,
                                  .remote = remote,
                                  .remote_port = arg->remote_port,
                                  .remote_domid = remote->id};
        peer->remote = d;
        peer->remote_port = port;
        peer->state = PORT_INTERDOMAIN;
        /* ABI: events sent before the binding were dropped; one now makes up for them. */
        evtchn_set_pending(d, port);
        arg->local_port = port;
    }
    unlock_both(d, remote);
    return rc;
}

static bool virq_exists(unsigned virq)
{
    return virq < NR_VIRQS && virq != 5 && virq != VIRQ_ARGO && virq != 14 && virq != 15;
}

long evtchnop_bind_virq(struct hypercall *hc, struct evtchn_bind_virq *arg)
{
    struct domain *d = hc->d;
    if (!virq_exists(arg->virq)) {
        return -EINVAL;
    }
    /* SAFETY: below NR_VIRQS, tested above; clamped in speculation. */
    unsigned virq = (unsigned)clamp_index(arg->virq, NR_VIRQS);
    bool per_vcpu = virq_is_per_vcpu(virq);
    if (!per_vcpu && !d->privileged) {
        return -EPERM;
    }
    if (!per_vcpu && arg->vcpu != 0) {
        return -EINVAL;
    }
    if (!domain_vcpu(d, arg->vcpu)) {
        return -ENOENT;
    }
    uint32_t port;
    spin_lock(&d->evtchn_lock);
    uint16_t *slot = virq_slot(d, arg->vcpu, virq);
    int rc = *slot ? -EEXIST : alloc_port_locked(d, &port);
    if (rc == 0) {
        struct evtchn_port *p = find_port(d, port);
        p->virq = (uint8_t)virq;
        p->vcpu = (uint16_t)arg->vcpu;
        p->state = PORT_VIRQ;
        *slot = (uint16_t)port;
        arg->port = port;
    }
    spin_unlock(&d->evtchn_lock);
    return rc;
}

long evtchnop_bind_ipi(struct hypercall *hc, struct evtchn_bind_ipi *arg)
{
    struct domain *d = hc->d;
    if (!domain_vcpu(d, arg->vcpu)) {
        return -ENOENT;
    }
    uint32_t port;
    spin_lock(&d->evtchn_lock);
    int rc = alloc_port_locked(d, &port);
    if (rc == 0) {
        struct evtchn_port *p = find_port(d, port);
        p->vcpu = (uint16_t)arg->vcpu;
        p->state = PORT_IPI;
        arg->port = port;
    }
    spin_unlock(&d->evtchn_lock);
    return rc;
}

long evtchnop_bind_pirq(struct hypercall *hc, struct evtchn_bind_pirq *arg)
{
    struct domain *d = hc->d;
    uint32_t port;
    spin_lock(&d->evtchn_lock);
    int rc = alloc_port_locked(d, &port);
    if (rc == 0) {
        /* The interrupt may arrive as soon as it is bound: the port is complete before. */
        struct evtchn_port *p = find_port(d, port);
        p->pirq = (uint16_t)arg->pirq;
        p->state = PORT_PIRQ;
        rc = arg->pirq < MAX_PIRQS
                 ? pirq_bind(d, arg->pirq, port, arg->flags & BIND_PIRQ__WILL_SHARE)
                 : -EINVAL;
        if (rc) {
            free_port_locked(d, port);
        } else {
            arg->port = port;
        }
    }
    spin_unlock(&d->evtchn_lock);
    return rc;
}

/* ---- the rest of the operations ---- */

long evtchnop_close(struct hypercall *hc, struct evtchn_close *arg)
{
    return close_port(hc->d, arg->port);
}

long evtchnop_reset(struct hypercall *hc, struct evtchn_reset *arg)
{
    (void)arg;
    evtchn_close_all(hc->target);
    return 0;
}

long evtchnop_bind_vcpu(struct hypercall *hc, struct evtchn_bind_vcpu *arg)
{
    struct domain *d = hc->d;
    if (!domain_vcpu(d, arg->vcpu)) {
        return -ENOENT;
    }
    struct evtchn_port *p = find_port(d, arg->port);
    if (!p) {
        return -EINVAL;
    }
    long rc = 0;
    spin_lock(&d->evtchn_lock);
    bool movable = p->state == PORT_UNBOUND || p->state == PORT_INTERDOMAIN ||
                   p->state == PORT_PIRQ || (p->state == PORT_VIRQ && !virq_is_per_vcpu(p->virq));
    if (movable) {
        write_once(p->vcpu, (uint16_t)arg->vcpu);
    } else {
        rc = -EINVAL;
    }
    spin_unlock(&d->evtchn_lock);
    return rc;
}

long evtchnop_unmask(struct hypercall *hc, struct evtchn_unmask *arg)
{
    struct domain *d = hc->d;
    const struct evtchn_port *p = find_port(d, arg->port);
    if (!p) {
        return -EINVAL;
    }
    evtchn_bits_unmask(d->vcpu[read_once(p->vcpu)], arg->port);
    return 0;
}

long evtchnop_status(struct hypercall *hc, struct evtchn_status *arg)
{
    struct domain *d = hc->target;
    if (arg->port >= d->evtchn.port_limit) {
        return -EINVAL;
    }
    struct evtchn_port copy = {.state = PORT_FREE};
    const struct evtchn_port *p = find_port(d, arg->port);
    spin_lock(&d->evtchn_lock);
    if (p) {
        copy = *p;
    }
    spin_unlock(&d->evtchn_lock);

    arg->vcpu = copy.vcpu;
    switch (copy.state) {
    case PORT_UNBOUND:
        arg->status = EVTCHNSTAT_unbound;
        arg->u.unbound.dom = copy.remote_domid;
        break;
    case PORT_INTERDOMAIN:
        arg->status = EVTCHNSTAT_interdomain;
        arg->u.interdomain.dom = copy.remote_domid;
        arg->u.interdomain.port = copy.remote_port;
        break;
    case PORT_PIRQ:
        arg->status = EVTCHNSTAT_pirq;
        arg->u.pirq = copy.pirq;
        break;
    case PORT_VIRQ:
        arg->status = EVTCHNSTAT_virq;
        arg->u.virq = copy.virq;
        break;
    case PORT_IPI:
        arg->status = EVTCHNSTAT_ipi;
        break;
    default:
        arg->status = EVTCHNSTAT_closed;
        break;
    }
    return 0;
}

long hc_event_channel_op(struct hypercall *hc)
{
    switch ((uint32_t)hc->arg[0]) {
#include "pv-abi/ops/evtchn.def"
    }
    return -ENOSYS;
}
