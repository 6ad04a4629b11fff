// SPDX-License-Identifier: MIT
/* Prototypes of all hypercall handlers, from the rows of pv-abi/. */
#pragma once

#include "core/hypercall.h"

#define CALL(nr, name, nargs, handler, doc) long handler(struct hypercall *hc);
#include "pv-abi/hypercalls.def"
#undef CALL

#define OP(nr, name, type, dir, who, handler, doc) long handler(struct hypercall *hc, type *arg);
#define OP_VOID(nr, name, who, handler, doc) long handler(struct hypercall *hc);
#define OP_EACH(nr, name, type, handler, doc) long handler(struct hypercall *hc, type *arg);
#include "pv-abi/ops/evtchn.def"
#include "pv-abi/ops/gnttab.def"
#include "pv-abi/ops/memory.def"
#include "pv-abi/ops/physdev.def"
#include "pv-abi/ops/sched.def"
#undef OP
#undef OP_VOID
#undef OP_EACH

/* vcpu_op names a vCPU of the caller besides its argument. */
#define VOP(nr, name, type, handler, doc)                                                          \
    long handler(struct hypercall *hc, struct vcpu *v, type *arg);
#define VOP_VOID(nr, name, handler, doc) long handler(struct hypercall *hc, struct vcpu *v);
#include "pv-abi/ops/vcpu.def"
#undef VOP
#undef VOP_VOID

/* Envelopes: the whole structure is copied in and, after success, out again. */
#define ENV(nr, name, handler, doc)                                                                \
    long handler(struct hypercall *hc, struct domain *d, struct xen_domctl *op);
#include "pv-abi/ops/domctl.def"
#undef ENV
#define ENV(nr, name, handler, doc) long handler(struct hypercall *hc, struct xen_sysctl *op);
#include "pv-abi/ops/sysctl.def"
#undef ENV
#define ENV(nr, name, handler, doc) long handler(struct hypercall *hc, struct xen_platform_op *op);
#include "pv-abi/ops/platform.def"
#undef ENV
