// SPDX-License-Identifier: MIT
/*
 * The virtual IDT, bounce frames, and what happens to an exception in guest mode: handled here
 * (page-table writes, privileged instructions, lazy LDT), or delivered to the guest's kernel. Works
 * on the current vCPU only; no locks of its own.
 */
#include "pv/trap.h"

#include "arch/upcalls.h"
#include "base/assert.h"
#include "base/log.h"
#include "core/guest_access.h"
#include "core/hypercall.h"
#include "pv/descriptor.h"
#include "pv/priv_emul.h"
#include "pv/pt_write_fault.h"

void trap_enter_kernel_mode(struct vcpu *v)
{
    if (!v->pv.kernel_mode) {
        v->pv.kernel_mode = true;
        arch_swap_gs();
        arch_load_page_tables(v);
    }
}

void trap_enter_user_mode(struct vcpu *v)
{
    if (v->pv.kernel_mode) {
        v->pv.kernel_mode = false;
        arch_swap_gs();
        arch_load_page_tables(v);
    }
}

uint16_t trap_fix_code_selector(uint16_t sel)
{
    /* ABI: guests give kernel selectors with RPL 0 or 1; both run at CPL 3. */
    return sel | 3;
}

/* ABI: layout from the stack pointer upwards: rcx, r11, [ds es fs gs], [error code], rip,
 * cs | upcall mask << 32, rflags, rsp, ss. */
bool trap_bounce(struct vcpu *v, vaddr_t address, uint16_t cs, bool mask_events,
                 const uint32_t *error, const uint64_t *selectors)
{
    struct cpu_user_regs *regs = guest_regs();
    uint64_t frame[12];
    unsigned n = 0;
    bool from_kernel = v->pv.kernel_mode;
    uint64_t sp = from_kernel ? regs->rsp : v->pv.kernel_sp;
    uint8_t mask = v->info ? read_once(v->info->evtchn_upcall_mask) : 1;

    frame[n++] = regs->rcx;
    frame[n++] = regs->r11;
    if (selectors) {
        for (unsigned i = 0; i < 4; i++) {
            frame[n++] = selectors[i];
        }
    }
    if (error) {
        frame[n++] = *error;
    }
    frame[n++] = regs->rip;
    /* ABI: kernel mode shows as RPL 0, although it runs at CPL 3. */
    uint64_t shown_cs = from_kernel ? regs->cs & 0xfffcU : regs->cs;
    frame[n++] = shown_cs | (uint64_t)mask << 32;
    uint64_t flags = regs->rflags & ~(X86_EFLAGS_IF | X86_EFLAGS_IOPL);
    if (!mask) {
        flags |= X86_EFLAGS_IF;
    }
    if (v->domain->pv.vm_assist & (1U << VMASST_TYPE_architectural_iopl)) {
        flags |= (uint64_t)v->pv.iopl << 12;
    }
    frame[n++] = flags;
    frame[n++] = regs->rsp;
    frame[n++] = regs->ss;

    trap_enter_kernel_mode(v);
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
    regs->cs = trap_fix_code_selector(cs);
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
    (void)!trap_bounce(v, trap->address, trap->cs, trap->flags & 4,
                       trap_has_error_code(vector) ? &error : NULL, NULL);
}

void trap_inject_page_fault(struct vcpu *v, vaddr_t cr2, uint32_t error)
{
    /* ABI: the U bit tells the guest's user mode from its kernel; both are CPL 3 to the hardware.
     * Reserved-bit faults come from our own bits or cannot happen. */
    error &= ~(PF_U | PF_RSVD);
    if (!v->pv.kernel_mode) {
        error |= PF_U;
    }
    if (v->info) {
        v->info->arch.cr2 = cr2;
    }
    trap_inject(v, TRAP_PF, error);
}

long hc_set_trap_table(struct hypercall *hc)
{
    struct pv_vcpu *pv = &hc->v->pv;
    vaddr_t table = hc->arg[0];
    if (!table) {
        for (unsigned i = 0; i < 256; i++) {
            pv->trap[i] = (struct trap_info){0};
        }
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
        info.cs = trap_fix_code_selector(info.cs);
        pv->trap[info.vector] = info;
    }
    return -EINVAL;
}

/* ---- exceptions in guest mode ---- */

static void page_fault(struct vcpu *v, struct cpu_user_regs *regs, vaddr_t cr2)
{
    vaddr_t ldt = PERCPU_START + (vaddr_t)arch_cpu_id() * PERCPU_STRIDE + PERCPU_LDT;
    if (cr2 >= ldt && cr2 < ldt + LDT_PAGES * PAGE_SIZE) {
        unsigned page = (unsigned)((cr2 - ldt) >> PAGE_SHIFT);
        if (descriptor_ldt_fault(v, page)) {
            return;
        }
        /* To the guest it is a fault on its own LDT. */
        cr2 = v->pv.ldt_base + (cr2 - ldt);
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
        (void)!trap_bounce(v, trap->address, trap->cs, trap->flags & 4, NULL, NULL);
    } else {
        trap_inject(v, TRAP_GP, insn[1] * 8U + 2);
    }
    return true;
}

static void debug_trap(struct vcpu *v)
{
    uint64_t dr6 = arch_get_debugreg(6);
    arch_set_debugreg(6, 0xffff0ff0);
    v->pv.debugreg[6] = (v->pv.debugreg[6] & ~0xfUL) | dr6;
    trap_inject(v, TRAP_DB, 0);
}

void upcall_guest_trap(struct cpu_user_regs *regs, vaddr_t cr2)
{
    struct vcpu *v = current_vcpu();
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
        debug_trap(v);
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

bool upcall_hyp_fault(struct cpu_user_regs *regs, vaddr_t cr2)
{
    /* Loading a guest's selector may touch an LDT page that has not been mapped yet. */
    struct vcpu *v = current_vcpu();
    vaddr_t ldt = PERCPU_START + (vaddr_t)arch_cpu_id() * PERCPU_STRIDE + PERCPU_LDT;
    (void)regs;
    return v && !vcpu_is_idle(v) && cr2 >= ldt && cr2 < ldt + LDT_PAGES * PAGE_SIZE &&
           descriptor_ldt_fault(v, (unsigned)((cr2 - ldt) >> PAGE_SHIFT));
}
