/* SPDX-License-Identifier: MIT */
/*
 * Images in QEMU's own format as block devices: qemu-nbd serves the file, the kernel's nbd driver
 * makes a device of it.
 *
 * The server outlives the program that started it and ends when the device is disconnected. What
 * is to be disconnected is known from the back end's nodes: the device's number, and a node
 * "served" that this module alone writes, so nobody else's network disk is ever touched.
 * Used by disk.c and device.c.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "dom0-tools/base/err.h"
#include "dom0-tools/device/node.h"

/* Major number of network block devices. */
#define NBD_DEVICE_MAJOR 43u

/* Starts a server for an image and connects it to a free device, whose number it stores. A writer
 * has the image for itself: the server locks it.
 * Errors: ENOENT qemu-nbd is not installed; ENODEV no driver; EBUSY; EIO what the server says. */
int nbd_attach(const char *path, bool readonly, dev_t *device, struct err *err);

/* Disconnects a device, which ends its server. */
void nbd_detach(unsigned int number);

/* Marks a back end as one whose device is to be disconnected with it. */
void nbd_mark(struct node *back);

/* Disconnects what a back end was served by, if it was. */
void nbd_release(const struct node *back);
