/* SPDX-License-Identifier: MIT */
/*
 * Linux boot images to the ELF kernel inside.
 *
 * A bzImage of boot protocol 2.08 or later names its payload's place; the payload is the kernel in
 * one of seven compressed forms, followed by the kernel's size. The image is untrusted: every
 * offset is tested against the file, output is bounded by KERNEL_UNPACK_MAX_BYTES whatever the
 * stream says, and the size trailer must agree with what came out.
 * Used by `vane unpack-kernel` and by the domain builder; pure, no files, no hypervisor.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "dom0-tools/base/err.h"

#define KERNEL_UNPACK_MAX_BYTES ((size_t)1 << 30)

/* Whether that is an ELF file already. */
bool kernel_is_elf(const void *image, size_t len);

/* Gives the ELF kernel of a bzImage; an ELF file comes back as a copy of itself.
 * Returns: 0 with new memory in *elf (free() it).
 * Errors: ENOEXEC for what is neither, or is truncated or corrupt; ENOMEM. */
int kernel_unpack(const void *image, size_t len, void **elf, size_t *elf_len, struct err *err);
