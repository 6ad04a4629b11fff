// SPDX-License-Identifier: MIT
/*
 * The crossing between guest and hypervisor: what a `syscall` means, and everything that has to
 * happen before a guest runs again. No locks are held at either end.
 */
#include "arch/layout.h"
#include "arch/upcalls.h"
#include "base/lock.h"
#include "base/string.h"
#include "core/account.h"
#include "core/console.h"
#include "core/deferred.h"
#include "core/hooks.h"
#include "core/hypercall.h"
#include "core/span.h"
#include "core/watchdog.h"
#include "pv/mmu_update.h"
#include "pv/page_type.h"
#include "pv/trap.h"

void upcall_enter(void)
{
    span_note(SPAN_ENTRY, 0, 0);
    account_enter(&current_vcpu()->system, arch_rdtsc());
}

/* The plain cases of calls that change page tables or use grants, without what others need: the
 * result, or 1 when it is none and nothing has been done. */
static inline_always int short_call(const struct cpu_user_regs *regs, struct vcpu *v)
{
    uint64_t nr = regs->rax;
    span_note(SPAN_HYPERCALL, nr, regs->rdi & 63);
    if (nr == __HYPERVISOR_update_va_mapping) {
        return mmu_va_single(v, regs);
    }
    if (nr == __HYPERVISOR_grant_table_op && regs->rdx == 1) {
        return grant_single(v, regs);
    }
    if (regs->rsi != 1 || regs->rdx || regs->r10 != DOMID_SELF) {
        return 1;
    }
    return nr == __HYPERVISOR_mmu_update  ? mmu_update_single(v, regs)
           : nr == __HYPERVISOR_mmuext_op ? mmu_ext_single(v, regs)
                                          : 1;
}

/* rc: of short_call(). */
static inline void hypercall(struct cpu_user_regs *regs, int rc)
{
    if (unlikely(rc == -ERESTART)) {
        hypercall_again(regs);
    } else if (rc <= 0) {
        regs->rax = (uint64_t)(long)rc;
    } else {
        hypercall_from_regs(regs);
    }
}

void upcall_syscall(struct cpu_user_regs *regs)
{
    upcall_enter();
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
        hypercall(regs, short_call(regs, v));
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
    span_note(SPAN_WORK, 0, work);
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

/* The guest may go on as it is. What other pcpus ask of this one comes with an interrupt. */
static inline bool nothing_to_do(const struct vcpu *v)
{
    return !(deferred_pending() | read_once(v->sched.pause_bits) | v->mmu_deferred_count) &&
           !trap_pending(v);
}

static void do_all_work(void)
{
    for (;;) {
        do_deferred_work();
        struct vcpu *v = current_vcpu();
        if (deferred_pending()) {
            continue;
        }
        if (vcpu_is_idle(v)) {
            watchdog_beat();
            irq_window(!frame_clear_idle());
        } else if (!page_type_finish_deferred(v)) {
            watchdog_beat(); /* each round gets further, if slowly where others take tables apart */
            irq_window(false);
        } else {
            trap_deliver_pending(v);
            if (!deferred_pending() && !read_once(v->sched.pause_bits)) {
                break;
            }
        }
    }
}

static inline void leave(struct vcpu *v)
{
    spin_assert_none_held();
    account_leave(&v->system, arch_rdtsc());
    (void)span_end();
}

void upcall_exit(void)
{
    struct vcpu *v = current_vcpu();
    if (!nothing_to_do(v) || vcpu_is_idle(v)) {
        do_all_work();
        v = current_vcpu();
    }
    watchdog_beat();
    leave(v);
}

bool upcall_hypercall(struct cpu_user_regs *regs, struct vcpu *v)
{
    uint32_t came = arch_rdtsc_low();
    int rc = short_call(regs, v);
    if (rc == 0 && nothing_to_do(v)) {
        regs->rax = 0;
        spin_assert_none_held();
        account_stay(&v->system, came);
        (void)span_end();
        return true;
    }
    account_late(&v->system, came);
    hypercall(regs, rc);
    bool plain = regs->entry_vector && nothing_to_do(v);
    if (plain) {
        leave(v);
    }
    return plain;
}

long upcall_event_send(struct vcpu *v, uint32_t port)
{
    return evtchn_send(v->domain, port);
}

/* ---- the page of hypercall stubs that kernels ask for ---- */

/* ABI: slot n (32 bytes each) loads number n and executes `syscall`, preserving rcx and r11; the
 * slot of iret does not return and leaves rcx, r11 and rax on the stack for the hypervisor. */

/* push %rcx; push %r11; mov $0, %eax; syscall; pop %r11; pop %rcx; ret */
static const uint8_t call[] = {0x51, 0x41, 0x53, 0xb8, 0,    0,    0,
                               0,    0x0f, 0x05, 0x41, 0x5b, 0x59, 0xc3};
/* push %rcx; push %r11; push %rax; mov $__HYPERVISOR_iret, %eax; syscall */
static const uint8_t iret[] = {0x51, 0x41, 0x53, 0x50, 0xb8, __HYPERVISOR_iret,
                               0,    0,    0,    0x0f, 0x05};

void hypercall_page_fill(void *page)
{
    memset(page, 0xcc, PAGE_SIZE);
    for (unsigned nr = 0; nr < PAGE_SIZE / 32; nr++) {
        uint8_t *slot = (uint8_t *)page + nr * 32;
        if (nr == __HYPERVISOR_iret) {
            memcpy(slot, iret, sizeof(iret));
        } else {
            memcpy(slot, call, sizeof(call));
            slot[4] = (uint8_t)nr;
        }
    }
}

bool hypercall_page_write(struct domain *d, mfn_t mfn)
{
    struct frame *f = frame_get_writable_mfn(mfn, d);
    if (f) {
        hypercall_page_fill(frame_to_virt(f));
        frame_put_writable_and_ref(f);
    }
    return f;
}
