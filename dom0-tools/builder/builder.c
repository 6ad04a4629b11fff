/* SPDX-License-Identifier: MIT */
/*
 * The domain builder; see builder.h.
 *
 * ORDER: memory first, then everything that is written through foreign mappings, then all mappings
 * are dropped, then the page tables are pinned and the first vCPU gets them. Pinning fails while a
 * table is still mapped writable, and the guest's shared page exists from the domain's creation.
 */
#include "dom0-tools/builder/builder.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "dom0-tools/base/map.h"
#include "dom0-tools/base/progress.h"
#include "dom0-tools/builder/kernel_cache.h"
#include "dom0-tools/builder/layout.h"
#include "dom0-tools/builder/window.h"
#include "dom0-tools/unpack/unpack.h"

/* Grant entries the guest's kernel leaves alone because the builder fills them. */
#define GRANT_CONSOLE 0u
#define GRANT_STORE 1u

/* Memory is given in runs of 2 MiB as long as there are any, in batches of this many. */
#define SUPERPAGE_ORDER 9u
#define SUPERPAGE_FRAMES ((uint64_t)1 << SUPERPAGE_ORDER)
#define POPULATE_BATCH 1024u

/* The hypervisor counts a few of its own pages to the domain. */
#define MEMORY_SLACK_KIB 1024u

#define RFLAGS_IF 0x200u
#define ADDRESS_BITS 64u

/* One build in progress. */
struct build {
    struct hv *hv;
    const struct builder_image *image;
    struct builder_guest *guest;
    struct err *err;
    struct builder_layout layout;
    xen_pfn_t *p2m;
    struct windows windows;
    uint64_t shared_info_frame;
};

/* Unpacks a boot image and keeps the result. From a copy: while it is mapped its file can change,
 * and what stands beside it in the cache must be what it was unpacked to. */
static int unpack(const char *kernel, const void *file, size_t file_bytes,
                  struct builder_image *image, struct err *err)
{
    void *copy = malloc(file_bytes + 1);
    int rc;

    if (copy == NULL) {
        return err_set(err, ENOMEM, "kernel %s: no memory for %zu bytes", kernel, file_bytes);
    }
    memcpy(copy, file, file_bytes);
    rc = kernel_unpack(copy, file_bytes, &image->elf, &image->elf_bytes, err);
    if (rc == 0) {
        kernel_cache_put(KERNEL_CACHE_FOLDER, copy, file_bytes, image->elf, image->elf_bytes);
    }
    free(copy);
    return rc == 0 ? 0 : err_prefix(err, "kernel %s", kernel);
}

/* Finds what a boot image was unpacked to, or unpacks it. */
static int load_packed(const char *kernel, const void *file, size_t file_bytes,
                       struct builder_image *image, struct err *err)
{
    image->elf_fd =
        kernel_cache_get(KERNEL_CACHE_FOLDER, file, file_bytes, &image->elf, &image->elf_bytes);
    return image->elf_fd >= 0 ? 0 : unpack(kernel, file, file_bytes, image, err);
}

static int load_kernel(const char *kernel, struct builder_image *image, struct err *err)
{
    void *file;
    size_t file_bytes;
    int fd = map_file(kernel, BUILDER_MAX_KERNEL_BYTES, &file, &file_bytes, err);
    int rc;

    if (fd < 0) {
        return err_prefix(err, "kernel");
    }
    if (kernel_is_elf(file, file_bytes)) {
        image->elf = file;
        image->elf_bytes = file_bytes;
        image->elf_fd = fd;
        return 0;
    }
    rc = load_packed(kernel, file, file_bytes, image, err);
    map_end(file);
    close(fd);
    return rc;
}

int builder_image_load(const char *kernel, const char *ramdisk, struct builder_image *image,
                       struct err *err)
{
    int fd;
    int rc;

    *image = (struct builder_image){.elf_fd = -1};
    rc = load_kernel(kernel, image, err);
    if (rc != 0) {
        return rc;
    }
    rc = elf_info_parse(image->elf, image->elf_bytes, &image->info, err);
    if (rc != 0) {
        rc = err_prefix(err, "kernel %s", kernel);
        goto undo;
    }
    if (ramdisk != NULL) {
        fd = map_file(ramdisk, BUILDER_MAX_RAMDISK_BYTES, &image->ramdisk, &image->ramdisk_bytes,
                      err);
        if (fd < 0) {
            rc = err_prefix(err, "ramdisk");
            goto undo;
        }
        close(fd);
    }
    return 0;

undo:
    builder_image_free(image);
    return rc;
}

void builder_image_free(struct builder_image *image)
{
    if (image->elf_fd >= 0) {
        map_end(image->elf);
        close(image->elf_fd);
    } else {
        free(image->elf);
    }
    map_end(image->ramdisk);
    *image = (struct builder_image){.elf_fd = -1};
}

int builder_check(const struct builder_image *image, uint64_t frames, struct err *err)
{
    struct builder_layout layout;

    return builder_layout(&image->info, frames, image->ramdisk_bytes, &layout, err);
}

/* Limits and channels a domain needs before it has memory. */
static int prepare_domain(struct build *b)
{
    struct builder_guest *guest = b->guest;
    uint64_t max_kib = guest->max_frames * (HV_PAGE_BYTES / 1024);
    int rc = hv_domain_max_vcpus(b->hv, guest->domid, guest->vcpus);

    if (rc != 0) {
        return err_set_errno(b->err, -rc, "the hypervisor refuses %u vCPUs", guest->vcpus);
    }
    /* Xen would trap each reading of a counter it does not take for steady: 1,300 instructions for
     * what kernels do on every system call. */
    rc = hv_domain_native_tsc(b->hv, guest->domid);
    if (rc != 0) {
        return err_set_errno(b->err, -rc, "cannot choose the native time-stamp counter");
    }
    rc = hv_domain_set_address_size(b->hv, guest->domid, ADDRESS_BITS);
    if (rc == 0) {
        rc = hv_domain_max_mem(b->hv, guest->domid, max_kib + MEMORY_SLACK_KIB);
    }
    if (rc == 0) {
        rc = hv_memory_map_set(b->hv, guest->domid, max_kib * 1024);
    }
    if (rc != 0) {
        return err_set_errno(b->err, -rc, "cannot set the memory limit to %llu KiB",
                             (unsigned long long)max_kib);
    }
    rc = hv_evtchn_alloc(b->hv, guest->domid, guest->store_domid, &guest->store_port);
    if (rc == 0) {
        rc = hv_evtchn_alloc(b->hv, guest->domid, guest->console_domid, &guest->console_port);
    }
    return rc != 0 ? err_set_errno(b->err, -rc, "cannot make event channels") : 0;
}

/* Asks for superpages starting at *done; stops, without error, when there are no more. */
static int populate_superpages(struct build *b, uint64_t *done)
{
    xen_pfn_t batch[POPULATE_BATCH];

    while (b->guest->frames - *done >= SUPERPAGE_FRAMES) {
        uint64_t count = (b->guest->frames - *done) / SUPERPAGE_FRAMES;
        long given;

        if (count > POPULATE_BATCH) {
            count = POPULATE_BATCH;
        }
        for (uint64_t i = 0; i < count; i++) {
            batch[i] = *done + i * SUPERPAGE_FRAMES;
        }
        given = hv_populate(b->hv, b->guest->domid, batch, count, SUPERPAGE_ORDER);
        if (given < 0) {
            return (int)given;
        }
        for (uint64_t i = 0; i < (uint64_t)given * SUPERPAGE_FRAMES; i++) {
            b->p2m[*done + i] = batch[i / SUPERPAGE_FRAMES] + i % SUPERPAGE_FRAMES;
        }
        *done += (uint64_t)given * SUPERPAGE_FRAMES;
        progress_step(*done);
        if ((uint64_t)given < count) {
            break;
        }
    }
    return 0;
}

/* Gives the domain its memory and fills p2m. */
static int populate(struct build *b)
{
    uint64_t done = 0;
    int rc;

    progress_begin("memory", b->guest->frames);
    rc = populate_superpages(b, &done);

    while (rc == 0 && done < b->guest->frames) {
        uint64_t count = b->guest->frames - done;
        long given;

        if (count > POPULATE_BATCH) {
            count = POPULATE_BATCH;
        }
        for (uint64_t i = 0; i < count; i++) {
            b->p2m[done + i] = done + i;
        }
        given = hv_populate(b->hv, b->guest->domid, b->p2m + done, count, 0);
        if (given <= 0) {
            rc = given < 0 ? (int)given : -ENOMEM;
            break;
        }
        done += (uint64_t)given;
        progress_step(done);
    }
    progress_end();
    if (rc != 0) {
        return err_set_errno(b->err, -rc, "the machine gave only %llu of %llu MiB of memory",
                             (unsigned long long)(done >> 8),
                             (unsigned long long)(b->guest->frames >> 8));
    }
    return 0;
}

/* Copies one segment, of a kernel that is mapped what there is in its file. */
static int load_segment(struct build *b, const struct elf_segment *s)
{
    const struct builder_image *image = b->image;
    size_t end = s->offset + s->filesz;
    size_t at = s->offset;
    size_t part;
    int rc = 0;

    do {
        part = image->elf_fd >= 0 ? map_next_data(image->elf_fd, &at, end) : end - at;
        rc = window_write(&b->windows, s->load_pa + at - s->offset,
                          (const uint8_t *)image->elf + at, part);
        at += part;
    } while (rc == 0 && part != 0 && at < end);
    return rc;
}

/* Copies the kernel's segments and the ramdisk. What is zero in them is so already: no domain gets
 * memory that the hypervisor has not cleared. */
static int load_image(struct build *b)
{
    const struct elf_info *info = &b->image->info;
    int rc = 0;

    for (unsigned int i = 0; i < info->segment_count && rc == 0; i++) {
        rc = load_segment(b, &info->segments[i]);
    }
    if (rc != 0) {
        return err_set_errno(b->err, -rc, "cannot write the kernel into the domain");
    }
    if (b->image->ramdisk_bytes != 0) {
        rc = window_write(&b->windows, b->layout.ramdisk.pfn << HV_PAGE_SHIFT, b->image->ramdisk,
                          b->image->ramdisk_bytes);
    }
    return rc != 0 ? err_set_errno(b->err, -rc, "cannot write the ramdisk into the domain") : 0;
}

/* Writes the frame list; the rest of its last page says "no frame". */
static int load_p2m(struct build *b)
{
    uint64_t start = b->layout.p2m.pfn << HV_PAGE_SHIFT;
    uint64_t bytes = b->layout.frames * sizeof(*b->p2m);
    uint64_t rest = b->layout.p2m.count * HV_PAGE_BYTES - bytes;
    uint8_t none[HV_PAGE_BYTES];
    int rc = window_write(&b->windows, start, b->p2m, bytes);

    memset(none, 0xff, sizeof(none));
    if (rc == 0) {
        rc = window_write(&b->windows, start + bytes, none, rest);
    }
    return rc != 0 ? err_set_errno(b->err, -rc, "cannot write the frame list into the domain") : 0;
}

static int load_start_info(struct build *b)
{
    const struct builder_layout *layout = &b->layout;
    const struct builder_guest *guest = b->guest;
    uint64_t at = layout->start_info.pfn << HV_PAGE_SHIFT;
    struct start_info info = {0};
    size_t cmdline_bytes = strlen(guest->cmdline);
    int rc;

    if (cmdline_bytes >= sizeof(info.cmd_line)) {
        return err_set(b->err, E2BIG, "the command line has %zu bytes, %zu are the most",
                       cmdline_bytes, sizeof(info.cmd_line) - 1);
    }
    snprintf(info.magic, sizeof(info.magic), "xen-3.0-x86_64");
    info.nr_pages = layout->frames;
    info.shared_info = b->shared_info_frame << HV_PAGE_SHIFT;
    info.flags = SIF_VIRT_P2M_4TOOLS;
    info.store_mfn = b->p2m[layout->store.pfn];
    info.store_evtchn = guest->store_port;
    info.console.domU.mfn = b->p2m[layout->console.pfn];
    info.console.domU.evtchn = guest->console_port;
    info.pt_base = builder_layout_va(layout, layout->tables.pfn);
    info.nr_pt_frames = layout->tables.count;
    info.mfn_list = layout->p2m_va;
    if (layout->p2m_area.count != 0) {
        info.first_p2m_pfn = layout->p2m.pfn;
        info.nr_p2m_frames = layout->p2m.count + layout->p2m_tables.count;
    }
    if (layout->ramdisk.count != 0) {
        info.mod_len = b->image->ramdisk_bytes;
        if (layout->ramdisk_mapped) {
            info.mod_start = builder_layout_va(layout, layout->ramdisk.pfn);
        } else {
            info.mod_start = layout->ramdisk.pfn;
            info.flags |= SIF_MOD_START_PFN;
        }
    }
    memcpy(info.cmd_line, guest->cmdline, cmdline_bytes);
    rc = window_write(&b->windows, at, &info, sizeof(info));
    return rc != 0 ? err_set_errno(b->err, -rc, "cannot write the start page into the domain") : 0;
}

/* Everything else the builder writes into the guest. */
static int load_tables(struct build *b)
{
    const struct builder_layout *layout = &b->layout;
    const struct builder_pages pages = {.page = window_page, .context = &b->windows};
    int rc = load_p2m(b);

    if (rc == 0) {
        rc = builder_page_tables(layout, b->p2m, &pages);
        /* It only hears that there is no page; the windows know why. */
        if (rc != 0) {
            rc = err_set_errno(b->err, b->windows.error != 0 ? -b->windows.error : -rc,
                               "cannot write page tables into the domain");
        }
    }
    if (rc == 0) {
        rc = load_start_info(b);
    }
    if (rc == 0 && window_flush(&b->windows) != 0) {
        rc = err_set_errno(b->err, -b->windows.error, "cannot write the domain's last pages");
    }
    return rc;
}

/* Starts the shared page from nothing: all events masked at every vCPU. */
static int reset_shared_info(struct build *b)
{
    xen_pfn_t frame = b->shared_info_frame;
    struct shared_info *shared = hv_map(b->hv, b->guest->domid, PROT_READ | PROT_WRITE, 1, &frame);

    if (shared == NULL) {
        return errno != 0 ? -errno : -EIO;
    }
    memset(shared, 0, sizeof(*shared));
    for (unsigned int i = 0; i < XEN_LEGACY_MAX_VCPUS; i++) {
        shared->vcpu_info[i].evtchn_upcall_mask = 1;
    }
    return hv_unmap(b->hv, shared, 1);
}

static int start_vcpu(struct build *b)
{
    const struct builder_layout *layout = &b->layout;
    struct vcpu_guest_context context = {0};

    context.flags = VGCF_in_kernel | VGCF_online;
    context.user_regs.rip = b->image->info.entry;
    context.user_regs.rsp = builder_layout_va(layout, layout->stack.pfn) + HV_PAGE_BYTES;
    context.user_regs.rsi = builder_layout_va(layout, layout->start_info.pfn);
    context.user_regs.rflags = RFLAGS_IF;
    context.user_regs.cs = FLAT_KERNEL_CS;
    context.user_regs.ss = FLAT_KERNEL_SS;
    context.user_regs.ds = FLAT_KERNEL_DS;
    context.user_regs.es = FLAT_KERNEL_DS;
    context.user_regs.fs = FLAT_KERNEL_DS;
    context.user_regs.gs = FLAT_KERNEL_DS;
    context.kernel_ss = FLAT_KERNEL_SS;
    context.kernel_sp = context.user_regs.rsp;
    context.ctrlreg[3] = xen_pfn_to_cr3(b->p2m[layout->tables.pfn]);
    return hv_vcpu_set_context(b->hv, b->guest->domid, 0, &context);
}

/* The steps after the last write to the guest's memory. */
static int finish(struct build *b)
{
    const struct builder_layout *layout = &b->layout;
    struct builder_guest *guest = b->guest;
    uint64_t page = b->image->info.hypercall_page;
    struct hv_grant grants[2];
    int rc = 0;

    guest->store_frame = b->p2m[layout->store.pfn];
    guest->console_frame = b->p2m[layout->console.pfn];
    if (page != ELF_INFO_NO_ADDR) {
        rc = hv_domain_hypercall_page(b->hv, guest->domid,
                                      b->p2m[(page - layout->main.va) >> HV_PAGE_SHIFT]);
    }
    if (rc != 0) {
        return err_set_errno(b->err, -rc, "cannot fill the hypercall page");
    }
    rc = hv_pin_l4(b->hv, guest->domid, b->p2m[layout->tables.pfn]);
    if (rc != 0) {
        return err_set_errno(b->err, -rc, "the hypervisor refuses the page tables");
    }
    rc = reset_shared_info(b);
    if (rc != 0) {
        return err_set_errno(b->err, -rc, "cannot prepare the shared page");
    }
    rc = start_vcpu(b);
    if (rc != 0) {
        return err_set_errno(b->err, -rc, "the hypervisor refuses the first vCPU's state");
    }
    /* Version-1 entries hold 32-bit frames; a ring page beyond 16 TiB cannot be offered. */
    if (guest->store_frame > UINT32_MAX || guest->console_frame > UINT32_MAX) {
        return err_set(b->err, ERANGE, "ring pages lie too high in memory for the grant table");
    }
    grants[0] = (struct hv_grant){.ref = GRANT_CONSOLE,
                                  .frame = (uint32_t)guest->console_frame,
                                  .to = (domid_t)guest->console_domid};
    grants[1] = (struct hv_grant){.ref = GRANT_STORE,
                                  .frame = (uint32_t)guest->store_frame,
                                  .to = (domid_t)guest->store_domid};
    rc = hv_grants_seed(b->hv, guest->domid, grants, 2);
    return rc != 0 ? err_set_errno(b->err, -rc, "cannot write the grant table") : 0;
}

int builder_build(struct hv *hv, const struct builder_image *image, struct builder_guest *guest,
                  struct err *err)
{
    struct build b = {.hv = hv, .image = image, .guest = guest, .err = err};
    struct xen_domctl_getdomaininfo info;
    int rc = builder_layout(&image->info, guest->frames, image->ramdisk_bytes, &b.layout, err);
    xen_pfn_t *p2m;
    int close_rc;

    if (rc != 0) {
        return rc;
    }
    b.p2m = p2m = malloc(guest->frames * sizeof(*p2m));
    if (p2m == NULL) {
        return err_set(err, ENOMEM, "out of memory for a list of %llu frames",
                       (unsigned long long)guest->frames);
    }
    rc = window_open(&b.windows, hv, guest->domid, b.p2m, guest->frames);
    if (rc != 0) {
        rc = err_set_errno(err, -rc, "cannot begin to fill the domain's memory");
        goto undo;
    }
    rc = hv_domain_info(hv, guest->domid, &info);
    if (rc != 0) {
        rc = err_set_errno(err, -rc, "cannot look at the new domain");
        goto undo;
    }
    b.shared_info_frame = info.shared_info_frame;
    rc = prepare_domain(&b);
    if (rc == 0) {
        rc = populate(&b);
    }
    if (rc == 0) {
        rc = load_image(&b);
    }
    if (rc == 0) {
        rc = load_tables(&b);
    }
    close_rc = window_close(&b.windows);
    if (rc == 0 && close_rc != 0) {
        rc = err_set_errno(err, -close_rc, "cannot unmap the domain's memory");
    }
    if (rc == 0 && map_has_shrunk()) {
        rc = err_set(err, EBUSY, "kernel or ramdisk have become shorter while they were read");
    }
    if (rc == 0) {
        rc = finish(&b);
    }

undo:
    window_close(&b.windows);
    free(p2m);
    return rc;
}
