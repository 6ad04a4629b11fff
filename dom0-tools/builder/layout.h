/* SPDX-License-Identifier: MIT */
/*
 * Where everything of a new guest lies: pseudo-physical frames, initial mapping, page tables.
 *
 * Pure computation over numbers and over pages reached through a callback, so unit tests walk real
 * page tables in ordinary memory. The order of the parts is the one guests have always been given
 * (kernel, start info, store page, console page, page tables, stack; then, outside the initial
 * mapping, ramdisk and p2m list), because Linux derives free memory from it.
 * Used by builder.c and tests/unit/test_builder_layout.c.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dom0-tools/base/err.h"
#include "dom0-tools/unpack/elfnotes.h"

/* A run of pseudo-physical frames; count 0 when the part does not exist. */
struct builder_segment {
    uint64_t pfn;
    uint64_t count;
};

/* A range of virtual addresses with the tables that map it; index is the table's level. */
struct builder_area {
    uint64_t va;                      /* first address, page aligned */
    uint64_t count;                   /* pages mapped */
    uint64_t pfn;                     /* frame behind va; the rest follow in order */
    struct builder_segment tables[4]; /* levels 1 to 3; element 0 is unused */
};

struct builder_layout {
    uint64_t frames; /* frames of the guest */
    struct builder_segment kernel;
    struct builder_segment ramdisk;
    struct builder_segment p2m;        /* the list itself */
    struct builder_segment start_info; /* one frame each, from here to console */
    struct builder_segment store;
    struct builder_segment console;
    struct builder_segment tables; /* top-level table, then main's levels 3, 2, 1 */
    struct builder_segment stack;
    struct builder_segment p2m_tables; /* tables of p2m_area, right behind the list */
    struct builder_area main;          /* frames [0, main.count) at virt_base */
    struct builder_area p2m_area;      /* count 0 when the list lies in main */
    uint64_t p2m_va;                   /* where the guest sees the list */
    bool ramdisk_mapped;               /* the ramdisk lies in main */
};

/* Access to the guest's frames: the page of a pfn, writable, valid until the next call.
 * Returns NULL when it cannot be had; why is for the accessor to remember. */
struct builder_pages {
    void *(*page)(void *context, uint64_t pfn);
    void *context;
};

/* Places a kernel and a ramdisk of that size (0: none) in a guest of `frames` frames.
 * Errors: EBADMSG when they do not fit, ENOEXEC when the kernel asks for impossible addresses. */
int builder_layout(const struct elf_info *elf, uint64_t frames, uint64_t ramdisk_bytes,
                   struct builder_layout *layout, struct err *err);

/* Address at which the initial mapping shows a frame of main. */
uint64_t builder_layout_va(const struct builder_layout *layout, uint64_t pfn);

/* Writes the page tables; p2m[] is the machine frame of each pfn. Frames that hold tables are
 * mapped read-only, all others writable.
 * Returns: 0, or -EIO when a page could not be reached. */
int builder_page_tables(const struct builder_layout *layout, const uint64_t *p2m,
                        const struct builder_pages *pages);
