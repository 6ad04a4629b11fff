/* SPDX-License-Identifier: MIT */
/*
 * What the files of libhv share: the open handles and the envelope calls.
 *
 * Memory handed to the hypervisor comes from xencall_alloc_buffer(), which is locked and never
 * copied on write; nothing on the stack or heap of the program is ever named in a hypercall, but
 * the pages of hv_write_pages(), which touches them again if need be.
 */
#pragma once

#include "dom0-tools/libhv/hv.h"

#include <xencall.h>
#include <xenforeignmemory.h>
#include <xentoollog.h>

struct hv {
    xencall_handle *call;            /* hypercalls */
    xenforeignmemory_handle *memory; /* mappings of other domains' pages */
    void *scratch;                   /* a page for the structure of the call that is being made */
};

/* The logger of the libraries below: says nothing. */
extern xentoollog_logger hv_quiet;

/* Issues a domctl: fills in the version, copies *op in and back out. */
int hv_domctl(struct hv *hv, struct xen_domctl *op);

/* Issues a sysctl in the same way. */
int hv_sysctl(struct hv *hv, struct xen_sysctl *op);

/* Issues a call of two arguments whose second is a structure that is copied in and back out.
 * Returns: the call's result, or a negative errno. */
long hv_call_struct(struct hv *hv, unsigned int call, unsigned int op, void *arg, size_t bytes);
