// SPDX-License-Identifier: MIT
/* The paravirtual x86 state that struct vcpu and struct domain carry, as plain data. */
#pragma once

#include "arch/arch.h"
#include "base/config.h"
#include "base/types.h"
#include "pv-abi/abi.h"

struct frame;

#define GUEST_GDT_FRAMES 14
#define LDT_PAGES 16

struct pv_callback {
    vaddr_t address; /* 0: not registered */
    bool mask_events;
};

struct pv_vcpu {
    struct trap_info trap[256];

    bool kernel_mode;    /* page tables and GS of the guest kernel are in use */
    uint32_t shown_iopl; /* `iopl` as a flag, where the guest wants to see it there */
    uint64_t kernel_ss, kernel_sp;
    struct pv_callback syscall, syscall32, event, failsafe;
    /* Up to here entry code knows the layout. */

    struct frame *l4;      /* kernel page tables: TYPE_L4 and general reference held; NULL none */
    struct frame *l4_user; /* user page tables, likewise */

    struct frame *gdt[GUEST_GDT_FRAMES]; /* TYPE_SEGDESC and general reference each */
    unsigned gdt_entries;
    vaddr_t ldt_base;
    unsigned ldt_entries;
    struct frame *ldt[LDT_PAGES]; /* pages faulted in: TYPE_SEGDESC and general reference */

    uint64_t fs_base; /* while not running; live in MSRs while running */
    uint64_t gs_base_kernel;
    uint64_t gs_base_user;
    uint16_t gs_user_sel;

    bool ts;      /* virtual CR0.TS */
    uint64_t cr4; /* bits the guest controls */
    uint64_t xcr0;
    uint64_t debugreg[8]; /* 0-3, 6, 7 */
    uint8_t iopl;         /* virtual; 1: the kernel may do I/O */
    vaddr_t iobmp;        /* guest's I/O bitmap */
    uint32_t iobmp_ports;
    void *fpu; /* page-sized save area */

    bool nmi_pending;
    bool failsafe_pending; /* a selector could not be loaded */
};

#define PV_E820_MAX 32

/* Words of features that CPUID shows: pv/emul.h. */
#define CPUID_WORDS 10

/* What the control domain lets a domain reach of the devices it is given. */
#define DEVICE_RANGES 8
struct device_range {
    uint64_t first, count; /* frames, or ports; count 0: unused */
};

struct pv_domain {
    struct device_range mmio[DEVICE_RANGES], ports[DEVICE_RANGES]; /* under pages_lock */
    uint32_t vm_assist;                                            /* atomic bits VMASST_TYPE_* */
    /* set by the builder through XENMEM_set_memory_map; under pages_lock */
    struct arch_e820 e820[PV_E820_MAX];
    unsigned e820_count;
    /* features the builder took away; constant once the domain can run */
    uint32_t cpuid_hidden[CPUID_WORDS];
    uint16_t pirq[MAX_PIRQS];        /* under irq_lock; see core/pirq.c */
    struct frame *relinquish_cursor; /* domain death: a frame of the list, referenced */
    unsigned relinquish_pass;
    mfn_t unmap_cursor; /* of pv_device_unmap(), under mmu_lock */
    uint32_t cf8;       /* latched PCI configuration address, under pci_lock */
    uint8_t cmos_index;
};
