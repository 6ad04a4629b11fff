// SPDX-License-Identifier: MIT
/*
 * CPU policies as tools ask for them and set them: lists of CPUID leaves, and feature words. A
 * domain's policy is what cpuid.c allows less the features its builder takes away before the domain
 * can run; nothing else can be set, and of model-specific registers nothing at all. No lock: the
 * words are written by the builder alone and looked at by the domain's vCPUs.
 */
#include "base/string.h"
#include "core/guest_access.h"
#include "core/hooks.h"
#include "core/hypercall.h"
#include "pv/emul.h"

#define POLICY_LEAVES_MAX 128u
/* The last leaves that are listed; tools know no others. */
#define LEAF_LAST 0xdu
#define LEAF_EXT_LAST (CPUID_LEAF_EXT + 8)

static const uint32_t nothing_hidden[CPUID_WORDS];

static struct cpuid_regs leaf_regs(const uint32_t *hidden, uint32_t leaf, uint32_t subleaf)
{
    struct cpuid_regs r;
    if (hidden) {
        return cpuid_policy(hidden, leaf, subleaf);
    }
    arch_cpuid(leaf & CPUID_LEAF_EXT, 0, &r);
    if (leaf > r.eax) {
        return (struct cpuid_regs){0};
    }
    arch_cpuid(leaf, subleaf, &r);
    return r;
}

static uint32_t feature_word(const uint32_t *hidden, unsigned i)
{
    const struct cpuid_word *word = &cpuid_words[i];
    struct cpuid_regs r = leaf_regs(hidden, word->leaf, word->subleaf);
    return *cpuid_reg(&r, word->reg);
}

void pv_host_features(uint32_t *words, unsigned count)
{
    for (unsigned i = 0; i < MIN(count, CPUID_WORDS); i++) {
        words[i] = feature_word(NULL, i);
    }
}

/* How many subleaves of a leaf are listed; 0: it has none. */
static uint32_t subleaves(uint32_t leaf)
{
    return leaf == 4 ? 6 : leaf == 7 ? 1 : leaf == 0xb ? 2 : leaf == 0xd ? 63 : 0;
}

struct leaf_list {
    vaddr_t buffer;
    uint32_t room, count;
};

static int list_leaf(struct leaf_list *list, const uint32_t *hidden, uint32_t leaf)
{
    uint32_t n = subleaves(leaf);
    for (uint32_t i = 0; i < MAX(n, 1); i++) {
        struct cpuid_regs r = leaf_regs(hidden, leaf, i);
        xen_cpuid_leaf_t entry = {leaf, n ? i : XEN_CPUID_NO_SUBLEAF, r.eax, r.ebx, r.ecx, r.edx};
        if (list->count == list->room) {
            return -ENOBUFS;
        }
        if (guest_write_element(list->buffer, list->count++, &entry, sizeof(entry))) {
            return -EFAULT;
        }
    }
    return 0;
}

/* ABI: without an array the question is how many leaves there may be. Tools write a policy back in
 * as many leaves as they got, so none is left out for being empty, and there are the first ones of
 * two hypervisors. */
static long get_policy(const uint32_t *hidden, vaddr_t leaves, uint32_t *nr_leaves,
                       uint32_t *nr_msrs)
{
    *nr_msrs = 0;
    if (!leaves) {
        *nr_leaves = POLICY_LEAVES_MAX;
        return 0;
    }
    static const uint32_t ends[][2] = {{0, LEAF_LAST},
                                       {0x40000000, 0x40000000},
                                       {0x40000100, 0x40000100},
                                       {CPUID_LEAF_EXT, LEAF_EXT_LAST}};
    struct leaf_list list = {.buffer = leaves, .room = *nr_leaves};
    int rc = 0;
    for (unsigned part = 0; part < ARRAY_SIZE(ends); part++) {
        for (uint32_t leaf = ends[part][0]; rc == 0 && leaf <= ends[part][1]; leaf++) {
            rc = list_leaf(&list, hidden, leaf);
        }
    }
    *nr_leaves = list.count;
    return rc;
}

long sysctl_get_cpu_policy(struct xen_sysctl_cpu_policy *arg)
{
    if (arg->_rsvd || arg->index > XEN_SYSCTL_cpu_policy_hvm_default) {
        return -EINVAL;
    }
    if (arg->index == XEN_SYSCTL_cpu_policy_hvm_max ||
        arg->index == XEN_SYSCTL_cpu_policy_hvm_default) {
        return -EOPNOTSUPP;
    }
    return get_policy(arg->index <= XEN_SYSCTL_cpu_policy_host ? NULL : nothing_hidden,
                      GUEST_ADDR(arg->leaves), &arg->nr_leaves, &arg->nr_msrs);
}

/* ABI: as many words as there is room for are written even when that is too little. */
long sysctl_get_cpu_featureset(struct xen_sysctl_cpu_featureset *arg)
{
    if (arg->index > XEN_SYSCTL_cpu_featureset_hvm_max) {
        return -EINVAL;
    }
    if (arg->index == XEN_SYSCTL_cpu_featureset_hvm ||
        arg->index == XEN_SYSCTL_cpu_featureset_hvm_max) {
        return -EOPNOTSUPP;
    }
    bool asks = !GUEST_ADDR(arg->features);
    uint32_t room = arg->nr_features;
    for (unsigned i = 0; !asks && i < MIN(room, CPUID_WORDS); i++) {
        uint32_t word =
            feature_word(arg->index <= XEN_SYSCTL_cpu_featureset_host ? NULL : nothing_hidden, i);
        if (guest_write_element(GUEST_ADDR(arg->features), i, &word, sizeof(word))) {
            return -EFAULT;
        }
    }
    arg->nr_features = CPUID_WORDS;
    return asks || room >= CPUID_WORDS ? 0 : -ENOBUFS;
}

long domctl_get_cpu_policy(struct domain *d, struct xen_domctl_cpu_policy *arg)
{
    return get_policy(d->pv.cpuid_hidden, GUEST_ADDR(arg->leaves), &arg->nr_leaves, &arg->nr_msrs);
}

/* ABI: a feature asked for that cannot be had is silently left out, and leaves that are not listed
 * stay as they are. */
long domctl_set_cpu_policy(struct domain *d, struct xen_domctl_cpu_policy *arg)
{
    uint32_t hidden[CPUID_WORDS];
    if (d->vcpu[0]->initialised) {
        return -EEXIST;
    }
    if (arg->nr_msrs) {
        return -EINVAL;
    }
    if (arg->nr_leaves > POLICY_LEAVES_MAX) {
        return -E2BIG;
    }
    memcpy(hidden, d->pv.cpuid_hidden, sizeof(hidden));
    for (uint32_t n = 0; n < arg->nr_leaves; n++) {
        xen_cpuid_leaf_t entry;
        if (guest_read_element(&entry, GUEST_ADDR(arg->leaves), n, sizeof(entry))) {
            return -EFAULT;
        }
        if (!(entry.leaf & ~CPUID_LEAF_EXT) && entry.a > leaf_regs(NULL, entry.leaf, 0).eax) {
            return -EINVAL;
        }
        struct cpuid_regs r = {entry.a, entry.b, entry.c, entry.d};
        for (unsigned i = 0; i < CPUID_WORDS; i++) {
            const struct cpuid_word *word = &cpuid_words[i];
            if (word->leaf == entry.leaf &&
                (!subleaves(entry.leaf) || word->subleaf == entry.subleaf)) {
                hidden[i] = ~*cpuid_reg(&r, word->reg);
            }
        }
    }
    memcpy(d->pv.cpuid_hidden, hidden, sizeof(hidden));
    return 0;
}
