/* SPDX-License-Identifier: MIT */
/*
 * The domain element of a configuration and everything in it but the devices, which are in
 * devices.c, and the processors, which are in cputune.c; the public entry points; and the
 * formatters that go with the configuration.
 *
 * A configuration is filled while the document is walked and then finished: defaults that depend
 * on other elements, limits that span elements, made-up identifiers.
 */
#include "dom0-tools/config/config.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "dom0-tools/base/file.h"
#include "dom0-tools/config/config_internal.h"
#include "dom0-tools/config/values.h"

#define PAGE_KIB 4u

static const char *const action_names[] = {
    [VANE_ACTION_DESTROY] = "destroy",
    [VANE_ACTION_RESTART] = "restart",
    [VANE_ACTION_PRESERVE] = "preserve",
    [VANE_ACTION_RENAME_RESTART] = "rename-restart",
    [VANE_ACTION_COREDUMP_DESTROY] = "coredump-destroy",
    [VANE_ACTION_COREDUMP_RESTART] = "coredump-restart",
};
#define ACTION_COUNT (sizeof(action_names) / sizeof(action_names[0]))

static struct vane_config *config_of(struct xml_reader *reader)
{
    return loading_of(reader)->config;
}

/* --- identity ---------------------------------------------------------------------------- */

/* Text that stands in one line, as libvirt wants names and titles. */
static int read_line(struct xml_reader *reader, xmlNodePtr node, char **text)
{
    int rc = xml_word(reader, node, text);
    xmlChar *whole = rc == 0 ? xmlNodeGetContent(node) : NULL;

    if (whole != NULL && xmlStrchr(whole, '\n') != NULL) {
        rc = xml_error(reader, node, "must be one line");
    }
    xmlFree(whole);
    return rc;
}

static int read_name(struct xml_reader *reader, xmlNodePtr node)
{
    struct vane_config *config = config_of(reader);
    int rc = read_line(reader, node, &config->name);

    if (rc == 0 && !value_domain_name(config->name)) {
        rc = xml_error(reader, node,
                       "'%.80s' cannot be a name: letters, digits and _.+:@- only, at most %u, "
                       "starting with a letter, digit or _, and not digits alone",
                       config->name, CONFIG_MAX_NAME_BYTES);
    }
    return rc;
}

static int read_uuid(struct xml_reader *reader, xmlNodePtr node)
{
    struct vane_config *config = config_of(reader);
    char *text;
    int rc = xml_exact(reader, node, &text);

    if (rc != 0) {
        return rc;
    }
    if (!value_uuid(text, config->uuid)) {
        rc = xml_error(reader, node, "'%.64s' is no uuid", text);
    }
    config->uuid_given = rc == 0;
    free(text);
    return rc;
}

static int read_title(struct xml_reader *reader, xmlNodePtr node)
{
    return read_line(reader, node, &config_of(reader)->title);
}

static int read_description(struct xml_reader *reader, xmlNodePtr node)
{
    return xml_text(reader, node, &config_of(reader)->description);
}

/* --- memory ------------------------------------------------------------------------------ */

/* An amount between the limits, in whole pages. */
static int read_amount(struct xml_reader *reader, xmlNodePtr node, uint64_t *kib)
{
    char *unit = NULL;
    char *text;
    int rc = xml_exact(reader, node, &text);

    if (rc != 0) {
        return rc;
    }
    rc = xml_attribute(reader, node, "unit", &unit);
    if (rc == 0 && unit != NULL && !value_unit_known(unit)) {
        rc = xml_error(reader, node, "unknown unit '%.64s'", unit);
    }
    if (rc == 0 && (!value_memory_kib(text, unit, kib) || *kib < CONFIG_MIN_MEMORY_KIB ||
                    *kib > CONFIG_MAX_MEMORY_KIB)) {
        rc = xml_error(reader, node, "'%.64s' %s is not an amount between %llu MiB and %llu GiB",
                       text, unit != NULL ? unit : "KiB", CONFIG_MIN_MEMORY_KIB >> 10,
                       CONFIG_MAX_MEMORY_KIB >> 20);
    }
    if (rc == 0) {
        *kib = (*kib + PAGE_KIB - 1) / PAGE_KIB * PAGE_KIB;
    }
    free(unit);
    free(text);
    return rc;
}

static int read_memory(struct xml_reader *reader, xmlNodePtr node)
{
    return read_amount(reader, node, &config_of(reader)->memory_kib);
}

static int read_current_memory(struct xml_reader *reader, xmlNodePtr node)
{
    loading_of(reader)->has_current_memory = true;
    return read_amount(reader, node, &config_of(reader)->current_memory_kib);
}

/* --- what it runs ------------------------------------------------------------------------ */

int config_read_path(struct xml_reader *reader, xmlNodePtr node, char **path)
{
    int rc = xml_exact(reader, node, path);

    if (rc == 0 && !value_path(*path)) {
        rc = xml_error(reader, node, "'%.200s' is not an absolute path", *path);
    }
    return rc;
}

static int read_os_type(struct xml_reader *reader, xmlNodePtr node)
{
    static const char *const arches[] = {"x86_64", NULL};
    static const char *const machines[] = {"xenpv", NULL};
    char *text;
    int rc = xml_word(reader, node, &text);

    if (rc != 0) {
        return rc;
    }
    if (strcmp(text, "linux") != 0 && strcmp(text, "xen") != 0) {
        rc = xml_error(reader, node,
                       "'%.64s' is not supported: only paravirtualized guests, 'linux' or 'xen'",
                       text);
    }
    free(text);
    if (rc == 0) {
        rc = xml_attribute_choice(reader, node, "arch", arches, NULL);
    }
    return rc != 0 ? rc : xml_attribute_choice(reader, node, "machine", machines, NULL);
}

static int read_kernel(struct xml_reader *reader, xmlNodePtr node)
{
    return config_read_path(reader, node, &config_of(reader)->kernel);
}

static int read_initrd(struct xml_reader *reader, xmlNodePtr node)
{
    return config_read_path(reader, node, &config_of(reader)->ramdisk);
}

static int read_cmdline(struct xml_reader *reader, xmlNodePtr node)
{
    struct vane_config *config = config_of(reader);
    int rc = xml_text(reader, node, &config->cmdline);

    if (rc != 0) {
        return rc;
    }
    if (strlen(config->cmdline) > CONFIG_MAX_CMDLINE_BYTES) {
        return xml_error(reader, node, "is longer than %u bytes", CONFIG_MAX_CMDLINE_BYTES);
    }
    /* A long line may be wrapped in the file; the kernel separates by spaces. */
    for (char *at = config->cmdline; *at != '\0'; at++) {
        *at = (unsigned char)*at < ' ' ? ' ' : *at;
    }
    return 0;
}

static int read_os(struct xml_reader *reader, xmlNodePtr node)
{
    static const char *const type_attributes[] = {"arch", "machine", NULL};
    static const struct xml_rule rules[] = {
        {"type", type_attributes, false, read_os_type},
        {"kernel", NULL, false, read_kernel},
        {"initrd", NULL, false, read_initrd},
        {"cmdline", NULL, false, read_cmdline},
        {.name = NULL},
    };
    xmlNodePtr first = xmlFirstElementChild(node);

    /* What follows depends on it; so libvirt's schema has it first. */
    if (first == NULL || strcmp((const char *)first->name, "type") != 0) {
        return xml_error(reader, node, "element <type> must be the first");
    }

    int rc = xml_read_children(reader, node, rules);

    if (rc == 0 && config_of(reader)->kernel == NULL) {
        rc = xml_error(reader, node, "element <kernel> is missing");
    }
    return rc;
}

static int read_features(struct xml_reader *reader, xmlNodePtr node)
{
    /* Management tools write these for every guest; for a paravirtualized one they mean nothing. */
    static const struct xml_rule rules[] = {
        {"acpi", NULL, false, xml_read_empty},
        {"apic", NULL, false, xml_read_empty},
        {"pae", NULL, false, xml_read_empty},
        {.name = NULL},
    };

    return xml_read_children(reader, node, rules);
}

static int read_clock(struct xml_reader *reader, xmlNodePtr node)
{
    static const char *const offsets[] = {"utc", NULL};
    int rc = xml_attribute_needed(reader, node, "offset");

    rc = rc != 0 ? rc : xml_attribute_choice(reader, node, "offset", offsets, NULL);

    return rc != 0 ? rc : xml_read_empty(reader, node);
}

/* --- what happens when it stops ---------------------------------------------------------- */

static int read_action(struct xml_reader *reader, xmlNodePtr node, size_t count,
                       enum vane_action *action)
{
    char *text;
    int rc = xml_word(reader, node, &text);

    if (rc != 0) {
        return rc;
    }

    if (config_action_from_name(text, action) != 0 || (size_t)*action >= count) {
        rc = xml_error(reader, node, "'%.64s' is not supported here", text);
    }
    free(text);
    return rc;
}

static int read_on_poweroff(struct xml_reader *reader, xmlNodePtr node)
{
    return read_action(reader, node, VANE_ACTION_COREDUMP_DESTROY, &config_of(reader)->on_poweroff);
}

static int read_on_reboot(struct xml_reader *reader, xmlNodePtr node)
{
    return read_action(reader, node, VANE_ACTION_COREDUMP_DESTROY, &config_of(reader)->on_reboot);
}

static int read_on_crash(struct xml_reader *reader, xmlNodePtr node)
{
    return read_action(reader, node, ACTION_COUNT, &config_of(reader)->on_crash);
}

/* --- the whole --------------------------------------------------------------------------- */

int config_random(struct xml_reader *reader, void *data, size_t bytes)
{
    if (getrandom(data, bytes, 0) != (ssize_t)bytes) {
        return err_set_errno(reader->err, errno, "%s: no random numbers", reader->file);
    }
    return 0;
}

/* A random uuid as RFC 4122 wants it: version 4, variant 1. */
static int make_uuid(struct xml_reader *reader, uint8_t uuid[16])
{
    int rc = config_random(reader, uuid, 16);

    uuid[6] = (uuid[6] & 0x0f) | 0x40;
    uuid[8] = (uuid[8] & 0x3f) | 0x80;
    return rc;
}

static int missing(struct xml_reader *reader, xmlNodePtr node, const char *element)
{
    return xml_error(reader, node, "element <%s> is missing", element);
}

static int finish(struct xml_reader *reader, xmlNodePtr root)
{
    const struct loading *loading = reader->target;
    struct vane_config *config = loading->config;

    if (config->name == NULL) {
        return missing(reader, root, "name");
    }
    if (config->memory_kib == 0) {
        return missing(reader, root, "memory");
    }
    if (config->kernel == NULL) {
        return missing(reader, root, "os");
    }
    if (!loading->has_current_memory) {
        config->current_memory_kib = config->memory_kib;
    }
    if (config->current_memory_kib > config->memory_kib) {
        return xml_error(reader, root,
                         "<currentMemory> of %" PRIu64 " KiB is more than <memory> of %" PRIu64
                         " KiB",
                         config->current_memory_kib, config->memory_kib);
    }
    if (config->cmdline == NULL) {
        config->cmdline = strdup("");
        if (config->cmdline == NULL) {
            return err_set(reader->err, ENOMEM, "%s: no memory", reader->file);
        }
    }
    return config->uuid_given ? 0 : make_uuid(reader, config->uuid);
}

/* Stands in what `virsh dumpxml` prints of a running domain, and says nothing of the next run. */
static int check_id(struct xml_reader *reader, xmlNodePtr root)
{
    uint64_t id;
    char *text;
    int rc = xml_attribute(reader, root, "id", &text);

    if (rc == 0 && text != NULL && (!value_number(text, &id) || id > UINT32_MAX)) {
        rc = xml_error(reader, root, "id='%.64s' is not a number", text);
    }
    free(text);
    return rc;
}

static int read_domain(struct xml_reader *reader, xmlNodePtr root)
{
    static const char *const types[] = {"xen", NULL};
    static const char *const unit[] = {"unit", NULL};
    static const char *const vcpu[] = {"placement", "current", "cpuset", NULL};
    static const char *const offset[] = {"offset", NULL};
    static const struct xml_rule rules[] = {
        {"name", NULL, false, read_name},
        {"uuid", NULL, false, read_uuid},
        {"title", NULL, false, read_title},
        {"description", NULL, false, read_description},
        {"metadata", NULL, false, config_read_metadata},
        {"memory", unit, false, read_memory},
        {"currentMemory", unit, false, read_current_memory},
        {"vcpu", vcpu, false, config_read_vcpu},
        {"cputune", NULL, false, config_read_cputune},
        {"os", NULL, false, read_os},
        {"features", NULL, false, read_features},
        {"clock", offset, false, read_clock},
        {"on_poweroff", NULL, false, read_on_poweroff},
        {"on_reboot", NULL, false, read_on_reboot},
        {"on_crash", NULL, false, read_on_crash},
        {"devices", NULL, false, config_read_devices},
        {.name = NULL},
    };
    int rc = xml_attribute_needed(reader, root, "type");

    if (rc == 0) {
        rc = xml_attribute_choice(reader, root, "type", types, NULL);
    }
    rc = rc != 0 ? rc : check_id(reader, root);
    if (rc == 0) {
        rc = xml_read_children(reader, root, rules);
    }
    if (rc == 0) {
        rc = finish(reader, root);
    }
    if (rc == 0) {
        rc = config_finish_vcpus(reader, root);
    }
    return rc != 0 ? rc : config_finish_devices(reader);
}

int config_parse(const char *name, const void *data, size_t bytes, struct vane_config **out,
                 struct err *err)
{
    static const char *const attributes[] = {"type", "id", NULL};
    static const struct xml_rule domain = {"domain", attributes, false, read_domain};
    struct vane_config *config = calloc(1, sizeof(*config));
    struct loading loading = {.config = config, .cpuset = cpuset_all()};
    struct xml_reader reader = {.target = &loading};

    if (config == NULL || (config->file = strdup(name)) == NULL) {
        free(config);
        return err_set(err, ENOMEM, "%s: no memory", name);
    }
    config->vcpus = 1;
    config->on_poweroff = VANE_ACTION_DESTROY;
    config->on_reboot = VANE_ACTION_RESTART;
    config->on_crash = VANE_ACTION_DESTROY;

    int rc = bytes > CONFIG_MAX_FILE_BYTES
                 ? err_set(err, EFBIG, "%s: larger than the limit of %u bytes", name,
                           CONFIG_MAX_FILE_BYTES)
                 : xml_open(&reader, name, data, bytes, CONFIG_MAX_DEPTH, err);

    if (rc == 0) {
        rc = xml_read_root(&reader, &domain);
        xml_close(&reader);
    }
    if (rc != 0) {
        config_free(config);
        return rc;
    }
    *out = config;
    return 0;
}

int config_load(const char *path, struct vane_config **out, struct err *err)
{
    void *data;
    size_t bytes;
    int rc = file_read(path, CONFIG_MAX_FILE_BYTES, &data, &bytes, err);

    if (rc != 0) {
        return rc;
    }
    rc = config_parse(path, data, bytes, out, err);
    free(data);
    return rc;
}

void config_free(struct vane_config *config)
{
    if (config == NULL) {
        return;
    }
    for (size_t i = 0; i < config->disk_count; i++) {
        free(config->disks[i].path);
        free(config->disks[i].target);
    }
    for (size_t i = 0; i < config->net_count; i++) {
        free(config->nets[i].bridge);
        free(config->nets[i].target);
    }
    free(config->disks);
    free(config->nets);
    free(config->hostdevs);
    free(config->file);
    free(config->name);
    free(config->title);
    free(config->description);
    free(config->kernel);
    free(config->ramdisk);
    free(config->cmdline);
    free(config);
}

const char *config_action_name(enum vane_action action)
{
    return (size_t)action < ACTION_COUNT ? action_names[action] : "?";
}

int config_action_from_name(const char *name, enum vane_action *action)
{
    for (size_t at = 0; at < ACTION_COUNT; at++) {
        if (strcmp(name, action_names[at]) == 0) {
            *action = (enum vane_action)at;
            return 0;
        }
    }
    return -EINVAL;
}

void config_uuid_format(const uint8_t uuid[16], char text[37])
{
    size_t at = 0;

    for (unsigned int i = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10) {
            text[at++] = '-';
        }
        at += (size_t)snprintf(text + at, 37 - at, "%02x", uuid[i]);
    }
}

void config_mac_format(const uint8_t mac[6], char text[18])
{
    snprintf(text, 18, "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3], mac[4],
             mac[5]);
}
