// SPDX-License-Identifier: MIT
/*
 * Physical interrupts as a domain sees them: pirq numbers for I/O APIC inputs (GSIs) and message
 * interrupts, bound to event channels. Only the control domain has any today. A level-triggered
 * GSI stays masked from its arrival to the guest's EOI. Lock: irq_lock (RANK_IRQ).
 */
#pragma once

#include "base/compiler.h"
#include "base/types.h"

struct domain;
struct pci_msi;

enum pirq_type {
    PIRQ_NONE = 0,
    PIRQ_RESERVED, /* number handed out, nothing behind it yet */
    PIRQ_GSI,
    PIRQ_MSI,
};

/* Number a source for d. *pirq < 0: choose one (the GSI's own number for a GSI) and return it
 * there. A GSI already mapped so is fine. Errors: -EINVAL, -EEXIST source or number in use,
 * -ENOSPC. */
must_check int pirq_map_gsi(struct domain *d, int gsi, int *pirq);
must_check int pirq_map_msi(struct domain *d, const struct pci_msi *msi, int *pirq);
must_check int pirq_reserve(struct domain *d, uint32_t *pirq);
/* Undo, unbinding it if necessary. -EINVAL when it is not mapped. */
must_check int pirq_unmap(struct domain *d, int pirq);

/* Have port of d raised by pirq. -EINVAL not mapped, -EEXIST bound already, or the machine's error.
 * Called under d's evtchn_lock, as is pirq_unbind. */
must_check int pirq_bind(struct domain *d, unsigned pirq, uint32_t port);
/* Undo; nothing happens unless pirq is bound to port. */
void pirq_unbind(struct domain *d, unsigned pirq, uint32_t port);

/* The guest has served it. -EINVAL when it is not mapped. */
must_check int pirq_eoi(struct domain *d, unsigned pirq);
/* *needs_eoi: the guest must say EOI after each arrival. */
must_check int pirq_status(struct domain *d, unsigned pirq, bool *needs_eoi);
/* Set trigger and polarity of a GSI; -EEXIST while it is bound. */
must_check int pirq_setup_gsi(int gsi, bool level, bool low);

/* All message interrupts of a device: write again; forget, the device is gone. */
void pirq_restore_device(uint16_t bdf);
void pirq_forget_device(uint16_t bdf);
