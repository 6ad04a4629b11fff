// SPDX-License-Identifier: MIT
/*
 * Tests of the decision about weaknesses of speculative execution: what arch/x86_64/speculation.c
 * makes of the CPUID words of real processors (from public dumps and the makers' manuals) and of
 * emulated ones, and what the option changes.
 */
#include <CUnit/Basic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arch/x86_64/asm.h"
#include "arch/x86_64/machine.h"
#include "arch/x86_64/speculation.h"
#include "base/assert.h"
#include "base/cmdline.h"
#include "base/log.h"
#include "base/protection.h"
#include "tests/unit/runner.h"

#define INTEL 0x756e6547u
#define AMD 0x68747541u
#define CENTAUR 0x746e6543u
#define SMEP 0x80u
#define RTM 0x800u

_Thread_local unsigned host_cpu;
struct vcpu *host_current[MAX_PCPUS];
struct cpu_user_regs host_regs[MAX_PCPUS];
uint8_t *host_ram;
uint64_t *host_m2p;
uint64_t host_tsc;
struct arch_facts arch_facts;

static const struct spec_words *asked;
static unsigned patched, msr_reads;

void panic(const char *fmt, ...)
{
    (void)fmt;
    abort();
}

void printk(const char *fmt, ...)
{
    (void)fmt;
}

void patch_code(unsigned feature)
{
    patched |= 1u << feature;
}

void rsb_overwrite(void)
{
}

void arch_cpuid(uint32_t leaf, uint32_t subleaf, struct cpuid_regs *out)
{
    CU_ASSERT_EQUAL(subleaf, 0);
    memset(out, 0, sizeof(*out));
    if (leaf == 0) {
        *out = (struct cpuid_regs){.eax = 7, .ebx = asked->vendor};
    } else if (leaf == 1) {
        out->eax = asked->signature;
    } else if (leaf == 7) {
        *out = (struct cpuid_regs){.ebx = asked->leaf7_b, .edx = asked->leaf7_d};
    } else if (leaf == 0x80000000) {
        out->eax = asked->ext21_a ? 0x80000021 : 0x80000008;
    } else if (leaf == 0x80000008) {
        out->ebx = asked->ext8_b;
    } else if (leaf == 0x80000021) {
        /* As processors do with a leaf beyond the last. */
        out->eax = asked->ext21_a ? asked->ext21_a : ~0u;
    }
}

bool arch_rdmsr_safe(uint32_t msr, uint64_t *value)
{
    CU_ASSERT_EQUAL(msr, 0x10a);
    msr_reads++;
    *value = asked->arch_capabilities;
    return true;
}

/* Letters: M Meltdown, L L1TF, B buffers, S Spectre; i enhanced IBRS, a automatic IBRS, p IBPB,
 * r RSB on a switch, e RSB on entry, v VERW. */
static const struct processor {
    const char *name;
    struct spec_words words;
    const char *open, *used;
} processors[] = {
    {"Nehalem, first microcode", {INTEL, 0x106a5, 0, 0, 0, 0, 0}, "MLBS", "re"},
    {"Nehalem, last microcode", {INTEL, 0x106a5, 0, 0x9c000000, 0, 0, 0}, "MLBS", "pre"},
    {"Skylake server, first", {INTEL, 0x50654, 0xd39ffffb, 0, 0, 0, 0}, "MLBS", "r"},
    {"Skylake server", {INTEL, 0x50654, 0xd39ffffb, 0x9c000400, 0, 0, 0}, "MLBS", "prv"},
    {"Cascade Lake", {INTEL, 0x50657, 0xd39ffffb, 0xbc000400, 0, 0, 0x2b}, "BS", "iprv"},
    {"Cascade Lake, TSX off",
     {INTEL, 0x50657, 0xd39ffffb & ~RTM, 0xbc000400, 0, 0, 0xab},
     "S",
     "ipr"},
    {"Ice Lake server", {INTEL, 0x606a6, 0xf3bfbffb, 0xbc040412, 0, 0, 0x16b}, "S", "ipr"},
    {"Sapphire Rapids", {INTEL, 0x806f8, 0xf3bfbffb, 0xbfc14410, 0, 0, 0xe16b}, "S", "ipr"},
    {"Alder Lake N", {INTEL, 0xb06e0, 0x239c27eb, 0xbc18c410, 0, 0, 0x1800e16b}, "BS", "iprv"},
    {"Goldmont", {INTEL, 0x506c9, 0x2294e283, 0x2c000000, 0, 0, 0}, "MS", "pr"},
    {"Silvermont", {INTEL, 0x406d8, 0x2282, 0xc000000, 0, 0, 0}, "MBS", "pr"},
    {"Bonnell", {INTEL, 0x106c2, 0, 0, 0, 0, 0}, "", ""},
    {"Zen 1", {AMD, 0x800f12, 0x209c01a9, 0, 0x1007, 0, 0}, "S", "pr"},
    {"Zen 2", {AMD, 0x830f10, 0x219c91a9, 0, 0x0108b205, 0, 0}, "S", "pr"},
    {"Zen 3", {AMD, 0xa00f11, 0x219c95a9, 0x10, 0x111ef657, 0, 0}, "S", "pr"},
    {"Zen 4", {AMD, 0xa10f11, 0xf1bf97a9, 0x10000010, 0x791ef257, 0x145, 0}, "S", "apr"},
    {"QEMU's qemu64", {AMD, 0x60fb1, 0, 0, 0, 0, 0}, "S", "re"},
    {"QEMU's max", {AMD, 0x60fb1, 0x9c47ab, 0x10, 0, 0, 0}, "S", "r"},
    {"QEMU's Skylake-Server", {INTEL, 0x50654, 0x9c47ab, 0, 0, 0, 0}, "MLBS", "r"},
    {"a maker we do not know", {CENTAUR, 0x6fe, 0, 0, 0, 0, 0}, "MLBS", "re"},
};

static const struct spec_words *words_of(const char *name)
{
    for (unsigned i = 0; i < ARRAY_SIZE(processors); i++) {
        if (!strcmp(processors[i].name, name)) {
            return &processors[i].words;
        }
    }
    CU_FAIL_FATAL("no such processor");
    return NULL;
}

static const char *open_to(struct speculation s)
{
    static char text[8];
    snprintf(text, sizeof(text), "%s%s%s%s", s.meltdown ? "M" : "", s.l1tf ? "L" : "",
             s.buffers ? "B" : "", s.branches ? "S" : "");
    return text;
}

static const char *used(struct speculation s)
{
    static char text[16];
    snprintf(text, sizeof(text), "%s%s%s%s%s%s%s%s", s.ibrs ? "i" : "", s.auto_ibrs ? "a" : "",
             s.ibpb ? "p" : "", s.rsb ? "r" : "", s.rsb_entry ? "e" : "", s.verw ? "v" : "",
             s.stibp ? "t" : "", s.ssbd ? "d" : "");
    return text;
}

static void test_speculation_decide__processors(void)
{
    cmdline.spec_ctrl = OPTION_AUTO;
    for (unsigned i = 0; i < ARRAY_SIZE(processors); i++) {
        const struct processor *p = &processors[i];
        struct speculation s = speculation_decide(&p->words);
        if (strcmp(open_to(s), p->open) || strcmp(used(s), p->used)) {
            printf("%s: open to %s, used %s\n", p->name, open_to(s), used(s));
            CU_FAIL("another decision");
        }
    }
}

static void test_speculation_decide__option(void)
{
    cmdline.spec_ctrl = OPTION_NO;
    for (unsigned i = 0; i < ARRAY_SIZE(processors); i++) {
        const struct processor *p = &processors[i];
        CU_ASSERT_STRING_EQUAL(open_to(speculation_decide(&p->words)), p->open);
        CU_ASSERT_STRING_EQUAL(used(speculation_decide(&p->words)), "");
    }
    cmdline.spec_ctrl = OPTION_YES;
    /* Everything there is, needed or not; nothing that is not there. */
    static const struct {
        const char *name, *used;
    } all[] = {{"Ice Lake server", "iprevtd"},
               {"Skylake server", "prevtd"},
               {"Skylake server, first", "re"},
               {"Zen 1", "pre"},
               {"Zen 2", "pretd"},
               {"Zen 4", "apretd"},
               {"Bonnell", ""}};
    for (unsigned i = 0; i < ARRAY_SIZE(all); i++) {
        CU_ASSERT_STRING_EQUAL(used(speculation_decide(words_of(all[i].name))), all[i].used);
    }
    cmdline.spec_ctrl = OPTION_AUTO;
}

static const char *row(const char *name)
{
    for (unsigned i = 0; i < protection_count; i++) {
        if (!strcmp(protections[i].name, name)) {
            return protections[i].state;
        }
    }
    return "no row";
}

static void init_as(const char *name)
{
    asked = words_of(name);
    patched = msr_reads = protection_count = 0;
    speculation_init();
}

static void test_speculation_init(void)
{
    init_as("Skylake server");
    CU_ASSERT_STRING_EQUAL(used(speculation), "prv");
    CU_ASSERT_EQUAL(patched, 1u << PATCH_VERW | 1u << PATCH_XPTI);
    CU_ASSERT_EQUAL(msr_reads, 0);
    CU_ASSERT_STRING_EQUAL(row("weaknesses"), "Meltdown L1TF MDS Spectre");
    CU_ASSERT_STRING_EQUAL(row("IBRS"), "off: not in this processor");
    CU_ASSERT_STRING_EQUAL(row("VERW"), "on: before every guest runs");
    CU_ASSERT_TRUE(speculation.absent);
    /* The MSR is read only where CPUID announces it; here it says that much is in order. */
    init_as("Cascade Lake");
    CU_ASSERT_EQUAL(msr_reads, 1);
    CU_ASSERT_STRING_EQUAL(open_to(speculation), "BS");
    CU_ASSERT_FALSE(speculation.absent);
    cmdline.pv_l1tf = OPTION_YES;
    init_as("Cascade Lake");
    CU_ASSERT_TRUE(speculation.absent);
    cmdline.pv_l1tf = OPTION_NO;
    init_as("Skylake server");
    CU_ASSERT_FALSE(speculation.absent);
    CU_ASSERT_STRING_EQUAL(row("L1TF entries"), "off: by option");
    cmdline.pv_l1tf = OPTION_AUTO;
    /* Isolation is an option of its own. */
    cmdline.xpti = OPTION_NO;
    init_as("Skylake server");
    CU_ASSERT_FALSE(speculation.xpti);
    CU_ASSERT_STRING_EQUAL(row("XPTI"), "off: by option");
    cmdline.xpti = OPTION_YES;
    init_as("Zen 4");
    CU_ASSERT_TRUE(speculation.xpti);
    cmdline.xpti = OPTION_AUTO;
    init_as("Zen 4");
    CU_ASSERT_FALSE(speculation.xpti);
    CU_ASSERT_EQUAL(patched, 0);
    /* Beyond its last leaf a processor answers nonsense, which is not looked at. */
    init_as("Zen 3");
    CU_ASSERT_FALSE(speculation.auto_ibrs);
    CU_ASSERT_STRING_EQUAL(row("VERW"), "off: not needed");
    init_as("Zen 4");
    CU_ASSERT_STRING_EQUAL(row("IBRS"), "on: automatic");
    init_as("Nehalem, first microcode");
    CU_ASSERT_EQUAL(patched, 1u << PATCH_RSB | 1u << PATCH_XPTI);
    CU_ASSERT_STRING_EQUAL(row("VERW"), "off: not in this processor");
    CU_ASSERT_STRING_EQUAL(row("RSB clearing"), "on: at every entry");
    cmdline.spec_ctrl = OPTION_NO;
    init_as("Skylake server");
    CU_ASSERT_EQUAL(patched, 1u << PATCH_XPTI);
    CU_ASSERT_STRING_EQUAL(row("IBPB"), "off: by option");
    cmdline.spec_ctrl = OPTION_AUTO;
}

int main(void)
{
    CU_TestInfo tests[] = {
        {"decision: processors", test_speculation_decide__processors},
        {"decision: option", test_speculation_decide__option},
        {"asking the processor", test_speculation_init},
        CU_TEST_INFO_NULL,
    };
    return run_tests("speculation", tests);
}
