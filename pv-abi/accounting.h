// SPDX-License-Identifier: MIT
/*
 * Paravane's own sysctl: where the time of every vCPU has gone, in ns, added up at each change and
 * never sampled. The control domain's alone, in the envelope of struct xen_sysctl, whose interface
 * version it has; the argument lies where the envelope's union begins.
 *
 * A call may stop before the room is used up. Call again with what it left in domid and vcpu, and
 * the room in count, until domid is PV_ACCOUNTING_END:
 *
 *   arg = {.domid = 0, .vcpu = 0}
 *   do { arg.count = room; sysctl; use arg.count records; } while (arg.domid != PV_ACCOUNTING_END);
 */
#pragma once

#include "pv-abi/abi.h"

#define PV_SYSCTL_accounting 0x5056 /* 20566 */
#define PV_ACCOUNTING_END 0xffffu

#define PV_ACCOUNT_RUNNING 1u /* on a pcpu now */
#define PV_ACCOUNT_BLOCKED 2u /* waits for an event */
#define PV_ACCOUNT_DOWN 4u    /* not brought up by its guest */
#define PV_ACCOUNT_PAUSED 8u  /* its domain is paused, shut down or dying */

/* The five times add up, to the nanosecond, to the time since the vCPU was made: the period between
 * two readings of a vCPU is the difference of these sums. What a domain wants of a processor is
 * (used + system) / (period - ready), all of them differences between two readings. */
struct pv_vcpu_account {
    uint16_t domid;      /* OUT */
    uint16_t flags;      /* OUT: PV_ACCOUNT_* */
    uint32_t vcpu;       /* OUT */
    uint32_t pcpu;       /* OUT: where it runs, or would */
    uint16_t weight;     /* OUT: of the domain */
    uint16_t cap;        /* OUT: of the domain, percent of a pcpu; 0 none */
    uint64_t used_ns;    /* OUT: the guest's own code ran */
    uint64_t ready_ns;   /* OUT: could run, and waited for a pcpu (or for its cap to let it) */
    uint64_t wait_ns;    /* OUT: blocked */
    uint64_t offline_ns; /* OUT: down or paused, and not blocked */
    uint64_t
        system_ns; /* OUT: the hypervisor ran on its behalf, interrupts that arrived included */
};
typedef struct pv_vcpu_account pv_vcpu_account_t;
__DEFINE_XEN_GUEST_HANDLE(pv_vcpu_account, pv_vcpu_account_t);
_Static_assert(sizeof(struct pv_vcpu_account) == 56, "ABI");
_Static_assert(offsetof(struct pv_vcpu_account, used_ns) == 16, "ABI");

struct pv_sysctl_accounting {
    uint16_t domid;  /* IN: first domain. OUT: domain to go on with, or PV_ACCOUNTING_END */
    uint16_t vcpu;   /* IN: its first vCPU. OUT: vCPU to go on with */
    uint32_t count;  /* IN: room in the buffer, in records. OUT: records written */
    uint64_t now_ns; /* OUT: the hypervisor's clock after the last one */
    XEN_GUEST_HANDLE_64(pv_vcpu_account) buffer; /* IN */
};
_Static_assert(sizeof(struct pv_sysctl_accounting) == 24, "ABI");
_Static_assert(sizeof(struct pv_sysctl_accounting) <= sizeof(((struct xen_sysctl *)0)->u), "ABI");
