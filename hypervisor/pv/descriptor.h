// SPDX-License-Identifier: MIT
/* Segment descriptors a guest may have, and its GDT and LDT. */
#pragma once

#include "core/domain.h"

/* All descriptors of a page; fixes DPLs in place. -EINVAL. */
must_check int descriptor_page_check(uint64_t *page);
/* Replace v's GDT: frames by number, up to GDT_RESERVED_FIRST entries (0: none, cannot fail); v is
 * current or does not run. -EINVAL. Takes the lock. */
must_check int descriptor_set_gdt(struct vcpu *v, const mfn_t *frames, unsigned entries);
/* Forget the LDT pages that were faulted in. */
void descriptor_drop_ldt(struct vcpu *v);
/* The processor needs LDT page `page` of current: find, check and map it. False: no such page. */
must_check bool descriptor_ldt_fault(struct vcpu *v, unsigned page);
