// SPDX-License-Identifier: MIT
/*
 * Which of the published weaknesses of speculative execution the processor has, by its own word and
 * by the lists of its maker, and which of its means against them are used. Decided once, from
 * CPUID and one MSR, as a function without side effects; makers we do not know are taken to have
 * every weakness. The retpolines are compiled in and stay in use where enhanced IBRS is on: it does
 * not keep a guest from steering indirect branches by the history of branches alone.
 *
 * Not attempted: anything about two threads of a core that run different domains, and the wrong
 * prediction of returns themselves on Zen 1 to 4 and Skylake.
 */
#include "speculation.h"

#include "asm.h"
#include "base/cmdline.h"
#include "base/protection.h"
#include "machine.h"

#define VENDOR_INTEL 0x756e6547 /* Genu */
#define VENDOR_AMD 0x68747541   /* Auth */
#define VENDOR_HYGON 0x6f677948 /* Hygo */

#define BIT(n) (1UL << (n))
/* CPUID 7, ebx and edx */
#define L7B_SMEP BIT(7)
#define L7B_RTM BIT(11)
#define L7D_MD_CLEAR BIT(10)
#define L7D_IBRS_IBPB BIT(26)
#define L7D_STIBP BIT(27)
#define L7D_ARCH_CAPABILITIES BIT(29)
#define L7D_SSBD BIT(31)
/* CPUID 80000008, ebx; 80000021, eax */
#define E8B_IBPB BIT(12)
#define E8B_STIBP BIT(15)
#define E8B_SSBD BIT(24)
#define E21A_AUTO_IBRS BIT(8)

#define MSR_SPEC_CTRL 0x48
#define SPEC_CTRL_IBRS BIT(0)
#define SPEC_CTRL_STIBP BIT(1)
#define SPEC_CTRL_SSBD BIT(2)
#define MSR_PRED_CMD 0x49
#define PRED_CMD_IBPB BIT(0)
#define MSR_ARCH_CAPABILITIES 0x10a
#define ARCH_RDCL_NO BIT(0)
#define ARCH_IBRS_ALL BIT(1)
#define ARCH_MDS_NO BIT(5)
#define ARCH_TAA_NO BIT(8)
#define ARCH_RFDS_CLEAR BIT(28)
#define EFER_AUTO_IBRS BIT(21)

struct speculation speculation;

/* Of Intel's family 6, what lacks a weakness without saying so in the MSR. */
enum { NO_MELTDOWN = 1, NO_L1TF = 2, NO_MDS = 4, NO_BRANCHES = 8 };
static const struct {
    uint8_t model, lacks;
} intel_models[] = {
    /* Bonnell, Saltwell: in order */
    {0x1c, 15},
    {0x26, 15},
    {0x27, 15},
    {0x35, 15},
    {0x36, 15},
    /* Silvermont, Airmont */
    {0x37, NO_L1TF},
    {0x4a, NO_L1TF},
    {0x4c, NO_L1TF},
    {0x4d, NO_L1TF},
    {0x5a, NO_L1TF},
    {0x5d, NO_L1TF},
    {0x75, NO_L1TF},
    /* Goldmont */
    {0x5c, NO_L1TF | NO_MDS},
    {0x5f, NO_L1TF | NO_MDS},
    {0x7a, NO_L1TF | NO_MDS},
    /* Xeon Phi */
    {0x57, NO_L1TF},
    {0x85, NO_L1TF},
};

static unsigned lacks(const struct spec_words *w)
{
    unsigned family = w->signature >> 8 & 0xf;
    unsigned model = (w->signature >> 4 & 0xf) | (w->signature >> 12 & 0xf0);
    if (w->vendor == VENDOR_AMD || w->vendor == VENDOR_HYGON) {
        return NO_MELTDOWN | NO_L1TF | NO_MDS;
    }
    for (unsigned i = 0; w->vendor == VENDOR_INTEL && i < ARRAY_SIZE(intel_models); i++) {
        if (family == 6 && model == intel_models[i].model) {
            return intel_models[i].lacks;
        }
    }
    return 0;
}

struct speculation speculation_decide(const struct spec_words *w)
{
    unsigned no = lacks(w);
    uint64_t caps = w->arch_capabilities;
    bool rdcl = !(caps & ARCH_RDCL_NO), mds = !(caps & ARCH_MDS_NO) && !(no & NO_MDS);
    bool taa = (w->leaf7_b & L7B_RTM) && !(caps & ARCH_TAA_NO) && !(no & NO_MDS);
    struct speculation s = {
        .meltdown = rdcl && !(no & NO_MELTDOWN),
        .l1tf = rdcl && !(no & NO_L1TF),
        .buffers = mds || taa || (caps & ARCH_RFDS_CLEAR),
        .branches = !(no & NO_BRANCHES),
    };
    s.xpti = cmdline.xpti == OPTION_AUTO ? s.meltdown : cmdline.xpti == OPTION_YES;
    s.absent = cmdline.pv_l1tf == OPTION_AUTO ? s.l1tf : cmdline.pv_l1tf == OPTION_YES;
    if (cmdline.spec_ctrl == OPTION_NO) {
        return s;
    }
    bool all = cmdline.spec_ctrl == OPTION_YES;
    bool has_verw = (w->leaf7_d & L7D_MD_CLEAR) || (caps & ARCH_RFDS_CLEAR);
    bool has_ibpb = (w->leaf7_d & L7D_IBRS_IBPB) || (w->ext8_b & E8B_IBPB);
    s.ibrs = (w->leaf7_d & L7D_IBRS_IBPB) && (caps & ARCH_IBRS_ALL);
    s.auto_ibrs = w->ext21_a & E21A_AUTO_IBRS;
    s.ibpb = has_ibpb && (s.branches || all);
    s.rsb = s.branches;
    /* The calls of a guest leave its addresses as predictions, which a return of ours can use when
     * it is out of step with our calls. With SMEP nothing at these addresses is executed here, not
     * even speculatively: retpolines alone are no reason. */
    s.rsb_entry = s.branches && (!(w->leaf7_b & L7B_SMEP) || all);
    s.verw = has_verw && (s.buffers || all);
    s.stibp = all && ((w->leaf7_d & L7D_STIBP) || (w->ext8_b & E8B_STIBP));
    s.ssbd = all && ((w->leaf7_d & L7D_SSBD) || (w->ext8_b & E8B_SSBD));
    return s;
}

static struct cpuid_regs leaf(uint32_t number)
{
    struct cpuid_regs r;
    arch_cpuid(number & 0x80000000, 0, &r);
    if (number > r.eax) {
        return (struct cpuid_regs){0};
    }
    arch_cpuid(number, 0, &r);
    return r;
}

/* A row for the log and `vane info`. */
static void report(const char *name, bool on, bool needed, const char *how)
{
    if (on) {
        protection_report(name, "on: %s", how);
    } else {
        protection_report(name, "off: %s",
                          cmdline.spec_ctrl == OPTION_NO ? "by option"
                          : needed                       ? "not in this processor"
                                                         : "not needed");
    }
}

void speculation_init(void)
{
    struct cpuid_regs leaf7 = leaf(7);
    struct spec_words w = {
        .vendor = leaf(0).ebx,
        .signature = leaf(1).eax,
        .leaf7_b = leaf7.ebx,
        .leaf7_d = leaf7.edx,
        .ext8_b = leaf(0x80000008).ebx,
        .ext21_a = leaf(0x80000021).eax,
    };
    if (w.leaf7_d & L7D_ARCH_CAPABILITIES) {
        (void)!arch_rdmsr_safe(MSR_ARCH_CAPABILITIES, &w.arch_capabilities);
    }
    speculation = speculation_decide(&w);
    const struct speculation *s = &speculation;
    protection_report("weaknesses", "%s%s%s%s%s", s->meltdown ? "Meltdown " : "",
                      s->l1tf ? "L1TF " : "", s->buffers ? "MDS " : "",
                      s->branches ? "Spectre" : "", s->branches ? "" : "none known");
    protection_report("retpolines", "on");
    report("IBRS", s->ibrs || s->auto_ibrs, s->branches, s->ibrs ? "enhanced" : "automatic");
    report("IBPB", s->ibpb, s->branches, "before another domain runs");
    report("RSB clearing", s->rsb, s->branches,
           s->rsb_entry ? "at every entry" : "before another domain runs");
    report("VERW", s->verw, s->buffers, "before every guest runs");
    protection_report("L1TF entries", s->absent ? "on: guests' absent entries name no RAM"
                                      : s->l1tf ? "off: by option"
                                                : "off: not needed");
    protection_report("XPTI", s->xpti       ? "on: guests run without the hypervisor's page tables"
                              : s->meltdown ? "off: by option"
                                            : "off: not needed");
    if (s->xpti) {
        patch_code(PATCH_XPTI);
    }
    if (s->rsb_entry) {
        patch_code(PATCH_RSB);
    }
    if (s->verw) {
        patch_code(PATCH_VERW);
    }
}

void speculation_init_cpu(void)
{
    const struct speculation *s = &speculation;
    uint64_t control = (s->ibrs ? SPEC_CTRL_IBRS : 0) | (s->stibp ? SPEC_CTRL_STIBP : 0) |
                       (s->ssbd ? SPEC_CTRL_SSBD : 0);
    if (control) {
        wrmsr(MSR_SPEC_CTRL, control);
    }
    if (s->auto_ibrs) {
        wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_AUTO_IBRS);
    }
}

void speculation_forget(void)
{
    if (speculation.ibpb) {
        wrmsr(MSR_PRED_CMD, PRED_CMD_IBPB);
    }
    /* IBPB need not cover the predictions of returns. */
    if (speculation.rsb) {
        rsb_overwrite();
    }
}
