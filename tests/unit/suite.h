// SPDX-License-Identifier: MIT
/*
 * What every unit test of the hypervisor shares: one CUnit suite for a program, a fresh fake
 * machine for each case, and the check that a case leaves no lock held and no frame lost.
 */
#pragma once

#include <CUnit/Basic.h>

#include "core/hypercall.h"
#include "host.h"

struct suite_case {
    const char *name;
    void (*fn)(void);
};
#define CASE(fn)                                                                                   \
    {                                                                                              \
#fn, fn                                                                                    \
    }

/* Run the cases on a machine with `cpus` pcpus; the value for main() to return. */
int suite_run(const char *name, const struct suite_case *cases, size_t count, unsigned cpus);
#define SUITE(name, cpus, cases) suite_run(name, cases, ARRAY_SIZE(cases), cpus)

/* A guest with `vcpus` vCPUs, unpaused, vCPU 0 up; every case destroys what it created. */
struct domain *suite_domain(domid_t id, unsigned vcpus);
/* The control domain of the case. */
struct domain *suite_control(void);
/* Kill it, in as many steps as it takes. */
void suite_destroy(struct domain *d);
/* Make v the caller: current on this pcpu, behind the scheduler's back. NULL: idle again. */
void suite_enter(struct vcpu *v);

/* Number of general references. */
static inline uint64_t frame_ref_count(const struct frame *f)
{
    return f->count & FRAME_COUNT_MASK;
}

/* Run a whole hypercall as the current vCPU, with as many continuations as it asks for. */
long suite_call(uint64_t nr, uint64_t a0, uint64_t a1, uint64_t a2);
