// SPDX-License-Identifier: MIT
/* A guest kernel's direct store to one of its level-1 page tables, turned into a checked update. */
#pragma once

#include "core/domain.h"

/* The fault at cr2 was a write to a present, read-only page. True: it was a store to an L1 table
 * and has been carried out (rip advanced), or the instruction shall simply be tried again. */
must_check bool pt_write_fault(struct vcpu *v, struct cpu_user_regs *regs, vaddr_t cr2);
