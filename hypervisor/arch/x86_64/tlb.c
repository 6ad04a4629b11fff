// SPDX-License-Identifier: MIT
/*
 * TLB flushes, here and on other CPUs, and the flush clock that tells whether they are needed.
 *
 * The clock advances with every full flush. A frame that lost its last mapping of some kind is
 * stamped with the clock; a CPU whose latest full flush has a later time cannot hold a translation
 * from before. When the 32-bit clock wraps, all CPUs count as never having flushed: stamps of the
 * old round then are large and can only cause flushes too many.
 *
 * One request is under way at a time. Its CPUs answer from the flush interrupt or, since the
 * hypervisor runs with interrupts off, from arch_relax() wherever they wait for something. No lock
 * rank: waiting here answers requests too, so it may happen under any lock.
 */
#include "base/types.h"
#include "machine.h"

static uint32_t flush_clock = 1;
static uint32_t last_flush[MAX_PCPUS]; /* flush_clock value; 0: none in this round */

static bool request_busy;
/* the request; owned by whoever set request_busy, read by the CPUs in `pending` */
static cpumask_t pending;
static unsigned request_flags;
static vaddr_t request_va;

uint32_t arch_tlb_clock(void)
{
    return __atomic_load_n(&flush_clock, __ATOMIC_SEQ_CST);
}

uint32_t tlb_flush_begin(void)
{
    uint32_t now = __atomic_add_fetch(&flush_clock, 1, __ATOMIC_SEQ_CST);
    if (now == 0) {
        for (unsigned cpu = 0; cpu < MAX_PCPUS; cpu++) {
            __atomic_store_n(&last_flush[cpu], 0, __ATOMIC_SEQ_CST);
        }
        now = __atomic_add_fetch(&flush_clock, 1, __ATOMIC_SEQ_CST);
    }
    return now;
}

void tlb_flush_end(uint32_t time)
{
    uint32_t *last = &last_flush[arch_cpu_id()];
    __atomic_store_n(last, time, __ATOMIC_SEQ_CST);
    /* ORDER: if the clock wrapped since `time`, the value would look too new in the new round. */
    if (arch_tlb_clock() < time) {
        __atomic_store_n(last, 0, __ATOMIC_SEQ_CST);
    }
}

void arch_tlb_flush_local(unsigned flags, vaddr_t va)
{
    if (flags & FLUSH_TLB) {
        uint64_t cr3;
        uint32_t time = tlb_flush_begin();
        __asm__ volatile("mov %%cr3, %0; mov %0, %%cr3" : "=&r"(cr3) : : "memory");
        tlb_flush_end(time);
    } else if (flags & FLUSH_ONE) {
        __asm__ volatile("invlpg (%0)" : : "r"(va) : "memory");
    }
    if (flags & FLUSH_CACHE) {
        __asm__ volatile("wbinvd" : : : "memory");
    }
}

void tlb_service(void)
{
    unsigned cpu = arch_cpu_id();
    if (unlikely(cpumask_test(&pending, cpu))) {
        /* ORDER: the request was written before the bit; it is released by clearing the bit. */
        smp_rmb();
        arch_tlb_flush_local(request_flags, request_va);
        cpumask_clear(&pending, cpu);
    }
}

void arch_relax(void)
{
    __asm__ volatile("pause" : : : "memory");
    tlb_service();
}

void arch_tlb_flush_mask(const cpumask_t *mask, unsigned flags, vaddr_t va)
{
    unsigned self = arch_cpu_id();
    cpumask_t others = *mask;
    cpumask_clear(&others, self);
    if (!cpumask_empty(&others)) {
        while (__atomic_test_and_set(&request_busy, __ATOMIC_ACQUIRE)) {
            arch_relax();
        }
        request_flags = flags;
        request_va = va;
        for_each_cpu(cpu, &others)
        {
            cpumask_set(&pending, cpu);
            apic_send_ipi(cpu, VECTOR_FLUSH);
        }
    }
    if (cpumask_test(mask, self)) {
        arch_tlb_flush_local(flags, va);
    }
    if (!cpumask_empty(&others)) {
        while (!cpumask_empty(&pending)) {
            __asm__ volatile("pause" : : : "memory");
        }
        __atomic_clear(&request_busy, __ATOMIC_RELEASE);
    }
}

void arch_tlb_filter(cpumask_t *mask, uint32_t stamp)
{
    for_each_cpu(cpu, mask)
    {
        if (__atomic_load_n(&last_flush[cpu], __ATOMIC_SEQ_CST) > stamp) {
            cpumask_clear(mask, cpu);
        }
    }
}
