// SPDX-License-Identifier: MIT
/* pv/cpu_policy.c: CPUID as tools list it, and as they take features from a domain. */
#include <string.h>

#include "pv/emul.h"
#include "suite.h"

#define CALL_SYSCTL 35
#define CALL_DOMCTL 36

/* 0..0xd with 6, 1, 2 and 63 subleaves, two of hypervisors, 0x80000000..8 */
#define LEAVES (10 + 6 + 1 + 2 + 63 + 2 + 9)
#define NONE XEN_CPUID_NO_SUBLEAF
#define SSE3 1u
#define XSAVE (1u << 26)
#define AVX2 (1u << 5)

static struct domain *control, *guest;
static vaddr_t buffer;

/* A processor with every feature, up to leaves 0x20 and 0x80000020. */
static void all_features(uint32_t leaf, uint32_t subleaf, struct cpuid_regs *out)
{
    *out = (struct cpuid_regs){~0u, ~0u, ~0u, ~0u};
    if ((leaf & 0x7fffffff) == 0) {
        out->eax = leaf + 0x20;
    } else if (leaf == 4) {
        *out = (struct cpuid_regs){subleaf < 4 ? subleaf + 1 : 0, 0, 0, 0};
    }
}

static void start(void)
{
    host.on_cpuid = all_features;
    control = suite_control();
    guest = suite_domain(1, 1);
    guest->vcpu[0]->initialised = false;
    suite_enter(control->vcpu[0]);
    buffer = host_guest_alloc(200 * sizeof(xen_cpuid_leaf_t));
}

static void finish(void)
{
    suite_enter(NULL);
    suite_destroy(guest);
    suite_destroy(control);
}

static long sysctl(uint32_t cmd, struct xen_sysctl *op)
{
    op->cmd = cmd;
    op->interface_version = XEN_SYSCTL_INTERFACE_VERSION;
    vaddr_t va = host_guest_put(op, sizeof(*op));
    long rc = suite_call(CALL_SYSCTL, va, 0, 0);
    memcpy(op, host_guest_ptr(va), sizeof(*op));
    return rc;
}

static long domctl(uint32_t cmd, domid_t id, struct xen_domctl_cpu_policy *policy)
{
    struct xen_domctl op = {.cmd = cmd,
                            .interface_version = XEN_DOMCTL_INTERFACE_VERSION,
                            .domain = id,
                            .u.cpu_policy = *policy};
    vaddr_t va = host_guest_put(&op, sizeof(op));
    long rc = suite_call(CALL_DOMCTL, va, 0, 0);
    *policy = ((struct xen_domctl *)host_guest_ptr(va))->u.cpu_policy;
    return rc;
}

static struct xen_domctl_cpu_policy with_buffer(uint32_t leaves)
{
    struct xen_domctl_cpu_policy policy = {.nr_leaves = leaves};
    policy.leaves.p = (void *)buffer;
    return policy;
}

/* The entry of a leaf among those in the buffer. */
static xen_cpuid_leaf_t *entry(uint32_t count, uint32_t leaf, uint32_t subleaf)
{
    xen_cpuid_leaf_t *list = host_guest_ptr(buffer);
    for (uint32_t i = 0; i < count; i++) {
        if (list[i].leaf == leaf && list[i].subleaf == subleaf) {
            return &list[i];
        }
    }
    CU_FAIL_FATAL("leaf not listed");
    return NULL;
}

static void test_sysctl_get_cpu_policy(void)
{
    struct xen_sysctl op = {.u.cpu_policy = {.index = XEN_SYSCTL_cpu_policy_pv_default}};
    struct xen_sysctl_cpu_policy *arg = &op.u.cpu_policy;
    start();
    CU_ASSERT_EQUAL(sysctl(XEN_SYSCTL_get_cpu_policy, &op), 0); /* how much room it takes */
    CU_ASSERT(arg->nr_leaves >= LEAVES && arg->nr_msrs == 0);
    arg->leaves.p = (void *)buffer;
    arg->nr_msrs = 2;
    CU_ASSERT_EQUAL(sysctl(XEN_SYSCTL_get_cpu_policy, &op), 0);
    CU_ASSERT(arg->nr_leaves == LEAVES && arg->nr_msrs == 0);
    CU_ASSERT_EQUAL(entry(LEAVES, 0, NONE)->a, 0xd);
    CU_ASSERT_EQUAL(entry(LEAVES, 1, NONE)->c & (1u << 5), 0); /* VMX */
    CU_ASSERT_EQUAL(entry(LEAVES, 1, NONE)->c & XSAVE, XSAVE);
    CU_ASSERT_EQUAL(entry(LEAVES, 4, 3)->a, 4);
    CU_ASSERT_EQUAL(entry(LEAVES, 7, 0)->b & AVX2, AVX2);
    CU_ASSERT_EQUAL(entry(LEAVES, 0xd, 0)->a, 7);
    CU_ASSERT_EQUAL(entry(LEAVES, 0xd, 62)->a, 0);
    CU_ASSERT_EQUAL(entry(LEAVES, 0x40000000, NONE)->a, 0);
    CU_ASSERT_EQUAL(entry(LEAVES, 0x80000008, NONE)->a, 0xffff);
    finish();
}

static void test_sysctl_get_cpu_policy__of_the_processor(void)
{
    struct xen_sysctl op = {
        .u.cpu_policy = {.index = XEN_SYSCTL_cpu_policy_raw, .nr_leaves = LEAVES}};
    start();
    op.u.cpu_policy.leaves.p = (void *)buffer;
    CU_ASSERT_EQUAL(sysctl(XEN_SYSCTL_get_cpu_policy, &op), 0);
    CU_ASSERT_EQUAL(entry(LEAVES, 0, NONE)->a, 0x20);
    CU_ASSERT_EQUAL(entry(LEAVES, 1, NONE)->c, ~0u);
    CU_ASSERT_EQUAL(entry(LEAVES, 0x40000000, NONE)->a, 0); /* beyond its last */
    finish();
}

static void test_sysctl_get_cpu_policy__refused(void)
{
    static const struct {
        uint32_t index, reserved;
        long rc;
    } cases[] = {
        {XEN_SYSCTL_cpu_policy_hvm_max, 0, -EOPNOTSUPP},
        {XEN_SYSCTL_cpu_policy_hvm_default, 0, -EOPNOTSUPP},
        {XEN_SYSCTL_cpu_policy_hvm_default + 1, 0, -EINVAL},
        {XEN_SYSCTL_cpu_policy_pv_max, 1, -EINVAL},
    };
    start();
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        struct xen_sysctl op = {
            .u.cpu_policy = {.index = cases[i].index, ._rsvd = cases[i].reserved}};
        CU_ASSERT_EQUAL(sysctl(XEN_SYSCTL_get_cpu_policy, &op), cases[i].rc);
    }
    struct xen_sysctl op = {.u.cpu_policy = {.nr_leaves = LEAVES - 1}};
    op.u.cpu_policy.leaves.p = (void *)buffer;
    CU_ASSERT_EQUAL(sysctl(XEN_SYSCTL_get_cpu_policy, &op), -ENOBUFS);
    op.u.cpu_policy.leaves.p = (void *)HOST_BAD_ADDR;
    CU_ASSERT_EQUAL(sysctl(XEN_SYSCTL_get_cpu_policy, &op), -EFAULT);
    suite_enter(guest->vcpu[0]);
    CU_ASSERT_EQUAL(sysctl(XEN_SYSCTL_get_cpu_policy, &op), -EPERM);
    finish();
}

static void test_sysctl_get_cpu_featureset(void)
{
    struct xen_sysctl op = {.u.cpu_featureset = {.index = XEN_SYSCTL_cpu_featureset_host}};
    struct xen_sysctl_cpu_featureset *arg = &op.u.cpu_featureset;
    const uint32_t *words;
    start();
    words = host_guest_ptr(buffer);
    CU_ASSERT_EQUAL(sysctl(XEN_SYSCTL_get_cpu_featureset, &op), 0);
    CU_ASSERT_EQUAL(arg->nr_features, CPUID_WORDS);
    arg->features.p = (void *)buffer;
    CU_ASSERT_EQUAL(sysctl(XEN_SYSCTL_get_cpu_featureset, &op), 0);
    CU_ASSERT(words[0] == ~0u && words[9] == ~0u);
    arg->index = XEN_SYSCTL_cpu_featureset_pv;
    CU_ASSERT_EQUAL(sysctl(XEN_SYSCTL_get_cpu_featureset, &op), 0);
    struct cpuid_regs one = cpuid_guest(guest->vcpu[0], 1, 0);
    struct cpuid_regs seven = cpuid_guest(guest->vcpu[0], 7, 0);
    CU_ASSERT_EQUAL(words[1] | 1u << 27, one.ecx); /* OSXSAVE is not a feature */
    CU_ASSERT(words[5] == seven.ebx && words[6] == seven.ecx && words[9] == seven.edx);
    CU_ASSERT_EQUAL(words[4], 5);
    /* ABI: with too little room what fits is there all the same. */
    memset(host_guest_ptr(buffer), 0, 64);
    arg->nr_features = 2;
    CU_ASSERT_EQUAL(sysctl(XEN_SYSCTL_get_cpu_featureset, &op), -ENOBUFS);
    CU_ASSERT(words[1] && !words[2]);
    arg->index = XEN_SYSCTL_cpu_featureset_hvm;
    CU_ASSERT_EQUAL(sysctl(XEN_SYSCTL_get_cpu_featureset, &op), -EOPNOTSUPP);
    arg->index = XEN_SYSCTL_cpu_featureset_hvm_max;
    CU_ASSERT_EQUAL(sysctl(XEN_SYSCTL_get_cpu_featureset, &op), -EOPNOTSUPP);
    arg->index = XEN_SYSCTL_cpu_featureset_hvm_max + 1;
    CU_ASSERT_EQUAL(sysctl(XEN_SYSCTL_get_cpu_featureset, &op), -EINVAL);
    arg->index = XEN_SYSCTL_cpu_featureset_raw;
    arg->features.p = (void *)HOST_BAD_ADDR;
    CU_ASSERT_EQUAL(sysctl(XEN_SYSCTL_get_cpu_featureset, &op), -EFAULT);
    finish();
}

static void test_domctl_set_cpu_policy__hides_features(void)
{
    start();
    struct xen_domctl_cpu_policy policy = with_buffer(LEAVES);
    CU_ASSERT_EQUAL(domctl(XEN_DOMCTL_get_cpu_policy, 1, &policy), 0);
    entry(LEAVES, 1, NONE)->c &= ~SSE3;
    entry(LEAVES, 7, 0)->b &= ~AVX2;
    entry(LEAVES, 0xd, 1)->a = 0;
    entry(LEAVES, 1, NONE)->d |= 1u << 3; /* PSE, which cannot be had */
    entry(LEAVES, 1, NONE)->a = 0;        /* no feature: stays the processor's */
    CU_ASSERT_EQUAL(domctl(XEN_DOMCTL_set_cpu_policy, 1, &policy), 0);
    struct cpuid_regs one = cpuid_guest(guest->vcpu[0], 1, 99);
    CU_ASSERT(!(one.ecx & SSE3) && (one.ecx & XSAVE) && !(one.edx & 1u << 3) && one.eax == ~0u);
    CU_ASSERT_EQUAL(cpuid_guest(guest->vcpu[0], 7, 0).ebx & AVX2, 0);
    CU_ASSERT_EQUAL(cpuid_guest(guest->vcpu[0], 0xd, 1).eax, 0);
    CU_ASSERT_EQUAL(cpuid_guest(guest->vcpu[0], 0xd, 0).eax, 7);
    CU_ASSERT_EQUAL(cpuid_guest(control->vcpu[0], 1, 0).ecx & SSE3, SSE3); /* only that domain */
    policy = with_buffer(LEAVES);
    CU_ASSERT_EQUAL(domctl(XEN_DOMCTL_get_cpu_policy, 1, &policy), 0);
    CU_ASSERT_EQUAL(entry(LEAVES, 1, NONE)->c & SSE3, 0);
    finish();
}

/* What cannot be without XSAVE goes with it; the hypervisor does not hide. */
static void test_domctl_set_cpu_policy__without_xsave(void)
{
    start();
    xen_cpuid_leaf_t *leaf = host_guest_ptr(buffer);
    *leaf = (xen_cpuid_leaf_t){.leaf = 1, .subleaf = NONE, .c = ~(XSAVE | 1u << 31), .d = ~0u};
    struct xen_domctl_cpu_policy policy = with_buffer(1);
    CU_ASSERT_EQUAL(domctl(XEN_DOMCTL_set_cpu_policy, 1, &policy), 0);
    struct cpuid_regs one = cpuid_guest(guest->vcpu[0], 1, 0);
    CU_ASSERT_EQUAL(one.ecx & (XSAVE | 3u << 27), 0); /* OSXSAVE, AVX */
    CU_ASSERT_EQUAL(one.ecx >> 31, 1);
    CU_ASSERT_EQUAL(cpuid_guest(guest->vcpu[0], 7, 0).ebx & AVX2, 0);
    CU_ASSERT_EQUAL(cpuid_guest(guest->vcpu[0], 0xd, 0).eax, 0);
    finish();
}

static void test_domctl_set_cpu_policy__refused(void)
{
    start();
    xen_cpuid_leaf_t *leaf = host_guest_ptr(buffer);
    leaf[0] = (xen_cpuid_leaf_t){.leaf = 1, .subleaf = NONE};
    leaf[1] = (xen_cpuid_leaf_t){.leaf = 0, .subleaf = NONE, .a = 0x21}; /* has not that many */
    struct xen_domctl_cpu_policy policy = with_buffer(2);
    CU_ASSERT_EQUAL(domctl(XEN_DOMCTL_set_cpu_policy, 1, &policy), -EINVAL);
    CU_ASSERT_EQUAL(cpuid_guest(guest->vcpu[0], 1, 0).ecx & SSE3, SSE3); /* all or nothing */
    policy = with_buffer(1);
    policy.nr_msrs = 1;
    CU_ASSERT_EQUAL(domctl(XEN_DOMCTL_set_cpu_policy, 1, &policy), -EINVAL);
    policy = with_buffer(1000);
    CU_ASSERT_EQUAL(domctl(XEN_DOMCTL_set_cpu_policy, 1, &policy), -E2BIG);
    policy = with_buffer(1);
    policy.leaves.p = (void *)HOST_BAD_ADDR;
    CU_ASSERT_EQUAL(domctl(XEN_DOMCTL_set_cpu_policy, 1, &policy), -EFAULT);
    CU_ASSERT_EQUAL(domctl(XEN_DOMCTL_set_cpu_policy, 7, &policy), -ESRCH);
    policy = with_buffer(1);
    guest->vcpu[0]->initialised = true; /* it may have looked already */
    CU_ASSERT_EQUAL(domctl(XEN_DOMCTL_set_cpu_policy, 1, &policy), -EEXIST);
    suite_enter(guest->vcpu[0]);
    CU_ASSERT_EQUAL(domctl(XEN_DOMCTL_set_cpu_policy, 1, &policy), -EPERM);
    finish();
}

static void test_domctl_get_cpu_policy(void)
{
    start();
    struct xen_domctl_cpu_policy policy = {0};
    CU_ASSERT_EQUAL(domctl(XEN_DOMCTL_get_cpu_policy, 1, &policy), 0);
    CU_ASSERT(policy.nr_leaves >= LEAVES);
    policy = with_buffer(LEAVES - 1);
    CU_ASSERT_EQUAL(domctl(XEN_DOMCTL_get_cpu_policy, 1, &policy), -ENOBUFS);
    policy = with_buffer(LEAVES);
    policy.leaves.p = (void *)HOST_BAD_ADDR;
    CU_ASSERT_EQUAL(domctl(XEN_DOMCTL_get_cpu_policy, 1, &policy), -EFAULT);
    CU_ASSERT_EQUAL(domctl(XEN_DOMCTL_get_cpu_policy, 7, &policy), -ESRCH);
    finish();
}

int main(void)
{
    static const struct suite_case cases[] = {
        CASE(test_sysctl_get_cpu_policy),
        CASE(test_sysctl_get_cpu_policy__of_the_processor),
        CASE(test_sysctl_get_cpu_policy__refused),
        CASE(test_sysctl_get_cpu_featureset),
        CASE(test_domctl_set_cpu_policy__hides_features),
        CASE(test_domctl_set_cpu_policy__without_xsave),
        CASE(test_domctl_set_cpu_policy__refused),
        CASE(test_domctl_get_cpu_policy),
    };
    return SUITE("cpu policy", 1, cases);
}
