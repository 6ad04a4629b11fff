// SPDX-License-Identifier: MIT
/*
 * A vCPU's paravirtual state as a whole: made, set from a guest context, read back, dropped; and
 * the end of a domain's page tables. Works on vCPUs that do not run (or, reading, on the current
 * one). Lock: mmu_lock where references change.
 */
#include "base/string.h"
#include "core/domain.h"
#include "core/hooks.h"
#include "core/hypercall.h"
#include "pv/descriptor.h"
#include "pv/emul.h"
#include "pv/mmu_update.h"
#include "pv/trap.h"

/* Where the FPU's save area is behind a vCPU, if it fits there. */
#define FPU_AT ROUND_UP(sizeof(struct vcpu), 64)

static size_t fpu_bytes(void)
{
    return MIN(cpuid_xsave_bytes(arch_facts.xcr0_mask), PAGE_SIZE);
}

/* What a vCPU has left of its own pages is mostly enough for the FPU's save area. */
static bool fpu_fits(void)
{
    return FPU_AT + fpu_bytes() <= ROUND_UP(sizeof(struct vcpu), PAGE_SIZE);
}

static void fpu_reset(struct vcpu *v)
{
    arch_fpu_init(v->pv.fpu, fpu_bytes());
}

int pv_vcpu_init(struct vcpu *v)
{
    v->pv.fpu = fpu_fits() ? (uint8_t *)v + FPU_AT : hyp_alloc(PAGE_SIZE);
    if (!v->pv.fpu) {
        return -ENOMEM;
    }
    fpu_reset(v);
    v->pv.xcr0 = arch_facts.xcr0_mask ? 1 : 0;
    v->pv.debugreg[6] = 0xffff0ff0;
    v->pv.debugreg[7] = 0x400;
    return 0;
}

void pv_vcpu_free(struct vcpu *v)
{
    if (!fpu_fits()) {
        hyp_free(v->pv.fpu);
    }
    v->pv.fpu = NULL;
}

static void drop_page_tables(struct vcpu *v)
{
    struct frame *old[] = {v->pv.l4_user, v->pv.l4};
    v->pv.l4 = v->pv.l4_user = NULL;
    for (unsigned i = 0; i < ARRAY_SIZE(old); i++) {
        if (old[i]) {
            pv_page_type_put(old[i]);
        }
    }
}

long pv_vcpu_release(struct vcpu *v)
{
    /* It may have been switched out, for good, in the middle of this. */
    if (!page_type_finish_deferred(v)) {
        return -ERESTART;
    }
    (void)!descriptor_set_gdt(v, NULL, 0);
    descriptor_drop_ldt(v);
    drop_page_tables(v);
    v->initialised = false;
    return hypercall_preempt_check() ? -ERESTART : 0;
}

#define RELINQUISHED_TYPES (TYPE_PARTIAL | TYPE_PINNED)

/* First pass: pins and half-done tables. Second: the domain's own references. False: not done. */
static bool relinquish_frame(struct domain *d, struct frame *f, unsigned pass)
{
    if (pass == 1) {
        frame_free_behind(d, f);
        (void)!frame_drop_allocation(f);
        return true;
    }
    if (!(read_once(f->type) & RELINQUISHED_TYPES)) {
        return true;
    }
    SPIN_GUARD(&d->mmu_lock);
    if (read_once(f->type) & TYPE_PARTIAL) {
        return page_type_dismantle(f);
    }
    if (read_once(f->type) & TYPE_PINNED) {
        (void)!page_type_unpin(frame_to_mfn(f), d);
    }
    return true;
}

long pv_domain_relinquish(struct domain *d)
{
    /* Who was pinning a table when the domain died is through with it. */
    spin_lock(&d->mmu_lock);
    spin_unlock(&d->mmu_lock);
    for (; d->pv.relinquish_pass < 2; d->pv.relinquish_pass++) {
        uint64_t types = d->pv.relinquish_pass == 0 ? RELINQUISHED_TYPES : 0;
        struct frame *f = d->pv.relinquish_cursor ?: frame_list_next(d, NULL, types);
        while (f) {
            if (hypercall_preempt_check() || !relinquish_frame(d, f, d->pv.relinquish_pass)) {
                d->pv.relinquish_cursor = f;
                return -ERESTART;
            }
            struct frame *next = frame_list_next(d, f, types);
            frame_put(f);
            f = next;
        }
        d->pv.relinquish_cursor = NULL;
    }
    return 0;
}

/* ---- devices taken away ---- */

/* Clear what f, if it is a level-1 table in use, maps of devices that d may not reach. */
static void clear_device_entries(struct domain *d, struct frame *f)
{
    SPIN_GUARD(&d->mmu_lock);
    for (unsigned i = 0; i < PT_ENTRIES && mmu_is_l1(f) && frame_is_of(f, d); i++) {
        uint64_t *slot = (uint64_t *)frame_to_virt(f) + i, pte = read_once(*slot);
        if ((pte & X86_PTE_P) && !page_type_leaf_frame(pte) && !page_type_device_ok(pte, d)) {
            (void)!mmu_leaf_set(slot, 0, d, d);
        }
    }
}

/* SAFETY: the right has gone, and tables change under mmu_lock only: once we have had that, whoever
 * asked for the right before has written what we find. Of calls that overlap, none continues from
 * where another was: it starts again. */
long pv_device_unmap(struct domain *d)
{
    spin_lock(&d->mmu_lock);
    mfn_t start = d->pv.unmap_cursor, mfn = start;
    spin_unlock(&d->mmu_lock);
    for (; mfn < arch_facts.max_mfn; mfn++) {
        struct frame *f = mfn_to_frame(mfn);
        if (frame_is_of(f, d) && mmu_is_l1(f)) {
            clear_device_entries(d, f);
            hypercall_preempt_soon();
        }
        if (mfn % 16 == 15 && mfn != start && hypercall_preempt_check()) {
            break;
        }
    }
    arch_tlb_flush_mask(&d->dirty_cpus, FLUSH_TLB, 0);
    bool done = mfn >= arch_facts.max_mfn;
    SPIN_GUARD(&d->mmu_lock);
    d->pv.unmap_cursor = done || d->pv.unmap_cursor != start ? 0 : mfn;
    return done ? 0 : -ERESTART;
}

/* ---- guest contexts ---- */

static bool context_ok(const struct vcpu_guest_context *c)
{
    bool ok = trap_address_ok(c->user_regs.rip) && is_canonical(c->user_regs.rsp) &&
              is_canonical(c->fs_base) && is_canonical(c->gs_base_kernel) &&
              is_canonical(c->gs_base_user) && c->gdt_ents <= GDT_RESERVED_FIRST &&
              c->ldt_ents <= 8192 && !(c->ldt_base & ~PAGE_MASK) &&
              (!c->ldt_ents || trap_address_ok(c->ldt_base)) &&
              trap_address_ok(c->event_callback_eip) && trap_address_ok(c->failsafe_callback_eip) &&
              trap_address_ok(c->syscall_callback_eip);
    for (unsigned i = 0; ok && i < 256; i++) {
        ok = trap_address_ok(c->trap_ctxt[i].address);
    }
    return ok;
}

static int take_page_tables(struct vcpu *v, mfn_t kernel, mfn_t user)
{
    SPIN_GUARD(&v->domain->mmu_lock);
    int rc = page_type_get(kernel, v->domain, TYPE_L4, &v->pv.l4);
    if (rc == 0 && user) {
        rc = page_type_get(user, v->domain, TYPE_L4, &v->pv.l4_user);
    }
    return rc;
}

static void load_registers(struct vcpu *v, const struct vcpu_guest_context *c)
{
    struct pv_vcpu *pv = &v->pv;
    v->regs = c->user_regs;
    v->regs.entry_vector = 0;
    v->regs.error_code = 0;
    v->regs.cs = trap_fix_selector(c->user_regs.cs);
    v->regs.ss = trap_fix_selector(c->user_regs.ss);
    pv_set_iopl(v, c->user_regs.rflags >> 12 & 3);
    v->regs.rflags = trap_fix_flags(c->user_regs.rflags);
    pv->kernel_mode = c->flags & VGCF_in_kernel;
    pv->kernel_ss = trap_fix_selector(c->kernel_ss);
    pv->kernel_sp = c->kernel_sp;
    for (unsigned i = 0; i < 256; i++) {
        pv->trap[i] = c->trap_ctxt[i];
        pv->trap[i].vector = (uint8_t)i;
        pv->trap[i].cs = trap_fix_selector(c->trap_ctxt[i].cs);
    }
    pv->event = (struct pv_callback){c->event_callback_eip, true};
    pv->failsafe =
        (struct pv_callback){c->failsafe_callback_eip, c->flags & VGCF_failsafe_disables_events};
    pv->syscall =
        (struct pv_callback){c->syscall_callback_eip, c->flags & VGCF_syscall_disables_events};
    pv->fs_base = c->fs_base;
    pv->gs_base_kernel = c->gs_base_kernel;
    pv->gs_base_user = c->gs_base_user;
    pv->ldt_base = c->ldt_base;
    pv->ldt_entries = c->ldt_ents;
    fpu_reset(v);
    if (c->flags & VGCF_i387_valid) {
        memcpy(pv->fpu, &c->fpu_ctxt, sizeof(c->fpu_ctxt));
        /* MXCSR bits the processor does not know would make loading it fault. */
        ((uint32_t *)pv->fpu)[6] &= 0xffff;
    }
    pv->ts = c->ctrlreg[0] & X86_CR0_TS;
    for (unsigned i = 0; i < 8; i++) {
        if (c->debugreg[i]) {
            (void)!misc_set_debugreg(v, i, c->debugreg[i]);
        }
    }
}

long pv_context_set(struct vcpu *v, const struct vcpu_guest_context *c)
{
    mfn_t kernel = xen_cr3_to_pfn(c->ctrlreg[3]);
    mfn_t user = c->ctrlreg[1] & 1 ? xen_cr3_to_pfn(c->ctrlreg[1]) : 0;
    int rc = 0;
    if (!context_ok(c) || v == current_vcpu()) {
        return -EINVAL;
    }
    if (!v->initialised) {
        rc = take_page_tables(v, kernel, user);
    } else if (!v->pv.l4 || frame_to_mfn(v->pv.l4) != kernel ||
               (v->pv.l4_user ? frame_to_mfn(v->pv.l4_user) : 0) != user) {
        /* ABI: a resumed domain gets the registers it stopped with, never other page tables. */
        return -EOPNOTSUPP;
    }
    if (rc == 0) {
        rc = descriptor_set_gdt(v, c->gdt_frames, (unsigned)c->gdt_ents);
    }
    if (rc) {
        if (!v->initialised) {
            drop_page_tables(v);
        }
        return rc;
    }
    descriptor_drop_ldt(v);
    load_registers(v, c);
    if (v->id == 0) {
        v->domain->pv.vm_assist = (uint32_t)(c->vm_assist & VM_ASSISTS_KNOWN);
        misc_assists_changed(v->domain);
    }
    v->initialised = true;
    return 0;
}

void pv_context_get(struct vcpu *v, struct vcpu_guest_context *c)
{
    const struct pv_vcpu *pv = &v->pv;
    memset(c, 0, sizeof(*c));
    c->flags = VGCF_i387_valid | (pv->kernel_mode ? VGCF_in_kernel : 0) |
               (pv->failsafe.mask_events ? VGCF_failsafe_disables_events : 0) |
               (pv->syscall.mask_events ? VGCF_syscall_disables_events : 0) |
               (read_once(v->sched.pause_bits) & PAUSE_DOWN ? 0 : VGCF_online);
    memcpy(&c->fpu_ctxt, pv->fpu, sizeof(c->fpu_ctxt));
    c->user_regs = v->regs;
    c->user_regs.rflags |= (uint64_t)pv->iopl << 12;
    if (pv->kernel_mode) {
        c->user_regs.cs &= 0xfffc; /* ABI: kernel mode shows as RPL 0 */
    }
    memcpy(c->trap_ctxt, pv->trap, sizeof(c->trap_ctxt));
    memcpy(c->debugreg, pv->debugreg, sizeof(c->debugreg));
    c->ldt_base = pv->ldt_base;
    c->ldt_ents = pv->ldt_entries;
    c->gdt_ents = pv->gdt_entries;
    for (unsigned i = 0; i < GUEST_GDT_FRAMES; i++) {
        c->gdt_frames[i] = pv->gdt[i] ? frame_to_mfn(pv->gdt[i]) : 0;
    }
    c->kernel_ss = pv->kernel_ss;
    c->kernel_sp = pv->kernel_sp;
    c->ctrlreg[0] = X86_CR0_PG | X86_CR0_WP | X86_CR0_PE | (pv->ts ? X86_CR0_TS : 0);
    c->ctrlreg[1] = pv->l4_user ? xen_pfn_to_cr3(frame_to_mfn(pv->l4_user)) | 1 : 0;
    c->ctrlreg[3] = pv->l4 ? xen_pfn_to_cr3(frame_to_mfn(pv->l4)) : 0;
    c->ctrlreg[4] = pv->cr4;
    c->event_callback_eip = pv->event.address;
    c->failsafe_callback_eip = pv->failsafe.address;
    c->syscall_callback_eip = pv->syscall.address;
    c->vm_assist = v->domain->pv.vm_assist;
    c->fs_base = pv->fs_base;
    c->gs_base_kernel = pv->gs_base_kernel;
    c->gs_base_user = pv->gs_base_user;
}
