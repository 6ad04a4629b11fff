// SPDX-License-Identifier: MIT
/*
 * Tests of the code that reads what firmware and boot loader left behind (memory map, ACPI tables,
 * multiboot information, command line) and of the base library below it, with the sources as they
 * are in the hypervisor. The machine is a piece of memory and a few fakes in this file.
 */
#include <CUnit/Basic.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arch/x86_64/machine.h"
#include "base/assert.h"
#include "base/cmdline.h"
#include "base/format.h"
#include "base/lock.h"
#include "base/log.h"
#include "tests/unit/runner.h"

#define RAM_BYTES (4UL << 20)
#define GIB (1UL << 30)
#define IMAGE_FIRST 0x200UL
#define IMAGE_END 0x260UL

/* ---- the machine ---- */

_Thread_local unsigned host_cpu;
struct vcpu *host_current[MAX_PCPUS];
struct cpu_user_regs host_regs[MAX_PCPUS];
uint8_t *host_ram;
uint64_t *host_m2p;
uint64_t host_tsc;

struct arch_facts arch_facts;

static jmp_buf panicked;
static char panic_text[256], log_text[4096];
static void (*on_relax)(void);

void panic(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(panic_text, sizeof(panic_text), fmt, ap);
    va_end(ap);
    longjmp(panicked, 1);
}

void printk(const char *fmt, ...)
{
    size_t used = strlen(log_text);
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(log_text + used, sizeof(log_text) - used, fmt, ap);
    va_end(ap);
}

void arch_relax(void)
{
    CU_ASSERT_PTR_NOT_NULL_FATAL(on_relax);
    on_relax();
}

volatile void *arch_ioremap(maddr_t base, size_t bytes)
{
    return base + bytes <= RAM_BYTES ? host_ram + base : NULL;
}

/* The statement must end in panic(). */
#define PANICS(statement)                                                                          \
    do {                                                                                           \
        if (!setjmp(panicked)) {                                                                   \
            statement;                                                                             \
            CU_FAIL("no panic: " #statement);                                                      \
        }                                                                                          \
    } while (0)

static void setup(void)
{
    memset(host_ram, 0, RAM_BYTES);
    memset(&acpi_facts, 0, sizeof(acpi_facts));
    arch_facts = (struct arch_facts){.cpus_present = 1, .cpus_online = 1};
    panic_text[0] = log_text[0] = 0;
    host_cpu = 0;
    on_relax = NULL;
}

/* ---- format ---- */

#define SAME(...)                                                                                  \
    do {                                                                                           \
        char ours[128], theirs[128];                                                               \
        int length = format(ours, sizeof(ours), __VA_ARGS__);                                      \
        CU_ASSERT_EQUAL(length, snprintf(theirs, sizeof(theirs), __VA_ARGS__));                    \
        CU_ASSERT_STRING_EQUAL(ours, theirs);                                                      \
    } while (0)

static void test_format__like_libc(void)
{
    SAME("%d|%u", -5, 7u);
    SAME("%5d|%5d|%05u|%1d", 42, -42, 42u, -42);
    SAME("%ld %ld", INT64_MIN, INT64_MAX);
    SAME("%d %u %x", INT32_MIN, UINT32_MAX, UINT32_MAX);
    SAME("%lu %20lu %020lu", UINT64_MAX, 1UL, 0UL);
    SAME("%x %lx %08x %8x %016lx", 0xabu, UINT64_MAX, 0xabu, 0u, 0x1fUL);
    SAME("%s|%10s|%.2s|%5.1s|%.0s|", "abc", "abc", "abc", "abc", "abc");
    SAME("%*d|%0*u|%.*s|%%", 6, 1, 6, 1u, 2, "abc");
    SAME("no conversion");
}

static void test_format__bounded(void)
{
    char buf[8];
    memset(buf, 'x', sizeof(buf));
    CU_ASSERT_EQUAL(format(buf, 4, "%s", "abcdef"), 6);
    CU_ASSERT_STRING_EQUAL(buf, "abc");
    CU_ASSERT_EQUAL(buf[4], 'x');
    CU_ASSERT_EQUAL(format(buf, 0, "%d", 12345), 5);
    CU_ASSERT_EQUAL(buf[0], 'a');
    CU_ASSERT_EQUAL(format(buf, 1, "abc"), 3);
    CU_ASSERT_EQUAL(buf[0], 0);
}

static void test_parse_u64(void)
{
    const char *end;
    CU_ASSERT_EQUAL(parse_u64("1234x", &end), 1234);
    CU_ASSERT_STRING_EQUAL(end, "x");
    CU_ASSERT_EQUAL(parse_u64("0xfFg", &end), 255);
    CU_ASSERT_STRING_EQUAL(end, "g");
    CU_ASSERT_EQUAL(parse_u64("0x", &end), 0);
    CU_ASSERT_STRING_EQUAL(end, "x");
    CU_ASSERT_EQUAL(parse_u64("", &end), 0);
    CU_ASSERT_EQUAL(parse_u64("18446744073709551615", &end), UINT64_MAX);
}

/* ---- locks ---- */

static void test_lock__order(void)
{
    struct spinlock low = SPINLOCK_INIT(RANK_DOM_LIFE), high = SPINLOCK_INIT(RANK_HEAP);
    spin_lock(&low);
    spin_lock(&high);
    CU_ASSERT_TRUE(spin_is_mine(&low) && spin_is_mine(&high));
    host_cpu = 1;
    CU_ASSERT_FALSE(spin_is_mine(&low));
    host_cpu = 0;
    spin_unlock(&low);
    spin_unlock(&high);
    spin_assert_none_held();

    spin_lock(&high);
    PANICS(spin_lock(&low));
    PANICS(spin_assert_none_held());
    PANICS(spin_lock(&high));
    spin_unlock(&high);
    PANICS(spin_unlock(&high));
    spin_assert_none_held();
}

static void test_lock__pair(void)
{
    struct spinlock a = SPINLOCK_INIT(RANK_DOM_EVTCHN), b = SPINLOCK_INIT(RANK_DOM_EVTCHN);
    spin_lock_pair(&a, &b);
    CU_ASSERT_TRUE(spin_is_mine(&a) && spin_is_mine(&b));
    spin_unlock_pair(&a, &b);
    spin_lock_pair(&a, &a);
    spin_unlock_pair(&a, &a);
    spin_assert_none_held();
    spin_lock(&a);
    PANICS(spin_lock(&b));
    spin_unlock(&a);
}

static struct spinlock contended = SPINLOCK_INIT(RANK_HEAP);
static unsigned relaxed;

static void release_by_other(void)
{
    if (++relaxed == 3) {
        host_cpu = 1;
        spin_unlock(&contended);
        host_cpu = 0;
    }
}

static void test_lock__waits(void)
{
    host_cpu = 1;
    spin_lock(&contended);
    host_cpu = 0;
    on_relax = release_by_other;
    spin_lock(&contended);
    CU_ASSERT_EQUAL(relaxed, 3);
    spin_unlock(&contended);
}

/* ---- command line ---- */

static void test_cmdline(void)
{
    cmdline_parse("  console=none\tnoreboot dom0_mem=1G \"com1=9600,7e1 x\" panic=0x10 nonsense=1 "
                  "dom0_max_vcpus=two");
    CU_ASSERT_STRING_EQUAL(cmdline.console, "none");
    CU_ASSERT_STRING_EQUAL(cmdline.com1, "9600,7e1 x");
    CU_ASSERT_TRUE(cmdline.noreboot);
    CU_ASSERT_EQUAL(cmdline.dom0_mem, GIB);
    CU_ASSERT_EQUAL(cmdline.panic, 16);
    CU_ASSERT_EQUAL(cmdline.dom0_max_vcpus, 0);
    cmdline_report();
    CU_ASSERT_PTR_NOT_NULL(strstr(log_text, "nonsense=1"));
    CU_ASSERT_PTR_NOT_NULL(strstr(log_text, "dom0_max_vcpus=two"));
    CU_ASSERT_PTR_NULL(strstr(log_text, "panic"));
    cmdline_parse("noreboot=no");
    CU_ASSERT_FALSE(cmdline.noreboot);
    cmdline_parse("noreboot=maybe");
    CU_ASSERT_FALSE(cmdline.noreboot);
    CU_ASSERT_EQUAL(cmdline.spec_ctrl, OPTION_AUTO);
    cmdline_parse("spec-ctrl=no");
    CU_ASSERT_EQUAL(cmdline.spec_ctrl, OPTION_NO);
    cmdline_parse("spec_ctrl spec-ctr=no spec-ctrla=no");
    CU_ASSERT_EQUAL(cmdline.spec_ctrl, OPTION_YES);
    cmdline_parse("spec-ctrl=auto spec-ctrl=perhaps");
    CU_ASSERT_EQUAL(cmdline.spec_ctrl, OPTION_AUTO);
}

static void test_cmdline_parse_size(void)
{
    static const struct {
        const char *text;
        uint64_t bytes;
    } good[] = {{"7", 7UL << 10},      {"7b", 7},       {"7k", 7UL << 10},
                {"512M", 512UL << 20}, {"2g", 2 * GIB}, {"1T", 1024 * GIB}};
    static const char *const bad[] = {"", "M", "1x", "1MB", "-1", "18014398509481984M"};
    uint64_t bytes;
    for (unsigned i = 0; i < ARRAY_SIZE(good); i++) {
        CU_ASSERT_TRUE(cmdline_parse_size(good[i].text, &bytes));
        CU_ASSERT_EQUAL(bytes, good[i].bytes);
    }
    for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
        CU_ASSERT_FALSE(cmdline_parse_size(bad[i], &bytes));
    }
}

static void test_cmdline__long_words(void)
{
    char line[1000];
    memset(line, 'a', sizeof(line) - 1);
    line[sizeof(line) - 1] = 0;
    cmdline_parse(line);
    memcpy(line, "com1=", 5);
    cmdline_parse(line);
    cmdline_parse("panic=\"");
    CU_ASSERT_EQUAL(cmdline.panic, 16);
}

/* ---- multiboot ---- */

static void put32(maddr_t at, uint32_t value)
{
    memcpy(host_ram + at, &value, sizeof(value));
}

static void put_mmap(maddr_t at, uint64_t start, uint64_t bytes, uint32_t type)
{
    put32(at, 20);
    memcpy(host_ram + at + 4, &start, 8);
    memcpy(host_ram + at + 12, &bytes, 8);
    put32(at + 20, type);
}

static void test_multiboot(void)
{
    static struct boot_info info;
    memset(&info, 0, sizeof(info));
    CU_ASSERT_FALSE(multiboot_fill(&info, 0x36d76289, 0x1000));

    put32(0x1000, 1u << 2 | 1u << 3 | 1u << 6 | 1u << 9);
    put32(0x1000 + 16, 0x2000); /* command line */
    put32(0x1000 + 20, 2);      /* modules */
    put32(0x1000 + 24, 0x3000);
    put32(0x1000 + 44, 48); /* memory map */
    put32(0x1000 + 48, 0x4000);
    put32(0x1000 + 64, 0x5000); /* loader */
    strcpy((char *)host_ram + 0x2000, "/boot/paravane.bin  console=com1 a=b");
    strcpy((char *)host_ram + 0x5000, "qemu");
    put32(0x3000, 0x100000);
    put32(0x3004, 0x100123);
    put32(0x3008, 0x6000);
    put32(0x3010, 0x200000);
    put32(0x3014, 0x200000);
    strcpy((char *)host_ram + 0x6000, "vmlinux root=/dev/xvda ro");
    put_mmap(0x4000, 0, 0x9fc00, 1);
    put_mmap(0x4018, 0x100000000, 64 * GIB, 1);

    CU_ASSERT_TRUE(multiboot_fill(&info, 0x2badb002, 0x1000));
    CU_ASSERT_STRING_EQUAL(info.cmdline, "console=com1 a=b");
    CU_ASSERT_STRING_EQUAL(info.loader, "qemu");
    CU_ASSERT_EQUAL(info.module_count, 2);
    CU_ASSERT_EQUAL(info.module[0].start, 0x100000);
    CU_ASSERT_EQUAL(info.module[0].bytes, 0x123);
    CU_ASSERT_STRING_EQUAL(info.module[0].cmdline, "root=/dev/xvda ro");
    CU_ASSERT_EQUAL(info.module[1].bytes, 0);
    CU_ASSERT_EQUAL(info.e820_count, 2);
    CU_ASSERT_EQUAL(info.e820[1].bytes, 64 * GIB);

    /* GRUB 2 leaves the file's name out */
    memset(&info, 0, sizeof(info));
    strcpy((char *)host_ram + 0x2000, "console=com1");
    strcpy((char *)host_ram + 0x5000, "GRUB 2.06-13");
    CU_ASSERT_TRUE(multiboot_fill(&info, 0x2badb002, 0x1000));
    CU_ASSERT_STRING_EQUAL(info.cmdline, "console=com1");
}

static void test_multiboot__no_map(void)
{
    static struct boot_info info;
    memset(&info, 0, sizeof(info));
    put32(0x1000, 1);
    put32(0x1004, 639);
    put32(0x1008, 130048);
    CU_ASSERT_TRUE(multiboot_fill(&info, 0x2badb002, 0x1000));
    CU_ASSERT_EQUAL(info.e820_count, 2);
    CU_ASSERT_EQUAL(info.e820[0].bytes, 639 << 10);
    CU_ASSERT_EQUAL(info.e820[1].start, 1 << 20);
    CU_ASSERT_EQUAL(info.e820[1].bytes, 127UL << 20);
    CU_ASSERT_EQUAL(info.module_count, 0);
}

/* ---- memory map ---- */

static struct boot_info layout;

static void layout_begin(void)
{
    memset(&layout, 0, sizeof(layout));
}

static void layout_add(uint64_t start, uint64_t bytes, uint32_t type)
{
    layout.e820[layout.e820_count++] = (struct arch_e820){start, bytes, type};
}

static void layout_end(void)
{
    memmap_init(&layout, IMAGE_FIRST, IMAGE_END);
}

static uint64_t free_frames(void)
{
    uint64_t sum = 0;
    mfn_t last_end = 0;
    for (unsigned i = 0; i < arch_facts.free_count; i++) {
        mfn_t first = arch_facts.free[i].first, end = arch_facts.free[i].end;
        CU_ASSERT_TRUE(end > first && first >= last_end);
        last_end = end;
        sum += end - first;
        CU_ASSERT_TRUE(arch_mfn_is_ram(first) && arch_mfn_is_ram(last_end - 1));
        CU_ASSERT_FALSE(arch_frame_is_hyp(first));
    }
    return sum;
}

static void test_memmap__overlaps(void)
{
    layout_begin();
    layout_add(0x100000000, 60 * GIB, 1);
    layout_add(0x100000, 0x7ff00000, 1);
    layout_add(0, 0xa0000, 1);
    layout_add(0x50000000, 0x1800, 2);     /* inside RAM, ends within a page */
    layout_add(0x7fff0800, 0x20000, 3);    /* across the end of RAM, starts within a page */
    layout_add(0x100000000, 0, 2);         /* empty */
    layout_add(~0UL - 10, 100, 1);         /* wraps */
    layout_add(0x200000000, 0x1000000, 1); /* the same again */
    layout_end();

    uint64_t end = 0;
    for (unsigned i = 0; i < arch_facts.e820_count; i++) {
        CU_ASSERT_TRUE(arch_facts.e820[i].start >= end);
        end = arch_facts.e820[i].start + arch_facts.e820[i].bytes;
    }
    CU_ASSERT_EQUAL(arch_facts.e820_count, 6);
    CU_ASSERT_EQUAL(arch_facts.max_mfn, (64 * GIB) >> 12);
    CU_ASSERT_TRUE(arch_mfn_is_ram(0x4ffff));
    CU_ASSERT_FALSE(arch_mfn_is_ram(0x50000));
    CU_ASSERT_FALSE(arch_mfn_is_ram(0x50001));
    CU_ASSERT_TRUE(arch_mfn_is_ram(0x50002));
    CU_ASSERT_TRUE(arch_mfn_is_ram(0x7ffef));
    CU_ASSERT_FALSE(arch_mfn_is_ram(0x7fff0));
    CU_ASSERT_FALSE(arch_mfn_is_ram(0xa0));
    uint64_t low = 0x7fff0 - 0x100 - 2 - (IMAGE_END - IMAGE_FIRST);
    CU_ASSERT_EQUAL(free_frames(), low + ((60 * GIB) >> 12));
    CU_ASSERT_TRUE(arch_frame_is_hyp(IMAGE_FIRST) && arch_frame_is_hyp(IMAGE_END - 1));
    CU_ASSERT_FALSE(arch_frame_is_hyp(IMAGE_END) || arch_frame_is_hyp(0x50));
}

static void test_memmap__modules(void)
{
    layout_begin();
    layout_add(0x100000, 63UL << 20, 1);
    layout.module_count = 2;
    layout.module[0].start = 0x1000123;
    layout.module[0].bytes = 0x1000;
    layout.module[1].start = 0x3fff000; /* reaches beyond RAM */
    layout.module[1].bytes = 0x5000;
    layout_end();
    CU_ASSERT_EQUAL(free_frames(), 0x4000 - 0x100 - (IMAGE_END - IMAGE_FIRST) - 2 - 1);
    CU_ASSERT_FALSE(arch_frame_is_hyp(0x1000) || arch_frame_is_hyp(0x1001));
}

static void test_memmap_alloc(void)
{
    layout_begin();
    layout_add(0x100000, GIB - 0x100000 + 0x5000, 1);
    layout_add(0x100000000, GIB, 1);
    layout_end();
    uint64_t before = free_frames();
    CU_ASSERT_EQUAL(memmap_alloc(1, 1, ~0UL), 0x13ffff);
    CU_ASSERT_EQUAL(memmap_alloc(512, 512, ~0UL), 0x13fc00);
    CU_ASSERT_EQUAL(memmap_alloc(1, 1, ~0UL), 0x13fffe);
    CU_ASSERT_EQUAL(memmap_alloc(1, 1, 0x100000), 0x40004);
    CU_ASSERT_EQUAL(memmap_alloc(512, 512, 0x100000), 0x3fe00);
    CU_ASSERT_EQUAL(memmap_alloc(2, 1, 0x300), 0x2fe);
    CU_ASSERT_EQUAL(free_frames(), before - 1 - 512 - 1 - 1 - 512 - 2);
    CU_ASSERT_TRUE(arch_frame_is_hyp(0x13ffff) && arch_frame_is_hyp(0x2fe));
    PANICS((void)memmap_alloc(0x40001, 1, ~0UL));
    PANICS((void)memmap_alloc(1, 1, 0x100));
}

static void test_memmap__many_holes(void)
{
    layout_begin();
    for (unsigned i = 0; i < BOOT_E820_MAX; i++) {
        layout_add((1UL << 30) + i * 0x10000, 0x8000, 1);
    }
    layout_end();
    CU_ASSERT_EQUAL(free_frames(), 8 * BOOT_E820_MAX);
    /* splitting a range for every allocation must run out of room for ranges gracefully */
    uint64_t left = 8 * BOOT_E820_MAX;
    for (unsigned i = 0; i < 2 * BOOT_E820_MAX; i++) {
        (void)memmap_alloc(1, 4, ~0UL);
        left--;
        CU_ASSERT_TRUE(free_frames() <= left);
    }
}

/* ---- ACPI ---- */

#define RSDP_AT 0xf0010
#define XSDT_AT 0x110000
#define MADT_AT 0x111000
#define FADT_AT 0x112000
#define HPET_AT 0x113000
#define MCFG_AT 0x114000

static void fix_checksum(maddr_t at, uint32_t bytes, unsigned field)
{
    uint8_t sum = 0;
    host_ram[at + field] = 0;
    for (uint32_t i = 0; i < bytes; i++) {
        sum = (uint8_t)(sum + host_ram[at + i]);
    }
    host_ram[at + field] = (uint8_t)-sum;
}

static void put_table(maddr_t at, const char *signature, const void *body, uint32_t bytes)
{
    memset(host_ram + at, 0, 36);
    memcpy(host_ram + at, signature, 4);
    put32(at + 4, 36 + bytes);
    memcpy(host_ram + at + 36, body, bytes);
    fix_checksum(at, 36 + bytes, 9);
}

static const uint8_t madt_body[] = {
    0, 0,  0xe0, 0xfe, 1,    0, 0,    0,                  /* local APICs, flags */
    0, 8,  0,    3,    1,    0, 0,    0,                  /* processor, id 3 */
    0, 8,  1,    4,    0,    0, 0,    0,                  /* disabled processor */
    0, 8,  2,    5,    1,    0, 0,    0,                  /* processor, id 5 */
    1, 12, 7,    0,    0,    0, 0xc0, 0xfe, 24,  0, 0, 0, /* I/O APIC 7, lines from 24 */
    2, 10, 0,    0,    2,    0, 0,    0,    0,   0,       /* IRQ 0 is GSI 2 */
    2, 10, 0,    9,    9,    0, 0,    0,    0xf, 0,       /* IRQ 9 level, low */
    2, 10, 0,    77,   9,    0, 0,    0,    0xf, 0,       /* nonsense */
    4, 6,  255,  0,    0,    1,                           /* NMI */
    9, 16, 0,    0,    0x2c, 1, 0,    0,    1,   0, 0, 0, 9, 0, 0, 0, /* x2APIC id 300 */
};

static void put_root(unsigned tables)
{
    static const uint64_t all[] = {MADT_AT, FADT_AT, HPET_AT, MCFG_AT};
    memcpy(host_ram + RSDP_AT, "RSD PTR ", 8);
    host_ram[RSDP_AT + 15] = 2;
    put32(RSDP_AT + 20, 36);
    put32(RSDP_AT + 24, XSDT_AT);
    fix_checksum(RSDP_AT, 20, 8);
    put_table(XSDT_AT, "XSDT", all, tables * 8);
    layout_begin();
    layout_add(0, RAM_BYTES, 1);
    layout_end();
}

static void test_acpi__tables(void)
{
    uint8_t fadt[232] = {0}, hpet[20] = {0}, mcfg[24] = {0};
    put_table(MADT_AT, "APIC", madt_body, sizeof(madt_body));
    memcpy(fadt + 64 - 36, "\x04\x06", 2);  /* PM1a control */
    memcpy(fadt + 76 - 36, "\x08\x06", 2);  /* PM timer */
    fadt[108 - 36] = 0x32;                  /* century */
    memcpy(fadt + 112 - 36, "\x00\x05", 2); /* 32-bit timer, reset register */
    memcpy(fadt + 116 - 36, "\x01\x08\0\0\xf9\x0c", 6);
    fadt[128 - 36] = 0x0f;
    put_table(FADT_AT, "FACP", fadt, sizeof(fadt));
    memcpy(hpet + 8, "\x00\x00\xd0\xfe", 4);
    put_table(HPET_AT, "HPET", hpet, sizeof(hpet));
    memcpy(mcfg + 8, "\0\0\0\xb0\0\0\0\0\0\0\x00\xff", 12);
    put_table(MCFG_AT, "MCFG", mcfg, sizeof(mcfg));
    put_root(4);
    acpi_init(0);

    CU_ASSERT_EQUAL(arch_facts.acpi_rsdp, RSDP_AT);
    CU_ASSERT_EQUAL(acpi_facts.lapic, 0xfee00000);
    CU_ASSERT_EQUAL(acpi_facts.cpu_count, 3);
    CU_ASSERT_EQUAL(acpi_facts.apic_id[0], 3);
    CU_ASSERT_EQUAL(acpi_facts.apic_id[1], 5);
    CU_ASSERT_EQUAL(acpi_facts.apic_id[2], 300);
    CU_ASSERT_EQUAL(acpi_facts.ioapic_count, 1);
    CU_ASSERT_EQUAL(acpi_facts.ioapic[0].base, 0xfec00000);
    CU_ASSERT_EQUAL(acpi_facts.ioapic[0].gsi_base, 24);
    CU_ASSERT_TRUE(acpi_facts.isa[0].used && !acpi_facts.isa[0].level);
    CU_ASSERT_EQUAL(acpi_facts.isa[0].gsi, 2);
    CU_ASSERT_TRUE(acpi_facts.isa[9].used && acpi_facts.isa[9].level && acpi_facts.isa[9].low);
    CU_ASSERT_EQUAL(acpi_facts.pm1a_cnt, 0x604);
    CU_ASSERT_EQUAL(acpi_facts.pm_timer, 0x608);
    CU_ASSERT_TRUE(acpi_facts.has_reset);
    CU_ASSERT_EQUAL(acpi_facts.century, 0x32);
    CU_ASSERT_EQUAL(acpi_facts.reset_port, 0xcf9);
    CU_ASSERT_EQUAL(acpi_facts.reset_value, 0x0f);
    CU_ASSERT_EQUAL(acpi_facts.hpet, 0xfed00000);
    CU_ASSERT_EQUAL(acpi_facts.mcfg_count, 1);
    CU_ASSERT_EQUAL(acpi_facts.mcfg[0].base, 0xb0000000);
    CU_ASSERT_EQUAL(acpi_facts.mcfg[0].last_bus, 0xff);
}

static void test_acpi__none(void)
{
    layout_begin();
    layout_add(0, RAM_BYTES, 1);
    layout_end();
    acpi_init(0);
    CU_ASSERT_EQUAL(arch_facts.acpi_rsdp, 0);
    CU_ASSERT_EQUAL(arch_facts.cpus_present, 1);
}

static void test_acpi__damaged(void)
{
    put_table(MADT_AT, "APIC", madt_body, sizeof(madt_body));
    put_root(1);
    host_ram[MADT_AT + 50]++;
    acpi_init(0);
    CU_ASSERT_EQUAL(acpi_facts.cpu_count, 0);
    CU_ASSERT_PTR_NOT_NULL(strstr(log_text, "checksum"));

    /* an entry of length 0 would loop for ever, a long one would leave the table */
    static const uint8_t lengths[] = {0, 1, 255};
    for (unsigned i = 0; i < sizeof(lengths); i++) {
        setup();
        uint8_t body[sizeof(madt_body)];
        memcpy(body, madt_body, sizeof(body));
        body[8 + 8 + 1] = lengths[i];
        put_table(MADT_AT, "APIC", body, sizeof(body));
        put_root(1);
        acpi_init(0);
        CU_ASSERT_EQUAL(acpi_facts.cpu_count, 1);
        CU_ASSERT_PTR_NOT_NULL(strstr(log_text, "malformed"));
    }

    /* a table that claims to be larger than memory */
    setup();
    put_table(MADT_AT, "APIC", madt_body, sizeof(madt_body));
    put32(MADT_AT + 4, 0xfffffff0);
    put_root(1);
    acpi_init(0);
    CU_ASSERT_EQUAL(acpi_facts.cpu_count, 0);

    /* a root table without tables, and one that is not there */
    setup();
    put_root(0);
    acpi_init(RSDP_AT);
    CU_ASSERT_EQUAL(arch_facts.acpi_rsdp, RSDP_AT);
    CU_ASSERT_EQUAL(acpi_facts.cpu_count, 0);
    setup();
    put_root(0);
    host_ram[XSDT_AT + 9]++;
    acpi_init(0);
    CU_ASSERT_PTR_NOT_NULL(strstr(log_text, "no usable root table"));
}

int main(void)
{
    static CU_TestInfo tests[] = {
        {"format: like libc", test_format__like_libc},
        {"format: bounded", test_format__bounded},
        {"parse_u64", test_parse_u64},
        {"lock: order", test_lock__order},
        {"lock: pair", test_lock__pair},
        {"lock: waits", test_lock__waits},
        {"command line", test_cmdline},
        {"command line: sizes", test_cmdline_parse_size},
        {"command line: long words", test_cmdline__long_words},
        {"multiboot", test_multiboot},
        {"multiboot: no map", test_multiboot__no_map},
        {"memory map: overlaps", test_memmap__overlaps},
        {"memory map: modules", test_memmap__modules},
        {"memory map: allocation", test_memmap_alloc},
        {"memory map: many holes", test_memmap__many_holes},
        {"acpi: tables", test_acpi__tables},
        {"acpi: none", test_acpi__none},
        {"acpi: damaged", test_acpi__damaged},
        CU_TEST_INFO_NULL,
    };
    CU_SuiteInfo suites[] = {{"start", NULL, NULL, setup, NULL, tests}, CU_SUITE_INFO_NULL};
    host_ram = calloc(1, RAM_BYTES);
    int status = host_ram ? run_suites(suites) : 1;
    free(host_ram);
    return status;
}
