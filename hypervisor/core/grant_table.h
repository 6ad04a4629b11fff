// SPDX-License-Identifier: MIT
/*
 * Grant tables, version 1: how a domain lets another map or copy its frames. Version 2, transfer
 * and transitive grants are refused on purpose. Lock: the table's (RANK_DOM_GRANT), by domain id
 * where two are needed; never held while taking another domain's mmu_lock out of rank order.
 */
#pragma once

#include "base/compiler.h"
#include "base/types.h"
#include "pv-abi/abi.h"

struct domain;
struct frame;

must_check int grant_table_create(struct domain *d, uint32_t max_frames, uint32_t max_maptrack);
/* Undo all mappings d made of others' frames; part of domain death: -ERESTART until done. */
must_check long grant_table_release_mappings(struct domain *d);
/* Free the table; the last reference of d is gone. */
void grant_table_free(struct domain *d);
/* Grow to at least nr frames; errno. Frames are shared with d (frame_share). */
must_check int grant_table_grow(struct domain *d, uint32_t nr_frames);
uint32_t grant_table_frames(const struct domain *d);
/* The most it may grow to. */
uint32_t grant_table_max_frames(const struct domain *d);
mfn_t grant_table_frame_mfn(const struct domain *d, uint32_t index);
