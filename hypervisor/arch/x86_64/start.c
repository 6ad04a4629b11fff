// SPDX-License-Identifier: MIT
/*
 * The first C code: brings the machine up in order and leaves for upcall_boot(), on the first CPU's
 * own stack. Runs once.
 */
#include "arch/upcalls.h"
#include "base/assert.h"
#include "base/cmdline.h"
#include "base/log.h"
#include "base/protection.h"
#include "machine.h"
#include "wx.h"

#ifdef __clang__
#define COMPILER __VERSION__
#else
#define COMPILER "gcc " __VERSION__
#endif

/* The processor aligns the stack of an interrupt to 16 bytes: `es` must be there by itself. */
_Static_assert((sizeof(struct cpu_info) - offsetof(struct cpu_user_regs, es)) % 16 == 0,
               "interrupt frames would not end at guest_regs.ss");

/* Aligned and ended like every main stack, so that cpu_info() works from the first moment. */
char boot_stack[STACK_BYTES] __attribute__((aligned(STACK_BYTES), section(".bss.page")));

static struct boot_info boot_info;
struct arch_facts arch_facts = {.cpus_present = 1, .cpus_online = 1};

static void report_memory(void)
{
    uint64_t ram = 0, left = 0;
    for (unsigned i = 0; i < arch_facts.e820_count; i++) {
        static const char *const names[] = {"?",         "RAM",      "reserved",
                                            "ACPI data", "ACPI NVS", "unusable"};
        const struct arch_e820 *e = &arch_facts.e820[i];
        printk("  %016lx-%016lx %s\n", e->start, e->start + e->bytes - 1,
               names[e->type < ARRAY_SIZE(names) ? e->type : 0]);
        ram += e->type == 1 ? e->bytes : 0;
    }
    for (unsigned i = 0; i < arch_facts.free_count; i++) {
        left += (arch_facts.free[i].end - arch_facts.free[i].first) << PAGE_SHIFT;
    }
    printk(
        "Memory: %lu MiB RAM, %lu MiB free, %lu KiB taken by us, by firmware's first MiB and the "
        "boot modules, highest frame %lx\n",
        ram >> 20, left >> 20, (ram - left) >> 10, arch_facts.max_mfn - 1);
}

static void check_tables(void)
{
    static struct wx wx;
    wx_walk(&wx, hyp_cr3() >> PAGE_SHIFT);
    if (wx.problem) {
        panic("page tables at %lx: %s", wx.at, wx.problem);
    }
    printk(
        "Page tables: %lu pages executable, %lu writable, %lu neither (%lu open to guests), none "
        "both; %u stacks over guard pages\n",
        wx.executable, wx.writable, wx.read_only, wx.user, wx.stacks);
    protection_report("W^X", "on, checked");
}

static noreturn void start_on_percpu_stack(void)
{
    traps_init_cpu(0);
    smap_init();
    clock_init();
    irq_mask_old_controllers();
    apic_init_cpu();
    smp_start();
    irq_init();
    mmu_init_done();
    check_tables();
    report_memory();
    upcall_boot(&boot_info);
}

noreturn void start_image(uint32_t magic, uint32_t mbi);
void start_image(uint32_t magic, uint32_t mbi)
{
    bool filled = multiboot_fill(&boot_info, magic, mbi);
    cmdline_parse(boot_info.cmdline);
    uart_early_init(cmdline.com1);
    printk("Paravane, a paravirtual hypervisor (" COMPILER ", with%s assertions)\n",
           DEBUG_BUILD ? "" : "out");
    if (!filled) {
        panic("not started by a multiboot loader (magic %08x)", magic);
    }
    printk("Loader: %s; options: %s\n", boot_info.loader, boot_info.cmdline);
    cmdline_report();
    for (unsigned i = 0; i < boot_info.module_count; i++) {
        printk("Module %u: %016lx, %lu bytes: %s\n", i, boot_info.module[i].start,
               boot_info.module[i].bytes, boot_info.module[i].cmdline);
    }
    cpu_init(0);
    mmu_init(&boot_info);
    acpi_init(boot_info.rsdp);
    percpu_map(0);
    jump_to_stack(percpu_stack(0), start_on_percpu_stack);
}
