// SPDX-License-Identifier: MIT
/*
 * The scheduler's real code, as the hypervisor links it, under thousands of simulated guests: one
 * thread plays all pcpus and a clock that jumps from event to event. Prints a line for each size.
 *
 *   sched_sim              the tables of `make bench-sched`
 *   sched_sim --check      less time, and status 1 when a figure is not what is promised
 *
 * Built twice: `sched_sim` measures the time of a decision, `sched_count` counts what it executes
 * (the compiler calls us at each basic block of the scheduler's files), which is the same on every
 * machine and every day. Time grows faster than the count from some hundred vCPUs on: one real
 * cache stands for those of all pcpus.
 */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/assert.h"
#include "core/account.h"
#include "core/deferred.h"
#include "core/sched_policy.h"
#include "core/time.h"

#define VCPUS_MAX 10000
#define PER_PCPU 39
#define WARM_UP (2 * NS_PER_SEC)
#define SAMPLE (10 * NS_PER_MS)

/* ---- the machine ---- */

_Thread_local unsigned host_cpu;
struct vcpu *host_current[MAX_PCPUS];
struct cpu_user_regs host_regs[MAX_PCPUS];
uint8_t *host_ram;
uint64_t *host_m2p, host_tsc;
struct arch_facts arch_facts;
struct domain *dom_idle;

static ns_t now;
static cpumask_t dirty; /* pcpus that have to take their way out of the hypervisor */

/* ---- guests ---- */

enum kind { HOG, WIDE, CAPPED, LIGHT, TICKS, KINDS };

struct guest {
    struct vcpu v;
    struct heap_node wake; /* on `events` while it sleeps */
    enum kind kind;
    ns_t run, sleep;  /* what it does, for ever; sleep 0: never */
    ns_t burst_left;  /* until it sleeps, as of `since` */
    ns_t since;       /* while running */
    ns_t ready_since; /* while waiting */
};

static struct guest *guests;
static struct domain **domains;
static unsigned guest_count, domain_count_;
static struct heap_node *events;
static struct heap_node pcpu_event[MAX_PCPUS];
static ns_t timer[MAX_PCPUS];

/* ---- what is measured ---- */

static uint64_t blocks, decisions, switches, moves, worst_decision;
static uint64_t cost_ns;
static ns_t worst_wait;
static bool measuring;

void __sanitizer_cov_trace_pc(void);
void __sanitizer_cov_trace_pc(void)
{
    blocks++;
}

static uint64_t clock_now(void)
{
    uint32_t lo, hi;
    __asm__ volatile("rdtsc" : "=a"(lo), "=d"(hi));
    return (uint64_t)hi << 32 | lo;
}

/* Nothing ends here. */
struct domain *domain_get_held(struct domain *d)
{
    d->refs++;
    return d;
}

void domain_put_last(struct domain *d unused)
{
    BUG_ON(true);
}

static struct guest *guest_of(struct vcpu *v)
{
    return container_of(v, struct guest, v);
}

/* ---- arch/arch.h, as far as the scheduler needs it ---- */

ns_t arch_now_ns(void)
{
    return now;
}

void arch_timer_set(ns_t deadline)
{
    timer[host_cpu] = deadline;
}

void arch_kick_cpu(unsigned cpu)
{
    cpumask_set(&dirty, cpu);
}

void arch_relax(void)
{
    panic("somebody spins, though there is one thread");
}

void arch_irq_window(void)
{
}

void arch_context_switch(struct vcpu *prev, struct vcpu *next)
{
    if (prev != vcpu_idle(host_cpu)) {
        struct guest *g = guest_of(prev);
        g->burst_left -= now - g->since;
        g->ready_since = now;
    }
    if (next != vcpu_idle(host_cpu)) {
        struct guest *g = guest_of(next);
        if (measuring && g->kind != CAPPED) {
            worst_wait = MAX(worst_wait, now - g->ready_since);
        }
        g->since = now;
    }
    host_current[host_cpu] = next;
    switches++;
}

void panic(const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vfprintf(stderr, fmt, args);
    va_end(args);
    abort();
}

void *hyp_alloc(size_t bytes)
{
    return calloc(1, bytes);
}

size_t arch_copy_to_guest(vaddr_t dst, const void *src, size_t bytes)
{
    (void)dst, (void)src;
    return bytes;
}

void time_vcpu_update(struct vcpu *v)
{
    (void)v;
}

/* ---- playing ---- */

static void schedule_pcpu(unsigned cpu)
{
    ns_t at = timer[cpu];
    if (host_current[cpu] != vcpu_idle(cpu)) {
        const struct guest *g = guest_of(host_current[cpu]);
        at = g->sleep ? MIN(at, now + g->burst_left) : at;
    }
    if (heap_has(&pcpu_event[cpu])) {
        heap_remove(&events, &pcpu_event[cpu]);
    }
    if (at < INT64_MAX) {
        heap_insert(&events, &pcpu_event[cpu], (uint64_t)MAX(at, now));
    }
}

/* What upcall_exit() does. */
static void way_out(unsigned cpu)
{
    host_cpu = cpu;
    while (deferred_pending() || host_current[cpu]->sched.pause_bits) {
        uint32_t work = deferred_take();
        if (work & DEFER_TIMER) {
            timer_run();
        }
        if ((work & DEFER_SCHED) || host_current[cpu]->sched.pause_bits) {
            uint64_t before = blocks;
            sched_run();
            decisions++;
            worst_decision = MAX(worst_decision, blocks - before);
        }
    }
}

static void wake(struct guest *g)
{
    host_cpu = g->v.sched.pcpu; /* where its timer is */
    g->burst_left = g->run;
    g->ready_since = now;
    cpumask_set(&dirty, host_cpu);
    sched_wake(&g->v);
}

static void pcpu_acts(unsigned cpu)
{
    host_cpu = cpu;
    cpumask_set(&dirty, cpu);
    if (timer[cpu] <= now) {
        timer[cpu] = INT64_MAX;
        deferred_raise(cpu, DEFER_TIMER);
    }
    if (host_current[cpu] == vcpu_idle(cpu)) {
        return;
    }
    struct guest *g = guest_of(host_current[cpu]);
    g->burst_left -= now - g->since;
    g->since = now;
    if (g->sleep && g->burst_left <= 0) {
        heap_insert(&events, &g->wake, (uint64_t)(now + g->sleep));
        sched_pause(&g->v, PAUSE_BLOCKED);
    }
}

static void play_event(void)
{
    struct heap_node *e = events;
    now = (ns_t)e->key;
    heap_remove(&events, e);
    uint64_t start = clock_now(), blocks_before = blocks;
    if (e >= pcpu_event && e < pcpu_event + MAX_PCPUS) {
        pcpu_acts((unsigned)(e - pcpu_event));
    } else {
        wake(container_of(e, struct guest, wake));
    }
    for (unsigned cpu; (cpu = find_next_bit(dirty.word, MAX_PCPUS, 0)) < MAX_PCPUS;) {
        cpumask_clear(&dirty, cpu);
        way_out(cpu);
        uint64_t sim_start = clock_now(), sim_blocks = blocks;
        schedule_pcpu(cpu);
        start += clock_now() - sim_start;
        blocks_before += blocks - sim_blocks;
    }
    cost_ns += clock_now() - start; /* in ticks, until the end */
    blocks = blocks_before + (blocks - blocks_before);
}

/* ---- a run ---- */

static uint64_t seed;
static unsigned any(unsigned n)
{
    seed = seed * 6364136223846793005UL + 1442695040888963407UL;
    return (unsigned)(seed >> 33) % n;
}

static void add_domain(enum kind kind, unsigned vcpus, unsigned weight)
{
    struct domain *d = domains[domain_count_] = calloc(1, sizeof(*d));
    d->refs = 1;
    d->id = (domid_t)domain_count_++;
    sched_domain_init(d);
    d->max_vcpus = vcpus;
    for (unsigned i = 0; i < vcpus; i++) {
        struct guest *g = &guests[guest_count++];
        *g = (struct guest){.kind = kind, .run = INT64_MAX};
        g->v.domain = d;
        g->v.id = i;
        d->vcpu[i] = &g->v;
        if (kind == LIGHT) { /* wants up to 1 % */
            g->run = (50 + any(150)) * NS_PER_US;
            g->sleep = (20 + any(20)) * NS_PER_MS;
        } else if (kind == TICKS) {
            g->run = 40 * NS_PER_MS;
            g->sleep = 10 * NS_PER_MS;
        }
        sched_vcpu_init(&g->v);
    }
    if (sched_set_params(d, weight, kind == CAPPED ? 1 : 0)) {
        panic("parameters refused");
    }
}

static void start_domain(const struct domain *d)
{
    for (unsigned i = 0; i < d->max_vcpus; i++) {
        struct guest *g = guest_of(d->vcpu[i]);
        g->v.runstate.state_entry_time = (uint64_t)now;
        g->v.sched.pause_bits = PAUSE_BLOCKED;
        heap_insert(&events, &g->wake, (uint64_t)(now + any(50) * NS_PER_MS));
    }
}

/* Of ten vCPUs: four run all the time with weights of 128 to 1,024, two sleep most of the time, two
 * run four ticks and sleep one, one is a quarter of a domain with four, one has a cap of 1 %. */
static void populate(unsigned n, bool mixed)
{
    static const unsigned weights[] = {128, 256, 256, 512, 1024};
    while (guest_count < n) {
        unsigned what = mixed ? any(40) : 0;
        if (what < 4 && guest_count + 4 <= n && n > 40) {
            if (what == 0) {
                add_domain(WIDE, 4, 256);
            }
        } else if (what < 8) {
            add_domain(n > 40 ? CAPPED : HOG, 1, 256);
        } else if (what < 16) {
            add_domain(LIGHT, 1, 256);
        } else if (what < 24) {
            add_domain(TICKS, 1, 256);
        } else {
            add_domain(HOG, 1, weights[any(ARRAY_SIZE(weights))]);
        }
    }
    for (unsigned i = 0; i < domain_count_; i++) {
        start_domain(domains[i]);
    }
}

static ns_t used_by(const struct domain *d)
{
    ns_t sum = 0;
    for (unsigned i = 0; i < d->max_vcpus; i++) {
        sum += sched_used_ns(d->vcpu[i]);
    }
    return sum;
}

struct result {
    double error, worst_error; /* of the share of those who always want more, in parts of it */
    double light, capped;      /* got of what they want; used of what the cap allows */
    double spread;             /* of the pcpus' loads: mean deviation, in parts of the mean */
    double idle;               /* of the pcpus' time while somebody waited somewhere */
    double per_decision, worst_decision, moves;
    ns_t worst_wait;
};

static void sample_balance(unsigned pcpus, struct result *r, unsigned *samples)
{
    double sum = 0, deviation = 0;
    unsigned idle_count = 0;
    bool waits = false;
    for (unsigned cpu = 0; cpu < pcpus; cpu++) {
        sum += sched_queues[cpu].load;
        idle_count += host_current[cpu] == vcpu_idle(cpu);
        waits = waits || sched_queues[cpu].waiting;
    }
    for (unsigned cpu = 0; cpu < pcpus; cpu++) {
        deviation += fabs(sched_queues[cpu].load - sum / pcpus);
    }
    r->spread += sum > 0 ? deviation / sum : 0;
    r->idle += waits ? (double)idle_count / pcpus : 0;
    ++*samples;
}

static void play_until(ns_t end, unsigned pcpus, struct result *r, unsigned *samples)
{
    ns_t next_sample = now;
    while (events && (ns_t)events->key < end) {
        if (r && (ns_t)events->key >= next_sample) {
            sample_balance(pcpus, r, samples);
            next_sample += SAMPLE;
        }
        play_event();
    }
    now = end;
}

static void judge(const ns_t *before, ns_t length, struct result *r)
{
    double service = 0, weight = 0, light_want = 0, light = 0, capped = 0;
    unsigned rated = 0, capped_count = 0;
    for (int pass = 0; pass < 2; pass++) {
        for (unsigned i = 0; i < domain_count_; i++) {
            const struct domain *d = domains[i];
            const struct guest *g = guest_of(d->vcpu[0]);
            double got = (double)(used_by(d) - before[i]);
            if (g->kind == HOG || g->kind == WIDE) {
                if (pass == 0) {
                    service += got;
                    weight += d->sched.weight;
                    rated++;
                } else {
                    double error = got / (service / weight * d->sched.weight) - 1;
                    r->error += fabs(error) / rated;
                    r->worst_error = fmax(r->worst_error, fabs(error));
                }
            } else if (pass == 0 && g->kind == LIGHT) {
                light += got;
                light_want += (double)length * (double)g->run / (double)(g->run + g->sleep);
            } else if (pass == 0 && g->kind == CAPPED) {
                capped += got;
                capped_count++;
            }
        }
    }
    r->light = light_want > 0 ? light / light_want : 1;
    r->capped = capped_count ? capped / capped_count / ((double)length / 100) : 1;
}

static double ns_per_tick;

static struct result simulate(unsigned n, unsigned pcpus, bool mixed, ns_t length)
{
    struct result r = {0};
    memset(&sched_queues, 0, sizeof(sched_queues));
    memset(&sched_idle_pcpus, 0, sizeof(sched_idle_pcpus));
    memset(pcpu_event, 0, sizeof(pcpu_event));
    arch_facts.cpus_online = arch_facts.cpus_present = pcpus;
    now = NS_PER_SEC;
    seed = n;
    for (unsigned cpu = 0; cpu < pcpus; cpu++) {
        host_cpu = cpu;
        timer[cpu] = INT64_MAX;
        timer_init_pcpu(cpu);
        sched_init_pcpu(cpu);
        host_current[cpu] = vcpu_idle(cpu);
    }
    guests = calloc(n, sizeof(*guests));
    domains = calloc(n, sizeof(*domains));
    ns_t *before = calloc(n, sizeof(*before));
    populate(n, mixed);
    play_until(now + WARM_UP, pcpus, NULL, NULL);
    for (unsigned i = 0; i < domain_count_; i++) {
        before[i] = used_by(domains[i]);
    }
    unsigned samples = 0;
    blocks = decisions = switches = moves = worst_decision = cost_ns = 0;
    worst_wait = 0;
    measuring = true;
    play_until(now + length, pcpus, &r, &samples);
    measuring = false;
    r.per_decision = (blocks ? (double)blocks : (double)cost_ns * ns_per_tick) / (double)decisions;
    r.worst_decision = (double)worst_decision;
    r.worst_wait = worst_wait;
    r.spread /= samples;
    r.idle /= samples;
    judge(before, length, &r);

    /* Everybody goes home, so that the next size starts with empty masks. */
    for (unsigned i = 0; i < guest_count; i++) {
        host_cpu = guests[i].v.sched.pcpu;
        sched_pause(&guests[i].v, PAUSE_DOMAIN);
        way_out(host_cpu);
    }
    for (unsigned cpu = 0; cpu < pcpus; cpu++) {
        way_out(cpu);
        way_out(cpu);
    }
    for (unsigned i = 0; i < domain_count_; i++) {
        sched_domain_destroy(domains[i]);
        free(domains[i]);
    }
    free(guests);
    free(domains);
    free(before);
    events = NULL;
    guest_count = domain_count_ = 0;
    dirty = (cpumask_t){{0}};
    return r;
}

static bool counting(void)
{
    uint64_t before = blocks;
    struct heap_node *root = NULL, node;
    heap_insert(&root, &node, 1);
    return blocks != before;
}

static unsigned failures;
static void expect(bool good, const char *what, unsigned n)
{
    if (!good) {
        printf("FAILED with %u vCPUs: %s\n", n, what);
        failures++;
    }
}

static void print_line(unsigned n, unsigned pcpus, const struct result *r)
{
    printf("%6u %6u %8.2f %% %7.2f %% %8.1f %% %8.1f %% %8.0f ms %7.1f %% %7.2f %% %9.0f\n", n,
           pcpus, r->error * 100, r->worst_error * 100, r->light * 100, r->capped * 100,
           (double)r->worst_wait / NS_PER_MS, r->spread * 100, r->idle * 100, r->per_decision);
    fflush(stdout);
}

static void table(const char *title, bool mixed, bool check)
{
    double cost_100 = 0;
    printf("%s\n%6s %6s %10s %9s %10s %10s %11s %9s %9s %9s\n", title, "vCPUs", "pcpus", "error",
           "worst", "light got", "of the cap", "worst wait", "imbalance", "idle",
           counting() ? "blocks" : "ns");
    for (unsigned n = 10; n <= VCPUS_MAX; n *= 10) {
        unsigned pcpus = mixed ? (n + PER_PCPU - 1) / PER_PCPU : 1;
        ns_t length = check ? (n < 1000 ? 20 : 3) * NS_PER_SEC : 30 * NS_PER_SEC;
        struct result r = simulate(n, MIN(pcpus, MAX_PCPUS), mixed, length);
        print_line(n, MIN(pcpus, MAX_PCPUS), &r);
        cost_100 = n == 100 ? r.per_decision : cost_100;
        if (!check) {
            continue;
        }
        if (mixed) {
            expect(r.error <= (n < 1000 ? 0.03 : 0.12), "fairness error", n);
            expect(r.light >= 0.95, "light guests get what they want", n);
            expect(r.capped <= 1.1 && r.capped >= 0.8, "caps", n);
            expect(r.spread <= 0.25, "balance", n);
            expect(r.idle <= 0.001, "a pcpu idles while somebody waits", n);
            expect(r.worst_wait <= 2 * NS_PER_SEC, "worst wait", n);
        }
        expect(n < VCPUS_MAX || r.per_decision <= 2 * cost_100, "cost of a decision", n);
    }
}

static void calibrate(void)
{
    struct timespec a, b;
    uint64_t start = clock_now();
    clock_gettime(CLOCK_MONOTONIC, &a);
    do {
        clock_gettime(CLOCK_MONOTONIC, &b);
    } while ((b.tv_sec - a.tv_sec) * NS_PER_SEC + b.tv_nsec - a.tv_nsec < 20 * NS_PER_MS);
    ns_t ns = (b.tv_sec - a.tv_sec) * NS_PER_SEC + b.tv_nsec - a.tv_nsec;
    ns_per_tick = (double)ns / (double)(clock_now() - start);
}

int main(int argc, char **argv)
{
    bool check = argc > 1 && !strcmp(argv[1], "--check");
    calibrate();
    dom_idle = calloc(1, sizeof(*dom_idle));
    dom_idle->refs = 1;
    dom_idle->id = DOMID_IDLE;
    dom_idle->sched.weight = 256;
    table("Mixed loads, 39 vCPUs a pcpu; cost of a decision, all that leads to it included:", true,
          check);
    table("All on one pcpu, always ready (1,000 do not all have a turn in that time):", false,
          check);
    return failures != 0;
}
