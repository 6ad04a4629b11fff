// SPDX-License-Identifier: MIT
/*
 * How a guest's kernel is entered and left: the virtual IDT, callbacks, bounce frames, iret; and
 * what happens to an exception in guest mode: handled here (page-table writes, privileged
 * instructions, lazy LDT), or delivered to the guest's kernel. Works on the current vCPU only; no
 * locks of its own.
 */
#include "pv/trap.h"

#include "arch/upcalls.h"
#include "base/string.h"
#include "core/account.h"
#include "core/guest_access.h"
#include "core/hooks.h"
#include "core/hypercall.h"
#include "core/span.h"
#include "pv/descriptor.h"
#include "pv/emul.h"

/* Change between the guest's kernel and user mode: page tables, GS, bookkeeping. */
static void set_mode(struct vcpu *v, bool kernel)
{
    if (v->pv.kernel_mode != kernel) {
        v->pv.kernel_mode = kernel;
        arch_swap_gs();
        arch_load_page_tables(v);
    }
}

/* Build a frame and redirect the registers to `address`. error: pointer to an error code or NULL;
 * selectors: failsafe's four or NULL. False: the domain was crashed.
 * ABI: layout from the stack pointer upwards: rcx, r11, [ds es fs gs], [error code], rip,
 * cs | upcall mask << 32, rflags, rsp, ss. */
static bool bounce(struct vcpu *v, vaddr_t address, uint16_t cs, bool mask_events,
                   const uint32_t *error, const uint64_t *selectors)
{
    struct cpu_user_regs *regs = guest_regs();
    uint64_t frame[11];
    unsigned n = 0;
    bool from_kernel = v->pv.kernel_mode;
    uint64_t sp = from_kernel ? regs->rsp : v->pv.kernel_sp;
    uint8_t mask = v->info ? read_once(v->info->evtchn_upcall_mask) : 1;
    uint64_t flags = regs->rflags & ~(X86_EFLAGS_IF | X86_EFLAGS_IOPL);
    flags |= (mask ? 0 : X86_EFLAGS_IF) | v->pv.shown_iopl;

    frame[n++] = regs->rcx;
    frame[n++] = regs->r11;
    for (unsigned i = 0; selectors && i < 4; i++) {
        frame[n++] = selectors[i];
    }
    if (error) {
        frame[n++] = *error;
    }
    frame[n++] = regs->rip;
    /* ABI: kernel mode shows as RPL 0, although it runs at CPL 3. */
    frame[n++] = (from_kernel ? regs->cs & 0xfffcU : regs->cs) | (uint64_t)mask << 32;
    frame[n++] = flags;
    frame[n++] = regs->rsp;
    frame[n++] = regs->ss;

    set_mode(v, true);
    sp = (sp & ~15UL) - n * 8;
    if (guest_write(sp, frame, n * 8)) {
        domain_crash(v->domain, "no stack at %lx for a frame (rip %lx)", sp, regs->rip);
        return false;
    }
    if (!trap_address_ok(address)) {
        domain_crash(v->domain, "handler address %lx cannot be entered", address);
        return false;
    }
    if (mask_events && v->info) {
        write_once(v->info->evtchn_upcall_mask, 1);
    }
    regs->entry_vector = 0;
    regs->rip = address;
    regs->cs = trap_fix_selector(cs);
    regs->rsp = sp;
    regs->ss = SEL_GUEST_DS;
    regs->rflags &=
        ~(X86_EFLAGS_AC | X86_EFLAGS_VM | X86_EFLAGS_RF | X86_EFLAGS_NT | X86_EFLAGS_TF);
    return true;
}

void trap_inject(struct vcpu *v, unsigned vector, uint32_t error)
{
    const struct trap_info *trap = &v->pv.trap[vector];
    if (!trap->address) {
        const struct cpu_user_regs *regs = guest_regs();
        domain_crash(v->domain, "vcpu %u: no handler for exception %u (error %x) at %lx rsp %lx",
                     v->id, vector, error, regs->rip, regs->rsp);
        return;
    }
    bounce(v, trap->address, trap->cs, trap->flags & 4, trap_has_error_code(vector) ? &error : NULL,
           NULL);
}

void trap_inject_page_fault(struct vcpu *v, vaddr_t cr2, uint32_t error)
{
    /* ABI: the U bit tells the guest's user mode from its kernel; both are CPL 3 to the hardware.
     * Reserved-bit faults come from our own bits or cannot happen. */
    if (v->info) {
        v->info->arch.cr2 = cr2;
    }
    trap_inject(v, TRAP_PF, (error & ~(PF_U | PF_RSVD)) | (v->pv.kernel_mode ? 0 : PF_U));
}

long hc_set_trap_table(struct hypercall *hc)
{
    struct pv_vcpu *pv = &hc->v->pv;
    vaddr_t table = hc->arg[0];
    if (!table) {
        memset(pv->trap, 0, sizeof(pv->trap));
        return 0;
    }
    /* At most one entry a vector makes sense; the bound also ends a table without an end. */
    for (unsigned i = 0; i <= 256; i++) {
        struct trap_info info;
        if (guest_read_element(&info, table, i, sizeof(info))) {
            return -EFAULT;
        }
        if (!info.address) {
            return 0;
        }
        if (!trap_address_ok(info.address)) {
            return -EINVAL;
        }
        info.cs = trap_fix_selector(info.cs);
        pv->trap[info.vector] = info;
    }
    return -EINVAL;
}

/* Return of the guest kernel from a trap, event or system call. */
long hc_iret(struct hypercall *hc)
{
    struct cpu_user_regs *regs = guest_regs();
    struct vcpu *v = hc->v;
    struct {
        uint64_t rax, r11, rcx, flags, rip, cs, rflags, rsp, ss;
    } frame;
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
    bool to_user = (frame.cs & 3) == 3;
    if (to_user && !v->pv.l4_user) {
        domain_crash(v->domain, "iret to user mode without user page tables");
        return 0;
    }
    /* Nothing may fail from here on. */
    set_mode(v, !to_user);
    regs->entry_vector = 0;
    regs->rip = frame.rip;
    regs->cs = trap_fix_selector(frame.cs);
    regs->rflags = trap_fix_flags(frame.rflags);
    regs->rsp = frame.rsp;
    regs->ss = trap_fix_selector(frame.ss);
    regs->rax = frame.rax;
    bool by_sysret = frame.flags & VGCF_in_syscall;
    regs->r11 = by_sysret ? regs->rflags : frame.r11;
    regs->rcx = by_sysret ? regs->rip : frame.rcx;
    if (v->info) {
        write_once(v->info->evtchn_upcall_mask, !(frame.rflags & X86_EFLAGS_IF));
    }
    hc->registers_replaced = true;
    return 0;
}

/* ---- callbacks: events, failsafe, NMIs, system calls of user mode ---- */

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
    uint64_t selectors[4];
    __asm__("mov %%ds, %0; mov %%es, %1; mov %%fs, %2; mov %%gs, %3"
            : "=r"(selectors[0]), "=r"(selectors[1]), "=r"(selectors[2]), "=r"(selectors[3]));
    if (!v->pv.failsafe.address) {
        domain_crash(v->domain, "bad segment state and no failsafe callback (rip %lx)",
                     guest_regs()->rip);
        return;
    }
    bounce(v, v->pv.failsafe.address, SEL_GUEST_CS64, v->pv.failsafe.mask_events, NULL, selectors);
}

void upcall_failsafe(void)
{
    current_vcpu()->pv.failsafe_pending = true;
}

void trap_deliver_pending(struct vcpu *v)
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
        bounce(v, v->pv.event.address, SEL_GUEST_CS64, true, NULL, NULL);
    }
}

void trap_syscall(struct vcpu *v, struct cpu_user_regs *regs, bool compat)
{
    const struct pv_callback *slot = compat ? &v->pv.syscall32 : &v->pv.syscall;
    if (!slot->address) {
        regs->rip -= 2;
        regs->entry_vector = 0;
        trap_inject(v, TRAP_UD, 0);
        return;
    }
    if (bounce(v, slot->address, SEL_GUEST_CS64, slot->mask_events, NULL, NULL)) {
        regs->rflags &= ~X86_EFLAGS_DF;
    }
}

void pv_nmi_raise(struct vcpu *v)
{
    v->pv.nmi_pending = true;
    sched_wake(v);
}

/* ---- exceptions in guest mode ---- */

/* Position in this CPU's LDT window; at least LDT_BYTES: not in it. */
#define LDT_BYTES (LDT_PAGES * PAGE_SIZE)
static vaddr_t ldt_offset(vaddr_t va)
{
    return va - (PERCPU_START + (vaddr_t)arch_cpu_id() * PERCPU_STRIDE + PERCPU_LDT);
}

static void page_fault(struct vcpu *v, struct cpu_user_regs *regs, vaddr_t cr2)
{
    vaddr_t offset = ldt_offset(cr2);
    if (offset < LDT_BYTES) {
        if (descriptor_ldt_fault(v, (unsigned)(offset >> PAGE_SHIFT))) {
            return;
        }
        /* To the guest it is a fault on its own LDT. */
        cr2 = v->pv.ldt_base + offset;
    } else if (v->pv.kernel_mode && (regs->error_code & (PF_P | PF_W)) == (PF_P | PF_W) &&
               (v->domain->pv.vm_assist & (1U << VMASST_TYPE_writable_pagetables)) &&
               pt_write_fault(v, regs, cr2)) {
        return;
    }
    trap_inject_page_fault(v, cr2, regs->error_code);
}

/* A software interrupt through one of our gates, all of DPL 0. The instruction tells the vector:
 * error codes differ between processors and the emulator (n * 8 + 2 against n * 16 + 2). */
static bool software_interrupt(struct vcpu *v, struct cpu_user_regs *regs)
{
    uint8_t insn[2];
    if ((regs->error_code & 7) != 2 || guest_read(insn, regs->rip, 2) || insn[0] != 0xcd) {
        return false;
    }
    const struct trap_info *trap = &v->pv.trap[insn[1]];
    unsigned dpl = trap->flags & 3;
    if (trap->address && (v->pv.kernel_mode || dpl == 3)) {
        regs->rip += 2;
        bounce(v, trap->address, trap->cs, trap->flags & 4, NULL, NULL);
    } else {
        trap_inject(v, TRAP_GP, insn[1] * 8U + 2);
    }
    return true;
}

void upcall_guest_trap(struct cpu_user_regs *regs, vaddr_t cr2)
{
    struct vcpu *v = current_vcpu();
    account_enter(&v->system, arch_rdtsc());
    span_note(SPAN_EXCEPTION, regs->entry_vector, 0);
    switch (regs->entry_vector) {
    case TRAP_PF:
        page_fault(v, regs, cr2);
        break;
    case TRAP_GP:
        if (!software_interrupt(v, regs) && !priv_emul_gp(v, regs)) {
            trap_inject(v, TRAP_GP, regs->error_code);
        }
        break;
    case TRAP_UD:
        if (!priv_emul_ud(v, regs)) {
            trap_inject(v, TRAP_UD, 0);
        }
        break;
    case TRAP_DB:
        v->pv.debugreg[6] = (v->pv.debugreg[6] & ~0xfUL) | arch_get_dr6();
        arch_set_debugreg(6, 0xffff0ff0);
        trap_inject(v, TRAP_DB, 0);
        break;
    case TRAP_NM:
        arch_set_ts(false);
        if (v->pv.ts) {
            v->pv.ts = false;
            trap_inject(v, TRAP_NM, 0);
        }
        break;
    default:
        trap_inject(v, regs->entry_vector, regs->error_code);
        break;
    }
}

bool upcall_hyp_fault(vaddr_t cr2)
{
    struct vcpu *v = current_vcpu();
    vaddr_t offset = ldt_offset(cr2);
    /* Loading a guest's selector may touch an LDT page that has not been mapped yet. */
    return v && !vcpu_is_idle(v) && offset < LDT_BYTES &&
           descriptor_ldt_fault(v, (unsigned)(offset >> PAGE_SHIFT));
}
