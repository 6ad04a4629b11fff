// SPDX-License-Identifier: MIT
/* The control domain, built from the loader's modules. */
#pragma once

#include "arch/boot_info.h"

/* Build domain 0 from module 0 (ELF kernel) and module 1 (initrd, optional) and let it run. Panics
 * with an explanation when it cannot. The modules' memory goes to the frame allocator. */
void dom0_build(const struct boot_info *info);
