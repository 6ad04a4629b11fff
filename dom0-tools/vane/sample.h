/* SPDX-License-Identifier: MIT */
/*
 * Taking a sample: all counters of this machine's domains at one moment, for dom0-tools/usage.
 *
 * Processor times come from the hypervisor, names from the store, traffic from the statistics that
 * the kernel's back ends keep in sysfs. What cannot be read for one domain, because it has just
 * gone, is left at nothing.
 */
#pragma once

#include "dom0-tools/usage/usage.h"
#include "dom0-tools/vane/look.h"

/* Takes a sample; usage_sample_free() it. */
int sample_take(const struct look *look, struct usage_sample *sample, struct err *err);
