// SPDX-License-Identifier: MIT
/* Debug registers with the checks that keep them out of the hypervisor. */
#pragma once

#include "core/domain.h"

/* Set DR0-3, 6 or 7 of v (current or not running). -EPERM: would reach the hypervisor; -EINVAL. */
must_check int misc_set_debugreg(struct vcpu *v, unsigned reg, uint64_t value);
