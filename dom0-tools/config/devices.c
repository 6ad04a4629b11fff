/* SPDX-License-Identifier: MIT */
/*
 * The devices of a configuration: disks, network interfaces, the console; hostdev.c has the
 * machine's own.
 *
 * A device is appended to its array before its children are read, so that config_free() finds
 * everything whatever goes wrong; the rules fill in the last one. Conflicts between devices are
 * tested as each is complete.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "dom0-tools/config/config_internal.h"
#include "dom0-tools/config/values.h"

/* Bits of a virtual device number that name the disk; the others are the partition. */
#define VDEV_EXTENDED (1u << 28)

static struct vane_disk *last_disk(struct xml_reader *reader)
{
    struct vane_config *config = loading_of(reader)->config;

    return &config->disks[config->disk_count - 1];
}

static struct vane_net *last_net(struct xml_reader *reader)
{
    struct vane_config *config = loading_of(reader)->config;

    return &config->nets[config->net_count - 1];
}

int config_grow(struct xml_reader *reader, xmlNodePtr node, void **array, size_t *count,
                size_t element_bytes, size_t max)
{
    if (*count == max) {
        return xml_error(reader, node, "there are more than %zu of them", max);
    }

    char *larger = realloc(*array, (*count + 1) * element_bytes);

    if (larger == NULL) {
        return err_set(reader->err, ENOMEM, "%s: no memory", reader->file);
    }
    memset(larger + *count * element_bytes, 0, element_bytes);
    *array = larger;
    ++*count;
    return 0;
}

/* --- disks ------------------------------------------------------------------------------- */

static int read_disk_driver(struct xml_reader *reader, xmlNodePtr node)
{
    /* All of these hand out the same bytes of a raw image; ours is the kernel's own back end. */
    static const char *const names[] = {"phy", "file", "qemu", NULL};
    static const char *const types[] = {"raw", "qcow2", NULL};
    size_t type = 0;
    int rc = xml_attribute_choice(reader, node, "name", names, NULL);

    if (rc == 0) {
        rc = xml_attribute_choice(reader, node, "type", types, &type);
    }
    last_disk(reader)->qcow2 = type == 1;
    return rc != 0 ? rc : xml_read_empty(reader, node);
}

static int read_disk_source(struct xml_reader *reader, xmlNodePtr node)
{
    struct vane_disk *disk = last_disk(reader);
    bool file = disk->type == VANE_DISK_FILE;
    const char *wrong = file ? "dev" : "file";

    if (xmlHasProp(node, (const xmlChar *)wrong) != NULL) {
        return xml_error(reader, node, "attribute '%s' does not go with a disk of type '%s'", wrong,
                         file ? "file" : "block");
    }

    int rc = xml_attribute_required(reader, node, file ? "file" : "dev", &disk->path);

    if (rc == 0 && !value_path(disk->path)) {
        rc = xml_error(reader, node, "'%.200s' is not an absolute path", disk->path);
    }
    return rc != 0 ? rc : xml_read_empty(reader, node);
}

static int read_disk_target(struct xml_reader *reader, xmlNodePtr node)
{
    static const char *const buses[] = {"xen", NULL};
    struct vane_disk *disk = last_disk(reader);
    int rc = xml_attribute_required(reader, node, "dev", &disk->target);

    if (rc == 0 && config_vdev_from_target(disk->target, &disk->vdev) != 0) {
        rc =
            xml_error(reader, node, "dev='%.64s' is no virtual disk: xvda, xvdb ...", disk->target);
    }
    if (rc == 0) {
        rc = xml_attribute_choice(reader, node, "bus", buses, NULL);
    }
    return rc != 0 ? rc : xml_read_empty(reader, node);
}

static int read_disk_readonly(struct xml_reader *reader, xmlNodePtr node)
{
    last_disk(reader)->readonly = true;
    return xml_read_empty(reader, node);
}

static int read_disk_shareable(struct xml_reader *reader, xmlNodePtr node)
{
    last_disk(reader)->shareable = true;
    return xml_read_empty(reader, node);
}

static int read_disk_attributes(struct xml_reader *reader, xmlNodePtr node, struct vane_disk *disk)
{
    static const char *const types[] = {"file", "block", NULL};
    static const char *const devices[] = {"disk", "cdrom", NULL};
    size_t type = 0;
    size_t device = 0;
    int rc = xml_attribute_choice(reader, node, "type", types, &type);

    if (rc == 0) {
        rc = xml_attribute_choice(reader, node, "device", devices, &device);
    }
    disk->type = type == 0 ? VANE_DISK_FILE : VANE_DISK_BLOCK;
    disk->cdrom = device == 1;
    disk->readonly = disk->cdrom;
    return rc;
}

static uint32_t partition_mask(const struct vane_disk *disk)
{
    return disk->vdev & VDEV_EXTENDED ? 0xff : 0x0f;
}

/* The same number, or a disk and a partition of it. */
static bool same_target(const struct vane_disk *a, const struct vane_disk *b)
{
    uint32_t mask = partition_mask(a);

    if ((a->vdev & ~mask) != (b->vdev & ~mask)) {
        return false;
    }
    return a->vdev == b->vdev || (a->vdev & mask) == 0 || (b->vdev & mask) == 0;
}

/* Whether the last disk's target is free, and its format goes with what it is. */
static int check_disk(struct xml_reader *reader, xmlNodePtr node)
{
    const struct vane_disk *disk = last_disk(reader);

    if (disk->qcow2 && (disk->type != VANE_DISK_FILE || disk->shareable)) {
        return xml_error(reader, node, "format qcow2 is for files that one guest has");
    }

    for (const struct vane_disk *at = loading_of(reader)->config->disks; at < disk; at++) {
        if (same_target(at, disk)) {
            return xml_error(reader, node, "target '%s' is taken by another disk, '%s'",
                             disk->target, at->target);
        }
    }
    return 0;
}

static int read_disk(struct xml_reader *reader, xmlNodePtr node)
{
    static const char *const driver[] = {"name", "type", NULL};
    static const char *const source[] = {"file", "dev", NULL};
    static const char *const target[] = {"dev", "bus", NULL};
    static const struct xml_rule rules[] = {
        {"driver", driver, false, read_disk_driver},
        {"source", source, false, read_disk_source},
        {"target", target, false, read_disk_target},
        {"readonly", NULL, false, read_disk_readonly},
        {"shareable", NULL, false, read_disk_shareable},
        {.name = NULL},
    };
    struct vane_config *config = loading_of(reader)->config;
    int rc = config_grow(reader, node, (void **)&config->disks, &config->disk_count,
                         sizeof(*config->disks), CONFIG_MAX_DISKS);

    if (rc == 0) {
        rc = read_disk_attributes(reader, node, last_disk(reader));
    }
    if (rc == 0) {
        rc = xml_read_children(reader, node, rules);
    }
    if (rc == 0 && last_disk(reader)->path == NULL) {
        rc = xml_error(reader, node, "element <source> is missing");
    }
    if (rc == 0 && last_disk(reader)->target == NULL) {
        rc = xml_error(reader, node, "element <target> is missing");
    }
    return rc != 0 ? rc : check_disk(reader, node);
}

/* --- network interfaces ------------------------------------------------------------------ */

static int read_net_mac(struct xml_reader *reader, xmlNodePtr node)
{
    struct vane_net *net = last_net(reader);
    char *text;
    int rc = xml_attribute_required(reader, node, "address", &text);

    if (rc != 0) {
        return rc;
    }
    if (!value_mac(text, net->mac)) {
        rc = xml_error(reader, node, "address='%.64s' is no unicast hardware address", text);
    }
    net->mac_given = rc == 0;
    free(text);
    return rc != 0 ? rc : xml_read_empty(reader, node);
}

static int read_interface_name(struct xml_reader *reader, xmlNodePtr node, const char *attribute,
                               char **name)
{
    int rc = xml_attribute_required(reader, node, attribute, name);

    if (rc == 0 && !value_interface_name(*name)) {
        rc = xml_error(reader, node, "%s='%.64s' cannot be the name of an interface", attribute,
                       *name);
    }
    return rc != 0 ? rc : xml_read_empty(reader, node);
}

static int read_net_source(struct xml_reader *reader, xmlNodePtr node)
{
    return read_interface_name(reader, node, "bridge", &last_net(reader)->bridge);
}

static int read_net_target(struct xml_reader *reader, xmlNodePtr node)
{
    struct vane_net *net = last_net(reader);
    int rc = read_interface_name(reader, node, "dev", &net->target);

    /* "vifD.N" is the name of the last run in what a running domain was dumped to; as libvirt
     * does, let the new run have its own. */
    if (rc == 0 && strncmp(net->target, "vif", 3) == 0) {
        free(net->target);
        net->target = NULL;
    }
    return rc;
}

static int read_net_model(struct xml_reader *reader, xmlNodePtr node)
{
    static const char *const types[] = {"netfront", NULL};
    int rc = xml_attribute_choice(reader, node, "type", types, NULL);

    return rc != 0 ? rc : xml_read_empty(reader, node);
}

static int read_net_script(struct xml_reader *reader, xmlNodePtr node)
{
    /* What this script does, we do; no other can be honoured, because none is run. */
    static const char *const paths[] = {"vif-bridge", "/etc/xen/scripts/vif-bridge", NULL};
    int rc = xml_attribute_choice(reader, node, "path", paths, NULL);

    return rc != 0 ? rc : xml_read_empty(reader, node);
}

static int read_outbound(struct xml_reader *reader, xmlNodePtr node)
{
    struct vane_net *net = last_net(reader);
    char *text;
    int rc = xml_attribute_required(reader, node, "average", &text);

    if (rc != 0) {
        return rc;
    }
    if (!value_number(text, &net->rate_kib) || net->rate_kib == 0 || net->rate_kib > UINT32_MAX) {
        rc = xml_error(reader, node, "average='%.64s' is not a number of KiB a second", text);
    }
    free(text);
    return rc != 0 ? rc : xml_read_empty(reader, node);
}

static int read_net_bandwidth(struct xml_reader *reader, xmlNodePtr node)
{
    static const char *const average[] = {"average", NULL};
    static const struct xml_rule rules[] = {
        {"outbound", average, false, read_outbound},
        {.name = NULL},
    };

    return xml_read_children(reader, node, rules);
}

static bool mac_taken(const struct vane_config *config, const struct vane_net *net)
{
    for (const struct vane_net *at = config->nets; at < config->nets + config->net_count; at++) {
        if (at != net && memcmp(at->mac, net->mac, sizeof(net->mac)) == 0) {
            return true;
        }
    }
    return false;
}

/* Whether what the last interface names is free. */
static int check_net(struct xml_reader *reader, xmlNodePtr node)
{
    const struct vane_config *config = loading_of(reader)->config;
    const struct vane_net *net = last_net(reader);
    char text[18];

    if (net->mac_given && mac_taken(config, net)) {
        config_mac_format(net->mac, text);
        return xml_error(reader, node, "another interface has the address %s", text);
    }
    for (const struct vane_net *at = config->nets; net->target != NULL && at < net; at++) {
        if (at->target != NULL && strcmp(at->target, net->target) == 0) {
            return xml_error(reader, node, "another interface has the name '%s'", net->target);
        }
    }
    return 0;
}

static int read_interface(struct xml_reader *reader, xmlNodePtr node)
{
    static const char *const types[] = {"bridge", NULL};
    static const char *const address[] = {"address", NULL};
    static const char *const bridge[] = {"bridge", NULL};
    static const char *const dev[] = {"dev", NULL};
    static const char *const type[] = {"type", NULL};
    static const char *const path[] = {"path", NULL};
    static const char *const filter[] = {"filter", NULL};
    static const struct xml_rule rules[] = {
        {"mac", address, false, read_net_mac},
        {"source", bridge, false, read_net_source},
        {"target", dev, false, read_net_target},
        {"model", type, false, read_net_model},
        {"script", path, false, read_net_script},
        {"bandwidth", NULL, false, read_net_bandwidth},
        {"filterref", filter, false, config_read_filter},
        {.name = NULL},
    };
    struct vane_config *config = loading_of(reader)->config;
    int rc = xml_attribute_needed(reader, node, "type");

    if (rc == 0) {
        rc = xml_attribute_choice(reader, node, "type", types, NULL);
    }
    if (rc == 0) {
        rc = config_grow(reader, node, (void **)&config->nets, &config->net_count,
                         sizeof(*config->nets), CONFIG_MAX_NETS);
    }
    if (rc == 0) {
        rc = xml_read_children(reader, node, rules);
    }
    if (rc == 0 && last_net(reader)->bridge == NULL) {
        rc = xml_error(reader, node, "element <source> is missing");
    }
    return rc != 0 ? rc : check_net(reader, node);
}

/* --- console and what libvirt adds to every guest ---------------------------------------- */

static int read_console_target(struct xml_reader *reader, xmlNodePtr node)
{
    static const char *const types[] = {"xen", NULL};
    static const char *const ports[] = {"0", NULL};
    int rc = xml_attribute_choice(reader, node, "type", types, NULL);

    if (rc == 0) {
        rc = xml_attribute_choice(reader, node, "port", ports, NULL);
    }
    return rc != 0 ? rc : xml_read_empty(reader, node);
}

static int read_console(struct xml_reader *reader, xmlNodePtr node)
{
    static const char *const types[] = {"pty", NULL};
    static const char *const target[] = {"type", "port", NULL};
    static const struct xml_rule rules[] = {
        {"target", target, false, read_console_target},
        {.name = NULL},
    };

    if (++loading_of(reader)->console_count > 1) {
        return xml_error(reader, node, "a guest has one console");
    }

    /* What the target is of depends on the type. */
    int rc = xmlFirstElementChild(node) != NULL ? xml_attribute_needed(reader, node, "type") : 0;

    rc = rc != 0 ? rc : xml_attribute_choice(reader, node, "type", types, NULL);
    return rc != 0 ? rc : xml_read_children(reader, node, rules);
}

/* The program for emulated devices; a paravirtualized guest has none. */
static int read_emulator(struct xml_reader *reader, xmlNodePtr node)
{
    char *path = NULL;
    int rc = config_read_path(reader, node, &path);

    free(path);
    return rc;
}

static int read_memballoon(struct xml_reader *reader, xmlNodePtr node)
{
    static const char *const models[] = {"xen", NULL};
    int rc = xml_attribute_needed(reader, node, "model");

    rc = rc != 0 ? rc : xml_attribute_choice(reader, node, "model", models, NULL);

    return rc != 0 ? rc : xml_read_empty(reader, node);
}

int config_read_devices(struct xml_reader *reader, xmlNodePtr node)
{
    static const char *const disk[] = {"type", "device", NULL};
    static const char *const type[] = {"type", NULL};
    static const char *const hostdev[] = {"mode", "type", "managed", NULL};
    static const char *const model[] = {"model", NULL};
    static const struct xml_rule rules[] = {
        {"disk", disk, true, read_disk},
        {"interface", type, true, read_interface},
        {"hostdev", hostdev, true, config_read_hostdev},
        {"console", type, true, read_console},
        {"emulator", NULL, false, read_emulator},
        {"memballoon", model, false, read_memballoon},
        {.name = NULL},
    };

    return xml_read_children(reader, node, rules);
}

/* --- the devices together ---------------------------------------------------------------- */

/* An address in the range that IEEE gave to Xen's virtual interfaces. */
static int make_mac(struct xml_reader *reader, struct vane_net *net)
{
    static const uint8_t range[3] = {0x00, 0x16, 0x3e};
    int rc;

    memcpy(net->mac, range, sizeof(range));
    do {
        rc = config_random(reader, net->mac + 3, 3);
        net->mac[3] &= 0x7f;
    } while (rc == 0 && mac_taken(loading_of(reader)->config, net));
    return rc;
}

int config_finish_devices(struct xml_reader *reader)
{
    struct vane_config *config = loading_of(reader)->config;
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < config->net_count; i++) {
        if (!config->nets[i].mac_given) {
            rc = make_mac(reader, &config->nets[i]);
        }
    }
    return rc;
}
