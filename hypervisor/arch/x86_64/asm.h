// SPDX-License-Identifier: MIT
/* For assembly, stand-alone and inline: what it knows of C's structures, and the table of
 * instructions that may fault. */
#pragma once

#include "arch/layout.h"

/* Offsets in struct cpu_user_regs and the size of struct cpu_info, asserted in trap_entry.c. */
#define REGS_VECTOR 124
#define REGS_CS 136
#define REGS_ES 168
#define CPU_INFO_BYTES 216

#define TRAP_STUB_BYTES 16
#define VECTOR_SYSCALL 0x100 /* entry_vector of SYSCALL */

#ifndef __ASSEMBLY__

#include "base/types.h"

/* A fault at label `ip` resumes at label `fixup`: EX_TABLE("1b", "2b"). */
#define EX_TABLE(ip, fixup)                                                                        \
    ".pushsection __ex_table, \"a\"\n"                                                             \
    ".balign 8\n"                                                                                  \
    ".quad " ip ", " fixup "\n"                                                                    \
    ".popsection\n"

struct ex_entry {
    uint64_t fault_ip, fixup_ip;
};
/* Bounds of the table, from the linker; not sorted. */
extern const struct ex_entry __ex_table_start[], __ex_table_end[];

/* Bounds of the image's parts, from the linker, page-aligned. */
extern char __image_start[], __text_end[], __rodata_end[], __data_end[], __image_end[];

#endif
