// SPDX-License-Identifier: MIT
/* What the files of the control interface share. */
#pragma once

#include "core/domain.h"

/* Describe d as tools want it. Takes its life_lock. */
void domctl_fill_info(struct domain *d, struct xen_domctl_getdomaininfo *info);
/* Write the mask of online CPUs, cut or padded with zeros, to a guest's bitmap. -EFAULT. */
must_check int domctl_write_cpumap(const struct xenctl_bitmap *map);
/* vCPU `id` of d, or NULL. */
struct vcpu *domctl_vcpu(struct domain *d, uint32_t id);
