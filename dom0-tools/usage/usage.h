/* SPDX-License-Identifier: MIT */
/*
 * Where processor time, network and disk traffic of the domains went between two looks at them.
 *
 * A sample is all counters at one moment; whoever takes one reads them from the hypervisor and the
 * back ends. Two samples make a report: percentages of one processor and rates. Pure, so every rule
 * is tested with made-up counters (tests/unit/test_usage_report.c). Used by vane top.
 *
 * The demand of a vCPU is what it would use if nobody were in its way: of the time in which it had
 * its will, which is all but the time it waited for a processor, the part it spent running,
 *
 *     demand = (used + system) / (period - ready)
 *
 * A domain's demand is the sum over its vCPUs. 100 % is one whole processor in every figure here.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dom0-tools/base/err.h"

#define USAGE_NAME_BYTES 65

/* Counters of a vCPU, in ns since it was made. */
struct usage_vcpu {
    uint32_t vcpu;
    uint32_t pcpu; /* where it runs or ran last */
    bool online;
    uint64_t used_ns;    /* the guest's own code ran */
    uint64_t system_ns;  /* the hypervisor ran on its behalf */
    uint64_t ready_ns;   /* it could run and waited for a processor */
    uint64_t wait_ns;    /* it waited for an event */
    uint64_t offline_ns; /* it was down or paused */
};

/* Counters of a domain; its vCPUs stand together in the sample's list. */
struct usage_domain {
    uint32_t domid;
    char name[USAGE_NAME_BYTES];
    uint64_t memory_kib;
    uint64_t net_rx_bytes, net_tx_bytes; /* as the guest sees it */
    uint64_t disk_rd_bytes, disk_wr_bytes;
    size_t first_vcpu;
    size_t vcpu_count;
};

struct usage_sample {
    char host[USAGE_NAME_BYTES];
    uint64_t now_ns;
    bool has_states; /* ready, wait, offline and system are counted; else only used is */
    uint32_t pcpus;
    uint64_t idle_ns;    /* of all pcpus together */
    uint64_t idle_at_ns; /* when that was read, by any clock; 0: at now_ns */
    uint64_t memory_kib;
    uint64_t free_kib;
    struct usage_domain *domains; /* by domid, upwards */
    size_t domain_count;
    struct usage_vcpu *vcpus;
    size_t vcpu_count;
};

/* Adds a domain or, to the domain added last, a vCPU. Returns: the new element, zeroed, good until
 * the next call; NULL without memory. */
struct usage_domain *usage_add_domain(struct usage_sample *sample);
struct usage_vcpu *usage_add_vcpu(struct usage_sample *sample);

/* Frees what a sample holds and empties it. */
void usage_sample_free(struct usage_sample *sample);

/* Percent of one processor. */
struct usage_cpu {
    double used, system, ready, wait, offline, demand;
};

struct usage_vcpu_row {
    uint32_t vcpu, pcpu;
    bool online;
    struct usage_cpu cpu;
};

struct usage_row {
    uint32_t domid;
    char name[USAGE_NAME_BYTES];
    struct usage_cpu cpu; /* sums over the vCPUs */
    uint32_t online_vcpus;
    uint64_t memory_kib;
    double net_rx, net_tx, disk_rd, disk_wr; /* bytes a second */
    size_t first_vcpu;                       /* in the report's list */
    size_t vcpu_count;
};

struct usage_report {
    char host[USAGE_NAME_BYTES];
    double period_s;
    bool has_states; /* without, only used and the rates mean something */
    uint32_t pcpus;
    double idle; /* percent of one processor, so at most 100 for each there is */
    uint64_t memory_kib;
    uint64_t free_kib;
    struct usage_row total; /* sums over all domains; no name, no vCPUs */
    struct usage_row *rows;
    size_t row_count;
    struct usage_vcpu_row *vcpus;
    size_t vcpu_count;
};

/* Compares two samples. What is new in `after` started from nothing; what has gone is left out;
 * counters that ran backwards belong to a new domain with an old number.
 * Errors: EINVAL when no time has passed; ENOMEM. */
int usage_compare(const struct usage_sample *before, const struct usage_sample *after,
                  struct usage_report *report, struct err *err);
void usage_report_free(struct usage_report *report);
