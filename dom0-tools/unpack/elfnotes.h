/* SPDX-License-Identifier: MIT */
/*
 * What a domain builder must know of an ELF kernel: its segments and its Xen notes.
 *
 * The parser is pure and trusts nothing: offsets, sizes, alignments, strings and the arithmetic on
 * addresses are all checked, so that a builder may copy `filesz` bytes from `offset` and place
 * them at `load_pa` (relative to the guest's memory) without testing again. Addresses of the result
 * are virtual addresses of the initial mapping, va = virt_base + pseudo-physical address.
 * Used by dom0-tools/builder and `vane unpack-kernel --notes`.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dom0-tools/base/err.h"

#define ELF_INFO_MAX_SEGMENTS 32
#define ELF_INFO_NO_ADDR UINT64_MAX

/* A PT_LOAD segment. offset + filesz lies in the file; filesz <= memsz. */
struct elf_segment {
    uint64_t offset;  /* of its bytes in the file */
    uint64_t filesz;  /* bytes to copy */
    uint64_t memsz;   /* bytes it takes; the rest is zero */
    uint64_t load_pa; /* p_paddr - paddr_offset: offset into the guest's pseudo-physical memory */
    uint64_t vaddr;   /* where the initial mapping shows it: virt_base + load_pa */
    uint32_t flags;   /* PF_R, PF_W, PF_X; every page is mapped writable nevertheless */
};

struct elf_info {
    struct elf_segment
        segments[ELF_INFO_MAX_SEGMENTS]; /* in file order, none empty, none overlap */
    unsigned int segment_count;          /* at least 1 */
    uint64_t kernel_start;               /* lowest vaddr of a segment */
    uint64_t kernel_end;                 /* end of the highest, not rounded */

    uint64_t entry;              /* ENTRY note, else e_entry; inside the kernel */
    uint64_t virt_base;          /* VIRT_BASE */
    uint64_t paddr_offset;       /* PADDR_OFFSET */
    uint64_t hypercall_page;     /* HYPERCALL_PAGE: page to fill, inside the kernel; or NO_ADDR */
    uint64_t init_p2m;           /* INIT_P2M: page aligned, outside the kernel; or NO_ADDR */
    uint64_t hv_start_low;       /* HV_START_LOW or NO_ADDR */
    bool mod_start_pfn;          /* MOD_START_PFN: the ramdisk need not be mapped */
    bool suspend_cancel;         /* SUSPEND_CANCEL */
    bool has_l1_mfn_valid;       /* L1_MFN_VALID given: */
    uint64_t l1_mfn_mask;        /*   an L1 entry holds a frame number */
    uint64_t l1_mfn_value;       /*   if (entry & mask) == value */
    bool has_supported_features; /* SUPPORTED_FEATURES given, or FEATURES named some: */
    uint32_t supported_features; /*   XENFEAT_ bits the kernel can live with */
    uint32_t required_features;  /*   XENFEAT_ bits it cannot live without ('!' in FEATURES) */
    char guest_os[32];           /* GUEST_OS, "" if absent */
    char guest_version[32];      /* GUEST_VERSION, "" if absent */
    char loader[32];             /* LOADER, "" if absent */
    char xen_version[16];        /* XEN_VERSION, always "xen-3.0" */
};

/* Reads an x86-64 ELF kernel made to run paravirtualized.
 * Errors: ENOEXEC, with what is wrong: no ELF64 x86-64 executable, no Xen notes, an unknown
 * required feature, anything outside its bounds. */
int elf_info_parse(const void *image, size_t len, struct elf_info *info, struct err *err);
