/* SPDX-License-Identifier: MIT */
/*
 * A guest's disks, network cards and PCI devices: the control domain's half of them.
 *
 * The work is done by the kernel's own back ends (xen-blkback, xen-netback); this module gives them
 * block devices and store nodes, waits for them and joins the network interfaces to bridges. No
 * hotplug script or udev rule takes part.
 *
 *   device_check()   nothing exists yet: is everything there and free?
 *   device_begin()   loop devices and store nodes; back ends start to work
 *   device_finish()  back ends are ready, interfaces stand in their bridges
 *   device_remove()  back ends let go, nodes are gone, loop devices clear themselves
 *
 * Of a running guest, device_plug() and device_unplug() add and take one (hotplug.c).
 *
 * device_remove() works from the store alone and may be repeated, so any process may take down what
 * another one set up. Callers hold the life lock (vane/life.h) from device_check() to the end of
 * device_begin(), or two guests could be given the same disk.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <xenstore.h>

#include "dom0-tools/base/err.h"
#include "dom0-tools/config/config.h"

/* Domain the back ends live in. */
#define DEVICE_BACKEND_DOMID 0u

/* How long to wait for others, and who may end it early. */
struct device_patience {
    unsigned int timeout_ms;
    int (*stop)(void *context); /* asked while waiting: an errno ends it, 0 goes on; or NULL */
    void *context;
};

/* A guest's devices while they are being set up. */
struct device_set {
    struct xs_handle *xs;
    uint32_t domid;
    const struct vane_config *config;
    struct device_patience patience;
    unsigned int first_net;      /* number of the configuration's first network card */
    int loops[CONFIG_MAX_DISKS]; /* keep loop devices alive until a back end does; -1: none */
};

/* Tests everything that can be tested before a domain exists.
 * Errors: ENOENT missing file, device or bridge; EBUSY disk in use; ENODEV no back end driver. */
int device_check(struct xs_handle *xs, const struct vane_config *config, struct err *err);

/* Makes a set that holds nothing yet. */
void device_set_init(struct device_set *set, struct xs_handle *xs,
                     const struct vane_config *config);

/* Starts the set-up for a domain. Whatever is returned, the set is to be ended. */
int device_begin(struct device_set *set, uint32_t domid, struct err *err);

/* Waits for the back ends and joins bridges. Errors: ETIMEDOUT, or what a back end reports. */
int device_finish(struct device_set *set, struct err *err);

/* Drops what the set itself holds. */
void device_set_end(struct device_set *set);

/* Takes down all devices of a domain. Returns: 0, or -ETIMEDOUT when a back end did not let go; its
 * nodes are removed nevertheless. */
int device_remove(struct xs_handle *xs, uint32_t domid);

/* --- hotplug.c: one device of a running guest ---------------------------------------------- */

/* A device: "vbd" and its virtual device number, "vif" and its index, or "pci" and 0. */
struct device_name {
    struct xs_handle *xs;
    uint32_t domid;
    const char *kind;
    unsigned int id;
};

bool device_exists(const struct device_name *name);

/*
 * Gives a guest the one device of `config`, which device_check() has passed; a network card gets
 * the number name->id. Closes `lock`, the life lock, as soon as the device is claimed. With
 * `answer`, waits until the guest has connected to it. On failure nothing of the device is left.
 * Errors: ETIMEDOUT, what patience->stop() says, what a back end reports.
 */
int device_plug(const struct device_name *name, const struct vane_config *config, int lock,
                bool answer, const struct device_patience *patience, struct err *err);

/* Waits until a guest has connected to a device whose nodes are there. Errors: as device_plug(). */
int device_wait_connected(const struct device_name *name, const struct device_patience *patience,
                          struct err *err);

/*
 * Takes a device from a guest, with its consent; by force it is gone whether the guest agrees or
 * not. A guest that has not reacted at all when time is up keeps the device as it was.
 * Errors: ETIMEDOUT, what patience->stop() says.
 */
int device_unplug(const struct device_name *name, bool force,
                  const struct device_patience *patience, struct err *err);
