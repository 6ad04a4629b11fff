// SPDX-License-Identifier: MIT
/* The multiboot 1 protocol, as a filler of struct boot_info. */
#pragma once

#include "arch/boot_info.h"

/* Translate what the loader left at machine address `mbi` (below 4 GiB, reachable through the
 * direct map) into *info; false when `magic` is not that of a multiboot loader. */
bool multiboot_fill(struct boot_info *info, uint32_t magic, maddr_t mbi);
