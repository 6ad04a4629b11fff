// SPDX-License-Identifier: MIT
/*
 * See watchdog.h. A pcpu that runs a guest or idles need not do anything by itself for a long time,
 * so in each round without a beat it gets a kick, which brings it through its exit path. Shortly
 * before the limit it gets a first NMI, only to see that it runs at all: under an emulator it may
 * just not have been given any time. The second NMI is the one whose handler reports. Rounds are
 * counted by looks of the watcher, so no time counts in which the watcher did not run either.
 */
#include "core/watchdog.h"

#include "arch/upcalls.h"
#include "base/assert.h"
#include "base/cmdline.h"
#include "base/lock.h"

#define ROUNDS 5       /* in which a pcpu has to show a beat */
#define ROUNDS_DEAF 15 /* after which one that takes no NMI is given up */
#define WAITS 3        /* times the limit for one that waits for others */

struct watch watches[MAX_PCPUS];

static void look(void *arg)
{
    struct watch *me = arg;
    unsigned cpu = (unsigned)(me - watches + 1) % arch_facts.cpus_online;
    struct watch *other = &watches[cpu];
    ns_t now = arch_now_ns(), limit = (ns_t)cmdline.watchdog * NS_PER_SEC;
    uint32_t beats = read_once(other->beats);
    timer_set(&me->timer, now + limit / ROUNDS);
    if (beats != me->seen) {
        me->seen = beats;
        me->since = now;
        me->rounds = 0;
        __atomic_store_n(&other->nmi, WATCHDOG_NONE, __ATOMIC_SEQ_CST);
        return;
    }
    arch_kick_cpu(cpu);
    if (++me->rounds < ROUNDS - 1) {
        return;
    }
    uint32_t asked = __atomic_load_n(&other->nmi, __ATOMIC_SEQ_CST);
    if (me->rounds >= ROUNDS_DEAF && asked != WATCHDOG_ANSWERED) {
        panic("CPU %u has made no progress for %lu s and takes no NMI", cpu,
              (unsigned long)((now - me->since) / NS_PER_SEC));
    }
    if (asked == WATCHDOG_NONE || (asked == WATCHDOG_ANSWERED && now - me->since >= limit)) {
        __atomic_store_n(&other->nmi, asked == WATCHDOG_NONE ? WATCHDOG_PROBE : WATCHDOG_REPORT,
                         __ATOMIC_SEQ_CST);
        arch_nmi_cpu(cpu);
    }
}

bool upcall_nmi(bool interruptible)
{
    uint32_t *nmi = &watches[arch_cpu_id()].nmi;
    uint32_t asked = __atomic_load_n(nmi, __ATOMIC_SEQ_CST);
    if (asked != WATCHDOG_NONE) {
        __atomic_store_n(nmi, WATCHDOG_ANSWERED, __ATOMIC_SEQ_CST);
    }
    /* Where interrupts are open the kicks get through: it was late, but it moves. */
    return asked == WATCHDOG_REPORT && !interruptible;
}

void upcall_waiting(void)
{
    struct watch *mine = &watches[arch_cpu_id()];
    ns_t now = arch_now_ns(), limit = WAITS * (ns_t)cmdline.watchdog * NS_PER_SEC;
    if (mine->waited_at != mine->beats) {
        mine->waited_at = mine->beats;
        mine->waited = 0;
    } else {
        /* At most a second a report: a machine that stood still has not waited. */
        mine->waited += MIN(now - mine->waited_until, NS_PER_SEC);
    }
    mine->waited_until = now;
    if (limit && mine->waited > limit) {
        panic("CPU %u has waited for others for %lu s", arch_cpu_id(),
              (unsigned long)(mine->waited / NS_PER_SEC));
    }
}

void watchdog_init_pcpu(unsigned cpu)
{
    struct watch *w = &watches[cpu];
    /* A time beyond reason is as good as none. */
    if (cmdline.watchdog && cmdline.watchdog < UINT32_MAX && arch_facts.cpus_online > 1) {
        w->since = arch_now_ns();
        timer_init(&w->timer, look, w, cpu);
        timer_set(&w->timer, w->since);
    }
}

void watchdog_provoke(void)
{
    static struct spinlock stuck = SPINLOCK_INIT(RANK_CONSOLE);
    spin_lock(&stuck);
    for (;;) {
        barrier();
    }
}
