// SPDX-License-Identifier: MIT
/*
 * Event channels: ports, what they are bound to, and the 2-level pending/mask bitmaps shared with
 * the guest. Locks: evtchn_lock of the domain (RANK_DOM_EVTCHN), and one for each port
 * (RANK_EVTCHN_PORT). Setting pending bits of the shared page needs no lock.
 */
#pragma once

#include "base/config.h"
#include "base/lock.h"
#include "base/types.h"
#include "pv-abi/abi.h"

struct domain;
struct vcpu;

struct evtchn_port {
    struct spinlock lock;
    /* change under `lock` and evtchn_lock: either one is enough to read */
    uint16_t state;       /* EVTCHNSTAT_* */
    uint16_t vcpu;        /* notified */
    uint16_t irq;         /* number of the virtual or physical interrupt */
    domid_t remote_domid; /* unbound: who may bind; interdomain: the peer */
    uint32_t remote_port;
    /* Interdomain. SAFETY: the peer's death closes this port first, under this lock, so under it
     * the pointer is good without a reference. */
    struct domain *remote;
};

#define PORTS_PER_PAGE (4096 / sizeof(struct evtchn_port))
struct evtchn_table {
    struct evtchn_port *page[DIV_ROUND_UP(MAX_EVTCHNS, PORTS_PER_PAGE)]; /* grown on demand */
    uint32_t port_limit; /* ports >= this are refused, <= MAX_EVTCHNS */
    uint32_t used;
    uint32_t lowest; /* no port below is free */
};

must_check int evtchn_init(struct domain *d, uint32_t max_port);
/* Close every port; idempotent, bounded by MAX_EVTCHNS. Part of domain death: d is DYING by then,
 * so no port is bound afterwards. */
long evtchn_close_all(struct domain *d);
void evtchn_free(struct domain *d);

/* d notifies the other end of its port. -EINVAL; 1 when a vCPU has been told. */
long evtchn_send(struct domain *d, uint32_t port);
/* Raise a virtual interrupt: per-vCPU, and global ones (delivered where the domain bound them). */
void evtchn_send_virq(struct vcpu *v, unsigned virq);
void evtchn_send_global_virq(struct domain *d, unsigned virq);
/* A physical interrupt bound to d's port has arrived. Takes the evtchn_lock. */
void evtchn_send_pirq(struct domain *d, uint32_t port);
/* Mark `port` of d, which the caller knows to be bound, pending. No lock needed. False: nobody was
 * to be told. */
bool evtchn_set_pending(struct domain *d, uint32_t port);
/* For the key `e`: a line of the log for each port in use. Takes no lock; what it shows may be a
 * moment old. */
void evtchn_show(const struct domain *d);

/* ---- evtchn_bits.c: the words shared with the guest ---- */
/* Set the pending bit; if that is news and the port is not masked, notify the vCPU whose number is
 * at `vcpu`. 0: nobody was to be told. */
long evtchn_bits_raise(struct domain *d, uint32_t port, const uint16_t *vcpu);
/* The port belongs to v from now on: notify it of what is pending. */
void evtchn_bits_rebound(struct vcpu *v, uint32_t port);
/* Clear the mask bit and notify v of what was pending meanwhile. */
void evtchn_bits_unmask(struct vcpu *v, uint32_t port);
void evtchn_bits_clear(struct domain *d, uint32_t port);
/* After vcpu_info moved, make everything look pending once so nothing is lost. */
void evtchn_bits_resync(struct vcpu *v);
bool evtchn_is_pending(const struct domain *d, uint32_t port);
bool evtchn_is_masked(const struct domain *d, uint32_t port);
