// SPDX-License-Identifier: MIT
/*
 * What a guest does at CPL 3 as if it were at 0: privileged instructions, ports, MSRs, CPUID, debug
 * registers, and direct stores to its page tables. Functions work on the current vCPU except where
 * they say otherwise.
 */
#pragma once

#include "core/domain.h"

/* A #GP in guest mode. True: the instruction has been emulated and rip advanced (or another
 * exception has been delivered for it); false: nothing changed, the #GP is the guest's. */
must_check bool priv_emul_gp(struct vcpu *v, struct cpu_user_regs *regs);
/* A #UD in guest mode: true if it was the prefix that asks for the hypervisor's CPUID. */
must_check bool priv_emul_ud(struct vcpu *v, struct cpu_user_regs *regs);

/* The fault at cr2 was a write to a present, read-only page. True: it was a store to an L1 table
 * and has been carried out (rip advanced), or the instruction shall simply be tried again. */
must_check bool pt_write_fault(struct vcpu *v, struct cpu_user_regs *regs, vaddr_t cr2);

/* Ports as guests reach them. The control domain has the machine's but for those the hypervisor
 * lives on; other domains have none. A port a domain has no right to reads as ones and ignores
 * writes, as an empty bus does. bytes: 1, 2 or 4. */
uint32_t ioport_in(struct domain *d, uint16_t port, unsigned bytes);
void ioport_out(struct domain *d, uint16_t port, unsigned bytes, uint32_t value);

/* MSRs of v, which is in kernel mode; false: #GP. Nothing a guest writes reaches the hardware but
 * segment bases. */
must_check bool msr_read(struct vcpu *v, uint32_t msr, uint64_t *value);
must_check bool msr_write(struct vcpu *v, uint32_t msr, uint64_t value);

/* What CPUID answers in a domain from which the feature words `hidden` are hidden, but for what
 * differs between vCPUs, and for the hypervisor's leaves. */
#define CPUID_LEAF_EXT 0x80000000u
struct cpuid_regs cpuid_policy(const uint32_t *hidden, uint32_t leaf, uint32_t subleaf);
static inline uint32_t *cpuid_reg(struct cpuid_regs *r, unsigned reg)
{
    return (uint32_t *)r + reg;
}
/* Where the feature words are, in the ABI's order (arch-x86/cpufeatureset.h). */
struct cpuid_word {
    uint32_t leaf, subleaf, reg;
};
extern const struct cpuid_word cpuid_words[CPUID_WORDS];
/* CPUID as any v sees it: the processor's features less those a paravirtual guest must not use,
 * plus the hypervisor's own leaves at 0x40000000. */
struct cpuid_regs cpuid_guest(const struct vcpu *v, uint32_t leaf, uint32_t subleaf);
/* Bytes an XSAVE area takes with these components. */
uint32_t cpuid_xsave_bytes(uint64_t xcr0);
/* XCR0 bits a guest may set; 0: XSAVE is not offered. */
uint64_t cpuid_guest_xcr0(void);

/* vm_assist of d has been changed. */
void misc_assists_changed(struct domain *d);
/* Set the virtual CR0.TS. */
void misc_set_ts(struct vcpu *v, bool on);
/* DR4 and DR5 are 6 and 7, unless CR4.DE says otherwise. */
static inline unsigned misc_debugreg_alias(unsigned reg)
{
    return reg & 4 ? reg | 2 : reg;
}
/* Set a debug register of v (current or not running). -EPERM: would reach the hypervisor;
 * -EINVAL. */
must_check int misc_set_debugreg(struct vcpu *v, unsigned reg, uint64_t value);

/* The optional behaviour (vm_assist) this hypervisor has. */
#define VM_ASSISTS_KNOWN                                                                           \
    (1U << VMASST_TYPE_writable_pagetables | 1U << VMASST_TYPE_pae_extended_cr3 |                  \
     1U << VMASST_TYPE_architectural_iopl | 1U << VMASST_TYPE_runstate_update_flag)
