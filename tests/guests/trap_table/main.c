/* SPDX-License-Identifier: MIT */
/*
 * set_trap_table: handlers are taken one by one until one that is bad; what cannot be read, has no
 * end or leads into the hypervisor is refused. A gate with the mask flag is entered with events
 * masked.
 */
#include "lib.h"

static uint64_t seen_mask, saved_mask;

static bool hook(struct regs *regs)
{
    seen_mask = my_vcpu_info()->evtchn_upcall_mask;
    saved_mask = regs->cs >> 32 & 0xff;
    return false;
}

static uint64_t undefined(uint64_t x)
{
    __asm__ volatile("ud2");
    return x;
}

void test_main(void)
{
    static struct trap_info endless[300];
    static const uint64_t bad[] = {NONCANONICAL, HYP_START, 0xffff87ffffffffff, 0x8000000000000000};
    for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
        CHECK_IS(trap_set(6, (void *)bad[i], 0), -EINVAL);
    }
    CHECK_IS(set_trap_table(HYP_START), -EFAULT);
    CHECK_IS(set_trap_table(NONCANONICAL), -EFAULT);
    CHECK_IS(set_trap_table(-8L), -EFAULT);
    for (unsigned i = 0; i < ARRAY_SIZE(endless); i++) {
        endless[i] = (struct trap_info){.vector = 200, .cs = FLAT_KERNEL_CS, .address = 4096};
    }
    CHECK_IS(set_trap_table(endless), -EINVAL);

    trap_hook = hook;
    events_on();
    CHECK_FAULT(try_call(undefined, 0), VEC_UD, 0);
    CHECK_IS(seen_mask, 0);
    CHECK_IS(saved_mask, 0);
    CHECK_IS(trap_set(VEC_UD, trap_stub(VEC_UD), 4), 0);
    CHECK_FAULT(try_call(undefined, 0), VEC_UD, 0);
    CHECK_IS(seen_mask, 1);
    CHECK_IS(saved_mask, 0);
    events_off();
    CHECK_FAULT(try_call(undefined, 0), VEC_UD, 0);
    CHECK_IS(saved_mask, 1);

    /* Selectors of handlers are never the hypervisor's: the failsafe callback says so. */
    struct trap_info table[2] = {
        {.vector = VEC_UD, .cs = 0xe008, .address = (uint64_t)trap_stub(VEC_UD)}};
    CHECK_IS(set_trap_table(table), 0);
    CHECK_FAULT(try_call(undefined, 0), VEC_FAILSAFE, 0);
    CHECK_IS(trap_set(VEC_UD, trap_stub(VEC_UD), 0), 0);
    CHECK_FAULT(try_call(undefined, 0), VEC_UD, 0);
}
