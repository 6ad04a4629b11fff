// SPDX-License-Identifier: MIT
/*
 * The last words: message, registers, backtrace with names from the table that the second link
 * puts in, then restart or stop as the command line says. Uses nothing that could fail again; a
 * panic within the panic stops at once.
 */
#include "asm.h"
#include "base/assert.h"
#include "base/cmdline.h"
#include "base/lock.h"
#include "base/log.h"
#include "machine.h"

#define FRAMES_MAX 32
#define STACK_WORDS 16

/* From scripts/symbols.awk: sorted by offset. */
extern const struct symbol {
    uint32_t offset; /* from the start of the image */
    uint32_t name;   /* in symbol_names */
} symbol_table[];
extern const uint64_t symbol_count;
extern const char symbol_names[];

static bool panicking;

static void print_code_address(uint64_t rip)
{
    uint64_t offset = rip - HYP_IMAGE_START, i = 0;
    while (i < symbol_count && symbol_table[i].offset <= offset) {
        i++;
    }
    if (i && rip >= (uint64_t)__image_start && rip < (uint64_t)__text_end) {
        const struct symbol *s = &symbol_table[i - 1];
        printk("  %016lx %s+0x%lx\n", rip, symbol_names + s->name, offset - s->offset);
    } else {
        printk("  %016lx\n", rip);
    }
}

/* The word at `address` may be read: it is in the stack block this CPU runs on. */
static bool on_stack(uint64_t address)
{
    uint64_t block = (uint64_t)__builtin_frame_address(0) & ~(STACK_BYTES - 1UL);
    uint64_t offset = address - block;
    unsigned pages = block >= PERCPU_START ? PERCPU_STACK_PAGES : ~0u; /* or the start-up stack */
    return !(address & 7) && offset < STACK_BYTES && (pages >> (offset >> PAGE_SHIFT) & 1);
}

static void backtrace_from(uint64_t rbp, uint64_t rip)
{
    printk("Backtrace:\n");
    print_code_address(rip);
    for (unsigned i = 0; i < FRAMES_MAX && on_stack(rbp) && on_stack(rbp + 8); i++) {
        const uint64_t *frame = (const uint64_t *)rbp;
        if (frame[1]) {
            print_code_address(frame[1]);
        }
        if (!frame[1] || frame[0] <= rbp) {
            break; /* frames only lead upwards */
        }
        rbp = frame[0];
    }
}

static void print_regs(const struct cpu_user_regs *regs)
{
    uint64_t cr0, cr2, cr3, cr4;
    __asm__("mov %%cr0, %0; mov %%cr2, %1; mov %%cr3, %2; mov %%cr4, %3"
            : "=r"(cr0), "=r"(cr2), "=r"(cr3), "=r"(cr4));
    log_regs(regs);
    printk("cr0 %08lx cr2 %016lx cr3 %016lx cr4 %08lx\n", cr0, cr2, cr3, cr4);
}

static void print_stack(uint64_t rsp)
{
    printk("Stack from %016lx:", rsp);
    for (unsigned i = 0; i < STACK_WORDS && on_stack(rsp + 8 * i); i++) {
        printk("%s%016lx", i % 4 ? " " : "\n  ", ((const uint64_t *)rsp)[i]);
    }
    printk("\n");
}

static void begin(void)
{
    if (__atomic_test_and_set(&panicking, __ATOMIC_SEQ_CST)) {
        cpu_stop();
    }
    smp_stop_others();
    log_panic_mode();
    printk("\nPANIC on CPU %u: ", arch_cpu_id());
}

static noreturn void finish(void)
{
    spin_report_held();
    for (unsigned cpu = 0; cpu < arch_facts.cpus_online; cpu++) {
        if (cpu != arch_cpu_id()) {
            printk("CPU %u %s\n", cpu, smp_stopped_at[cpu] ? "was at" : "does not answer");
            print_code_address(smp_stopped_at[cpu]);
        }
    }
    if (cmdline.noreboot) {
        printk("Stopped, as the option noreboot says.\n");
        arch_halt();
    }
    printk("Restarting in %lu seconds.\n", cmdline.panic);
    clock_delay_ms(cmdline.panic * 1000);
    arch_reboot();
}

void panic(const char *fmt, ...)
{
    va_list ap;
    begin();
    va_start(ap, fmt);
    vprintk(fmt, ap);
    va_end(ap);
    printk("\n");
    uint64_t caller = *(const uint64_t *)__builtin_frame_address(0);
    backtrace_from(caller, (uint64_t)__builtin_return_address(0));
    finish();
}

void panic_regs(const struct cpu_user_regs *regs, const char *what)
{
    begin();
    printk("%s\n", what);
    print_regs(regs);
    print_stack(regs->rsp);
    backtrace_from(regs->rbp, regs->rip);
    finish();
}
