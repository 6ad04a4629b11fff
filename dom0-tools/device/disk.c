/* SPDX-License-Identifier: MIT */
/*
 * Disks: who may use which image or device, loop devices for files, nodes for xen-blkback.
 *
 * Two guests that write to the same disk destroy it, so a disk is compared with all others by what
 * it is (device and inode, or device number), never by its name. Reading together is fine; writing
 * together needs <shareable/> on both sides.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "dom0-tools/device/device_internal.h"
#include "dom0-tools/device/disk_users.h"
#include "dom0-tools/device/loop.h"
#include "dom0-tools/device/nbd.h"

/* What a disk is, and how it is used. */
struct disk_use {
    struct disk_what what;
    bool readonly;
    bool shareable;
    bool alone; /* a file nobody has open: so no loop device, nor a guest, uses it */
};

/* A disk compared with those of running guests. */
struct search {
    struct xs_handle *xs;
    const struct vane_disk *disk;
    struct disk_use use;
    unsigned int guest_loops[1024]; /* loop devices that belong to guests */
    size_t guest_loop_count;
    struct err *err;
};

static bool same_disk(const struct disk_what *a, const struct disk_what *b)
{
    return a->block == b->block && a->device == b->device && (a->block || a->inode == b->inode);
}

static bool in_conflict(const struct disk_use *a, const struct disk_use *b)
{
    return same_disk(&a->what, &b->what) && !(a->readonly && b->readonly) &&
           !(a->shareable && b->shareable);
}

/* Whether nobody else has a file open: the kernel then grants a lease. */
static bool nobody_has(int fd)
{
    /* Who opens it meanwhile has us told, by a signal that does nothing. */
    bool granted = fcntl(fd, F_SETSIG, SIGURG) == 0 && fcntl(fd, F_SETLEASE, F_WRLCK) == 0;

    if (granted) {
        fcntl(fd, F_SETLEASE, F_UNLCK);
    }
    return granted;
}

static int disk_identify(const struct vane_disk *disk, struct disk_use *use, struct err *err)
{
    struct stat status;
    int fd;

    if (stat(disk->path, &status) != 0) {
        return err_set_errno(err, errno, "disk %s: %s", disk->target, disk->path);
    }
    *use = (struct disk_use){
        .what.block = disk->type == VANE_DISK_BLOCK,
        .readonly = disk->readonly || disk->cdrom,
        .shareable = disk->shareable,
    };
    if (use->what.block ? !S_ISBLK(status.st_mode) : !S_ISREG(status.st_mode)) {
        return err_set(err, EINVAL, "disk %s: %s is no %s", disk->target, disk->path,
                       use->what.block ? "block device" : "regular file");
    }
    use->what.device = use->what.block ? status.st_rdev : status.st_dev;
    use->what.inode = use->what.block ? 0 : status.st_ino;
    if (!use->what.block && status.st_size < 512) {
        return err_set(err, EINVAL, "disk %s: %s is smaller than a sector", disk->target,
                       disk->path);
    }
    /* An exclusive open fails while the control domain itself has the device mounted. */
    fd = open(disk->path, (use->readonly ? O_RDONLY : O_RDWR) | O_CLOEXEC |
                              (use->what.block && !use->readonly && !use->shareable ? O_EXCL : 0));
    if (fd < 0) {
        return errno == EBUSY ? err_set(err, EBUSY, "disk %s: %s is in use by the control domain",
                                        disk->target, disk->path)
                              : err_set_errno(err, errno, "disk %s: %s", disk->target, disk->path);
    }
    use->alone = !use->what.block && nobody_has(fd);
    close(fd);
    return 0;
}

/* Compares the searched disk with one back end of a guest. */
static int compare_backend(void *context, const char *guest, const char *id)
{
    struct search *search = context;
    struct node back = node_at(search->xs, XBT_NULL, "/local/domain/%u/backend/vbd/%s/%s",
                               DEVICE_BACKEND_DOMID, guest, id);
    struct node owner = node_at(search->xs, XBT_NULL, "/local/domain/%s", guest);
    struct disk_use other = {.what.block = true};
    unsigned int major;
    unsigned int minor;
    struct stat file;
    char text[NODE_PATH_BYTES];
    bool loop_readonly;

    if (node_read(&back, "physical-device", text, sizeof(text)) != 0 ||
        sscanf(text, "%x:%x", &major, &minor) != 2) {
        return 0;
    }
    other.what.device = makedev(major, minor);
    other.readonly = node_read(&back, "mode", text, sizeof(text)) == 0 && strchr(text, 'w') == NULL;
    other.shareable = node_read(&back, "shareable", text, sizeof(text)) == 0 && text[0] == '1';
    if (major == LOOP_DEVICE_MAJOR &&
        search->guest_loop_count < sizeof(search->guest_loops) / sizeof(search->guest_loops[0])) {
        search->guest_loops[search->guest_loop_count++] = minor;
        if (!search->use.what.block &&
            loop_backing(minor, &other.what.device, &other.what.inode, &loop_readonly) == 0) {
            other.what.block = false;
        }
    }
    if (major == NBD_DEVICE_MAJOR && !search->use.what.block &&
        node_read(&back, "params", text, sizeof(text)) == 0 && stat(text, &file) == 0) {
        other.what.block = false;
        other.what.device = file.st_dev;
        other.what.inode = file.st_ino;
    }
    if (!in_conflict(&search->use, &other)) {
        return 0;
    }
    if (node_read(&owner, "name", text, sizeof(text)) != 0) {
        snprintf(text, sizeof(text), "%s", guest);
    }
    return err_set(search->err, EBUSY, "disk %s: %s is in use by domain %s", search->disk->target,
                   search->disk->path, text);
}

/* With the disks that are noted to be the same; with all where other tools may have made some. */
static int compare_guests(struct search *search)
{
    struct node root =
        node_at(search->xs, XBT_NULL, "/local/domain/%u/backend/vbd", DEVICE_BACKEND_DOMID);
    struct node others = node_at(search->xs, XBT_NULL, "/libxl");
    unsigned int guest_count;
    char **guests;
    int rc = 0;

    if (!node_exists(&others)) {
        return disk_users_each(search->xs, &search->use.what, compare_backend, search);
    }
    guests = node_list(&root, &guest_count);

    for (unsigned int i = 0; guests != NULL && i < guest_count && rc == 0; i++) {
        struct node parent = node_at(search->xs, XBT_NULL, "%s/%s", root.path, guests[i]);
        unsigned int count;
        char **ids = node_list(&parent, &count);

        for (unsigned int k = 0; ids != NULL && k < count && rc == 0; k++) {
            rc = compare_backend(search, guests[i], ids[k]);
        }
        free(ids);
    }
    free(guests);
    return rc;
}

static bool belongs_to_guest(unsigned int number, void *context)
{
    const struct search *search = context;

    for (size_t i = 0; i < search->guest_loop_count; i++) {
        if (search->guest_loops[i] == number) {
            return true;
        }
    }
    return false;
}

/* Compares with loop devices: those the control domain uses itself, and those that guests use as
 * block devices. */
static int compare_loops(struct search *search)
{
    struct disk_what loop = {.block = true};
    unsigned int number;
    bool readonly;

    while (!search->use.what.block && !search->use.alone &&
           loop_find(search->use.what.device, search->use.what.inode, belongs_to_guest, search,
                     &number, &readonly)) {
        int rc;

        loop.device = makedev(LOOP_DEVICE_MAJOR, number);
        rc = disk_users_each(search->xs, &loop, compare_backend, search);
        if (rc != 0 || (!belongs_to_guest(number, search) && readonly && search->use.readonly)) {
            return rc;
        }
        if (!belongs_to_guest(number, search)) {
            return err_set(search->err, EBUSY, "disk %s: %s is in use by /dev/loop%u",
                           search->disk->target, search->disk->path, number);
        }
    }
    return 0;
}

int disk_check(struct xs_handle *xs, const struct vane_config *config, struct err *err)
{
    struct disk_use *uses = calloc(config->disk_count + 1, sizeof(*uses));
    struct search *search = calloc(1, sizeof(*search));
    int rc = 0;

    if (uses == NULL || search == NULL) {
        rc = err_set(err, ENOMEM, "out of memory");
    } else if (config->disk_count != 0) {
        rc = device_driver_check("vbd", "xen-blkback", err);
    }
    for (size_t i = 0; i < config->disk_count && rc == 0; i++) {
        const struct vane_disk *disk = &config->disks[i];

        rc = disk_identify(disk, &uses[i], err);
        for (size_t k = 0; k < i && rc == 0; k++) {
            if (in_conflict(&uses[i], &uses[k])) {
                rc = err_set(err, EBUSY, "disk %s: %s is disk %s already", disk->target, disk->path,
                             config->disks[k].target);
            }
        }
        if (rc == 0) {
            *search = (struct search){.xs = xs, .disk = disk, .use = uses[i], .err = err};
            rc = compare_guests(search);
        }
        if (rc == 0) {
            rc = compare_loops(search);
        }
    }
    free(search);
    free(uses);
    return rc;
}

/* The nodes of one disk, written in one transaction. */
struct disk_nodes {
    const struct device_set *set;
    const struct vane_disk *disk;
    dev_t device;
    struct disk_what file; /* behind the device, if it is no block device */
};

static int disk_nodes_body(xs_transaction_t transaction, void *context)
{
    const struct disk_nodes *nodes = context;
    const struct vane_disk *disk = nodes->disk;
    uint32_t domid = nodes->set->domid;
    struct node front = device_frontend(nodes->set->xs, transaction, domid, "vbd", disk->vdev);
    struct node back = device_backend(nodes->set->xs, transaction, domid, "vbd", disk->vdev);
    bool readonly = disk->readonly || disk->cdrom;
    struct disk_what whats[2] = {{.block = true, .device = nodes->device}, nodes->file};

    device_make_pair(&front, &back, domid);
    node_put(&front, "virtual-device", "%u", disk->vdev);
    node_put(&front, "device-type", "%s", disk->cdrom ? "cdrom" : "disk");
    node_put(&back, "dev", "%s", disk->target);
    node_put(&back, "params", "%s", disk->path);
    node_put(&back, "type", "phy");
    node_put(&back, "mode", "%s", readonly ? "r" : "w");
    node_put(&back, "device-type", "%s", disk->cdrom ? "cdrom" : "disk");
    node_put(&back, "removable", "0");
    if (disk->shareable) {
        node_put(&back, "shareable", "1");
    }
    node_put(&back, "hotplug-status", "connected");
    node_put(&back, "physical-device", "%x:%x", major(nodes->device), minor(nodes->device));
    if (disk->qcow2) {
        nbd_mark(&back);
    }
    disk_users_add(&back, domid, disk->vdev, whats, disk->type == VANE_DISK_BLOCK ? 1 : 2);
    return front.error != 0 ? front.error : back.error;
}

int disk_begin(struct device_set *set, size_t index, struct err *err)
{
    const struct vane_disk *disk = &set->config->disks[index];
    struct disk_nodes nodes = {.set = set, .disk = disk};
    struct stat status;
    int rc;

    if (stat(disk->path, &status) != 0) {
        return err_set_errno(err, errno, "disk %s: %s", disk->target, disk->path);
    }
    nodes.file = (struct disk_what){.device = status.st_dev, .inode = status.st_ino};
    if (disk->qcow2) {
        rc = nbd_attach(disk->path, disk->readonly || disk->cdrom, &nodes.device, err);
        if (rc != 0) {
            return err_prefix(err, "disk %s", disk->target);
        }
    } else if (disk->type == VANE_DISK_FILE) {
        rc = loop_attach(disk->path, disk->readonly || disk->cdrom, &nodes.device, err);
        if (rc < 0) {
            return err_prefix(err, "disk %s", disk->target);
        }
        set->loops[index] = rc;
    } else {
        nodes.device = status.st_rdev;
    }
    rc = node_transaction(set->xs, disk_nodes_body, &nodes);
    if (rc != 0 && disk->qcow2) {
        nbd_detach(minor(nodes.device)); /* there is no node to find it by */
    }
    return rc != 0 ? err_set_errno(err, -rc, "disk %s: cannot write store nodes", disk->target) : 0;
}

/* xen-blkback makes this file when it has opened the block device. */
static bool disk_opened(uint32_t domid, unsigned int id)
{
    char path[128];

    snprintf(path, sizeof(path), "/sys/bus/xen-backend/devices/vbd-%u-%u/physical_device", domid,
             id);
    return access(path, F_OK) == 0;
}

int disk_finish(struct device_set *set, size_t index, struct err *err)
{
    const struct vane_disk *disk = &set->config->disks[index];
    int rc = device_wait_ready(set, "vbd", disk->vdev, disk_opened, err);

    if (rc != 0) {
        return err_prefix(err, "disk %s", disk->target);
    }
    if (set->loops[index] >= 0) {
        close(set->loops[index]);
        set->loops[index] = -1;
    }
    return 0;
}
