// SPDX-License-Identifier: MIT
/* boot/elf.c: what a control-domain kernel must be, and that no image makes the parser stray. */
#include <stdlib.h>
#include <string.h>

#include "boot/boot.h"
#include "suite.h"

#define NOTES_AT 0x400
#define DATA_AT 0x800
#define IMAGE_BYTES 0x1000
#define BASE 0xffffffff80000000UL

static uint8_t image[IMAGE_BYTES];
static struct elf_image elf;

static void put16(unsigned at, uint16_t value)
{
    memcpy(image + at, &value, sizeof(value));
}

static void put32(unsigned at, uint32_t value)
{
    memcpy(image + at, &value, sizeof(value));
}

static void put64(unsigned at, uint64_t value)
{
    memcpy(image + at, &value, sizeof(value));
}

/* Where program header nr, or field `at` of it, is in the image. */
static unsigned phdr(unsigned nr, unsigned at)
{
    return 64 + nr * 56 + at;
}

static void put_phdr(unsigned nr, uint32_t type, uint64_t offset, uint64_t paddr, uint64_t filesz,
                     uint64_t memsz)
{
    put32(phdr(nr, 0), type);
    put64(phdr(nr, 8), offset);
    put64(phdr(nr, 24), paddr);
    put64(phdr(nr, 32), filesz);
    put64(phdr(nr, 40), memsz);
}

static unsigned put_note(unsigned at, uint32_t type, uint64_t value)
{
    put32(at, 4);
    put32(at + 4, 8);
    put32(at + 8, type);
    memcpy(image + at + 12, "Xen", 4);
    put64(at + 16, value);
    return at + 24;
}

/* A kernel of two segments and the notes of a Linux one. */
static void build_kernel(void)
{
    static const struct {
        uint32_t type;
        uint64_t value;
    } notes[] = {
        {XEN_ELFNOTE_ENTRY, BASE + 0x1000200}, {XEN_ELFNOTE_HYPERCALL_PAGE, BASE + 0x1001000},
        {XEN_ELFNOTE_VIRT_BASE, BASE},         {XEN_ELFNOTE_XEN_VERSION, 0x302e332d6e6578},
        {XEN_ELFNOTE_INIT_P2M, 0x8000000000},  {XEN_ELFNOTE_MOD_START_PFN, 1},
        {XEN_ELFNOTE_PADDR_OFFSET, 0},         {XEN_ELFNOTE_SUPPORTED_FEATURES, 0x8801},
    };
    unsigned at = NOTES_AT;
    memset(image, 0, sizeof(image));
    memcpy(image, "\177ELF\2\1\1", 7);
    put16(18, 62);               /* machine */
    put64(24, BASE + 0x1000000); /* entry */
    put64(32, 64);               /* program headers: place, size, number */
    put16(54, 56);
    put16(56, 3);
    for (unsigned i = 0; i < ARRAY_SIZE(notes); i++) {
        at = put_note(at, notes[i].type, notes[i].value);
    }
    put_phdr(0, 1, DATA_AT, 0x1000000, 0x100, 0x2000);
    put_phdr(1, 1, DATA_AT + 0x100, 0x1200000, 0x80, 0x3000);
    put_phdr(2, 4, NOTES_AT, 0, at - NOTES_AT, 0);
}

/* Position of a note's value, by its place in the list above. */
static unsigned note_value(unsigned nr)
{
    return NOTES_AT + nr * 24 + 16;
}

static void test_elf__kernel(void)
{
    build_kernel();
    CU_ASSERT_PTR_NULL_FATAL(elf_parse(image, sizeof(image), &elf));
    CU_ASSERT_EQUAL(elf.entry, BASE + 0x1000200);
    CU_ASSERT_EQUAL(elf.virt_base, BASE);
    CU_ASSERT_EQUAL(elf.init_p2m, 0x8000000000);
    CU_ASSERT_EQUAL(elf.hypercall_page, BASE + 0x1001000);
    CU_ASSERT_EQUAL(elf.low_paddr, 0x1000000);
    CU_ASSERT_EQUAL(elf.high_paddr, 0x1203000);
    CU_ASSERT_EQUAL_FATAL(elf.segment_count, 2);
    CU_ASSERT(elf.segment[1].data == image + DATA_AT + 0x100 && elf.segment[1].file_bytes == 0x80 &&
              elf.segment[1].paddr == 0x1200000);
    /* physical addresses that are virtual ones, as the offset says */
    put64(phdr(0, 24), 0x81000000);
    put64(phdr(1, 24), 0x81200000);
    put64(note_value(6), 0x80000000);
    CU_ASSERT_PTR_NULL_FATAL(elf_parse(image, sizeof(image), &elf));
    CU_ASSERT(elf.low_paddr == 0x1000000 && elf.segment[1].paddr == 0x1200000);
    /* without a note of features, and with the header's entry */
    put32(note_value(7) - 8, 99);
    put32(note_value(0) - 8, 99);
    CU_ASSERT_PTR_NULL(elf_parse(image, sizeof(image), &elf));
    CU_ASSERT_EQUAL(elf.entry, BASE + 0x1000000);
}

static void test_elf__refused(void)
{
    static const struct {
        unsigned at;
        uint64_t value;
        const char *why;
    } cases[] = {
        {0, 0, "not a 64-bit"},
        {16, 3UL << 16, "not an x86-64"},
        {32, IMAGE_BYTES - 167, "program headers"},
        {32, ~0UL - 8, "program headers"},
        {64 + 8, IMAGE_BYTES - 0xff, "outside the file"},
        {64 + 8, ~0UL, "outside the file"},
        {64 + 24, (1UL << 40) - 0x1fff, "out of range"},
        {64 + 24, ~0UL, "out of range"},
        {64 + 40, 0xff, "out of range"},
        {NOTES_AT + 0 * 24 + 16, BASE + 0xffffff, "entry point"},
        {NOTES_AT + 0 * 24 + 16, BASE + 0x1203000, "entry point"},
        {NOTES_AT + 1 * 24 + 16, BASE + 0x1000800, "hypercall page"},
        {NOTES_AT + 1 * 24 + 16, BASE + 0x1203000, "hypercall page"},
        {NOTES_AT + 2 * 24 + 8, 99, "VIRT_BASE"},
        {NOTES_AT + 2 * 24 + 16, ~0xfffUL, "entry point"},
        {NOTES_AT + 3 * 24 + 16, 0, "no Xen notes"},
        {NOTES_AT + 4 * 24 + 16, 0, "INIT_P2M"},
        {NOTES_AT + 4 * 24 + 16, 0x8000000800, "page-aligned"},
        {NOTES_AT + 5 * 24 + 16, 0, "MOD_START_PFN"},
        {NOTES_AT + 6 * 24 + 16, 0x1000001, "PADDR_OFFSET"},
        {NOTES_AT + 7 * 24 + 16, 1, "control domain"},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        build_kernel();
        put64(cases[i].at, cases[i].value);
        const char *wrong = elf_parse(image, sizeof(image), &elf);
        CU_ASSERT(wrong && strstr(wrong, cases[i].why));
    }
    build_kernel();
    CU_ASSERT_STRING_EQUAL(elf_parse(image, 63, &elf), "too short");
    put16(56, ELF_SEGMENTS_MAX + 2);
    for (unsigned i = 2; i < ELF_SEGMENTS_MAX + 2; i++) {
        put_phdr(i, 1, 0, 0x1000000, 0, 0x1000); /* over the notes, which come too late to matter */
    }
    CU_ASSERT_STRING_EQUAL(elf_parse(image, sizeof(image), &elf), "too many segments");
}

/* Changed here and there: the sanitizer looks for reads outside the image, we at what it says. */
static void test_elf__random_changes(void)
{
    unsigned accepted = 0;
    for (unsigned round = 0; round < 50000; round++) {
        size_t bytes = random() % 8 ? IMAGE_BYTES : (size_t)random() % IMAGE_BYTES;
        build_kernel();
        for (unsigned changes = (unsigned)random() % 4; changes; changes--) {
            unsigned at = (unsigned)random() % (NOTES_AT + 8 * 24);
            put64(at & ~7U, random() % 2 ? (uint64_t)random() << (random() % 34) : ~0UL);
        }
        uint8_t *copy = malloc(bytes ? bytes : 1);
        memcpy(copy, image, bytes);
        if (!elf_parse(copy, bytes, &elf)) {
            accepted++;
            for (unsigned i = 0; i < elf.segment_count; i++) {
                const struct elf_segment *s = &elf.segment[i];
                CU_ASSERT(s->data >= copy && s->data + s->file_bytes <= copy + bytes);
                CU_ASSERT(s->paddr >= elf.low_paddr && s->paddr < elf.high_paddr);
            }
            CU_ASSERT(elf.entry - elf.virt_base < elf.high_paddr);
        }
        free(copy);
    }
    CU_ASSERT(accepted > 1000);
}

int main(void)
{
    static const struct suite_case cases[] = {
        CASE(test_elf__kernel),
        CASE(test_elf__refused),
        CASE(test_elf__random_changes),
    };
    return SUITE("elf", 1, cases);
}
