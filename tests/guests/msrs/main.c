/* SPDX-License-Identifier: MIT */
/*
 * Model-specific registers: the ones a PV kernel needs read as documented and take what is
 * harmless; all others are a general protection fault, bases that are not canonical too, and
 * everything in user mode. A kernel without a handler for that fault reads 0 from a register that
 * exists.
 */
#include "lib.h"

static uint64_t user_rdmsr(uint64_t msr)
{
    uint32_t low, high;
    __asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"((uint32_t)msr));
    return (uint64_t)high << 32 | low;
}

static uint64_t user_wrmsr(uint64_t msr)
{
    __asm__ volatile("wrmsr" : : "c"((uint32_t)msr), "a"(0), "d"(0));
    return 0;
}

void test_main(void)
{
    static const uint64_t bad[] = {NONCANONICAL, 0x8000000000000000, 0x0000800000000000};
    static const uint32_t bases[] = {0xc0000100, 0xc0000101, 0xc0000102};
    user_tables_init();
    for (unsigned i = 0; i < ARRAY_SIZE(bases); i++) {
        for (unsigned k = 0; k < ARRAY_SIZE(bad); k++) {
            CHECK_FAULT(try_wrmsr(bases[i], bad[k]), VEC_GP, 0);
        }
        CHECK_FAULT(try_wrmsr(bases[i], 0x123456789000 + i), NO_FAULT, 0);
        CHECK_IS(try_rdmsr(bases[i]).value, 0x123456789000 + i);
        CHECK_FAULT(try_user(user_rdmsr, bases[i]), VEC_GP, 0);
        CHECK_FAULT(try_user(user_wrmsr, bases[i]), VEC_GP, 0);
        CHECK_FAULT(try_wrmsr(bases[i], 0), NO_FAULT, 0);
    }
    struct fault efer = try_rdmsr(0xc0000080);
    CHECK_FAULT(efer, NO_FAULT, 0);
    CHECK_IS(efer.value & 0x1501, 0x501); /* no SVM */
    CHECK_FAULT(try_wrmsr(0xc0000080, efer.value), NO_FAULT, 0);
    CHECK_FAULT(try_wrmsr(0xc0000080, efer.value ^ 0x800), VEC_GP, 0);
    CHECK_FAULT(try_wrmsr(0xc0000080, efer.value | 0x1000), VEC_GP, 0);
    CHECK_FAULT(try_wrmsr(0xc0000080, 0), VEC_GP, 0);

    struct fault apic = try_rdmsr(0x1b);
    CHECK_IS(apic.value, 0xfee00900);
    CHECK_FAULT(try_wrmsr(0x1b, 0), VEC_GP, 0);
    CHECK_IS(try_rdmsr(0x277).value & 0xff, 6);
    CHECK_FAULT(try_wrmsr(0x277, 0), VEC_GP, 0);

    /* STAR, LSTAR, CSTAR, SFMASK: nothing of the hypervisor's shows, nothing sticks. */
    for (uint32_t msr = 0xc0000081; msr <= 0xc0000084; msr++) {
        CHECK_IS(try_rdmsr(msr).value, 0);
        CHECK_FAULT(try_wrmsr(msr, (uint64_t)syscall_entry), NO_FAULT, 0);
        CHECK_IS(try_rdmsr(msr).value, 0);
    }
    CHECK_IS(xen_version(XENVER_pagesize, 0), 4096);

    static const uint32_t denied[] = {0x0,        0x48,       0x49,       0x10b,      0x122,
                                      0xfe,       0x200,      0x2ff,      0x1d9,      0x3a,
                                      0x480,      0x606,      0x802,      0x830,      0xc0000103,
                                      0xc0010114, 0xc0010117, 0x40000001, 0x400000ff, 0xffffffff};
    for (unsigned i = 0; i < ARRAY_SIZE(denied); i++) {
        CHECK_FAULT(try_rdmsr(denied[i]), VEC_GP, 0);
        CHECK_FAULT(try_wrmsr(denied[i], 0), VEC_GP, 0);
        CHECK_FAULT(try_wrmsr(denied[i], ~0UL), VEC_GP, 0);
    }
    /* Before there is a handler. */
    CHECK_IS(trap_set(VEC_GP, trap_stub(VEC_GP), 0), 0);
    CHECK_IS(set_trap_table(0), 0);
    uint64_t early = user_rdmsr(0x200);
    trap_init();
    CHECK_IS(early, 0);
}
