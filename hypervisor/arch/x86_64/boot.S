// SPDX-License-Identifier: MIT
/*
 * From the boot loader's 32-bit world to 64-bit C. Early page tables: the first 4 GiB at address 0
 * and again at the direct map, never executable, and the image in 4 KiB pages with final rights,
 * in both places too. mmu_init() replaces all of it.
 */
#include "arch/x86_64/asm.h"

#define MULTIBOOT_MAGIC 0x1badb002
/* Modules on page boundaries, memory map wanted, addresses below are valid. */
#define MULTIBOOT_FLAGS 0x00010003

#define PTE_LINK 0x23  /* P RW A */
#define PTE_RO 0x21    /* P A */
#define PTE_RW 0x63    /* P RW A D */
#define PTE_LARGE 0xe3 /* P RW A D PSE */
#define L1_COUNT 2

    .section .multiboot, "ax"
    .code32
multiboot_header:
    .long MULTIBOOT_MAGIC, MULTIBOOT_FLAGS, -(MULTIBOOT_MAGIC + MULTIBOOT_FLAGS)
    .long PHYS(multiboot_header), PHYS(__image_start), PHYS(__data_end), PHYS(__image_end)
    .long PHYS(boot_entry)

    .text
    .code32
FUNC(boot_entry)
    cli
    cld
    mov $PHYS(boot_stack) + STACK_BYTES - CPU_INFO_BYTES - 8, %esp
    mov %eax, %ebp
    mov %ebx, %esi

    mov $0x80000000, %eax
    cpuid
    cmp $0x80000001, %eax
    jb no_long_mode
    mov $0x80000001, %eax
    cpuid
    bt $29, %edx
    jnc no_long_mode
    /* ebx: upper half of an entry for data, EFER.NX of edi likewise */
    xor %ebx, %ebx
    xor %edi, %edi
    bt $20, %edx
    jnc 1f
    mov $0x80000000, %ebx
    mov $1 << 11, %edi
1:
    call early_tables

    mov $1 << 5, %eax /* PAE */
    mov %eax, %cr4
    mov $PHYS(early_l4), %eax
    mov %eax, %cr3
    mov $0xc0000080, %ecx /* EFER: LME, NX */
    rdmsr
    or $1 << 8, %eax
    or %edi, %eax
    wrmsr
    mov $0x80010033, %eax /* PG WP NE ET MP PE */
    mov %eax, %cr0
    lgdt PHYS(boot_gdtr)
    ljmp $8, $PHYS(boot_long)
END_FUNC(boot_entry)

/* Fill the early tables; ebx is the upper half of non-executable entries. */
early_tables:
    /* 2048 pages of 2 MiB */
    mov $PHYS(early_l2), %edx
    mov $PTE_LARGE, %eax
    mov $2048, %ecx
1:  mov %eax, (%edx)
    mov %ebx, 4(%edx)
    add $0x200000, %eax
    add $8, %edx
    loop 1b

    /* the image: code, constants, the rest */
    mov $PHYS(early_l1), %edx
    mov $HYP_LOAD_PHYS, %eax
    mov $512 * L1_COUNT, %ecx
1:  push %eax
    push %ebx
    cmp $PHYS(__text_end), %eax
    jae 2f
    xor %ebx, %ebx
2:  cmp $PHYS(__rodata_end), %eax
    jae 3f
    or $PTE_RO, %eax
    jmp 4f
3:  or $PTE_RW, %eax
4:  mov %eax, (%edx)
    mov %ebx, 4(%edx)
    pop %ebx
    pop %eax
    add $0x1000, %eax
    add $8, %edx
    loop 1b

    movl $PHYS(early_l1) + PTE_LINK, %eax
    mov %eax, PHYS(early_image_l2)
    mov %eax, PHYS(early_l2) + 8 * (HYP_LOAD_PHYS >> 21)
    movl $0, PHYS(early_l2) + 8 * (HYP_LOAD_PHYS >> 21) + 4
    add $0x1000, %eax
    mov %eax, PHYS(early_image_l2) + 8
    mov %eax, PHYS(early_l2) + 8 * (HYP_LOAD_PHYS >> 21) + 8
    movl $0, PHYS(early_l2) + 8 * (HYP_LOAD_PHYS >> 21) + 12

    mov $PHYS(early_l2) + PTE_LINK, %eax
    mov $PHYS(early_l3), %edx
    mov $4, %ecx
1:  mov %eax, (%edx)
    add $0x1000, %eax
    add $8, %edx
    loop 1b
    movl $PHYS(early_image_l2) + PTE_LINK, PHYS(early_image_l3)
    movl $PHYS(early_l3) + PTE_LINK, PHYS(early_l4)
    movl $PHYS(early_l3) + PTE_LINK, PHYS(early_l4) + 8 * 264
    movl $PHYS(early_image_l3) + PTE_LINK, PHYS(early_l4) + 8 * 261
    ret

/* The only place without C: say so on the serial port and stop. */
no_long_mode:
    mov $PHYS(no_long_mode_text), %esi
1:  lodsb
    test %al, %al
    jz 3f
    mov %al, %bl
    mov $0x3fd, %dx
2:  in %dx, %al
    test $0x20, %al
    jz 2b
    mov %bl, %al
    mov $0x3f8, %dx
    out %al, %dx
    jmp 1b
3:  hlt
    jmp 3b

    .code64
boot_long:
    movabs $boot_high, %rax
    jmp *%rax
boot_high:
    lgdt boot_gdtr_high(%rip)
    xor %eax, %eax
    mov %eax, %ds
    mov %eax, %es
    mov %eax, %fs
    mov %eax, %gs
    mov $16, %eax
    mov %eax, %ss
    lea boot_stack(%rip), %rsp
    add $STACK_BYTES - CPU_INFO_BYTES - 8, %rsp
    mov %ebp, %edi
    mov %esi, %esi
    xor %ebp, %ebp
    call start_image
    ud2

/* Continue on another stack, which has no way back: rdi = stack pointer, rsi = function. */
FUNC(jump_to_stack)
    mov %rdi, %rsp
    xor %ebp, %ebp
    call *%rsi
    ud2
END_FUNC(jump_to_stack)

    .section .rodata
no_long_mode_text:
    .asciz "(PV) This processor has no 64-bit mode.\r\n"
    .balign 8
boot_gdt:
    .quad 0
    .quad 0x00af9b000000ffff /* 64-bit code */
    .quad 0x00cf93000000ffff /* data */
boot_gdt_end:
    .balign 8
boot_gdtr:
    .word boot_gdt_end - boot_gdt - 1
    .long PHYS(boot_gdt)
    .balign 8
boot_gdtr_high:
    .word boot_gdt_end - boot_gdt - 1
    .quad boot_gdt

    .section .bss.page, "aw", @nobits
    .balign 4096
early_l4:       .skip 4096
early_l3:       .skip 4096
early_l2:       .skip 4096 * 4
early_image_l3: .skip 4096
early_image_l2: .skip 4096
early_l1:       .skip 4096 * L1_COUNT

    .section .note.GNU-stack, "", @progbits
