// SPDX-License-Identifier: MIT
/* Small calls on the calling vCPU's processor state: kernel stack, segment bases, virtual CR0.TS,
 * debug registers, and the domain's assists. No locks; vm_assist is atomic. */
#include "pv/misc.h"

#include "core/hypercall.h"
#include "pv/trap.h"

long hc_stack_switch(struct hypercall *hc)
{
    hc->v->pv.kernel_ss = trap_fix_selector(hc->arg[0]);
    hc->v->pv.kernel_sp = hc->arg[1];
    return 0;
}

long hc_fpu_taskswitch(struct hypercall *hc)
{
    bool on = hc->arg[0];
    if (on != hc->v->pv.ts) {
        hc->v->pv.ts = on;
        arch_set_ts(on);
    }
    return 0;
}

long hc_set_segment_base(struct hypercall *hc)
{
    uint64_t base = hc->arg[1];
    switch (hc->arg[0]) {
    case SEGBASE_FS:
    case SEGBASE_GS_USER:
    case SEGBASE_GS_KERNEL:
        if (!is_canonical(base)) {
            return -EINVAL;
        }
        arch_set_segment_base((unsigned)hc->arg[0], base);
        return 0;
    case SEGBASE_GS_USER_SEL:
        arch_load_user_gs((uint16_t)base);
        return 0;
    default:
        return -EINVAL;
    }
}

int misc_set_debugreg(struct vcpu *v, unsigned reg, uint64_t value)
{
    switch (reg) {
    case 0:
    case 1:
    case 2:
    case 3:
        if (!trap_address_ok(value)) {
            return -EPERM;
        }
        break;
    case 6:
        /* Reserved bits read as 1, bit 12 as 0. */
        value = (value & 0xefff) | 0xffff0ff0;
        break;
    case 7:
        if (value >> 32) {
            return -EPERM;
        }
        value = (value & ~0xd800UL) | 0x400;
        if (value & (1UL << 13)) {
            return -EPERM; /* general detect would trap our own accesses */
        }
        for (unsigned i = 0; i < 4; i++) {
            /* I/O breakpoints (type 2) need CR4.DE and would fire in the hypervisor. */
            if (((value >> (16 + i * 4)) & 3) == 2) {
                return -EPERM;
            }
        }
        break;
    default:
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
    unsigned reg = (unsigned)hc->arg[0];
    if (reg == 4 || reg == 5) {
        reg += 2; /* aliases without CR4.DE */
    }
    return misc_set_debugreg(hc->v, reg, hc->arg[1]);
}

long hc_get_debugreg(struct hypercall *hc)
{
    uint64_t reg = hc->arg[0];
    if (reg == 4 || reg == 5) {
        reg += 2;
    }
    return reg < 8 ? (long)hc->v->pv.debugreg[reg] : -EINVAL;
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
    return 0;
}
