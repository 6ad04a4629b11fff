// SPDX-License-Identifier: MIT
/*
 * From the boot loader's 32-bit world to 64-bit C. Early page tables: the first 4 GiB at address 0
 * and again at the direct map, never executable, and the image in 4 KiB pages with its final
 * rights, in both places and at its own address. mmu_init() replaces all of it. The other CPUs come
 * the same way from real mode: where they start is never mapped executable, for paging is turned on
 * inside the image.
 */
#include "arch/x86_64/asm.h"

#define MULTIBOOT_MAGIC 0x1badb002
/* Modules on page boundaries, memory map wanted, addresses below are valid. */
#define MULTIBOOT_FLAGS 0x00010003

#define PTE_LINK 0x23  /* P RW A */
#define PTE_RO 0x21    /* P A */
#define PTE_RW 0x63    /* P RW A D */
#define PTE_LARGE 0xe3 /* P RW A D PSE */
#define PTE_NX 0x8000000000000000
#define PTE_NX_UPPER 0x80000000
/* What early_l1 covers: the image, and whatever the loader has put behind it. */
#define IMAGE_BYTES_MAX 0x400000

/* Where the loader put a symbol of the image. */
#define PHYS(sym) ((sym)-HYP_IMAGE_START + HYP_LOAD_PHYS)

    .section .multiboot, "ax"
    .code32
multiboot_header:
    .long MULTIBOOT_MAGIC, MULTIBOOT_FLAGS, -(MULTIBOOT_MAGIC + MULTIBOOT_FLAGS)
    .long PHYS(multiboot_header), PHYS(__image_start), PHYS(__data_end), PHYS(__image_end)
    .long PHYS(boot_entry)

/* Early L1 entries, from where edx points on. */
.macro MAP_IMAGE from, to, flags, upper
    mov $PHYS(\from) + \flags, %eax
1:  mov %eax, (%edx)
    movl $\upper, 4(%edx)
    add $8, %edx
    add $4096, %eax
    cmp $PHYS(\to) + \flags, %eax
    jb 1b
.endm

    .text
    .globl boot_entry
boot_entry:
    cli
    cld
    mov %eax, %edi /* start_image()'s arguments */
    mov %ebx, %esi
    mov $0x80000000, %eax
    cpuid
    cmp $0x80000001, %eax
    jb no_long_mode
    mov $0x80000001, %eax
    cpuid
    bt $29, %edx
    jnc no_long_mode
    bt $20, %edx
    jnc no_long_mode

    mov $PHYS(early_l1), %edx
    MAP_IMAGE __image_start, __text_end, PTE_RO, 0
    MAP_IMAGE __text_end, __rodata_end, PTE_RO, PTE_NX_UPPER
    MAP_IMAGE __rodata_end, HYP_IMAGE_START + IMAGE_BYTES_MAX, PTE_RW, PTE_NX_UPPER
long_mode: /* keeps edi and esi */
    mov $1 << 5, %eax /* PAE */
    mov %eax, %cr4
    mov $PHYS(early_l4), %eax
    mov %eax, %cr3
    mov $0xc0000080, %ecx /* EFER: LME, NX */
    rdmsr
    or $1 << 8 | 1 << 11, %eax
    wrmsr
    mov $0x80010033, %eax /* PG WP NE ET MP PE */
    mov %eax, %cr0
    lgdt PHYS(boot_gdtr)
    ljmp $8, $PHYS(boot_long)

ap_protected:
    mov $0x18, %eax
    mov %eax, %ds
    jmp long_mode

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
    /* The first stack serves for one return, also where two CPUs do this at once. */
    movabs $boot_stack + STACK_BYTES - CPU_INFO_BYTES, %rsp
    movabs $1f, %rax
    push %rax
    ret
1:  mov cpu_start(%rip), %rax
    mov %rax, %cr3
    /* A stack is taken once: a CPU that comes when nobody waits for it any more finds none. */
    xor %esp, %esp
    xchg %rsp, 8 + cpu_start(%rip)
    test %rsp, %rsp
    jz 2f
    xor %ebp, %ebp
    push $0 /* it never returns, but expects its stack as after a call */
    push 16 + cpu_start(%rip)
    ret
2:  cli
    hlt
    jmp 2b

    .section .rodata
/* Real-mode code for the other CPUs, copied to a page below 1 MiB: on to ap_protected. */
    .globl ap_trampoline, ap_trampoline_end
    .code16
ap_trampoline:
    cli
    cld
    mov %cs, %ax
    mov %ax, %ds
    lgdtl ap_gdtr - ap_trampoline
    mov $0x11, %eax /* ET PE */
    mov %eax, %cr0
    ljmpl $0x10, $PHYS(ap_protected)
ap_gdtr:
    .word boot_gdtr - boot_gdt - 1
    .long PHYS(boot_gdt)
ap_trampoline_end:
    .code64
no_long_mode_text:
    .asciz "(PV) This processor lacks the 64-bit mode or no-execute pages.\r\n"
    .balign 8
boot_gdt: /* until traps_init_cpu(): nothing, 64-bit code, 32-bit code and data */
    .quad 0, 0x00af9b000000ffff, 0x00cf9b000000ffff, 0x00cf93000000ffff
boot_gdtr:
    .word boot_gdtr - boot_gdt - 1
    .long PHYS(boot_gdt)

    .section .data, "aw"
    .balign 8
    .globl cpu_start
cpu_start: /* struct cpu_start, for the first CPU */
    .quad PHYS(early_l4), boot_stack + STACK_BYTES - CPU_INFO_BYTES, start_image

    .section .data.page, "aw"
    .balign 4096
early_l4:
    .quad PHYS(early_l3) + PTE_LINK
    .org early_l4 + 8 * 261
    .quad PHYS(early_image_l3) + PTE_LINK
    .org early_l4 + 8 * 264
    .quad PHYS(early_l3) + PTE_LINK
    .org early_l4 + 4096
early_l3:
    .irp table, 0, 1, 2, 3
    .quad PHYS(early_l2) + \table * 4096 + PTE_LINK
    .endr
    .org early_l3 + 4096
early_l2:
    .set page, 0
    .rept 2048
    .if page >= HYP_LOAD_PHYS && page < HYP_LOAD_PHYS + IMAGE_BYTES_MAX
    .quad PHYS(early_l1) + (page - HYP_LOAD_PHYS) / 512 + PTE_LINK
    .else
    .quad page + PTE_LARGE + PTE_NX
    .endif
    .set page, page + 0x200000
    .endr
early_image_l3:
    .quad PHYS(early_image_l2) + PTE_LINK
    .org early_image_l3 + 4096
early_image_l2:
    .quad PHYS(early_l1) + PTE_LINK, PHYS(early_l1) + 4096 + PTE_LINK
    .org early_image_l2 + 4096

    .section .bss.page, "aw", @nobits
    .balign 4096
early_l1:
    .skip 2 * 4096

    .section .note.GNU-stack, "", @progbits
