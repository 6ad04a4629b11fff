// SPDX-License-Identifier: MIT
/*
 * CPUID policy. Feature words are allow-lists: what is not named here is not shown, so a new
 * processor cannot hand guests something the hypervisor does not switch or protect. The bits of one
 * word are collected as positions, in the order of the processor manuals.
 *
 * Guests that execute CPUID without the prefix see the processor's own words; nothing here is a
 * protection, only a promise of what works. Stateless; no lock.
 */
#include "pv/cpuid.h"

#define BIT(n) (1U << (n))

#define LEAF_MAX 0xdu
#define LEAF_EXT_MAX 0x80000008u
#define LEAF_XEN 0x40000000u
#define LEAF_XEN_MAX (LEAF_XEN + 5)
#define LEAF_XEN_END 0x40010000u

/* Guests ask for version 2 grants when frame numbers need more bits than version 1 has. */
#define MADDR_BITS_SHOWN 44u

#define XCR0_X87 1u
#define XCR0_SSE 2u
#define XCR0_YMM 4u
#define XCR0_AVX512 0xe0u
#define XSAVE_LEGACY_BYTES 576u

/* 1.ecx: SSE3 PCLMUL SSSE3 CX16 SSE4.1 SSE4.2 MOVBE POPCNT AES RDRAND */
#define F1C_PLAIN                                                                                  \
    (BIT(0) | BIT(1) | BIT(9) | BIT(13) | BIT(19) | BIT(20) | BIT(22) | BIT(23) | BIT(25) | BIT(30))
#define F1C_XSAVE BIT(26)
#define F1C_OSXSAVE BIT(27)
#define F1C_YMM (BIT(12) | BIT(28) | BIT(29)) /* FMA AVX F16C */
#define F1C_HYPERVISOR BIT(31)
/* 1.edx: FPU DE TSC MSR PAE MCE CX8 APIC SEP MCA CMOV PAT CLFLUSH MMX FXSR SSE SSE2 SS HTT */
#define F1D                                                                                        \
    (BIT(0) | BIT(2) | BIT(4) | BIT(5) | BIT(6) | BIT(7) | BIT(8) | BIT(9) | BIT(11) | BIT(14) |   \
     BIT(15) | BIT(16) | BIT(19) | BIT(23) | BIT(24) | BIT(25) | BIT(26) | BIT(27) | BIT(28))
#define F1D_ACPI BIT(22)
/* 7.ebx: BMI1 FDP BMI2 ERMS FCS RDSEED ADX CLFLUSHOPT CLWB SHA */
#define F7B_PLAIN                                                                                  \
    (BIT(3) | BIT(6) | BIT(8) | BIT(9) | BIT(13) | BIT(18) | BIT(19) | BIT(23) | BIT(24) | BIT(29))
#define F7B_YMM BIT(5) /* AVX2 */
#define F7B_AVX512 (BIT(16) | BIT(17) | BIT(21) | BIT(28) | BIT(30) | BIT(31))
/* 7.ecx: GFNI CLDEMOTE MOVDIRI MOVDIR64B, the vector ones apart */
#define F7C_PLAIN (BIT(8) | BIT(25) | BIT(27) | BIT(28))
#define F7C_YMM (BIT(9) | BIT(10)) /* VAES VPCLMULQDQ */
#define F7C_AVX512 (BIT(1) | BIT(6) | BIT(11) | BIT(12) | BIT(14))
/* 7.edx: FSRM MD_CLEAR SERIALIZE */
#define F7D (BIT(4) | BIT(10) | BIT(14))
/* d[1].eax: XSAVEOPT XGETBV1; the compacted forms are not offered */
#define FDA1 (BIT(0) | BIT(2))
/* 80000001.ecx: LAHF ABM SSE4A MISALIGN 3DNOWPREFETCH TBM */
#define FE1C_PLAIN (BIT(0) | BIT(5) | BIT(6) | BIT(7) | BIT(8) | BIT(21))
#define FE1C_YMM (BIT(11) | BIT(16)) /* XOP FMA4 */
/* 80000001.edx: FPU DE TSC MSR PAE MCE CX8 APIC SYSCALL MCA CMOV PAT NX MMXEXT MMX FXSR FFXSR LM
 * 3DNOWEXT 3DNOW */
#define FE1D                                                                                       \
    (BIT(0) | BIT(2) | BIT(4) | BIT(5) | BIT(6) | BIT(7) | BIT(8) | BIT(9) | BIT(11) | BIT(14) |   \
     BIT(15) | BIT(16) | BIT(20) | BIT(22) | BIT(23) | BIT(24) | BIT(25) | BIT(29) | BIT(30) |     \
     BIT(31))
#define FE7D_INVARIANT_TSC BIT(8)

uint64_t cpuid_guest_xcr0(void)
{
    uint64_t mask = arch_xcr0_mask() & (XCR0_X87 | XCR0_SSE | XCR0_YMM | XCR0_AVX512);
    if ((mask & (XCR0_X87 | XCR0_SSE)) != (XCR0_X87 | XCR0_SSE)) {
        return 0;
    }
    if (!(mask & XCR0_YMM) || (mask & XCR0_AVX512) != XCR0_AVX512) {
        mask &= ~(uint64_t)XCR0_AVX512;
    }
    return mask;
}

static uint32_t vcpu_apic_id(const struct vcpu *v)
{
    return v->id * 2;
}

static void leaf_features(const struct vcpu *v, uint64_t xcr0, struct cpuid_regs *r)
{
    uint32_t ecx = F1C_PLAIN;
    if (xcr0) {
        ecx |= F1C_XSAVE;
    }
    if (xcr0 & XCR0_YMM) {
        ecx |= F1C_YMM;
    }
    r->ecx = (r->ecx & ecx) | F1C_HYPERVISOR;
    if (r->ecx & F1C_XSAVE) {
        /* ABI: Linux drops XSAVE unless this is set, which it looks at before it sets CR4. */
        r->ecx |= F1C_OSXSAVE;
    }
    r->edx &= F1D | (v->domain->privileged ? F1D_ACPI : 0);
    r->ebx = (r->ebx & 0xffffff) | vcpu_apic_id(v) << 24;
}

static void leaf_extended_features(uint64_t xcr0, uint32_t subleaf, struct cpuid_regs *r)
{
    if (subleaf) {
        *r = (struct cpuid_regs){0};
        return;
    }
    uint32_t ebx = F7B_PLAIN, ecx = F7C_PLAIN;
    if (xcr0 & XCR0_YMM) {
        ebx |= F7B_YMM;
        ecx |= F7C_YMM;
    }
    if (xcr0 & XCR0_AVX512) {
        ebx |= F7B_AVX512;
        ecx |= F7C_AVX512;
    }
    *r = (struct cpuid_regs){0, r->ebx & ebx, r->ecx & ecx, r->edx & F7D};
}

/* Bytes an XSAVE area takes with these components. */
static uint32_t xsave_bytes(uint64_t xcr0)
{
    uint32_t bytes = XSAVE_LEGACY_BYTES;
    for (unsigned i = 2; i < 63; i++) {
        struct cpuid_regs r;
        if (xcr0 >> i & 1) {
            arch_cpuid(0xd, i, &r);
            bytes = MAX(bytes, r.eax + r.ebx);
        }
    }
    return bytes;
}

static void leaf_xsave(const struct vcpu *v, uint64_t xcr0, uint32_t subleaf, struct cpuid_regs *r)
{
    if (subleaf == 0 && xcr0) {
        *r = (struct cpuid_regs){(uint32_t)xcr0, xsave_bytes(v->pv.xcr0), xsave_bytes(xcr0),
                                 (uint32_t)(xcr0 >> 32)};
    } else if (subleaf == 1 && xcr0) {
        *r = (struct cpuid_regs){r->eax & FDA1, 0, 0, 0};
    } else if (subleaf < 2 || subleaf > 62 || !(xcr0 >> subleaf & 1)) {
        *r = (struct cpuid_regs){0};
    }
}

static void leaf_basic(const struct vcpu *v, uint32_t leaf, uint32_t subleaf, struct cpuid_regs *r)
{
    uint64_t xcr0 = cpuid_guest_xcr0();
    switch (leaf) {
    case 0:
        r->eax = MIN(r->eax, LEAF_MAX);
        break;
    case 1:
        leaf_features(v, xcr0, r);
        break;
    case 2: /* caches */
    case 4:
        break;
    case 7:
        leaf_extended_features(xcr0, subleaf, r);
        break;
    case 0xb:
        *r = (struct cpuid_regs){0, 0, subleaf & 0xff, vcpu_apic_id(v)};
        break;
    case 0xd:
        leaf_xsave(v, xcr0, subleaf, r);
        break;
    default: /* serial number, MONITOR, power, performance counters */
        *r = (struct cpuid_regs){0};
        break;
    }
}

static void leaf_extended(uint32_t leaf, struct cpuid_regs *r)
{
    switch (leaf) {
    case 0x80000000:
        r->eax = MIN(r->eax, LEAF_EXT_MAX);
        break;
    case 0x80000001:
        r->ecx &= FE1C_PLAIN | (cpuid_guest_xcr0() & XCR0_YMM ? FE1C_YMM : 0);
        r->edx &= FE1D;
        break;
    case 0x80000002: /* name of the processor, caches */
    case 0x80000003:
    case 0x80000004:
    case 0x80000005:
    case 0x80000006:
        break;
    case 0x80000007:
        *r = (struct cpuid_regs){.edx = r->edx & FE7D_INVARIANT_TSC};
        break;
    case 0x80000008:
        *r = (struct cpuid_regs){.eax = r->eax & 0xffff};
        break;
    default:
        *r = (struct cpuid_regs){0};
        break;
    }
}

static void leaf_xen_time(uint32_t subleaf, struct cpuid_regs *r)
{
    const struct arch_tsc_scale *tsc = arch_tsc_scale();
    if (subleaf == 0) {
        r->ecx = (uint32_t)tsc->khz;
    } else if (subleaf == 1) {
        r->ecx = tsc->mul;
        r->edx = (uint32_t)(int32_t)tsc->shift;
    } else if (subleaf == 2) {
        r->eax = (uint32_t)tsc->khz;
    }
}

static void leaf_xen(uint32_t leaf, uint32_t subleaf, struct cpuid_regs *r)
{
    *r = (struct cpuid_regs){0};
    switch (leaf) {
    case LEAF_XEN:
        *r = (struct cpuid_regs){LEAF_XEN_MAX, 0x566e6558, 0x65584d4d, 0x4d4d566e};
        break;
    case LEAF_XEN + 1:
        r->eax = PARAVANE_XEN_MAJOR << 16 | PARAVANE_XEN_MINOR;
        break;
    case LEAF_XEN + 2:
        r->eax = 1;          /* hypercall pages */
        r->ebx = 0x40000000; /* the MSR that fills one */
        r->ecx = 1;          /* MMU_PT_UPDATE_PRESERVE_AD */
        break;
    case LEAF_XEN + 3:
        leaf_xen_time(subleaf, r);
        break;
    case LEAF_XEN + 5:
        r->ebx = MIN(arch_maddr_bits(), MADDR_BITS_SHOWN);
        break;
    default:
        break;
    }
}

void cpuid_guest(const struct vcpu *v, uint32_t leaf, uint32_t subleaf, struct cpuid_regs *out)
{
    if (leaf >= LEAF_XEN && leaf < LEAF_XEN_END) {
        leaf_xen(leaf, subleaf, out);
        return;
    }
    bool basic = leaf <= LEAF_MAX;
    if (!basic && (leaf < 0x80000000 || leaf > LEAF_EXT_MAX)) {
        *out = (struct cpuid_regs){0};
        return;
    }
    struct cpuid_regs first;
    arch_cpuid(leaf & 0x80000000, 0, &first);
    if (leaf > first.eax) {
        *out = (struct cpuid_regs){0};
        return;
    }
    arch_cpuid(leaf, subleaf, out);
    if (basic) {
        leaf_basic(v, leaf, subleaf, out);
    } else {
        leaf_extended(leaf, out);
    }
}
