// SPDX-License-Identifier: MIT
/* Entry points of the guest kernel other than exceptions: events, failsafe, NMI, system calls. */
#pragma once

#include "core/domain.h"

/* Before returning to the guest: deliver what is pending to the current vCPU (failsafe, then NMI,
 * then one event upcall). */
void callback_deliver(struct vcpu *v);
/* A system call of guest user mode: SYSCALL in 64-bit or 32-bit code. */
void callback_syscall(struct vcpu *v, struct cpu_user_regs *regs, bool compat);
