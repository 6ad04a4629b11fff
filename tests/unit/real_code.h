// SPDX-License-Identifier: MIT
/*
 * Runs the hypervisor's machine code, as it was assembled for the product, in an ordinary program:
 * in steps of one instruction, with every register as the test says. What needs privilege traps and
 * is done here on variables; faults on guest memory go where the exception table says; C that is
 * called runs natively. Checked at each step, for each program that uses this:
 *
 * - with PATCH_SMAP, instructions of the exception table run in an open window and no C does;
 * - C is entered with the direction flag clear, an aligned stack below guest_regs' page and no
 *   register that still has a value of the guest's.
 */
#pragma once

#include <CUnit/Basic.h>

#include "base/types.h"
#include "pv-abi/abi.h"

/* The block of a pcpu, where arch/layout.h would have it but low in memory. */
#define REAL_BLOCK 0x40000000UL

/* What SYSRET takes of r11. */
#define REAL_SYSRET_FLAGS 0x3c7fd7

enum real_end { REAL_IRET, REAL_SYSRET, REAL_STOPPED };

/* A stretch of machine code, from where the processor enters to where it leaves. */
struct real_run {
    /* in */
    struct cpu_user_regs regs; /* of the guest, as they are when it is left */
    uint64_t cr2, cr3, cr0, cr4;
    uint64_t fs_base, gs_base, other_gs_base; /* model-specific registers */
    uint64_t debugreg[8], xcr0;
    bool access_flag;        /* RFLAGS.AC, of which alignment checks would come here */
    bool any_stack;          /* not from a guest: C may run where the stack pointer is */
    void (*on_cr3)(void);    /* page tables are about to be loaded */
    void (*on_page)(void);   /* INVLPG was executed */
    unsigned fault_in_guest; /* this one of its accesses to guest memory faults; 0: none */
    /* out: regs, cr2 and cr3 and */
    /* What SYSRET takes of r11. */
#define REAL_SYSRET_FLAGS 0x3c7fd7

    enum real_end end;
    unsigned steps, swaps, loads; /* instructions, SWAPGS, writes of CR3 */
    unsigned windows, faults;     /* STAC, faults that the exception table covers */
    unsigned pages, caches;       /* INVLPG, of which the last was of `page`; WBINVD */
    vaddr_t page;
    unsigned accesses; /* to guest memory, by the machine code itself */
    bool verw;         /* VERW was executed */
};
extern struct real_run real_run;

/* Once: map the block, let start-up's patches be done. */
void real_init(void);
/* As patch_code(), for this run and all others; real_unpatch() takes all back. */
void real_patch(uint8_t feature);
void real_unpatch(void);
bool real_window_open(void);
/* A debug register, WRMSR, RDMSR, XSETBV and CLTS change these fields too. Code that loads FS must
 * not touch thread-local variables before it has written the base. */
/* Run from `ip` on `sp`, with the general registers and flags of real_run. */
void real_go(vaddr_t ip, vaddr_t sp);
/* From C that was called: there is nothing to come back for. Does not return. */
void real_stop(void);
/* At the end of C that was called: go on in steps. */
void real_resume(void);
/* main() of a program that has nothing but these, whose last is CU_TEST_INFO_NULL. */
int real_main(const char *suite, CU_TestInfo *tests);
