/* SPDX-License-Identifier: MIT */
/*
 * Loop devices: image files as block devices, without any program's help.
 *
 * A loop device made here clears itself when its last user closes it, so it lives exactly as long
 * as the back end (or the descriptor returned) holds it, whoever dies first.
 * Used by disk.c.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "dom0-tools/base/err.h"

/* Major number of loop devices. */
#define LOOP_DEVICE_MAJOR 7u

/* Puts a file behind a free loop device.
 * Returns: a descriptor that keeps the device alive, with its number in *device; or negative. */
int loop_attach(const char *path, bool readonly, dev_t *device, struct err *err);

/* What is behind a loop device. Errors: -ENXIO when nothing is. */
int loop_backing(unsigned int number, dev_t *file_device, ino_t *file_inode, bool *readonly);

/* Finds a loop device other than those for which skip() is true that shows this file.
 * Returns: true with the device's number and mode. */
bool loop_find(dev_t file_device, ino_t file_inode,
               bool (*skip)(unsigned int number, void *context), void *context,
               unsigned int *number, bool *readonly);
