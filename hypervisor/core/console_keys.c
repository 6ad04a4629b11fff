// SPDX-License-Identifier: MIT
/*
 * What the hypervisor shows when somebody asks at its console. Figures of domains are read without
 * their locks: a picture for a person, and it must come out even when a lock is stuck.
 */
#include "core/console.h"

#include "base/log.h"
#include "core/domain.h"
#include "core/grant_table.h"

static void show_domain(struct domain *d)
{
    static const char *const names[] = {
        [DOM_ALIVE] = "alive", [DOM_DYING] = "dying", [DOM_DEAD] = "dead"};
    enum domain_state state = read_once(d->state);
    printk("domain %u%s: %s, refs %u, paused %u, pages %lu of %lu, grant frames %u, ports %u\n",
           (unsigned)d->id, d->privileged ? " (control)" : "",
           state == DOM_ALIVE && d->shut_down ? "shut down" : names[state], d->refs, d->pause_count,
           d->page_count, d->max_pages, d->grant->frame_count, d->evtchn.used);
    for (unsigned i = 0; i < d->max_vcpus; i++) {
        const struct vcpu *v = d->vcpu[i];
        printk("  vcpu %u: pcpu %u%s, pause bits %x, used %lu ms, upcall %s\n", i, v->sched.pcpu,
               v->sched.running ? " running" : "", v->sched.pause_bits,
               (unsigned long)(sched_used_ns(v) / NS_PER_MS),
               evtchn_upcall_wanted(v) ? "wanted" : "idle");
    }
}

static void show_registers(struct domain *d)
{
    for (unsigned i = 0; i < d->max_vcpus; i++) {
        const struct vcpu *v = d->vcpu[i];
        if (!v->initialised) {
            continue;
        }
        bool here = v == current_vcpu();
        if (sched_is_running(v) && !here) {
            printk("domain %u vcpu %u: running on pcpu %u\n", (unsigned)d->id, i, v->sched.pcpu);
            continue;
        }
        printk("domain %u vcpu %u: %s mode\n", (unsigned)d->id, i,
               v->pv.kernel_mode ? "kernel" : "user");
        log_regs(here ? guest_regs() : &v->regs);
    }
}

void console_keys_handle(char key)
{
    switch (key) {
    case 'h':
        printk("keys: h help, q memory and domains, d registers of vCPUs, R reboot\n");
        break;
    case 'q':
        printk("memory: %lu of %lu frames free\n", frame_free_count(), frame_total_count());
        domain_for_each(show_domain);
        break;
    case 'd':
        domain_for_each(show_registers);
        break;
    case 'R':
        printk("restart asked for at the console\n");
        arch_reboot();
    case '\r':
    case '\n':
        break;
    default:
        printk("no such key; h for help\n");
    }
}
