// SPDX-License-Identifier: MIT
/* From the loader's modules to a running control domain. */
#pragma once

#include "arch/boot_info.h"
#include "base/types.h"

#define ELF_SEGMENTS_MAX 16

/* A control domain's kernel as ELF64 with Xen notes (abi: xen/elfnote.h). */
struct elf_image {
    unsigned segment_count;
    struct elf_segment {
        const uint8_t *data; /* in the image; what follows up to high_paddr is zero */
        uint64_t file_bytes;
        uint64_t paddr; /* pseudo-physical address to load at, not aligned */
    } segment[ELF_SEGMENTS_MAX];
    uint64_t low_paddr, high_paddr; /* [low, high) of all segments */
    uint64_t entry;
    uint64_t virt_base;
    uint64_t init_p2m;
    uint64_t hypercall_page; /* 0: none wanted */
};

/* Pure parser: reads the image, touches nothing else, trusts no offset in it. NULL, or what is
 * wrong with the image in a few words. */
must_check const char *elf_parse(const uint8_t *image, uint64_t bytes, struct elf_image *out);

/* Build domain 0 from module 0 (ELF kernel) and module 1 (initrd, optional) and let it run. Panics
 * with an explanation when it cannot. The modules' memory goes to the frame allocator. */
void dom0_build(const struct boot_info *info);
