// SPDX-License-Identifier: MIT
/*
 * Multiboot 1: copies the loader's information (strings, memory map, module list) out of memory
 * that nobody protects, before anything is allocated. Runs on the early page tables, before the
 * console exists.
 */
#include "boot/multiboot.h"

#include "arch/arch.h"
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

static void copy_string(char *dst, size_t bytes, const char *src)
{
    size_t length = 0;
    while (length + 1 < bytes && src[length]) {
        length++;
    }
    memcpy(dst, src, length);
    dst[length] = 0;
}

/* Behind the first word, which is the file's name; GRUB 2 alone does not pass one. */
static const char *skip_file_name(const struct boot_info *info, const char *s)
{
    if (!strncmp(info->loader, "GRUB ", 5)) {
        return s;
    }
    while (*s == ' ') {
        s++;
    }
    while (*s && *s != ' ') {
        s++;
    }
    while (*s == ' ') {
        s++;
    }
    return s;
}

static void add_e820(struct boot_info *info, uint64_t start, uint64_t bytes, uint32_t type)
{
    if (info->e820_count < BOOT_E820_MAX && bytes) {
        info->e820[info->e820_count++] = (struct arch_e820){start, bytes, type};
    }
}

static void copy_memory_map(struct boot_info *info, const struct multiboot_info *mb)
{
    if (!(mb->flags & HAS_MMAP)) {
        if (mb->flags & HAS_MEM) {
            add_e820(info, 0, (uint64_t)mb->mem_lower_kib << 10, 1);
            add_e820(info, 1UL << 20, (uint64_t)mb->mem_upper_kib << 10, 1);
        }
        return;
    }
    uint32_t at = 0;
    while (at + sizeof(struct multiboot_mmap) <= mb->mmap_bytes) {
        const struct multiboot_mmap *entry = phys(mb->mmap + at);
        add_e820(info, entry->start, entry->bytes, entry->type);
        at += entry->size + (uint32_t)sizeof(entry->size);
    }
}

static void copy_modules(struct boot_info *info, const struct multiboot_info *mb)
{
    if (!(mb->flags & HAS_MODS)) {
        return;
    }
    const struct multiboot_module *list = phys(mb->mods);
    for (uint32_t i = 0; i < MIN(mb->mods_count, BOOT_MODULES_MAX); i++) {
        struct boot_module *module = &info->module[info->module_count++];
        module->start = list[i].start;
        module->bytes = list[i].end - list[i].start;
        if (list[i].cmdline) {
            copy_string(module->cmdline, sizeof(module->cmdline),
                        skip_file_name(info, phys(list[i].cmdline)));
        }
    }
}

bool multiboot_fill(struct boot_info *info, uint32_t magic, maddr_t mbi)
{
    if (magic != MULTIBOOT_LOADED) {
        return false;
    }
    const struct multiboot_info *mb = phys((uint32_t)mbi);
    if (mb->flags & HAS_LOADER) {
        copy_string(info->loader, sizeof(info->loader), phys(mb->loader_name));
    }
    if (mb->flags & HAS_CMDLINE) {
        copy_string(info->cmdline, sizeof(info->cmdline), skip_file_name(info, phys(mb->cmdline)));
    }
    copy_memory_map(info, mb);
    copy_modules(info, mb);
    return true;
}
