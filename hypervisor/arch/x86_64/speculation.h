// SPDX-License-Identifier: MIT
/* What the processor does ahead of its permissions, and what we do about it. */
#pragma once

#include "base/types.h"

/* The processor's own words about itself; 0 where it has none. */
struct spec_words {
    uint32_t vendor;            /* CPUID 0, ebx */
    uint32_t signature;         /* CPUID 1, eax */
    uint32_t leaf7_b, leaf7_d;  /* CPUID 7 */
    uint32_t ext8_b, ext21_a;   /* CPUID 80000008, ebx; 80000021, eax */
    uint64_t arch_capabilities; /* the MSR, if leaf 7 says it is there */
};

struct speculation {
    /* What the processor is open to. */
    bool meltdown; /* user code reads what its page tables map for the supervisor */
    bool l1tf;     /* user code reads from the cache what a not-present entry points to */
    bool buffers;  /* data of others is left in buffers that user code can sample */
    bool branches; /* user code teaches branches of the hypervisor and of others where to go */
    /* What is done about it; retpolines are in any case. */
    bool ibrs;      /* enhanced: set once, keeps predictions of different privilege apart */
    bool auto_ibrs; /* the same on AMD */
    bool ibpb;      /* predictions are forgotten before another domain runs */
    bool rsb;       /* so are those of returns ... */
    bool rsb_entry; /* ... and on every entry from a guest */
    bool verw;      /* buffers are cleared before a guest runs */
    bool stibp, ssbd;
    bool xpti;   /* guests run on page tables without the hypervisor */
    bool absent; /* guests' entries that are not present are looked at */
};
extern struct speculation speculation; /* constant after speculation_init() */

/* The decision, by the command line. */
struct speculation speculation_decide(const struct spec_words *words);
/* On the first CPU: ask the processor, decide, report. */
void speculation_init(void);
/* On every CPU, and by the first one before others start. */
void speculation_init_cpu(void);
/* This CPU is about to run another domain. */
void speculation_forget(void);
