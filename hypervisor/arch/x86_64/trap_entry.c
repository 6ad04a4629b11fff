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

_Static_assert(offsetof(struct cpu_user_regs, rax) == 80, "entry.S");
_Static_assert(offsetof(struct cpu_user_regs, rdi) == 112, "entry.S");
_Static_assert(offsetof(struct cpu_user_regs, entry_vector) == 124, "entry.S");
_Static_assert(offsetof(struct cpu_user_regs, ss) == 160, "entry.S");
_Static_assert(sizeof(struct cpu_user_regs) == 200, "entry.S");
_Static_assert(sizeof(struct cpu_info) == 216, "entry.S");

#define VECTOR_SYSCALL 0x100
#define IST_FATAL 1
#define IST_NMI 2
#define IST_DEBUG 3

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

static void wrmsr(uint32_t msr, uint64_t value)
{
    __asm__ volatile("wrmsr" ::"c"(msr), "a"((uint32_t)value), "d"((uint32_t)(value >> 32)));
}

static void idt_fill(void)
{
    for (unsigned v = 0; v < 256; v++) {
        uint64_t address = trap_entry_table[v];
        unsigned ist = 0;
        if (v == TRAP_DF || v == TRAP_MC) {
            ist = IST_FATAL;
        } else if (v == TRAP_NMI) {
            ist = IST_NMI;
        } else if (v == TRAP_DB) {
            ist = IST_DEBUG;
        }
        /* INT3 and INTO are user instructions; every other INT n faults and is decoded. */
        unsigned dpl = (v == TRAP_BP || v == TRAP_OF) ? 3 : 0;
        idt[v] = (struct idt_gate){
            .offset_low = (uint16_t)address,
            .selector = SEL_HYP_CS,
            .ist = (uint8_t)ist,
            .type = (uint8_t)(0x8e | dpl << 5),
            .offset_mid = (uint16_t)(address >> 16),
            .offset_high = (uint32_t)(address >> 32),
        };
    }
}

static void system_descriptor(uint64_t *slot, uint64_t base, uint32_t limit, unsigned type)
{
    slot[0] = (limit & 0xffff) | (base & 0xffffff) << 16 | (uint64_t)(0x80 | type) << 40 |
              (uint64_t)(limit >> 16 & 0xf) << 48 | (base >> 24 & 0xff) << 56;
    slot[1] = base >> 32;
}

void ldt_descriptor_set(unsigned cpu, unsigned entries)
{
    uint64_t block = PERCPU_START + (uint64_t)cpu * PERCPU_STRIDE;
    uint64_t *gdt = (uint64_t *)(block + PERCPU_GDT);
    uint16_t sel = 0;
    if (entries) {
        system_descriptor(&gdt[SEL_LDT / 8], block + PERCPU_LDT, entries * 8 - 1, 2);
        sel = SEL_LDT;
    }
    __asm__ volatile("lldt %0" ::"r"(sel) : "memory");
}

/* The stub saves rsp, switches to guest_regs and pushes what an interrupt would have. Written
 * through the direct map: the page itself is mapped read-execute. */
static uint8_t *stub_emit(uint8_t *out, uint64_t at, uint64_t block, uint32_t cs,
                          void (*target)(void))
{
    uint64_t save = block + PERCPU_TSS + 0x800;
    uint64_t top =
        block + STACK_BYTES - sizeof(struct cpu_info) + offsetof(struct cpu_user_regs, es);
    uint8_t *p = out;
#define HERE (at + (uint64_t)(p - out))
#define REL32(to)                                                                                  \
    do {                                                                                           \
        int32_t rel = (int32_t)((to) - (HERE + 4));                                                \
        memcpy(p, &rel, 4);                                                                        \
        p += 4;                                                                                    \
    } while (0)
#define BYTES(...)                                                                                 \
    do {                                                                                           \
        static const uint8_t code[] = {__VA_ARGS__};                                               \
        memcpy(p, code, sizeof(code));                                                             \
        p += sizeof(code);                                                                         \
    } while (0)
    BYTES(0x48, 0x89, 0x25); /* mov %rsp, save(%rip) */
    REL32(save);
    BYTES(0x48, 0x8d, 0x25); /* lea top(%rip), %rsp */
    REL32(top);
    BYTES(0x68, SEL_GUEST_DS & 0xff, SEL_GUEST_DS >> 8, 0, 0); /* push ss */
    BYTES(0xff, 0x35);                                         /* push save(%rip) */
    REL32(save);
    BYTES(0x41, 0x53); /* push %r11 */
    BYTES(0x68);       /* push cs */
    memcpy(p, &cs, 4);
    p += 4;
    BYTES(0x51);                                           /* push %rcx */
    BYTES(0x6a, 0x00);                                     /* push error code 0 */
    BYTES(0xc7, 0x44, 0x24, 0x04, 0x00, 0x01, 0x00, 0x00); /* movl $VECTOR_SYSCALL, 4(%rsp) */
    BYTES(0xe9);
    REL32((uint64_t)target);
#undef BYTES
#undef REL32
#undef HERE
    return p;
}

static void fast_calls_init(unsigned cpu)
{
    uint64_t block = PERCPU_START + (uint64_t)cpu * PERCPU_STRIDE;
    uint64_t stub = block + PERCPU_STUB;
    uint8_t *page = percpu_stub_page(cpu);
    (void)stub_emit(page, stub, block, SEL_GUEST_CS64, syscall_entry);
    (void)stub_emit(page + 256, stub + 256, block, SEL_GUEST_CS32, syscall_compat_entry);

    wrmsr(MSR_STAR, (uint64_t)SEL_GUEST_CS32 << 48 | (uint64_t)SEL_HYP_CS << 32);
    wrmsr(MSR_LSTAR, stub);
    wrmsr(MSR_CSTAR, stub + 256);
    wrmsr(MSR_SYSCALL_MASK, X86_EFLAGS_IF | X86_EFLAGS_TF | X86_EFLAGS_DF | X86_EFLAGS_NT |
                                X86_EFLAGS_AC | X86_EFLAGS_RF | X86_EFLAGS_IOPL);
}

void traps_init_cpu(unsigned cpu)
{
    uint64_t block = PERCPU_START + (uint64_t)cpu * PERCPU_STRIDE;
    uint64_t *gdt = (uint64_t *)(block + PERCPU_GDT);
    gdt[SEL_HYP_CS / 8] = 0x00af9b000000ffff;
    gdt[SEL_HYP_DS / 8] = 0x00cf93000000ffff;
    gdt[SEL_GUEST_CS32 / 8] = 0x00cffb000000ffff;
    gdt[SEL_GUEST_DS / 8] = 0x00cff3000000ffff;
    gdt[SEL_GUEST_CS64 / 8] = 0x00affb000000ffff;

    struct tss *tss = (struct tss *)(block + PERCPU_TSS);
    memset(tss, 0, sizeof(*tss));
    tss->rsp[0] =
        block + STACK_BYTES - sizeof(struct cpu_info) + offsetof(struct cpu_user_regs, es);
    tss->ist[IST_FATAL - 1] = block + 0x1000;
    tss->ist[IST_NMI - 1] = block + 0x2000;
    tss->ist[IST_DEBUG - 1] = block + 0x3000;
    tss->iomap = sizeof(*tss); /* beyond the limit: no port is open to CPL 3 */
    system_descriptor(&gdt[SEL_TSS / 8], (uint64_t)tss, sizeof(*tss) - 1, 9);

    struct {
        uint16_t limit;
        uint64_t base;
    } packed table = {.limit = 0xffff, .base = (uint64_t)gdt};
    __asm__ volatile("lgdt %0\n\t"
                     "pushq %1\n\t"
                     "leaq 1f(%%rip), %%rax\n\t"
                     "pushq %%rax\n\t"
                     "lretq\n"
                     "1:\n\t"
                     "mov %w2, %%ss\n\t"
                     "xorl %%eax, %%eax\n\t"
                     "mov %%eax, %%ds\n\t"
                     "mov %%eax, %%es\n\t"
                     "mov %%eax, %%fs\n\t"
                     "mov %%eax, %%gs\n\t"
                     "ltr %w3" ::"m"(table),
                     "i"(SEL_HYP_CS), "r"(SEL_HYP_DS), "r"(SEL_TSS)
                     : "rax", "memory");
    if (cpu == 0) {
        idt_fill();
    }
    table.limit = sizeof(idt) - 1;
    table.base = (uint64_t)idt;
    __asm__ volatile("lidt %0" ::"m"(table));
    ldt_descriptor_set(cpu, 0);
    fast_calls_init(cpu);
}

static vaddr_t read_cr2(void)
{
    vaddr_t cr2;
    __asm__ volatile("mov %%cr2, %0" : "=r"(cr2));
    return cr2;
}

void trap_from_guest(struct cpu_user_regs *regs);
void trap_from_guest(struct cpu_user_regs *regs)
{
    if (regs->entry_vector >= 32) {
        irq_dispatch(regs->entry_vector);
        return;
    }
    upcall_guest_trap(regs, regs->entry_vector == TRAP_PF ? read_cr2() : 0);
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

void trap_from_hyp(struct cpu_user_regs *regs);
void trap_from_hyp(struct cpu_user_regs *regs)
{
    if (regs->entry_vector >= 32) {
        irq_dispatch(regs->entry_vector);
        return;
    }
    vaddr_t cr2 = regs->entry_vector == TRAP_PF ? read_cr2() : 0;
    if (regs->entry_vector == TRAP_PF && upcall_hyp_fault(regs, cr2)) {
        return;
    }
    if (fixed_by_table(regs)) {
        return;
    }
    panic_regs(regs, "unexpected exception in the hypervisor");
}

void trap_on_ist(struct cpu_user_regs *regs);
void trap_on_ist(struct cpu_user_regs *regs)
{
    switch (regs->entry_vector) {
    case TRAP_NMI:
        printk("NMI on cpu %u at %lx, ignored\n", arch_cpu_id(), regs->rip);
        return;
    case TRAP_DB:
        /* A guest's breakpoint or single step that `mov ss` carried across its syscall. */
        __asm__ volatile("mov %0, %%dr6" ::"r"(0xffff0ff0UL));
        return;
    default:
        panic_regs(regs, regs->entry_vector == TRAP_DF ? "double fault" : "machine check");
    }
}
