// SPDX-License-Identifier: MIT
/*
 * Paravane's own domctl: whole pages of the caller's memory are copied into frames of a domain, as
 * a builder does that need not map them. The control domain's alone, in the envelope of struct
 * xen_domctl, whose interface version it has; the argument lies where the envelope's union begins.
 *
 * A frame must be the domain's and usable as writable (-EINVAL); what has been copied before an
 * error stays. The caller's pages must be there (-EFAULT): touch them and call again.
 */
#pragma once

#include "pv-abi/abi.h"

#define PV_DOMCTL_write_pages 0x5056 /* 20566 */
#define PV_WRITE_PAGES_MAX 256u      /* in a call: -E2BIG */

struct pv_domctl_write_pages {
    uint64_t count;                     /* IN: may be 0, to ask whether there is this call */
    XEN_GUEST_HANDLE_64(uint64) frames; /* IN: machine frames, one a page */
    XEN_GUEST_HANDLE_64(uint8) data;    /* IN: the pages, one after the other */
};
_Static_assert(sizeof(struct pv_domctl_write_pages) == 24, "ABI");
_Static_assert(sizeof(struct pv_domctl_write_pages) <= sizeof(((struct xen_domctl *)0)->u), "ABI");
