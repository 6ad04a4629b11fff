// SPDX-License-Identifier: MIT
/*
 * arch/x86_64/tlb.c as it is, one thread playing all pcpus: which of them a stamp still concerns,
 * who is asked to flush what, and the flush clock when it wraps.
 */
#include <stdlib.h>
#include <string.h>

#include "real_code.h"

#include "arch/x86_64/tlb.c"

_Thread_local unsigned host_cpu;
struct vcpu *host_current[MAX_PCPUS];
struct cpu_user_regs host_regs[MAX_PCPUS];
uint8_t *host_ram;
uint64_t *host_m2p;
uint64_t host_tsc;
struct arch_facts arch_facts;

/* ---- the other CPUs ---- */

static unsigned interrupts[8];
static bool deaf; /* 1 has interrupts off until it has been answered */

void apic_send_ipi(unsigned cpu, unsigned vector)
{
    CU_ASSERT_EQUAL(vector, VECTOR_FLUSH);
    interrupts[cpu]++;
    if (!deaf) {
        unsigned self = host_cpu;
        host_cpu = cpu;
        tlb_service();
        host_cpu = self;
    }
}

/* INVLPG is how 0 answers. */
static void answered(void)
{
    deaf = false;
    unsigned self = host_cpu;
    host_cpu = 1;
    tlb_service();
    host_cpu = self;
}

static unsigned reports; /* of a CPU that waits */

void upcall_waiting(void)
{
    reports++;
    answered();
}

static cpumask_t mask_of(uint64_t bits)
{
    cpumask_t mask;
    memset(&mask, 0, sizeof(mask));
    for (unsigned cpu = 0; cpu < 8; cpu++) {
        if (bits >> cpu & 1) {
            cpumask_set(&mask, cpu);
        }
    }
    return mask;
}

static uint64_t bits_of(const cpumask_t *mask)
{
    uint64_t bits = 0;
    for (unsigned cpu = 0; cpu < 8; cpu++) {
        bits |= (uint64_t)cpumask_test(mask, cpu) << cpu;
    }
    return bits;
}

/* A pcpu loads a guest's page tables. */
static void load(unsigned cpu)
{
    host_cpu = cpu;
    uint32_t time = tlb_flush_begin();
    tlb_flush_end(time);
    host_cpu = 0;
}

static void begin(void)
{
    arch_facts.cpus_online = 8;
    tlb_clock = 1;
    memset(interrupts, 0, sizeof(interrupts));
    real_run.loads = real_run.pages = real_run.caches = 0;
    for (unsigned cpu = 0; cpu < 8; cpu++) {
        host_cpu = cpu;
        tlb_no_guest();
    }
    host_cpu = 0;
}

static uint64_t filter(uint64_t bits, uint32_t stamp)
{
    cpumask_t mask = mask_of(bits);
    arch_tlb_filter(&mask, stamp);
    return bits_of(&mask);
}

/* ---- tests ---- */

static void test_filter__who_may_have_it(void)
{
    begin();
    load(0);
    load(1);
    uint32_t stamp = arch_tlb_clock();
    CU_ASSERT_EQUAL(filter(7, stamp), 3);         /* 2 has had no guest's tables */
    CU_ASSERT_EQUAL(arch_tlb_clock(), stamp + 1); /* so that it counts: */
    load(1);
    CU_ASSERT_EQUAL(filter(7, stamp), 1);
    CU_ASSERT_EQUAL(arch_tlb_clock(), stamp + 1);
    load(0);
    CU_ASSERT_EQUAL(filter(7, stamp), 0);
    CU_ASSERT_EQUAL(filter(7, arch_tlb_clock()), 3);
    host_cpu = 1;
    tlb_no_guest();
    host_cpu = 0;
    CU_ASSERT_EQUAL(filter(2, arch_tlb_clock()), 0);
}

static void test_clock__wraps(void)
{
    begin();
    tlb_clock = UINT32_MAX - 1;
    load(1);
    host_cpu = 2;
    uint32_t old = tlb_flush_begin(); /* and before it is done */
    host_cpu = 0;
    tlb_clock_advance();
    tlb_clock_advance();
    CU_ASSERT_EQUAL(arch_tlb_clock(), 1);
    host_cpu = 2;
    tlb_flush_end(old);
    host_cpu = 0;
    CU_ASSERT_EQUAL(filter(6, UINT32_MAX), 6); /* of the old round: flushes too many */
    CU_ASSERT_EQUAL(filter(6, 1), 6);
    load(1);
    CU_ASSERT_EQUAL(filter(6, 1), 4);
}

static void test_flush__on_those_asked(void)
{
    begin();
    cpumask_t mask = mask_of(0x0b);
    arch_tlb_flush_mask(&mask, FLUSH_TLB, 0);
    CU_ASSERT_EQUAL(real_run.loads, 3);
    CU_ASSERT(interrupts[0] == 0 && interrupts[1] == 1 && interrupts[2] == 0 && interrupts[3] == 1);
    mask = mask_of(0x06);
    arch_tlb_flush_mask(&mask, FLUSH_ONE, 0xffff888000001000);
    CU_ASSERT_EQUAL(real_run.pages, 2);
    CU_ASSERT_EQUAL(real_run.page, 0xffff888000001000);
    CU_ASSERT_EQUAL(real_run.loads, 3);
    mask = mask_of(0x01); /* nobody else */
    arch_tlb_flush_mask(&mask, FLUSH_ONE, 0xffff888000002000);
    CU_ASSERT(real_run.pages == 3 && real_run.page == 0xffff888000002000);
    CU_ASSERT(interrupts[1] == 2 && interrupts[2] == 1 && interrupts[3] == 1);
    arch_tlb_flush_local(FLUSH_CACHE, 0);
    CU_ASSERT(real_run.caches == 1 && real_run.loads == 3);
    for (unsigned cpu = 0; cpu < 8; cpu++) {
        CU_ASSERT_EQUAL(tlbs[cpu].waiting, 0);
        CU_ASSERT(cpumask_empty(&tlbs[cpu].asked_by));
    }
}

/* Two that ask each other at once: the one that waits answers meanwhile. */
static void test_flush__both_at_once(void)
{
    begin();
    tlbs[1].flags = FLUSH_ONE; /* 1 has asked, and will not hear of us before we have answered */
    tlbs[1].va = 0x1000;
    tlbs[1].waiting = 1;
    cpumask_set(&tlbs[0].asked_by, 1);
    deaf = true;
    real_run.on_page = answered;
    cpumask_t mask = mask_of(2);
    arch_tlb_flush_mask(&mask, FLUSH_TLB, 0);
    CU_ASSERT_EQUAL(tlbs[1].waiting, 0);
    CU_ASSERT_EQUAL(real_run.page, 0x1000);
    CU_ASSERT(real_run.pages == 1 && real_run.loads == 1);
    real_run.on_page = NULL;
}

/* A flush of everything counts for stamps from before it, and not for later ones. */
static void test_flush__is_noted(void)
{
    begin();
    load(0);
    load(1);
    uint32_t stamp = arch_tlb_clock();
    cpumask_t mask = mask_of(3);
    arch_tlb_filter(&mask, stamp);
    arch_tlb_flush_mask(&mask, FLUSH_TLB, 0);
    CU_ASSERT_EQUAL(filter(3, stamp), 0);
    CU_ASSERT_EQUAL(filter(3, arch_tlb_clock()), 3);
    begin();
    arch_tlb_flush_local(FLUSH_TLB, 0); /* without a guest's tables there is nothing to note */
    CU_ASSERT_EQUAL(*tlb_last_flush(), UINT32_MAX);
}

/* One that nobody answers says so, a million turns later. */
static void test_flush__in_vain(void)
{
    begin();
    deaf = true;
    cpumask_t mask = mask_of(2);
    arch_tlb_flush_mask(&mask, FLUSH_TLB, 0);
    CU_ASSERT_EQUAL(reports, 1);
    CU_ASSERT_TRUE(tlbs[0].turns >= TURNS_PER_REPORT);
}

int main(void)
{
    CU_TestInfo tests[] = {
        {"filter__who_may_have_it", test_filter__who_may_have_it},
        {"clock__wraps", test_clock__wraps},
        {"flush__on_those_asked", test_flush__on_those_asked},
        {"flush__both_at_once", test_flush__both_at_once},
        {"flush__is_noted", test_flush__is_noted},
        {"flush__in_vain", test_flush__in_vain},
        CU_TEST_INFO_NULL,
    };
    return real_main("real_tlb", tests);
}
