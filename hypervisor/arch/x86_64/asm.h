// SPDX-License-Identifier: MIT
/* For assembly, stand-alone and inline: what it knows of C's structures, the table of instructions
 * that may fault, and code that is there only on processors that need it. */
#pragma once

#include "arch/layout.h"

/* Offsets in struct cpu_user_regs and the size of struct cpu_info, asserted in trap_entry.c. */
#define REGS_R11 48
#define REGS_RAX 80
#define REGS_RCX 88
#define REGS_RSI 104
#define REGS_RDI 112
#define REGS_ERROR 120
#define REGS_VECTOR 124
#define REGS_RIP 128
#define REGS_CS 136
#define REGS_RFLAGS 144
#define REGS_RSP 152
#define REGS_SS 160
#define REGS_ES 168
#define CPU_INFO_CURRENT 200 /* from the start of struct cpu_info, as guest_regs is */
#define CPU_INFO_VERW 212
#define CPU_INFO_CR3 216
#define CPU_INFO_TABLES 224
#define CPU_INFO_LAST_FLUSH 240
#define CPU_INFO_BYTES 248

/* In struct vcpu, asserted in switch.c. */
#define VCPU_INFO 0
#define VCPU_SYSTEM 8
#define VCPU_TRAP 16 /* of 16 bytes each */
#define VCPU_KERNEL_MODE 4112
#define VCPU_SHOWN_IOPL 4116
#define VCPU_KERNEL_SS 4120
#define VCPU_KERNEL_SP 4128
#define VCPU_SYSCALL 4136

/* ABI: in struct trap_info and struct vcpu_info. */
#define TRAP_FLAGS 1
#define TRAP_CS 2
#define TRAP_ADDRESS 8
#define INFO_PENDING 0
#define INFO_MASK 1
#define INFO_CR2 16

#define TRAP_STUB_BYTES 16
#define VECTOR_SYSCALL 0x100 /* entry_vector of SYSCALL */

/* Answer of xen_version, asserted in switch.c. */
#define XEN_VERSION_WORD 0x40011

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
                             "771: .nops " #length "\n"
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
