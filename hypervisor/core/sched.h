// SPDX-License-Identifier: MIT
/*
 * Which vCPU runs on which pcpu. A policy behind one small interface: proportional share by
 * weight, a virtual clock per run queue. Lock: the pcpu's runq_lock (RANK_RUNQ).
 */
#pragma once

#include "base/list.h"
#include "base/types.h"
#include "core/timer.h"
#include "pv-abi/abi.h"

struct domain;
struct vcpu;

enum vcpu_pause_reason {
    PAUSE_DOWN = 1,    /* VCPUOP_down, or never brought up */
    PAUSE_BLOCKED = 2, /* SCHEDOP_block, poll */
    PAUSE_DOMAIN = 4,  /* the domain's pause count is not 0, it is shut down or dying */
};

/* Scheduler part of struct vcpu; under the run-queue lock of `pcpu` unless noted. */
struct sched_unit {
    struct list queue;   /* on the run queue when runnable and not running */
    uint64_t vruntime;   /* weighted ns used, on the queue's clock; wraps */
    unsigned pcpu;       /* where it runs or waits */
    uint32_t pause_bits; /* atomic: enum vcpu_pause_reason; runnable when 0 */
    bool running;        /* current on pcpu, or its registers are still being saved there */
    bool yielded;        /* others go first at the next pick */
    ns_t started;        /* up to when it has been charged, while running */
    ns_t slice_start;    /* when its present turn began */
    ns_t used_ns;        /* total, up to `started` */
    int64_t system;      /* the hypervisor's part of it: see core/account.h */
    uint16_t weight;     /* 1..65535, default 256 */
    uint16_t cap;        /* percent of a pcpu, 0 none */
};

/* Prepare this pcpu's queue and idle vCPU; its timer queue must be there. */
void sched_init_pcpu(unsigned cpu);
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
/* Weight 1..65535 and cap of all vCPUs of d; -EINVAL. */
must_check int sched_set_params(struct domain *d, unsigned weight, unsigned cap);
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
