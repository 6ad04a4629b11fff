/* SPDX-License-Identifier: MIT */
/*
 * PCI functions of the machine, as the control domain's kernel shows them in its /sys, and moving
 * them between its own drivers and xen-pciback, which hands them to guests.
 *
 * All functions take the directory /sys is at, so that tests may have one of their own. Used by
 * hostdev.c and vane/pci.c.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "dom0-tools/base/err.h"
#include "dom0-tools/config/config.h"

#define PCI_SYSFS "/sys"
#define PCI_RANGES 6
#define PCI_BACK "pciback" /* the driver's name there */

/* Addresses a function answers at: frames of device memory, or ports. */
struct pci_range {
    bool ports;
    uint64_t first;
    uint64_t count;
};

struct pci_function {
    char name[CONFIG_PCI_NAME_BYTES];
    char driver[32]; /* "": none */
    uint16_t vendor;
    uint16_t device;
    uint32_t class; /* three bytes */
    bool message;   /* can interrupt by message */
    struct pci_range ranges[PCI_RANGES];
    unsigned int range_count;
};

/* Errors: ENOENT no such function; EIO when it cannot be read. */
int pci_read(const char *sysfs, const char *name, struct pci_function *function, struct err *err);

/* Calls visit() for every function of the machine, in order, until it returns something else than
 * 0, and returns that. */
int pci_each(const char *sysfs, int (*visit)(const struct pci_function *function, void *context),
             void *context, struct err *err);

/* Takes a function from its driver, if it has one, and gives it to pciback.
 * On failure its driver has it again. Errors: ENODEV no pciback; what the kernel says. */
int pci_take(const char *sysfs, const struct pci_function *function, struct err *err);

/* Takes it from pciback and lets the kernel find a driver for it. */
int pci_give_back(const char *sysfs, const char *name, struct err *err);
