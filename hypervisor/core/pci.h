// SPDX-License-Identifier: MIT
/*
 * PCI configuration space by the address and data ports, and the message interrupts of devices the
 * control domain drives. Only segment 0 is reachable this way. Lock: pci_lock (RANK_PCI) around
 * each use of the two ports.
 */
#pragma once

#include "base/types.h"

struct domain;

#define PCI_BDF(bus, devfn) ((uint16_t)((bus) << 8 | (devfn)))

/* One aligned access of 1, 2 or 4 bytes to register reg (< 256) of a function. */
uint32_t pci_read(uint16_t bdf, unsigned reg, unsigned bytes);
void pci_write(uint16_t bdf, unsigned reg, unsigned bytes, uint32_t value);
/* The function answers. */
bool pci_present(uint16_t bdf);

/* Accesses of the control domain to ports 0xcf8-0xcff: the address is latched per domain, data
 * accesses go to the hardware. What is no configuration access reads as ones, writes nothing. */
uint32_t pci_guest_in(struct domain *d, uint16_t port, unsigned bytes);
void pci_guest_out(struct domain *d, uint16_t port, unsigned bytes, uint32_t value);

/* Where a message interrupt of a device is written: MSI in configuration space, or one entry of an
 * MSI-X table. Plain data, filled by pci_msi_find(). */
struct pci_msi {
    uint16_t bdf;
    uint8_t cap; /* offset of the capability */
    bool msix;
    bool wide;                /* MSI: 64-bit address */
    bool maskable;            /* MSI: has mask bits */
    volatile uint32_t *entry; /* MSI-X: the table entry, mapped */
};

/* Find the MSI capability of a function (msix false), or entry `index` of its MSI-X table. Errors:
 * -ENODEV no such function or capability, -EINVAL no such entry, or the table lies where no device
 * can be, -ENOMEM. One caller at a time. */
must_check int pci_msi_find(uint16_t bdf, bool msix, unsigned index, struct pci_msi *out);
/* Program the message, leaving the interrupt masked where the device can mask. */
void pci_msi_program(const struct pci_msi *m, uint64_t address, uint32_t data);
void pci_msi_mask(const struct pci_msi *m, bool masked);
