// SPDX-License-Identifier: MIT
/*
 * The one list of locks. Take only upwards; two of equal rank only through spin_lock_pair().
 * The hypervisor runs with interrupts off (see arch/arch.h), so no lock needs an irq variant.
 */
#pragma once

enum lock_rank {
    RANK_NONE = 0,
    RANK_DOMLIST = 10,    /* domain table */
    RANK_DOM_LIFE = 20,   /* one domain's pause counts, shutdown state, vCPU creation */
    RANK_DOM_GRANT = 30,  /* one domain's grant table and maptrack */
    RANK_DOM_MMU = 40,    /* page-table types and entries of the frames one domain owns */
    RANK_DOM_EVTCHN = 50, /* one domain's event channels; a pair by domain id */
    RANK_DOM_PAGES = 60,  /* one domain's page list and page counts */
    RANK_IRQ = 65,        /* physical interrupt routing */
    RANK_RUNQ = 70,       /* one pcpu's run queue */
    RANK_TIMERS = 80,     /* one pcpu's timer queue */
    RANK_HEAP = 90,       /* frame allocator */
    RANK_PCI = 95,        /* configuration-space address latch */
    RANK_IOAPIC = 97,     /* I/O APIC registers and interrupt vectors */
    RANK_CONSOLE = 100,   /* log ring and serial port */
};
