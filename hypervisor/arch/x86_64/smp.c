// SPDX-License-Identifier: MIT
/*
 * Starting the other CPUs, one at a time, and stopping them in the end. The first CPU is number 0;
 * the others are numbered in the order in which ACPI lists them, without those that do not answer.
 * Single-threaded but for what is said to be atomic; runs once.
 */
#include "arch/upcalls.h"
#include "asm.h"
#include "base/cmdline.h"
#include "base/log.h"
#include "base/string.h"
#include "machine.h"

/* How long a CPU may take until it answers; a busy emulator's need their time. */
#define START_MS 5000
#define FIRST_TRY_MS 200

/* boot.S */
extern struct cpu_start cpu_start;
extern const uint8_t ap_trampoline[], ap_trampoline_end[];

static unsigned answered; /* atomic: the last CPU that is through its own start-up */
static bool released;     /* atomic */

static noreturn void ap_main(void)
{
    unsigned cpu = arch_cpu_id();
    cpu_init(cpu);
    traps_init_cpu(cpu);
    apic_init_cpu();
    if (apic_id() != acpi_facts.apic_id[cpu]) {
        cpu_stop(); /* given up once, and here at last on another's stack */
    }
    clock_sync();
    __atomic_store_n(&answered, cpu, __ATOMIC_SEQ_CST);
    while (!__atomic_load_n(&released, __ATOMIC_SEQ_CST)) {
        arch_idle();
    }
    upcall_cpu_online();
}

/* ---- the end ---- */

#define STOP_MS 500

vaddr_t smp_stopped_at[MAX_PCPUS];
static bool stopping; /* atomic */

void smp_stop_check(vaddr_t rip)
{
    if (__atomic_load_n(&stopping, __ATOMIC_SEQ_CST)) {
        __atomic_store_n(&smp_stopped_at[arch_cpu_id()], rip, __ATOMIC_SEQ_CST);
        cpu_stop();
    }
}

void smp_stop_others(void)
{
    if (__atomic_exchange_n(&stopping, true, __ATOMIC_SEQ_CST)) {
        return; /* done, or the one who does it stops us, too */
    }
    for (unsigned cpu = 0; cpu < arch_facts.cpus_online; cpu++) {
        if (cpu != arch_cpu_id()) {
            apic_send_ipi(cpu, IPI_NMI);
        }
    }
    ns_t end = arch_now_ns() + STOP_MS * NS_PER_MS;
    for (unsigned cpu = 0; cpu < arch_facts.cpus_online; cpu++) {
        while (cpu != arch_cpu_id() && arch_now_ns() < end &&
               !__atomic_load_n(&smp_stopped_at[cpu], __ATOMIC_SEQ_CST)) {
            __asm__ volatile("pause");
        }
    }
}

/* ---- start-up ---- */

void arch_release_cpus(void)
{
    __atomic_store_n(&released, true, __ATOMIC_SEQ_CST);
    for (unsigned cpu = 1; cpu < arch_facts.cpus_online; cpu++) {
        arch_kick_cpu(cpu);
    }
}

static bool wait_for(unsigned cpu, uint64_t ms)
{
    ns_t end = arch_now_ns() + (ns_t)ms * NS_PER_MS;
    while (__atomic_load_n(&answered, __ATOMIC_SEQ_CST) != cpu) {
        if (arch_now_ns() > end) {
            return false;
        }
        clock_sync_answer();
        __asm__ volatile("pause");
    }
    return true;
}

static bool start(unsigned cpu, mfn_t trampoline)
{
    cpu_start = (struct cpu_start){hyp_cr3(), percpu_stack(cpu), ap_main};
    apic_send_ipi(cpu, IPI_INIT);
    clock_delay_ms(10);
    apic_send_ipi(cpu, IPI_STARTUP | (uint32_t)trampoline);
    if (wait_for(cpu, FIRST_TRY_MS)) {
        return true;
    }
    apic_send_ipi(cpu, IPI_STARTUP | (uint32_t)trampoline);
    if (wait_for(cpu, START_MS)) {
        return true;
    }
    __atomic_store_n(&cpu_start.stack, NULL, __ATOMIC_SEQ_CST);
    apic_send_ipi(cpu, IPI_INIT); /* and stay there */
    printk("CPU with APIC id %u does not start, left out\n", acpi_facts.apic_id[cpu]);
    return false;
}

/* The CPU we run on becomes number 0. */
static void first_first(void)
{
    uint32_t *id = acpi_facts.apic_id, self = apic_id();
    unsigned at = 0;
    while (at < acpi_facts.cpu_count && id[at] != self) {
        at++;
    }
    if (at == acpi_facts.cpu_count && at < MAX_PCPUS) {
        acpi_facts.cpu_count++;
    }
    memmove(&id[1], &id[0], MIN(at, MAX_PCPUS - 1U) * sizeof(id[0]));
    id[0] = self;
}

void smp_start(void)
{
    first_first();
    unsigned count = acpi_facts.cpu_count, cpu = 1;
    mfn_t trampoline = memmap_low_frame();
    arch_facts.cpus_present = count;
    count = (unsigned)MIN(count, cmdline.maxcpus ?: count);
    for (unsigned i = 1; i < count; i++) {
        percpu_map(i);
    }
    if (trampoline) {
        memcpy(mfn_to_virt(trampoline), ap_trampoline, (size_t)(ap_trampoline_end - ap_trampoline));
    }
    while (trampoline && cpu < count) {
        if (start(cpu, trampoline)) {
            cpu++;
        } else {
            count--;
            memmove(&acpi_facts.apic_id[cpu], &acpi_facts.apic_id[cpu + 1],
                    (count - cpu) * sizeof(acpi_facts.apic_id[0]));
        }
    }
    arch_facts.cpus_online = cpu;
    printk("%u of %u processors online\n", cpu, arch_facts.cpus_present);
}
