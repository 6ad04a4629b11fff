// SPDX-License-Identifier: MIT
/*
 * The machine's memory map and, during start-up, the allocator that hands out frames of it: sorted
 * ranges of free RAM, taken from the top. When the portable frame allocator starts it gets what is
 * left. RAM that is in no range, in no boot module and above 1 MiB is the hypervisor's for good.
 * Single-threaded while it changes, constant afterwards.
 */
#include "arch/layout.h"
#include "base/assert.h"
#include "base/string.h"
#include "machine.h"

#define RANGES_MAX 256
#define LOW_FRAMES 0x100 /* the first MiB belongs to firmware and start-up of CPUs */
#define E820_RAM 1

static struct arch_e820 map[2 * BOOT_E820_MAX];
static struct arch_range ranges[RANGES_MAX];
static struct arch_range modules[BOOT_MODULES_MAX];
static unsigned module_count;

/* ---- the map ---- */

/* The lowest address above `at` where an entry begins or ends; UINT64_MAX: none. */
static uint64_t next_boundary(const struct boot_info *info, uint64_t at)
{
    uint64_t next = UINT64_MAX;
    for (unsigned i = 0; i < info->e820_count; i++) {
        uint64_t start = info->e820[i].start, end = start + info->e820[i].bytes;
        next = start > at ? MIN(next, start) : next;
        next = end > at ? MIN(next, end) : next;
    }
    return next;
}

/* What all entries together say about [start, end), inside which no entry begins or ends; 0:
 * nothing. Where they differ, anything else wins over RAM. */
static uint32_t type_of(const struct boot_info *info, uint64_t start, uint64_t end)
{
    uint32_t type = 0;
    for (unsigned i = 0; i < info->e820_count; i++) {
        const struct arch_e820 *e = &info->e820[i];
        if (e->start <= start && end <= e->start + e->bytes && (!type || e->type != E820_RAM)) {
            type = MAX(type, e->type ?: 2);
        }
    }
    return type;
}

/* Sort the loader's map and take overlaps out: cut at every boundary and judge each piece. */
static void build_map(const struct boot_info *info)
{
    for (uint64_t at = 0, next; (next = next_boundary(info, at)) != UINT64_MAX; at = next) {
        uint32_t type = type_of(info, at, next);
        struct arch_e820 *last = arch_facts.e820_count ? &map[arch_facts.e820_count - 1] : NULL;
        if (last && last->type == type && last->start + last->bytes == at) {
            last->bytes += next - at;
        } else if (type) {
            map[arch_facts.e820_count++] = (struct arch_e820){at, next - at, type};
        }
    }
}

/* Whole frames of a RAM entry that the direct map can hold; false when there are none. */
bool memmap_ram(unsigned index, mfn_t *first, mfn_t *end)
{
    const struct arch_e820 *e = &map[index];
    *first = DIV_ROUND_UP(e->start, PAGE_SIZE);
    *end = MIN((e->start + e->bytes) >> PAGE_SHIFT, DIRECTMAP_BYTES >> PAGE_SHIFT);
    return e->type == E820_RAM && *first < *end;
}

bool arch_mfn_is_ram(mfn_t mfn)
{
    static unsigned latest; /* where the one before was found: any value is right */
    mfn_t first, end;
    if (memmap_ram(read_once(latest), &first, &end) && mfn >= first && mfn < end) {
        return true;
    }
    for (unsigned i = 0; i < arch_facts.e820_count; i++) {
        if (memmap_ram(i, &first, &end) && mfn >= first && mfn < end) {
            write_once(latest, i);
            return true;
        }
    }
    return false;
}

/* ---- free ranges ---- */

/* Take whatever of [first, end) is free out of the ranges. Where a range falls in two and there is
 * no room for both pieces, the smaller one is given up. */
static void reserve(mfn_t first, mfn_t end)
{
    for (unsigned i = arch_facts.free_count; i-- > 0;) {
        mfn_t from = MAX(first, ranges[i].first), to = MIN(end, ranges[i].end);
        if (from >= to) {
            continue;
        }
        struct arch_range below = {ranges[i].first, from}, above = {to, ranges[i].end};
        bool low = below.first < below.end, high = above.first < above.end;
        if (low && high && arch_facts.free_count == RANGES_MAX) {
            high = above.end - above.first > below.end - below.first;
            low = !high;
        }
        memmove(&ranges[i + low + high], &ranges[i + 1],
                (arch_facts.free_count - i - 1) * sizeof(ranges[0]));
        arch_facts.free_count += low + high - 1U;
        if (low) {
            ranges[i] = below;
        }
        if (high) {
            ranges[i + low] = above;
        }
    }
}

void memmap_init(const struct boot_info *info, mfn_t image_first, mfn_t image_end)
{
    arch_facts.e820 = map;
    arch_facts.free = ranges;
    arch_facts.e820_count = arch_facts.free_count = module_count = 0;
    arch_facts.max_mfn = 0;
    build_map(info);
    mfn_t first, end;
    for (unsigned i = 0; i < arch_facts.e820_count; i++) {
        if (memmap_ram(i, &first, &end)) {
            arch_facts.max_mfn = MAX(arch_facts.max_mfn, end);
            if (arch_facts.free_count < RANGES_MAX) {
                ranges[arch_facts.free_count++] = (struct arch_range){first, end};
            }
        }
    }
    reserve(0, LOW_FRAMES);
    reserve(image_first, image_end);
    for (unsigned i = 0; i < info->module_count; i++) {
        const struct boot_module *m = &info->module[i];
        first = m->start >> PAGE_SHIFT;
        end = DIV_ROUND_UP(m->start + m->bytes, PAGE_SIZE);
        modules[module_count++] = (struct arch_range){first, end};
        reserve(first, end);
    }
}

mfn_t memmap_alloc(uint64_t frames, uint64_t align, mfn_t limit)
{
    for (unsigned i = arch_facts.free_count; i-- > 0;) {
        mfn_t top = MIN(ranges[i].end, limit);
        if (top < frames) {
            continue;
        }
        mfn_t first = (top - frames) & ~(align - 1);
        if (first >= ranges[i].first) {
            reserve(first, first + frames);
            return first;
        }
    }
    panic("not enough memory: %lu frames wanted below frame %lx", frames, limit);
}

static bool in_ranges(const struct arch_range *list, unsigned count, mfn_t mfn)
{
    for (unsigned i = 0; i < count; i++) {
        if (mfn >= list[i].first && mfn < list[i].end) {
            return true;
        }
    }
    return false;
}

mfn_t memmap_low_frame(void)
{
    /* Firmware keeps things at the very bottom, also where the map does not say so. */
    for (mfn_t mfn = 0x9f; mfn >= 8; mfn--) {
        if (arch_mfn_is_ram(mfn) && !in_ranges(modules, module_count, mfn)) {
            return mfn;
        }
    }
    return 0;
}

bool arch_frame_is_hyp(mfn_t mfn)
{
    return mfn >= LOW_FRAMES && arch_mfn_is_ram(mfn) &&
           !in_ranges(ranges, arch_facts.free_count, mfn) && !in_ranges(modules, module_count, mfn);
}
