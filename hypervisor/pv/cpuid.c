// SPDX-License-Identifier: MIT
/*
 * CPUID policy. Feature words are allow-lists: what is not named here is not shown, so a new
 * processor cannot hand guests something the hypervisor does not switch or protect. The bits of one
 * word are collected as positions, in the order of the processor manuals.
 *
 * Guests that execute CPUID without the prefix see the processor's own words; nothing here is a
 * protection, only a promise of what works. Stateless; no lock.
 */
#include "pv/emul.h"

#define BIT(n) (1U << (n))
#define ALL (~0U)
#define ALL_WORDS .eax = ALL, .ebx = ALL, .ecx = ALL, .edx = ALL

#define LEAF_MAX 0xdu
#define LEAF_XSAVE 0xdu
#define LEAF_EXT CPUID_LEAF_EXT
#define LEAF_EXT_MAX (LEAF_EXT + 8)
#define LEAF_EXT2 (LEAF_EXT + 0x21) /* shown for its one bit of ours */
#define FE21A_NULL_CLEARS BIT(6)
#define LEAF_XEN 0x40000000u
#define LEAF_XEN_MAX (LEAF_XEN + 5)
#define LEAF_XEN_END 0x40010000u

/* Guests ask for version 2 grants when frame numbers need more bits than version 1 has. */
#define MADDR_BITS_SHOWN 44u

#define XCR0_LEGACY 3u /* x87, SSE */
#define XCR0_YMM 4u
#define XCR0_AVX512 0xe0u
#define XSAVE_LEGACY_BYTES 576u

/* 1.ecx: SSE3 PCLMUL SSSE3 CX16 SSE4.1 SSE4.2 MOVBE POPCNT AES XSAVE RDRAND */
#define F1C                                                                                        \
    (BIT(0) | BIT(1) | BIT(9) | BIT(13) | BIT(19) | BIT(20) | BIT(22) | BIT(23) | BIT(25) |        \
     F1C_XSAVE | BIT(30))
#define F1C_XSAVE BIT(26)
#define F1C_OSXSAVE BIT(27)
#define F1C_YMM (BIT(12) | BIT(28) | BIT(29)) /* FMA AVX F16C */
#define F1C_HYPERVISOR BIT(31)
/* 1.edx and 80000001.edx: FPU DE TSC MSR PAE MCE CX8 APIC SEP (SYSCALL) MCA CMOV PAT MMX FXSR */
#define FD_BOTH                                                                                    \
    (BIT(0) | BIT(2) | BIT(4) | BIT(5) | BIT(6) | BIT(7) | BIT(8) | BIT(9) | BIT(11) | BIT(14) |   \
     BIT(15) | BIT(16) | BIT(23) | BIT(24))
/* 1.edx: CLFLUSH ACPI SSE SSE2 SS HTT */
#define F1D (FD_BOTH | BIT(19) | F1D_ACPI | BIT(25) | BIT(26) | BIT(27) | BIT(28))
#define F1D_ACPI BIT(22)
/* 7.ebx: BMI1 FDP BMI2 ERMS FCS RDSEED ADX CLFLUSHOPT CLWB SHA */
#define F7B                                                                                        \
    (BIT(3) | BIT(6) | BIT(8) | BIT(9) | BIT(13) | BIT(18) | BIT(19) | BIT(23) | BIT(24) | BIT(29))
#define F7B_YMM BIT(5) /* AVX2 */
#define F7B_AVX512 (BIT(16) | BIT(17) | BIT(21) | BIT(28) | BIT(30) | BIT(31))
/* 7.ecx: GFNI CLDEMOTE MOVDIRI MOVDIR64B, the vector ones apart */
#define F7C (BIT(8) | BIT(25) | BIT(27) | BIT(28))
#define F7C_YMM (BIT(9) | BIT(10)) /* VAES VPCLMULQDQ */
#define F7C_AVX512 (BIT(1) | BIT(6) | BIT(11) | BIT(12) | BIT(14))
/* 7.edx: FSRM MD_CLEAR SERIALIZE */
#define F7D (BIT(4) | BIT(10) | BIT(14))
/* d[1].eax: XSAVEOPT XGETBV1; the compacted forms are not offered */
#define FDA1 (BIT(0) | BIT(2))
/* 80000001.ecx: LAHF ABM SSE4A MISALIGN 3DNOWPREFETCH TBM */
#define FE1C (BIT(0) | BIT(5) | BIT(6) | BIT(7) | BIT(8) | BIT(21))
#define FE1C_YMM (BIT(11) | BIT(16)) /* XOP FMA4 */
/* 80000001.edx: NX MMXEXT FFXSR LM 3DNOWEXT 3DNOW */
#define FE1D (FD_BOTH | BIT(20) | BIT(22) | BIT(25) | BIT(29) | BIT(30) | BIT(31))
#define FE7D BIT(8) /* 80000007.edx: invariant TSC */

/* What guests see of each leaf; ymm and zmm: what they see besides when they have those registers.
 * Not here, so zero: serial number, MONITOR, power, performance counters. */
static const struct leaf {
    uint32_t first, last;
    uint32_t eax, ebx, ecx, edx;
    uint32_t ebx_ymm, ecx_ymm, ebx_zmm, ecx_zmm;
} leaves[] = {
    {0, 0, ALL_WORDS},
    {1, 1, ALL, 0xffffff, F1C, F1D, .ecx_ymm = F1C_YMM},
    {2, 2, ALL_WORDS}, /* caches */
    {4, 4, ALL_WORDS},
    {7, 7, 0, F7B, F7C, F7D, F7B_YMM, F7C_YMM, F7B_AVX512, F7C_AVX512},
    {0xb, 0xb, .eax = 0}, /* made up below */
    {0xd, 0xd, ALL_WORDS},
    {LEAF_EXT, LEAF_EXT, ALL_WORDS},
    {LEAF_EXT + 1, LEAF_EXT + 1, ALL, ALL, FE1C, FE1D, .ecx_ymm = FE1C_YMM},
    {LEAF_EXT + 2, LEAF_EXT + 6, ALL_WORDS}, /* name of the processor, caches */
    {LEAF_EXT + 7, LEAF_EXT + 7, .edx = FE7D},
    {LEAF_EXT + 8, LEAF_EXT_MAX, .eax = 0xffff},
};

#define WORD_1C 1
const struct cpuid_word cpuid_words[CPUID_WORDS] = {
    {1, 0, 3}, {1, 0, 2}, {LEAF_EXT + 1, 0, 3}, {LEAF_EXT + 1, 0, 2}, {LEAF_XSAVE, 1, 0},
    {7, 0, 1}, {7, 0, 2}, {LEAF_EXT + 7, 0, 3}, {LEAF_EXT + 8, 0, 1}, {7, 0, 3},
};

uint64_t cpuid_guest_xcr0(void)
{
    uint64_t mask = arch_facts.xcr0_mask & (XCR0_LEGACY | XCR0_YMM | XCR0_AVX512);
    if ((mask & XCR0_LEGACY) != XCR0_LEGACY) {
        return 0;
    }
    bool zmm = (mask & XCR0_YMM) && (mask & XCR0_AVX512) == XCR0_AVX512;
    return zmm ? mask : mask & ~(uint64_t)XCR0_AVX512;
}

uint32_t cpuid_xsave_bytes(uint64_t xcr0)
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

static struct cpuid_regs leaf_xsave(uint64_t xcr0, uint32_t subleaf, struct cpuid_regs r)
{
    if (subleaf == 0 && xcr0) {
        uint32_t bytes = cpuid_xsave_bytes(xcr0);
        return (struct cpuid_regs){(uint32_t)xcr0, bytes, bytes, (uint32_t)(xcr0 >> 32)};
    }
    if (subleaf == 1 && xcr0) {
        return (struct cpuid_regs){.eax = r.eax & FDA1};
    }
    return subleaf >= 2 && subleaf <= 62 && (xcr0 >> subleaf & 1) ? r : (struct cpuid_regs){0};
}

static struct cpuid_regs leaf_xen(uint32_t leaf, uint32_t subleaf)
{
    const struct arch_tsc_scale *tsc = &arch_facts.tsc;
    switch (leaf) {
    case LEAF_XEN:
        return (struct cpuid_regs){LEAF_XEN_MAX, 0x566e6558, 0x65584d4d, 0x4d4d566e};
    case LEAF_XEN + 1:
        return (struct cpuid_regs){.eax = PARAVANE_XEN_MAJOR << 16 | PARAVANE_XEN_MINOR};
    case LEAF_XEN + 2: /* hypercall pages, the MSR that fills one, MMU_PT_UPDATE_PRESERVE_AD */
        return (struct cpuid_regs){1, 0x40000000, 1, 0};
    case LEAF_XEN + 3:
        if (subleaf == 1) {
            return (struct cpuid_regs){.ecx = tsc->mul, .edx = (uint32_t)(int32_t)tsc->shift};
        }
        return (struct cpuid_regs){.eax = subleaf == 2 ? (uint32_t)tsc->khz : 0,
                                   .ecx = subleaf == 0 ? (uint32_t)tsc->khz : 0};
    case LEAF_XEN + 5:
        return (struct cpuid_regs){.ebx = MIN(arch_facts.maddr_bits, MADDR_BITS_SHOWN)};
    default:
        return (struct cpuid_regs){0};
    }
}

struct cpuid_regs cpuid_policy(const uint32_t *hidden, uint32_t nr, uint32_t subleaf)
{
    const struct leaf *leaf = leaves, *end = leaves + ARRAY_SIZE(leaves);
    uint64_t xcr0 = hidden[WORD_1C] & F1C_XSAVE ? 0 : cpuid_guest_xcr0();
    bool ymm = xcr0 & XCR0_YMM, zmm = xcr0 & XCR0_AVX512;
    struct cpuid_regs r;
    while (leaf < end && (nr < leaf->first || nr > leaf->last)) {
        leaf++;
    }
    arch_cpuid(nr & LEAF_EXT, 0, &r);
    if (leaf == end || nr > r.eax || (nr == 7 && subleaf)) {
        return (struct cpuid_regs){0};
    }
    arch_cpuid(nr, subleaf, &r);
    r.eax &= leaf->eax;
    r.ebx &= leaf->ebx | (ymm ? leaf->ebx_ymm : 0) | (zmm ? leaf->ebx_zmm : 0);
    r.ecx &= leaf->ecx | (ymm ? leaf->ecx_ymm : 0) | (zmm ? leaf->ecx_zmm : 0);
    r.edx &= leaf->edx;
    switch (nr) {
    case 0:
        r.eax = MIN(r.eax, LEAF_MAX);
        break;
    case 1:
        r.ecx &= xcr0 ? ALL : ~F1C_XSAVE;
        break;
    case LEAF_XSAVE:
        r = leaf_xsave(xcr0, subleaf, r);
        break;
    case LEAF_EXT:
        r.eax = MIN(r.eax, LEAF_EXT_MAX);
        break;
    default:
        break;
    }
    for (unsigned i = 0; i < CPUID_WORDS; i++) {
        const struct cpuid_word *word = &cpuid_words[i];
        if (word->leaf == nr && (nr != LEAF_XSAVE || word->subleaf == subleaf)) {
            *cpuid_reg(&r, word->reg) &= ~hidden[i];
        }
    }
    r.ecx |= nr == 1 ? F1C_HYPERVISOR : 0;
    return r;
}

struct cpuid_regs cpuid_guest(const struct vcpu *v, uint32_t nr, uint32_t subleaf)
{
    uint32_t apic_id = v->id * 2;
    if (nr >= LEAF_XEN && nr < LEAF_XEN_END) {
        return leaf_xen(nr, subleaf);
    }
    if (nr == LEAF_EXT2) {
        /* ABI: without it Linux loads every null GS twice on AMD's processors, by hypercall. */
        return (struct cpuid_regs){.eax = arch_facts.null_clears ? FE21A_NULL_CLEARS : 0};
    }
    struct cpuid_regs r = cpuid_policy(v->domain->pv.cpuid_hidden, nr, subleaf);
    if (nr == 1) {
        r.ebx |= apic_id << 24;
        /* ABI: Linux drops XSAVE unless OSXSAVE is set, which it looks at before it sets CR4. */
        r.ecx |= r.ecx & F1C_XSAVE ? F1C_OSXSAVE : 0;
        r.edx &= v->domain->privileged ? ALL : ~F1D_ACPI;
    } else if (nr == 0xb) {
        r = (struct cpuid_regs){0, 0, subleaf & 0xff, apic_id};
    } else if (nr == LEAF_XSAVE && subleaf == 0 && r.eax) {
        r.ebx = cpuid_xsave_bytes(v->pv.xcr0);
    } else if (nr == LEAF_EXT && arch_facts.null_clears) {
        r.eax = LEAF_EXT2;
    }
    return r;
}
