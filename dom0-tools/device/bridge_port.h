/* SPDX-License-Identifier: MIT */
/*
 * What a bridge lets through from one of its ports. Used by net.c.
 */
#pragma once

#include <stdint.h>

/* From now on the bridge drops what arrives at this port from another hardware address than `mac`,
 * and learns none there: the guest behind it can neither send in another's name nor draw another's
 * frames to itself. Errors: as the kernel gives, EOPNOTSUPP or EINVAL before Linux 5.18. */
int bridge_port_lock(unsigned int interface, const uint8_t mac[6]);
