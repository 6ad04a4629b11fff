// SPDX-License-Identifier: MIT
/*
 * Physical interrupts as a domain sees them: pirq numbers for I/O APIC inputs (GSIs) and message
 * interrupts, bound to event channels. The control domain has them all; to another domain it maps
 * the message interrupts of a device it has given to it.
 */
#pragma once

#include "base/types.h"

struct domain;

/* Number a GSI for d. *pirq < 0: choose one (the GSI's own) and return it there. A GSI already
 * mapped so is fine. Errors: -EINVAL, -EEXIST source or number in use. */
must_check int pirq_map_gsi(struct domain *d, int gsi, int *pirq);
/* Undo a mapping or reservation, unbinding it if necessary. -EINVAL when there is none. */
must_check int pirq_unmap(struct domain *d, unsigned pirq);

/* Undo all, when d ends. Returns 0. */
long pirq_release(struct domain *d);

/* Have port of d raised by pirq. -EINVAL not mapped, -EEXIST bound already, or the machine's error.
 * Called under d's evtchn_lock, as is pirq_unbind. */
must_check int pirq_bind(struct domain *d, unsigned pirq, uint32_t port);
/* Undo; nothing happens unless pirq is bound to port. */
void pirq_unbind(struct domain *d, unsigned pirq, uint32_t port);
/* Have pirq arrive at that pcpu, if it is bound. */
void pirq_route(struct domain *d, unsigned pirq, unsigned cpu);
/* Print where pirq goes. */
void pirq_show(const struct domain *d, unsigned pirq);
