/* SPDX-License-Identifier: MIT */
/*
 * Which machine frame is behind each of a paravirtual guest's own frame numbers.
 *
 * The guest keeps that list for itself and says in its shared page where: as a tree of frames of
 * three levels, or as an array in an address space of its own. Both are read through a function
 * that maps machine frames, so that tests can stand in for a guest. The guest may write nonsense
 * there: nothing is taken on trust but the frames the hypervisor lets us map.
 * Used by core.c.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "dom0-tools/base/err.h"

/* Entry of a frame that the guest has not. */
#define P2M_NONE UINT64_MAX

/* More frames than this (16 TiB) no guest has. */
#define P2M_MAX_FRAMES (1ull << 32)

/* Machine memory of the guest, to be read. */
struct p2m_source {
    /* Maps one machine frame; NULL if that cannot be. */
    const uint64_t *(*map)(void *context, uint64_t frame);
    void (*unmap)(void *context, const uint64_t *page);
    void *context;
};

/* Where the guest says its list is; the fields of its shared page. */
struct p2m_root {
    uint64_t max_pfn;
    uint64_t list_list; /* 0 or ~0: there is no tree */
    uint64_t cr3;       /* 0: there is no array */
    uint64_t address;
};

/* Reads the list: (*frames)[pfn] is a machine frame or P2M_NONE; free() it.
 * Errors: ENODATA the guest has told nothing; EFBIG; EFAULT what it told cannot be read; ENOMEM. */
int p2m_read(const struct p2m_source *source, const struct p2m_root *root, uint64_t **frames,
             size_t *count, struct err *err);
