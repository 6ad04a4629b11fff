// SPDX-License-Identifier: MIT
/* CPUID as guests see it: the processor's features less those a paravirtual guest must not use,
 * plus the hypervisor's own leaves at 0x40000000. */
#pragma once

#include "core/domain.h"

/* Answer CPUID for v. */
void cpuid_guest(const struct vcpu *v, uint32_t leaf, uint32_t subleaf, struct cpuid_regs *out);
/* XCR0 bits a guest may set; 0: XSAVE is not offered. */
uint64_t cpuid_guest_xcr0(void);
