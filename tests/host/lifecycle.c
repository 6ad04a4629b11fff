// SPDX-License-Identifier: MIT
/*
 * Start-up of the portable core on the fake machine, in the order boot/main.c uses, and the exit
 * path a test runs by hand: what upcall_exit() does, without a guest to return to.
 */
#include <stdlib.h>
#include <string.h>

#include "base/lock.h"
#include "core/deferred.h"
#include "core/frame.h"
#include "host.h"

void host_start(unsigned cpus)
{
    /* From the heap, so that the sanitizer sees an access past its end. */
    frame_table = calloc(HOST_FRAMES, sizeof(*frame_table));
    frame_links = calloc(HOST_FRAMES, sizeof(*frame_links));
    memset(host_m2p, 0xff, HOST_FRAMES * sizeof(*host_m2p));
    host.cpus = cpus;
    arch_facts.cpus_present = arch_facts.cpus_online = cpus;
    host.now = NS_PER_SEC;
    host.wallclock_sec = 1700000000;
    for (unsigned cpu = 0; cpu < MAX_PCPUS; cpu++) {
        host.timer_deadline[cpu] = INT64_MAX;
    }
    frame_alloc_init();
    domain_init();
    for (unsigned cpu = 0; cpu < cpus; cpu++) {
        host_play(cpu);
        timer_init_pcpu(cpu);
        sched_init_pcpu(cpu);
        host_current[cpu] = vcpu_idle(cpu);
    }
    host_play(0);
}

void host_reset(void)
{
    host_guest_reset();
    host_fetch_reset();
    memset(host.kicks, 0, sizeof(host.kicks));
    host.idles = host.windows = host.relaxes = host.switches = 0;
    host.on_relax = host.on_window = host.on_idle = host.on_access = NULL;
    host.on_in = NULL;
    host.on_out = NULL;
    host.on_cpuid = NULL;
    host.on_rdmsr = NULL;
    host.flush_count = 0;
    host.on_flush = NULL;
    host.on_alloc = NULL;
    host.ports_written = 0;
    host.console_bytes = 0;
    host.console[0] = '\0';
    host.console_input = NULL;
    host.fault_in_access = host.fault_in_alloc = 0;
    for (unsigned cpu = host.cpus; cpu-- > 0;) {
        host_play(cpu);
        host_exit_path();
    }
}

void host_play(unsigned cpu)
{
    host_cpu = cpu;
}

void host_advance(ns_t ns)
{
    host.now += ns;
    host_tsc += (uint64_t)ns;
    for (unsigned cpu = 0; cpu < host.cpus; cpu++) {
        if (host.timer_deadline[cpu] <= host.now) {
            host.timer_deadline[cpu] = INT64_MAX;
            unsigned self = host_cpu;
            host_play(cpu);
            deferred_raise(cpu, DEFER_TIMER);
            host_play(self);
        }
    }
}

struct vcpu *host_exit_path(void)
{
    while (deferred_pending() || current_vcpu()->sched.pause_bits) {
        uint32_t work = deferred_take();
        if (work & DEFER_TIMER) {
            timer_run();
        }
        sched_run();
        spin_assert_none_held();
    }
    return current_vcpu();
}
