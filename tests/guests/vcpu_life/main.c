/* SPDX-License-Identifier: MIT */
/*
 * A second vCPU: it cannot be brought up before it has registers, gets them once, runs, goes down
 * and continues where it stopped. Numbers beyond the domain's vCPUs are -ENOENT.
 */
#include "lib.h"

static volatile uint32_t runs, argument;

static void second(uint64_t arg)
{
    argument = (uint32_t)arg;
    runs = 1;
    CHECK_IS(vcpu_op(VCPUOP_down, 1, 0), 0);
    runs = 2;
    while (runs == 2) {
        (void)sched_op(SCHEDOP_yield, 0);
    }
    runs = 4;
}

static bool wait_down(void)
{
    uint64_t until = now_ns() + 10000000000;
    while (vcpu_op(VCPUOP_is_up, 1, 0) != 0 && now_ns() < until) {
        (void)sched_op(SCHEDOP_yield, 0);
    }
    return vcpu_op(VCPUOP_is_up, 1, 0) == 0;
}

static bool wait_runs(uint32_t value)
{
    uint64_t until = now_ns() + 10000000000;
    while (runs != value && now_ns() < until) {
        (void)sched_op(SCHEDOP_yield, 0);
    }
    return runs == value;
}

/* The clock's words, wherever the guest wants them besides vcpu_info; not in the hypervisor. */
static void time_area(void)
{
    static struct vcpu_time_info words;
    struct vcpu_register_time_memory_area area = {.addr.p = (uint64_t)&words};
    CHECK_IS(vcpu_op(VCPUOP_register_vcpu_time_memory_area, 0, HYP_START), -EFAULT);
    CHECK_IS(vcpu_op(VCPUOP_register_vcpu_time_memory_area, 0, &area), 0);
    CHECK(words.version && words.version % 2 == 0);
    CHECK_IS(words.tsc_to_system_mul, my_vcpu_info()->time.tsc_to_system_mul);
    area.addr.p = HYP_START;
    CHECK_IS(vcpu_op(VCPUOP_register_vcpu_time_memory_area, 0, &area), -EFAULT);
    area.addr.p = 0;
    CHECK_IS(vcpu_op(VCPUOP_register_vcpu_time_memory_area, 0, &area), 0);
}

void test_main(void)
{
    static const uint64_t none[] = {2, 3, 128, 1UL << 32, 0xffffffff, ~0UL};
    for (unsigned i = 0; i < ARRAY_SIZE(none); i++) {
        for (unsigned op = 0; op < 12; op++) {
            CHECK_IS(vcpu_op(op, none[i], 0), -ENOENT);
        }
    }
    CHECK_IS(vcpu_op(VCPUOP_down, 2, 0), -ENOENT);
    CHECK_IS(vcpu_op(VCPUOP_is_up, 2, 0), -ENOENT);
    CHECK_IS(vcpu_op(VCPUOP_is_up, 0, 0), 1);
    CHECK_IS(vcpu_op(VCPUOP_is_up, 1, 0), 0);
    CHECK_IS(vcpu_op(VCPUOP_up, 1, 0), -EINVAL);
    CHECK_IS(vcpu_op(VCPUOP_initialise, 1, HYP_START), -EFAULT);
    CHECK_IS(vcpu_op(VCPUOP_initialise, 1, NONCANONICAL), -EFAULT);
    CHECK_IS(vcpu_op(VCPUOP_get_physid, 0, &cpu_context), -ENOSYS);
    CHECK_IS(vcpu_op(1000, 0, 0), -ENOSYS);
    time_area();
    cpu_fill_context(&cpu_context, 1, second, 7);
    CHECK_IS(vcpu_op(VCPUOP_initialise, 0, &cpu_context), -EEXIST);

    CHECK_IS(cpu_start(1, second, 7), 0);
    CHECK_IS(vcpu_op(VCPUOP_initialise, 1, &cpu_context), -EEXIST);
    CHECK(wait_runs(1));
    CHECK_IS(argument, 7);
    CHECK(wait_down());
    CHECK_IS(runs, 1);
    CHECK_IS(vcpu_op(VCPUOP_up, 1, 0), 0);
    CHECK(wait_runs(2));
    CHECK_IS(vcpu_op(VCPUOP_is_up, 1, 0), 1);
    runs = 3;
    CHECK(wait_runs(4));
    CHECK(wait_down());
    /* Taken down by another vCPU, up again: it goes down by itself once more. */
    CHECK_IS(vcpu_op(VCPUOP_down, 1, 0), 0);
    CHECK_IS(vcpu_op(VCPUOP_up, 1, 0), 0);
    CHECK(wait_down());
}
