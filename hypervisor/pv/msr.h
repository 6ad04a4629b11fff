// SPDX-License-Identifier: MIT
/* Model-specific registers as guest kernels see them: a table of answers; nothing a guest writes
 * reaches the hardware but segment bases. */
#pragma once

#include "core/domain.h"

/* Read or write for v, which is current and in kernel mode. False: #GP. */
must_check bool msr_read(struct vcpu *v, uint32_t msr, uint64_t *value);
must_check bool msr_write(struct vcpu *v, uint32_t msr, uint64_t value);
