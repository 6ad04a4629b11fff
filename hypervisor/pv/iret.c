// SPDX-License-Identifier: MIT
/* iret: return of the guest kernel from a trap, event or system call. Current vCPU only. */
#include "core/guest_access.h"
#include "core/hypercall.h"
#include "pv/trap.h"

struct iret_frame {
    uint64_t rax, r11, rcx, flags, rip, cs, rflags, rsp, ss;
};

long hc_iret(struct hypercall *hc)
{
    struct cpu_user_regs *regs = guest_regs();
    struct vcpu *v = hc->v;
    struct iret_frame frame;

    if (guest_read(&frame, regs->rsp, sizeof(frame))) {
        domain_crash(v->domain, "iret frame at %lx cannot be read", regs->rsp);
        return 0;
    }
    if (!is_canonical(frame.rip)) {
        /* The processor would fault in the hypervisor: make it the guest's fault. */
        trap_inject(v, TRAP_GP, 0);
        hc->registers_replaced = true;
        return 0;
    }
    if ((frame.cs & 3) == 3 && !v->pv.l4_user) {
        domain_crash(v->domain, "iret to user mode without user page tables");
        return 0;
    }
    /* Nothing may fail from here on. */
    if ((frame.cs & 3) == 3) {
        trap_enter_user_mode(v);
    }
    regs->entry_vector = 0;
    regs->rip = frame.rip;
    regs->cs = trap_fix_code_selector((uint16_t)frame.cs);
    regs->rflags = trap_fix_flags(frame.rflags);
    regs->rsp = frame.rsp;
    regs->ss = trap_fix_code_selector((uint16_t)frame.ss);
    regs->rax = frame.rax;
    if (!(frame.flags & VGCF_in_syscall)) {
        regs->r11 = frame.r11;
        regs->rcx = frame.rcx;
    } else {
        regs->r11 = regs->rflags;
        regs->rcx = regs->rip;
    }
    if (v->info) {
        write_once(v->info->evtchn_upcall_mask, !(frame.rflags & X86_EFLAGS_IF));
    }
    hc->registers_replaced = true;
    return 0;
}
