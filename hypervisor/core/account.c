// SPDX-License-Identifier: MIT
/* The accounts of all vCPUs, for the control domain's tools. No locks of its own. */
#include "core/account.h"

#include "core/subop.h"

static struct pv_vcpu_account account_of(const struct vcpu *v)
{
    vcpu_runstate_info_t r;
    uint64_t system = (uint64_t)sched_get_runstate(v, &r);
    uint32_t bits = read_once(v->sched.pause_bits);
    return (struct pv_vcpu_account){
        .domid = v->domain->id,
        .flags = (uint16_t)((r.state == RUNSTATE_running ? PV_ACCOUNT_RUNNING : 0) |
                            (bits & PAUSE_BLOCKED ? PV_ACCOUNT_BLOCKED : 0) |
                            (bits & PAUSE_DOWN ? PV_ACCOUNT_DOWN : 0) |
                            (bits & PAUSE_DOMAIN ? PV_ACCOUNT_PAUSED : 0)),
        .vcpu = v->id,
        .pcpu = read_once(v->sched.pcpu),
        .weight = read_once(v->domain->sched.weight),
        .cap = read_once(v->domain->sched.cap),
        .used_ns = r.time[RUNSTATE_running] - system,
        .ready_ns = r.time[RUNSTATE_runnable],
        .wait_ns = r.time[RUNSTATE_blocked],
        .offline_ns = r.time[RUNSTATE_offline],
        .system_ns = system,
    };
}

long sysctl_accounting(struct pv_sysctl_accounting *arg)
{
    uint32_t room = arg->count;
    struct domain *d = NULL;
    arg->count = 0;
    do {
        d = domain_get_next(arg->domid);
        if (!d) {
            arg->domid = PV_ACCOUNTING_END;
            break;
        }
        arg->vcpu = d->id == arg->domid ? arg->vcpu : 0;
        arg->domid = d->id;
        int rc = 0;
        for (; arg->vcpu < d->max_vcpus && arg->count < room && rc == 0; arg->vcpu++) {
            struct pv_vcpu_account one = account_of(d->vcpu[arg->vcpu]);
            rc = guest_write_element(GUEST_ADDR(arg->buffer), arg->count++, &one, sizeof(one));
        }
        if (arg->vcpu >= d->max_vcpus) {
            arg->domid++;
            arg->vcpu = 0;
        }
        domain_put(d);
        hypercall_preempt_soon();
        if (rc) {
            return rc;
        }
    } while (arg->count < room && !hypercall_preempt_check());
    arg->now_ns = (uint64_t)arch_now_ns();
    return 0;
}
