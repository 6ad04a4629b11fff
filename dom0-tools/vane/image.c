/* SPDX-License-Identifier: MIT */
/*
 * Commands that read files and need no hypervisor: unpack-kernel and validate.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dom0-tools/base/file.h"
#include "dom0-tools/config/config.h"
#include "dom0-tools/unpack/elfnotes.h"
#include "dom0-tools/unpack/unpack.h"
#include "dom0-tools/vane/vane.h"

#define MAX_IMAGE_BYTES ((size_t)512 << 20)
#define MAX_FILES 1000

/* --- unpack-kernel ----------------------------------------------------------------------- */

/* "dir/vmlinuz-6.1" gives "dir/vmlinux-6.1"; any other name gets ".elf" behind it. */
static char *default_output(const char *in)
{
    static const char packed[] = "vmlinuz";
    const char *slash = strrchr(in, '/');
    size_t folder = slash != NULL ? (size_t)(slash - in) + 1 : 0;
    const char *name = in + folder;
    char *out = NULL;
    int rc = strncmp(name, packed, strlen(packed)) == 0
                 ? asprintf(&out, "%.*svmlinux%s", (int)folder, in, name + strlen(packed))
                 : asprintf(&out, "%s.elf", in);

    return rc < 0 ? NULL : out;
}

static int print_notes(const char *path, const void *elf, size_t bytes, struct err *err)
{
    struct elf_info info;
    int rc = elf_info_parse(elf, bytes, &info, err);

    if (rc != 0) {
        err_prefix(err, "%s", path);
        return rc;
    }
    printf("bytes=%zu\nguest_os=%s\nguest_version=%s\nloader=%s\nxen_version=%s\n", bytes,
           info.guest_os, info.guest_version, info.loader, info.xen_version);
    printf("entry=0x%" PRIx64 "\nvirt_base=0x%" PRIx64 "\npaddr_offset=0x%" PRIx64 "\n", info.entry,
           info.virt_base, info.paddr_offset);
    if (info.hypercall_page != ELF_INFO_NO_ADDR) {
        printf("hypercall_page=0x%" PRIx64 "\n", info.hypercall_page);
    }
    if (info.init_p2m != ELF_INFO_NO_ADDR) {
        printf("init_p2m=0x%" PRIx64 "\n", info.init_p2m);
    }
    printf("mod_start_pfn=%d\nsuspend_cancel=%d\n", info.mod_start_pfn, info.suspend_cancel);
    if (info.has_supported_features) {
        printf("supported_features=0x%x\nrequired_features=0x%x\n", info.supported_features,
               info.required_features);
    }
    for (unsigned int i = 0; i < info.segment_count; i++) {
        const struct elf_segment *s = &info.segments[i];

        printf("segment=0x%" PRIx64 "+0x%" PRIx64 " from file offset 0x%" PRIx64 "+0x%" PRIx64 "\n",
               s->vaddr, s->memsz, s->offset, s->filesz);
    }
    return 0;
}

static int write_kernel(const char *in, const char *out, const void *elf, size_t bytes,
                        struct err *err)
{
    if (out != NULL && strcmp(out, "-") == 0) {
        return fwrite(elf, 1, bytes, stdout) == bytes && fflush(stdout) == 0
                   ? 0
                   : err_set_errno(err, errno, "standard output");
    }

    char *made = out == NULL ? default_output(in) : NULL;

    if (out == NULL && made == NULL) {
        return err_set(err, ENOMEM, "no memory");
    }

    int rc = file_write(out != NULL ? out : made, elf, bytes, err);

    free(made);
    return rc;
}

static int run_unpack(const struct vane_args *args)
{
    const char *in = args->operands[0];
    const char *out = args->count > 1 ? args->operands[1] : NULL;
    struct err err = {0};
    void *image;
    void *elf;
    size_t image_bytes;
    size_t elf_bytes;

    if (out != NULL && vane_option(args, 'n') != NULL) {
        vane_error("unpack-kernel: no file is written with --notes, not '%s'", out);
        return VANE_USAGE;
    }

    if (out != NULL && file_is_same(in, out)) {
        vane_error("unpack-kernel: '%s' would be written over itself", in);
        return VANE_USAGE;
    }

    int rc = file_read(in, MAX_IMAGE_BYTES, &image, &image_bytes, &err);

    if (rc != 0) {
        return vane_fail(&err);
    }
    rc = kernel_unpack(image, image_bytes, &elf, &elf_bytes, &err);
    free(image);
    if (rc != 0) {
        err_prefix(&err, "%s", in);
        return vane_fail(&err);
    }
    rc = vane_option(args, 'n') != NULL ? print_notes(in, elf, elf_bytes, &err)
                                        : write_kernel(in, out, elf, elf_bytes, &err);
    free(elf);
    return rc != 0 ? vane_fail(&err) : VANE_OK;
}

/* --- validate ---------------------------------------------------------------------------- */

static void add_text(struct json_object *to, const char *key, const char *text)
{
    if (text != NULL) {
        json_object_object_add(to, key, json_object_new_string(text));
    }
}

static struct json_object *json_of_disk(const struct vane_disk *disk)
{
    struct json_object *out = json_object_new_object();

    add_text(out, "type", disk->type == VANE_DISK_FILE ? "file" : "block");
    add_text(out, "device", disk->cdrom ? "cdrom" : "disk");
    add_text(out, "format", disk->qcow2 ? "qcow2" : "raw");
    add_text(out, "source", disk->path);
    add_text(out, "target", disk->target);
    json_object_object_add(out, "readonly", json_object_new_boolean(disk->readonly));
    json_object_object_add(out, "shareable", json_object_new_boolean(disk->shareable));
    return out;
}

static struct json_object *json_of_net(const struct vane_net *net)
{
    struct json_object *out = json_object_new_object();
    struct json_object *ips = json_object_new_array();
    char mac[18];

    for (unsigned int i = 0; i < net->ip_count; i++) {
        char ip[16];

        config_ip_format(net->ips[i], ip);
        json_object_array_add(ips, json_object_new_string(ip));
    }
    add_text(out, "bridge", net->bridge);
    if (net->mac_given) {
        config_mac_format(net->mac, mac);
        add_text(out, "mac", mac);
    }
    add_text(out, "target", net->target);
    /* In bytes, as net list has it. */
    json_object_object_add(out, "rate_bytes", json_object_new_uint64(net->rate_kib * 1024));
    add_text(out, "filter", config_filter_name(net->filter));
    json_object_object_add(out, "ips", ips);
    return out;
}

static struct json_object *json_of_hostdevs(const struct vane_config *config)
{
    struct json_object *all = json_object_new_array();

    for (size_t i = 0; i < config->hostdev_count; i++) {
        struct json_object *out = json_object_new_object();

        add_text(out, "address", config->hostdevs[i].address);
        json_object_object_add(out, "managed",
                               json_object_new_boolean(config->hostdevs[i].managed));
        json_object_array_add(all, out);
    }
    return all;
}

/* A text for each vCPU, as vcpu-list has it. */
static struct json_object *json_of_pins(const struct vane_config *config)
{
    struct json_object *all = json_object_new_array();

    for (unsigned int i = 0; i < config->vcpus; i++) {
        char text[CPUSET_TEXT_BYTES];

        cpuset_format_any(&config->pins[i], text);
        json_object_array_add(all, json_object_new_string(*text != '\0' ? text : "all"));
    }
    return all;
}

static struct json_object *json_of_config(const struct vane_config *config)
{
    struct json_object *out = json_object_new_object();
    struct json_object *disks = json_object_new_array();
    struct json_object *nets = json_object_new_array();
    char uuid[37];

    add_text(out, "name", config->name);
    if (config->uuid_given) {
        config_uuid_format(config->uuid, uuid);
        add_text(out, "uuid", uuid);
    }
    add_text(out, "title", config->title);
    add_text(out, "description", config->description);
    json_object_object_add(out, "memory_kib", json_object_new_uint64(config->memory_kib));
    json_object_object_add(out, "current_memory_kib",
                           json_object_new_uint64(config->current_memory_kib));
    json_object_object_add(out, "vcpus", json_object_new_int((int)config->vcpus));
    json_object_object_add(out, "current_vcpus", json_object_new_int((int)config->current_vcpus));
    json_object_object_add(out, "pins", json_of_pins(config));
    if (config->weight != 0) {
        json_object_object_add(out, "weight", json_object_new_int((int)config->weight));
    }
    json_object_object_add(out, "cap_percent", json_object_new_int((int)config->cap));
    add_text(out, "kernel", config->kernel);
    add_text(out, "ramdisk", config->ramdisk);
    add_text(out, "cmdline", config->cmdline);
    add_text(out, "on_poweroff", config_action_name(config->on_poweroff));
    add_text(out, "on_reboot", config_action_name(config->on_reboot));
    add_text(out, "on_crash", config_action_name(config->on_crash));
    for (size_t i = 0; i < config->disk_count; i++) {
        json_object_array_add(disks, json_of_disk(&config->disks[i]));
    }
    for (size_t i = 0; i < config->net_count; i++) {
        json_object_array_add(nets, json_of_net(&config->nets[i]));
    }
    json_object_object_add(out, "disks", disks);
    json_object_object_add(out, "interfaces", nets);
    json_object_object_add(out, "hostdevs", json_of_hostdevs(config));
    json_object_object_add(out, "unsafe", json_object_new_boolean(config->unsafe));
    return out;
}

/* Tests every file; the status is that of the first that is wrong. */
static int run_validate(const struct vane_args *args)
{
    struct json_object *all = json_object_new_array();
    int status = VANE_OK;

    for (int i = 0; i < args->count; i++) {
        struct vane_config *config;
        struct err err = {0};

        if (config_load(args->operands[i], &config, &err) != 0) {
            int failed = vane_fail(&err);

            status = status == VANE_OK ? failed : status;
            continue;
        }
        if (args->json) {
            json_object_array_add(all, json_of_config(config));
        } else {
            printf("%s: valid, describes %s\n", args->operands[i], config->name);
        }
        config_free(config);
    }
    if (!args->json) {
        json_object_put(all);
        return status;
    }

    int printed = vane_print_json(all);

    return status != VANE_OK ? status : printed;
}

static const struct vane_option unpack_options[] = {
    {'n', "notes", NULL, "print what a domain builder reads in the kernel, write no file"},
    {0, NULL, NULL, NULL},
};

const struct vane_command vane_commands_image[] = {
    {
        .name = "validate",
        .operands = "FILE...",
        .summary = "test XML files without creating anything",
        .details = "Reads each file as create does and reports the first thing wrong in it. "
                   "Whether kernels, disks and bridges exist is not tested; create --dry-run "
                   "does that.",
        .min_operands = 1,
        .max_operands = MAX_FILES,
        .json = true,
        .run = run_validate,
    },
    {
        .name = "unpack-kernel",
        .operands = "IN [OUT]",
        .summary = "make the plain ELF kernel of a Linux boot image",
        .details = "IN is a bzImage of boot protocol 2.08 or later with a payload packed by gzip, "
                   "bzip2, lzma, xz, lzo, lz4 or zstd. The hypervisor starts its control domain "
                   "from the result; guests start from the boot image itself.\n\n"
                   "Without OUT, vmlinuz-X becomes vmlinux-X in the same folder, and any other "
                   "name gets .elf behind it. OUT may be - for standard output.",
        .min_operands = 1,
        .max_operands = 2,
        .options = unpack_options,
        .run = run_unpack,
    },
    {.name = NULL},
};
