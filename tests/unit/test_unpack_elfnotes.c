/* SPDX-License-Identifier: MIT */
/*
 * The parser of ELF headers and Xen notes (dom0-tools/unpack/elfnotes.c): a small kernel made here
 * note by note, and the lies it could tell.
 */
#include <CUnit/Basic.h>
#include <elf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <xen/xen.h>

#include <xen/elfnote.h>

#include "dom0-tools/unpack/elfnotes.h"
#include "tests/unit/runner.h"

#define BASE 0xffffffff80000000ull
#define FILE_BYTES 8192u
#define PHDRS 64u
#define NOTES 1024u
#define TEXT 4096u

/* Program headers of the test kernel, by index. */
enum {
    PH_TEXT,
    PH_DATA,
    PH_NOTE,
    PH_COUNT,
};

/* A file being made; notes are appended. */
struct file {
    uint8_t data[FILE_BYTES];
    size_t note_bytes;
};

static struct elf_info info;
static struct err err;

static Elf64_Ehdr *header_of(struct file *file)
{
    return (Elf64_Ehdr *)(void *)file->data;
}

static Elf64_Phdr *segment_of(struct file *file, unsigned int index)
{
    return (Elf64_Phdr *)(void *)(file->data + PHDRS) + index;
}

static void add_note(struct file *file, const char *name, uint32_t type, const void *data,
                     uint32_t bytes)
{
    uint8_t *at = file->data + NOTES + file->note_bytes;
    Elf64_Nhdr header = {.n_namesz = (uint32_t)strlen(name) + 1, .n_descsz = bytes, .n_type = type};

    memcpy(at, &header, sizeof(header));
    memcpy(at + sizeof(header), name, header.n_namesz);
    memcpy(at + sizeof(header) + ((header.n_namesz + 3) & ~3u), data, bytes);
    file->note_bytes += sizeof(header) + ((header.n_namesz + 3) & ~3u) + ((bytes + 3) & ~3u);
    segment_of(file, PH_NOTE)->p_filesz = file->note_bytes;
}

static void add_number(struct file *file, uint32_t type, uint64_t value)
{
    add_note(file, "Xen", type, &value, 8);
}

static void add_text(struct file *file, uint32_t type, const char *text)
{
    add_note(file, "Xen", type, text, (uint32_t)strlen(text) + 1);
}

/* A kernel of two segments without notes: text at 16 MiB, data of 3 pages behind it. */
static void make_bare(struct file *file)
{
    memset(file, 0, sizeof(*file));

    Elf64_Ehdr *header = header_of(file);

    memcpy(header->e_ident, ELFMAG, SELFMAG);
    header->e_ident[EI_CLASS] = ELFCLASS64;
    header->e_ident[EI_DATA] = ELFDATA2LSB;
    header->e_type = ET_EXEC;
    header->e_machine = EM_X86_64;
    header->e_entry = BASE + 0x1000000;
    header->e_phoff = PHDRS;
    header->e_phentsize = sizeof(Elf64_Phdr);
    header->e_phnum = PH_COUNT;
    *segment_of(file, PH_TEXT) = (Elf64_Phdr){.p_type = PT_LOAD,
                                              .p_flags = PF_R | PF_X,
                                              .p_offset = TEXT,
                                              .p_vaddr = BASE + 0x1000000,
                                              .p_paddr = 0x1000000,
                                              .p_filesz = 2048,
                                              .p_memsz = 4096};
    /* A per-CPU segment: linked at 0, loaded where p_paddr says. */
    *segment_of(file, PH_DATA) = (Elf64_Phdr){.p_type = PT_LOAD,
                                              .p_flags = PF_R | PF_W,
                                              .p_offset = TEXT + 2048,
                                              .p_vaddr = 0,
                                              .p_paddr = 0x1001000,
                                              .p_filesz = 2048,
                                              .p_memsz = 3 * 4096};
    *segment_of(file, PH_NOTE) = (Elf64_Phdr){.p_type = PT_NOTE, .p_offset = NOTES};
}

/* As make_bare(), with the two notes every kernel must have. */
static void make_kernel(struct file *file)
{
    make_bare(file);
    add_text(file, XEN_ELFNOTE_XEN_VERSION, "xen-3.0");
    add_number(file, XEN_ELFNOTE_VIRT_BASE, BASE);
}

static int parse_bytes(const struct file *file, size_t bytes)
{
    uint8_t *copy = malloc(bytes + (bytes == 0)); /* ends where the file does, for the sanitizer */

    memcpy(copy, file->data, bytes);
    memset(&err, 0, sizeof(err));
    memset(&info, 0xa5, sizeof(info));

    int rc = elf_info_parse(copy, bytes, &info, &err);

    free(copy);
    return rc;
}

static int parse(const struct file *file)
{
    return parse_bytes(file, FILE_BYTES);
}

static void refused(const struct file *file, const char *report)
{
    int rc = parse(file);

    if (rc != -ENOEXEC || strstr(err.text, report) == NULL) {
        printf("\n  %d \"%s\" instead of \"%s\"\n", rc, err.text, report);
    }
    CU_ASSERT_EQUAL(rc, -ENOEXEC);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, report));
}

/* --- good kernels ------------------------------------------------------------------------ */

static void test_elf_info__defaults(void)
{
    struct file file;

    make_kernel(&file);
    CU_ASSERT_EQUAL_FATAL(parse(&file), 0);
    CU_ASSERT_EQUAL(info.segment_count, 2);
    CU_ASSERT_EQUAL(info.segments[0].vaddr, BASE + 0x1000000);
    CU_ASSERT_EQUAL(info.segments[1].vaddr, BASE + 0x1001000);
    CU_ASSERT_EQUAL(info.segments[1].load_pa, 0x1001000);
    CU_ASSERT_EQUAL(info.segments[1].filesz, 2048);
    CU_ASSERT_EQUAL(info.kernel_start, BASE + 0x1000000);
    CU_ASSERT_EQUAL(info.kernel_end, BASE + 0x1004000);
    CU_ASSERT_EQUAL(info.entry, BASE + 0x1000000);
    CU_ASSERT_EQUAL(info.paddr_offset, 0);
    CU_ASSERT_EQUAL(info.hypercall_page, ELF_INFO_NO_ADDR);
    CU_ASSERT_EQUAL(info.init_p2m, ELF_INFO_NO_ADDR);
    CU_ASSERT_EQUAL(info.hv_start_low, ELF_INFO_NO_ADDR);
    CU_ASSERT_FALSE(info.mod_start_pfn || info.suspend_cancel || info.has_l1_mfn_valid ||
                    info.has_supported_features);
    CU_ASSERT_STRING_EQUAL(info.guest_os, "");
    CU_ASSERT_STRING_EQUAL(info.xen_version, "xen-3.0");
}

static void test_elf_info__all_notes(void)
{
    static const uint64_t pair[2] = {1, 1};
    static const uint32_t narrow = BASE >> 32;
    struct file file;

    make_kernel(&file);
    add_note(&file, "GNU", 3, "build id", 8);
    add_note(&file, "Xen", 0x7777, "??", 2);
    add_number(&file, XEN_ELFNOTE_ENTRY, BASE + 0x1000123);
    add_number(&file, XEN_ELFNOTE_HYPERCALL_PAGE, BASE + 0x1003000);
    add_number(&file, XEN_ELFNOTE_INIT_P2M, 0x8000000000);
    add_number(&file, XEN_ELFNOTE_HV_START_LOW, 0xffff800000000000);
    add_note(&file, "Xen", XEN_ELFNOTE_MOD_START_PFN, &narrow, 4);
    add_number(&file, XEN_ELFNOTE_SUSPEND_CANCEL, 1);
    add_note(&file, "Xen", XEN_ELFNOTE_L1_MFN_VALID, pair, sizeof(pair));
    /* Linux leaves the NUL of this one out. */
    add_note(&file, "Xen", XEN_ELFNOTE_FEATURES,
             "!writable_page_tables|nonsense|pae_pgdir_above_4gb", 50);
    add_number(&file, XEN_ELFNOTE_SUPPORTED_FEATURES, 0x8801);
    add_text(&file, XEN_ELFNOTE_GUEST_OS, "linux");
    add_text(&file, XEN_ELFNOTE_GUEST_VERSION, "2.6");
    add_text(&file, XEN_ELFNOTE_LOADER, "generic");
    add_text(&file, XEN_ELFNOTE_PAE_MODE, "yes");
    CU_ASSERT_EQUAL_FATAL(parse(&file), 0);
    CU_ASSERT_EQUAL(info.entry, BASE + 0x1000123);
    CU_ASSERT_EQUAL(info.hypercall_page, BASE + 0x1003000);
    CU_ASSERT_EQUAL(info.init_p2m, 0x8000000000);
    CU_ASSERT_EQUAL(info.hv_start_low, 0xffff800000000000);
    CU_ASSERT_TRUE(info.mod_start_pfn && info.suspend_cancel && info.has_l1_mfn_valid);
    CU_ASSERT_EQUAL(info.l1_mfn_mask, 1);
    CU_ASSERT_EQUAL(info.l1_mfn_value, 1);
    CU_ASSERT_TRUE(info.has_supported_features);
    CU_ASSERT_EQUAL(info.supported_features, 0x8811);
    CU_ASSERT_EQUAL(info.required_features, 1);
    CU_ASSERT_STRING_EQUAL(info.guest_os, "linux");
    CU_ASSERT_STRING_EQUAL(info.guest_version, "2.6");
    CU_ASSERT_STRING_EQUAL(info.loader, "generic");
}

static void test_elf_info__paddr_offset(void)
{
    struct file file;

    make_kernel(&file);
    add_number(&file, XEN_ELFNOTE_PADDR_OFFSET, 0x800000);
    header_of(&file)->e_entry = BASE + 0x800000;
    CU_ASSERT_EQUAL_FATAL(parse(&file), 0);
    CU_ASSERT_EQUAL(info.kernel_start, BASE + 0x800000);
    CU_ASSERT_EQUAL(info.segments[1].load_pa, 0x801000);
}

/* Kernels without a note segment have their notes in sections. */
static void test_elf_info__note_sections(void)
{
    struct file file;

    make_kernel(&file);
    segment_of(&file, PH_NOTE)->p_type = PT_NULL;
    refused(&file, "no Xen notes");

    Elf64_Shdr section = {.sh_type = SHT_NOTE, .sh_offset = NOTES, .sh_size = file.note_bytes};

    memcpy(file.data + 512, &section, sizeof(section));
    header_of(&file)->e_shoff = 512;
    header_of(&file)->e_shnum = 1;
    header_of(&file)->e_shentsize = sizeof(section);
    CU_ASSERT_EQUAL(parse(&file), 0);
    section.sh_size = FILE_BYTES;
    memcpy(file.data + 512, &section, sizeof(section));
    refused(&file, "notes lie outside");
    header_of(&file)->e_shoff = UINT64_MAX - 10;
    refused(&file, "no Xen notes");
}

/* --- bad kernels ------------------------------------------------------------------------- */

static void test_elf_info__wrong_kind(void)
{
    struct file file;

    make_kernel(&file);
    file.data[1] = 'e';
    refused(&file, "no ELF file");
    make_kernel(&file);
    header_of(&file)->e_ident[EI_CLASS] = ELFCLASS32;
    refused(&file, "not for x86-64");
    make_kernel(&file);
    header_of(&file)->e_ident[EI_DATA] = ELFDATA2MSB;
    refused(&file, "not for x86-64");
    make_kernel(&file);
    header_of(&file)->e_machine = EM_AARCH64;
    refused(&file, "not for x86-64");
    make_kernel(&file);
    header_of(&file)->e_type = ET_REL;
    refused(&file, "no executable");
}

static void test_elf_info__program_headers(void)
{
    struct file file;

    make_kernel(&file);
    header_of(&file)->e_phnum = 0;
    refused(&file, "program headers lie outside");
    make_kernel(&file);
    header_of(&file)->e_phnum = 65535;
    refused(&file, "program headers lie outside");
    make_kernel(&file);
    header_of(&file)->e_phentsize = sizeof(Elf64_Phdr) - 1;
    refused(&file, "program headers lie outside");
    make_kernel(&file);
    header_of(&file)->e_phoff = UINT64_MAX - 100;
    refused(&file, "program headers lie outside");
    make_kernel(&file);
    header_of(&file)->e_phoff = FILE_BYTES - sizeof(Elf64_Phdr);
    refused(&file, "program headers lie outside");
}

static void test_elf_info__segments(void)
{
    struct file file;

    make_kernel(&file);
    segment_of(&file, PH_TEXT)->p_filesz = 4097;
    refused(&file, "segment lies outside");
    make_kernel(&file);
    segment_of(&file, PH_TEXT)->p_offset = FILE_BYTES - 2047;
    refused(&file, "segment lies outside");
    make_kernel(&file);
    segment_of(&file, PH_TEXT)->p_offset = UINT64_MAX - 10;
    refused(&file, "segment lies outside");
    make_kernel(&file);
    segment_of(&file, PH_DATA)->p_paddr = 0x1000fff;
    refused(&file, "overlap");
    make_kernel(&file);
    segment_of(&file, PH_DATA)->p_memsz = UINT64_MAX;
    refused(&file, "overflow");
    make_kernel(&file);
    segment_of(&file, PH_DATA)->p_paddr = 0x80000000;
    refused(&file, "overflow");
    make_kernel(&file);
    add_number(&file, XEN_ELFNOTE_PADDR_OFFSET, 0x1001000);
    refused(&file, "overflow");
    make_kernel(&file);
    segment_of(&file, PH_TEXT)->p_type = PT_NULL;
    segment_of(&file, PH_DATA)->p_memsz = 0;
    segment_of(&file, PH_DATA)->p_filesz = 0;
    refused(&file, "nothing to load");

    /* One more segment than fits, each of a page. */
    static struct file many;

    make_kernel(&many);
    memmove(many.data + 3072, many.data + NOTES, many.note_bytes);

    Elf64_Phdr note = *segment_of(&many, PH_NOTE);

    note.p_offset = 3072;
    for (unsigned int i = 0; i <= ELF_INFO_MAX_SEGMENTS; i++) {
        *segment_of(&many, i) =
            (Elf64_Phdr){.p_type = PT_LOAD, .p_paddr = 0x1000000 + i * 4096u, .p_memsz = 4096};
    }
    *segment_of(&many, ELF_INFO_MAX_SEGMENTS + 1) = note;
    header_of(&many)->e_phnum = ELF_INFO_MAX_SEGMENTS + 2;
    refused(&many, "more than 32 segments");
    segment_of(&many, 0)->p_type = PT_NULL;
    header_of(&many)->e_entry += 4096;
    CU_ASSERT_EQUAL(parse(&many), 0);
    CU_ASSERT_EQUAL(info.segment_count, ELF_INFO_MAX_SEGMENTS);
}

static void test_elf_info__missing_notes(void)
{
    struct file file;

    make_bare(&file);
    refused(&file, "kernel has no Xen notes");
    add_note(&file, "GNU", XEN_ELFNOTE_VIRT_BASE, "12345678", 8);
    refused(&file, "kernel has no Xen notes");
    make_bare(&file);
    add_number(&file, XEN_ELFNOTE_VIRT_BASE, BASE);
    refused(&file, "Xen interface is \"\"");
    make_bare(&file);
    add_number(&file, XEN_ELFNOTE_VIRT_BASE, BASE);
    add_text(&file, XEN_ELFNOTE_XEN_VERSION, "xen-2.0");
    refused(&file, "Xen interface is \"xen-2.0\"");
    make_bare(&file);
    add_text(&file, XEN_ELFNOTE_XEN_VERSION, "xen-3.0");
    refused(&file, "no VIRT_BASE note");
}

static void test_elf_info__bad_notes(void)
{
    struct file file;

    make_kernel(&file);
    add_note(&file, "Xen", XEN_ELFNOTE_ENTRY, "123", 3);
    refused(&file, "Xen note 1 is no number");
    make_kernel(&file);
    add_text(&file, XEN_ELFNOTE_GUEST_OS, "a name that is longer than thirty-one bytes");
    refused(&file, "Xen note 6 is too long");
    make_kernel(&file);
    add_note(&file, "Xen", XEN_ELFNOTE_L1_MFN_VALID, "12345678", 8);
    refused(&file, "L1_MFN_VALID is too short");
    make_kernel(&file);
    add_text(&file, XEN_ELFNOTE_FEATURES, "pae_pgdir_above_4gb|!levitation");
    refused(&file, "requires the unknown feature \"levitation\"");
    make_kernel(&file);
    add_text(&file, XEN_ELFNOTE_FEATURES, "!");
    refused(&file, "requires the unknown feature \"\"");
    make_kernel(&file);
    add_text(&file, XEN_ELFNOTE_GUEST_OS, "plan9");
    add_text(&file, XEN_ELFNOTE_LOADER, "special");
    refused(&file, "unknown loader \"special\"");

    make_kernel(&file);
    segment_of(&file, PH_NOTE)->p_filesz = FILE_BYTES;
    refused(&file, "notes lie outside");
    make_kernel(&file);
    segment_of(&file, PH_NOTE)->p_offset = UINT64_MAX - 3;
    refused(&file, "notes lie outside");

    /* A note whose name or contents reach beyond the notes. */
    for (unsigned int field = 0; field < 2; field++) {
        static const uint32_t sizes[] = {1000, FILE_BYTES, 0x7fffffff, 0xfffffffc, UINT32_MAX};

        for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
            make_kernel(&file);
            memcpy(file.data + NOTES + field * 4, &sizes[i], 4);
            refused(&file, "notes are damaged");
        }
    }
}

static void test_elf_info__bad_addresses(void)
{
    struct file file;

    make_kernel(&file);
    header_of(&file)->e_entry = BASE + 0xffffff;
    refused(&file, "entry point lies outside");
    make_kernel(&file);
    add_number(&file, XEN_ELFNOTE_ENTRY, BASE + 0x1004000);
    refused(&file, "entry point lies outside");
    make_kernel(&file);
    add_number(&file, XEN_ELFNOTE_HYPERCALL_PAGE, BASE + 0x1004000);
    refused(&file, "hypercall page lies outside");
    make_kernel(&file);
    add_number(&file, XEN_ELFNOTE_HYPERCALL_PAGE, BASE + 0x1000800);
    refused(&file, "hypercall page lies outside");
    make_kernel(&file);
    add_number(&file, XEN_ELFNOTE_INIT_P2M, BASE + 0x1002000);
    refused(&file, "impossible address");
    make_kernel(&file);
    add_number(&file, XEN_ELFNOTE_INIT_P2M, 0x8000000800);
    refused(&file, "impossible address");
    make_bare(&file);
    add_text(&file, XEN_ELFNOTE_XEN_VERSION, "xen-3.0");
    add_number(&file, XEN_ELFNOTE_VIRT_BASE, BASE + 1);
    refused(&file, "base address is not page aligned");
}

/* Every place a file can end, and random damage: no crash, and what is accepted is consistent. */
static void test_elf_info__cut_and_changed(void)
{
    struct file good;
    struct file file;
    uint32_t random = 3;

    make_kernel(&good);
    add_text(&good, XEN_ELFNOTE_FEATURES, "!writable_page_tables|dom0");
    add_number(&good, XEN_ELFNOTE_INIT_P2M, 0x8000000000);
    for (size_t bytes = 0; bytes < TEXT + 4096; bytes++) {
        CU_ASSERT_EQUAL(parse_bytes(&good, bytes), -ENOEXEC);
    }
    for (unsigned int round = 0; round < 20000; round++) {
        file = good;
        for (unsigned int i = 0; i <= round % 4; i++) {
            random = random * 1103515245 + 12345;

            uint32_t at = (random >> 8) % (NOTES + (uint32_t)good.note_bytes);

            file.data[at] = (uint8_t)(random >> 24);
        }
        if (parse(&file) != 0) {
            continue;
        }
        CU_ASSERT_TRUE(info.segment_count >= 1 && info.segment_count <= ELF_INFO_MAX_SEGMENTS);
        CU_ASSERT_TRUE(info.entry >= info.kernel_start && info.entry < info.kernel_end);
        for (unsigned int i = 0; i < info.segment_count; i++) {
            const struct elf_segment *s = &info.segments[i];

            CU_ASSERT_TRUE(s->filesz <= s->memsz);
            CU_ASSERT_TRUE(s->offset <= FILE_BYTES && s->filesz <= FILE_BYTES - s->offset);
            CU_ASSERT_TRUE(s->vaddr >= info.kernel_start);
            CU_ASSERT_TRUE(s->vaddr + s->memsz <= info.kernel_end);
        }
    }
}

int main(void)
{
    static CU_TestInfo tests[] = {
        {"defaults", test_elf_info__defaults},
        {"all notes", test_elf_info__all_notes},
        {"PADDR_OFFSET", test_elf_info__paddr_offset},
        {"notes in sections", test_elf_info__note_sections},
        {"wrong kind of file", test_elf_info__wrong_kind},
        {"program headers", test_elf_info__program_headers},
        {"segments", test_elf_info__segments},
        {"missing notes", test_elf_info__missing_notes},
        {"bad notes", test_elf_info__bad_notes},
        {"bad addresses", test_elf_info__bad_addresses},
        {"cut and changed", test_elf_info__cut_and_changed},
        CU_TEST_INFO_NULL,
    };
    return run_tests("elf notes", tests);
}
