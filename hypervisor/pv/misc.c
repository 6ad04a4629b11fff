// SPDX-License-Identifier: MIT
/* Small calls on the calling vCPU's processor state: kernel stack, segment bases, virtual CR0.TS,
 * debug registers, and the domain's assists. No locks; vm_assist is atomic. */
#include "core/hooks.h"
#include "core/hypercall.h"
#include "pv/emul.h"
#include "pv/trap.h"

long hc_stack_switch(struct hypercall *hc)
{
    hc->v->pv.kernel_ss = trap_fix_selector(hc->arg[0]);
    hc->v->pv.kernel_sp = hc->arg[1];
    return 0;
}

void misc_set_ts(struct vcpu *v, bool on)
{
    if (v->pv.ts != on) {
        v->pv.ts = on;
        arch_set_ts(on);
    }
}

long hc_fpu_taskswitch(struct hypercall *hc)
{
    misc_set_ts(hc->v, hc->arg[0]);
    return 0;
}

long hc_set_segment_base(struct hypercall *hc)
{
    uint64_t which = hc->arg[0], base = hc->arg[1];
    if (which == SEGBASE_GS_USER_SEL) {
        arch_load_user_gs((uint16_t)base);
        return 0;
    }
    if (which > SEGBASE_GS_KERNEL || !is_canonical(base)) {
        return -EINVAL;
    }
    arch_set_segment_base((unsigned)which, base);
    return 0;
}

int misc_set_debugreg(struct vcpu *v, unsigned reg, uint64_t value)
{
    reg = misc_debugreg_alias(reg);
    if (reg < 4) {
        if (!trap_address_ok(value)) {
            return -EPERM;
        }
    } else if (reg == 6) {
        value = (value & 0xefff) | 0xffff0ff0; /* reserved bits read as 1, bit 12 as 0 */
    } else if (reg == 7) {
        /* General detect (bit 13) would trap our own accesses; I/O breakpoints (type 2 of four,
         * from bit 16 on) need CR4.DE and would fire in the hypervisor. */
        if (value >> 32 || (value & 1UL << 13) || (value >> 17 & ~(value >> 16) & 0x1111)) {
            return -EPERM;
        }
        value = (value & ~0xd800UL) | 0x400;
    } else {
        return -EINVAL;
    }
    bool was_active = v->pv.debugreg[7] & 0xff;
    v->pv.debugreg[reg] = value;
    if (v != current_vcpu()) {
        return 0;
    }
    if (reg == 7 && (value & 0xff) && !was_active) {
        for (unsigned i = 0; i < 4; i++) {
            arch_set_debugreg(i, v->pv.debugreg[i]);
        }
    }
    if (reg >= 6 || was_active) {
        arch_set_debugreg(reg, value);
    }
    return 0;
}

long hc_set_debugreg(struct hypercall *hc)
{
    uint64_t reg = hc->arg[0];
    return reg < 8 ? misc_set_debugreg(hc->v, (unsigned)reg, hc->arg[1]) : -EINVAL;
}

long hc_get_debugreg(struct hypercall *hc)
{
    uint64_t reg = hc->arg[0];
    return reg < 8 ? (long)hc->v->pv.debugreg[misc_debugreg_alias((unsigned)reg)] : -EINVAL;
}

static void show_iopl(struct vcpu *v)
{
    bool shown = read_once(v->domain->pv.vm_assist) & (1U << VMASST_TYPE_architectural_iopl);
    write_once(v->pv.shown_iopl, shown ? (uint32_t)v->pv.iopl << 12 : 0);
}

void pv_set_iopl(struct vcpu *v, unsigned iopl)
{
    v->pv.iopl = (uint8_t)iopl;
    show_iopl(v);
}

void misc_assists_changed(struct domain *d)
{
    for (unsigned i = 0; i < d->max_vcpus; i++) {
        show_iopl(d->vcpu[i]);
    }
}

long hc_vm_assist(struct hypercall *hc)
{
    uint64_t cmd = hc->arg[0], type = hc->arg[1];
    if (type >= 32 || !(VM_ASSISTS_KNOWN >> type & 1)) {
        return -EINVAL;
    }
    if (cmd == VMASST_CMD_enable) {
        __atomic_fetch_or(&hc->d->pv.vm_assist, 1U << type, __ATOMIC_SEQ_CST);
    } else if (cmd == VMASST_CMD_disable) {
        __atomic_fetch_and(&hc->d->pv.vm_assist, ~(1U << type), __ATOMIC_SEQ_CST);
    } else {
        return -ENOSYS;
    }
    misc_assists_changed(hc->d);
    return 0;
}
