/* SPDX-License-Identifier: MIT */
/*
 * Kernels that have been unpacked before: unpacking one takes seconds, starting it again must not.
 *
 * An entry is the boot image as it was and the ELF file that came out of it, with holes where that
 * is zero. An image is looked for by its size and its first page's sum and compared with the kept
 * one byte by byte, so only the very same image finds an entry. The folder is root's alone; it may
 * be deleted at any time, holds KERNEL_CACHE_ENTRIES at most, and those not used for longest go.
 * All failures are as if there were no entry.
 */
#pragma once

#include <stddef.h>

#define KERNEL_CACHE_FOLDER "/var/cache/paravane"
#define KERNEL_CACHE_ENTRIES 8u

/* Maps (base/map.h) what an image was unpacked to. Returns: the descriptor of what is mapped, whose
 * holes need not be read; -1 when there is no entry. */
int kernel_cache_get(const char *folder, const void *image, size_t image_bytes, void **elf,
                     size_t *elf_bytes);

/* Keeps what an image has been unpacked to. */
void kernel_cache_put(const char *folder, const void *image, size_t image_bytes, const void *elf,
                      size_t elf_bytes);
