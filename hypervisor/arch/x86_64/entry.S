// SPDX-License-Identifier: MIT
/*
 * Every way into the hypervisor and the one way out to a guest. An entry leaves a struct
 * cpu_user_regs on the stack: for guest mode always cpu_info()->guest_regs, since the TSS and the
 * syscall stubs point right behind it. Interrupts stay off until the guest is entered again.
 */
#include "arch/x86_64/asm.h"

/* The same as PATCHED() of asm.h. */
.macro PATCHED feature, length, insn:vararg
    .pushsection __patches, "a"
    .balign 8
    .quad 771f
    .byte \feature, \length
772: \insn
    .org 772b + 6
    .popsection
771: .skip \length, 0x90
.endm

/* Every general register is saved and cleared, so that no value of a guest's choice is there for
 * code that runs speculatively. Of the flags an interrupt brings along, DF and AC are a guest's. */
.macro SAVE_GPRS
    .irp reg, rdi, rsi, rdx, rcx, rax, r8, r9, r10, r11, rbx, rbp, r12, r13, r14, r15
    push %\reg
    xor %\reg, %\reg
    .endr
    cld
    PATCHED PATCH_SMAP, 3, clac
    mov %rsp, %rdi
.endm

/* Leaves the flags alone. */
.macro RESTORE_GPRS
    .irp reg, r15, r14, r13, r12, rbp, rbx, r11, r10, r9, r8, rax, rcx, rdx, rsi, rdi
    pop %\reg
    .endr
.endm

/* On from here to `end`, which is near, only with the feature: patched in is a jump over a jump. */
.macro ONLY_WITH feature, end
    PATCHED \feature, 2, .byte 0xeb, 2
    jmp \end
.endm

/* From whatever page tables there are, which go to rbx, to the hypervisor's. The stack, any of this
 * CPU's, is in both. */
.macro LOAD_FULL_TABLES
    ONLY_WITH PATCH_XPTI, 773f
    mov %rsp, %rax
    or $STACK_BYTES - 1, %rax
    mov CPU_INFO_CR3 - CPU_INFO_BYTES + 1(%rax), %rax
    mov %cr3, %rbx
    mov %rax, %cr3
773:
.endm

/* Before the first return in C. */
.macro OVERWRITE_RSB
    ONLY_WITH PATCH_RSB, 773f
    call rsb_overwrite
773:
.endm

/* rsp is at guest_regs. C runs below that page, which is in the page tables of guest mode. */
.macro ENTER_C
    LOAD_FULL_TABLES
    and $-0x1000, %rsp
    OVERWRITE_RSB
.endm

    .section .entry, "ax"

/* One stub of TRAP_STUB_BYTES per vector: an error code (0 where the processor pushes none) and the
 * vector. #DB, NMI, #DF and #MC run on stacks of their own. */
#define HAS_ERROR(v) ((v) == 8 || ((v) >= 10 && (v) <= 14) || (v) == 17 || (v) == 21 || \
                      (v) == 29 || (v) == 30)
#define HAS_IST(v) ((v) == 1 || (v) == 2 || (v) == 8 || (v) == 18)
    .balign TRAP_STUB_BYTES
    .globl trap_stubs
trap_stubs:
    .set vector, 0
    .rept 256
    .org trap_stubs + vector * TRAP_STUB_BYTES
    .if !HAS_ERROR(vector)
    push $0
    .endif
    movl $vector, 4(%rsp)
    .if HAS_IST(vector)
    jmp trap_ist
    .else
    jmp trap
    .endif
    .set vector, vector + 1
    .endr

trap:
    SAVE_GPRS
    testb $3, REGS_CS(%rsp)
    jz 1f
    .globl trap_guest
trap_guest: /* rdi and rsp are at guest_regs */
    ENTER_C
    call trap_from_guest
    jmp exit_to_guest
1:  LOAD_FULL_TABLES /* a faulting IRETQ has left them */
    call trap_from_hyp
    jmp trap_return

trap_ist:
    SAVE_GPRS
    LOAD_FULL_TABLES
    OVERWRITE_RSB
    call trap_on_ist
    ONLY_WITH PATCH_XPTI, trap_return
    mov %rbx, %cr3
trap_return:
    RESTORE_GPRS
    add $8, %rsp
    iretq

/* Where SYSCALL goes: copied to the stub page of each CPU, whose block is at the same distances all
 * around it; only the jump at the end of each is corrected. Saves rsp, switches to guest_regs and
 * pushes what an interrupt would have. */
#define NEAR(offset) (syscall_stub + (offset) - PERCPU_STUB)(%rip)
.macro SYSCALL_STUB cs
    mov %rsp, NEAR(PERCPU_TSS + 0x800)
    lea NEAR(STACK_BYTES - CPU_INFO_BYTES + REGS_ES), %rsp
    push $SEL_GUEST_DS
    push NEAR(PERCPU_TSS + 0x800)
    push %r11
    push $\cs
    push %rcx
    push $0
    movl $VECTOR_SYSCALL, 4(%rsp)
    .byte 0xe9 /* jmp */
    .long syscall_entry - . - 4
.endm
    .globl syscall_stub, syscall_compat_stub, syscall_stubs_end
syscall_stub:
    SYSCALL_STUB SEL_GUEST_CS64
syscall_compat_stub:
    SYSCALL_STUB SEL_GUEST_CS32
syscall_stubs_end:

syscall_entry:
    SAVE_GPRS
    ENTER_C
    call upcall_syscall
    jmp exit_to_guest

    .globl failsafe_to_guest, exit_to_guest, iret_to_guest
failsafe_to_guest:
    and $-0x1000, %rsp
    call upcall_failsafe
exit_to_guest:
    and $-0x1000, %rsp
    call upcall_exit
    ONLY_WITH PATCH_XPTI, 2f
    call exit_page_tables
    mov %rax, %cr3
    /* upcall_exit may have switched to another vCPU, whose registers are in the same place. */
2:  add $0x1000 - CPU_INFO_BYTES, %rsp
    RESTORE_GPRS
    /* Clears what loads and stores have left in buffers of the processor; what follows only touches
     * the guest's own. */
    PATCHED PATCH_VERW, 5, verw CPU_INFO_VERW-REGS_ERROR(%rsp)
    cmpl $VECTOR_SYSCALL, REGS_VECTOR-REGS_ERROR(%rsp)
    jne 1f
    /* A hypercall returns the way it came; C has made sure that rip is canonical and that cs and
     * ss are the flat selectors SYSRET loads. */
    mov 8(%rsp), %rcx
    mov 24(%rsp), %r11
    mov 32(%rsp), %rsp
    sysretq
1:  add $8, %rsp
iret_to_guest:
    iretq

/* Fill the processor's record of calls, of 32 entries at most, with calls to a harmless loop. */
    .globl rsb_overwrite
rsb_overwrite:
    mov $32, %ecx
1:  call 3f
2:  pause
    lfence
    jmp 2b
3:  dec %ecx
    jnz 1b
    add $32 * 8, %rsp
    lfence
    ret

    .globl jump_to_stack
jump_to_stack:
    mov %rdi, %rsp
    xor %ebp, %ebp
    jmp __x86_indirect_thunk_rsi

    .section .note.GNU-stack, "", @progbits
