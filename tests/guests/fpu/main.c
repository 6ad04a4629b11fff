/* SPDX-License-Identifier: MIT */
/*
 * The FPU: with the task-switched bit a user of it gets one device-not-available exception;
 * registers of one vCPU and mode never show in another's, across switches, events and blocking.
 */
#include "lib.h"

static volatile uint32_t ready, stop, done, wrong;

static uint64_t fpu_user(uint64_t arg)
{
    __asm__ volatile("fninit");
    return arg;
}

static void put(uint64_t value)
{
    __asm__ volatile("movq %0, %%xmm3\n\tmovq %0, %%xmm15" : : "r"(value));
}

static bool is(uint64_t value)
{
    uint64_t a, b;
    __asm__ volatile("movq %%xmm3, %0\n\tmovq %%xmm15, %1" : "=r"(a), "=r"(b));
    return a == value && b == value;
}

static void second(uint64_t arg)
{
    put(0x2222222200000000 + arg);
    ready = 1;
    while (!stop) {
        (void)sched_op(SCHEDOP_yield, 0);
        if (!is(0x2222222200000000 + arg)) {
            wrong = 1;
        }
    }
    done = 1;
}

void test_main(void)
{
    CHECK_IS(HC1(__HYPERVISOR_fpu_taskswitch, 1), 0);
    CHECK_FAULT(try_call(fpu_user, 0), VEC_NM, 0);
    CHECK_FAULT(try_call(fpu_user, 0), NO_FAULT, 0);
    CHECK_IS(HC1(__HYPERVISOR_fpu_taskswitch, ~0UL), 0);
    CHECK_IS(HC1(__HYPERVISOR_fpu_taskswitch, 0), 0);
    CHECK_FAULT(try_call(fpu_user, 0), NO_FAULT, 0);

    NEED_OK(cpu_start(1, second, 77));
    NEED(wait_for(&ready, 10000));
    put(0x1111111111111111);
    for (unsigned i = 0; i < 200; i++) {
        (void)sched_op(SCHEDOP_yield, 0);
        CHECK(is(0x1111111111111111));
        if (i % 40 == 0) {
            sleep_ns(3000000);
            CHECK(is(0x1111111111111111));
        }
    }
    stop = 1;
    CHECK(wait_for(&done, 10000));
    CHECK_IS(wrong, 0);
}
