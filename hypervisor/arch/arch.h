// SPDX-License-Identifier: MIT
/*
 * Everything the portable code asks of a machine, each with its contract. arch/x86_64/ fills the
 * list in for hardware, tests/host/ for the fake machine of the unit tests. Inline parts (current
 * vCPU, frame to address) come from arch_inline.h, found through the include path of each build.
 *
 * Interrupt model: the hypervisor runs with interrupts off, always. Where it can afford to be
 * interrupted it opens a window (arch_irq_window, arch_idle). Interrupt handlers run in such a
 * window or on entry from a guest, with no lock held, and may take locks like anybody else.
 */
#pragma once

#include "arch/x86_bits.h"
#include "base/bitmap.h"
#include "base/types.h"

struct vcpu;
struct domain;

/* From arch_inline.h: arch_cpu_id() this pcpu, current_vcpu() running here (the idle one if none),
 * guest_regs() its registers as they will be loaded on exit, mfn_to_virt() and virt_to_mfn() the
 * direct map of RAM, arch_m2p() the writable M2P (valid where mfn_valid()), arch_rdtsc(),
 * arch_mfn_has_frame(): frame table and M2P have an entry for this frame (it is RAM, or near some).
 */

/* ---- what start-up has found out; constant afterwards ---- */
struct arch_tsc_scale {
    uint64_t khz;         /* TSC frequency */
    uint32_t mul;         /* vcpu_time_info.tsc_to_system_mul */
    int8_t shift;         /* vcpu_time_info.tsc_shift */
    uint64_t tsc_at_zero; /* TSC at arch_now_ns() == 0 */
};
struct packed arch_e820 { /* laid out as the BIOS and guests have it */
    uint64_t start, bytes;
    uint32_t type; /* ACPI: 1 RAM, 2 reserved, 3 ACPI reclaimable, 4 NVS, 5 unusable */
};
extern struct arch_facts {
    unsigned cpus_present, cpus_online; /* pcpus; those that run vCPUs */
    unsigned maddr_bits;                /* of a machine address */
    unsigned gsi_count;
    uint64_t xcr0_mask; /* state components the hardware and we support; 0 without XSAVE */
    maddr_t acpi_rsdp;  /* 0 none */
    maddr_t absent_top; /* entries of guests that are not present name nothing below; 0: they may */
    bool null_clears;   /* a null selector clears the base of FS and GS */
    mfn_t max_mfn;      /* highest RAM frame number + 1; size of frame table and M2P */
    struct arch_tsc_scale tsc;
    const struct arch_e820 *e820; /* the loader's memory map, sorted, not overlapping */
    unsigned e820_count;
    unsigned free_count;
    const struct arch_range {
        mfn_t first, end;
    } * free; /* RAM that start-up and the boot modules left, for the frame allocator */
} arch_facts;

#include "arch_inline.h"

/* Ticks of the TSC in nanoseconds. */
static inline ns_t arch_ticks_ns(uint64_t ticks)
{
    const struct arch_tsc_scale *scale = &arch_facts.tsc;
    ticks = scale->shift < 0 ? ticks >> -scale->shift : ticks << scale->shift;
    return (ns_t)((unsigned __int128)ticks * scale->mul >> 32);
}

/* ---- processors and interrupts ---- */
/* Let pending interrupts in, once. */
void arch_irq_window(void);
/* Wait for an interrupt (at most), taking it; returns with interrupts off. */
void arch_idle(void);
/* One turn of a spin loop: pause, and service TLB-flush requests made of this CPU. */
void arch_relax(void);
/* Make another CPU leave guest mode or idle and look at its deferred work. */
void arch_kick_cpu(unsigned cpu);
/* Send another CPU an NMI: upcall_nmi() there. */
void arch_nmi_cpu(unsigned cpu);
/* Program this CPU's timer interrupt for `deadline` (arch_now_ns clock); past means at once,
 * INT64_MAX means none. The interrupt raises DEFER_TIMER on the CPU. */
void arch_timer_set(ns_t deadline);
/* Nanoseconds since start, monotonic on each CPU and across CPUs. */
ns_t arch_now_ns(void);
/* Read the battery clock: seconds since 1970, UTC. */
uint64_t arch_wallclock_sec(void);

/* ---- translation ---- */
enum {
    FLUSH_TLB = 1,   /* all non-global entries */
    FLUSH_ONE = 2,   /* the entry of one address only */
    FLUSH_CACHE = 4, /* write back and invalidate caches */
};
/* Flush this CPU's TLB. */
void arch_tlb_flush_local(unsigned flags, vaddr_t va);
/* Flush on every CPU of the mask, wait until done. Spinning CPUs answer through arch_relax(). */
void arch_tlb_flush_mask(const cpumask_t *mask, unsigned flags, vaddr_t va);
/* Current value of the flush clock: put into a frame when its last mapping of a kind goes away. */
uint32_t arch_tlb_clock(void);
/* Remove from mask the CPUs that have flushed everything since clock value `stamp`. */
void arch_tlb_filter(cpumask_t *mask, uint32_t stamp);
/* Load the page tables of v for its present mode (kernel or user), unless already loaded. */
void arch_load_page_tables(const struct vcpu *v);
/* Put the hypervisor's 16 entries into a guest's new L4 page; idempotent. */
void arch_l4_install(uint64_t *l4);
/* An entry of an L4 in use was changed. True: CPUs have copies, so those that may run its domain
 * are to be flushed, also for an entry that was not present. */
must_check bool arch_l4_changed(void);

/* ---- guest memory: addresses are those of the current vCPU's kernel page tables ---- */
/* Copy; returns the number of bytes that could NOT be copied (0 = all). Addresses in the
 * hypervisor's range or not canonical fail without touching memory. Never call with spinlocks that
 * a fault path may need; they do not sleep. */
must_check size_t arch_copy_from_guest(void *dst, vaddr_t src, size_t bytes);
must_check size_t arch_copy_to_guest(vaddr_t dst, const void *src, size_t bytes);

/* ---- switching vCPUs ---- */
/* Save what prev has on this CPU and load next's state: registers of the exit frame, segments and
 * their bases, FPU, debug registers, GDT and LDT windows, page tables. Sets current_vcpu(). */
void arch_context_switch(struct vcpu *prev, struct vcpu *next);
/* Start-up: let the other CPUs go on to upcall_cpu_online(). */
void arch_release_cpus(void);
/* Start-up: v is this CPU's idle vCPU and current from now on. */
void arch_start_idle(struct vcpu *v);
/* Leave for the current vCPU with an empty stack. */
noreturn void arch_exit_to_guest(void);
/* Point the GDT and LDT windows of this CPU at current's frames (after they changed). */
void arch_load_gdt(const struct vcpu *v);
void arch_load_ldt(const struct vcpu *v);
/* Install one LDT page that was faulted in. */
void arch_ldt_map_page(const struct vcpu *v, unsigned page);
/* Set a segment base of current: SEGBASE_FS, _GS_USER, _GS_KERNEL; value canonical. */
void arch_set_segment_base(unsigned which, uint64_t base);
uint64_t arch_get_segment_base(unsigned which);
/* Load the user GS selector of current; a bad one becomes NUL. */
void arch_load_user_gs(uint16_t sel);
void arch_set_ts(bool on);
void arch_set_cr4(const struct vcpu *v);
void arch_set_debugreg(unsigned reg, uint64_t value);
uint64_t arch_get_dr6(void);
void arch_xsetbv(uint64_t xcr0);
/* Write the reset state into an FPU save area of that size. */
void arch_fpu_init(void *area, size_t bytes);
/* Clear one page. */
void arch_page_clear(void *page);
/* swapgs: the vCPU changes between kernel and user mode. */
void arch_swap_gs(void);

/* ---- processor identification and model-specific registers ---- */
struct cpuid_regs {
    uint32_t eax, ebx, ecx, edx;
};
void arch_cpuid(uint32_t leaf, uint32_t subleaf, struct cpuid_regs *out);
must_check bool arch_rdmsr_safe(uint32_t msr, uint64_t *value);

/* ---- ports, devices ---- */
uint32_t arch_in(uint16_t port, unsigned bytes);
void arch_out(uint16_t port, unsigned bytes, uint32_t value);
/* Uncached mapping of device memory, permanent; NULL when the window is exhausted. */
volatile void *arch_ioremap(maddr_t base, size_t bytes);

/* ---- physical interrupts (arch/x86_64/irq.c) ---- */
/* A "line" is what pirqs bind to: GSIs 0..arch_facts.gsi_count-1 are I/O APIC inputs. The callback
 * given at start-up (irq_upcall in core/pirq.c) is called on arrival. */
/* Set trigger and polarity, masked. level/low: true for level-triggered, active-low. */
must_check int arch_gsi_setup(unsigned gsi, bool level, bool low);
/* Route GSI to a CPU with a vector of its own and call irq_upcall(gsi) on arrival. The line is
 * masked (level) or acknowledged (edge) by the time of the call; arch_gsi_mask(gsi, false) re-opens
 * it. */
must_check int arch_gsi_bind(unsigned gsi, unsigned cpu);
void arch_gsi_unbind(unsigned gsi); /* and mask it */
void arch_gsi_mask(unsigned gsi, bool masked);
/* Have a bound GSI arrive at that CPU from now on. */
void arch_gsi_route(unsigned gsi, unsigned cpu);
bool arch_gsi_is_level(unsigned gsi);
/* Allocate a vector whose arrival calls irq_upcall(token); negative errno when none is left. */
must_check int arch_msi_vector_alloc(unsigned token);
void arch_msi_vector_free(int vector);
/* Address and data that a device must write to raise `vector` on a CPU; the CPU is in the low half
 * of the address only. */
void arch_msi_message(int vector, unsigned cpu, uint64_t *address, uint32_t *data);

/* ---- machine ---- */
void arch_console_put(const char *s, size_t bytes);
/* Next input byte, or -1. */
int arch_console_get(void);
noreturn void arch_reboot(void);
/* Stop all CPUs for good. */
noreturn void arch_halt(void);
/* ACPI sleep on behalf of the control domain; only S5 is accepted here. Returns errno. */
must_check int arch_acpi_sleep(unsigned state, uint32_t pm1a, uint32_t pm1b);

/* True for frames of device memory that the control domain must not map (local APIC, I/O APIC,
 * MSI window, hypervisor's own). */
bool arch_mmio_denied(mfn_t mfn);
/* True for frames that hold the hypervisor image, its tables or other memory of its own. */
bool arch_frame_is_hyp(mfn_t mfn);

/* True when the memory map calls the frame RAM. */
bool arch_mfn_is_ram(mfn_t mfn);
