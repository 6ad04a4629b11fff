// SPDX-License-Identifier: MIT
/*
 * arch/arch.h on the fake machine: memory is an array, the clock moves when told, and everything a
 * processor would be asked to do is written down in `host` for the test to look at.
 */
#include <string.h>

#include "base/assert.h"
#include "host.h"

struct host_machine host = {.cpus = 1};

#define GSIS 24
#define RESERVED_FRAMES 16

static const struct arch_e820 map[] = {
    {0, RESERVED_FRAMES *PAGE_SIZE, 2},
    {RESERVED_FRAMES * PAGE_SIZE, (HOST_FRAMES - RESERVED_FRAMES) * PAGE_SIZE, 1},
    {0xf0000000, 0x10000000, 2},
};

/* 1 GHz: one tick is one nanosecond, mul is 2^31 with a left shift of one. */
struct arch_facts arch_facts = {
    .cpus_present = 1,
    .cpus_online = 1,
    .maddr_bits = 40,
    .gsi_count = GSIS,
    .xcr0_mask = 7,
    .acpi_rsdp = 0xf5000,
    .max_mfn = HOST_FRAMES,
    .tsc = {.khz = 1000000, .mul = 0x80000000u, .shift = 1, .tsc_at_zero = 12345},
    .e820 = map,
    .e820_count = ARRAY_SIZE(map),
    .free = &(const struct arch_range){RESERVED_FRAMES, HOST_FRAMES},
    .free_count = 1,
};

_Thread_local unsigned host_cpu;
struct vcpu *host_current[MAX_PCPUS];
struct cpu_user_regs host_regs[MAX_PCPUS];
uint64_t host_tsc;

static uint8_t ram[HOST_FRAMES][PAGE_SIZE] __attribute__((aligned(4096)));
static uint64_t m2p[HOST_FRAMES];
uint8_t *host_ram = ram[0];
uint64_t *host_m2p = m2p;

/* ---- processors and interrupts ---- */

void arch_irq_window(void)
{
    host.windows++;
    if (host.on_window) {
        host.on_window();
    }
}

void arch_idle(void)
{
    host.idles++;
    if (host.on_idle) {
        host.on_idle();
    }
}

void arch_relax(void)
{
    /* One thread plays all CPUs: a wait that nobody ends would last for ever. */
    static unsigned spins;
    host.relaxes++;
    if (host.on_relax) {
        spins = 0;
        host.on_relax();
    } else if (++spins > 100000000) {
        panic("spinning for ever");
    }
}

void arch_kick_cpu(unsigned cpu)
{
    BUG_ON(cpu >= host.cpus);
    host.kicks[cpu]++;
}

void arch_nmi_cpu(unsigned cpu)
{
    BUG_ON(cpu >= host.cpus);
    host.nmis[cpu]++;
}

void arch_timer_set(ns_t deadline)
{
    host.timer_deadline[host_cpu] = deadline;
}

ns_t arch_now_ns(void)
{
    ns_t now = __atomic_load_n(&host.now, __ATOMIC_RELAXED);
    if (host.on_clock) {
        host.on_clock();
    }
    return now;
}

uint64_t arch_wallclock_sec(void)
{
    return host.wallclock_sec;
}

/* ---- translation: the rest is in tlb.c ---- */

void arch_l4_install(uint64_t *l4)
{
    for (unsigned slot = 256; slot < 272; slot++) {
        l4[slot] = 0;
    }
}

/* ---- switching vCPUs ---- */

void arch_context_switch(struct vcpu *prev, struct vcpu *next)
{
    BUG_ON(prev != host_current[host_cpu]);
    host.switches++;
    prev->regs = host_regs[host_cpu];
    host_regs[host_cpu] = next->regs;
    host_current[host_cpu] = next;
    host_processor_load(next);
    host_tlb_switch(prev, next);
}

/* ---- processor identification and model-specific registers ---- */

void arch_cpuid(uint32_t leaf, uint32_t subleaf, struct cpuid_regs *out)
{
    *out = (struct cpuid_regs){.eax = leaf, .ecx = subleaf};
    if (host.on_cpuid) {
        host.on_cpuid(leaf, subleaf, out);
    }
}

bool arch_rdmsr_safe(uint32_t msr, uint64_t *value)
{
    *value = 0;
    return host.on_rdmsr && host.on_rdmsr(msr, value);
}

/* ---- ports, devices ---- */

uint32_t arch_in(uint16_t port, unsigned bytes)
{
    host.last_port = port;
    if (host.on_in) {
        return host.on_in(port, bytes);
    }
    return bytes == 4 ? host.port_in : host.port_in & ((1u << (8 * bytes)) - 1);
}

void arch_out(uint16_t port, unsigned bytes, uint32_t value)
{
    host.ports_written++;
    host.last_port = port;
    host.last_value = value;
    if (host.on_out) {
        host.on_out(port, bytes, value);
    }
}

volatile void *arch_ioremap(maddr_t base, size_t bytes)
{
    static uint8_t device[PAGE_SIZE];
    (void)base;
    return bytes <= sizeof(device) ? device : NULL;
}

/* ---- physical interrupts: 24 lines, 8 MSI vectors ---- */

#define MSI_VECTORS 8

int arch_gsi_setup(unsigned gsi, bool level, bool low)
{
    (void)low;
    if (gsi >= GSIS) {
        return -EINVAL;
    }
    host.gsi_level[gsi] = level;
    host.gsi_masked[gsi] = true;
    return 0;
}

int arch_gsi_bind(unsigned gsi, unsigned cpu)
{
    if (gsi >= GSIS) {
        return -EINVAL;
    }
    host.gsi_bound[gsi] = true;
    host.gsi_cpu[gsi] = (uint8_t)cpu;
    return 0;
}

void arch_gsi_unbind(unsigned gsi)
{
    host.gsi_bound[gsi] = false;
    host.gsi_masked[gsi] = true;
}

void arch_gsi_mask(unsigned gsi, bool masked)
{
    host.gsi_masked[gsi] = masked;
}

void arch_gsi_route(unsigned gsi, unsigned cpu)
{
    host.gsi_cpu[gsi] = (uint8_t)cpu;
}

bool arch_gsi_is_level(unsigned gsi)
{
    return host.gsi_level[gsi];
}

int arch_msi_vector_alloc(unsigned token)
{
    (void)token;
    return host.msi_vectors < MSI_VECTORS ? (int)(0x40 + host.msi_vectors++) : -ENOSPC;
}

void arch_msi_vector_free(int vector)
{
    BUG_ON(vector < 0x40 || host.msi_vectors == 0);
    host.msi_vectors--;
}

void arch_msi_message(int vector, unsigned cpu, uint64_t *address, uint32_t *data)
{
    *address = 0xfee00000 | cpu << 12;
    *data = (uint32_t)vector;
}

/* ---- machine ---- */

void arch_console_put(const char *s, size_t bytes)
{
    bytes = MIN(bytes, sizeof(host.console) - 1 - host.console_bytes);
    memcpy(host.console + host.console_bytes, s, bytes);
    host.console_bytes += bytes;
    host.console[host.console_bytes] = '\0';
}

int arch_console_get(void)
{
    if (!host.console_input || !*host.console_input) {
        return -1;
    }
    return (unsigned char)*host.console_input++;
}

int arch_acpi_sleep(unsigned state, uint32_t pm1a, uint32_t pm1b)
{
    (void)pm1a, (void)pm1b;
    if (state != 5) {
        return -EINVAL;
    }
    host.acpi_sleep_state = state;
    return 0;
}

bool arch_mmio_denied(mfn_t mfn)
{
    return mfn == 0xfee00;
}

bool arch_frame_is_hyp(mfn_t mfn)
{
    return mfn < RESERVED_FRAMES;
}

bool arch_mfn_has_frame(mfn_t mfn)
{
    return mfn < HOST_FRAMES;
}

bool arch_mfn_is_ram(mfn_t mfn)
{
    return mfn >= RESERVED_FRAMES && mfn < HOST_FRAMES;
}
