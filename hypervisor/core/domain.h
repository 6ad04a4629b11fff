// SPDX-License-Identifier: MIT
/*
 * Domains and their vCPUs: the two structures every other file hangs its state on, and the life of
 * a domain (create, reference, pause, shut down, crash, kill in steps). Lock: domlist_lock
 * (RANK_DOMLIST) for the table; the domain's life_lock (RANK_DOM_LIFE) for the life cycle.
 */
#pragma once

#include "arch/arch.h"
#include "base/assert.h"
#include "base/bitmap.h"
#include "base/checked.h"
#include "base/config.h"
#include "base/list.h"
#include "base/lock.h"
#include "base/types.h"
#include "core/evtchn.h"
#include "core/frame.h"
#include "core/sched.h"
#include "core/timer.h"
#include "pv-abi/abi.h"
#include "pv/pv_state.h"

struct grant_table;

#define UNMAPPED_MAX 32

struct vcpu {
    /* Where the guest wants its vcpu_info: NULL until there is one (ids >= 32 before registering).
     * Constant while the vCPU can run. */
    vcpu_info_t *info;
    uint64_t system; /* the hypervisor's part of its time: see core/account.h */
    struct pv_vcpu pv;
    /* Up to here entry code knows the layout: asm.h. */

    struct domain *domain; /* constant */
    unsigned id;           /* constant */
    struct sched_unit sched;

    /* Registers while not running; while running they are guest_regs(). */
    struct cpu_user_regs regs;

    struct frame *info_frame; /* where it is: writable + general reference; NULL: shared page */

    bool initialised;  /* has registers (VCPUOP_initialise or setvcpucontext) */
    bool context_busy; /* atomic: somebody is giving it registers */

    vcpu_runstate_info_t runstate; /* under the run-queue lock */
    vaddr_t runstate_va;           /* guest area to update, 0 none; only touched as current */
    uint32_t time_version;         /* of the last values written to info->time */

    struct timer singleshot, periodic, poll_timer; /* stopped before the vCPU is freed */
    ns_t periodic_period;
    uint32_t poll_port; /* while in domain.pollers: the one port polled, or 0 for several */

    uint16_t virq_to_port[NR_VIRQS]; /* under evtchn_lock; 0 unbound */

    /* Page tables whose last reference went away in the middle of a hypercall: taken apart, a bit
     * at a time, before this vCPU returns to its guest. Only touched as current. */
    struct frame *mmu_deferred[4];
    unsigned mmu_deferred_count;
    /* Handles of grants whose entries are cleared, and TLBs not yet. Empty between hypercalls. */
    uint32_t unmapped[UNMAPPED_MAX];
    unsigned unmapped_count;
};

/* An event is deliverable to v right now (pending and not masked). */
static inline bool evtchn_upcall_wanted(const struct vcpu *v)
{
    const vcpu_info_t *info = v->info;
    return info && read_once(info->evtchn_upcall_pending) && !read_once(info->evtchn_upcall_mask);
}

#define DOMAIN_NO_CODE 0xff

enum domain_state { DOM_ALIVE, DOM_DYING, DOM_DEAD };

struct domain {
    domid_t id;                 /* constant */
    uint64_t serial;            /* constant; no other domain ever has the same */
    bool privileged;            /* constant: the control domain */
    bool is_system;             /* constant: dom_xen, dom_io, idle; never runs guests */
    uint32_t refs;              /* atomic; the table holds one */
    struct domain *bucket_next; /* under the table's locks */
    xen_domain_handle_t handle;
    unsigned max_vcpus; /* constant after creation */
    struct vcpu *vcpu[MAX_VCPUS];

    struct spinlock life_lock;
    /* under life_lock */
    enum domain_state state;
    uint32_t pause_count;    /* by the control interface and internally */
    uint32_t control_pauses; /* of these, by domctl */
    bool shut_down;
    uint8_t shutdown_code;         /* SHUTDOWN_*; DOMAIN_NO_CODE until the guest gives one */
    unsigned kill_step, kill_vcpu; /* how far domain_kill() is; by whoever holds kill_busy */
    bool kill_busy;                /* atomic: somebody is in domain_kill() */

    struct spinlock pages_lock;
    /* under pages_lock */
    uint32_t page_list; /* first frame, INVALID_LINK none */
    uint64_t page_count, max_pages;

    struct spinlock mmu_lock; /* types of the page tables this domain owns */
    cpumask_t dirty_cpus;     /* atomic: pcpus that may hold translations of this domain */

    shared_info_t *shared_info; /* constant */
    struct frame *shared_frame;

    struct spinlock evtchn_lock;
    struct evtchn_table evtchn;                /* under evtchn_lock */
    uint64_t pollers[BITMAP_WORDS(MAX_VCPUS)]; /* atomic: vCPUs in SCHEDOP_poll */

    struct sched_domain sched;

    struct grant_table *grant; /* constant after creation */

    struct pv_domain pv;

    int64_t wallclock_offset_sec; /* under life_lock; added to the machine's clock */
    ns_t log_paid;                /* core/log.c: for the lines this domain caused */
};

extern struct domain *dom_xen;  /* owns frames of the hypervisor that privileged domains may map */
extern struct domain *dom_io;   /* stands for device memory */
extern struct domain *dom_idle; /* of the idle vCPUs */
extern struct domain *dom_control; /* domain 0 */
extern unsigned domain_count;      /* without the system's; under domlist_lock */

/* Whether the control domain has let d reach these frames (d->pv.mmio) or ports (d->pv.ports). */
bool domain_may_reach(struct domain *d, const struct device_range *ranges, uint64_t first,
                      uint64_t count);

/* Called once, when the allocator and the clock are there: system domains, idle domain. */
void domain_init(void);
/* Create with max_vcpus vCPUs (all down) and a pause count of 1. *out is borrowed from the table:
 * it stays until domain_kill() has finished. Errors: -EEXIST id in use, -ENOMEM, -EINVAL. id
 * DOMID_INVALID: pick a free one. max_pages starts at 0. */
struct domain_limits {
    unsigned max_vcpus;
    uint32_t max_evtchn_port; /* highest port number */
    uint32_t max_grant_frames, max_maptrack_frames;
};
must_check int domain_create(domid_t id, const struct domain_limits *limits, bool privileged,
                             struct domain **out);
/* Find and reference; NULL when there is none (always for the reserved ids, except DOMID_SELF: the
 * caller). Dying domains are found until domain_kill() has finished. No lock may be held. */
must_check struct domain *domain_get(domid_t id);
/* One more reference where the caller has one; returns d. */
struct domain *domain_get_held(struct domain *d);
void domain_put_last(struct domain *d); /* stops if there was none */
/* The last one frees the structure; callable with locks up to RANK_DOM_PAGES held. */
static inline void domain_put(struct domain *d)
{
    if (unlikely(__atomic_fetch_sub(&d->refs, 1, __ATOMIC_ACQ_REL) <= 1)) {
        domain_put_last(d);
    }
}
/* First domain with an id >= `id`, referenced; NULL at the end. */
must_check struct domain *domain_get_next(domid_t id);
/* Take one domain off the set of those that have shut down, begun to die or gone since they were
 * last taken; false when it is empty. */
bool domain_take_changed(domid_t *id);
/* Visit all, each referenced, with no lock held. */
void domain_for_each(void (*visit)(struct domain *d));
/* The vCPU, or NULL: `id` comes from a guest. */
static inline struct vcpu *domain_vcpu(const struct domain *d, uint64_t id)
{
    /* SAFETY: tested against the number of vCPUs, clamped to it in speculation. */
    return id < d->max_vcpus ? d->vcpu[clamp_index(id, d->max_vcpus)] : NULL;
}
/* Counted pause; the sync form waits until no vCPU but the caller runs. */
void domain_pause(struct domain *d);
void domain_pause_sync(struct domain *d);
void domain_unpause(struct domain *d);
/* The guest is finished or beyond help: stop its vCPUs, record the reason, tell the control domain
 * (VIRQ_DOM_EXC). When the control domain is shut down the machine halts or restarts instead, and
 * the call does not return. Locks: none from RANK_DOM_LIFE on may be held, also for crash. */
void domain_shutdown(struct domain *d, uint8_t reason);
/* The code the next shutdown reports, whatever its own reason. */
void domain_set_shutdown_code(struct domain *d, uint8_t reason);
void domain_crash(struct domain *d, const char *fmt, ...) format_printf(2, 3);
/* Take everything from d, a step at a time: -ERESTART until done. Afterwards nobody finds d; the
 * structure stays as long as others hold references to its frames. -EINVAL for the caller's own
 * domain. */
must_check long domain_kill(struct domain *d);

/* vcpu.c */
must_check int vcpu_create(struct domain *d, unsigned id);
void vcpu_free(struct vcpu *v);
/* The idle vCPU of a pcpu; made by sched_init_pcpu(). */
struct vcpu *vcpu_idle(unsigned cpu);
struct vcpu *vcpu_idle_create(unsigned cpu);
/* Stop v's timers; part of domain death, v does not run. */
void vcpu_stop_timers(struct vcpu *v);
static inline bool vcpu_is_idle(const struct vcpu *v)
{
    return v->domain->id == DOMID_IDLE;
}
/* Runstate bookkeeping; called by the scheduler under the run-queue lock. */
void vcpu_runstate_change(struct vcpu *v, int new_state, ns_t now);
/* Copy the runstate to the guest's area if it registered one; v is current. */
void vcpu_runstate_update_area(struct vcpu *v);
/* Give v the registers in a guest's struct vcpu_guest_context. With `again` also if it has some,
 * and the context's flag VGCF_online says whether it is up. -EBUSY while somebody else does,
 * -EEXIST, or pv_context_set()'s errors. */
must_check long vcpu_set_context(struct vcpu *v, vaddr_t context, bool again);
/* Give back the frame v's vcpu_info was moved to; part of domain death, no port of the domain is
 * bound any more. */
void vcpu_unregister_info(struct vcpu *v);
