// SPDX-License-Identifier: MIT
/* See elf.h. The format is that of the ELF-64 specification; the notes that of xen/elfnote.h. */
#include "boot/elf.h"

#include "base/checked.h"
#include "base/string.h"
#include "pv-abi/abi.h"

struct elf_header {
    uint8_t ident[16];
    uint16_t type, machine;
    uint32_t version;
    uint64_t entry, phoff, shoff;
    uint32_t flags;
    uint16_t ehsize, phentsize, phnum, shentsize, shnum, shstrndx;
};

struct elf_phdr {
    uint32_t type, flags;
    uint64_t offset, vaddr, paddr, filesz, memsz, align;
};

#define PHDR_LOAD 1
#define PHDR_NOTE 4
#define MACHINE_X86_64 62
#define FEATURE_DOM0 (1U << 11)

struct notes {
    bool found, virt_base, version_ok;
    uint64_t paddr_offset;
};

static uint64_t note_number(const uint8_t *desc, uint32_t bytes)
{
    uint64_t value = 0;
    memcpy(&value, desc, MIN(bytes, sizeof(value)));
    return value;
}

static void note_take(struct elf_image *out, struct notes *n, uint32_t type, const uint8_t *desc,
                      uint32_t bytes)
{
    n->found = true;
    switch (type) {
    case XEN_ELFNOTE_ENTRY:
        out->entry = note_number(desc, bytes);
        break;
    case XEN_ELFNOTE_HYPERCALL_PAGE:
        out->hypercall_page = note_number(desc, bytes);
        break;
    case XEN_ELFNOTE_VIRT_BASE:
        out->virt_base = note_number(desc, bytes);
        n->virt_base = true;
        break;
    case XEN_ELFNOTE_PADDR_OFFSET:
        n->paddr_offset = note_number(desc, bytes);
        break;
    case XEN_ELFNOTE_XEN_VERSION:
        n->version_ok = bytes >= 7 && memcmp(desc, "xen-3.0", 7) == 0;
        break;
    case XEN_ELFNOTE_INIT_P2M:
        out->init_p2m = note_number(desc, bytes);
        break;
    case XEN_ELFNOTE_MOD_START_PFN:
        out->mod_start_pfn = note_number(desc, bytes) != 0;
        break;
    case XEN_ELFNOTE_SUPPORTED_FEATURES:
        out->can_be_control = note_number(desc, bytes) & FEATURE_DOM0;
        break;
    default:
        break;
    }
}

static void notes_scan(struct elf_image *out, struct notes *n, const uint8_t *p, uint64_t bytes)
{
    while (bytes >= 12) {
        uint32_t head[3]; /* name size, descriptor size, type */
        memcpy(head, p, sizeof(head));
        uint64_t name = ROUND_UP((uint64_t)head[0], 4), desc = ROUND_UP((uint64_t)head[1], 4);
        if (name + desc > bytes - 12) {
            return;
        }
        if (head[0] == 4 && memcmp(p + 12, "Xen", 4) == 0) {
            note_take(out, n, head[2], p + 12 + name, head[1]);
        }
        p += 12 + name + desc;
        bytes -= 12 + name + desc;
    }
}

static const char *segment_add(struct elf_image *out, const struct elf_phdr *ph,
                               const uint8_t *data)
{
    uint64_t end;
    if (ph->memsz == 0) {
        return NULL;
    }
    if (out->segment_count == ELF_SEGMENTS_MAX) {
        return "too many segments";
    }
    if (ph->filesz > ph->memsz || !checked_add(ph->paddr, ph->memsz, &end) || end > 1UL << 40) {
        return "a segment's addresses are out of range";
    }
    out->segment[out->segment_count++] = (struct elf_segment){
        .data = data, .file_bytes = ph->filesz, .paddr = ph->paddr, .memory_bytes = ph->memsz};
    out->low_paddr = MIN(out->low_paddr, ph->paddr);
    out->high_paddr = MAX(out->high_paddr, end);
    return NULL;
}

static const char *headers_scan(const uint8_t *image, uint64_t bytes, const struct elf_header *eh,
                                struct elf_image *out, struct notes *n)
{
    for (unsigned i = 0; i < eh->phnum; i++) {
        struct elf_phdr ph;
        uint64_t at, end;
        if (!checked_add(eh->phoff, i * sizeof(ph), &at) || !checked_add(at, sizeof(ph), &end) ||
            end > bytes) {
            return "program headers lie outside the file";
        }
        memcpy(&ph, image + at, sizeof(ph));
        if (ph.type != PHDR_LOAD && ph.type != PHDR_NOTE) {
            continue;
        }
        if (!checked_add(ph.offset, ph.filesz, &end) || end > bytes) {
            return "a segment lies outside the file (truncated?)";
        }
        if (ph.type == PHDR_NOTE) {
            notes_scan(out, n, image + ph.offset, ph.filesz);
            continue;
        }
        const char *wrong = segment_add(out, &ph, image + ph.offset);
        if (wrong) {
            return wrong;
        }
    }
    return NULL;
}

const char *elf_parse(const void *image, uint64_t bytes, struct elf_image *out)
{
    struct elf_header eh;
    struct notes n = {0};
    memset(out, 0, sizeof(*out));
    out->low_paddr = ~0UL;
    out->can_be_control = true;
    if (bytes < sizeof(eh)) {
        return "too short";
    }
    memcpy(&eh, image, sizeof(eh));
    if (memcmp(eh.ident, "\177ELF\2\1", 6) != 0) {
        return "not a 64-bit little-endian ELF file";
    }
    if (eh.machine != MACHINE_X86_64 || eh.phentsize != sizeof(struct elf_phdr)) {
        return "not an x86-64 executable";
    }
    out->entry = eh.entry;
    const char *wrong = headers_scan(image, bytes, &eh, out, &n);
    if (wrong) {
        return wrong;
    }
    if (!n.found || !n.version_ok) {
        return "no Xen notes: not a paravirtual kernel";
    }
    if (!out->segment_count || !n.virt_base) {
        return "nothing to load, or no VIRT_BASE note";
    }
    if (n.paddr_offset > out->low_paddr) {
        return "PADDR_OFFSET lies above the image";
    }
    for (unsigned i = 0; i < out->segment_count; i++) {
        out->segment[i].paddr -= n.paddr_offset;
    }
    out->low_paddr -= n.paddr_offset;
    out->high_paddr -= n.paddr_offset;
    uint64_t base = out->virt_base;
    if (out->entry < base + out->low_paddr || out->entry >= base + out->high_paddr) {
        return "entry point outside the image";
    }
    if (out->hypercall_page &&
        ((out->hypercall_page & ~PAGE_MASK) || out->hypercall_page < base + out->low_paddr ||
         out->hypercall_page > base + out->high_paddr - PAGE_SIZE)) {
        return "hypercall page outside the image";
    }
    if (out->init_p2m & ~PAGE_MASK) {
        return "INIT_P2M is not page-aligned";
    }
    return NULL;
}
