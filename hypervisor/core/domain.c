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
#include "core/deferred.h"
#include "core/grant_table.h"
#include "core/hooks.h"
#include "core/hypercall.h"
#include "core/pirq.h"
#include "core/span.h"
#include "core/time.h"

struct domain *dom_xen, *dom_io, *dom_idle, *dom_control;

#define BUCKETS 256
static struct spinlock domlist_lock = SPINLOCK_INIT(RANK_DOMLIST);
/* By id, chained through bucket_next. Changes under domlist_lock and the bucket's own lock; for a
 * look-up the latter is enough, so that those of different domains do not meet. */
static struct bucket {
    struct spinlock lock;
    struct domain *first;
} __attribute__((aligned(64))) buckets[BUCKETS];
/* under domlist_lock */
unsigned domain_count;
static domid_t last_id; /* last one chosen by us */

/* ---- table ---- */

static struct bucket *bucket_of(unsigned id)
{
    return &buckets[id % BUCKETS];
}

static struct domain *lookup_in(const struct bucket *bucket, unsigned id)
{
    struct domain *d = bucket->first;
    while (d && d->id != id) {
        d = d->bucket_next;
    }
    return d;
}

static struct domain *lookup_locked(unsigned id)
{
    return lookup_in(bucket_of(id), id);
}

/* Ids 1 to FIRST_RESERVED - 1 in a circle, so that an id does not come again soon. */
static domid_t choose_id_locked(void)
{
    _Static_assert(MAX_DOMAINS < DOMID_FIRST_RESERVED - 1, "there is always a free one");
    do {
        last_id = last_id % (DOMID_FIRST_RESERVED - 1) + 1;
    } while (lookup_locked(last_id));
    return last_id;
}

static int enter(struct domain *d)
{
    SPIN_GUARD(&domlist_lock);
    if (lookup_locked(d->id)) {
        return -EEXIST;
    }
    if (domain_count == MAX_DOMAINS) {
        return -ENOMEM;
    }
    if (d->id == DOMID_INVALID) {
        d->id = choose_id_locked();
    }
    struct bucket *b = bucket_of(d->id);
    spin_lock(&b->lock);
    d->bucket_next = b->first;
    b->first = d;
    spin_unlock(&b->lock);
    domain_count++;
    if (d->id == 0) {
        dom_control = d;
    }
    return 0;
}

static void leave(struct domain *d)
{
    SPIN_GUARD(&domlist_lock);
    struct bucket *b = bucket_of(d->id);
    struct domain **link = &b->first;
    spin_lock(&b->lock);
    while (*link != d) {
        link = &(*link)->bucket_next;
    }
    *link = d->bucket_next;
    spin_unlock(&b->lock);
    domain_count--;
    if (d == dom_control) {
        dom_control = NULL;
    }
}

struct domain *domain_get(domid_t id)
{
    if (id == DOMID_SELF) {
        return domain_get_held(current_vcpu()->domain);
    }
    struct bucket *bucket = bucket_of(id);
    SPIN_GUARD(&bucket->lock);
    struct domain *d = lookup_in(bucket, id);
    return d ? domain_get_held(d) : NULL;
}

struct domain *domain_get_next(domid_t id)
{
    struct domain *found = NULL;
    SPIN_GUARD(&domlist_lock);
    /* Ids are mostly dense. */
    for (unsigned near = id; near < id + 8u; near++) {
        found = lookup_locked(near);
        if (found) {
            return domain_get_held(found);
        }
    }
    for (unsigned i = 0; i < BUCKETS; i++) {
        for (struct domain *d = buckets[i].first; d; d = d->bucket_next) {
            if (d->id >= id && (!found || d->id < found->id)) {
                found = d;
            }
        }
    }
    return found ? domain_get_held(found) : NULL;
}

struct domain *domain_get_held(struct domain *d)
{
    uint32_t old = __atomic_fetch_add(&d->refs, 1, __ATOMIC_RELAXED);
    BUG_ON(old == 0 || old == UINT32_MAX);
    return d;
}

void domain_for_each(void (*visit)(struct domain *d))
{
    for (struct domain *d = domain_get_next(0), *next; d; d = next) {
        visit(d);
        irq_window(false);
        next = domain_get_next((domid_t)(d->id + 1));
        domain_put(d);
    }
}

/* ---- changes ---- */

/* Which domains have changed, a bit each, and which words of that are not 0: so few words are
 * looked at, however many domains there are. Both are atomic. */
#define CHANGED_WORDS BITMAP_WORDS(DOMID_FIRST_RESERVED)
static uint64_t changed[CHANGED_WORDS], changed_words[BITMAP_WORDS(CHANGED_WORDS)];

static void note_changed(const struct domain *d)
{
    /* ORDER: the bit first. Who takes clears the word's mark before it looks at the word. */
    set_bit(d->id, changed);
    set_bit(d->id / 64, changed_words);
}

bool domain_take_changed(domid_t *id)
{
    unsigned word;
    while ((word = find_next_bit(changed_words, CHANGED_WORDS, 0)) < CHANGED_WORDS) {
        clear_bit(word, changed_words);
        unsigned end = (word + 1) * 64, bit = find_next_bit(changed, end, word * 64);
        bool taken = bit < end && test_and_clear_bit(bit, changed);
        if (read_once(changed[word])) {
            set_bit(word, changed_words);
        }
        if (taken) {
            *id = (domid_t)bit;
            return true;
        }
    }
    return false;
}

/* ---- memory of the structure ---- */

static struct domain *domain_alloc(domid_t id)
{
    struct domain *d = hyp_alloc(sizeof(*d));
    if (!d) {
        return NULL;
    }
    static uint64_t serials;
    d->id = id;
    d->serial = __atomic_add_fetch(&serials, 1, __ATOMIC_RELAXED);
    d->refs = 1;
    d->shutdown_code = DOMAIN_NO_CODE;
    d->life_lock = SPINLOCK_INIT(RANK_DOM_LIFE);
    d->pages_lock = SPINLOCK_INIT(RANK_DOM_PAGES);
    d->mmu_lock = SPINLOCK_INIT(RANK_DOM_MMU);
    d->evtchn_lock = SPINLOCK_INIT(RANK_DOM_EVTCHN);
    sched_domain_init(d);
    return d;
}

/* The inverse of set-up, for whatever part of it was done. */
static void domain_free(struct domain *d)
{
    irq_window(false); /* it takes long, and one reference to drop may follow the other */
    sched_domain_destroy(d);
    for (unsigned i = 0; i < d->max_vcpus; i++) {
        if (d->vcpu[i]) {
            vcpu_free(d->vcpu[i]);
        }
    }
    grant_table_free(d);
    evtchn_free(d);
    if (d->shared_info) {
        frame_unshare(d->shared_frame);
    }
    hyp_free(d);
}

void domain_put_last(struct domain *d)
{
    BUG_ON(d->refs != 0 || d->state != DOM_DEAD);
    domain_free(d);
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
    for (unsigned i = 0; i < BUCKETS; i++) {
        buckets[i].lock = SPINLOCK_INIT(RANK_DOMBUCKET);
    }
    time_init();
    dom_xen = create_system(DOMID_XEN);
    dom_io = create_system(DOMID_IO);
    dom_idle = create_system(DOMID_IDLE);
}

/* ---- creation ---- */

static int set_up(struct domain *d, const struct domain_limits *limits)
{
    d->shared_frame = frame_alloc_hyp(0, 0);
    if (!d->shared_frame) {
        return -ENOMEM;
    }
    d->shared_info = frame_to_virt(d->shared_frame);
    frame_share(d->shared_frame, d);
    time_wallclock_update_locked(d); /* nobody else knows d yet */

    int rc = evtchn_init(d, limits->max_evtchn_port)
                 ?: grant_table_create(d, limits->max_grant_frames, limits->max_maptrack_frames);
    for (unsigned i = 0; i < limits->max_vcpus && rc == 0; i++) {
        rc = vcpu_create(d, i);
        irq_window(false);
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
    int rc = set_up(d, limits) ?: enter(d);
    if (rc) {
        domain_free(d);
        return rc;
    }
    *out = d;
    return 0;
}

/* ---- pausing ---- */

/* Make the vCPUs follow what the domain's state says. */
static void apply_state_locked(struct domain *d)
{
    bool stop = d->pause_count || d->shut_down || d->state != DOM_ALIVE;
    for (unsigned i = 0; i < d->max_vcpus; i++) {
        (stop ? sched_pause : sched_resume)(d->vcpu[i], PAUSE_DOMAIN);
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
    SPIN_GUARD(&d->life_lock);
    if (d->pause_count++ == 0) {
        apply_state_locked(d);
    }
}

void domain_pause_sync(struct domain *d)
{
    domain_pause(d);
    sync_vcpus(d);
}

void domain_unpause(struct domain *d)
{
    SPIN_GUARD(&d->life_lock);
    unpause_locked(d);
}

#define CONTROL_PAUSES_MAX 255

/* Nobody stops or resumes the domain that asks. A new domain's pause is one of the counted. */
long domctl_pausedomain(struct domain *d)
{
    if (d == current_vcpu()->domain) {
        return -EINVAL;
    }
    domain_pause_sync(d);
    SPIN_GUARD(&d->life_lock);
    if (d->control_pauses == CONTROL_PAUSES_MAX) {
        unpause_locked(d);
        return -EOVERFLOW;
    }
    d->control_pauses++;
    return 0;
}

long domctl_unpausedomain(struct domain *d)
{
    SPIN_GUARD(&d->life_lock);
    if (d == current_vcpu()->domain || d->control_pauses == 0) {
        return -EINVAL;
    }
    d->control_pauses--;
    unpause_locked(d);
    return 0;
}

/* ---- shutdown ---- */

static noreturn void machine_down(uint8_t reason)
{
    bool crash = reason == SHUTDOWN_crash;
    bool halt = reason == SHUTDOWN_poweroff || (crash && cmdline.noreboot);
    printk("control domain has %s (reason %u): %s\n", crash ? "crashed" : "shut down", reason,
           halt ? "halting" : "restarting");
    span_report(false);
    if (halt) {
        arch_halt();
    }
    arch_reboot();
}

void domain_shutdown(struct domain *d, uint8_t reason)
{
    spin_lock(&d->life_lock);
    bool news = !d->shut_down && d->state == DOM_ALIVE;
    if (news) {
        d->shut_down = true;
        if (d->shutdown_code == DOMAIN_NO_CODE) {
            d->shutdown_code = reason;
        }
        apply_state_locked(d);
    }
    spin_unlock(&d->life_lock);
    if (news && d == dom_control) {
        machine_down(d->shutdown_code);
    } else if (news) {
        note_changed(d);
        evtchn_send_global_virq(dom_control, VIRQ_DOM_EXC);
    }
}

void domain_set_shutdown_code(struct domain *d, uint8_t reason)
{
    SPIN_GUARD(&d->life_lock);
    if (!d->shut_down) {
        d->shutdown_code = reason;
    }
}

long domctl_resumedomain(struct domain *d)
{
    if (d == current_vcpu()->domain) {
        return -EINVAL;
    }
    SPIN_GUARD(&d->life_lock);
    d->shut_down = false;
    d->shutdown_code = DOMAIN_NO_CODE;
    apply_state_locked(d);
    return 0;
}

void domain_crash(struct domain *d, const char *fmt, ...)
{
    char why[160];
    va_list ap;
    va_start(ap, fmt);
    format_va(why, sizeof(why), fmt, ap);
    va_end(ap);
    /* Not counted against the domain's share of the log: what it was refused before must not hide
     * why it died, and it dies once. */
    printk("d%u: domain crashed: %s\n", (unsigned)d->id, why);
    domain_shutdown(d, SHUTDOWN_crash);
}

/* ---- death ---- */

/* No vCPU runs from here on, no timer is armed. */
static long kill_stop(struct domain *d)
{
    spin_lock(&d->life_lock);
    d->state = DOM_DYING;
    apply_state_locked(d);
    spin_unlock(&d->life_lock);
    note_changed(d); /* the control domain, which is at it, need not be told */
    sync_vcpus(d);
    for (unsigned i = 0; i < d->max_vcpus; i++) {
        vcpu_stop_timers(d->vcpu[i]);
    }
    return 0;
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
static long kill_table(struct domain *d)
{
    frame_unshare(d->shared_frame);
    d->shared_info = NULL;
    leave(d);
    SPIN_GUARD(&d->life_lock);
    d->state = DOM_DEAD;
    return 0;
}

/* Each returns 0 when it is through. */
static long (*const kill_steps[])(struct domain *) = {
    kill_stop,  evtchn_close_all,     pirq_release, grant_table_release_mappings,
    kill_vcpus, pv_domain_relinquish, kill_table,
};

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
    bool was_done = d->kill_step == ARRAY_SIZE(kill_steps);
    long rc = 0;
    while (rc == 0 && d->kill_step < ARRAY_SIZE(kill_steps)) {
        rc = kill_steps[d->kill_step](d);
        d->kill_step += rc == 0;
    }
    __atomic_store_n(&d->kill_busy, false, __ATOMIC_RELEASE);
    if (rc == 0 && !was_done) {
        note_changed(d);
        domain_put(d); /* the table's */
        evtchn_send_global_virq(dom_control, VIRQ_DOM_EXC);
    }
    domain_put(d);
    return rc;
}
