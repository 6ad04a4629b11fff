// SPDX-License-Identifier: MIT
/* The start-up sequence of the portable part, as one readable list of calls. */
#include "arch/upcalls.h"
#include "base/log.h"
#include "base/protection.h"
#include "boot/boot.h"
#include "core/deferred.h"
#include "core/domain.h"
#include "core/watchdog.h"

noreturn void upcall_boot(const struct boot_info *info)
{
    frame_alloc_init();
    domain_init();
    for (unsigned cpu = 0; cpu < arch_facts.cpus_online; cpu++) {
        timer_init_pcpu(cpu);
        sched_init_pcpu(cpu);
        watchdog_init_pcpu(cpu);
    }
    arch_start_idle(vcpu_idle(arch_cpu_id()));
    protection_log();
    dom0_build(info);
    printk("%lu MiB free for guests; starting the control domain\n", frame_free_count() >> 8);
    arch_release_cpus();
    deferred_raise(arch_cpu_id(), DEFER_SCHED);
    arch_exit_to_guest();
}

void upcall_cpu_online(void)
{
    arch_start_idle(vcpu_idle(arch_cpu_id()));
    arch_exit_to_guest();
}
