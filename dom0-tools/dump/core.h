/* SPDX-License-Identifier: MIT */
/*
 * A guest's memory as a core file, in the form that Xen's tools write for paravirtual guests and
 * crash(8) and gdb's helpers read: ELF without program headers, with sections for notes, vCPU
 * contexts, the shared page, the list of frames and the frames themselves.
 *
 * The file is written beside its final name and renamed over it at the end, so there is never half
 * of one; pages of zeros take no room on the disk. The guest should be paused meanwhile.
 * Used by vane/core.c.
 */
#pragma once

#include "dom0-tools/base/err.h"
#include "dom0-tools/libhv/hv.h"

/* Writes the memory of a domain. `stop`, asked between pages, ends it when it is true.
 * Errors: ENOSPC, too little room on the disk, told before anything is written; EINTR when stopped;
 * those of p2m.h and of files. */
int core_write(struct hv *hv, uint32_t domid, const char *path, bool (*stop)(void),
               struct err *err);
