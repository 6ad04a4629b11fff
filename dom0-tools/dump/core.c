/* SPDX-License-Identifier: MIT */
/*
 * Writing a core file; see core.h. Its layout, each part from a page boundary on:
 *
 *   ELF header | notes, contexts, shared page | list {pfn, frame} | pages | names, section headers
 *
 * The list has room for every frame the guest could have; which of them could be mapped is known
 * only when the pages have been written, so list, names and headers come last.
 */
#include "dom0-tools/dump/core.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <xen/elfnote.h>

#include "dom0-tools/base/progress.h"
#include "dom0-tools/dump/p2m.h"

#define BATCH 256u
#define CORE_MAGIC_PV 0xf00febedull
#define FORMAT_VERSION 1ull
#define NOTE_OWNER "Xen"

/* ABI: bodies of the notes. */
struct note_header {
    uint64_t magic, vcpus, pages, page_bytes;
};
struct note_version {
    uint64_t major, minor;
    xen_extraversion_t extra;
    xen_compile_info_t compile;
    xen_capabilities_info_t capabilities;
    xen_changeset_info_t changeset;
    xen_platform_parameters_t platform;
    uint64_t page_bytes;
};

/* Entry of the list. */
struct list_entry {
    uint64_t pfn, frame;
};

enum section {
    SECTION_NULL,
    SECTION_NAMES,
    SECTION_NOTES,
    SECTION_CONTEXTS,
    SECTION_SHARED,
    SECTION_LIST,
    SECTION_PAGES,
    SECTION_COUNT,
};

static const char section_names[] = "\0.shstrtab\0.note.Xen\0.xen_prstatus\0.xen_shared_info\0"
                                    ".xen_p2m\0.xen_pages";

struct core {
    struct hv *hv;
    uint32_t domid;
    bool (*stop)(void);
    struct err *err;
    int file;
    struct xen_domctl_getdomaininfo info;
    uint8_t shared[HV_PAGE_BYTES];
    uint64_t *frames; /* by pfn */
    size_t frame_count;
    struct list_entry *list; /* of what was written */
    size_t page_count;
    Elf64_Shdr sections[SECTION_COUNT];
    uint64_t end; /* of what has a place in the file */
};

/* --- reading the guest ------------------------------------------------------------------- */

static const uint64_t *map_frame(void *context, uint64_t frame)
{
    const struct core *core = context;
    xen_pfn_t number = frame;

    return hv_map(core->hv, core->domid, PROT_READ, 1, &number);
}

static void unmap_frame(void *context, const uint64_t *page)
{
    const struct core *core = context;

    hv_unmap(core->hv, (void *)(uintptr_t)page, 1);
}

/* The shared page and, through it, the list of frames. */
static int read_guest(struct core *core)
{
    struct p2m_source source = {.map = map_frame, .unmap = unmap_frame, .context = core};
    const shared_info_t *shared = (const void *)core->shared;
    const uint64_t *page = map_frame(core, core->info.shared_info_frame);
    struct p2m_root root;

    if (page == NULL) {
        return err_set_errno(core->err, errno, "cannot map the guest's shared page");
    }
    memcpy(core->shared, page, sizeof(core->shared));
    unmap_frame(core, page);
    root = (struct p2m_root){
        .max_pfn = shared->arch.max_pfn,
        .list_list = shared->arch.pfn_to_mfn_frame_list_list,
        .cr3 = shared->arch.p2m_cr3,
        .address = shared->arch.p2m_vaddr,
    };
    return p2m_read(&source, &root, &core->frames, &core->frame_count, core->err);
}

/* --- the file ---------------------------------------------------------------------------- */

static int put(struct core *core, const void *data, size_t bytes, uint64_t offset)
{
    const char *at = data;

    while (bytes > 0) {
        ssize_t done = pwrite(core->file, at, bytes, (off_t)offset);

        if (done < 0 && errno == EINTR) {
            continue;
        }
        if (done <= 0) {
            return err_set_errno(core->err, done < 0 ? errno : EIO, "cannot write");
        }
        at += done;
        bytes -= (size_t)done;
        offset += (uint64_t)done;
    }
    return 0;
}

/* Gives a section the next place in the file. */
static void place(struct core *core, enum section which, uint32_t type, uint64_t bytes,
                  uint64_t entry_bytes)
{
    core->sections[which] = (Elf64_Shdr){
        .sh_type = type,
        .sh_offset = core->end,
        .sh_size = bytes,
        .sh_addralign = HV_PAGE_BYTES,
        .sh_entsize = entry_bytes,
    };
    core->end = (core->end + bytes + HV_PAGE_BYTES - 1) / HV_PAGE_BYTES * HV_PAGE_BYTES;
}

/* --- notes ------------------------------------------------------------------------------- */

static size_t add_note(char *to, uint32_t type, const void *body, size_t bytes)
{
    Elf64_Nhdr head = {
        .n_namesz = sizeof(NOTE_OWNER), .n_descsz = (Elf64_Word)bytes, .n_type = type};

    memcpy(to, &head, sizeof(head));
    memcpy(to + sizeof(head), NOTE_OWNER, sizeof(NOTE_OWNER));
    if (bytes > 0) {
        memcpy(to + sizeof(head) + sizeof(NOTE_OWNER), body, bytes);
    }
    return sizeof(head) + sizeof(NOTE_OWNER) + (bytes + 3) / 4 * 4;
}

static void fill_version(struct hv *hv, struct note_version *version)
{
    int number = hv_version(hv);

    memset(version, 0, sizeof(*version));
    version->major = (uint64_t)number >> 16;
    version->minor = (uint64_t)number & 0xffff;
    hv_extra_version(hv, version->extra, sizeof(version->extra));
    hv_compile_info(hv, &version->compile);
    hv_capabilities(hv, version->capabilities, sizeof(version->capabilities));
    hv_changeset(hv, version->changeset, sizeof(version->changeset));
    version->page_bytes = HV_PAGE_BYTES;
}

/* The notes need the number of pages, and are written when it is known. */
#define NOTES_BYTES                                                                                \
    (4 * (sizeof(Elf64_Nhdr) + sizeof(NOTE_OWNER)) + sizeof(struct note_header) +                  \
     sizeof(struct note_version) + sizeof(uint64_t))

static int write_notes(struct core *core, size_t vcpus)
{
    struct note_header header = {CORE_MAGIC_PV, vcpus, core->page_count, HV_PAGE_BYTES};
    uint64_t format = FORMAT_VERSION;
    struct note_version version;
    char text[NOTES_BYTES + 16] = {0};
    size_t used = add_note(text, XEN_ELFNOTE_DUMPCORE_NONE, NULL, 0);

    fill_version(core->hv, &version);
    used += add_note(text + used, XEN_ELFNOTE_DUMPCORE_HEADER, &header, sizeof(header));
    used += add_note(text + used, XEN_ELFNOTE_DUMPCORE_XEN_VERSION, &version, sizeof(version));
    used += add_note(text + used, XEN_ELFNOTE_DUMPCORE_FORMAT_VERSION, &format, sizeof(format));
    return put(core, text, used, core->sections[SECTION_NOTES].sh_offset);
}

/* Contexts of all vCPUs that were ever started. Returns: how many, or a negative errno. */
static int write_contexts(struct core *core)
{
    uint64_t offset = core->sections[SECTION_CONTEXTS].sh_offset;
    struct vcpu_guest_context *context = calloc(1, sizeof(*context));
    int written = 0;

    if (context == NULL) {
        return err_set(core->err, ENOMEM, "no memory");
    }
    for (uint32_t i = 0; i <= core->info.max_vcpu_id && written >= 0; i++) {
        if (hv_vcpu_get_context(core->hv, core->domid, i, context) == 0) {
            int rc =
                put(core, context, sizeof(*context), offset + (uint64_t)written * sizeof(*context));

            written = rc != 0 ? rc : written + 1;
        }
    }
    free(context);
    return written;
}

/* --- pages ------------------------------------------------------------------------------- */

static bool is_zero(const uint64_t *page)
{
    for (size_t i = 0; i < HV_PAGE_BYTES / sizeof(*page); i++) {
        if (page[i] != 0) {
            return false;
        }
    }
    return true;
}

/* Writes what of a batch can be mapped. A page of zeros becomes a hole. */
static int write_batch(struct core *core, const struct list_entry *batch, size_t count)
{
    xen_pfn_t frames[BATCH];
    int failed[BATCH];
    uint8_t *pages;
    int rc = 0;

    for (size_t i = 0; i < count; i++) {
        frames[i] = batch[i].frame;
    }
    pages = hv_map_some(core->hv, core->domid, count, frames, failed);
    if (pages == NULL) {
        return err_set_errno(core->err, errno, "cannot map the guest's memory");
    }
    for (size_t i = 0; i < count && rc == 0; i++) {
        const void *page = pages + i * HV_PAGE_BYTES;

        if (failed[i] != 0) {
            continue;
        }
        if (!is_zero(page)) {
            rc = put(core, page, HV_PAGE_BYTES,
                     core->sections[SECTION_PAGES].sh_offset + core->page_count * HV_PAGE_BYTES);
        }
        core->list[core->page_count++] = batch[i];
    }
    hv_unmap(core->hv, pages, count);
    return rc;
}

static int write_pages(struct core *core)
{
    struct list_entry batch[BATCH];
    size_t count = 0;
    int rc = 0;

    progress_begin("dump", core->frame_count);
    for (size_t pfn = 0; pfn < core->frame_count && rc == 0; pfn++) {
        if (core->frames[pfn] != P2M_NONE) {
            batch[count++] = (struct list_entry){pfn, core->frames[pfn]};
        }
        if (count == BATCH || (pfn + 1 == core->frame_count && count > 0)) {
            rc = core->stop() ? err_set(core->err, EINTR, "interrupted")
                              : write_batch(core, batch, count);
            progress_step(pfn);
            count = 0;
        }
    }
    progress_end();
    return rc;
}

/* --- all of it --------------------------------------------------------------------------- */

/* How many frames there are to write, and whether the disk has room for them. */
static int check_room(struct core *core, const char *path, size_t *pages)
{
    struct statvfs fs;
    uint64_t need;

    *pages = 0;
    for (size_t i = 0; i < core->frame_count; i++) {
        *pages += core->frames[i] != P2M_NONE;
    }
    need = *pages * (HV_PAGE_BYTES + sizeof(struct list_entry)) + ((uint64_t)1 << 20);
    if (fstatvfs(core->file, &fs) != 0) {
        return err_set_errno(core->err, errno, "%s", path);
    }
    /* A file system in memory may have no size of its own to tell. */
    if (fs.f_blocks != 0 && need > (uint64_t)fs.f_bavail * fs.f_frsize) {
        return err_set(core->err, ENOSPC, "%llu MiB are needed, %llu MiB are free",
                       (unsigned long long)(need >> 20),
                       (unsigned long long)((uint64_t)fs.f_bavail * fs.f_frsize >> 20));
    }
    core->list = malloc((*pages + 1) * sizeof(*core->list));
    return core->list != NULL ? 0 : err_set(core->err, ENOMEM, "no memory");
}

static int write_headers(struct core *core)
{
    Elf64_Ehdr head = {
        .e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
        .e_type = ET_CORE,
        .e_machine = EM_X86_64,
        .e_version = EV_CURRENT,
        .e_shoff = core->end,
        .e_ehsize = sizeof(head),
        .e_shentsize = sizeof(Elf64_Shdr),
        .e_shnum = SECTION_COUNT,
        .e_shstrndx = SECTION_NAMES,
    };
    uint32_t name = 0;

    for (unsigned int i = 0; i < SECTION_COUNT; i++) {
        core->sections[i].sh_name = name;
        name += (uint32_t)strlen(section_names + name) + 1;
    }

    int rc = put(core, core->sections, sizeof(core->sections), core->end);

    return rc != 0 ? rc : put(core, &head, sizeof(head), 0);
}

static int write_all(struct core *core, const char *path)
{
    size_t pages;
    int vcpus;
    int rc = check_room(core, path, &pages);

    if (rc != 0) {
        return rc;
    }
    core->end = HV_PAGE_BYTES;
    place(core, SECTION_NOTES, SHT_NOTE, NOTES_BYTES, 0);
    place(core, SECTION_CONTEXTS, SHT_PROGBITS,
          (core->info.max_vcpu_id + 1ull) * sizeof(struct vcpu_guest_context),
          sizeof(struct vcpu_guest_context));
    place(core, SECTION_SHARED, SHT_PROGBITS, HV_PAGE_BYTES, HV_PAGE_BYTES);
    place(core, SECTION_LIST, SHT_PROGBITS, pages * sizeof(struct list_entry),
          sizeof(struct list_entry));
    place(core, SECTION_PAGES, SHT_PROGBITS, pages * HV_PAGE_BYTES, HV_PAGE_BYTES);
    place(core, SECTION_NAMES, SHT_STRTAB, sizeof(section_names), 0);
    vcpus = write_contexts(core);
    rc = vcpus < 0 ? vcpus
                   : put(core, core->shared, sizeof(core->shared),
                         core->sections[SECTION_SHARED].sh_offset);
    rc = rc != 0 ? rc : write_pages(core);
    if (rc != 0) {
        return rc;
    }
    core->sections[SECTION_CONTEXTS].sh_size = (uint64_t)vcpus * sizeof(struct vcpu_guest_context);
    core->sections[SECTION_LIST].sh_size = core->page_count * sizeof(struct list_entry);
    core->sections[SECTION_PAGES].sh_size = core->page_count * HV_PAGE_BYTES;
    rc = put(core, core->list, core->sections[SECTION_LIST].sh_size,
             core->sections[SECTION_LIST].sh_offset);
    rc = rc != 0 ? rc : write_notes(core, (size_t)vcpus);
    rc = rc != 0 ? rc
                 : put(core, section_names, sizeof(section_names),
                       core->sections[SECTION_NAMES].sh_offset);
    rc = rc != 0 ? rc : write_headers(core);
    return rc != 0 || fsync(core->file) == 0 ? rc : err_set_errno(core->err, errno, "cannot write");
}

int core_write(struct hv *hv, uint32_t domid, const char *path, bool (*stop)(void), struct err *err)
{
    struct core *core = calloc(1, sizeof(*core));
    char part[4096];
    int rc;

    if (core == NULL || snprintf(part, sizeof(part), "%s.part", path) >= (int)sizeof(part)) {
        free(core);
        return err_set(err, core == NULL ? ENOMEM : ENAMETOOLONG, "%s: no memory, or too long",
                       path);
    }
    core->hv = hv;
    core->domid = domid;
    core->stop = stop;
    core->err = err;
    rc = hv_domain_info(hv, domid, &core->info);
    rc = rc != 0 ? err_set_errno(err, -rc, "cannot describe domain %u", domid) : read_guest(core);
    if (rc == 0) {
        core->file = open(part, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        if (core->file < 0) {
            rc = err_set_errno(err, errno, "%s", part);
        } else {
            rc = write_all(core, path);
            close(core->file);
            if (rc == 0 && rename(part, path) != 0) {
                rc = err_set_errno(err, errno, "%s", path);
            }
            if (rc != 0) {
                unlink(part);
            }
        }
    }
    free(core->list);
    free(core->frames);
    free(core);
    return rc;
}
