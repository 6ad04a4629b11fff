// SPDX-License-Identifier: MIT
/* What core/sysctl.c takes from core/domctl.c. */
#pragma once

#include "core/domain.h"

/* Describe d as tools want it. Takes its life_lock. */
void domctl_fill_info(struct domain *d, struct xen_domctl_getdomaininfo *info);
/* Write `count` ones (all online CPUs, all nodes), cut or padded with zeros, to a guest's bitmap.
 * -EFAULT. */
must_check int domctl_write_bitmap(const struct xenctl_bitmap *map, unsigned count);
