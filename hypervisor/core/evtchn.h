// SPDX-License-Identifier: MIT
/*
 * Event channels: ports, what they are bound to, and the 2-level pending/mask bitmaps shared with
 * the guest. Lock: evtchn_lock of the domain (RANK_DOM_EVTCHN); two domains by id. Setting pending
 * bits of the shared page needs no lock.
 */
#pragma once

#include "base/compiler.h"
#include "base/config.h"
#include "base/types.h"
#include "pv-abi/abi.h"

struct domain;
struct vcpu;

enum port_state {
    PORT_FREE = 0,
    PORT_RESERVED,
    PORT_UNBOUND,     /* waiting for remote_domid to bind */
    PORT_INTERDOMAIN,
    PORT_PIRQ,
    PORT_VIRQ,
    PORT_IPI,
};

struct evtchn_port {
    uint8_t state;        /* enum port_state */
    uint8_t virq;
    uint16_t vcpu;        /* notified */
    domid_t remote_domid; /* UNBOUND: who may bind; INTERDOMAIN: the peer */
    uint16_t pirq;
    uint32_t remote_port;
    struct domain *remote; /* INTERDOMAIN; the peer's death closes the port first, so no reference */
};

#define PORTS_PER_PAGE (4096 / sizeof(struct evtchn_port))
struct evtchn_table {
    struct evtchn_port *page[DIV_ROUND_UP(MAX_EVTCHNS, PORTS_PER_PAGE)]; /* grown on demand */
    uint32_t port_limit; /* ports >= this are refused, <= MAX_EVTCHNS */
    uint32_t used;
};

must_check int evtchn_init(struct domain *d, uint32_t max_port);
/* Close every port; part of domain death; idempotent, bounded by MAX_EVTCHNS. */
void evtchn_close_all(struct domain *d);
void evtchn_free(struct domain *d);

/* Raise a virtual interrupt: per-vCPU, and global ones (delivered where the domain bound them). */
void evtchn_send_virq(struct vcpu *v, unsigned virq);
void evtchn_send_global_virq(struct domain *d, unsigned virq);
/* A physical interrupt bound to d's port has arrived. */
void evtchn_send_pirq(struct domain *d, uint32_t port);
/* An event the hypervisor itself owns the sending of: mark `port` of d pending. */
void evtchn_set_pending(struct domain *d, uint32_t port);
/* Something is deliverable to v right now (pending and not masked). */
bool evtchn_upcall_wanted(const struct vcpu *v);
/* evtchn_bits.c: after vcpu_info moved, make everything look pending once so nothing is lost. */
void evtchn_bits_resync(struct vcpu *v);
bool evtchn_is_pending(const struct domain *d, uint32_t port);
