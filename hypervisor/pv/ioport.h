// SPDX-License-Identifier: MIT
/* I/O ports as guests reach them through emulation. The control domain has the machine's ports but
 * for those the hypervisor lives on; other domains have none. A port a domain has no right to reads
 * as ones and ignores writes, as an empty bus does. */
#pragma once

#include "core/domain.h"

/* bytes: 1, 2 or 4. */
uint32_t ioport_in(struct domain *d, uint16_t port, unsigned bytes);
void ioport_out(struct domain *d, uint16_t port, unsigned bytes, uint32_t value);
