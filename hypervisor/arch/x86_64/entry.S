// SPDX-License-Identifier: MIT
/*
 * Every way into the hypervisor and the one way out to a guest. An entry leaves a struct
 * cpu_user_regs on the stack: for guest mode always cpu_info()->guest_regs, since the TSS and the
 * syscall stubs point right behind it. Interrupts stay off until the guest is entered again.
 */
#include "arch/x86_64/asm.h"

/* The same as PATCHED() of asm.h. */
.macro PATCHED feature, length, insn:vararg
    PATCH \feature, \length, \insn
771: .nops \length
.endm
.macro PATCH feature, length, insn:vararg
    .pushsection __patches, "a"
    .balign 8
    .quad 771f
    .byte \feature, \length
772: \insn
    .org 772b + 6
    .popsection
.endm

/* On from here to `end`, which is near, only with the feature: otherwise there is a jump. */
.macro ONLY_WITH feature, end
    PATCH \feature, 2, .nops 2
771: jmp \end
    .org 771b + 2
.endm
/* To `target` with the feature. */
.macro JUMP_WITH feature, target
    .pushsection __patches, "a"
    .balign 8
    .quad 771f
    .byte \feature, 5, 0xe9
    .long \target - 771f - 5
    .byte 0
    .popsection
771: .nops 5
.endm

/* Every general register is saved, and cleared so that no value of a guest's choice is there for
 * code that runs speculatively: all but rax, rcx, rdx and rsi here, which what follows overwrites,
 * or clears with CLEAR_REST before C runs. */
.macro SAVE_GPRS
    .irp reg, rdi, rsi, rdx, rcx, rax, r8, r9, r10, r11, rbx, rbp, r12, r13, r14, r15
    push %\reg
    .endr
    CLEAR ebx, ebp, r8d, r9d, r10d, r11d, r12d, r13d, r14d, r15d
    mov %rsp, %rdi
.endm
.macro CLEAR regs:vararg
    .irp reg, \regs
    xor %\reg, %\reg
    .endr
.endm
.macro CLEAR_REST
    CLEAR eax, ecx, edx, esi
.endm

/* Leaves the flags alone. */
.macro RESTORE_GPRS
    .irp reg, r15, r14, r13, r12, rbp, rbx, r11, r10, r9, r8, rax, rcx, rdx, rsi, rdi
    pop %\reg
    .endr
.endm

/* What an interrupt would have pushed, but for rsp and cs. */
.macro STORE_FRAME
    movq $SEL_GUEST_DS, REGS_SS(%rdi)
    mov REGS_RCX(%rdi), %rax
    mov %rax, REGS_RIP(%rdi)
    mov REGS_R11(%rdi), %rax
    mov %rax, REGS_RFLAGS(%rdi)
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
    cld /* of the flags an interrupt brings along, DF and AC are a guest's */
    PATCHED PATCH_SMAP, 3, clac
    testb $3, REGS_CS(%rdi)
    jz 1f
    JUMP_WITH PATCH_XPTI, trap_guest
    mov REGS_VECTOR(%rdi), %eax
    cmp $14, %eax
    je short_page_fault
    cmp $6, %eax
    je short_undefined
    .globl trap_guest
trap_guest: /* rdi and rsp are at guest_regs */
    CLEAR_REST
    ENTER_C
    call trap_from_guest
    jmp exit_to_guest
1:  CLEAR_REST
    LOAD_FULL_TABLES /* a faulting IRETQ has left them */
    call trap_from_hyp
    jmp trap_return

trap_ist:
    SAVE_GPRS
    cld
    PATCHED PATCH_SMAP, 3, clac
    CLEAR_REST
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
 * around it; only the jump at the end of each is corrected. DF and AC are clear. */
#define GUEST_REGS(offset) \
    (syscall_stub + STACK_BYTES - CPU_INFO_BYTES + (offset) - PERCPU_STUB)(%rip)
.macro SYSCALL_STUB entry
    mov %rsp, GUEST_REGS(REGS_RSP)
    lea GUEST_REGS(REGS_ERROR), %rsp
    .byte 0xe9 /* jmp */
    .long \entry - . - 4
.endm
    .globl syscall_stub, syscall_compat_stub, syscall_stubs_end
syscall_stub:
    SYSCALL_STUB syscall_entry
syscall_compat_stub:
    SYSCALL_STUB syscall_compat_entry
syscall_stubs_end:

syscall_compat_entry:
    SAVE_GPRS
    movq $SEL_GUEST_CS32, REGS_CS(%rdi)
    jmp 1f
syscall_entry:
    SAVE_GPRS
    movl $VECTOR_SYSCALL, REGS_VECTOR(%rdi)
    JUMP_WITH PATCH_XPTI, syscall_long
    jmp short_syscall
syscall_long:
    movq $SEL_GUEST_CS64, REGS_CS(%rdi)
1:  movl $VECTOR_SYSCALL, REGS_VECTOR(%rdi)
    STORE_FRAME
    CLEAR_REST
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
    jne iret_exit
    /* A hypercall returns the way it came; C has made sure that rip is canonical and that cs and
     * ss are the flat selectors SYSRET loads. */
    mov 8(%rsp), %rcx
    mov 24(%rsp), %r11
    mov 32(%rsp), %rsp
    sysretq
iret_exit:
    add $8, %rsp
iret_to_guest:
    iretq

/* ---- the short ways ----
 *
 * What guests do most, done without C and with the same result as upcall_syscall() or
 * upcall_guest_trap() and then upcall_exit(). Each looks first whether its case is the plain one;
 * if not, nothing has been changed, or it is undone, and the long way is taken. Deferred work need
 * not be looked for: other pcpus that ask for some send an interrupt, which comes right after the
 * return, and nothing here makes any. Not with page-table isolation.
 *
 * SAFETY: here are neither indirect branches nor returns, no register is used before it has been
 * loaded here, and all are cleared before C runs.
 *
 * Throughout: rdi and rsp at guest_regs; rcx the vCPU; rsi its vcpu_info; ebx when it came in; r15d
 * whether its mode has been switched.
 */

/* An access to guest memory, between stac and clac. */
.macro GUEST insn:vararg
775: \insn
    .pushsection __ex_table, "a"
    .balign 8
    .quad 775b, short_fault
    .popsection
.endm
.macro STAMP
    rdtsc
    mov %eax, %ebx
.endm
/* Between the guest's kernel (1) and user mode (0), as set_mode() and tlb.c do it. Uses rax, r8,
 * r12. */
.macro SWITCH_MODE kernel
    movb $\kernel, VCPU_KERNEL_MODE(%rcx)
    swapgs
    mov CPU_INFO_TABLES + 8 * \kernel(%rdi), %rax
    cmp %rax, CPU_INFO_CR3(%rdi)
    je 776f
    mov %rax, CPU_INFO_CR3(%rdi)
    mov tlb_clock(%rip), %r8d
    mov %rax, %cr3
    mov CPU_INFO_LAST_FLUSH(%rdi), %rax
    mov %r8d, %r12d
    xchg %r12d, (%rax)
    cmp %r8d, tlb_clock(%rip)
    jae 776f
    movl $0, (%rax) /* it has wrapped */
776:
.endm
/* Without a vcpu_info, or with an event to deliver, the long way. */
.macro LOAD_VCPU otherwise
    mov CPU_INFO_CURRENT(%rdi), %rcx
    mov VCPU_INFO(%rcx), %rsi
    test %rsi, %rsi
    jz \otherwise
.endm
.macro NO_EVENT otherwise
    cmpb $0, INFO_PENDING(%rsi)
    jne \otherwise
.endm

short_syscall: /* rax: its number, of a hypercall or not */
    LOAD_VCPU syscall_long
    cmpb $0, VCPU_KERNEL_MODE(%rcx)
    je short_user_syscall
    cmp $23, %rax
    je short_iret
    NO_EVENT short_event_masked
short_call:
    cmpq $0, REGS_RCX(%rdi) /* in the upper half what comes next is canonical */
    jns syscall_long
    cmp $32, %rax
    je short_event_send
    cmp $3, %rax
    je short_stack_switch
    cmp $17, %rax
    jne short_hypercall
    cmpl $0, REGS_RDI(%rdi) /* XENVER_version, by which guests also ask for their events */
    jne short_hypercall
    STAMP
    movq $XEN_VERSION_WORD, REGS_RAX(%rdi)
    jmp short_sysret
short_hypercall:
    STORE_FRAME
    movq $SEL_GUEST_CS64, REGS_CS(%rdi)
    mov %rcx, %rsi
    CLEAR eax, ecx, edx
    ENTER_C
    call upcall_hypercall
    test %al, %al
    jz exit_to_guest
    add $0x1000 - CPU_INFO_BYTES, %rsp
    jmp short_sysret_counted
short_event_masked:
    cmpb $0, INFO_MASK(%rsi)
    jne short_call
    jmp syscall_long
short_event_send:
    cmpl $4, REGS_RDI(%rdi) /* EVTCHNOP_send */
    jne short_hypercall
    STAMP
    mov REGS_RSI(%rdi), %rdx
    cmp short_lowest(%rip), %rdx
    jb short_not
    PATCHED PATCH_SMAP, 3, stac
    GUEST mov (%rdx), %esi
    PATCHED PATCH_SMAP, 3, clac
    mov %rcx, %rdi
    CLEAR edx
    ENTER_C
    call upcall_event_send
    add $0x1000 - CPU_INFO_BYTES, %rsp
    mov CPU_INFO_CURRENT(%rsp), %rcx
    mov %rax, REGS_RAX(%rsp)
    test %rax, %rax
    jle short_sysret
    mov %rsp, %rdi /* somebody has been told: there may be work to do */
    movq $0, REGS_RAX(%rdi)
    STORE_FRAME
    movq $SEL_GUEST_CS64, REGS_CS(%rdi)
    rdtsc
    sub %ebx, %eax
    add %rax, VCPU_SYSTEM(%rcx)
    and $-0x1000, %rsp
    call upcall_enter
    jmp exit_to_guest
short_stack_switch:
    STAMP
    movzwl REGS_RDI(%rdi), %eax
    or $3, %eax
    mov %rax, VCPU_KERNEL_SS(%rcx)
    mov REGS_RSI(%rdi), %rax
    mov %rax, VCPU_KERNEL_SP(%rcx)
    movq $0, REGS_RAX(%rdi)
short_sysret: /* with rip and flags in rcx's and r11's places */
    rdtsc
    sub %ebx, %eax /* less than 2^32 ticks */
    add %rax, VCPU_SYSTEM(%rcx)
short_sysret_counted:
    RESTORE_GPRS
    PATCHED PATCH_VERW, 5, verw CPU_INFO_VERW-REGS_ERROR(%rsp)
    mov REGS_RSP-REGS_ERROR(%rsp), %rsp
    sysretq

short_user_syscall:
    NO_EVENT syscall_long
    mov VCPU_SYSCALL(%rcx), %r9
    test %r9, %r9
    jz short_not
    cmpb $0, VCPU_SYSCALL + 8(%rcx) /* always masks events where this is worth while */
    je short_not
    STAMP
    STORE_FRAME
    mov $SEL_GUEST_CS64, %r11d
    mov $~0x74500, %r14d /* flags the handler starts without: AC, VM, RF, NT, TF; DF */
    mov $4, %r13d
    jmp short_from_user

short_page_fault:
    LOAD_VCPU trap_guest
    NO_EVENT trap_guest
    STAMP
    mov %cr2, %rax
    mov %rax, %rdx
    sar $43, %rdx
    cmp $-16, %rdx /* in the hypervisor's range; may be about an LDT */
    je short_not
    mov REGS_ERROR(%rdi), %r10d
    and $~0xc, %r10d /* U and RSVD */
    cmpb $0, VCPU_KERNEL_MODE(%rcx)
    je 1f
    mov %r10d, %edx
    and $3, %edx
    cmp $3, %edx /* may be a write to a page table */
    je short_not
    sub $4, %r10d
1:  add $4, %r10d
    mov %rax, INFO_CR2(%rsi)
    mov $14 * 16, %ebp
    jmp short_exception

short_undefined:
    LOAD_VCPU trap_guest
    NO_EVENT trap_guest
    STAMP
    mov REGS_RIP(%rdi), %rax
    PATCHED PATCH_SMAP, 3, stac
    GUEST cmpl $0x65780b0f, (%rax) /* may ask for the hypervisor's CPUID: ud2, "xen" */
    PATCHED PATCH_SMAP, 3, clac
    je short_not
    mov $6 * 16, %ebp

/* rbp: of which gate; r10d: the error code. */
short_exception:
    mov VCPU_TRAP + TRAP_ADDRESS(%rcx, %rbp), %r9
    test %r9, %r9
    jz short_not
    movzbl VCPU_TRAP + TRAP_FLAGS(%rcx, %rbp), %r13d
    movzwl REGS_CS(%rdi), %r11d
    mov $~0x74100, %r14d
    cmpb $0, VCPU_KERNEL_MODE(%rcx)
    je short_from_user
    and $~3, %r11d
    mov REGS_RSP(%rdi), %rdx
    and $-16, %rdx
    cmp short_lowest(%rip), %rdx
    jb short_not
    jmp 1f
/* r9: where to; r11d: cs to show; r13d bit 2: events are to be masked; r14d: flags that stay. */
short_from_user:
    mov VCPU_KERNEL_SP(%rcx), %rdx
    and $-16, %rdx
    cmp short_lowest(%rip), %rdx
    jb short_not
    SWITCH_MODE 1
    inc %r15d
1:  PATCHED PATCH_SMAP, 3, stac
    movzwl REGS_SS(%rdi), %eax
    GUEST mov %rax, -8(%rdx)
    mov REGS_RSP(%rdi), %rax
    GUEST mov %rax, -16(%rdx)
    movzbl INFO_MASK(%rsi), %r8d
    cmp $1, %r8d
    sbb %eax, %eax /* ones unless masked */
    and $0x200, %eax
    or VCPU_SHOWN_IOPL(%rcx), %eax
    mov REGS_RFLAGS(%rdi), %r12d
    and %r12d, %r14d /* what the handler starts with */
    and $~0x3200, %r12d
    or %r12, %rax
    GUEST mov %rax, -24(%rdx)
    GUEST mov %r8d, -28(%rdx)
    GUEST mov %r11d, -32(%rdx)
    mov REGS_RIP(%rdi), %rax
    GUEST mov %rax, -40(%rdx)
    cmp $14 * 16, %ebp
    jne 2f
    GUEST mov %r10, -48(%rdx)
    sub $8, %rdx
2:  mov REGS_R11(%rdi), %rax
    GUEST mov %rax, -48(%rdx)
    mov REGS_RCX(%rdi), %rax
    GUEST mov %rax, -56(%rdx)
    PATCHED PATCH_SMAP, 3, clac
    sub $56, %rdx
    test $4, %r13d
    jz 3f
    movb $1, INFO_MASK(%rsi)
3:  mov %rdx, REGS_RSP(%rdi)
    test %ebp, %ebp
    jz 4f
    movzwl VCPU_TRAP + TRAP_CS(%rcx, %rbp), %eax
    or $3, %eax
    cmp $SEL_GUEST_CS64, %eax
    jne 5f /* SYSRET loads that one only */
4:  mov %r9, REGS_RCX(%rdi) /* a handler finds rcx and r11 in its frame */
    mov %r14, REGS_R11(%rdi)
    jmp short_sysret
5:  mov %rax, REGS_CS(%rdi)
    movq $SEL_GUEST_DS, REGS_SS(%rdi)
    mov %r9, REGS_RIP(%rdi)
    mov %r14, REGS_RFLAGS(%rdi)
    jmp short_iretq

short_iret:
    STAMP
    mov REGS_RSP(%rdi), %rdx
    cmp short_lowest(%rip), %rdx
    jb short_not
    PATCHED PATCH_SMAP, 3, stac
    GUEST mov (%rdx), %rax
    GUEST mov 8(%rdx), %r14
    GUEST mov 16(%rdx), %r13
    GUEST mov 24(%rdx), %r8
    GUEST mov 32(%rdx), %r9
    GUEST mov 40(%rdx), %r10d
    GUEST mov 48(%rdx), %r11d
    GUEST mov 56(%rdx), %rbp
    GUEST mov 64(%rdx), %edx
    PATCHED PATCH_SMAP, 3, clac
    test $0x100, %r8d /* VGCF_in_syscall */
    jnz short_not
    mov %r9, %r8
    sar $47, %r8
    add $1, %r8
    cmp $1, %r8
    ja short_not /* rip is not canonical */
    test $0x200, %r11d
    jz 1f
    NO_EVENT short_not
1:  mov %r10d, %r8d
    and $3, %r8d
    cmp $3, %r8d
    jne 2f
    cmpq $0, CPU_INFO_TABLES(%rdi)
    je short_not
    mov %rax, REGS_RAX(%rdi)
    SWITCH_MODE 0
    jmp 3f
2:  mov %rax, REGS_RAX(%rdi)
3:  mov %r14, REGS_R11(%rdi)
    mov %r13, REGS_RCX(%rdi)
    mov %r9, REGS_RIP(%rdi)
    or $3, %r10d
    mov %r10, REGS_CS(%rdi)
    bt $9, %r11d
    setnc INFO_MASK(%rsi)
    and $0x258fff, %r11d /* as trap_fix_flags() */
    or $0x202, %r11d
    mov %r11, REGS_RFLAGS(%rdi)
    mov %rbp, REGS_RSP(%rdi)
    or $3, %edx
    mov %rdx, REGS_SS(%rdi)
short_iretq:
    rdtsc
    sub %ebx, %eax
    add %rax, VCPU_SYSTEM(%rcx)
    RESTORE_GPRS
    PATCHED PATCH_VERW, 5, verw CPU_INFO_VERW-REGS_ERROR(%rsp)
    jmp iret_exit

short_fault: /* the long way will find it, too, and say so */
    PATCHED PATCH_SMAP, 3, clac
    test %r15d, %r15d
    jz short_not
    SWITCH_MODE 0
short_not:
    CLEAR ebx, ebp, r8d, r9d, r10d, r11d, r12d, r13d, r14d, r15d
    cmpl $VECTOR_SYSCALL, REGS_VECTOR(%rdi)
    je syscall_long
    jmp trap_guest

    .balign 8
    .globl short_lowest
short_lowest: /* of a guest's kernel stack, for a frame on either side */
    .quad HYP_VIRT_END + 0x100

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
