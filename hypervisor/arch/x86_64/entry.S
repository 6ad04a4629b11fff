// SPDX-License-Identifier: MIT
/*
 * Every way into the hypervisor and the one way out to a guest. An entry leaves a struct
 * cpu_user_regs on the stack: for guest mode always cpu_info()->guest_regs, since the TSS and the
 * syscall stubs point right behind it. Interrupts stay off until the guest is entered again.
 */
#include "arch/layout.h"

/* offsets in struct cpu_user_regs, asserted in trap_entry.c */
#define R_RAX 80
#define R_RCX 88
#define R_RDI 112
#define R_VECTOR 124
#define R_RIP 128
#define R_CS 136
#define R_RFLAGS 144
#define R_RSP 152
#define REGS_BYTES 200
#define CPU_INFO_BYTES 216
#define VECTOR_SYSCALL 0x100

.macro SAVE_GPRS
    push %rdi
    push %rsi
    push %rdx
    push %rcx
    push %rax
    push %r8
    push %r9
    push %r10
    push %r11
    push %rbx
    push %rbp
    push %r12
    push %r13
    push %r14
    push %r15
    cld
    xor %ebp, %ebp
.endm

.macro RESTORE_GPRS
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %rbp
    pop %rbx
    pop %r11
    pop %r10
    pop %r9
    pop %r8
    pop %rax
    pop %rcx
    pop %rdx
    pop %rsi
    pop %rdi
.endm

    .section .text.entry, "ax"

/* One stub per vector: an error code (0 where the processor pushes none) and the vector. */
#define HAS_ERROR(v) ((v) == 8 || ((v) >= 10 && (v) <= 14) || (v) == 17 || (v) == 21 || \
                      (v) == 29 || (v) == 30)
    .altmacro
.macro TRAP_STUB nr
trap_stub_\nr:
    .if !HAS_ERROR(\nr)
    push $0
    .endif
    movl $\nr, 4(%rsp)
    .if \nr == 2 || \nr == 8 || \nr == 18
    jmp ist_common
    .elseif \nr == 1
    jmp ist_debug
    .else
    jmp trap_common
    .endif
.endm
    .set nr, 0
    .rept 256
    TRAP_STUB %nr
    .set nr, nr + 1
    .endr

    .globl trap_common
trap_common:
    SAVE_GPRS
    mov %rsp, %rdi
    testb $3, R_CS(%rsp)
    jz 1f
    call trap_from_guest
    jmp exit_to_guest
1:
    /* The hypervisor itself was interrupted. A faulting IRETQ to a guest is the guest's fault. */
    lea iret_to_guest(%rip), %rax
    cmp %rax, R_RIP(%rsp)
    je iret_fault
    call trap_from_hyp
    RESTORE_GPRS
    add $8, %rsp
    iretq

/* #DF, #MC (fatal both) and NMI run on stacks of their own and never look at guest_regs. */
ist_common:
    SAVE_GPRS
    mov %rsp, %rdi
    call trap_on_ist
    RESTORE_GPRS
    add $8, %rsp
    iretq

/* #DB has a stack of its own too, because one that `mov ss` delayed arrives on the first
 * instruction of the syscall stub, with the guest's stack pointer. From guest mode its frame moves
 * to guest_regs and it is a trap like others. */
ist_debug:
    SAVE_GPRS
    mov %rsp, %rdi
    testb $3, R_CS(%rsp)
    jnz 1f
    call trap_on_ist
    RESTORE_GPRS
    add $8, %rsp
    iretq
1:  mov %rsp, %rsi
    mov %rsp, %rdi
    or $(STACK_BYTES - 1), %rdi
    sub $(CPU_INFO_BYTES - 1), %rdi
    mov $20, %ecx
2:  mov (%rsi, %rcx, 8), %rax
    mov %rax, (%rdi, %rcx, 8)
    dec %ecx
    jns 2b
    mov %rdi, %rsp
    call trap_from_guest
    jmp exit_to_guest

/* The frame of the fault lies over the lower part of guest_regs, whose general registers were
 * already back in the processor: they are what SAVE_GPRS has just stored. Move them up into
 * guest_regs (from the end, the areas overlap) and deliver the failsafe callback. */
iret_fault:
    mov %rsp, %rsi
    mov %rsp, %rdi
    or $(STACK_BYTES - 1), %rdi
    sub $(CPU_INFO_BYTES - 1), %rdi
    mov $14, %ecx
1:  mov (%rsi, %rcx, 8), %rax
    mov %rax, (%rdi, %rcx, 8)
    dec %ecx
    jns 1b
    mov %rdi, %rsp
    call upcall_failsafe
    jmp exit_to_guest

    .globl syscall_entry, syscall_compat_entry, exit_to_guest
/* The per-CPU stub has switched to guest_regs and pushed ss, rsp, rflags, cs, rip and vector. */
syscall_entry:
    SAVE_GPRS
    mov %rsp, %rdi
    call upcall_syscall
    jmp exit_to_guest

syscall_compat_entry:
    SAVE_GPRS
    mov %rsp, %rdi
    call upcall_syscall_compat
    /* fall through */

exit_to_guest:
    /* rsp is at guest_regs: upcall_exit may have switched to another vCPU, whose registers are in
     * the same place. */
    call upcall_exit
    cmpl $VECTOR_SYSCALL, R_VECTOR(%rsp)
    jne 2f
    /* A hypercall returns the way it came; C has made sure that rip is canonical and that cs and
     * ss are the flat selectors SYSRET loads. */
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %rbp
    pop %rbx
    add $8, %rsp
    pop %r10
    pop %r9
    pop %r8
    pop %rax
    add $8, %rsp
    pop %rdx
    pop %rsi
    pop %rdi
    add $8, %rsp
    mov (%rsp), %rcx
    mov 16(%rsp), %r11
    mov 24(%rsp), %rsp
    sysretq
2:
    RESTORE_GPRS
    add $8, %rsp
    .globl iret_to_guest
iret_to_guest:
    iretq

/* noreturn void exit_start(void): leave for the current vCPU with a fresh stack. */
    .globl exit_start
exit_start:
    mov %rsp, %rax
    or $(STACK_BYTES - 1), %rax
    sub $(CPU_INFO_BYTES - 1), %rax
    mov %rax, %rsp
    xor %ebp, %ebp
    jmp exit_to_guest

    .section .rodata, "a"
    .balign 8
    .globl trap_entry_table
.macro TRAP_ADDRESS nr
    .quad trap_stub_\nr
.endm
trap_entry_table:
    .set nr, 0
    .rept 256
    TRAP_ADDRESS %nr
    .set nr, nr + 1
    .endr

    .section .note.GNU-stack, "", @progbits
