// SPDX-License-Identifier: MIT
/* The inline part of arch/arch.h on the fake machine: plain variables stand for the processor. */
#pragma once

#include "arch/layout.h"
#include "base/config.h"
#include "base/types.h"
#include "pv-abi/abi.h"

struct vcpu;

/* The pcpu whose part the calling thread plays. */
extern _Thread_local unsigned host_cpu;
extern struct vcpu *host_current[MAX_PCPUS];
extern struct cpu_user_regs host_regs[MAX_PCPUS];
extern uint8_t *host_ram;
extern uint64_t *host_m2p;
extern uint64_t host_tsc;

static inline unsigned arch_cpu_id(void)
{
    return host_cpu;
}

static inline struct vcpu *current_vcpu(void)
{
    return host_current[host_cpu];
}

static inline struct cpu_user_regs *guest_regs(void)
{
    return &host_regs[host_cpu];
}

static inline void *mfn_to_virt(mfn_t mfn)
{
    return host_ram + (mfn << PAGE_SHIFT);
}

static inline mfn_t virt_to_mfn(const void *va)
{
    return (mfn_t)((const uint8_t *)va - host_ram) >> PAGE_SHIFT;
}

static inline uint64_t *arch_m2p(void)
{
    return host_m2p;
}

static inline uint64_t arch_rdtsc(void)
{
    return host_tsc;
}

static inline uint32_t arch_rdtsc_low(void)
{
    return (uint32_t)host_tsc;
}

bool arch_mfn_has_frame(mfn_t mfn);
