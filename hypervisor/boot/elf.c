// SPDX-License-Identifier: MIT
/* See boot.h. The format is that of the ELF-64 specification; the notes that of xen/elfnote.h. */
#include "base/string.h"
#include "boot/boot.h"
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
#define PADDR_MAX (1UL << 40)

/* The Xen notes by number: the first 8 bytes of each, as a number; 0 where there is none. */
struct notes {
    uint32_t present;
    uint64_t value[XEN_ELFNOTE_MAX + 1];
};

/* Is [start, start + length) within [0, end)? */
static bool inside(uint64_t start, uint64_t length, uint64_t end)
{
    return start <= end && length <= end - start;
}

static void notes_scan(struct notes *n, const uint8_t *p, uint64_t bytes)
{
    uint32_t head[3]; /* name size, descriptor size, type */
    while (bytes >= sizeof(head)) {
        memcpy(head, p, sizeof(head));
        uint64_t name = ROUND_UP((uint64_t)head[0], 4), desc = ROUND_UP((uint64_t)head[1], 4);
        p += sizeof(head);
        bytes -= sizeof(head);
        if (name + desc > bytes) {
            return;
        }
        if (head[0] == 4 && memcmp(p, "Xen", 4) == 0 && head[2] <= XEN_ELFNOTE_MAX) {
            n->present |= 1U << head[2];
            n->value[head[2]] = 0;
            memcpy(&n->value[head[2]], p + name, MIN(head[1], sizeof(n->value[0])));
        }
        p += name + desc;
        bytes -= name + desc;
    }
}

static const char *headers_scan(const uint8_t *image, uint64_t bytes, const struct elf_header *eh,
                                struct elf_image *out, struct notes *n)
{
    struct elf_phdr ph;
    if (!inside(eh->phoff, eh->phnum * sizeof(ph), bytes)) {
        return "program headers lie outside the file";
    }
    for (unsigned i = 0; i < eh->phnum; i++) {
        memcpy(&ph, image + eh->phoff + i * sizeof(ph), sizeof(ph));
        bool load = ph.type == PHDR_LOAD, note = ph.type == PHDR_NOTE;
        if ((load || note) && !inside(ph.offset, ph.filesz, bytes)) {
            return "a segment lies outside the file (truncated?)";
        }
        if (note) {
            notes_scan(n, image + ph.offset, ph.filesz);
        }
        if (!load || ph.memsz == 0) {
            continue;
        }
        if (out->segment_count == ELF_SEGMENTS_MAX) {
            return "too many segments";
        }
        if (ph.filesz > ph.memsz || !inside(ph.paddr, ph.memsz, PADDR_MAX)) {
            return "a segment's addresses are out of range";
        }
        out->segment[out->segment_count++] =
            (struct elf_segment){image + ph.offset, ph.filesz, ph.paddr};
        out->low_paddr = MIN(out->low_paddr, ph.paddr);
        out->high_paddr = MAX(out->high_paddr, ph.paddr + ph.memsz);
    }
    return NULL;
}

/* The notes' part, and what only makes sense with it. */
static const char *notes_apply(struct elf_image *out, const struct notes *n)
{
    uint64_t offset = n->value[XEN_ELFNOTE_PADDR_OFFSET];
    if (memcmp(&n->value[XEN_ELFNOTE_XEN_VERSION], "xen-3.0", 7) != 0) {
        return "no Xen notes: not a paravirtual kernel";
    }
    if (!out->segment_count || !(n->present & 1U << XEN_ELFNOTE_VIRT_BASE)) {
        return "nothing to load, or no VIRT_BASE note";
    }
    if (offset > out->low_paddr) {
        return "PADDR_OFFSET lies above the image";
    }
    for (unsigned i = 0; i < out->segment_count; i++) {
        out->segment[i].paddr -= offset;
    }
    out->low_paddr -= offset;
    out->high_paddr -= offset;
    out->virt_base = n->value[XEN_ELFNOTE_VIRT_BASE];
    out->init_p2m = n->value[XEN_ELFNOTE_INIT_P2M];
    out->hypercall_page = n->value[XEN_ELFNOTE_HYPERCALL_PAGE];
    if (n->present & 1U << XEN_ELFNOTE_ENTRY) {
        out->entry = n->value[XEN_ELFNOTE_ENTRY];
    }
    if ((n->present & 1U << XEN_ELFNOTE_SUPPORTED_FEATURES) &&
        !(n->value[XEN_ELFNOTE_SUPPORTED_FEATURES] & FEATURE_DOM0)) {
        return "this kernel cannot be a control domain";
    }
    if (!out->init_p2m || !n->value[XEN_ELFNOTE_MOD_START_PFN]) {
        return "no INIT_P2M or MOD_START_PFN note (too old)";
    }
    return NULL;
}

const char *elf_parse(const uint8_t *image, uint64_t bytes, struct elf_image *out)
{
    struct elf_header eh;
    struct notes n = {0};
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
    *out = (struct elf_image){.low_paddr = ~0UL, .entry = eh.entry};
    const char *wrong = headers_scan(image, bytes, &eh, out, &n) ?: notes_apply(out, &n);
    if (wrong) {
        return wrong;
    }
    uint64_t start = out->virt_base + out->low_paddr, size = out->high_paddr - out->low_paddr;
    if (!inside(out->virt_base, out->high_paddr, ~0UL) || !inside(out->entry - start, 1, size)) {
        return "entry point outside the image";
    }
    if (out->hypercall_page && ((out->hypercall_page & ~PAGE_MASK) ||
                                !inside(out->hypercall_page - start, PAGE_SIZE, size))) {
        return "hypercall page outside the image";
    }
    return out->init_p2m & ~PAGE_MASK ? "INIT_P2M is not page-aligned" : NULL;
}
