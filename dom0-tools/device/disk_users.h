/* SPDX-License-Identifier: MIT */
/*
 * Which guests use what as a disk; see disk_users.c. Used by disk.c and device.c.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "dom0-tools/device/node.h"

/* What a disk is. */
struct disk_what {
    bool block;   /* a block device, else a file */
    dev_t device; /* the device itself, or the one the file lies on */
    ino_t inode;  /* of the file */
};

/* Notes that disk `id` of a domain is each of `whats`, two at most, in the transaction that makes
 * its back end. Failures are kept as by node_put(). */
void disk_users_add(struct node *back, uint32_t domid, unsigned int id,
                    const struct disk_what *whats, size_t count);

/* Forgets that, before the back end's nodes go. */
void disk_users_remove(const struct node *back, uint32_t domid, unsigned int id);

/* Calls visit() with domain and number of each disk that is noted to be that, until it does not
 * return 0. Returns: what visit() has. */
int disk_users_each(struct xs_handle *xs, const struct disk_what *what,
                    int (*visit)(void *context, const char *guest, const char *id), void *context);
