// SPDX-License-Identifier: MIT
/*
 * The crossing between guest and hypervisor: what a `syscall` means, and everything that has to
 * happen before a guest runs again. No locks are held at either end.
 */
#include "arch/layout.h"
#include "arch/upcalls.h"
#include "base/lock.h"
#include "core/console.h"
#include "core/deferred.h"
#include "core/hypercall.h"
#include "pv/page_type.h"
#include "pv/trap.h"

void upcall_syscall(struct cpu_user_regs *regs)
{
    struct vcpu *v = current_vcpu();
    bool compat = regs->cs == SEL_GUEST_CS32;
    if (compat || !is_canonical(regs->rip)) {
        /* SAFETY: SYSRET is for 64-bit code, and to an address that is not canonical it faults in
         * the hypervisor on some processors. */
        regs->entry_vector = 0;
    }
    if (!v->pv.kernel_mode) {
        trap_syscall(v, regs, compat);
    } else if (compat) {
        regs->rax = (uint64_t)-ENOSYS; /* there are no 32-bit guest kernels */
    } else {
        hypercall_from_regs(regs);
    }
}

void upcall_timer(void)
{
    deferred_raise(arch_cpu_id(), DEFER_TIMER);
}

void upcall_console_input(void)
{
    deferred_raise(arch_cpu_id(), DEFER_CONSOLE);
}

static void do_deferred_work(void)
{
    uint32_t work = deferred_take();
    if (work & DEFER_TIMER) {
        timer_run();
    }
    if (work & DEFER_CONSOLE) {
        console_rx_work();
    }
    if ((work & DEFER_SCHED) || read_once(current_vcpu()->sched.pause_bits)) {
        sched_run();
    }
}

void upcall_exit(void)
{
    for (;;) {
        do_deferred_work();
        struct vcpu *v = current_vcpu();
        if (deferred_pending()) {
            continue;
        }
        if (vcpu_is_idle(v)) {
            arch_idle();
            continue;
        }
        if (!page_type_finish_deferred(v)) {
            arch_irq_window();
            continue;
        }
        trap_deliver_pending(v);
        if (!deferred_pending() && !read_once(v->sched.pause_bits)) {
            break;
        }
    }
    spin_assert_none_held();
}
