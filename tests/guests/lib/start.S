/* SPDX-License-Identifier: MIT */
/*
 * Where the hypervisor enters a test kernel: start-up, exceptions, events, failsafe, system calls
 * of user mode; and the two crossings C has no words for (context_save and context_jump, iret).
 * Every entry saves a struct regs (lib.h) on the stack it was given and calls C with its address.
 */
#include <xen/elfnote.h>

#define INIT_P2M 0x8000000000 /* where the list of frames is mapped: a top-level slot of its own */
#define NOTE(type, kind, value)                                                                    \
    .pushsection .note.Xen, "a", @note;                                                            \
    .balign 4;                                                                                     \
    .long 4, 2f - 1f, type;                                                                        \
    .asciz "Xen";                                                                                  \
1:  kind value;                                                                                    \
2:  .balign 4;                                                                                     \
    .popsection

    NOTE(XEN_ELFNOTE_XEN_VERSION, .asciz, "xen-3.0")
    NOTE(XEN_ELFNOTE_GUEST_OS, .asciz, "paravane-test")
    NOTE(XEN_ELFNOTE_LOADER, .asciz, "generic")
    NOTE(XEN_ELFNOTE_VIRT_BASE, .quad, 0xffffffff80000000)
    NOTE(XEN_ELFNOTE_PADDR_OFFSET, .quad, 0)
    NOTE(XEN_ELFNOTE_ENTRY, .quad, start)
    NOTE(XEN_ELFNOTE_HYPERCALL_PAGE, .quad, hypercall_page)
    /* What a kernel that is to be the control domain must have. */
    NOTE(XEN_ELFNOTE_INIT_P2M, .quad, INIT_P2M)
    NOTE(XEN_ELFNOTE_MOD_START_PFN, .quad, 1)

    .section .text.start, "ax"
    .globl start
start:
    cld
    lea cpu_stacks + 0x8000(%rip), %rsp
    xor %ebp, %ebp
    mov %rsi, %rdi
    call kernel_main
    ud2

    .text
/* A second vCPU starts here, on its own stack, with its number in rdi. */
    .globl start_secondary
start_secondary:
    cld
    xor %ebp, %ebp
    call secondary_main
    ud2

/* Entry of one vector: the frame starts with rcx, r11, then perhaps an error code. */
    .macro ENTRY_STUB vector, error
    .balign 32
    pop %rcx
    pop %r11
    .if !\error
    push $0
    .endif
    push $\vector
    jmp entry_common
    .endm

    .balign 32
    .globl trap_stubs
trap_stubs:
    .set n, 0
    .rept 256
    .if n == 8 || (n >= 10 && n <= 14) || n == 17 || n == 21
    ENTRY_STUB n, 1
    .else
    ENTRY_STUB n, 0
    .endif
    .set n, n + 1
    .endr
    .globl event_entry, syscall_entry, syscall32_entry, nmi_entry
event_entry:
    ENTRY_STUB 0x100, 0
syscall_entry:
    ENTRY_STUB 0x101, 0
syscall32_entry:
    ENTRY_STUB 0x102, 0

entry_common:
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
    mov %rsp, %rdi
    cld
    call entry_c
    .globl entry_return
entry_return:
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
    add $16, %rsp
    push $0
    push %rcx
    push %r11
    push %rax
    mov $23, %eax
    syscall
    ud2

/* Failsafe: rcx, r11, ds, es, fs, gs, rip ... The four selectors are kept for whoever asks. */
    .balign 32
    .globl failsafe_entry
failsafe_entry:
    pop %rcx
    pop %r11
    pop failsafe_selectors(%rip)
    pop failsafe_selectors + 8(%rip)
    pop failsafe_selectors + 16(%rip)
    pop failsafe_selectors + 24(%rip)
    push $0
    push $0x103
    jmp entry_common

/* long context_save(struct context *): 0 now, the jump's value later. */
    .globl context_save
context_save:
    mov %rbx, (%rdi)
    mov %rbp, 8(%rdi)
    mov %r12, 16(%rdi)
    mov %r13, 24(%rdi)
    mov %r14, 32(%rdi)
    mov %r15, 40(%rdi)
    lea 8(%rsp), %rax
    mov %rax, 48(%rdi)
    mov (%rsp), %rax
    mov %rax, 56(%rdi)
    xor %eax, %eax
    ret

/* void context_jump(const struct context *, long value) */
    .globl context_jump
context_jump:
    cld
    mov %rsi, %rax
    mov (%rdi), %rbx
    mov 8(%rdi), %rbp
    mov 16(%rdi), %r12
    mov 24(%rdi), %r13
    mov 32(%rdi), %r14
    mov 40(%rdi), %r15
    mov 48(%rdi), %rsp
    jmp *56(%rdi)

/* void iret_to(const struct iret_frame *frame, uint64_t rdi, uint64_t rsi): the iret hypercall with
 * that frame; rdi and rsi are what the target finds there. */
    .globl iret_to
iret_to:
    /* Well below the caller's frame: if it goes wrong, the handler runs from here. */
    sub $2048, %rsp
    .irp offset, 64, 56, 48, 40, 32, 24, 16, 8, 0
    pushq \offset(%rdi)
    .endr
    mov %rsi, %rdi
    mov %rdx, %rsi
    mov $23, %eax
    syscall
    ud2

/* Where a user-mode function returns to: system call USER_EXIT with its value. */
    .globl user_return
user_return:
    mov %rax, %rdi
    mov $0x7001, %eax
    syscall
    ud2

    .bss
    .balign 0x8000
    .globl cpu_stacks
cpu_stacks:
    .skip 0x8000 * 4
    .globl failsafe_selectors
failsafe_selectors:
    .skip 32
    .section .note.GNU-stack, "", @progbits
