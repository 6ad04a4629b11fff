/* SPDX-License-Identifier: MIT */
/*
 * ELF kernels: header, segments, Xen notes, and whether they fit each other.
 *
 * Steps: header -> program headers (bounds) -> notes of every PT_NOTE, or of note sections when the
 * kernel has no such segment -> addresses and overlaps. The file may lie about everything; nothing
 * is read before its place was tested against the file's length, and every sum that could wrap is
 * made by a checked addition.
 */
#include "dom0-tools/unpack/elfnotes.h"

#include <elf.h>
#include <errno.h>
#include <string.h>

#include <xen/xen.h>

#include <xen/elfnote.h>
#include <xen/features.h>

#define PAGE_BYTES 4096u
/* More program or section headers, or notes, than any kernel has; bounds the work on a bad file. */
#define MAX_HEADERS 4096u
#define MAX_NOTES 1024u

struct image {
    const uint8_t *data;
    uint64_t len;
    Elf64_Ehdr header;
};

/* What notes leave open until all are read. */
struct found {
    bool any;
    bool has_version;
    bool has_entry;
    bool has_virt_base;
    unsigned int count;
};

static bool within(const struct image *image, uint64_t offset, uint64_t bytes)
{
    return offset <= image->len && bytes <= image->len - offset;
}

static int read_header(struct image *image, struct err *err)
{
    Elf64_Ehdr *header = &image->header;

    if (image->len < sizeof(*header)) {
        return err_set(err, ENOEXEC, "kernel is no ELF file");
    }
    memcpy(header, image->data, sizeof(*header));
    if (memcmp(header->e_ident, ELFMAG, SELFMAG) != 0) {
        return err_set(err, ENOEXEC, "kernel is no ELF file");
    }
    if (header->e_ident[EI_CLASS] != ELFCLASS64 || header->e_ident[EI_DATA] != ELFDATA2LSB ||
        header->e_machine != EM_X86_64) {
        return err_set(err, ENOEXEC, "kernel is not for x86-64");
    }
    if (header->e_type != ET_EXEC && header->e_type != ET_DYN) {
        return err_set(err, ENOEXEC, "kernel is an ELF file, but no executable");
    }
    if (header->e_phnum == 0 || header->e_phnum > MAX_HEADERS ||
        header->e_phentsize < sizeof(Elf64_Phdr) ||
        !within(image, header->e_phoff, (uint64_t)header->e_phnum * header->e_phentsize)) {
        return err_set(err, ENOEXEC, "kernel's program headers lie outside the file");
    }
    return 0;
}

static Elf64_Phdr program_header(const struct image *image, unsigned int index)
{
    Elf64_Phdr header;
    uint64_t at = image->header.e_phoff + (uint64_t)index * image->header.e_phentsize;

    memcpy(&header, image->data + at, sizeof(header));
    return header;
}

/* --- notes ------------------------------------------------------------------------------- */

/* Names of the bits in a FEATURES note, by bit; NULL for what has no name. */
static const char *const feature_names[] = {
    [XENFEAT_writable_page_tables] = "writable_page_tables",
    [XENFEAT_writable_descriptor_tables] = "writable_descriptor_tables",
    [XENFEAT_auto_translated_physmap] = "auto_translated_physmap",
    [XENFEAT_supervisor_mode_kernel] = "supervisor_mode_kernel",
    [XENFEAT_pae_pgdir_above_4gb] = "pae_pgdir_above_4gb",
    [XENFEAT_dom0] = "dom0",
};

static int find_feature(const char *name, size_t bytes)
{
    for (size_t i = 0; i < sizeof(feature_names) / sizeof(feature_names[0]); i++) {
        if (feature_names[i] != NULL && strlen(feature_names[i]) == bytes &&
            memcmp(feature_names[i], name, bytes) == 0) {
            return (int)i;
        }
    }
    return -1;
}

/* "name|!name|...": a '!' marks a feature the kernel insists on. */
static int parse_features(const char *text, struct elf_info *info, struct err *err)
{
    while (*text != '\0') {
        size_t bytes = strcspn(text, "|");
        bool required = *text == '!';
        const char *name = text + (required ? 1 : 0);
        size_t name_bytes = bytes - (required ? 1 : 0);
        int bit = find_feature(name, name_bytes);

        if (bit < 0 && required) {
            return err_set(err, ENOEXEC, "kernel requires the unknown feature \"%.*s\"",
                           (int)(name_bytes < 64 ? name_bytes : 64), name);
        }
        if (bit >= 0) {
            info->has_supported_features = true;
            info->supported_features |= 1u << bit;
            info->required_features |= required ? 1u << bit : 0;
        }
        text += bytes;
        text += *text == '|';
    }
    return 0;
}

struct note {
    uint32_t type;
    const uint8_t *data;
    uint64_t bytes;
};

static int note_number(const struct note *note, uint64_t *value, struct err *err)
{
    if (note->bytes != 4 && note->bytes != 8) {
        return err_set(err, ENOEXEC, "kernel's Xen note %u is no number", note->type);
    }
    *value = 0;
    memcpy(value, note->data, note->bytes);
    return 0;
}

/* Text of a note; its NUL may be missing, as Linux leaves it out of FEATURES. */
static int note_copy(const struct note *note, char *to, size_t room, struct err *err)
{
    size_t bytes = strnlen((const char *)note->data, note->bytes);

    if (bytes >= room) {
        return err_set(err, ENOEXEC, "kernel's Xen note %u is too long", note->type);
    }
    memcpy(to, note->data, bytes);
    to[bytes] = '\0';
    return 0;
}

static int take_text_note(const struct note *note, struct elf_info *info, struct found *found,
                          struct err *err)
{
    char text[512];
    int rc;

    switch (note->type) {
    case XEN_ELFNOTE_XEN_VERSION:
        found->has_version = true;
        return note_copy(note, info->xen_version, sizeof(info->xen_version), err);
    case XEN_ELFNOTE_GUEST_OS:
        return note_copy(note, info->guest_os, sizeof(info->guest_os), err);
    case XEN_ELFNOTE_GUEST_VERSION:
        return note_copy(note, info->guest_version, sizeof(info->guest_version), err);
    case XEN_ELFNOTE_LOADER:
        return note_copy(note, info->loader, sizeof(info->loader), err);
    case XEN_ELFNOTE_FEATURES:
        rc = note_copy(note, text, sizeof(text), err);
        return rc != 0 ? rc : parse_features(text, info, err);
    default:
        return 0;
    }
}

static int take_l1_mfn_valid(const struct note *note, struct elf_info *info, struct err *err)
{
    /* A list of pairs; one pair is all that was ever used. */
    if (note->bytes < 16) {
        return err_set(err, ENOEXEC, "kernel's Xen note L1_MFN_VALID is too short");
    }
    memcpy(&info->l1_mfn_mask, note->data, 8);
    memcpy(&info->l1_mfn_value, note->data + 8, 8);
    info->has_l1_mfn_valid = true;
    return 0;
}

static int take_number_note(const struct note *note, struct elf_info *info, struct found *found,
                            struct err *err)
{
    uint64_t value;
    int rc = note_number(note, &value, err);

    if (rc != 0) {
        return rc;
    }
    switch (note->type) {
    case XEN_ELFNOTE_ENTRY:
        info->entry = value;
        found->has_entry = true;
        break;
    case XEN_ELFNOTE_HYPERCALL_PAGE:
        info->hypercall_page = value;
        break;
    case XEN_ELFNOTE_VIRT_BASE:
        info->virt_base = value;
        found->has_virt_base = true;
        break;
    case XEN_ELFNOTE_PADDR_OFFSET:
        info->paddr_offset = value;
        break;
    case XEN_ELFNOTE_HV_START_LOW:
        info->hv_start_low = value;
        break;
    case XEN_ELFNOTE_INIT_P2M:
        info->init_p2m = value;
        break;
    case XEN_ELFNOTE_MOD_START_PFN:
        info->mod_start_pfn = value != 0;
        break;
    case XEN_ELFNOTE_SUSPEND_CANCEL:
        info->suspend_cancel = value != 0;
        break;
    case XEN_ELFNOTE_SUPPORTED_FEATURES:
        info->has_supported_features = true;
        info->supported_features |= (uint32_t)value;
        break;
    default:
        break;
    }
    return 0;
}

static int take_note(const struct note *note, struct elf_info *info, struct found *found,
                     struct err *err)
{
    found->any = true;
    switch (note->type) {
    case XEN_ELFNOTE_XEN_VERSION:
    case XEN_ELFNOTE_GUEST_OS:
    case XEN_ELFNOTE_GUEST_VERSION:
    case XEN_ELFNOTE_LOADER:
    case XEN_ELFNOTE_FEATURES:
        return take_text_note(note, info, found, err);
    case XEN_ELFNOTE_L1_MFN_VALID:
        return take_l1_mfn_valid(note, info, err);
    case XEN_ELFNOTE_ENTRY:
    case XEN_ELFNOTE_HYPERCALL_PAGE:
    case XEN_ELFNOTE_VIRT_BASE:
    case XEN_ELFNOTE_PADDR_OFFSET:
    case XEN_ELFNOTE_HV_START_LOW:
    case XEN_ELFNOTE_INIT_P2M:
    case XEN_ELFNOTE_MOD_START_PFN:
    case XEN_ELFNOTE_SUSPEND_CANCEL:
    case XEN_ELFNOTE_SUPPORTED_FEATURES:
        return take_number_note(note, info, found, err);
    default:
        return 0;
    }
}

/* Notes in `bytes` at `at`, which lie in the file: size of name, size of data, type, both padded.
 */
static int walk_notes(const uint8_t *at, uint64_t bytes, struct elf_info *info, struct found *found,
                      struct err *err)
{
    while (bytes >= sizeof(Elf64_Nhdr)) {
        Elf64_Nhdr header;

        memcpy(&header, at, sizeof(header));

        uint64_t name_bytes = ((uint64_t)header.n_namesz + 3) & ~3ull;
        uint64_t data_bytes = ((uint64_t)header.n_descsz + 3) & ~3ull;
        uint64_t left = bytes - sizeof(header);

        /* The padding of the last note may be missing. */
        if (name_bytes > left || header.n_descsz > left - name_bytes ||
            ++found->count > MAX_NOTES) {
            return err_set(err, ENOEXEC, "kernel's ELF notes are damaged");
        }

        const uint8_t *name = at + sizeof(header);
        struct note note = {
            .type = header.n_type, .data = name + name_bytes, .bytes = header.n_descsz};

        if (header.n_namesz == sizeof("Xen") && memcmp(name, "Xen", sizeof("Xen")) == 0) {
            int rc = take_note(&note, info, found, err);

            if (rc != 0) {
                return rc;
            }
        }

        uint64_t step = sizeof(header) + name_bytes + data_bytes;

        if (step >= bytes) {
            break;
        }
        at += step;
        bytes -= step;
    }
    return 0;
}

static int notes_of_segments(const struct image *image, struct elf_info *info, struct found *found,
                             struct err *err)
{
    for (unsigned int i = 0; i < image->header.e_phnum; i++) {
        Elf64_Phdr header = program_header(image, i);

        if (header.p_type != PT_NOTE) {
            continue;
        }
        if (!within(image, header.p_offset, header.p_filesz)) {
            return err_set(err, ENOEXEC, "kernel's ELF notes lie outside the file");
        }

        int rc = walk_notes(image->data + header.p_offset, header.p_filesz, info, found, err);

        if (rc != 0) {
            return rc;
        }
    }
    return 0;
}

static int notes_of_sections(const struct image *image, struct elf_info *info, struct found *found,
                             struct err *err)
{
    const Elf64_Ehdr *header = &image->header;

    if (header->e_shnum == 0 || header->e_shnum > MAX_HEADERS ||
        header->e_shentsize < sizeof(Elf64_Shdr) ||
        !within(image, header->e_shoff, (uint64_t)header->e_shnum * header->e_shentsize)) {
        return 0;
    }
    for (unsigned int i = 0; i < header->e_shnum; i++) {
        Elf64_Shdr section;
        uint64_t at = header->e_shoff + (uint64_t)i * header->e_shentsize;

        memcpy(&section, image->data + at, sizeof(section));
        if (section.sh_type != SHT_NOTE) {
            continue;
        }
        if (!within(image, section.sh_offset, section.sh_size)) {
            return err_set(err, ENOEXEC, "kernel's ELF notes lie outside the file");
        }

        int rc = walk_notes(image->data + section.sh_offset, section.sh_size, info, found, err);

        if (rc != 0) {
            return rc;
        }
    }
    return 0;
}

static int read_notes(const struct image *image, struct elf_info *info, struct err *err)
{
    struct found found = {0};
    int rc = notes_of_segments(image, info, &found, err);

    if (rc == 0 && !found.any) {
        rc = notes_of_sections(image, info, &found, err);
    }
    if (rc != 0) {
        return rc;
    }
    if (!found.any) {
        return err_set(err, ENOEXEC,
                       "kernel has no Xen notes: it was not built to run as a "
                       "paravirtualized guest");
    }
    if (!found.has_version || strcmp(info->xen_version, "xen-3.0") != 0) {
        return err_set(err, ENOEXEC, "kernel's Xen interface is \"%s\" instead of \"xen-3.0\"",
                       info->xen_version);
    }
    if (!found.has_virt_base) {
        return err_set(err, ENOEXEC,
                       "kernel has no VIRT_BASE note: it was not built to run as a "
                       "paravirtualized guest");
    }
    if (info->loader[0] != '\0' && strcmp(info->loader, "generic") != 0 &&
        strcmp(info->guest_os, "linux") != 0) {
        return err_set(err, ENOEXEC, "kernel wants the unknown loader \"%s\"", info->loader);
    }
    if (!found.has_entry) {
        info->entry = image->header.e_entry;
    }
    return 0;
}

/* --- addresses --------------------------------------------------------------------------- */

static int add_segment(const struct image *image, const Elf64_Phdr *header, struct elf_info *info,
                       struct err *err)
{
    struct elf_segment segment = {.offset = header->p_offset,
                                  .filesz = header->p_filesz,
                                  .memsz = header->p_memsz,
                                  .flags = header->p_flags};
    uint64_t end;

    if (header->p_filesz > header->p_memsz || !within(image, header->p_offset, header->p_filesz)) {
        return err_set(err, ENOEXEC,
                       "kernel is truncated or damaged: a segment lies outside the "
                       "file");
    }
    if (__builtin_sub_overflow(header->p_paddr, info->paddr_offset, &segment.load_pa) ||
        __builtin_add_overflow(segment.load_pa, info->virt_base, &segment.vaddr) ||
        __builtin_add_overflow(segment.vaddr, header->p_memsz, &end)) {
        return err_set(err, ENOEXEC, "kernel's addresses overflow");
    }
    if (info->segment_count == ELF_INFO_MAX_SEGMENTS) {
        return err_set(err, ENOEXEC, "kernel has more than %u segments", ELF_INFO_MAX_SEGMENTS);
    }
    for (unsigned int i = 0; i < info->segment_count; i++) {
        const struct elf_segment *other = &info->segments[i];

        if (segment.vaddr < other->vaddr + other->memsz && other->vaddr < end) {
            return err_set(err, ENOEXEC, "kernel's segments overlap");
        }
    }
    info->segments[info->segment_count++] = segment;
    info->kernel_start = segment.vaddr < info->kernel_start ? segment.vaddr : info->kernel_start;
    info->kernel_end = end > info->kernel_end ? end : info->kernel_end;
    return 0;
}

static int read_segments(const struct image *image, struct elf_info *info, struct err *err)
{
    info->kernel_start = UINT64_MAX;
    info->kernel_end = 0;
    for (unsigned int i = 0; i < image->header.e_phnum; i++) {
        Elf64_Phdr header = program_header(image, i);

        if (header.p_type != PT_LOAD || header.p_memsz == 0) {
            continue;
        }

        int rc = add_segment(image, &header, info, err);

        if (rc != 0) {
            return rc;
        }
    }
    return info->segment_count != 0 ? 0 : err_set(err, ENOEXEC, "kernel has nothing to load");
}

static bool inside_kernel(const struct elf_info *info, uint64_t address, uint64_t bytes)
{
    return address >= info->kernel_start && address < info->kernel_end &&
           bytes <= info->kernel_end - address;
}

static int check_addresses(const struct elf_info *info, struct err *err)
{
    if (info->virt_base % PAGE_BYTES != 0 || info->paddr_offset % PAGE_BYTES != 0) {
        return err_set(err, ENOEXEC, "kernel's base address is not page aligned");
    }
    if (!inside_kernel(info, info->entry, 1)) {
        return err_set(err, ENOEXEC, "kernel's entry point lies outside it");
    }
    if (info->hypercall_page != ELF_INFO_NO_ADDR &&
        (info->hypercall_page % PAGE_BYTES != 0 ||
         !inside_kernel(info, info->hypercall_page, PAGE_BYTES))) {
        return err_set(err, ENOEXEC, "kernel's hypercall page lies outside it");
    }
    if (info->init_p2m != ELF_INFO_NO_ADDR &&
        (info->init_p2m % PAGE_BYTES != 0 ||
         (info->init_p2m >= info->virt_base && info->init_p2m < info->kernel_end))) {
        return err_set(err, ENOEXEC, "kernel wants its p2m list at an impossible address");
    }
    return 0;
}

int elf_info_parse(const void *data, size_t len, struct elf_info *info, struct err *err)
{
    struct image image = {.data = data, .len = len};

    memset(info, 0, sizeof(*info));
    info->hypercall_page = ELF_INFO_NO_ADDR;
    info->init_p2m = ELF_INFO_NO_ADDR;
    info->hv_start_low = ELF_INFO_NO_ADDR;

    int rc = read_header(&image, err);

    if (rc == 0) {
        rc = read_notes(&image, info, err);
    }
    if (rc == 0) {
        rc = read_segments(&image, info, err);
    }
    return rc != 0 ? rc : check_addresses(info, err);
}
