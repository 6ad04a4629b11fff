// SPDX-License-Identifier: MIT
/* Emulation of the privileged instructions a guest kernel executes at CPL 3. */
#pragma once

#include "core/domain.h"

/* A #GP in guest mode. True: the instruction has been emulated and rip advanced (or another
 * exception has been delivered for it); false: nothing changed, the #GP is the guest's. v is
 * current. */
must_check bool priv_emul_gp(struct vcpu *v, struct cpu_user_regs *regs);
/* A #UD in guest mode: true if it was the prefix that asks for the hypervisor's CPUID. */
must_check bool priv_emul_ud(struct vcpu *v, struct cpu_user_regs *regs);
/* CR4 bits a guest may choose. */
uint64_t priv_emul_cr4_mask(void);
