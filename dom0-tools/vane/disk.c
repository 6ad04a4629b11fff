/* SPDX-License-Identifier: MIT */
/*
 * Disks of a running guest: disk attach, detach, list, resize.
 *
 * A disk is named by what it is called in the guest (xvdb). What is known of it stands in the back
 * end's nodes, which the guest can read and not write.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/loop.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "dom0-tools/config/values.h"
#include "dom0-tools/device/loop.h"
#include "dom0-tools/vane/plug.h"

#define SECTOR_BYTES 512u
#define MIB ((uint64_t)1 << 20)
#define MAX_DISK_BYTES ((uint64_t)1 << 60)

/* --- attach, detach ---------------------------------------------------------------------- */

/* What the command line describes, as a configuration with one disk. */
static int describe(const struct vane_args *args, struct vane_disk *disk, struct err *err)
{
    const char *format = vane_option(args, 'f');
    struct stat status;

    *disk = (struct vane_disk){
        .path = args->operands[1],
        .target = args->operands[2],
        .cdrom = vane_option(args, 'c') != NULL,
        .readonly = vane_option(args, 'r') != NULL || vane_option(args, 'c') != NULL,
        .shareable = vane_option(args, 's') != NULL,
        .qcow2 = format != NULL && strcmp(format, "qcow2") == 0,
    };
    if (format != NULL && !disk->qcow2 && strcmp(format, "raw") != 0) {
        return err_set(err, EINVAL, "disk attach: the format is raw or qcow2, not '%s'", format);
    }
    if (!value_path(disk->path)) {
        return err_set(err, EINVAL, "disk attach: '%s' is not an absolute path", disk->path);
    }
    if (config_vdev_from_target(disk->target, &disk->vdev) != 0) {
        return err_set(err, EINVAL, "disk attach: '%s' is no virtual disk: xvda, xvdb ...",
                       disk->target);
    }
    if (disk->qcow2 && disk->shareable) {
        return err_set(err, EINVAL, "disk attach: a qcow2 image cannot be shared by writers");
    }
    if (stat(disk->path, &status) == 0 && S_ISBLK(status.st_mode)) {
        disk->type = VANE_DISK_BLOCK;
    }
    if (disk->qcow2 && disk->type == VANE_DISK_BLOCK) {
        return err_set(err, EINVAL, "disk attach: %s is a block device, not a qcow2 file",
                       disk->path);
    }
    return 0;
}

static int attach(struct plug *plug, struct vane_disk *disk, struct err *err)
{
    struct vane_config config = {.disks = disk, .disk_count = 1};
    struct device_name name = {plug->life.xs, plug->domid, "vbd", disk->vdev};
    int lock;
    int rc;

    if (device_exists(&name)) {
        return err_set(err, EEXIST, "the guest has a disk %s already", disk->target);
    }
    lock = life_lock(err);
    if (lock < 0) {
        return lock;
    }
    rc = device_check(plug->life.xs, &config, err);
    if (rc != 0) {
        close(lock);
        return rc;
    }
    rc = device_plug(&name, &config, lock, !plug->paused, &plug->patience, err);
    return rc != 0 && strncmp(err->text, "disk ", 5) != 0 ? err_prefix(err, "disk %s", disk->target)
                                                          : rc;
}

static int run_attach(const struct vane_args *args)
{
    struct vane_disk disk;
    struct err err = {0};
    struct plug plug;

    if (describe(args, &disk, &err) != 0) {
        vane_error("%s", err.text);
        return VANE_USAGE;
    }

    int rc = plug_open(&plug, args, &err);

    if (rc == 0) {
        rc = attach(&plug, &disk, &err);
        plug_close(&plug);
    }
    return plug_status(rc, &err);
}

/* Number of the disk a command names; reports what is no disk's name. */
static bool target_number(const struct vane_args *args, uint32_t *vdev)
{
    if (config_vdev_from_target(args->operands[1], vdev) == 0) {
        return true;
    }
    vane_error("%s: '%s' is no virtual disk: xvda, xvdb ...", args->command->name,
               args->operands[1]);
    return false;
}

static int run_detach(const struct vane_args *args)
{
    struct device_name name = {.kind = "vbd"};
    struct err err = {0};
    struct plug plug;

    if (!target_number(args, &name.id)) {
        return VANE_USAGE;
    }

    int rc = plug_open(&plug, args, &err);

    if (rc == 0) {
        name.xs = plug.life.xs;
        name.domid = plug.domid;
        rc = device_exists(&name)
                 ? device_unplug(&name, vane_option(args, 'f') != NULL, &plug.patience, &err)
                 : err_set(&err, ENOENT, "%s has none", args->operands[0]);
        plug_close(&plug);
        if (rc != 0) {
            err_prefix(&err, "disk %s", args->operands[1]);
        }
    }
    return plug_status(rc, &err);
}

/* --- list -------------------------------------------------------------------------------- */

/* Size as the guest sees it; 0 before the back end has said. */
static uint64_t size_of(const struct plug_device *device)
{
    uint64_t sectors = 0;

    return node_read_number(&device->back, "sectors", &sectors) == 0 ? sectors * SECTOR_BYTES : 0;
}

static int list_one(struct plug_device *device, void *context)
{
    struct plug_list *list = context;
    char target[32];
    char path[NODE_VALUE_BYTES];
    char text[32];
    bool readonly;
    bool shareable;
    bool qcow2;

    plug_text(device, "dev", target, sizeof(target));
    plug_text(device, "params", path, sizeof(path));
    plug_text(device, "mode", text, sizeof(text));
    readonly = strchr(text, 'w') == NULL;
    plug_text(device, "shareable", text, sizeof(text));
    shareable = text[0] == '1';
    plug_text(device, "served", text, sizeof(text));
    qcow2 = text[0] != '\0';
    if (list->array != NULL) {
        struct json_object *out = json_object_new_object();

        json_object_object_add(out, "domain", json_object_new_string(device->domain));
        json_object_object_add(out, "domain_id", json_object_new_int64(device->domid));
        json_object_object_add(out, "target", json_object_new_string(target));
        json_object_object_add(out, "source", json_object_new_string(path));
        json_object_object_add(out, "format", json_object_new_string(qcow2 ? "qcow2" : "raw"));
        json_object_object_add(out, "readonly", json_object_new_boolean(readonly));
        json_object_object_add(out, "shareable", json_object_new_boolean(shareable));
        json_object_object_add(out, "bytes", json_object_new_uint64(size_of(device)));
        json_object_object_add(out, "state", json_object_new_string(plug_state(device)));
        json_object_array_add(list->array, out);
        return 0;
    }
    vane_table_cell(list->table, "%s", device->domain);
    vane_table_cell(list->table, "%s", target);
    vane_table_cell(list->table, "%" PRIu64, size_of(device) / MIB);
    vane_table_cell(list->table, "%s%s", readonly ? "r" : "rw", shareable ? ",shared" : "");
    vane_table_cell(list->table, "%s", qcow2 ? "qcow2" : "raw");
    vane_table_cell(list->table, "%s", plug_state(device));
    vane_table_cell(list->table, "%s", path);
    return 0;
}

static int run_list(const struct vane_args *args)
{
    static const char *const headings[] = {"DOMAIN", "TARGET", ">SIZE(MiB)", "MODE",
                                           "FORMAT", "STATE",  "SOURCE"};

    return plug_list(args, "vbd", headings, 7, list_one);
}

/* --- resize ------------------------------------------------------------------------------ */

/* A disk that gets another size. */
struct resize {
    struct plug *plug;
    struct plug_device device;
    uint64_t bytes; /* what it shall have */
    uint64_t before;
    int loop; /* the loop device, open; -1: none */
    int file; /* the image behind it, open */
    int stopped;
};

static bool has_size(void *context)
{
    struct resize *resize = context;

    resize->stopped = resize->plug->patience.stop(resize->plug->patience.context);
    return resize->stopped != 0 ||
           size_of(&resize->device) / SECTOR_BYTES == resize->bytes / SECTOR_BYTES;
}

/* The back end looks at its device's size all the time and tells the guest. */
static int wait_size(struct resize *resize, struct err *err)
{
    int rc = node_wait(resize->plug->life.xs, resize->device.back.path, has_size, resize,
                       resize->plug->patience.timeout_ms);

    if (rc != 0) {
        return err_set(err, ETIMEDOUT, "the back end has not taken the new size");
    }
    return resize->stopped == 0       ? 0
           : resize->stopped == EINTR ? err_set(err, EINTR, "interrupted")
                                      : err_set(err, resize->stopped, "the guest has gone");
}

/* Opens the image and the loop device that shows it; they belong together or nothing is done. */
static int open_image(struct resize *resize, unsigned int minor, const char *path, struct err *err)
{
    struct stat status;
    dev_t device;
    ino_t inode;
    bool readonly;
    char name[32];

    snprintf(name, sizeof(name), "/dev/loop%u", minor);
    resize->file = open(path, O_RDWR | O_CLOEXEC);
    resize->loop = open(name, O_RDWR | O_CLOEXEC);
    if (resize->file < 0 || resize->loop < 0) {
        return err_set_errno(err, errno, "%s", resize->file < 0 ? path : name);
    }
    if (fstat(resize->file, &status) != 0 || loop_backing(minor, &device, &inode, &readonly) != 0 ||
        device != status.st_dev || inode != status.st_ino) {
        return err_set(err, ENOENT, "%s is not the file the guest has any more", path);
    }
    resize->before = (uint64_t)status.st_size;
    return 0;
}

static int set_file_size(const struct resize *resize, uint64_t bytes)
{
    if (ftruncate(resize->file, (off_t)bytes) != 0 ||
        ioctl(resize->loop, LOOP_SET_CAPACITY, 0) != 0) {
        return -errno;
    }
    return 0;
}

static int resize_file(struct resize *resize, bool shrink, struct err *err)
{
    int rc;

    resize->bytes = resize->bytes != 0 ? resize->bytes : resize->before;
    if (resize->bytes < resize->before && !shrink) {
        return err_set(err, EINVAL,
                       "it has %" PRIu64 " MiB: what is behind the new end would be lost "
                       "(--shrink does it)",
                       resize->before / MIB);
    }
    rc = set_file_size(resize, resize->bytes);
    if (rc != 0) {
        set_file_size(resize, resize->before);
        return err_set_errno(err, -rc, "cannot change the file's size");
    }
    rc = wait_size(resize, err);
    if (rc != 0 && resize->bytes > resize->before && size_of(&resize->device) <= resize->before) {
        set_file_size(resize, resize->before);
    }
    return rc;
}

static int resize_disk(struct resize *resize, bool shrink, struct err *err)
{
    unsigned int major = 0;
    unsigned int minor = 0;
    char path[NODE_VALUE_BYTES];
    char text[64];

    plug_text(&resize->device, "params", path, sizeof(path));
    plug_text(&resize->device, "served", text, sizeof(text));
    if (text[0] != '\0') {
        return err_set(err, EOPNOTSUPP,
                       "a qcow2 image is resized while no guest has it: qemu-img resize %s", path);
    }
    plug_text(&resize->device, "physical-device", text, sizeof(text));
    sscanf(text, "%x:%x", &major, &minor);
    if (major == LOOP_DEVICE_MAJOR) {
        int rc = open_image(resize, minor, path, err);

        return rc != 0 ? rc : resize_file(resize, shrink, err);
    }
    return err_set(err, EOPNOTSUPP,
                   "%s is a block device: change its own size and the guest's follows", path);
}

static int run_resize(const struct vane_args *args)
{
    struct resize resize = {.loop = -1, .file = -1};
    struct device_name name = {.kind = "vbd"};
    uint64_t kib = 0;
    struct err err = {0};
    struct plug plug;

    if (!target_number(args, &name.id)) {
        return VANE_USAGE;
    }
    if (args->count > 2 &&
        (!vane_amount(args->operands[2], &kib) || kib == 0 || kib > MAX_DISK_BYTES / 1024)) {
        vane_error("disk resize: a size is needed, such as 2048 (MiB) or 10GiB, not '%s'",
                   args->operands[2]);
        return VANE_USAGE;
    }

    int rc = plug_open(&plug, args, &err);

    if (rc == 0) {
        name.xs = plug.life.xs;
        name.domid = plug.domid;
        resize.plug = &plug;
        resize.bytes = kib * 1024;
        resize.device.back = node_at(plug.life.xs, XBT_NULL, "/local/domain/%u/backend/vbd/%u/%u",
                                     DEVICE_BACKEND_DOMID, plug.domid, name.id);
        rc = device_exists(&name) ? resize_disk(&resize, vane_option(args, 's') != NULL, &err)
                                  : err_set(&err, ENOENT, "%s has none", args->operands[0]);
        if (resize.loop >= 0) {
            close(resize.loop);
        }
        if (resize.file >= 0) {
            close(resize.file);
        }
        plug_close(&plug);
        if (rc != 0) {
            err_prefix(&err, "disk %s", args->operands[1]);
        }
    }
    return plug_status(rc, &err);
}

/* --- table ------------------------------------------------------------------------------- */

static const struct vane_option attach_options[] = {
    {'f', "format", "FORMAT", "raw (usual) or qcow2, which is served by qemu-nbd"},
    {'r', "readonly", NULL, "the guest may not write"},
    {'s', "shareable", NULL, "other guests may write to it, too"},
    {'c', "cdrom", NULL, "as a CD, which is read-only"},
    {'t', "timeout", "SECONDS", "longest time to wait for the guest (default 60)"},
    {0, NULL, NULL, NULL},
};

static const struct vane_option resize_options[] = {
    {'s', "shrink", NULL, "make it smaller: what is behind the new end is lost"},
    {'t', "timeout", "SECONDS", "longest time to wait for the back end (default 60)"},
    {0, NULL, NULL, NULL},
};

const struct vane_command vane_commands_disk[] = {
    {
        .name = "disk attach",
        .operands = "DOMAIN PATH TARGET",
        .summary = "give a running guest another disk",
        .details = "PATH is a file or a block device, TARGET the disk's name in the guest, xvdb "
                   "for instance. The command returns when the guest has connected to it; when "
                   "the guest does not, nothing of the disk remains. A paused guest finds it "
                   "when it runs again.\n\n"
                   "A disk that another guest has, or the control domain, is refused unless both "
                   "only read it or both say --shareable. A qcow2 image needs qemu-nbd and the "
                   "kernel's module nbd.",
        .min_operands = 3,
        .max_operands = 3,
        .options = attach_options,
        .run = run_attach,
    },
    {
        .name = "disk detach",
        .operands = "DOMAIN TARGET",
        .summary = "take a disk from a running guest",
        .details = "The guest is asked; unmount the disk there first, what is in its memory may "
                   "be lost otherwise. A guest that does not react keeps the disk.",
        .min_operands = 2,
        .max_operands = 2,
        .options = plug_detach_options,
        .run = run_detach,
    },
    {
        .name = "disk list",
        .operands = "[DOMAIN]",
        .summary = "list the disks of a guest, or of all",
        .max_operands = 1,
        .json = true,
        .run = run_list,
    },
    {
        .name = "disk resize",
        .operands = "DOMAIN TARGET [SIZE]",
        .summary = "change the size of a disk while its guest runs",
        .details = "SIZE is in MiB or has a unit, as in 10GiB. Without it the guest gets the size "
                   "the file has by now. Only files have their size changed; a guest follows a "
                   "block device by itself. A qcow2 image is resized while no guest has it, with "
                   "qemu-img resize.",
        .min_operands = 2,
        .max_operands = 3,
        .options = resize_options,
        .run = run_resize,
    },
    {.name = NULL},
};
