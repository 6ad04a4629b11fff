// SPDX-License-Identifier: MIT
/*
 * MSR policy. A register without a row raises #GP, which Linux survives once its trap table is
 * loaded; before that a readable register reads as 0. No locks: only the current vCPU is touched.
 */
#include "pv/msr.h"

#include "core/frame.h"
#include "core/hooks.h"

#define MSR_PATCH_LEVEL 0x8b
#define MSR_MCG_CAP 0x179
#define MSR_MCG_STATUS 0x17a
#define MSR_SYSENTER_CS 0x174
#define MSR_SYSENTER_EIP 0x176
#define MSR_HYPERCALL_PAGE 0x40000000
#define MSR_SYSCFG 0xc0010010
#define MSR_HWCR 0xc0010015
#define MSR_NB_CFG 0xc001001f
#define MSR_DE_CFG 0xc0011029

#define APIC_BASE_ADDRESS 0xfee00000UL
#define APIC_BASE_BSP (1UL << 8)
#define APIC_BASE_ENABLED (1UL << 11)

#define MISC_ENABLE_PERFMON (1UL << 7)
#define MISC_ENABLE_NO_BTS_PEBS (3UL << 11)
#define MISC_ENABLE_MONITOR (1UL << 18)

#define HWCR_TSC_FREQ_SEL (1UL << 24)
#define DE_CFG_LFENCE_SERIALISE (1UL << 1)

/* Registers that read as a constant and swallow writes. */
static const struct {
    uint32_t first, last;
    bool amd; /* exists on AMD's line of processors only */
    uint64_t value;
} constant_msrs[] = {
    {MSR_MCG_CAP, MSR_MCG_STATUS, false, 0}, /* machine checks: no banks */
    {MSR_SYSENTER_CS, MSR_SYSENTER_EIP, false, 0},
    {MSR_STAR, MSR_SYSCALL_MASK, false, 0},
    {MSR_SYSCFG, MSR_SYSCFG, true, 0},
    {MSR_HWCR, MSR_HWCR, true, HWCR_TSC_FREQ_SEL},
    {MSR_NB_CFG, MSR_NB_CFG, true, 0},
    {MSR_DE_CFG, MSR_DE_CFG, true, DE_CFG_LFENCE_SERIALISE},
};

static bool is_amd(void)
{
    struct cpuid_regs r;
    arch_cpuid(0, 0, &r);
    return r.ebx == 0x68747541 /* Auth(enticAMD) */ || r.ebx == 0x6f677948 /* Hygo(nGenuine) */;
}

static bool constant_msr(uint32_t msr, uint64_t *value)
{
    for (unsigned i = 0; i < ARRAY_SIZE(constant_msrs); i++) {
        if (msr >= constant_msrs[i].first && msr <= constant_msrs[i].last &&
            (!constant_msrs[i].amd || is_amd())) {
            *value = constant_msrs[i].value;
            return true;
        }
    }
    return false;
}

static uint64_t guest_efer(void)
{
    return EFER_SCE | EFER_LME | EFER_LMA | (arch_has_nx() ? EFER_NX : 0);
}

bool msr_read(struct vcpu *v, uint32_t msr, uint64_t *value)
{
    switch (msr) {
    case MSR_FS_BASE:
        *value = arch_get_segment_base(SEGBASE_FS);
        return true;
    case MSR_GS_BASE:
        *value = arch_get_segment_base(SEGBASE_GS_KERNEL);
        return true;
    case MSR_KERNEL_GS_BASE:
        *value = arch_get_segment_base(SEGBASE_GS_USER);
        return true;
    case MSR_EFER:
        *value = guest_efer();
        return true;
    case MSR_TSC:
        *value = arch_rdtsc();
        return true;
    case MSR_APIC_BASE:
        *value = APIC_BASE_ADDRESS | APIC_BASE_ENABLED | (v->id == 0 ? APIC_BASE_BSP : 0);
        return true;
    case MSR_PAT:
        *value = PAT_VALUE;
        return true;
    case MSR_MISC_ENABLE:
        if (!arch_rdmsr_safe(msr, value)) {
            return false;
        }
        *value &= ~(MISC_ENABLE_PERFMON | MISC_ENABLE_MONITOR);
        *value |= MISC_ENABLE_NO_BTS_PEBS;
        return true;
    case MSR_PATCH_LEVEL:
        return arch_rdmsr_safe(msr, value);
    default:
        break;
    }
    if (constant_msr(msr, value)) {
        return true;
    }
    /* ABI: a kernel that cannot take the #GP yet gets an answer. */
    *value = 0;
    uint64_t ignored;
    return v->pv.trap[TRAP_GP].address == 0 && arch_rdmsr_safe(msr, &ignored);
}

static bool set_base(struct vcpu *v, unsigned which, uint64_t base)
{
    if (!is_canonical(base)) {
        return false;
    }
    arch_set_segment_base(which, base);
    if (which == SEGBASE_FS) {
        v->pv.fs_base = base;
    } else if (which == SEGBASE_GS_KERNEL) {
        v->pv.gs_base_kernel = base;
    } else {
        v->pv.gs_base_user = base;
    }
    return true;
}

static bool write_hypercall_page(struct vcpu *v, uint64_t value)
{
    /* Low bits choose one of several pages; there is one. */
    if (value & ~PAGE_MASK) {
        return false;
    }
    struct frame *f = frame_get_writable_mfn(value >> PAGE_SHIFT, v->domain);
    if (!f) {
        return false;
    }
    hypercall_page_fill(frame_to_virt(f));
    frame_put_writable_and_ref(f);
    return true;
}

bool msr_write(struct vcpu *v, uint32_t msr, uint64_t value)
{
    uint64_t constant;
    switch (msr) {
    case MSR_FS_BASE:
        return set_base(v, SEGBASE_FS, value);
    case MSR_GS_BASE:
        return set_base(v, SEGBASE_GS_KERNEL, value);
    case MSR_KERNEL_GS_BASE:
        return set_base(v, SEGBASE_GS_USER, value);
    case MSR_EFER:
        return value == guest_efer();
    case MSR_PATCH_LEVEL: /* ABI: written as 0 before it is read */
        return value == 0;
    case MSR_TSC:         /* runs on as it is */
    case MSR_MISC_ENABLE: /* ABI: kernels write bits back that they may not have */
        return true;
    case MSR_HYPERCALL_PAGE:
        return write_hypercall_page(v, value);
    default:
        return constant_msr(msr, &constant);
    }
}
