/* SPDX-License-Identifier: MIT */
/* vCPUs: what the library keeps of each, at the bottom of its stack, and starting a second one. */
#include "lib.h"

struct vcpu_guest_context cpu_context;

_Noreturn void secondary_main(uint64_t id, void (*fn)(uint64_t arg), uint64_t arg);

struct cpu *this_cpu(void)
{
    uint64_t sp = (uint64_t)__builtin_frame_address(0);
    return (struct cpu *)(sp & ~(CPU_STACK_BYTES - 1));
}

struct cpu *cpu_of(unsigned id)
{
    return (struct cpu *)(cpu_stacks + id * CPU_STACK_BYTES);
}

_Noreturn void secondary_main(uint64_t id, void (*fn)(uint64_t arg), uint64_t arg)
{
    this_cpu()->id = (unsigned)id;
    fn(arg);
    for (;;) {
        (void)vcpu_op(VCPUOP_down, id, 0);
    }
}

void cpu_fill_context(struct vcpu_guest_context *context, unsigned id, void (*fn)(uint64_t arg),
                      uint64_t arg)
{
    uint64_t top = (uint64_t)cpu_stacks + (id + 1) * CPU_STACK_BYTES;
    memset(context, 0, sizeof(*context));
    trap_fill_context(context);
    context->flags = VGCF_in_kernel | VGCF_online;
    context->user_regs.rip = (uint64_t)start_secondary;
    context->user_regs.rsp = top;
    context->user_regs.rdi = id;
    context->user_regs.rsi = (uint64_t)fn;
    context->user_regs.rdx = arg;
    context->user_regs.cs = FLAT_KERNEL_CS;
    context->user_regs.ss = FLAT_KERNEL_SS;
    context->user_regs.rflags = 0x200;
    context->kernel_ss = FLAT_KERNEL_SS;
    context->kernel_sp = top - 4096;
    context->ctrlreg[3] = xen_pfn_to_cr3(mfn_of((void *)start_info->pt_base));
}

long cpu_start(unsigned id, void (*fn)(uint64_t arg), uint64_t arg)
{
    cpu_fill_context(&cpu_context, id, fn, arg);
    long rc = vcpu_op(VCPUOP_initialise, id, &cpu_context);
    return rc ? rc : vcpu_op(VCPUOP_up, id, 0);
}
