// SPDX-License-Identifier: MIT
/*
 * Time: the TSC, scaled to nanoseconds exactly as guests scale it (pvclock), its frequency measured
 * at start-up against the best reference there is; the battery clock. The TSCs of all CPUs are made
 * the same when they start. Constant after that; no lock.
 */
#include "base/assert.h"
#include "base/log.h"
#include "base/string.h"
#include "machine.h"

#define MEASURE_NS (50 * NS_PER_MS)
#define SAMPLE_TRIES 12
#define STUCK_MAX 10000 /* samples of a counter that does not move */
#define FS_PER_NS 1000000UL
#define HPET_PERIOD 1 /* index of a 32-bit register */
#define HPET_CONFIG 4
#define HPET_COUNTER 60
#define HPET_PERIOD_FS_MAX 100000000U
#define PIT_CHANNEL2 0x42
#define PIT_COMMAND 0x43
#define PIT_GATE 0x61
#define CMOS_INDEX 0x70
#define CMOS_DATA 0x71

static volatile uint32_t *hpet;

ns_t arch_now_ns(void)
{
    return arch_ticks_ns(arch_rdtsc() - arch_facts.tsc.tsc_at_zero);
}

void clock_delay_ms(uint64_t ms)
{
    ns_t end = arch_now_ns() + (ns_t)ms * NS_PER_MS;
    while (arch_facts.tsc.mul && arch_now_ns() < end) {
        __asm__ volatile("pause");
    }
}

/* ---- references ---- */

static bool hpet_start(uint64_t *period_fs)
{
    hpet = acpi_facts.hpet ? arch_ioremap(acpi_facts.hpet, 1024) : NULL;
    if (!hpet || hpet[HPET_PERIOD] > HPET_PERIOD_FS_MAX) {
        return false;
    }
    hpet[HPET_CONFIG] |= 1;
    *period_fs = hpet[HPET_PERIOD];
    return *period_fs;
}

static uint32_t hpet_read(void)
{
    return hpet[HPET_COUNTER];
}

static bool pm_timer_start(uint64_t *period_fs)
{
    *period_fs = 279365114;
    return acpi_facts.pm_timer;
}

static uint32_t pm_timer_read(void)
{
    return arch_in(acpi_facts.pm_timer, 4);
}

static bool pit_start(uint64_t *period_fs)
{
    arch_out(PIT_GATE, 1, (arch_in(PIT_GATE, 1) & ~2u) | 1); /* count, but no sound */
    arch_out(PIT_COMMAND, 1, 0xb0); /* channel 2, both bytes, count down once */
    arch_out(PIT_CHANNEL2, 1, 0xff);
    arch_out(PIT_CHANNEL2, 1, 0xff);
    *period_fs = 838095345;
    return true;
}

static uint32_t pit_read(void)
{
    arch_out(PIT_COMMAND, 1, 0x80); /* latch channel 2 */
    uint32_t low = arch_in(PIT_CHANNEL2, 1);
    return ~(low | arch_in(PIT_CHANNEL2, 1) << 8);
}

/* Counters that go up at a known rate, best first. */
static const struct reference {
    const char *name;
    bool (*start)(uint64_t *period_fs); /* false: there is none */
    uint32_t (*read)(void);
    uint32_t mask; /* the bits that every one of its kind has */
} references[] = {
    {"HPET", hpet_start, hpet_read, 0xffffffff},
    {"PM timer", pm_timer_start, pm_timer_read, 0xffffff},
    {"PIT", pit_start, pit_read, 0xffff},
};

/* ---- measurement ---- */

/* Read both counters together: of several tries the one that took the least time, so that an
 * interruption of the machine below us does not count. */
static void sample(const struct reference *r, uint64_t *tsc, uint32_t *ticks)
{
    uint64_t best = ~0UL;
    for (unsigned i = 0; i < SAMPLE_TRIES; i++) {
        uint64_t before = arch_rdtsc();
        uint32_t value = r->read();
        uint64_t took = arch_rdtsc() - before;
        if (took < best) {
            best = took;
            *tsc = before + took / 2;
            *ticks = value;
        }
    }
}

/* The TSC's frequency; 0 when one of the two does not run. */
static uint64_t measure_khz(const struct reference *r, uint64_t period_fs)
{
    uint64_t tsc0, tsc1, elapsed_ns;
    uint32_t ticks0, ticks1;
    unsigned stuck = 0;
    sample(r, &tsc0, &ticks0);
    do {
        sample(r, &tsc1, &ticks1);
        elapsed_ns = ((ticks1 - ticks0) & r->mask) * period_fs / FS_PER_NS;
        if (elapsed_ns == 0 && ++stuck == STUCK_MAX) {
            return 0;
        }
    } while (elapsed_ns < MEASURE_NS);
    return (tsc1 - tsc0) * 1000000 / elapsed_ns;
}

/* ns = ((ticks << shift) * mul) >> 32 with mul using all of its 32 bits; for less than 256 GHz. */
static void set_scale(uint64_t khz)
{
    uint64_t mul = (1000000UL << 40) / khz;
    int8_t shift = -8;
    for (; mul >> 32; mul >>= 1) {
        shift++;
    }
    arch_facts.tsc = (struct arch_tsc_scale){khz, (uint32_t)mul, shift, arch_rdtsc()};
}

void clock_init(void)
{
    uint64_t period_fs, khz = 0;
    const struct reference *r = references;
    while (!r->start(&period_fs) || (khz = measure_khz(r, period_fs)) < 1000) {
        if (++r == references + ARRAY_SIZE(references)) {
            panic("no HPET, PM timer or PIT to measure the TSC with, or the TSC does not run");
        }
    }
    set_scale(khz);
    printk("Clock: TSC at %lu.%03lu MHz, measured by %s\n", khz / 1000, khz % 1000, r->name);
}

/* ---- other CPUs ---- */

#define SYNC_ROUNDS 32

/* One question at a time: `asked` is odd while it waits for its answer. */
static uint32_t asked;
static uint64_t answer;

void clock_sync_answer(void)
{
    if (__atomic_load_n(&asked, __ATOMIC_ACQUIRE) & 1) {
        answer = arch_rdtsc();
        __atomic_fetch_add(&asked, 1, __ATOMIC_SEQ_CST);
    }
}

/* How far the first CPU's TSC is ahead of ours, and by how much at most that is wrong. Of several
 * rounds the quickest counts. */
static int64_t tsc_offset(uint64_t *error)
{
    int64_t offset = 0;
    *error = UINT64_MAX;
    for (unsigned i = 0; i < SYNC_ROUNDS; i++) {
        uint64_t before = arch_rdtsc();
        __atomic_fetch_add(&asked, 1, __ATOMIC_SEQ_CST);
        while (__atomic_load_n(&asked, __ATOMIC_ACQUIRE) & 1) {
            __asm__ volatile("pause");
        }
        uint64_t half = (arch_rdtsc() - before) / 2;
        if (half < *error) {
            *error = half;
            offset = (int64_t)(answer - (before + half));
        }
    }
    return offset;
}

void clock_sync(void)
{
    uint64_t error;
    int64_t offset = tsc_offset(&error);
    if ((offset < 0 ? -offset : offset) > (int64_t)error) {
        /* Certainly different. Guests read it, so the counter itself is set. */
        wrmsr(MSR_TSC, arch_rdtsc() + (uint64_t)offset);
        int64_t left = tsc_offset(&error);
        printk("CPU %u: TSC was off by %ld ticks, now by %ld, +-%lu\n", arch_cpu_id(), offset, left,
               error);
    }
}

/* ---- battery clock ---- */

static uint8_t cmos_read(uint8_t reg)
{
    arch_out(CMOS_INDEX, 1, reg);
    return (uint8_t)arch_in(CMOS_DATA, 1);
}

enum { SECOND, MINUTE, HOUR, DAY, MONTH, YEAR, CENTURY, CMOS_FIELDS };

static void cmos_read_all(uint8_t field[CMOS_FIELDS])
{
    static const uint8_t reg[] = {0, 2, 4, 7, 8, 9};
    for (unsigned polls = 0; polls < 100000 && (cmos_read(10) & 0x80); polls++) {
        __asm__ volatile("pause");
    }
    for (unsigned i = 0; i < ARRAY_SIZE(reg); i++) {
        field[i] = cmos_read(reg[i]);
    }
    field[CENTURY] = acpi_facts.century ? cmos_read(acpi_facts.century) : 0;
}

/* Days since 1970-01-01 of a date of the Gregorian calendar; years start in March here, so that the
 * leap day is the last one. */
static uint64_t days_from_date(uint64_t year, uint64_t month, uint64_t day)
{
    if (month <= 2) {
        year--;
        month += 12;
    }
    return 365 * year + year / 4 - year / 100 + year / 400 + (153 * (month - 3) + 2) / 5 + day - 1 -
           719468;
}

uint64_t arch_wallclock_sec(void)
{
    uint8_t field[CMOS_FIELDS], again[CMOS_FIELDS];
    unsigned tries = 0;
    do {
        cmos_read_all(field);
        cmos_read_all(again);
    } while (memcmp(field, again, CMOS_FIELDS) && ++tries < 10);
    uint8_t mode = cmos_read(11);
    bool afternoon = !(mode & 2) && (field[HOUR] & 0x80);
    field[HOUR] &= mode & 2 ? 0xff : 0x7f;
    for (unsigned i = 0; i < CMOS_FIELDS && !(mode & 4); i++) {
        field[i] = (uint8_t)((field[i] >> 4) * 10 + (field[i] & 15));
    }
    uint64_t hour = mode & 2 ? field[HOUR] : field[HOUR] % 12 + (afternoon ? 12u : 0u);
    uint64_t century = field[CENTURY] >= 19 && field[CENTURY] <= 29 ? field[CENTURY] : 20;
    uint64_t days = days_from_date(century * 100 + field[YEAR], field[MONTH], field[DAY]);
    return ((days * 24 + hour) * 60 + field[MINUTE]) * 60 + field[SECOND];
}
