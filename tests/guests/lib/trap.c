/* SPDX-License-Identifier: MIT */
/* Exceptions, events and system calls as C sees them, and trying what may fault. */
#include "lib.h"

bool (*trap_hook)(struct regs *regs);

void entry_c(struct regs *regs);

static _Noreturn void come_back(struct cpu *cpu, const struct regs *regs)
{
    struct fault *f = cpu->fault;
    f->regs = *regs;
    f->vector = (unsigned)regs->vector;
    f->error = regs->error;
    f->cr2 = my_vcpu_info()->arch.cr2;
    f->value = 0;
    if (regs->vector == VEC_SYSCALL && regs->rax == USER_EXIT) {
        f->vector = NO_FAULT;
        f->value = regs->rdi;
    }
    context_jump(&cpu->recover, 1);
}

/* An exception inside of what handles exceptions must not loop. */
static bool lost;

void entry_c(struct regs *regs)
{
    struct cpu *cpu = this_cpu();
    if (regs->vector == VEC_EVENT) {
        event_dispatch();
        return;
    }
    if (trap_hook && trap_hook(regs)) {
        return;
    }
    if (cpu->fault) {
        come_back(cpu, regs);
    }
    if (!lost) {
        lost = true;
        failure("unexpected exception %lu (error %lx) at %lx, rsp %lx, cr2 %lx, vcpu %u",
                regs->vector, regs->error, regs->rip, regs->rsp, my_vcpu_info()->arch.cr2, cpu->id);
    }
}

long trap_set(unsigned vector, const void *handler, unsigned flags)
{
    struct trap_info table[2] = {{.vector = (uint8_t)vector,
                                  .flags = (uint8_t)flags,
                                  .cs = FLAT_KERNEL_CS,
                                  .address = (uint64_t)handler},
                                 {0}};
    return set_trap_table(table);
}

static bool software_vector(unsigned vector)
{
    return vector == VEC_BP || vector == VEC_OF;
}

static long set_callback(uint16_t type, const void *address)
{
    struct callback_register reg = {.type = type, .address = (uint64_t)address};
    return callback_op(CALLBACKOP_register, &reg);
}

void trap_init(void)
{
    static struct trap_info table[33];
    for (unsigned i = 0; i < 32; i++) {
        table[i] = (struct trap_info){.vector = (uint8_t)i,
                                      .flags = software_vector(i) ? 3 : 0,
                                      .cs = FLAT_KERNEL_CS,
                                      .address = (uint64_t)trap_stub(i)};
    }
    NEED_OK(set_trap_table(table));
    NEED_OK(set_callback(CALLBACKTYPE_event, event_entry));
    NEED_OK(set_callback(CALLBACKTYPE_failsafe, failsafe_entry));
    NEED_OK(set_callback(CALLBACKTYPE_syscall, syscall_entry));
}

void trap_fill_context(struct vcpu_guest_context *context)
{
    for (unsigned i = 0; i < 32; i++) {
        context->trap_ctxt[i] = (struct trap_info){.vector = (uint8_t)i,
                                                   .flags = software_vector(i) ? 3 : 0,
                                                   .cs = FLAT_KERNEL_CS,
                                                   .address = (uint64_t)trap_stub(i)};
    }
    context->event_callback_eip = (uint64_t)event_entry;
    context->failsafe_callback_eip = (uint64_t)failsafe_entry;
    context->syscall_callback_eip = (uint64_t)syscall_entry;
}

struct fault try_call(uint64_t (*fn)(uint64_t arg), uint64_t arg)
{
    struct cpu *cpu = this_cpu();
    struct fault result = {.vector = NO_FAULT};
    cpu->fault = &result;
    barrier();
    if (context_save(&cpu->recover) == 0) {
        result.value = fn(arg);
    }
    barrier();
    cpu->fault = NULL;
    return result;
}

struct fault try_user(uint64_t (*fn)(uint64_t arg), uint64_t arg)
{
    struct cpu *cpu = this_cpu();
    struct fault result = {.vector = NO_FAULT};
    uint64_t *stack = &cpu->user_stack[ARRAY_SIZE(cpu->user_stack) - 2];
    *stack = (uint64_t)user_return;
    struct iret_frame frame = {.rip = (uint64_t)fn,
                               .cs = FLAT_KERNEL_CS | 3,
                               .rflags = 0x202,
                               .rsp = (uint64_t)stack,
                               .ss = FLAT_KERNEL_SS | 3};
    /* Well below what this function and its callers have on the stack. */
    NEED_OK(stack_switch(FLAT_KERNEL_SS, (uint64_t)__builtin_frame_address(0) - 4096));
    cpu->fault = &result;
    barrier();
    if (context_save(&cpu->recover) == 0) {
        if (my_vcpu_info()->evtchn_upcall_mask) {
            frame.rflags &= ~0x200UL;
        }
        iret_to(&frame, arg, 0);
    }
    barrier();
    cpu->fault = NULL;
    return result;
}

struct fault try_iret(const struct iret_frame *frame)
{
    struct cpu *cpu = this_cpu();
    struct fault result = {.vector = NO_FAULT};
    struct iret_frame copy = *frame;
    NEED_OK(stack_switch(FLAT_KERNEL_SS, (uint64_t)__builtin_frame_address(0) - 4096));
    cpu->fault = &result;
    barrier();
    if (context_save(&cpu->recover) == 0) {
        iret_to(&copy, 0, 0);
    }
    barrier();
    cpu->fault = NULL;
    return result;
}

void check_fault(struct fault f, unsigned vector, uint64_t err, const char *file, int line,
                 const char *what)
{
    if (f.vector != vector) {
        say("%s:%d: %s: vector %u (error %lx, cr2 %lx, rip %lx)", file, line, what, f.vector,
            f.error, f.cr2, f.regs.rip);
    }
    check_long(f.vector, vector, file, line, what);
    if (f.vector == vector && vector != NO_FAULT) {
        check_long((long)f.error, (long)err, file, line, what);
    }
}

/* ---- single accesses ---- */

static uint64_t do_read(uint64_t va)
{
    return *(volatile uint64_t *)va;
}

static uint64_t do_exec(uint64_t va)
{
    return ((uint64_t(*)(void))va)();
}

static uint64_t do_write(uint64_t pair)
{
    const uint64_t *p = (const uint64_t *)pair;
    *(volatile uint64_t *)p[0] = p[1];
    return 0;
}

static uint64_t do_rdmsr(uint64_t msr)
{
    uint32_t low, high;
    __asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"((uint32_t)msr));
    return (uint64_t)high << 32 | low;
}

static uint64_t do_wrmsr(uint64_t pair)
{
    const uint64_t *p = (const uint64_t *)pair;
    __asm__ volatile("wrmsr"
                     :
                     : "c"((uint32_t)p[0]), "a"((uint32_t)p[1]), "d"((uint32_t)(p[1] >> 32))
                     : "memory");
    return 0;
}

struct fault try_read(uint64_t va)
{
    return try_call(do_read, va);
}

struct fault try_exec(uint64_t va)
{
    return try_call(do_exec, va);
}

struct fault try_write(uint64_t va, uint64_t value)
{
    uint64_t pair[2] = {va, value};
    return try_call(do_write, (uint64_t)pair);
}

struct fault try_rdmsr(uint32_t msr)
{
    return try_call(do_rdmsr, msr);
}

struct fault try_wrmsr(uint32_t msr, uint64_t value)
{
    uint64_t pair[2] = {msr, value};
    return try_call(do_wrmsr, (uint64_t)pair);
}
