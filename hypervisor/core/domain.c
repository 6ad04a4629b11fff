// SPDX-License-Identifier: MIT
/*
 * The domain table and the life of a domain: create, reference, pause, shut down, kill in steps.
 *
 * The table holds one reference and so do all transient users; a domain's frames together hold one
 * as long as there are any. domain_kill() takes everything away and ends with the table entry; what
 * others still have mapped keeps the structure, which nobody finds any more, until they let go.
 *
 * Locks: domlist_lock (RANK_DOMLIST) for the table, life_lock (RANK_DOM_LIFE) for state, pause
 * counts and shutdown of one domain. The last domain_put() takes no lock below RANK_DOM_PAGES, so
 * dropping a frame can be what frees its domain.
 */
#include "core/domain.h"

#include <stdarg.h>

#include "base/cmdline.h"
#include "base/format.h"
#include "base/log.h"
#include "core/frame_alloc.h"
#include "core/grant_table.h"
#include "core/hooks.h"
#include "core/time.h"

struct domain *dom_xen, *dom_io, *dom_control;
static struct domain *dom_idle;

static struct spinlock domlist_lock = SPINLOCK_INIT(RANK_DOMLIST);
/* under domlist_lock: a page of pointers for each 512 ids of which some are in use */
#define IDS_PER_PAGE (PAGE_SIZE / sizeof(struct domain *))
static struct domain **table[DIV_ROUND_UP(DOMID_FIRST_RESERVED, IDS_PER_PAGE)];
static uint16_t table_used[ARRAY_SIZE(table)];
static unsigned domain_count;
static domid_t last_id; /* last one chosen by us */

/* ---- table ---- */

static struct domain *lookup_locked(unsigned id)
{
    if (id >= DOMID_FIRST_RESERVED) {
        return NULL;
    }
    /* SAFETY: tested above, clamped in speculation. */
    id = (unsigned)clamp_index(id, DOMID_FIRST_RESERVED);
    struct domain **page = table[id / IDS_PER_PAGE];
    return page ? page[id % IDS_PER_PAGE] : NULL;
}

static int enter_locked(struct domain *d)
{
    if (lookup_locked(d->id)) {
        return -EEXIST;
    }
    unsigned index = d->id / IDS_PER_PAGE;
    if (domain_count == MAX_DOMAINS) {
        return -ENOMEM;
    }
    if (!table[index]) {
        table[index] = hyp_alloc(PAGE_SIZE);
        if (!table[index]) {
            return -ENOMEM;
        }
    }
    table[index][d->id % IDS_PER_PAGE] = d;
    table_used[index]++;
    domain_count++;
    return 0;
}

static void leave_locked(struct domain *d)
{
    unsigned index = d->id / IDS_PER_PAGE;
    table[index][d->id % IDS_PER_PAGE] = NULL;
    domain_count--;
    if (--table_used[index] == 0) {
        hyp_free(table[index]);
        table[index] = NULL;
    }
    if (d == dom_control) {
        dom_control = NULL;
    }
}

static int choose_id_locked(domid_t *id)
{
    for (unsigned i = 1; i < DOMID_FIRST_RESERVED; i++) {
        /* Ids 1 to FIRST_RESERVED - 1 in a circle, so that an id does not come again soon. */
        unsigned next = (last_id + i - 1) % (DOMID_FIRST_RESERVED - 1) + 1;
        if (!lookup_locked(next)) {
            *id = last_id = (domid_t)next;
            return 0;
        }
    }
    return -ENOMEM;
}

struct domain *domain_get(domid_t id)
{
    if (id == DOMID_SELF) {
        struct domain *self = current_vcpu()->domain;
        domain_get_held(self);
        return self;
    }
    spin_lock(&domlist_lock);
    struct domain *d = lookup_locked(id);
    if (d) {
        domain_get_held(d);
    }
    spin_unlock(&domlist_lock);
    return d;
}

struct domain *domain_get_next(domid_t id)
{
    struct domain *d = NULL;
    spin_lock(&domlist_lock);
    for (unsigned next = id; next < DOMID_FIRST_RESERVED && !d; next++) {
        if (!table[next / IDS_PER_PAGE]) {
            next |= IDS_PER_PAGE - 1;
            continue;
        }
        d = lookup_locked(next);
    }
    if (d) {
        domain_get_held(d);
    }
    spin_unlock(&domlist_lock);
    return d;
}

void domain_get_held(struct domain *d)
{
    uint32_t old = __atomic_fetch_add(&d->refs, 1, __ATOMIC_RELAXED);
    BUG_ON(old == 0 || old == UINT32_MAX);
}

/* ---- memory of the structure ---- */

static struct domain *domain_alloc(domid_t id)
{
    struct domain *d = hyp_alloc(sizeof(*d));
    if (!d) {
        return NULL;
    }
    d->id = id;
    d->refs = 1;
    d->page_list = INVALID_LINK;
    d->shutdown_code = DOMAIN_NO_CODE;
    d->life_lock = SPINLOCK_INIT(RANK_DOM_LIFE);
    d->pages_lock = SPINLOCK_INIT(RANK_DOM_PAGES);
    d->mmu_lock = SPINLOCK_INIT(RANK_DOM_MMU);
    d->evtchn_lock = SPINLOCK_INIT(RANK_DOM_EVTCHN);
    return d;
}

/* The inverse of set-up, for whatever part of it was done. */
static void domain_free(struct domain *d)
{
    for (unsigned i = 0; i < d->max_vcpus; i++) {
        if (d->vcpu[i]) {
            vcpu_free(d->vcpu[i]);
        }
    }
    if (d->grant) {
        grant_table_free(d);
    }
    evtchn_free(d);
    if (d->shared_info) {
        frame_unshare(d->shared_frame);
    }
    hyp_free(d);
}

void domain_put(struct domain *d)
{
    uint32_t old = __atomic_fetch_sub(&d->refs, 1, __ATOMIC_ACQ_REL);
    BUG_ON(old == 0);
    if (old == 1) {
        BUG_ON(d->state != DOM_DEAD);
        domain_free(d);
    }
}

static struct domain *create_system(domid_t id)
{
    struct domain *d = domain_alloc(id);
    if (!d) {
        panic("no memory for system domain %u", id);
    }
    d->is_system = true;
    return d;
}

void domain_init(void)
{
    time_init();
    dom_xen = create_system(DOMID_XEN);
    dom_io = create_system(DOMID_IO);
    dom_idle = create_system(DOMID_IDLE);
}

struct domain *domain_idle(void)
{
    return dom_idle;
}

/* ---- creation ---- */

static int set_up(struct domain *d, const struct domain_limits *limits)
{
    d->shared_frame = frame_alloc_hyp(0, 0);
    if (!d->shared_frame) {
        return -ENOMEM;
    }
    d->shared_info = frame_to_virt(d->shared_frame);
    frame_share(d->shared_frame, d, true);
    time_wallclock_update_locked(d); /* nobody else knows d yet */

    int rc = evtchn_init(d, limits->max_evtchn_port);
    if (rc == 0) {
        rc = grant_table_create(d, limits->max_grant_frames, limits->max_maptrack_frames);
    }
    for (unsigned i = 0; i < limits->max_vcpus && rc == 0; i++) {
        rc = vcpu_create(d, i);
    }
    return rc;
}

int domain_create(domid_t id, const struct domain_limits *limits, bool privileged,
                  struct domain **out)
{
    if ((id >= DOMID_FIRST_RESERVED && id != DOMID_INVALID) || limits->max_vcpus == 0 ||
        limits->max_vcpus > MAX_VCPUS) {
        return -EINVAL;
    }
    struct domain *d = domain_alloc(id);
    if (!d) {
        return -ENOMEM;
    }
    d->privileged = privileged;
    d->max_vcpus = limits->max_vcpus;
    d->pause_count = d->control_pauses = 1;
    int rc = set_up(d, limits);
    if (rc) {
        goto undo_domain;
    }
    spin_lock(&domlist_lock);
    if (id == DOMID_INVALID) {
        rc = choose_id_locked(&d->id);
    }
    if (rc == 0) {
        rc = enter_locked(d);
    }
    if (rc == 0 && d->id == 0) {
        dom_control = d;
    }
    spin_unlock(&domlist_lock);
    if (rc) {
        goto undo_domain;
    }
    *out = d;
    return 0;

undo_domain:
    domain_free(d);
    return rc;
}

/* ---- pausing ---- */

/* Make the vCPUs follow what the domain's state says. */
static void apply_state_locked(struct domain *d)
{
    bool stop = d->pause_count || d->shut_down || d->state != DOM_ALIVE;
    for (unsigned i = 0; i < d->max_vcpus; i++) {
        if (stop) {
            sched_pause(d->vcpu[i], PAUSE_DOMAIN);
        } else {
            sched_resume(d->vcpu[i], PAUSE_DOMAIN);
        }
    }
}

static void pause_locked(struct domain *d)
{
    BUG_ON(d->pause_count == UINT32_MAX);
    if (d->pause_count++ == 0) {
        apply_state_locked(d);
    }
}

static void unpause_locked(struct domain *d)
{
    BUG_ON(d->pause_count == 0);
    if (--d->pause_count == 0) {
        /* The builder may have cleared the shared page since it was written. */
        time_wallclock_update_locked(d);
        apply_state_locked(d);
    }
}

static void sync_vcpus(struct domain *d)
{
    for (unsigned i = 0; i < d->max_vcpus; i++) {
        if (d->vcpu[i] != current_vcpu()) {
            sched_vcpu_sync(d->vcpu[i]);
        }
    }
}

void domain_pause(struct domain *d)
{
    spin_lock(&d->life_lock);
    pause_locked(d);
    spin_unlock(&d->life_lock);
}

void domain_pause_sync(struct domain *d)
{
    domain_pause(d);
    sync_vcpus(d);
}

void domain_unpause(struct domain *d)
{
    spin_lock(&d->life_lock);
    unpause_locked(d);
    spin_unlock(&d->life_lock);
}

#define CONTROL_PAUSES_MAX 255

int domain_pause_by_control(struct domain *d)
{
    if (d == current_vcpu()->domain) {
        return -EINVAL;
    }
    int rc = 0;
    spin_lock(&d->life_lock);
    if (d->control_pauses >= CONTROL_PAUSES_MAX) {
        rc = -EOVERFLOW;
    } else {
        d->control_pauses++;
        pause_locked(d);
    }
    spin_unlock(&d->life_lock);
    if (rc == 0) {
        sync_vcpus(d);
    }
    return rc;
}

int domain_unpause_by_control(struct domain *d)
{
    int rc = -EINVAL;
    spin_lock(&d->life_lock);
    if (d != current_vcpu()->domain && d->control_pauses) {
        d->control_pauses--;
        unpause_locked(d);
        rc = 0;
    }
    spin_unlock(&d->life_lock);
    return rc;
}

/* ---- shutdown ---- */

static noreturn void machine_down(uint8_t reason)
{
    if (reason == SHUTDOWN_poweroff) {
        printk("control domain has shut down: halting\n");
        arch_halt();
    }
    if (reason == SHUTDOWN_crash) {
        printk("control domain has crashed: %s\n", cmdline.noreboot ? "halting" : "restarting");
        if (cmdline.noreboot) {
            arch_halt();
        }
    } else {
        printk("control domain has shut down (reason %u): restarting\n", reason);
    }
    arch_reboot();
}

void domain_shutdown(struct domain *d, uint8_t reason)
{
    bool news = false;
    spin_lock(&d->life_lock);
    if (!d->shut_down && d->state == DOM_ALIVE) {
        news = true;
        d->shut_down = true;
        if (d->shutdown_code == DOMAIN_NO_CODE) {
            d->shutdown_code = reason;
        }
        reason = d->shutdown_code;
        apply_state_locked(d);
    }
    spin_unlock(&d->life_lock);
    if (news && d == dom_control) {
        machine_down(reason);
    } else if (news) {
        evtchn_send_global_virq(dom_control, VIRQ_DOM_EXC);
    }
}

void domain_set_shutdown_code(struct domain *d, uint8_t reason)
{
    spin_lock(&d->life_lock);
    if (!d->shut_down) {
        d->shutdown_code = reason;
    }
    spin_unlock(&d->life_lock);
}

void domain_resume(struct domain *d)
{
    spin_lock(&d->life_lock);
    d->shut_down = false;
    d->shutdown_code = DOMAIN_NO_CODE;
    if (d->state == DOM_ALIVE && d->pause_count == 0) {
        apply_state_locked(d);
    }
    spin_unlock(&d->life_lock);
}

void domain_crash(struct domain *d, const char *fmt, ...)
{
    char why[160];
    va_list ap;
    va_start(ap, fmt);
    format_va(why, sizeof(why), fmt, ap);
    va_end(ap);
    log_guest(d, "domain crashed: %s\n", why);
    domain_shutdown(d, SHUTDOWN_crash);
}

/* ---- death ---- */

enum kill_step { KILL_STOP, KILL_GRANTS, KILL_VCPUS, KILL_MEMORY, KILL_TABLE, KILL_DONE };

/* No vCPU runs from here on, no port is bound, no timer armed. */
static void kill_stop(struct domain *d)
{
    spin_lock(&d->life_lock);
    d->state = DOM_DYING;
    apply_state_locked(d);
    spin_unlock(&d->life_lock);
    sync_vcpus(d);
    for (unsigned i = 0; i < d->max_vcpus; i++) {
        vcpu_stop_timers(d->vcpu[i]);
    }
    evtchn_close_all(d);
}

static long kill_vcpus(struct domain *d)
{
    for (; d->kill_vcpu < d->max_vcpus; d->kill_vcpu++) {
        long rc = pv_vcpu_release(d->vcpu[d->kill_vcpu]);
        if (rc) {
            return rc;
        }
        vcpu_unregister_info(d->vcpu[d->kill_vcpu]);
    }
    return 0;
}

/* Nobody finds d any more; the table's reference goes last. */
static void kill_table(struct domain *d)
{
    frame_unshare(d->shared_frame);
    d->shared_info = NULL;
    spin_lock(&domlist_lock);
    leave_locked(d);
    spin_unlock(&domlist_lock);
    spin_lock(&d->life_lock);
    d->state = DOM_DEAD;
    spin_unlock(&d->life_lock);
}

static long kill_steps(struct domain *d)
{
    long rc = 0;
    while (rc == 0 && d->kill_step != KILL_DONE) {
        switch (d->kill_step) {
        case KILL_STOP:
            kill_stop(d);
            break;
        case KILL_GRANTS:
            rc = grant_table_release_mappings(d);
            break;
        case KILL_VCPUS:
            rc = kill_vcpus(d);
            break;
        case KILL_MEMORY:
            rc = pv_domain_relinquish(d);
            break;
        default:
            kill_table(d);
            break;
        }
        if (rc == 0) {
            d->kill_step++;
        }
    }
    return rc;
}

long domain_kill(struct domain *d)
{
    if (d == current_vcpu()->domain || d->is_system) {
        return -EINVAL;
    }
    if (__atomic_exchange_n(&d->kill_busy, true, __ATOMIC_ACQUIRE)) {
        return -ERESTART; /* another CPU is at it: come back later */
    }
    /* The caller's reference may be the table's: kept until we are through. */
    domain_get_held(d);
    bool was_done = d->kill_step == KILL_DONE;
    long rc = was_done ? 0 : kill_steps(d);
    bool done = !was_done && d->kill_step == KILL_DONE;
    __atomic_store_n(&d->kill_busy, false, __ATOMIC_RELEASE);
    if (done) {
        domain_put(d); /* the table's */
        evtchn_send_global_virq(dom_control, VIRQ_DOM_EXC);
    }
    domain_put(d);
    return rc;
}
