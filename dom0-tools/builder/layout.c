/* SPDX-License-Identifier: MIT */
/*
 * The layout of a new guest and its initial page tables.
 *
 * The tables of an area are runs of consecutive frames, one run a level, so the table that covers
 * an address is found by arithmetic and nothing has to be searched or remembered. All sizes come
 * from a parsed kernel and a configuration that were bounded before, yet every sum that decides
 * about fitting is made in 64 bits on values below 2^44.
 */
#include "dom0-tools/builder/layout.h"

#include <errno.h>
#include <string.h>

#define PAGE_SHIFT 12
#define PAGE_BYTES ((uint64_t)1 << PAGE_SHIFT)
#define ENTRIES 512u
#define L4_SHIFT 39

/* A guest of 2^32 frames has 16 TiB, which is also the most a configuration can ask for. */
#define FRAMES_MAX ((uint64_t)1 << 32)

/* The initial mapping ends on a multiple of 4 MiB with at least 512 KiB free behind the stack. */
#define MAP_ALIGN_FRAMES ((uint64_t)4 << (20 - PAGE_SHIFT))
#define MAP_SLACK_FRAMES ((uint64_t)512 >> (PAGE_SHIFT - 10))

/* Address ranges no guest mapping may touch: the non-canonical hole and, right above it, the
 * hypervisor's sixteen top-level slots. */
#define HOLE_START 0x0000800000000000ull
#define HOLE_END 0xffff880000000000ull

#define PTE_PRESENT 0x01u
#define PTE_WRITE 0x02u
#define PTE_USER 0x04u
#define PTE_ACCESSED 0x20u
#define PTE_DIRTY 0x40u
#define PTE_READ_ONLY (PTE_PRESENT | PTE_USER | PTE_ACCESSED | PTE_DIRTY)
#define PTE_WRITABLE (PTE_READ_ONLY | PTE_WRITE)

/* Shift that turns an address into the number of the level-n table covering it. */
static unsigned int table_shift(unsigned int level)
{
    return PAGE_SHIFT + 9 * level;
}

static uint64_t table_count(uint64_t va, uint64_t page_count, unsigned int level)
{
    uint64_t last = va + (page_count - 1) * PAGE_BYTES;

    return (last >> table_shift(level)) - (va >> table_shift(level)) + 1;
}

static uint64_t pages_of(uint64_t bytes)
{
    return (bytes + PAGE_BYTES - 1) >> PAGE_SHIFT;
}

/* Takes the next frames for a part. */
static struct builder_segment take(uint64_t *next, uint64_t count)
{
    struct builder_segment segment = {.pfn = *next, .count = count};

    *next += count;
    return segment;
}

/* Takes the frames for an area's tables, highest level first. */
static void take_tables(struct builder_area *area, uint64_t *next)
{
    for (unsigned int level = 3; level >= 1; level--) {
        area->tables[level] = take(next, table_count(area->va, area->count, level));
    }
}

static bool range_allowed(uint64_t va, uint64_t page_count)
{
    uint64_t bytes = page_count * PAGE_BYTES;

    if (va % PAGE_BYTES != 0 || va + bytes - 1 < va) {
        return false;
    }
    return va + bytes - 1 < HOLE_START || va >= HOLE_END;
}

/* Sizes the initial mapping: the tables must map themselves, so their number is found by trying. */
static int place_tables(struct builder_layout *layout, uint64_t next, struct err *err)
{
    struct builder_area *main_area = &layout->main;
    uint64_t count = 1;

    for (;;) {
        uint64_t end = next + count + 1 + MAP_SLACK_FRAMES;
        uint64_t needed = 1;

        main_area->count = (end + MAP_ALIGN_FRAMES - 1) / MAP_ALIGN_FRAMES * MAP_ALIGN_FRAMES;
        if (!range_allowed(main_area->va, main_area->count)) {
            return err_set(err, ENOEXEC, "the kernel's virtual base %#llx leaves no room for it",
                           (unsigned long long)main_area->va);
        }
        for (unsigned int level = 1; level <= 3; level++) {
            needed += table_count(main_area->va, main_area->count, level);
        }
        if (needed == count) {
            break;
        }
        count = needed; /* only ever grows, and a table maps 512 frames: this ends */
    }
    layout->tables = take(&next, 1);
    take_tables(main_area, &next);
    layout->tables.count = count;
    layout->stack = take(&next, 1);
    return 0;
}

/* Puts the frame list behind the initial mapping, with tables of its own. */
static int place_p2m(struct builder_layout *layout, uint64_t va, uint64_t *next, struct err *err)
{
    struct builder_area *area = &layout->p2m_area;

    layout->p2m = take(next, pages_of(layout->frames * sizeof(uint64_t)));
    layout->p2m_va = va;
    area->va = va;
    area->count = layout->p2m.count;
    area->pfn = layout->p2m.pfn;
    if (!range_allowed(va, area->count) || table_count(va, area->count, 3) != 1 ||
        va >> L4_SHIFT == layout->main.va >> L4_SHIFT) {
        return err_set(err, ENOEXEC,
                       "the kernel wants its frame list at the unusable address %#llx",
                       (unsigned long long)va);
    }
    layout->p2m_tables.pfn = *next;
    take_tables(area, next);
    layout->p2m_tables.count = *next - layout->p2m_tables.pfn;
    return 0;
}

int builder_layout(const struct elf_info *elf, uint64_t frames, uint64_t ramdisk_bytes,
                   struct builder_layout *layout, struct err *err)
{
    uint64_t ramdisk_frames;
    uint64_t next;
    int rc;

    memset(layout, 0, sizeof(*layout));
    if (frames == 0 || frames > FRAMES_MAX || ramdisk_bytes > FRAMES_MAX * PAGE_BYTES ||
        elf->kernel_end - elf->virt_base > FRAMES_MAX * PAGE_BYTES) {
        return err_set(err, EBADMSG, "memory or kernel size is out of range");
    }
    ramdisk_frames = pages_of(ramdisk_bytes);
    layout->frames = frames;
    layout->main.va = elf->virt_base;
    layout->kernel.pfn = (elf->kernel_start - elf->virt_base) >> PAGE_SHIFT;
    next = pages_of(elf->kernel_end - elf->virt_base);
    layout->kernel.count = next - layout->kernel.pfn;
    layout->ramdisk_mapped = !elf->mod_start_pfn && ramdisk_frames != 0;
    if (layout->ramdisk_mapped) {
        layout->ramdisk = take(&next, ramdisk_frames);
    }
    if (elf->init_p2m == ELF_INFO_NO_ADDR) {
        layout->p2m = take(&next, pages_of(frames * sizeof(uint64_t)));
        layout->p2m_va = elf->virt_base + layout->p2m.pfn * PAGE_BYTES;
    }
    layout->start_info = take(&next, 1);
    layout->store = take(&next, 1);
    layout->console = take(&next, 1);
    rc = place_tables(layout, next, err);
    if (rc != 0) {
        return rc;
    }
    next = layout->main.count;
    if (!layout->ramdisk_mapped) {
        layout->ramdisk = take(&next, ramdisk_frames);
    }
    if (elf->init_p2m != ELF_INFO_NO_ADDR) {
        rc = place_p2m(layout, elf->init_p2m, &next, err);
    }
    if (rc == 0 && next > frames) {
        rc = err_set(err, EBADMSG,
                     "%llu MiB of memory are too few: kernel and ramdisk need %llu MiB to start",
                     (unsigned long long)(frames >> (20 - PAGE_SHIFT)),
                     (unsigned long long)((next + 255) >> (20 - PAGE_SHIFT)));
    }
    return rc;
}

uint64_t builder_layout_va(const struct builder_layout *layout, uint64_t pfn)
{
    return layout->main.va + pfn * PAGE_BYTES;
}

static bool holds_table(const struct builder_layout *layout, uint64_t pfn)
{
    return (pfn >= layout->tables.pfn && pfn - layout->tables.pfn < layout->tables.count) ||
           (pfn >= layout->p2m_tables.pfn &&
            pfn - layout->p2m_tables.pfn < layout->p2m_tables.count);
}

/* Fills table number `table` of the run an area has at that level. */
static int fill_table(const struct builder_layout *layout, const struct builder_area *area,
                      unsigned int level, uint64_t table, const uint64_t *p2m,
                      const struct builder_pages *pages)
{
    /* What an entry covers is what one table (or page) of the level below covers. */
    uint64_t first_slot = area->va >> table_shift(level - 1);
    uint64_t slot_count = level == 1 ? area->count : area->tables[level - 1].count;
    uint64_t target = level == 1 ? area->pfn : area->tables[level - 1].pfn;
    uint64_t table_slot = ((area->va >> table_shift(level)) + table) * ENTRIES;
    uint64_t *entries = pages->page(pages->context, area->tables[level].pfn + table);

    if (entries == NULL) {
        return -EIO;
    }
    memset(entries, 0, PAGE_BYTES);
    for (unsigned int i = 0; i < ENTRIES; i++) {
        uint64_t index = table_slot + i - first_slot; /* wraps to huge below the first slot */

        if (index < slot_count) {
            bool read_only = level == 1 && holds_table(layout, target + index);

            entries[i] =
                (p2m[target + index] << PAGE_SHIFT) | (read_only ? PTE_READ_ONLY : PTE_WRITABLE);
        }
    }
    return 0;
}

static int fill_area(const struct builder_layout *layout, const struct builder_area *area,
                     const uint64_t *p2m, const struct builder_pages *pages)
{
    for (unsigned int level = 1; level <= 3; level++) {
        for (uint64_t table = 0; table < area->tables[level].count; table++) {
            int rc = fill_table(layout, area, level, table, p2m, pages);

            if (rc != 0) {
                return rc;
            }
        }
    }
    return 0;
}

/* Enters an area's level-3 tables in the top-level table. */
static void enter_top(uint64_t *top, const struct builder_area *area, const uint64_t *p2m)
{
    uint64_t first = area->va >> L4_SHIFT;

    for (uint64_t i = 0; i < area->tables[3].count; i++) {
        top[(first + i) % ENTRIES] = (p2m[area->tables[3].pfn + i] << PAGE_SHIFT) | PTE_WRITABLE;
    }
}

int builder_page_tables(const struct builder_layout *layout, const uint64_t *p2m,
                        const struct builder_pages *pages)
{
    uint64_t *top;
    int rc = fill_area(layout, &layout->main, p2m, pages);

    if (rc == 0 && layout->p2m_area.count != 0) {
        rc = fill_area(layout, &layout->p2m_area, p2m, pages);
    }
    if (rc != 0) {
        return rc;
    }
    top = pages->page(pages->context, layout->tables.pfn);
    if (top == NULL) {
        return -EIO;
    }
    memset(top, 0, PAGE_BYTES);
    enter_top(top, &layout->main, p2m);
    if (layout->p2m_area.count != 0) {
        enter_top(top, &layout->p2m_area, p2m);
    }
    return 0;
}
