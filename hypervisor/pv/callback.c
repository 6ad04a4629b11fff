// SPDX-License-Identifier: MIT
/*
 * callback_op, and the delivery of events, failsafe, NMIs and user system calls. Works on the
 * current vCPU; no locks.
 */
#include "arch/upcalls.h"
#include "core/guest_access.h"
#include "core/hooks.h"
#include "core/hypercall.h"
#include "pv/trap.h"

static struct pv_callback *callback_slot(struct vcpu *v, unsigned type)
{
    switch (type) {
    case CALLBACKTYPE_event:
        return &v->pv.event;
    case CALLBACKTYPE_failsafe:
        return &v->pv.failsafe;
    case CALLBACKTYPE_syscall:
        return &v->pv.syscall;
    case CALLBACKTYPE_syscall32:
        return &v->pv.syscall32;
    default:
        /* SYSENTER is not offered: guests that get -ENOSYS drop the feature. */
        return NULL;
    }
}

long hc_callback_op(struct hypercall *hc)
{
    struct callback_register reg = {0};
    bool add = hc->arg[0] == CALLBACKOP_register;
    if (!add && hc->arg[0] != CALLBACKOP_unregister) {
        return -ENOSYS;
    }
    if (guest_read(&reg, hc->arg[1], add ? sizeof(reg) : sizeof(struct callback_unregister))) {
        return -EFAULT;
    }
    struct pv_callback *slot = callback_slot(hc->v, reg.type);
    bool vital = reg.type == CALLBACKTYPE_event || reg.type == CALLBACKTYPE_failsafe;
    if (!slot && reg.type != CALLBACKTYPE_nmi) {
        return -ENOSYS;
    }
    /* Without an event or failsafe entry a guest cannot run: only the optional ones go. */
    if (add ? !trap_address_ok(reg.address) : vital) {
        return -EINVAL;
    }
    if (slot) {
        /* ABI: events always mask. */
        bool mask = (reg.flags & CALLBACKF_mask_events) || reg.type == CALLBACKTYPE_event;
        *slot = (struct pv_callback){reg.address, add && mask};
    } else {
        /* ABI: another way to set the gate of vector 2, which always masks. */
        hc->v->pv.trap[TRAP_NMI] = (struct trap_info){
            .vector = TRAP_NMI, .flags = 4, .cs = SEL_GUEST_CS64, .address = add ? reg.address : 0};
    }
    return 0;
}

static void deliver_failsafe(struct vcpu *v)
{
    struct cpu_user_regs *regs = guest_regs();
    uint16_t sel[4];
    __asm__("mov %%ds, %0; mov %%es, %1; mov %%fs, %2; mov %%gs, %3"
            : "=r"(sel[0]), "=r"(sel[1]), "=r"(sel[2]), "=r"(sel[3]));
    uint64_t selectors[4] = {sel[0], sel[1], sel[2], sel[3]};
    if (!v->pv.failsafe.address) {
        domain_crash(v->domain, "bad segment state and no failsafe callback (rip %lx)", regs->rip);
        return;
    }
    trap_bounce(v, v->pv.failsafe.address, SEL_GUEST_CS64, v->pv.failsafe.mask_events, NULL,
                selectors);
}

void upcall_failsafe(struct cpu_user_regs *regs)
{
    (void)regs;
    current_vcpu()->pv.failsafe_pending = true;
}

void callback_deliver(struct vcpu *v)
{
    if (v->pv.failsafe_pending) {
        v->pv.failsafe_pending = false;
        deliver_failsafe(v);
    }
    if (v->pv.nmi_pending && v->pv.trap[TRAP_NMI].address) {
        v->pv.nmi_pending = false;
        trap_inject(v, TRAP_NMI, 0);
    }
    if (evtchn_upcall_wanted(v) && v->pv.event.address) {
        trap_bounce(v, v->pv.event.address, SEL_GUEST_CS64, true, NULL, NULL);
    }
}

void callback_syscall(struct vcpu *v, struct cpu_user_regs *regs, bool compat)
{
    const struct pv_callback *slot = compat ? &v->pv.syscall32 : &v->pv.syscall;
    if (!slot->address) {
        regs->rip -= 2;
        regs->entry_vector = 0;
        trap_inject(v, TRAP_UD, 0);
        return;
    }
    if (trap_bounce(v, slot->address, SEL_GUEST_CS64, slot->mask_events, NULL, NULL)) {
        regs->rflags &= ~X86_EFLAGS_DF;
    }
}

void pv_nmi_raise(struct vcpu *v)
{
    v->pv.nmi_pending = true;
    sched_wake(v);
}
