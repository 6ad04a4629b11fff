// SPDX-License-Identifier: MIT
/* What core/ asks of pv/: the only arrows in that direction. */
#pragma once

#include "base/types.h"

struct domain;
struct vcpu;
struct frame;
struct vcpu_guest_context;

/* Granted frames in the current vCPU's page tables (pv/grant_pte.c). The caller holds general (and,
 * for a writable mapping, writable) references on the frame for the mapping. host_addr is a linear
 * address, or with contains_pte the machine address of the entry (8-byte aligned). avail: software
 * bits for the entry, already in place (bits 9-11). Errors: -EINVAL, -EFAULT; GNTST mapping
 * is the caller's business. Replaces whatever was mapped and drops its references. */
must_check int pv_grant_map(struct vcpu *v, uint64_t host_addr, bool contains_pte, struct frame *f,
                            bool writable, uint64_t avail);
/* Clear the entry if it maps f with that writability (else -EINVAL, nothing changed). Owes all
 * TLBs of the domain's CPUs a full flush: its table may be in use at other addresses, too. Drops no
 * reference on the frame. The entry may have moved to another address space: v is the current vCPU
 * of the mapping domain. */
must_check int pv_grant_unmap(struct vcpu *v, uint64_t host_addr, bool contains_pte,
                              const struct frame *f, bool writable);

/* Drop one reference of the given page-table or descriptor type with its general reference; may
 * leave the frame on the current vCPU's mmu_deferred list. */
void pv_page_type_put(struct frame *f);

/* Life of the paravirtual part of vCPUs and domains (pv/context.c). */
must_check int pv_vcpu_init(struct vcpu *v);
void pv_vcpu_free(struct vcpu *v);
/* Drop page tables, GDT and LDT of a vCPU that does not run. -ERESTART until done. */
must_check long pv_vcpu_release(struct vcpu *v);
/* Take page tables of a dying domain apart, then drop its frames' ALLOCATED references, a bit at a
 * time: -ERESTART until done. */
must_check long pv_domain_relinquish(struct domain *d);

/* Have no table of d map device memory that it may not reach. -ERESTART until done. */
must_check long pv_device_unmap(struct domain *d);

/* Check a guest context and load it into v, which is not running: VCPUOP_initialise,
 * setvcpucontext. All or nothing. -ERESTART while page tables are being validated. */
must_check long pv_context_set(struct vcpu *v, const struct vcpu_guest_context *c);
void pv_context_get(struct vcpu *v, struct vcpu_guest_context *c);
/* v's virtual IOPL, at most 3. */
void pv_set_iopl(struct vcpu *v, unsigned iopl);
/* Raise an NMI on v. */
void pv_nmi_raise(struct vcpu *v);
/* Fill a page with hypercall stubs (pv/hypercall_page.c); a frame of d, false if it has not that.
 */
void hypercall_page_fill(void *page);
bool hypercall_page_write(struct domain *d, mfn_t mfn);
/* The processor's own feature words, in the ABI's order (pv/cpu_policy.c). */
void pv_host_features(uint32_t *words, unsigned count);
