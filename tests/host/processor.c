// SPDX-License-Identifier: MIT
/*
 * The fake machine's processor: what a test may look at after it was set, and, at every such place,
 * what a real one refuses and QEMU's emulation lets through. Where hardware would fault inside of
 * the hypervisor, this panics. Every unit test, the model checker and the fuzzers run on it.
 */
#include <string.h>

#include "base/assert.h"
#include "host.h"

#define VECTOR_SYSCALL 0x100 /* entry_vector of SYSCALL, as in arch/x86_64 */
#define XSAVE_HEADER 512

static void refuse(bool bad, const char *what)
{
    if (bad) {
        panic("the processor refuses: %s", what);
    }
}

/* ---- segments ---- */

void arch_set_segment_base(unsigned which, uint64_t base)
{
    refuse(!is_canonical(base), "WRMSR of a segment base that is not canonical");
    if (which == SEGBASE_FS) {
        host.fs_base = base;
    } else if (which == SEGBASE_GS_USER) {
        host.gs_base_user = base;
    } else {
        host.gs_base_kernel = base;
    }
}

uint64_t arch_get_segment_base(unsigned which)
{
    return which == SEGBASE_FS        ? host.fs_base
           : which == SEGBASE_GS_USER ? host.gs_base_user
                                      : host.gs_base_kernel;
}

void arch_load_user_gs(uint16_t sel)
{
    (void)sel;
}

void arch_swap_gs(void)
{
    uint64_t kernel = host.gs_base_kernel;
    host.gs_base_kernel = host.gs_base_user;
    host.gs_base_user = kernel;
}

/* ---- control and debug registers ---- */

void arch_set_ts(bool on)
{
    host.ts = on;
}

void arch_set_cr4(const struct vcpu *v)
{
    (void)v;
}

static void check_debugreg(unsigned reg, uint64_t value)
{
    refuse(reg == 4 || reg == 5, "debug registers 4 and 5 with CR4.DE");
    refuse(reg >= 6 && value >> 32, "upper bits of DR6 or DR7");
    refuse(reg == 7 && (value & 1UL << 13), "general detect: the next look at it would trap");
}

void arch_set_debugreg(unsigned reg, uint64_t value)
{
    check_debugreg(reg, value);
    host.debugreg[reg] = value;
}

uint64_t arch_get_dr6(void)
{
    return host.debugreg[6];
}

/* ---- FPU ---- */

static void check_xcr0(uint64_t xcr0)
{
    refuse(!(xcr0 & 1), "XSETBV without x87");
    refuse((xcr0 & 4) && !(xcr0 & 2), "XSETBV with AVX and without SSE");
    refuse(xcr0 & ~arch_facts.xcr0_mask, "XSETBV of components there are not");
}

void arch_xsetbv(uint64_t xcr0)
{
    check_xcr0(xcr0);
    host.xcr0 = xcr0;
}

void arch_page_clear(void *page)
{
    memset(page, 0, PAGE_SIZE);
}

void arch_fpu_init(void *area, size_t bytes)
{
    memset(area, 0, bytes);
}

static void check_fpu(const uint8_t *area)
{
    static const uint8_t zeros[64 - 8];
    uint64_t components;
    uint32_t mxcsr;
    memcpy(&components, area + XSAVE_HEADER, sizeof(components));
    memcpy(&mxcsr, area + 24, sizeof(mxcsr));
    refuse(mxcsr & ~0xffffu, "FXRSTOR of reserved MXCSR bits");
    refuse(components & ~arch_facts.xcr0_mask, "XRSTOR of components that are off");
    refuse(memcmp(area + XSAVE_HEADER + 8, zeros, sizeof(zeros)), "XRSTOR of a bad header");
}

/* ---- what a vCPU brings along, and the way into it ---- */

void host_processor_load(const struct vcpu *v)
{
    if (vcpu_is_idle(v)) {
        return;
    }
    refuse(!is_canonical(v->pv.fs_base) || !is_canonical(v->pv.gs_base_kernel) ||
               !is_canonical(v->pv.gs_base_user),
           "a vCPU's segment base that is not canonical");
    for (unsigned reg = 6; reg < 8; reg++) {
        check_debugreg(reg, v->pv.debugreg[reg]);
    }
    check_xcr0(v->pv.xcr0 ?: 1);
    check_fpu(v->pv.fpu);
}

void host_processor_enter(void)
{
    const struct cpu_user_regs *regs = guest_regs();
    host_processor_load(current_vcpu());
    if (regs->entry_vector == VECTOR_SYSCALL) {
        refuse(!is_canonical(regs->rip), "SYSRET to an address that is not canonical");
        refuse(regs->cs != SEL_GUEST_CS64 || regs->ss != SEL_GUEST_DS,
               "SYSRET loads the flat selectors, not these");
    }
    refuse((regs->cs & 3) != 3 || (regs->ss & 3) != 3, "a guest outside of ring 3");
    refuse(!(regs->rflags & X86_EFLAGS_IF), "a guest that keeps interrupts off");
    refuse(regs->rflags & (X86_EFLAGS_IOPL | X86_EFLAGS_NT | X86_EFLAGS_VM),
           "a guest with I/O rights, in a nested task or in virtual-8086 mode");
}
