// SPDX-License-Identifier: MIT
/* For assembly, stand-alone and inline: physical addresses of symbols before paging, and the table
 * of instructions that may fault. */
#pragma once

#include "arch/layout.h"

/* Size of struct cpu_info at the top of each main stack; start.c asserts it. */
#define CPU_INFO_BYTES 216

#ifdef __ASSEMBLY__

/* Where the loader put a symbol of the image. */
#define PHYS(sym) ((sym)-HYP_IMAGE_START + HYP_LOAD_PHYS)

/* A fault at `ip` resumes at `fixup`; both are labels. */
#define EX_TABLE(ip, fixup)                                                                        \
    .pushsection __ex_table, "a";                                                                  \
    .balign 8;                                                                                     \
    .quad ip, fixup;                                                                               \
    .popsection

#define FUNC(name)                                                                                 \
    .global name;                                                                                  \
    .hidden name;                                                                                  \
    .type name, @function;                                                                         \
    .balign 16;                                                                                    \
    name:
#define END_FUNC(name) .size name, .- name

#else

#include "base/types.h"

/* The same from inline assembly, labels as strings: EX_TABLE("1b", "2b"). */
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
