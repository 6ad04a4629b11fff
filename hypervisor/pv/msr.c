// SPDX-License-Identifier: MIT
/*
 * MSR policy. A register without a row raises #GP, which Linux survives once its trap table is
 * loaded; before that a readable register reads as 0. No locks: only the current vCPU is touched.
 */
#include "core/hooks.h"
#include "pv/emul.h"

#define MSR_PATCH_LEVEL 0x8b
#define MSR_HYPERCALL_PAGE 0x40000000

#define APIC_BASE_ADDRESS 0xfee00000UL
#define APIC_BASE_BSP (1UL << 8)
#define APIC_BASE_ENABLED (1UL << 11)

#define MISC_ENABLE_PERFMON (1UL << 7)
#define MISC_ENABLE_NO_BTS_PEBS (3UL << 11)
#define MISC_ENABLE_MONITOR (1UL << 18)

/* Registers that read as a constant and swallow writes. */
static const struct constant_msr {
    uint32_t first, last;
    bool amd; /* exists on AMD's line of processors only */
    uint64_t value;
} constant_msrs[] = {
    {0x174, 0x176, false, 0}, /* SYSENTER */
    {0x179, 0x17a, false, 0}, /* machine checks: no banks */
    {MSR_STAR, MSR_SYSCALL_MASK, false, 0},
    {0xc0010010, 0xc0010010, true, 0},         /* SYSCFG */
    {0xc0010015, 0xc0010015, true, 1UL << 24}, /* HWCR: the TSC runs at a fixed frequency */
    {0xc001001f, 0xc001001f, true, 0},         /* NB_CFG */
    {0xc0011029, 0xc0011029, true, 1UL << 1},  /* DE_CFG: LFENCE serialises */
};

/* MSR_FS_BASE, MSR_GS_BASE, MSR_KERNEL_GS_BASE as a guest kernel sees them. */
static const uint8_t segment_base[] = {SEGBASE_FS, SEGBASE_GS_KERNEL, SEGBASE_GS_USER};

static bool is_amd(void)
{
    struct cpuid_regs r;
    arch_cpuid(0, 0, &r);
    return r.ebx == 0x68747541 /* Auth(enticAMD) */ || r.ebx == 0x6f677948 /* Hygo(nGenuine) */;
}

static const struct constant_msr *constant_msr(uint32_t msr)
{
    for (unsigned i = 0; i < ARRAY_SIZE(constant_msrs); i++) {
        const struct constant_msr *c = &constant_msrs[i];
        if (msr >= c->first && msr <= c->last && (!c->amd || is_amd())) {
            return c;
        }
    }
    return NULL;
}

static uint64_t guest_efer(void)
{
    return EFER_SCE | EFER_LME | EFER_LMA | EFER_NX;
}

bool msr_read(struct vcpu *v, uint32_t msr, uint64_t *value)
{
    const struct constant_msr *constant;
    switch (msr) {
    case MSR_FS_BASE ... MSR_KERNEL_GS_BASE:
        *value = arch_get_segment_base(segment_base[msr - MSR_FS_BASE]);
        break;
    case MSR_EFER:
        *value = guest_efer();
        break;
    case MSR_TSC:
        *value = arch_rdtsc();
        break;
    case MSR_APIC_BASE:
        *value = APIC_BASE_ADDRESS | APIC_BASE_ENABLED | (v->id == 0 ? APIC_BASE_BSP : 0);
        break;
    case MSR_PAT:
        *value = PAT_VALUE;
        break;
    case MSR_MISC_ENABLE:
        if (!arch_rdmsr_safe(msr, value)) {
            return false;
        }
        *value &= ~(MISC_ENABLE_PERFMON | MISC_ENABLE_MONITOR);
        *value |= MISC_ENABLE_NO_BTS_PEBS;
        break;
    case MSR_PATCH_LEVEL:
        return arch_rdmsr_safe(msr, value);
    default:
        constant = constant_msr(msr);
        /* ABI: a kernel that cannot take the #GP yet gets an answer. */
        if (!constant && (v->pv.trap[TRAP_GP].address || !arch_rdmsr_safe(msr, value))) {
            return false;
        }
        *value = constant ? constant->value : 0;
        break;
    }
    return true;
}

bool msr_write(struct vcpu *v, uint32_t msr, uint64_t value)
{
    switch (msr) {
    case MSR_FS_BASE ... MSR_KERNEL_GS_BASE:
        if (is_canonical(value)) {
            arch_set_segment_base(segment_base[msr - MSR_FS_BASE], value);
        }
        return is_canonical(value);
    case MSR_EFER:
        return value == guest_efer();
    case MSR_PATCH_LEVEL: /* ABI: written as 0 before it is read */
        return value == 0;
    case MSR_TSC:         /* runs on as it is */
    case MSR_MISC_ENABLE: /* ABI: kernels write bits back that they may not have */
        return true;
    case MSR_HYPERCALL_PAGE:
        /* Low bits choose one of several pages; there is one. */
        return !(value & ~PAGE_MASK) && hypercall_page_write(v->domain, value >> PAGE_SHIFT);
    default:
        return constant_msr(msr);
    }
}
