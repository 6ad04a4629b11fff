// SPDX-License-Identifier: MIT
/*
 * The fake machine of the unit tests: what a test may set, and what it may look at afterwards.
 * machine.c and tlb.c fill in arch/arch.h, guest_memory.c the guest's address space, panic.c the
 * end of the world, alloc_faults.c failing allocations, lifecycle.c start-up and the exit path.
 */
#pragma once

#include <setjmp.h>

#include "arch/arch.h"
#include "core/domain.h"

/* ---- machine ---- */

#define HOST_FRAMES 8192 /* 32 MiB of RAM; the lowest 16 frames are reserved */
#define HOST_LOG_MAX 256

enum host_flush_kind { HOST_FLUSH_LOCAL, HOST_FLUSH_MASK };
struct host_flush {
    enum host_flush_kind kind;
    unsigned flags;
    vaddr_t va;
    cpumask_t mask;
};

struct host_machine {
    unsigned cpus;                    /* pcpus online, 1 by default */
    ns_t now;                         /* arch_now_ns(); moves only when told */
    void (*on_clock)(void);           /* it has been read, what came of it not used yet */
    uint64_t wallclock_sec;           /* battery clock */
    ns_t timer_deadline[MAX_PCPUS];   /* last arch_timer_set() of each pcpu */
    unsigned kicks[MAX_PCPUS];        /* arch_kick_cpu() calls */
    unsigned nmis[MAX_PCPUS];         /* arch_nmi_cpu() calls */
    unsigned idles, windows, relaxes; /* arch_idle(), arch_irq_window(), arch_relax() */
    unsigned switches;                /* arch_context_switch() */
    void (*on_relax)(void);           /* plays the other CPUs while one spins */
    void (*on_window)(void);          /* interrupts that come in */
    void (*on_idle)(void);            /* the one that ends a sleep */
    void (*on_access)(void);          /* the hypervisor is about to touch guest memory */

    struct host_flush flush[HOST_LOG_MAX];
    unsigned flush_count;
    uint32_t tlb_clock;
    bool models_tlb;                               /* tlb.c keeps what each pcpu has cached */
    void (*on_flush)(void);                        /* a flush is about to be done */
    void (*on_alloc)(mfn_t first, uint64_t count); /* frames have left the heap */

    unsigned ports_written; /* arch_out() calls; the last one: */
    uint16_t last_port;
    uint32_t last_value;
    uint32_t port_in; /* what arch_in() returns */
    /* Devices and a processor to talk to instead; reset between cases. */
    uint32_t (*on_in)(uint16_t port, unsigned bytes);
    void (*on_out)(uint16_t port, unsigned bytes, uint32_t value);
    void (*on_cpuid)(uint32_t leaf, uint32_t subleaf, struct cpuid_regs *out);
    bool (*on_rdmsr)(uint32_t msr, uint64_t *value); /* by default none can be read */

    uint8_t gsi_masked[MAX_PIRQS], gsi_bound[MAX_PIRQS], gsi_level[MAX_PIRQS], gsi_cpu[MAX_PIRQS];
    unsigned msi_vectors;      /* allocated */
    uint32_t acpi_sleep_state; /* last accepted arch_acpi_sleep() */

    char console[65536]; /* what arch_console_put() got */
    size_t console_bytes;
    const char *console_input; /* what arch_console_get() returns, byte by byte */

    uint64_t fs_base, gs_base_kernel, gs_base_user;
    uint64_t debugreg[8];
    uint64_t xcr0;
    bool ts;

    /* Guest accesses and allocations that fail: 1 fails the next one, 0 none. Counted down. */
    unsigned fault_in_access, fault_in_alloc;
    /* Guest bytes read more than once since host_fetch_reset(). */
    unsigned double_fetches;
};
extern struct host_machine host;

static inline pfn_t m2p_get(mfn_t mfn)
{
    return arch_m2p()[mfn];
}

/* Bring the machine and the portable core up, once in a process. */
void host_start(unsigned cpus);
/* Between cases: forget logs and injected faults, no guest current. Time goes on. */
void host_reset(void);
/* Let time pass; timer interrupts of all pcpus come in. */
void host_advance(ns_t ns);
/* What the exit path does on this pcpu: deferred work, scheduling. Returns who runs then. */
struct vcpu *host_exit_path(void);
/* Play pcpu `cpu` from now on. */
void host_play(unsigned cpu);
/* Forget guest bytes fetched so far. */
void host_fetch_reset(void);

/* ---- the processor's own checks (processor.c): each panics where hardware would fault ---- */

/* What a vCPU brings along is loaded; part of arch_context_switch(). */
void host_processor_load(const struct vcpu *v);
/* Back to the guest that is current, with guest_regs(): by SYSRET if it came by SYSCALL, else by
 * IRETQ. For tests, at the end of the way out. */
void host_processor_enter(void);

/* ---- what a pcpu may have cached, with host.models_tlb ---- */

#define HOST_TLB_CPUS 4
#define HOST_TLB_MAX 1024
#define HOST_WALK_MAX 256
struct host_translation {
    vaddr_t va; /* page */
    mfn_t mfn;
    bool write, global;
    const struct domain *mapper, *owner; /* when it was cached: who ran, whose frame it was */
};
struct host_tlb {
    const struct frame *l4; /* loaded; NULL: the hypervisor's own */
    uint64_t l4_copy[512];  /* what guests really run on: as it was on the last way out to them */
    uint32_t last_flush;    /* tlb_clock of the last full flush */
    struct host_translation entry[HOST_TLB_MAX];
    unsigned count;
    struct host_table { /* paging-structure cache: tables walked through */
        mfn_t mfn;
        unsigned level;
    } table[HOST_WALK_MAX];
    unsigned tables;
    const struct frame *gdt[GUEST_GDT_FRAMES], *ldt[LDT_PAGES]; /* descriptor windows */
};
extern struct host_tlb host_tlb[HOST_TLB_CPUS];

/* The guest on this pcpu uses an address: from the cache, else by a walk that fills it and sets
 * accessed and dirty bits. False: page fault. */
bool host_tlb_use(vaddr_t va, bool write, mfn_t *mfn);
/* Cache, as speculation may, every translation of the loaded tables. */
void host_tlb_use_all(bool write);
/* Part of arch_context_switch(). */
void host_tlb_switch(struct vcpu *prev, struct vcpu *next);

/* ---- guest memory: a window every vCPU sees at the same addresses, plus, when the current vCPU
 * has page tables, what these map ---- */

#define HOST_GUEST_BASE 0x0000300000000000UL
#define HOST_GUEST_BYTES (4UL << 20)
/* Never mapped. */
#define HOST_BAD_ADDR 0x0000200000000000UL

/* Carve `bytes` out of the window, cleared; the window is emptied by host_reset(). */
/* Cleared frames for a domain as memory_op gives them; NULL when there are none for it. */
struct frame *frame_alloc_domain(struct domain *d, unsigned order, unsigned addr_bits);
vaddr_t host_guest_alloc(size_t bytes);
void *host_guest_ptr(vaddr_t va);
/* Empty the window. */
void host_guest_reset(void);
/* Copy a value into the window and return its guest address. */
vaddr_t host_guest_put(const void *src, size_t bytes);

/* ---- the end of the world ---- */

/* True if running the statements stopped in panic(), arch_halt() or arch_reboot(). */
enum host_end { HOST_RUNNING, HOST_PANIC, HOST_HALT, HOST_REBOOT };
extern jmp_buf host_end_jump;
extern bool host_end_armed;
extern char host_panic_message[256];
#define HOST_ENDS_IN(end, ...)                                                                     \
    __extension__({                                                                                \
        host_end_armed = true;                                                                     \
        int how_ = setjmp(host_end_jump);                                                          \
        if (how_ == 0) {                                                                           \
            __VA_ARGS__;                                                                           \
        }                                                                                          \
        host_end_armed = false;                                                                    \
        how_ == (int)(end);                                                                        \
    })
