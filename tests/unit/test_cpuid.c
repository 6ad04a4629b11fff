// SPDX-License-Identifier: MIT
/* pv/cpuid.c and pv/msr.c: what a guest is shown of a processor that has every feature there is. */
#include <string.h>

#include "core/frame.h"
#include "pv/emul.h"
#include "suite.h"

static struct domain *control, *guest;

/* Everything on; leaf 0xd describes AVX at 576 (256 bytes) and AVX-512 above. */
static void all_features(uint32_t leaf, uint32_t subleaf, struct cpuid_regs *out)
{
    *out = (struct cpuid_regs){~0u, ~0u, ~0u, ~0u};
    if (leaf == 0) {
        *out = (struct cpuid_regs){0x20, 0x756e6547, 0x6c65746e, 0x49656e69}; /* GenuineIntel */
    } else if (leaf == 0x80000000) {
        out->eax = 0x80000020;
    } else if (leaf == 0x80000008) {
        out->eax = 0x3030;
    } else if (leaf == 0xd && subleaf == 2) {
        *out = (struct cpuid_regs){.eax = 256, .ebx = 576};
    } else if (leaf == 0xd && subleaf >= 2) {
        *out = (struct cpuid_regs){.eax = 64, .ebx = 1000 + subleaf * 64};
    }
}

static void amd(uint32_t leaf, uint32_t subleaf, struct cpuid_regs *out)
{
    all_features(leaf, subleaf, out);
    if (leaf == 0) {
        *out = (struct cpuid_regs){0x20, 0x68747541, 0x444d4163, 0x69746e65};
    }
}

static void start(void)
{
    host.on_cpuid = all_features;
    control = suite_control();
    guest = suite_domain(1, 2);
    suite_enter(guest->vcpu[0]);
}

static void finish(void)
{
    suite_enter(NULL);
    suite_destroy(guest);
    suite_destroy(control);
}

static struct cpuid_regs leaf_of(const struct domain *d, uint32_t leaf, uint32_t subleaf)
{
    return cpuid_guest(d->vcpu[0], leaf, subleaf);
}

#define HAS(word, bit) (((word) >> (bit)) & 1)

static void test_cpuid__unsafe_features_hidden(void)
{
    start();
    struct cpuid_regs r = leaf_of(control, 1, 0);
    static const uint8_t no_1c[] = {2, 3, 4, 5, 6, 7, 8, 11, 15, 17, 18, 21, 24};
    static const uint8_t no_1d[] = {1, 3, 12, 13, 17, 18, 21, 29, 31};
    for (unsigned i = 0; i < ARRAY_SIZE(no_1c); i++) {
        CU_ASSERT(!HAS(r.ecx, no_1c[i]));
    }
    for (unsigned i = 0; i < ARRAY_SIZE(no_1d); i++) {
        CU_ASSERT(!HAS(r.edx, no_1d[i]));
    }
    CU_ASSERT(HAS(r.ecx, 31) && HAS(r.ecx, 26) && HAS(r.ecx, 27) && HAS(r.ecx, 28));
    CU_ASSERT(HAS(r.edx, 9) && HAS(r.edx, 16) && HAS(r.edx, 22));
    CU_ASSERT(!HAS(leaf_of(guest, 1, 0).edx, 22)); /* ACPI is the control domain's */
    r = leaf_of(guest, 7, 0);
    static const uint8_t no_7b[] = {0, 1, 2, 4, 7, 10, 11, 12, 14, 15, 20, 25};
    static const uint8_t no_7c[] = {2, 3, 4, 5, 7, 16, 22, 23, 29, 31};
    for (unsigned i = 0; i < ARRAY_SIZE(no_7b); i++) {
        CU_ASSERT(!HAS(r.ebx, no_7b[i]));
    }
    for (unsigned i = 0; i < ARRAY_SIZE(no_7c); i++) {
        CU_ASSERT(!HAS(r.ecx, no_7c[i]));
    }
    CU_ASSERT_EQUAL(r.eax, 0);
    CU_ASSERT_EQUAL(r.edx & 0xfc100020, 0); /* IBRS and the like, CET, UINTR */
    CU_ASSERT_EQUAL(leaf_of(guest, 7, 1).eax, 0);
    r = leaf_of(guest, 0x80000001, 0);
    CU_ASSERT(!HAS(r.ecx, 2) && !HAS(r.ecx, 4) && !HAS(r.ecx, 29));
    CU_ASSERT(!HAS(r.edx, 26) && !HAS(r.edx, 27) && HAS(r.edx, 29) && HAS(r.edx, 20) &&
              HAS(r.edx, 11));
    finish();
}

static void test_cpuid__limits(void)
{
    start();
    CU_ASSERT_EQUAL(leaf_of(guest, 0, 0).eax, 0xd);
    CU_ASSERT_EQUAL(leaf_of(guest, 0, 0).ebx, 0x756e6547);
    CU_ASSERT_EQUAL(leaf_of(guest, 0x80000000, 0).eax, 0x80000008);
    CU_ASSERT_EQUAL(leaf_of(guest, 0x80000021, 0).eax, 0);
    arch_facts.null_clears = true;
    CU_ASSERT_EQUAL(leaf_of(guest, 0x80000000, 0).eax, 0x80000021);
    CU_ASSERT_EQUAL(leaf_of(guest, 0x80000021, 0).eax, 0x40);
    CU_ASSERT_EQUAL(leaf_of(guest, 0x80000020, 0).eax, 0);
    arch_facts.null_clears = false;
    static const uint32_t empty[] = {3,   5,    6,    9,          0xa,        0xc,
                                     0xe, 0x14, 0x1f, 0x8000001d, 0x20000000, 0xffffffff};
    for (unsigned i = 0; i < ARRAY_SIZE(empty); i++) {
        struct cpuid_regs r = leaf_of(guest, empty[i], 0);
        CU_ASSERT_EQUAL(r.eax | r.ebx | r.ecx | r.edx, 0);
    }
    CU_ASSERT_EQUAL(leaf_of(guest, 0x80000007, 0).edx, 0x100);
    CU_ASSERT_EQUAL(leaf_of(guest, 0x80000008, 0).eax, 0x3030);
    finish();
}

static void test_cpuid__xsave_sizes(void)
{
    start();
    /* The fake machine switches x87, SSE and AVX. */
    guest->vcpu[0]->pv.xcr0 = 3;
    struct cpuid_regs r = leaf_of(guest, 0xd, 0);
    CU_ASSERT_EQUAL(r.eax, 7);
    CU_ASSERT_EQUAL(r.ebx, 576);
    CU_ASSERT_EQUAL(r.ecx, 576 + 256);
    guest->vcpu[0]->pv.xcr0 = 7;
    CU_ASSERT_EQUAL(leaf_of(guest, 0xd, 0).ebx, 576 + 256);
    CU_ASSERT_EQUAL(leaf_of(guest, 0xd, 1).eax, 5); /* no compaction, no supervisor state */
    CU_ASSERT_EQUAL(leaf_of(guest, 0xd, 2).ebx, 576);
    CU_ASSERT_EQUAL(leaf_of(guest, 0xd, 5).eax, 0);
    CU_ASSERT_EQUAL(leaf_of(guest, 0xd, 200).eax, 0);
    CU_ASSERT_EQUAL(leaf_of(guest, 7, 0).ebx & 1u << 16, 0); /* AVX-512 needs its state */
    CU_ASSERT(HAS(leaf_of(guest, 7, 0).ebx, 5));
    finish();
}

/* Register state comes in groups that make sense only as a whole. */
static void test_cpuid__xsave_as_the_machine_switches_it(void)
{
    static const struct {
        uint64_t machine, shown;
    } masks[] = {{0, 0}, {1, 0}, {3, 3}, {7, 7}, {0xe7, 0xe7}, {0x67, 7}, {0xe3, 3}, {0x207, 7}};
    uint64_t before = arch_facts.xcr0_mask;
    start();
    for (unsigned i = 0; i < ARRAY_SIZE(masks); i++) {
        arch_facts.xcr0_mask = masks[i].machine;
        uint64_t shown = masks[i].shown;
        CU_ASSERT_EQUAL(cpuid_guest_xcr0(), shown);
        CU_ASSERT_EQUAL(leaf_of(guest, 0xd, 0).eax, shown);
        struct cpuid_regs one = leaf_of(guest, 1, 0), seven = leaf_of(guest, 7, 0);
        CU_ASSERT_EQUAL(HAS(one.ecx, 26), shown != 0);
        CU_ASSERT_EQUAL(HAS(one.ecx, 27), shown != 0);
        CU_ASSERT_EQUAL(HAS(one.ecx, 28), HAS(shown, 2)); /* AVX */
        CU_ASSERT_EQUAL(HAS(seven.ebx, 5), HAS(shown, 2));
        CU_ASSERT_EQUAL(HAS(seven.ebx, 16), HAS(shown, 7)); /* AVX-512 */
        CU_ASSERT_EQUAL(HAS(seven.ecx, 11), HAS(shown, 7));
        CU_ASSERT_EQUAL(leaf_of(guest, 0xd, 1).eax, shown ? 5 : 0);
        CU_ASSERT_EQUAL(leaf_of(guest, 0xd, 2).eax, HAS(shown, 2) ? 256 : 0);
        CU_ASSERT_EQUAL(leaf_of(guest, 0xd, 63).eax, 0);
    }
    arch_facts.xcr0_mask = before;
    finish();
}

static void few_leaves(uint32_t leaf, uint32_t subleaf, struct cpuid_regs *out)
{
    all_features(leaf, subleaf, out);
    if (leaf == 0) {
        out->eax = 4;
    }
}

static void test_cpuid__leaf_the_processor_has_not(void)
{
    start();
    host.on_cpuid = few_leaves; /* would answer leaf 7 with all ones */
    CU_ASSERT_EQUAL(leaf_of(guest, 7, 0).ebx, 0);
    CU_ASSERT_EQUAL(leaf_of(guest, 0, 0).eax, 4);
    finish();
}

static void test_cpuid__hypervisor_leaves(void)
{
    start();
    struct cpuid_regs r = leaf_of(guest, 0x40000000, 0);
    char signature[13] = "";
    memcpy(signature, &r.ebx, 4);
    memcpy(signature + 4, &r.ecx, 4);
    memcpy(signature + 8, &r.edx, 4);
    CU_ASSERT_STRING_EQUAL(signature, "XenVMMXenVMM");
    CU_ASSERT(r.eax >= 0x40000002);
    CU_ASSERT_EQUAL(leaf_of(guest, 0x40000001, 0).eax, 4 << 16 | 17);
    r = leaf_of(guest, 0x40000002, 0);
    CU_ASSERT(r.eax == 1 && r.ebx == 0x40000000 && (r.ecx & 1));
    CU_ASSERT_EQUAL(leaf_of(guest, 0x40000003, 0).ecx, 1000000);
    r = leaf_of(guest, 0x40000003, 1); /* how ticks become nanoseconds */
    CU_ASSERT(r.ecx == arch_facts.tsc.mul && r.edx == (uint32_t)arch_facts.tsc.shift);
    r = leaf_of(guest, 0x40000003, 2);
    CU_ASSERT(r.eax == 1000000 && r.ecx == 0);
    CU_ASSERT_EQUAL(leaf_of(guest, 0x40000003, 3).eax, 0);
    CU_ASSERT_EQUAL(leaf_of(guest, 0x40000005, 0).ebx, 40);
    CU_ASSERT_EQUAL(leaf_of(guest, 0x40000100, 0).eax, 0);
    finish();
}

static void test_cpuid__vcpu_number(void)
{
    start();
    struct cpuid_regs r = cpuid_guest(guest->vcpu[1], 1, 0);
    CU_ASSERT_EQUAL(r.ebx >> 24, 2);
    r = cpuid_guest(guest->vcpu[1], 0xb, 3);
    CU_ASSERT(r.edx == 2 && r.ecx == 3 && r.ebx == 0);
    finish();
}

/* ---- MSRs ---- */

static void test_msr__segment_bases(void)
{
    static const uint32_t msrs[] = {MSR_FS_BASE, MSR_GS_BASE, MSR_KERNEL_GS_BASE};
    start();
    struct vcpu *v = guest->vcpu[0];
    for (unsigned i = 0; i < ARRAY_SIZE(msrs); i++) {
        uint64_t value;
        CU_ASSERT(msr_write(v, msrs[i], 0xffff888000001000UL + i));
        CU_ASSERT(!msr_write(v, msrs[i], 0x8000000000000000UL));
        CU_ASSERT(!msr_write(v, msrs[i], 0x0000800000000000UL));
        CU_ASSERT(msr_read(v, msrs[i], &value));
        CU_ASSERT_EQUAL(value, 0xffff888000001000UL + i);
    }
    CU_ASSERT_EQUAL(host.fs_base, 0xffff888000001000UL);
    CU_ASSERT_EQUAL(host.gs_base_kernel, 0xffff888000001001UL);
    CU_ASSERT_EQUAL(host.gs_base_user, 0xffff888000001002UL);
    finish();
}

static void test_msr__fixed_answers(void)
{
    uint64_t value;
    start();
    struct vcpu *v = guest->vcpu[0];
    CU_ASSERT(msr_read(v, MSR_EFER, &value));
    CU_ASSERT_EQUAL(value, EFER_SCE | EFER_LME | EFER_LMA | EFER_NX);
    CU_ASSERT(msr_write(v, MSR_EFER, value));
    CU_ASSERT(!msr_write(v, MSR_EFER, value | 1UL << 12));
    CU_ASSERT(msr_read(v, MSR_PAT, &value));
    CU_ASSERT_EQUAL(value, 0x050100070406UL);
    CU_ASSERT(!msr_write(v, MSR_PAT, value));
    CU_ASSERT(msr_read(v, MSR_APIC_BASE, &value));
    CU_ASSERT_EQUAL(value, 0xfee00900UL);
    CU_ASSERT(msr_read(guest->vcpu[1], MSR_APIC_BASE, &value));
    CU_ASSERT_EQUAL(value, 0xfee00800UL);
    CU_ASSERT(!msr_write(v, MSR_APIC_BASE, 0xfee00c00UL));
    CU_ASSERT(msr_read(v, 0x179, &value));
    CU_ASSERT_EQUAL(value, 0);
    CU_ASSERT(msr_write(v, 0x8b, 0));
    CU_ASSERT(!msr_write(v, 0x8b, 1));
    /* AMD's registers only where the processor is one. */
    v->pv.trap[TRAP_GP].address = 0xffffffff81000000UL;
    CU_ASSERT(!msr_read(v, 0xc0011029, &value));
    host.on_cpuid = amd;
    CU_ASSERT(msr_read(v, 0xc0011029, &value));
    CU_ASSERT_EQUAL(value, 2);
    finish();
}

static bool all_msrs(uint32_t msr, uint64_t *value)
{
    *value = msr == 0x1a0 ? ~0x1800UL : 0x1234;
    return true;
}

static void test_msr__what_the_machine_has(void)
{
    uint64_t value;
    start();
    struct vcpu *v = guest->vcpu[0];
    CU_ASSERT(!msr_read(v, MSR_MISC_ENABLE, &value));
    CU_ASSERT(!msr_read(v, 0x8b, &value));
    CU_ASSERT(!msr_read(v, 0xce, &value));
    host.on_rdmsr = all_msrs;
    CU_ASSERT(msr_read(v, MSR_MISC_ENABLE, &value));
    CU_ASSERT_EQUAL(value, ~(1UL << 7 | 1UL << 18)); /* no counters, no MONITOR */
    CU_ASSERT(msr_write(v, MSR_MISC_ENABLE, 0));
    CU_ASSERT(msr_read(v, 0x8b, &value)); /* microcode level */
    CU_ASSERT_EQUAL(value, 0x1234);
    CU_ASSERT(msr_read(v, 0xce, &value)); /* before there is a #GP handler */
    CU_ASSERT_EQUAL(value, 0);
    v->pv.trap[TRAP_GP].address = 0xffffffff81000000UL;
    CU_ASSERT(!msr_read(v, 0xce, &value));
    host_tsc = 0x123456789;
    CU_ASSERT(msr_read(v, MSR_TSC, &value));
    CU_ASSERT_EQUAL(value, 0x123456789);
    CU_ASSERT(msr_write(v, MSR_TSC, 0));
    CU_ASSERT(msr_read(v, MSR_TSC, &value));
    CU_ASSERT_EQUAL(value, 0x123456789);
    finish();
}

static void test_msr__others_refused(void)
{
    static const uint32_t msrs[] = {0,     0x48,  0x49,  0x10a, 0x122, 0x174 + 3,  0x1d9,
                                    0x345, 0x606, 0x200, 0xfe,  0x2ff, 0xc0000103, 0x4b564d00};
    start();
    struct vcpu *v = guest->vcpu[0];
    v->pv.trap[TRAP_GP].address = 0xffffffff81000000UL;
    for (unsigned i = 0; i < ARRAY_SIZE(msrs); i++) {
        uint64_t value;
        CU_ASSERT(!msr_read(v, msrs[i], &value));
        CU_ASSERT(!msr_write(v, msrs[i], 0));
    }
    finish();
}

static void test_msr__hypercall_page(void)
{
    start();
    struct frame *f = frame_alloc_domain(guest, 0, 0);
    CU_ASSERT_PTR_NOT_NULL_FATAL(f);
    uint64_t address = frame_to_mfn(f) << PAGE_SHIFT;
    CU_ASSERT(!msr_write(guest->vcpu[0], 0x40000000, address | 1));
    CU_ASSERT(!msr_write(control->vcpu[0], 0x40000000, address)); /* not its own */
    CU_ASSERT(!msr_write(guest->vcpu[0], 0x40000000, ~0UL << PAGE_SHIFT));
    CU_ASSERT_EQUAL(*(uint64_t *)frame_to_virt(f), 0);
    CU_ASSERT(msr_write(guest->vcpu[0], 0x40000000, address));
    CU_ASSERT_NOT_EQUAL(*(uint64_t *)frame_to_virt(f), 0);
    CU_ASSERT_EQUAL(frame_ref_count(f), 1);
    finish();
}

int main(void)
{
    static const struct suite_case cases[] = {
        CASE(test_cpuid__unsafe_features_hidden),
        CASE(test_cpuid__limits),
        CASE(test_cpuid__xsave_sizes),
        CASE(test_cpuid__xsave_as_the_machine_switches_it),
        CASE(test_cpuid__leaf_the_processor_has_not),
        CASE(test_cpuid__hypervisor_leaves),
        CASE(test_cpuid__vcpu_number),
        CASE(test_msr__segment_bases),
        CASE(test_msr__fixed_answers),
        CASE(test_msr__what_the_machine_has),
        CASE(test_msr__others_refused),
        CASE(test_msr__hypercall_page),
    };
    return SUITE("cpuid and msr", 1, cases);
}
