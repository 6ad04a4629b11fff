/* SPDX-License-Identifier: MIT */
/*
 * Disks, network cards and PCI devices of xl's files.
 *
 * A disk is a string of parts with commas between: TARGET,FORMAT,VDEV,ACCESS by position, each of
 * which may be given by name instead, target= last since it takes the rest of the string; or the
 * older form with phy: or file: before the target, which has no FORMAT. A network card is a string
 * of NAME=VALUE parts. A PCI device is its name and such parts.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dom0-tools/config/values.h"
#include "dom0-tools/config/xlcfg_internal.h"

#define DEFAULT_BRIDGE "xenbr0" /* xl's */

/* As many as the most there can be has in bytes. */
#define RATE_DIGITS 13

/* The string being taken apart. */
struct parts {
    struct xl_file *file;
    const struct xl_item *item;
    const char *what; /* "disk", "vif" or "pci" */
    char *at;         /* rest of a copy; NULL behind the last part */
};

static int wrong(const struct parts *parts, const char *format, const char *value)
{
    char text[512];

    snprintf(text, sizeof(text), format, value);
    return xl_error(parts->file, parts->item->line, "%s: %s", parts->what, text);
}

static char *trim(char *text)
{
    size_t bytes;

    text += strspn(text, " \t\n");
    bytes = strlen(text);
    while (bytes > 0 && strchr(" \t\n", text[bytes - 1]) != NULL) {
        bytes--;
    }
    text[bytes] = '\0';
    return text;
}

/* The value of a part NAME=VALUE, or NULL for one of another name. */
static char *value_of(char *part, const char *name)
{
    size_t bytes = strlen(name);

    return strncmp(part, name, bytes) == 0 && part[bytes] == '=' ? trim(part + bytes + 1) : NULL;
}

static int set_text(const struct parts *parts, char **to, const char *text)
{
    free(*to);
    *to = strdup(text);
    return *to != NULL ? 0 : xl_no_memory(parts->file);
}

/* A zeroed element more at the end of an array. */
static int grow(const struct parts *parts, void **array, size_t *count, size_t bytes, size_t max)
{
    char *larger;

    if (*count == max) {
        return wrong(parts, "there are too many%s", "");
    }
    larger = realloc(*array, (*count + 1) * bytes);
    if (larger == NULL) {
        return xl_no_memory(parts->file);
    }
    memset(larger + *count * bytes, 0, bytes);
    *array = larger;
    ++*count;
    return 0;
}

/* --- disks ------------------------------------------------------------------------------- */

/* A disk as far as it has been read. */
struct disk_draft {
    struct vane_disk *disk;
    bool typed;            /* a prefix has said whether it is a file or a device */
    unsigned int position; /* the next part without a name: target, format, vdev, access */
};

static int set_format(const struct parts *parts, struct vane_disk *disk, const char *value)
{
    disk->qcow2 = strcmp(value, "qcow2") == 0;
    return disk->qcow2 || *value == '\0' || strcmp(value, "raw") == 0
               ? 0
               : wrong(parts, "format '%.64s' is not done: only raw and qcow2", value);
}

static int set_access(const struct parts *parts, struct vane_disk *disk, const char *value)
{
    if (strcmp(value, "r") == 0 || strcmp(value, "ro") == 0) {
        disk->readonly = true;
    } else if (strcmp(value, "w") != 0 && strcmp(value, "rw") != 0 && *value != '\0') {
        return wrong(parts, "access '%.64s' is not one of r, ro, w and rw", value);
    }
    return 0;
}

/* What stands before a colon in the older form. */
static int set_target(const struct parts *parts, struct disk_draft *draft, char *value)
{
    char path[4200];

    if (strncmp(value, "phy:", 4) == 0 || strncmp(value, "file:", 5) == 0) {
        bool device = *value == 'p';

        draft->typed = true;
        draft->position = 2;
        draft->disk->type = device ? VANE_DISK_BLOCK : VANE_DISK_FILE;
        value += device ? 4 : 5;
        if (device && *value != '/' && strlen(value) < 4096) {
            snprintf(path, sizeof(path), "/dev/%s", value);
            value = path;
        }
    } else if (*value != '/' && strchr(value, ':') != NULL) {
        return wrong(parts, "'%.200s' is not done: only files and block devices", value);
    }
    if (!value_path(value)) {
        return wrong(parts, "target '%.200s' is not an absolute path", value);
    }
    return set_text(parts, &draft->disk->path, value);
}

static int set_vdev(const struct parts *parts, struct vane_disk *disk, char *value)
{
    size_t bytes = strlen(value);

    if (bytes > 6 && strcmp(value + bytes - 6, ":cdrom") == 0) {
        disk->cdrom = true;
        value[bytes - 6] = '\0';
    }
    if (config_vdev_from_target(value, &disk->vdev) != 0) {
        return wrong(parts, "vdev '%.64s' is no virtual disk: xvda, xvdb ...", value);
    }
    return set_text(parts, &disk->target, value);
}

static int disk_positional(const struct parts *parts, struct disk_draft *draft, char *value)
{
    switch (draft->position++) {
    case 0:
        return *value != '\0' ? set_target(parts, draft, value) : 0;
    case 1:
        return set_format(parts, draft->disk, value);
    case 2:
        return *value != '\0' ? set_vdev(parts, draft->disk, value) : 0;
    case 3:
        return set_access(parts, draft->disk, value);
    default:
        return wrong(parts, "'%.64s' is more than target, format, vdev and access", value);
    }
}

static int set_disk_kind(const struct parts *parts, struct vane_disk *disk, const char *value)
{
    if (strcmp(value, "cdrom") == 0) {
        disk->cdrom = true;
    } else if (strcmp(value, "disk") != 0) {
        return wrong(parts, "devtype '%.64s' is not done", value);
    }
    return 0;
}

/* Those who serve a raw disk alike. */
static int check_backend(const struct parts *parts, char *part)
{
    const char *value = value_of(part, "backendtype");

    if (value != NULL && (strcmp(value, "phy") == 0 || strcmp(value, "qdisk") == 0)) {
        return 0;
    }
    return wrong(parts, "'%.64s' is not done", part);
}

static int disk_part(const struct parts *parts, struct disk_draft *draft, char *part)
{
    struct vane_disk *disk = draft->disk;
    char *value;

    if ((value = value_of(part, "target")) != NULL) {
        return set_target(parts, draft, value);
    }
    if ((value = value_of(part, "format")) != NULL) {
        return set_format(parts, disk, value);
    }
    if ((value = value_of(part, "vdev")) != NULL) {
        return set_vdev(parts, disk, value);
    }
    if ((value = value_of(part, "access")) != NULL) {
        return set_access(parts, disk, value);
    }
    if ((value = value_of(part, "devtype")) != NULL) {
        return set_disk_kind(parts, disk, value);
    }
    if (strcmp(part, "cdrom") == 0) {
        disk->cdrom = true;
        return 0;
    }
    if (strchr(part, '=') != NULL || strstr(part, "discard") != NULL ||
        strcmp(part, "direct-io-safe") == 0) {
        return check_backend(parts, part);
    }
    return disk_positional(parts, draft, part);
}

/* Hands over each part. "target=" of a disk takes all the rest. */
static int each_part(struct parts *parts, int (*take)(struct parts *parts, void *to, char *part),
                     void *to)
{
    bool disk = strcmp(parts->what, "disk") == 0;
    int rc = 0;

    while (rc == 0 && parts->at != NULL) {
        char *part = trim(parts->at);

        parts->at = part;
        if (disk && strncmp(part, "target=", 7) == 0) {
            parts->at = NULL;
        } else {
            strsep(&parts->at, ",");
        }
        rc = take(parts, to, trim(part));
    }
    return rc;
}

static int take_disk_part(struct parts *parts, void *to, char *part)
{
    return disk_part(parts, to, part);
}

int xl_read_disk(struct xl_file *file, const struct xl_item *item, struct vane_config *config)
{
    struct parts parts = {.file = file, .item = item, .what = "disk"};
    struct disk_draft draft = {0};
    char *copy = strdup(item->text);
    int rc = copy != NULL ? grow(&parts, (void **)&config->disks, &config->disk_count,
                                 sizeof(*config->disks), CONFIG_MAX_DISKS)
                          : xl_no_memory(file);

    if (rc == 0) {
        draft.disk = &config->disks[config->disk_count - 1];
        parts.at = copy;
        rc = each_part(&parts, take_disk_part, &draft);
    }
    free(copy);
    if (rc != 0) {
        return rc;
    }
    if (draft.disk->path == NULL || draft.disk->target == NULL) {
        return wrong(&parts, "the %s is missing", draft.disk->path == NULL ? "target" : "vdev");
    }
    draft.disk->readonly = draft.disk->readonly || draft.disk->cdrom;
    if (!draft.typed) {
        draft.disk->type =
            strncmp(draft.disk->path, "/dev/", 5) == 0 ? VANE_DISK_BLOCK : VANE_DISK_FILE;
    }
    if (draft.disk->qcow2 && draft.disk->type == VANE_DISK_BLOCK) {
        return wrong(&parts, "a block device is not in the format %s", "qcow2");
    }
    return 0;
}

/* --- network cards ----------------------------------------------------------------------- */

static int set_interface(const struct parts *parts, char **to, const char *value)
{
    return value_interface_name(value)
               ? set_text(parts, to, value)
               : wrong(parts, "'%.64s' cannot be the name of an interface", value);
}

static int set_mac(const struct parts *parts, struct vane_net *net, const char *value)
{
    net->mac_given = value_mac(value, net->mac);
    return net->mac_given ? 0 : wrong(parts, "mac '%.64s' is no unicast hardware address", value);
}

/* "10Mb/s": a number, K, M or G of 1000 as xl has them, bits or bytes; in XML it is whole KiB, of
 * which there is no less than 1. The time over which the kernel evens it out has no word in XML;
 * xl's own, 50 ms, is what it is. */
static int set_rate(const struct parts *parts, struct vane_net *net, const char *value)
{
    static const char prefixes[] = "KMG";
    size_t digits = strspn(value, "0123456789");
    const char *unit = value + digits;
    const char *prefix = *unit != '\0' ? strchr(prefixes, *unit) : NULL;
    uint64_t bytes = digits > 0 && digits <= RATE_DIGITS ? strtoull(value, NULL, 10) : 0;
    bool small = true;

    for (const char *at = prefixes; prefix != NULL && at <= prefix; at++) {
        small = small && !__builtin_mul_overflow(bytes, 1000u, &bytes);
    }
    unit += prefix != NULL;
    if (*unit == 'b') {
        bytes /= 8;
    }
    if (!small || bytes < 1024 || bytes / 1024 > UINT32_MAX || (*unit != 'b' && *unit != 'B') ||
        (strcmp(unit + 1, "/s") != 0 && strcmp(unit + 1, "/s@50ms") != 0)) {
        return wrong(parts, "rate '%.64s' is none such as 10Mb/s or 250KB/s", value);
    }
    net->rate_kib = bytes / 1024;
    return 0;
}

static int take_vif_part(struct parts *parts, void *to, char *part)
{
    struct vane_net *net = to;
    char *value;

    if (*part == '\0') {
        return 0;
    }
    if ((value = value_of(part, "mac")) != NULL) {
        return set_mac(parts, net, value);
    }
    if ((value = value_of(part, "bridge")) != NULL) {
        return set_interface(parts, &net->bridge, value);
    }
    if ((value = value_of(part, "vifname")) != NULL) {
        return set_interface(parts, &net->target, value);
    }
    if ((value = value_of(part, "rate")) != NULL) {
        return set_rate(parts, net, value);
    }
    if ((value = value_of(part, "type")) != NULL && strcmp(value, "vif") == 0) {
        return 0;
    }
    /* What this script does, we do; no other is run. */
    if ((value = value_of(part, "script")) != NULL &&
        (strcmp(value, "vif-bridge") == 0 || strcmp(value, "/etc/xen/scripts/vif-bridge") == 0)) {
        return 0;
    }
    return wrong(parts, "'%.64s' is not done: mac, bridge, vifname, rate and type=vif are", part);
}

int xl_read_vif(struct xl_file *file, const struct xl_item *item, struct vane_config *config)
{
    struct parts parts = {.file = file, .item = item, .what = "vif"};
    struct vane_net *net = NULL;
    char *copy = strdup(item->text);
    int rc = copy != NULL ? grow(&parts, (void **)&config->nets, &config->net_count,
                                 sizeof(*config->nets), CONFIG_MAX_NETS)
                          : xl_no_memory(file);

    if (rc == 0) {
        net = &config->nets[config->net_count - 1];
        parts.at = copy;
        rc = each_part(&parts, take_vif_part, net);
    }
    free(copy);
    if (rc == 0 && net->bridge == NULL) {
        rc = set_text(&parts, &net->bridge, DEFAULT_BRIDGE);
    }
    return rc;
}

/* --- PCI devices ------------------------------------------------------------------------- */

static int take_pci_part(struct parts *parts, void *to, char *part)
{
    struct vane_hostdev *hostdev = to;
    char *value;

    if (hostdev->address[0] == '\0') {
        return config_pci_name(part, hostdev->address)
                   ? 0
                   : wrong(parts, "'%.64s' is no device such as 0000:01:00.0", part);
    }
    /* What the guest's driver makes of it in any case, and what xl does if it is not asked. */
    if (strcmp(part, "permissive=0") == 0 || strcmp(part, "power_mgmt=0") == 0 ||
        strcmp(part, "msitranslate=0") == 0) {
        return 0;
    }
    value = value_of(part, "seize");
    if (value == NULL || (strcmp(value, "0") != 0 && strcmp(value, "1") != 0)) {
        return wrong(parts, "'%.64s' is not done: seize=1 is", part);
    }
    hostdev->managed = *value == '1';
    return 0;
}

int xl_read_pci(struct xl_file *file, const struct xl_item *item, struct vane_config *config)
{
    struct parts parts = {.file = file, .item = item, .what = "pci"};
    char *copy = strdup(item->text);
    int rc = copy != NULL ? grow(&parts, (void **)&config->hostdevs, &config->hostdev_count,
                                 sizeof(*config->hostdevs), CONFIG_MAX_HOSTDEVS)
                          : xl_no_memory(file);

    if (rc == 0) {
        parts.at = copy;
        rc = each_part(&parts, take_pci_part, &config->hostdevs[config->hostdev_count - 1]);
    }
    free(copy);
    for (size_t i = 0; rc == 0 && i + 1 < config->hostdev_count; i++) {
        if (strcmp(config->hostdevs[i].address,
                   config->hostdevs[config->hostdev_count - 1].address) == 0) {
            rc = wrong(&parts, "device %s stands here twice", config->hostdevs[i].address);
        }
    }
    return rc;
}
