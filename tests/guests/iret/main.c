/* SPDX-License-Identifier: MIT */
/*
 * The iret hypercall: flags a guest may not have (IOPL, NT, VM, interrupts off) are taken off, the
 * saved interrupt flag becomes the event mask, registers come back as the frame says; an address
 * that is not canonical is the guest's general protection fault, one in the hypervisor its page
 * fault.
 */
#include "lib.h"

static uint64_t flags_now(uint64_t arg)
{
    return read_flags() + arg - arg;
}

static struct iret_frame user_frame(uint64_t (*fn)(uint64_t))
{
    uint64_t *stack = &this_cpu()->user_stack[500];
    *stack = (uint64_t)user_return;
    struct iret_frame frame = {.rip = (uint64_t)fn,
                               .cs = FLAT_KERNEL_CS | 3,
                               .rflags = 0x202,
                               .rsp = (uint64_t)stack,
                               .ss = FLAT_KERNEL_SS | 3};
    return frame;
}

void test_main(void)
{
    user_tables_init();
    struct iret_frame frame = user_frame(flags_now);
    frame.rflags = 0x3000 | 0x4000 | 0x20000 | 0x180000 | 0x200000 | 0xffffffff00000000;
    struct fault f = try_iret(&frame);
    CHECK_FAULT(f, NO_FAULT, 0);
    CHECK_IS(f.value & 0x200, 0x200);
    CHECK_IS(f.value & (0x3000 | 0x4000 | 0x20000 | 0x180000), 0);
    CHECK_IS(f.value & 0x200000, 0x200000); /* ID is anybody's */
    /* It had interrupts off: events are masked. */
    CHECK_IS(my_vcpu_info()->evtchn_upcall_mask, 1);
    events_off();
    frame.rflags = 0x202;
    f = try_iret(&frame);
    CHECK_FAULT(f, NO_FAULT, 0);
    CHECK_IS(my_vcpu_info()->evtchn_upcall_mask, 0);

    static const uint64_t odd[] = {NONCANONICAL, 0x8000000000000000, 0x0000800000000000,
                                   0xffff7fffffffffff};
    static const uint64_t in_hyp[] = {0xffff808000000000, 0xffff828000000000, 0xffff840000000000};
    for (unsigned user = 0; user < 2; user++) {
        frame = user_frame(flags_now);
        if (!user) {
            frame.cs &= ~3UL;
        }
        for (unsigned i = 0; i < ARRAY_SIZE(odd); i++) {
            frame.rip = odd[i];
            f = try_iret(&frame);
            CHECK_FAULT(f, VEC_GP, 0);
        }
        for (unsigned i = 0; i < ARRAY_SIZE(in_hyp); i++) {
            frame.rip = in_hyp[i];
            f = try_iret(&frame);
            CHECK_IS(f.vector, VEC_PF);
            CHECK_IS(f.cr2, in_hyp[i]);
            CHECK_IS(f.error & ERR_U, user ? ERR_U : 0);
        }
    }
    /* The flag for "in a system call": rcx and r11 are then what the processor makes of them. */
    frame = user_frame(flags_now);
    frame.flags = VGCF_in_syscall;
    CHECK_FAULT(try_iret(&frame), NO_FAULT, 0);
    frame.flags = ~0UL;
    CHECK_FAULT(try_iret(&frame), NO_FAULT, 0);
}
