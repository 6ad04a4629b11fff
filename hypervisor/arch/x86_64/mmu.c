// SPDX-License-Identifier: MIT
/*
 * The hypervisor's own page tables: image, per-CPU blocks, device mappings, direct map, frame table
 * and M2P, as arch/layout.h draws them. Nothing is writable and executable, in any alias. The
 * tables behind the sixteen L4 entries are shared by every address space, so a change here is seen
 * in all; the L4 entries never change after mmu_init(). No lock: after start-up a CPU changes the
 * entries of its own windows, whose tables are there, and device memory is mapped under the lock of
 * the one caller (RANK_IRQ), with page-table pages from a small reserve.
 */
#include "asm.h"
#include "base/assert.h"
#include "base/string.h"
#include "core/frame.h"
#include "machine.h"
#include "speculation.h"

/* Of entries above the last level, which decides what guests may do. */
#define LINK_FLAGS (X86_PTE_P | X86_PTE_RW | X86_PTE_US | X86_PTE_A)
#define FOUR_GIB_MFN 0x100000UL
#define LARGE_BYTES (1UL << 21)
#define LARGE_FRAMES 512UL
#define RESERVE_TABLES 32

#define SECTION_FRAMES (1UL << SECTION_SHIFT)
#define SECTIONS_MAX (DIRECTMAP_BYTES >> (PAGE_SHIFT + SECTION_SHIFT))

_Static_assert(FRAMETABLE_START + (DIRECTMAP_BYTES >> PAGE_SHIFT) * sizeof(struct frame) <=
                   FRAMELINKS_START,
               "the frame table reaches the links");
_Static_assert(FRAMELINKS_START + (DIRECTMAP_BYTES >> PAGE_SHIFT) * sizeof(struct frame_link) <=
                   HYP_IMAGE_START,
               "the links reach the image");

static uint64_t *hyp_l4;
uint64_t section_present[BITMAP_WORDS(SECTIONS_MAX)];
static mfn_t reserve_tables[RESERVE_TABLES];
static unsigned reserve_count;
/* Page tables must be reachable while they are built: below 4 GiB until the direct map is live. */
static mfn_t table_limit = FOUR_GIB_MFN;
static bool starting = true;
static vaddr_t ioremap_next = IOREMAP_START;

/* Flags of pages that only the hypervisor reads, or executes. */
static uint64_t read_flags(bool execute)
{
    return X86_PTE_P | X86_PTE_A | (cpu_has(CPU_PGE) ? X86_PTE_G : 0) | (execute ? 0 : X86_PTE_NX);
}

/* Flags of ordinary data pages. */
static uint64_t data_flags(void)
{
    return read_flags(false) | X86_PTE_RW | X86_PTE_D;
}

static mfn_t table_alloc(void)
{
    mfn_t mfn;
    if (starting) {
        mfn = memmap_alloc(1, 1, table_limit);
    } else if (reserve_count) {
        mfn = reserve_tables[--reserve_count];
    } else {
        return INVALID_MFN;
    }
    memset(mfn_to_virt(mfn), 0, PAGE_SIZE);
    return mfn;
}

/* Replace a large page by a table of the next smaller ones with the same rights. */
static bool split(uint64_t *entry, unsigned level)
{
    mfn_t mfn = table_alloc();
    if (mfn == INVALID_MFN) {
        return false;
    }
    uint64_t *table = mfn_to_virt(mfn);
    uint64_t step = 1UL << PT_SHIFT(level - 1);
    uint64_t pte = *entry & ~(level == 2 ? X86_PTE_PSE : 0);
    for (unsigned i = 0; i < PT_ENTRIES; i++) {
        table[i] = pte + i * step;
    }
    *entry = mfn << PAGE_SHIFT | LINK_FLAGS;
    return true;
}

/* The entry for va at `level`, making the tables above it; NULL when the reserve is used up. */
static uint64_t *entry_of(vaddr_t va, unsigned level)
{
    uint64_t *table = hyp_l4;
    for (unsigned l = 4; l > level; l--) {
        uint64_t *entry = &table[PT_INDEX(va, l)];
        if (!(*entry & X86_PTE_P)) {
            mfn_t mfn = table_alloc();
            if (mfn == INVALID_MFN) {
                return NULL;
            }
            *entry = mfn << PAGE_SHIFT | LINK_FLAGS;
        } else if ((*entry & X86_PTE_PSE) && l < 4 && !split(entry, l)) {
            return NULL;
        }
        table = mfn_to_virt(PTE_MFN(*entry));
    }
    return &table[PT_INDEX(va, level)];
}

/* Map [va, va + bytes) to pa on, with the largest pages that fit. All page-aligned. */
static bool map_range(vaddr_t va, maddr_t pa, uint64_t bytes, uint64_t flags)
{
    unsigned top = cpu_has(CPU_1GB) ? 3 : 2;
    while (bytes) {
        unsigned level = top;
        while (level > 1 &&
               (((va | pa) & ((1UL << PT_SHIFT(level)) - 1)) || bytes < 1UL << PT_SHIFT(level))) {
            level--;
        }
        uint64_t *entry = entry_of(va, level);
        if (!entry) {
            return false;
        }
        *entry = pa | flags | (level > 1 ? X86_PTE_PSE : 0);
        uint64_t step = 1UL << PT_SHIFT(level);
        va += step;
        pa += step;
        bytes -= step;
    }
    return true;
}

/* During start-up there is always a table to be had, or memmap_alloc() has panicked. */
static void map_at_start(vaddr_t va, maddr_t pa, uint64_t bytes, uint64_t flags)
{
    BUG_ON(!map_range(va, pa, bytes, flags));
}

static void map_image(void)
{
    vaddr_t start = (vaddr_t)__image_start, text = (vaddr_t)__text_end;
    vaddr_t rodata = (vaddr_t)__rodata_end, end = (vaddr_t)__image_end;
    map_at_start(start, HYP_LOAD_PHYS, text - start, read_flags(true));
    map_at_start(text, image_maddr(__text_end), rodata - text, read_flags(false));
    map_at_start(rodata, image_maddr(__rodata_end), end - rodata, data_flags());
}

/* Map a piece of the direct map, but the image's code and constants read-only. */
static void map_direct(maddr_t start, maddr_t end)
{
    maddr_t ro_start = HYP_LOAD_PHYS, ro_end = image_maddr(__rodata_end);
    maddr_t cuts[4] = {start, MIN(MAX(start, ro_start), end), MIN(MAX(start, ro_end), end), end};
    for (unsigned i = 0; i < 3; i++) {
        map_at_start(DIRECTMAP_START + cuts[i], cuts[i], cuts[i + 1] - cuts[i],
                     i == 1 ? read_flags(false) : data_flags());
    }
}

/* RAM, and the areas where firmware keeps ACPI tables. */
static void map_direct_all(void)
{
    for (unsigned i = 0; i < arch_facts.e820_count; i++) {
        const struct arch_e820 *e = &arch_facts.e820[i];
        mfn_t first, end;
        if (memmap_ram(i, &first, &end)) {
            map_direct(first << PAGE_SHIFT, end << PAGE_SHIFT);
        } else if ((e->type == 3 || e->type == 4) && e->start + e->bytes <= DIRECTMAP_BYTES) {
            maddr_t start = e->start & PAGE_MASK;
            map_direct(start, ROUND_UP(e->start + e->bytes, PAGE_SIZE));
        }
    }
}

/* ---- frame table and M2P ---- */

/* Give [va, va + bytes) large pages of new memory filled with `byte`, where it has none; `alias`
 * becomes a read-only view of the same for guests, unless 0. */
static void populate(vaddr_t va, uint64_t bytes, int byte, vaddr_t alias)
{
    vaddr_t start = va & ~(LARGE_BYTES - 1);
    for (vaddr_t at = start; at < va + bytes; at += LARGE_BYTES) {
        uint64_t *entry = entry_of(at, 2);
        BUG_ON(!entry);
        if (*entry & X86_PTE_P) {
            continue;
        }
        maddr_t pa = memmap_alloc(LARGE_FRAMES, LARGE_FRAMES, ~0UL) << PAGE_SHIFT;
        *entry = pa | data_flags() | X86_PTE_PSE;
        memset((void *)at, byte, LARGE_BYTES);
        if (alias) {
            map_at_start(alias + (at - start), pa, LARGE_BYTES, read_flags(false) | X86_PTE_US);
        }
    }
}

static void build_frame_tables(void)
{
    for (unsigned i = 0; i < arch_facts.e820_count; i++) {
        mfn_t first, end;
        if (!memmap_ram(i, &first, &end)) {
            continue;
        }
        for (uint64_t s = first >> SECTION_SHIFT; s <= (end - 1) >> SECTION_SHIFT; s++) {
            if (test_and_set_bit((unsigned)s, section_present)) {
                continue;
            }
            mfn_t mfn = s << SECTION_SHIFT;
            populate((vaddr_t)&frame_table[mfn], SECTION_FRAMES * sizeof(struct frame), 0, 0);
            populate((vaddr_t)&frame_links[mfn], SECTION_FRAMES * sizeof(struct frame_link), 0, 0);
            uint64_t offset = mfn * sizeof(uint64_t);
            populate(M2P_RW_START + offset, SECTION_FRAMES * sizeof(uint64_t), 0xff,
                     M2P_RO_START + (offset & ~(LARGE_BYTES - 1)));
        }
    }
}

/* ---- start-up ---- */

void mmu_init(const struct boot_info *info)
{
    memmap_init(info, HYP_LOAD_PHYS >> PAGE_SHIFT, image_maddr(__image_end) >> PAGE_SHIFT);
    frame_table = (struct frame *)FRAMETABLE_START;
    frame_links = (struct frame_link *)FRAMELINKS_START;
    arch_facts.absent_top = speculation.absent ? arch_facts.max_mfn << PAGE_SHIFT : 0;
    hyp_l4 = mfn_to_virt(table_alloc());
    for (unsigned slot = HYP_L4_FIRST; slot <= HYP_L4_LAST; slot++) {
        hyp_l4[slot] = table_alloc() << PAGE_SHIFT | LINK_FLAGS;
    }
    map_image();
    map_direct_all();
    __asm__ volatile("mov %0, %%cr3" : : "r"(hyp_cr3()) : "memory");
    table_limit = INVALID_MFN;
    build_frame_tables();
    for (; reserve_count < RESERVE_TABLES; reserve_count++) {
        reserve_tables[reserve_count] = table_alloc();
    }
}

void mmu_init_done(void)
{
    starting = false;
}

maddr_t hyp_cr3(void)
{
    return virt_to_mfn(hyp_l4) << PAGE_SHIFT;
}

void arch_l4_install(uint64_t *l4)
{
    memcpy(&l4[HYP_L4_FIRST], &hyp_l4[HYP_L4_FIRST], (HYP_L4_LAST - HYP_L4_FIRST + 1) * 8);
    (void)!arch_l4_changed(); /* the frame may have been another L4 before */
}

/* ---- single pages and per-CPU blocks ---- */

void hyp_map_page(vaddr_t va, mfn_t mfn, uint64_t pte_flags)
{
    uint64_t *entry = entry_of(va, 1);
    BUG_ON(!entry);
    write_once(*entry, mfn == INVALID_MFN ? 0 : mfn << PAGE_SHIFT | pte_flags);
}

/* Map a page of a CPU's block. */
static void percpu_page(unsigned cpu, uint64_t offset, mfn_t mfn, uint64_t flags)
{
    hyp_map_page(PERCPU_START + (uint64_t)cpu * PERCPU_STRIDE + offset, mfn, flags);
    xpti_page(cpu, offset, mfn << PAGE_SHIFT | flags);
}

void percpu_map(unsigned cpu)
{
    vaddr_t block = PERCPU_START + (uint64_t)cpu * PERCPU_STRIDE;
    BUG_ON(!starting);
    xpti_map_cpu(cpu, hyp_l4);
    for (vaddr_t at = 0; at < PERCPU_TSS + PAGE_SIZE; at += PAGE_SIZE) {
        bool stack = at < STACK_BYTES && (PERCPU_STACK_PAGES >> (at >> PAGE_SHIFT) & 1);
        bool gdt_tail = at >= PERCPU_GDT + GDT_RESERVED_FIRST * 8 && at < PERCPU_LDT;
        if (stack || gdt_tail || at == PERCPU_TSS) {
            percpu_page(cpu, at, table_alloc(), data_flags());
        }
    }
    mfn_t stub = table_alloc();
    uint8_t *page = mfn_to_virt(stub);
    syscall_stub_write(page, block + PERCPU_STUB);
    hyp_map_page((vaddr_t)page, stub, read_flags(false));
    arch_tlb_flush_local(FLUSH_ONE, (vaddr_t)page);
    percpu_page(cpu, PERCPU_STUB, stub, read_flags(true));
    (void)xpti_check(cpu, hyp_l4);
}

struct cpu_info *percpu_stack(unsigned cpu)
{
    vaddr_t block = PERCPU_START + (uint64_t)cpu * PERCPU_STRIDE;
    struct cpu_info *info = (struct cpu_info *)(block + STACK_BYTES) - 1;
    info->cpu = cpu;
    info->current = NULL;
    info->cr3 = hyp_cr3();
    return info;
}

/* ---- device memory ---- */

volatile void *arch_ioremap(maddr_t base, size_t bytes)
{
    uint64_t offset = base & ~PAGE_MASK;
    uint64_t length = ROUND_UP(offset + bytes, PAGE_SIZE);
    uint64_t align = length >= LARGE_BYTES ? LARGE_BYTES : PAGE_SIZE;
    /* Same position within a large page as the memory itself, so that large pages fit. */
    vaddr_t va = ROUND_UP(ioremap_next, align) + ((base & PAGE_MASK) & (align - 1));
    if (!bytes || offset + bytes < bytes || base + bytes < base || length > IOREMAP_END - va ||
        (base + bytes - 1) >> arch_facts.maddr_bits) {
        return NULL;
    }
    if (!map_range(va, base & PAGE_MASK, length, data_flags() | X86_PTE_PCD | X86_PTE_PWT)) {
        return NULL;
    }
    ioremap_next = va + length;
    return (volatile void *)(va + offset);
}
