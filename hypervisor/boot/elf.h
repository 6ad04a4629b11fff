// SPDX-License-Identifier: MIT
/* A guest kernel image as ELF64 with Xen notes (abi: xen/elfnote.h). Pure parser: reads the image,
 * touches nothing else, trusts no offset in it. */
#pragma once

#include "base/compiler.h"
#include "base/types.h"

#define ELF_SEGMENTS_MAX 16

struct elf_segment {
    const uint8_t *data; /* in the image */
    uint64_t file_bytes;
    uint64_t paddr; /* pseudo-physical address to load at, page arithmetic not done */
    uint64_t memory_bytes;
};

struct elf_image {
    unsigned segment_count;
    struct elf_segment segment[ELF_SEGMENTS_MAX];
    uint64_t low_paddr, high_paddr; /* [low, high) of all segments */
    uint64_t entry;
    uint64_t virt_base;
    uint64_t init_p2m;       /* 0: the kernel wants the list inside the initial mapping */
    uint64_t hypercall_page; /* 0: none wanted */
    bool mod_start_pfn;      /* the initrd may stay unmapped */
    bool can_be_control;     /* no SUPPORTED_FEATURES note, or one with the dom0 bit */
};

/* NULL, or what is wrong with the image in a few words. */
must_check const char *elf_parse(const void *image, uint64_t bytes, struct elf_image *out);
