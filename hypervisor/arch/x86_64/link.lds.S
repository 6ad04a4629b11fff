// SPDX-License-Identifier: MIT
/* Image layout: code, constants, data, each in pages of its own so that each has its own rights.
 * Linked where it runs, loaded at HYP_LOAD_PHYS. The symbol table ends the constants: its size may
 * change between the two links without moving any code. */
#include "arch/layout.h"

#define LOAD(section) AT(ADDR(section) - HYP_IMAGE_START + HYP_LOAD_PHYS)

ENTRY(boot_entry)

PHDRS
{
    text PT_LOAD FLAGS(5);
    rodata PT_LOAD FLAGS(4);
    data PT_LOAD FLAGS(6);
}

SECTIONS
{
    . = HYP_IMAGE_START;
    __image_start = .;
    .text : LOAD(.text) {
        *(.multiboot)
        *(.text .text.*)
        . = ALIGN(4096);
        __entry_start = .; /* what guests' page tables map, see xpti.c */
        *(.entry)
        . = ALIGN(4096);
        __entry_end = .;
    } :text = 0xcccccccc
    __text_end = .;

    .rodata : LOAD(.rodata) {
        *(.rodata .rodata.* .data.rel.ro .data.rel.ro.*)
        . = ALIGN(8);
        __ex_table_start = .;
        *(__ex_table)
        __ex_table_end = .;
        __patches_start = .;
        *(__patches)
        __patches_end = .;
        *(.symtab_text)
        . = ALIGN(4096);
    } :rodata
    __rodata_end = .;

    .data : LOAD(.data) {
        *(.data .data.*)
        . = ALIGN(4096);
    } :data
    __data_end = .;

    .bss : LOAD(.bss) {
        *(.bss.page)
        *(.bss .bss.* COMMON)
        . = ALIGN(4096);
    } :data
    __image_end = .;

    .unwanted : { *(.got .got.plt .igot .igot.plt .plt .plt.* .iplt .rela.*) } :data

    .debug_info 0 : { *(.debug_info) }
    .debug_abbrev 0 : { *(.debug_abbrev) }
    .debug_aranges 0 : { *(.debug_aranges) }
    .debug_line 0 : { *(.debug_line) }
    .debug_line_str 0 : { *(.debug_line_str) }
    .debug_str 0 : { *(.debug_str) }
    .debug_str_offsets 0 : { *(.debug_str_offsets) }
    .debug_loclists 0 : { *(.debug_loclists) }
    .debug_rnglists 0 : { *(.debug_rnglists) }
    .debug_frame 0 : { *(.debug_frame) }
    .debug_addr 0 : { *(.debug_addr) }
    /DISCARD/ : { *(.comment .note .note.* .eh_frame .llvm_addrsig .discard .discard.*) }
}

ASSERT(__image_end - __image_start <= 0x400000, "the image outgrew its early page tables")
ASSERT(SIZEOF(.unwanted) == 0, "something needs a global offset or procedure linkage table")
