// SPDX-License-Identifier: MIT
/* For assembly, stand-alone and inline: what it knows of C's structures, the table of instructions
 * that may fault, and code that is there only on processors that need it. */
#pragma once

#include "arch/layout.h"

/* Offsets in struct cpu_user_regs and the size of struct cpu_info, asserted in trap_entry.c. */
#define REGS_ERROR 120
#define REGS_VECTOR 124
#define REGS_CS 136
#define REGS_ES 168
#define CPU_INFO_VERW 212 /* from the start of struct cpu_info, as guest_regs is */
#define CPU_INFO_CR3 216
#define CPU_INFO_BYTES 232

#define TRAP_STUB_BYTES 16
#define VECTOR_SYSCALL 0x100 /* entry_vector of SYSCALL */

/* Whose instructions patch_code() puts in the place of the NOPs. */
#define PATCH_SMAP 1
#define PATCH_VERW 2
#define PATCH_RSB 3
#define PATCH_XPTI 4

#ifndef __ASSEMBLY__

#include "base/types.h"

/* Instruction of `length` bytes, at most 6, that is NOPs until patch_code(feature). */
#define QUOTED_(x) #x
#define QUOTED(x) QUOTED_(x)
#define PATCHED(feature, length, insn)                                                             \
    ".pushsection __patches, \"a\"\n"                                                              \
    ".balign 8\n"                                                                                  \
    ".quad 771f\n"                                                                                 \
    ".byte " QUOTED(feature) ", " #length ";772: " insn "; .org 772b + 6\n"                        \
                             ".popsection\n"                                                       \
                             "771: .skip " #length ", 0x90\n"
struct code_patch {
    uint64_t at;
    uint8_t feature, length, insn[6];
};
/* Bounds of the table, from the linker. */
extern const struct code_patch __patches_start[], __patches_end[];

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
extern char __entry_start[], __entry_end[];

#endif
