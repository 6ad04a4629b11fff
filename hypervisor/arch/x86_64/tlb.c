// SPDX-License-Identifier: MIT
/*
 * TLB flushes, here and on other CPUs, and the flush clock that tells whether they are needed.
 *
 * A frame that lost its last mapping of some kind is stamped with the clock; a CPU that read a
 * later time before its latest full flush cannot hold a translation from before. A CPU on the
 * hypervisor's own tables holds none of any guest. Flushes only read the clock, so that CPUs do not
 * fight for it: it advances with every switch of vCPUs, and when a flush would not count otherwise.
 * When the 32-bit clock wraps, all CPUs count as never having flushed: stamps of the old round then
 * are large and can only cause flushes too many.
 *
 * Every CPU has a request of its own, so requests of different CPUs do not wait for one another.
 * Those asked answer from the flush interrupt or, since the hypervisor runs with interrupts off,
 * from arch_relax() wherever they wait for something. No lock: waiting here answers requests too,
 * so it may happen under any lock.
 */
#include "arch/upcalls.h"
#include "base/types.h"
#include "machine.h"

#define NO_GUEST UINT32_MAX
#define TURNS_PER_REPORT (1u << 20)

uint32_t tlb_clock = 1; /* atomic */

static struct cpu_tlb {
    uint32_t last_flush; /* atomic: clock before it; 0: none in this round; or NO_GUEST */
    uint32_t turns;      /* of arch_relax() */
    /* The request this CPU makes: constant while `waiting` is not 0. */
    unsigned flags;
    vaddr_t va;
    uint32_t waiting;   /* atomic: CPUs that have not answered it */
    cpumask_t asked_by; /* atomic: CPUs that wait for this one */
} __attribute__((aligned(64))) tlbs[MAX_PCPUS];

static struct cpu_tlb *my_tlb(void)
{
    return &tlbs[arch_cpu_id()];
}

uint32_t *tlb_last_flush(void)
{
    return &my_tlb()->last_flush;
}

uint32_t arch_tlb_clock(void)
{
    return __atomic_load_n(&tlb_clock, __ATOMIC_SEQ_CST);
}

void tlb_clock_advance(void)
{
    if (__atomic_add_fetch(&tlb_clock, 1, __ATOMIC_SEQ_CST) == 0) {
        for (unsigned cpu = 0; cpu < MAX_PCPUS; cpu++) {
            __atomic_store_n(&tlbs[cpu].last_flush, 0, __ATOMIC_SEQ_CST);
        }
        __atomic_add_fetch(&tlb_clock, 1, __ATOMIC_SEQ_CST);
    }
}

uint32_t tlb_flush_begin(void)
{
    uint32_t now = arch_tlb_clock(), *last = &my_tlb()->last_flush;
    if (__atomic_load_n(last, __ATOMIC_RELAXED) == NO_GUEST) {
        /* ORDER: before the guest's tables are loaded. Until now there was nothing to flush. */
        __atomic_store_n(last, now, __ATOMIC_SEQ_CST);
    }
    return now;
}

void tlb_flush_end(uint32_t time)
{
    uint32_t *last = &my_tlb()->last_flush;
    __atomic_store_n(last, time, __ATOMIC_SEQ_CST);
    /* ORDER: if the clock wrapped since `time`, the value would look too new in the new round. */
    if (arch_tlb_clock() < time) {
        __atomic_store_n(last, 0, __ATOMIC_SEQ_CST);
    }
}

void tlb_no_guest(void)
{
    __atomic_store_n(&my_tlb()->last_flush, NO_GUEST, __ATOMIC_SEQ_CST);
}

void arch_tlb_flush_local(unsigned flags, vaddr_t va)
{
    if (flags & FLUSH_TLB) {
        uint64_t cr3;
        bool guest = __atomic_load_n(&my_tlb()->last_flush, __ATOMIC_RELAXED) != NO_GUEST;
        uint32_t time = arch_tlb_clock();
        __asm__ volatile("mov %%cr3, %0; mov %0, %%cr3" : "=&r"(cr3) : : "memory");
        if (guest) {
            tlb_flush_end(time);
        }
    } else if (flags & FLUSH_ONE) {
        __asm__ volatile("invlpg (%0)" : : "r"(va) : "memory");
    }
    if (flags & FLUSH_CACHE) {
        __asm__ volatile("wbinvd" : : : "memory");
    }
}

void tlb_service(void)
{
    cpumask_t *asked_by = &my_tlb()->asked_by;
    for_each_cpu(cpu, asked_by)
    {
        /* ORDER: the request was written before the bit; the bit goes, then the request is read,
         * then it is released. */
        cpumask_clear(asked_by, cpu);
        arch_tlb_flush_local(tlbs[cpu].flags, tlbs[cpu].va);
        __atomic_fetch_sub(&tlbs[cpu].waiting, 1, __ATOMIC_SEQ_CST);
    }
}

void arch_relax(void)
{
    __asm__ volatile("pause" : : : "memory");
    tlb_service();
    if (!(++my_tlb()->turns % TURNS_PER_REPORT)) {
        upcall_waiting();
    }
}

static inline bool is_only(const cpumask_t *mask, unsigned cpu)
{
    for (unsigned i = 0; i * 64 < arch_facts.cpus_online; i++) {
        if (mask->word[i] != (i == cpu / 64 ? 1UL << cpu % 64 : 0)) {
            return false;
        }
    }
    return true;
}

static noinline void flush_many(const cpumask_t *mask, unsigned self, unsigned flags, vaddr_t va)
{
    struct cpu_tlb *mine = &tlbs[self];
    cpumask_t others = *mask;
    cpumask_clear(&others, self);
    bool own = cpumask_test(mask, self);
    if (!cpumask_empty(&others)) {
        mine->flags = flags;
        mine->va = va;
        for_each_cpu(cpu, &others)
        {
            __atomic_fetch_add(&mine->waiting, 1, __ATOMIC_SEQ_CST);
            cpumask_set(&tlbs[cpu].asked_by, self);
            apic_send_ipi(cpu, VECTOR_FLUSH);
        }
    }
    if (own) {
        arch_tlb_flush_local(flags, va);
    }
    while (__atomic_load_n(&mine->waiting, __ATOMIC_SEQ_CST)) {
        arch_relax();
    }
}

void arch_tlb_flush_mask(const cpumask_t *mask, unsigned flags, vaddr_t va)
{
    unsigned self = arch_cpu_id();
    if (is_only(mask, self)) {
        arch_tlb_flush_local(flags, va);
    } else {
        flush_many(mask, self, flags, va);
    }
}

void arch_tlb_filter(cpumask_t *mask, uint32_t stamp)
{
    for_each_cpu(cpu, mask)
    {
        if (__atomic_load_n(&tlbs[cpu].last_flush, __ATOMIC_SEQ_CST) > stamp) {
            cpumask_clear(mask, cpu);
        }
    }
    if (!cpumask_empty(mask) && arch_tlb_clock() == stamp) {
        tlb_clock_advance(); /* so that the flush that follows is later than the stamp */
    }
}
