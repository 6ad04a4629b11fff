/* SPDX-License-Identifier: MIT */
/*
 * PCI functions of the machine that guests have: who has which, and their coming and going.
 *
 * All of a guest's functions are one device to the store, "pci" number 0, with a slot for each:
 * key-N, dev-N, opts-N, state-N, and taken-N, which is ours: 1 when the function was bound to
 * pciback for this guest and goes back to where it was. A slot in state Closed is free. The
 * hypervisor is told by vane/passthrough.c what of a function the guest may touch.
 *
 *   hostdev_check(), _begin(), _finish()   a new guest's, as device.h has it for all
 *   hostdev_add(), hostdev_drop()          one of a running guest
 *   hostdev_taken(), hostdev_return()      before and after all of a guest's have gone
 */
#pragma once

#include "dom0-tools/device/device.h"
#include "dom0-tools/device/pci.h"

/* A guest's driver numbers them with five bits. */
#define HOSTDEV_SLOTS 32u

/* Finds who has a function. Returns: whether somebody does. */
bool hostdev_owner(struct xs_handle *xs, const char *name, uint32_t *domid);

/* Calls visit() for each function of a guest, until it returns something else than 0. */
int hostdev_each(struct xs_handle *xs, uint32_t domid,
                 int (*visit)(unsigned int slot, const char *name, bool taken, void *context),
                 void *context);

/* Tests whether a function can be given to a guest; `take` says whether it may be taken from a
 * driver of the control domain, and `hint` how to. Errors: EINVAL, EOPNOTSUPP, EBUSY, ENODEV. */
int hostdev_usable(struct xs_handle *xs, const struct pci_function *function, bool take,
                   const char *hint, struct err *err);

int hostdev_check(struct xs_handle *xs, const struct vane_config *config, struct err *err);
int hostdev_begin(struct device_set *set, struct err *err);
int hostdev_finish(struct device_set *set, struct err *err);

/* A function for a running guest. */
struct hostdev_gift {
    const char *function; /* its full name */
    bool taken;           /* it goes back to its driver in the end */
    bool answer;          /* the guest runs: wait until it has connected to it */
    int lock;             /* the life lock, closed as soon as the function is claimed */
};

/* Gives a running guest a function that pciback has, or offers it to one that is paused. On failure
 * the guest has it not. Errors: EBUSY, ETIMEDOUT, what patience->stop() says. */
int hostdev_add(const struct device_name *name, struct hostdev_gift gift,
                const struct device_patience *patience, struct err *err);

/* Takes a function from a running guest; *taken says whether it is to be given back.
 * Errors: ENOENT it has it not; as device_unplug(). */
int hostdev_drop(const struct device_name *name, const char *function, bool force, bool *taken,
                 const struct device_patience *patience, struct err *err);

/* The functions that are to be given back when a guest has gone. */
struct hostdev_list {
    size_t count;
    char names[HOSTDEV_SLOTS][CONFIG_PCI_NAME_BYTES];
};
void hostdev_taken(struct xs_handle *xs, uint32_t domid, struct hostdev_list *list);
/* Gives back what guest `domid` had, but for what another has got meanwhile: that goes back when
 * the other has gone. Errors: of the first that could not be given back; the others are
 * nevertheless. */
int hostdev_return(struct xs_handle *xs, uint32_t domid, const struct hostdev_list *list,
                   struct err *err);
