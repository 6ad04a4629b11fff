// SPDX-License-Identifier: MIT
/*
 * Paravane's own domctl: which domain VIRQ_DOM_EXC was about. The control domain's alone, in the
 * envelope of struct xen_domctl, whose interface version it has; the domain it names is ignored,
 * and becomes the answer.
 *
 * A domain is noted when it shuts down or crashes, when it begins to die, and when it is gone; the
 * call takes one note away, of the lowest number, and says how that domain is now. -ENOENT when
 * there is none. Notes are kept whether or not anybody listens, so who starts to ask looks at all
 * domains once, after binding the interrupt. What a reader has taken is its own to remember, and an
 * answer that cannot be written (-EFAULT) is lost: look at all again. There is one reader: two
 * would get a part each.
 */
#pragma once

#include "pv-abi/abi.h"

#define PV_DOMCTL_changed_domain 0x5057 /* 20567 */

struct pv_domctl_changed_domain {
    uint32_t exists; /* OUT: 0 when it is gone, 1 while getdomaininfo still finds it */
    uint32_t flags;  /* OUT: XEN_DOMINF_* of getdomaininfo; of one that is gone, "dying" */
};
_Static_assert(sizeof(struct pv_domctl_changed_domain) == 8, "ABI");
