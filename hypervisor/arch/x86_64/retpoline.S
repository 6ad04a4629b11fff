// SPDX-License-Identifier: MIT
/*
 * Where the compiler sends every jump and call through a register. The processor predicts the
 * return from its own record of calls, made two instructions before, and so waits in a harmless
 * loop instead of at an address that a guest has taught the predictor of indirect branches.
 * hypervisor/build.mk fails when the image has another one.
 */
    .text

.macro THUNK reg
    .balign 32
    .globl __x86_indirect_thunk_\reg
__x86_indirect_thunk_\reg:
    call 2f
1:  pause
    lfence
    jmp 1b
2:  mov %\reg, (%rsp)
    ret
.endm
    .irp reg, rax, rcx, rdx, rbx, rbp, rsi, rdi, r8, r9, r10, r11, r12, r13, r14, r15
    THUNK \reg
    .endr

    .section .note.GNU-stack, "", @progbits
