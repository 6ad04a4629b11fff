// SPDX-License-Identifier: MIT
/*
 * From the entry stubs to the upcalls: sets up the IDT, the hypervisor's tail of the GDT, the TSS
 * and the syscall stubs of a CPU, and sorts exceptions into the guest's, the hypervisor's expected
 * ones (exception table) and fatal ones. No locks.
 */
#include "arch/upcalls.h"
#include "asm.h"
#include "base/assert.h"
#include "base/log.h"
#include "base/string.h"
#include "machine.h"
#include "pv-abi/abi.h"

_Static_assert(offsetof(struct cpu_user_regs, r11) == REGS_R11, "asm.h");
_Static_assert(offsetof(struct cpu_user_regs, rax) == REGS_RAX, "asm.h");
_Static_assert(offsetof(struct cpu_user_regs, rcx) == REGS_RCX, "asm.h");
_Static_assert(offsetof(struct cpu_user_regs, rsi) == REGS_RSI, "asm.h");
_Static_assert(offsetof(struct cpu_user_regs, rdi) == REGS_RDI, "asm.h");
_Static_assert(offsetof(struct cpu_user_regs, error_code) == REGS_ERROR, "asm.h");
_Static_assert(offsetof(struct cpu_user_regs, entry_vector) == REGS_VECTOR, "asm.h");
_Static_assert(offsetof(struct cpu_user_regs, cs) == REGS_CS, "asm.h");
_Static_assert(offsetof(struct cpu_user_regs, rip) == REGS_RIP, "asm.h");
_Static_assert(offsetof(struct cpu_user_regs, rflags) == REGS_RFLAGS, "asm.h");
_Static_assert(offsetof(struct cpu_user_regs, rsp) == REGS_RSP, "asm.h");
_Static_assert(offsetof(struct cpu_user_regs, ss) == REGS_SS, "asm.h");
_Static_assert(offsetof(struct cpu_user_regs, es) == REGS_ES, "asm.h");
_Static_assert(offsetof(struct cpu_info, current) == CPU_INFO_CURRENT, "asm.h");
_Static_assert(offsetof(struct cpu_info, tables) == CPU_INFO_TABLES, "asm.h");
_Static_assert(offsetof(struct cpu_info, last_flush) == CPU_INFO_LAST_FLUSH, "asm.h");
_Static_assert(offsetof(struct trap_info, flags) == TRAP_FLAGS, "asm.h");
_Static_assert(offsetof(struct trap_info, cs) == TRAP_CS, "asm.h");
_Static_assert(offsetof(struct trap_info, address) == TRAP_ADDRESS, "asm.h");
_Static_assert(offsetof(struct vcpu_info, evtchn_upcall_mask) == INFO_MASK, "asm.h");
_Static_assert(offsetof(struct vcpu_info, arch.cr2) == INFO_CR2, "asm.h");
_Static_assert(sizeof(struct cpu_info) == CPU_INFO_BYTES, "asm.h");
_Static_assert(offsetof(struct cpu_info, verw) == CPU_INFO_VERW, "asm.h");
_Static_assert(offsetof(struct cpu_info, cr3) == CPU_INFO_CR3, "asm.h");

/* entry.S */
extern const uint8_t trap_stubs[256][TRAP_STUB_BYTES];
extern const uint8_t syscall_stub[], syscall_compat_stub[], syscall_stubs_end[];
void trap_guest(void);
void exit_to_guest(void);
void iret_to_guest(void);
void failsafe_to_guest(void);
/* and what it calls */
void trap_from_guest(struct cpu_user_regs *regs);
void trap_from_hyp(struct cpu_user_regs *regs);
void trap_on_ist(struct cpu_user_regs *regs);

enum { IST_DF = 1, IST_MC, IST_NMI, IST_DEBUG };

struct idt_gate {
    uint16_t offset_low, selector;
    uint8_t ist, type;
    uint16_t offset_mid;
    uint32_t offset_high, zero;
} packed;

struct tss {
    uint32_t pad0;
    uint64_t rsp[3], pad1, ist[7], pad2;
    uint16_t pad3, iomap;
} packed;

static struct idt_gate idt[256] __attribute__((aligned(4096)));

vaddr_t trap_idt(void)
{
    return (vaddr_t)idt;
}

void trap_gate_set(unsigned vector, vaddr_t address)
{
    static const uint8_t ist[256] = {
        [TRAP_DF] = IST_DF, [TRAP_MC] = IST_MC, [TRAP_NMI] = IST_NMI, [TRAP_DB] = IST_DEBUG};
    /* INT3 and INTO are user instructions; every other INT n faults and is decoded. */
    unsigned dpl = (vector == TRAP_BP || vector == TRAP_OF) ? 3 : 0;
    address = address ?: (vaddr_t)trap_stubs[vector];
    idt[vector] = (struct idt_gate){
        .offset_low = (uint16_t)address,
        .selector = SEL_HYP_CS,
        .ist = ist[vector],
        .type = (uint8_t)(0x8e | dpl << 5),
        .offset_mid = (uint16_t)(address >> 16),
        .offset_high = (uint32_t)(address >> 32),
    };
}

static void system_descriptor(uint64_t *slot, uint64_t base, uint32_t limit, unsigned type)
{
    slot[0] = (limit & 0xffff) | (base & 0xffffff) << 16 | (uint64_t)(0x80 | type) << 40 |
              (uint64_t)(limit >> 16 & 0xf) << 48 | (base >> 24 & 0xff) << 56;
    slot[1] = base >> 32;
}

void ldt_descriptor_set(unsigned entries)
{
    uint64_t *gdt = (uint64_t *)(percpu_block() + PERCPU_GDT);
    if (entries) {
        system_descriptor(&gdt[SEL_LDT / 8], percpu_block() + PERCPU_LDT, entries * 8 - 1, 2);
    }
    __asm__ volatile("lldt %w0" ::"r"(entries ? SEL_LDT : 0) : "memory");
}

void syscall_stub_write(uint8_t *page, vaddr_t stub)
{
    uint64_t compat_offset = (uint64_t)(syscall_compat_stub - syscall_stub);
    uint64_t end_offset = (uint64_t)(syscall_stubs_end - syscall_stub);
    memcpy(page, syscall_stub, end_offset);
    typedef int32_t __attribute__((aligned(1), may_alias)) distance;
    distance *jump = (distance *)(page + compat_offset) - 1;
    distance *compat_jump = (distance *)(page + end_offset) - 1;
    *jump += (int32_t)((uint64_t)syscall_stub - stub);
    *compat_jump += (int32_t)((uint64_t)syscall_stub - stub);
}

static void fast_calls_init(void)
{
    uint64_t stub = percpu_block() + PERCPU_STUB;
    wrmsr(MSR_STAR, (uint64_t)SEL_GUEST_CS32 << 48 | (uint64_t)SEL_HYP_CS << 32);
    wrmsr(MSR_LSTAR, stub);
    wrmsr(MSR_CSTAR, stub + (uint64_t)(syscall_compat_stub - syscall_stub));
    wrmsr(MSR_SYSCALL_MASK, X86_EFLAGS_IF | X86_EFLAGS_TF | X86_EFLAGS_DF | X86_EFLAGS_NT |
                                X86_EFLAGS_AC | X86_EFLAGS_RF | X86_EFLAGS_IOPL);
}

void traps_init_cpu(unsigned cpu)
{
    uint64_t block = percpu_block();
    uint64_t *gdt = (uint64_t *)(block + PERCPU_GDT);
    gdt[SEL_HYP_CS / 8] = 0x00af9b000000ffff;
    gdt[SEL_HYP_DS / 8] = 0x00cf93000000ffff;
    gdt[SEL_GUEST_CS32 / 8] = 0x00cffb000000ffff;
    gdt[SEL_GUEST_DS / 8] = 0x00cff3000000ffff;
    gdt[SEL_GUEST_CS64 / 8] = 0x00affb000000ffff;

    struct tss *tss = (struct tss *)(block + PERCPU_TSS);
    *tss = (struct tss){
        .rsp[0] = (uint64_t)&guest_regs()->es,
        .ist = {block + PERCPU_IST_TOP(IST_DF), block + PERCPU_IST_TOP(IST_MC),
                block + PERCPU_IST_TOP(IST_NMI), block + PERCPU_IST_TOP(IST_DEBUG)},
        .iomap = sizeof(*tss), /* beyond the limit: no port is open to CPL 3 */
    };
    system_descriptor(&gdt[SEL_TSS / 8], (uint64_t)tss, sizeof(*tss) - 1, 9);
    if (cpu == 0) {
        for (unsigned v = 0; v < 256; v++) {
            trap_gate_set(v, 0);
        }
    }
    struct table_pointer gdtr = {.limit = 0xffff, .base = (uint64_t)gdt};
    struct table_pointer idtr = {.limit = sizeof(idt) - 1, .base = (uint64_t)idt};
    __asm__ volatile("lgdt %0\n\t"
                     "lidt %1\n\t"
                     "ltr %w2\n\t"
                     "mov %w3, %%ss\n\t"
                     "mov %k4, %%ds\n\t"
                     "mov %k4, %%es\n\t"
                     "mov %k4, %%fs\n\t"
                     "mov %k4, %%gs\n\t"
                     "pushq %5\n\t"
                     "leaq 1f(%%rip), %%rax\n\t"
                     "pushq %%rax\n\t"
                     "lretq\n"
                     "1:" ::"m"(gdtr),
                     "m"(idtr), "r"(SEL_TSS), "r"(SEL_HYP_DS), "r"(0), "i"(SEL_HYP_CS)
                     : "rax", "memory");
    ldt_descriptor_set(0);
    cpu_info()->verw = SEL_HYP_DS;
    fast_calls_init();
}

void arch_exit_to_guest(void)
{
    jump_to_stack(guest_regs(), exit_to_guest);
}

void trap_from_guest(struct cpu_user_regs *regs)
{
    if (regs->entry_vector >= 32) {
        upcall_enter();
        irq_dispatch(regs->entry_vector);
        return;
    }
    upcall_guest_trap(regs, regs->entry_vector == TRAP_PF ? READ_CR(2) : 0);
}

static bool fixed_by_table(struct cpu_user_regs *regs)
{
    for (const struct ex_entry *e = __ex_table_start; e < __ex_table_end; e++) {
        if (e->fault_ip == regs->rip) {
            regs->rip = e->fixup_ip;
            return true;
        }
    }
    return false;
}

void trap_from_hyp(struct cpu_user_regs *regs)
{
    if (regs->entry_vector >= 32) {
        irq_dispatch(regs->entry_vector);
        return;
    }
    if (regs->rip == (uint64_t)iret_to_guest) {
        /* A faulting IRETQ to a guest is the guest's fault. The frame of the fault lies over the
         * lower part of guest_regs, whose general registers were already back in the processor:
         * they are what SAVE_GPRS has just stored, to be moved up into guest_regs. */
        memmove(guest_regs(), regs, offsetof(struct cpu_user_regs, error_code));
        jump_to_stack(guest_regs(), failsafe_to_guest);
    }
    if (regs->entry_vector == TRAP_PF && upcall_hyp_fault(READ_CR(2))) {
        return;
    }
    if (!fixed_by_table(regs)) {
        panic_regs(regs, "unexpected exception in the hypervisor");
    }
}

void trap_on_ist(struct cpu_user_regs *regs)
{
    switch (regs->entry_vector) {
    case TRAP_NMI:
        /* Nothing is printed here: what was interrupted may hold the log's lock. */
        smp_stop_check(regs->rip);
        if (upcall_nmi(regs->rflags & X86_EFLAGS_IF)) {
            panic_regs(regs, "this CPU makes no progress");
        }
        return;
    case TRAP_DB:
        /* Has a stack of its own because one that `mov ss` carried across a guest's SYSCALL comes
         * on the first instruction of the stub, with the guest's stack pointer, and is dropped. In
         * guest mode it is a trap like others, of which all but the selectors was pushed. */
        if (regs->cs & 3) {
            memcpy(guest_regs(), regs, REGS_ES);
            jump_to_stack(guest_regs(), trap_guest);
        }
        __asm__ volatile("mov %0, %%dr6" ::"r"(0xffff0ff0UL));
        return;
    default:
        panic_regs(regs, regs->entry_vector == TRAP_DF ? "double fault" : "machine check");
    }
}
