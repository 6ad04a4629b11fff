// SPDX-License-Identifier: MIT
/* The hypervisor's part of every address space: L4 slots 256 to 271, the same in all page tables.
 */
#pragma once

#define HYP_L4_FIRST 256
#define HYP_L4_LAST 271
#define HYP_VIRT_START 0xffff800000000000
#define HYP_VIRT_END 0xffff880000000000

#define M2P_RO_START 0xffff800000000000     /* slot 256, readable by guests: the ABI fixes it */
#define M2P_RW_START 0xffff808000000000     /* slot 257, the same, writable by the hypervisor */
#define FRAMETABLE_START 0xffff810000000000 /* struct frame of each frame of RAM */
#define FRAMELINKS_START 0xffff818000000000 /* and its struct frame_link */
#define HYP_IMAGE_START 0xffff828000000000  /* text RX, rodata R, data RW */
#define PERCPU_START 0xffff828040000000
#define IOREMAP_START 0xffff828080000000 /* device memory */
#define IOREMAP_END 0xffff830000000000
#define DIRECTMAP_START 0xffff840000000000 /* all RAM, never executable */
#define DIRECTMAP_BYTES (8UL << 39)

/* Where the boot loader puts the image. */
#define HYP_LOAD_PHYS 0x200000

/* One block per pcpu, PERCPU_STRIDE apart. Its stack block is naturally aligned: a page of stack
 * each for #DF, #MC, NMI and #DB, then 4 pages of main stack with struct cpu_info at its very top.
 * Under each stack is a page that is not mapped. */
#define PERCPU_STRIDE 0x40000
#define STACK_BYTES 0x10000
#define PERCPU_IST_TOP(n) (0x2000 * (n)) /* end of IST stack n, from 1 */
#define PERCPU_STACK_PAGES 0xf0aa        /* bit n: page n is a stack's, not a guard */
#define PERCPU_GDT 0x10000  /* window: 14 pages of the running guest, 2 of the hypervisor */
#define PERCPU_LDT 0x20000  /* window, 16 pages */
#define PERCPU_STUB 0x30000 /* syscall stubs, a page, read-execute */
#define PERCPU_TSS 0x31000  /* a page */

/* Selectors. The guest-usable ones are fixed by the ABI, as is the first reserved entry. */
#define GDT_RESERVED_FIRST 7168
#define SEL_HYP_CS 0xe008
#define SEL_HYP_DS 0xe010
#define SEL_GUEST_CS32 0xe023
#define SEL_GUEST_DS 0xe02b
#define SEL_GUEST_CS64 0xe033
#define SEL_TSS 0xe040
#define SEL_LDT 0xe050
