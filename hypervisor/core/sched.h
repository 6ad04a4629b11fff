// SPDX-License-Identifier: MIT
/*
 * Which vCPU runs on which pcpu. sched.c is the mechanism: reasons not to run, switching, pinning,
 * runstates. The policy (who runs next, for how long, where) is behind core/sched_policy.h and
 * chosen at link time; it is sched_fair.c. Lock: the pcpu's runq lock (RANK_RUNQ).
 */
#pragma once

#include "base/bitmap.h"
#include "base/heap.h"
#include "base/lock.h"
#include "base/types.h"
#include "core/timer.h"
#include "pv-abi/abi.h"

struct domain;
struct vcpu;

enum vcpu_pause_reason {
    PAUSE_DOWN = 1,    /* VCPUOP_down, or never brought up */
    PAUSE_BLOCKED = 2, /* SCHEDOP_block, poll */
    PAUSE_DOMAIN = 4,  /* the domain's pause count is not 0, it is shut down or dying */
    PAUSE_CAP = 8,     /* the domain has used what its cap allows for now; counts as ready */
};

/* Scheduler part of struct vcpu; under the run-queue lock of `pcpu` unless noted. */
struct sched_unit {
    unsigned pcpu;       /* where it runs or waits */
    uint32_t pause_bits; /* atomic: enum vcpu_pause_reason; runnable when 0 */
    bool running;        /* current on pcpu, or its registers are still being saved there */
    bool yielded;        /* others go first at the next pick */
    ns_t started;        /* up to when it has been charged, while running */
    cpumask_t affinity;  /* pcpus it may run on */
    /* the policy's */
    struct heap_node node; /* on the run queue when runnable and not running */
    uint64_t vruntime;     /* weighted ns used, on the queue's clock; wraps */
    uint32_t load;         /* its part of the queue's load, 0 when not runnable */
    ns_t slice_start;      /* when its present turn began */
};

/* Scheduler part of struct domain. */
struct sched_domain {
    uint16_t weight;     /* 1..65535, default 256: of all its vCPUs together */
    uint16_t cap;        /* percent of a pcpu, 0 none */
    uint32_t active;     /* atomic: vCPUs that run or are ready */
    uint64_t last_place; /* atomic: vruntime of the vCPU that ran last; low 8 bits: its pcpu */
    struct spinlock cap_lock;
    /* under cap_lock */
    ns_t cap_credit, cap_filled; /* may be used now; when that was worked out */
    bool cap_armed;              /* cap_timer is set */
    struct timer cap_timer;      /* lets vCPUs with PAUSE_CAP go on */
};

/* Prepare this pcpu's queue and idle vCPU; its timer queue must be there. */
void sched_init_pcpu(unsigned cpu);
/* A new domain; one that nobody uses any more. */
void sched_domain_init(struct domain *d);
void sched_domain_destroy(struct domain *d);
/* Make a new vCPU known (paused with PAUSE_DOWN and PAUSE_DOMAIN) on the pcpu with the fewest, or
 * forget it (it must not run any more). */
void sched_vcpu_init(struct vcpu *v);
void sched_vcpu_destroy(struct vcpu *v);
/* Set or clear one reason not to run. Setting does not wait: sched_vcpu_sync() does. */
void sched_pause(struct vcpu *v, enum vcpu_pause_reason why);
void sched_resume(struct vcpu *v, enum vcpu_pause_reason why);
/* Unblock v if it is blocked (an event arrived), and have it enter the hypervisor soon if it runs
 * on another CPU. */
void sched_wake(struct vcpu *v);
/* True while v's registers are live on some pcpu. */
bool sched_is_running(const struct vcpu *v);
/* Wait until v, which is paused, has left its pcpu. v is not current. */
void sched_vcpu_sync(struct vcpu *v);
/* Let others that wait for this pcpu go first, once. */
void sched_yield(void);
/* Have v run on these pcpus only, soon. -EINVAL, and nothing changed, when none of them is online.
 */
must_check int sched_set_affinity(struct vcpu *v, const cpumask_t *mask);
/* The pcpus among those that are online. */
cpumask_t sched_affinity(const struct vcpu *v);
/* Weight 1..65535 and cap of d, which its vCPUs share; -EINVAL. */
must_check int sched_set_params(struct domain *d, unsigned weight, unsigned cap);
/* For how long a vCPU keeps its pcpu before one that wakes up can have it; -EINVAL beyond 100 us to
 * 10 ms. */
must_check int sched_set_min_run(ns_t ns);
ns_t sched_min_run(void);
/* v's runstate with the time of the present state added up to now. Returns how much of the running
 * time the hypervisor took. */
ns_t sched_get_runstate(const struct vcpu *v, vcpu_runstate_info_t *out);
/* Pick the next vCPU of this pcpu and switch to it; called only by the exit path. */
void sched_run(void);
/* Time v has used, ns, including the present slice. */
ns_t sched_used_ns(const struct vcpu *v);

/* sched_op.c: `port` of d has become pending, whoever polls it wakes up. */
void sched_op_wake_pollers(struct domain *d, uint32_t port);
/* Callback of vcpu.poll_timer. */
void sched_op_poll_timeout(void *vcpu);
