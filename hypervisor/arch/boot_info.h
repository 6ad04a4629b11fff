// SPDX-License-Identifier: MIT
/* What a boot loader hands over, independent of the protocol: multiboot 1 fills it today;
 * multiboot 2, EFI and PVH entries only need another filler. */
#pragma once

#include "arch/arch.h"

#define BOOT_MODULES_MAX 8
#define BOOT_E820_MAX 128
#define BOOT_CMDLINE_BYTES 2048

struct boot_module {
    maddr_t start;
    uint64_t bytes;
    char cmdline[BOOT_CMDLINE_BYTES]; /* without the file name */
};

struct boot_info {
    char loader[64];
    char cmdline[BOOT_CMDLINE_BYTES];
    unsigned e820_count;
    struct arch_e820 e820[BOOT_E820_MAX];
    unsigned module_count;
    struct boot_module module[BOOT_MODULES_MAX]; /* those beyond module_count are zero */
    maddr_t rsdp;                                /* 0: search the BIOS areas */
};

/* Translate what a multiboot loader left at machine address `mbi` (below 4 GiB, reachable through
 * the direct map) into *info, which is zero; false when `magic` is not that of such a loader. */
bool multiboot_fill(struct boot_info *info, uint32_t magic, maddr_t mbi);
