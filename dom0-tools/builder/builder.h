/* SPDX-License-Identifier: MIT */
/*
 * The domain builder: makes an empty domain a guest that is ready to run.
 *
 * Loading the files (builder_image_load) and checking that they fit (builder_check) come before a
 * domain exists, so a bad kernel costs nothing. builder_build() then fills the domain: memory,
 * kernel, ramdisk, frame list, page tables, start info, first vCPU, grants and event channels for
 * console and store. It leaves the domain paused. On failure the caller destroys the domain; the
 * builder keeps no mapping of it.
 * Used by dom0-tools/vane/life*.c.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "dom0-tools/base/err.h"
#include "dom0-tools/libhv/hv.h"
#include "dom0-tools/unpack/elfnotes.h"

/* A ramdisk may be this big; more is a mistake in a file name. */
#define BUILDER_MAX_KERNEL_BYTES ((size_t)512 << 20)
#define BUILDER_MAX_RAMDISK_BYTES ((size_t)4 << 30)

/* A kernel and its ramdisk in the tool's memory. */
struct builder_image {
    void *elf; /* unpacked kernel */
    size_t elf_bytes;
    int elf_fd;           /* where elf is mapped from, with holes that are zero; -1: allocated */
    struct elf_info info; /* what its headers and notes say */
    void *ramdisk;        /* mapped; NULL for none */
    size_t ramdisk_bytes;
};

/* What to build, and what came of it. */
struct builder_guest {
    uint32_t domid;         /* an existing domain without memory */
    uint64_t frames;        /* frames it starts with */
    uint64_t max_frames;    /* frames it may ever own, >= frames */
    uint32_t vcpus;         /* as at its creation */
    const char *cmdline;    /* at most 1023 bytes */
    uint32_t store_domid;   /* who serves the store */
    uint32_t console_domid; /* who serves the console */
    uint32_t store_port;    /* OUT: the guest's event channels */
    uint32_t console_port;  /* OUT */
    uint64_t store_frame;   /* OUT: machine frames of the ring pages */
    uint64_t console_frame; /* OUT */
};

/* Reads kernel (bzImage or ELF) and ramdisk (NULL: none) and parses the kernel.
 * Errors: those of opening the files; ENOEXEC for a kernel that cannot be started. */
int builder_image_load(const char *kernel, const char *ramdisk, struct builder_image *image,
                       struct err *err);

/* Frees what builder_image_load() made. */
void builder_image_free(struct builder_image *image);

/* Tests whether the image fits into a guest of that many frames. */
int builder_check(const struct builder_image *image, uint64_t frames, struct err *err);

/* Fills the domain. Errors: ENOMEM when memory runs out, others as the hypervisor gives them. */
int builder_build(struct hv *hv, const struct builder_image *image, struct builder_guest *guest,
                  struct err *err);
