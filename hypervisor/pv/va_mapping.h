// SPDX-License-Identifier: MIT
/* TLB flushes on the pcpus of named vCPUs, shared by update_va_mapping and mmuext_op. */
#pragma once

#include "core/domain.h"

/* Flush (enum FLUSH_*) on the pcpus where the vCPUs of the guest's bitmap run. -EFAULT. */
must_check int va_mapping_flush_vcpus(struct domain *d, vaddr_t bitmap_va, unsigned flags,
                                      vaddr_t va);
