// SPDX-License-Identifier: MIT
/* Debug registers with the checks that keep them out of the hypervisor. */
#pragma once

#include "core/domain.h"

/* The optional behaviour (vm_assist) this hypervisor has. */
#define VM_ASSISTS_KNOWN                                                                           \
    (1U << VMASST_TYPE_writable_pagetables | 1U << VMASST_TYPE_pae_extended_cr3 |                  \
     1U << VMASST_TYPE_architectural_iopl | 1U << VMASST_TYPE_runstate_update_flag)

/* Set DR0-3, 6 or 7 of v (current or not running). -EPERM: would reach the hypervisor; -EINVAL. */
must_check int misc_set_debugreg(struct vcpu *v, unsigned reg, uint64_t value);
