// SPDX-License-Identifier: MIT
/*
 * Multiboot 1: copies the loader's information (strings, memory map, module list) out of memory
 * that nobody protects, before anything is allocated. Runs on the early page tables, before the
 * console exists.
 */
#include "arch/arch.h"
#include "arch/boot_info.h"
#include "base/format.h"
#include "base/string.h"

#define MULTIBOOT_LOADED 0x2badb002
#define HAS_MEM (1u << 0)
#define HAS_CMDLINE (1u << 2)
#define HAS_MODS (1u << 3)
#define HAS_MMAP (1u << 6)
#define HAS_LOADER (1u << 9)

struct multiboot_info {
    uint32_t flags;
    uint32_t mem_lower_kib, mem_upper_kib;
    uint32_t boot_device;
    uint32_t cmdline;
    uint32_t mods_count, mods;
    uint32_t syms[4];
    uint32_t mmap_bytes, mmap;
    uint32_t drives_bytes, drives;
    uint32_t config_table;
    uint32_t loader_name;
};

struct multiboot_module {
    uint32_t start, end, cmdline, reserved;
};

/* `size` does not count itself. */
struct packed multiboot_mmap {
    uint32_t size;
    uint64_t start, bytes;
    uint32_t type;
};

static const void *phys(uint32_t address)
{
    return (const char *)mfn_to_virt(0) + address;
}

static const char *skip(const char *s, bool spaces)
{
    while (*s && (*s == ' ') == spaces) {
        s++;
    }
    return s;
}

/* Copy a command line from behind its first word, the file's name, which GRUB 2 alone leaves out.
 */
static void copy_arguments(char *dst, const struct boot_info *info, uint32_t address)
{
    const char *s = phys(address);
    if (memcmp(info->loader, "GRUB ", 5)) {
        s = skip(skip(skip(s, true), false), true);
    }
    (void)format(dst, BOOT_CMDLINE_BYTES, "%s", s);
}

static void add_e820(struct boot_info *info, uint64_t start, uint64_t bytes, uint32_t type)
{
    if (info->e820_count < BOOT_E820_MAX && bytes) {
        info->e820[info->e820_count++] = (struct arch_e820){start, bytes, type};
    }
}

static void copy_memory_map(struct boot_info *info, const struct multiboot_info *mb)
{
    const struct multiboot_mmap *entry;
    if (!(mb->flags & HAS_MMAP) && (mb->flags & HAS_MEM)) {
        add_e820(info, 0, (uint64_t)mb->mem_lower_kib << 10, 1);
        add_e820(info, 1UL << 20, (uint64_t)mb->mem_upper_kib << 10, 1);
    }
    uint32_t bytes = mb->flags & HAS_MMAP ? mb->mmap_bytes : 0;
    for (uint32_t at = 0; at + sizeof(*entry) <= bytes;) {
        entry = phys(mb->mmap + at);
        add_e820(info, entry->start, entry->bytes, entry->type);
        at += entry->size + (uint32_t)sizeof(entry->size);
    }
}

bool multiboot_fill(struct boot_info *info, uint32_t magic, maddr_t mbi)
{
    const struct multiboot_info *mb = phys((uint32_t)mbi);
    if (magic != MULTIBOOT_LOADED) {
        return false;
    }
    if (mb->flags & HAS_LOADER) {
        (void)format(info->loader, sizeof(info->loader), "%s", (const char *)phys(mb->loader_name));
    }
    if (mb->flags & HAS_CMDLINE) {
        copy_arguments(info->cmdline, info, mb->cmdline);
    }
    copy_memory_map(info, mb);
    const struct multiboot_module *module = phys(mb->mods);
    info->module_count = mb->flags & HAS_MODS ? MIN(mb->mods_count, BOOT_MODULES_MAX) : 0;
    for (unsigned i = 0; i < info->module_count; i++) {
        info->module[i].start = module[i].start;
        info->module[i].bytes = module[i].end - module[i].start;
        if (module[i].cmdline) {
            copy_arguments(info->module[i].cmdline, info, module[i].cmdline);
        }
    }
    return true;
}
