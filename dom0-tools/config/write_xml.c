/* SPDX-License-Identifier: MIT */
/*
 * A configuration as domain XML: the elements in the order in which libvirt writes them, and only
 * those that say something. The tree is libxml2's, so that escaping is.
 *
 * libxml2 reports lack of memory by NULL, on which its own functions then do nothing; it is noticed
 * once, at the end.
 */
#include <errno.h>
#include <inttypes.h>
#include <libxml/tree.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dom0-tools/config/config.h"

/* An element with text (or NULL for none) below another. */
static xmlNodePtr add(xmlNodePtr parent, const char *name, const char *text)
{
    return xmlNewTextChild(parent, NULL, (const xmlChar *)name, (const xmlChar *)text);
}

static void set(xmlNodePtr node, const char *name, const char *value)
{
    xmlNewProp(node, (const xmlChar *)name, (const xmlChar *)value);
}

static xmlNodePtr add_number(xmlNodePtr parent, const char *name, uint64_t number)
{
    char text[24];

    snprintf(text, sizeof(text), "%" PRIu64, number);
    return add(parent, name, text);
}

static void set_number(xmlNodePtr node, const char *name, unsigned int number)
{
    char text[16];

    snprintf(text, sizeof(text), "%u", number);
    set(node, name, text);
}

/* In MiB where that is exact. */
static void add_memory(xmlNodePtr parent, const char *name, uint64_t kib)
{
    bool exact = kib % 1024 == 0;

    set(add_number(parent, name, exact ? kib / 1024 : kib), "unit", exact ? "MiB" : "KiB");
}

/* --- processors -------------------------------------------------------------------------- */

static bool same_pins(const struct vane_config *config)
{
    for (unsigned int i = 1; i < config->vcpus; i++) {
        if (memcmp(config->pins[i].bits, config->pins[0].bits, sizeof(config->pins[0].bits)) != 0) {
            return false;
        }
    }
    return true;
}

static void add_vcpu(xmlNodePtr root, const struct vane_config *config)
{
    char text[CPUSET_TEXT_BYTES];
    xmlNodePtr vcpu = add_number(root, "vcpu", config->vcpus);

    cpuset_format_any(&config->pins[0], text);
    if (same_pins(config) && *text != '\0') {
        set(vcpu, "placement", "static");
        set(vcpu, "cpuset", text);
    }
    if (config->current_vcpus != config->vcpus) {
        set_number(vcpu, "current", config->current_vcpus);
    }
}

static void add_pins(xmlNodePtr cputune, const struct vane_config *config)
{
    for (unsigned int i = 0; i < config->vcpus; i++) {
        char text[CPUSET_TEXT_BYTES];

        cpuset_format_any(&config->pins[i], text);
        if (*text != '\0') {
            xmlNodePtr pin = add(cputune, "vcpupin", NULL);

            set_number(pin, "vcpu", i);
            set(pin, "cpuset", text);
        }
    }
}

static void add_cputune(xmlNodePtr root, const struct vane_config *config)
{
    bool pins = !same_pins(config);

    if (config->weight == 0 && config->cap == 0 && !pins) {
        return;
    }

    xmlNodePtr cputune = add(root, "cputune", NULL);

    if (config->weight != 0) {
        add_number(cputune, "shares", config->weight);
    }
    if (config->cap != 0) {
        /* A percent of a processor is a thousand microseconds in every hundred thousand. */
        add_number(cputune, "global_period", 100000);
        add_number(cputune, "global_quota", (uint64_t)config->cap * 1000);
    }
    if (pins) {
        add_pins(cputune, config);
    }
}

/* --- devices ----------------------------------------------------------------------------- */

static void add_disk(xmlNodePtr devices, const struct vane_disk *disk)
{
    bool file = disk->type == VANE_DISK_FILE;
    xmlNodePtr node = add(devices, "disk", NULL);

    set(node, "type", file ? "file" : "block");
    set(node, "device", disk->cdrom ? "cdrom" : "disk");
    if (disk->qcow2) {
        xmlNodePtr driver = add(node, "driver", NULL);

        set(driver, "name", "qemu");
        set(driver, "type", "qcow2");
    }

    set(add(node, "source", NULL), file ? "file" : "dev", disk->path);

    xmlNodePtr target = add(node, "target", NULL);

    set(target, "dev", disk->target);
    set(target, "bus", "xen");
    if (disk->readonly) {
        add(node, "readonly", NULL);
    }
    if (disk->shareable) {
        add(node, "shareable", NULL);
    }
}

static void add_filter(xmlNodePtr node, const struct vane_net *net)
{
    char text[16];

    set(node, "filter", config_filter_name(net->filter));
    for (unsigned int i = 0; i < net->ip_count; i++) {
        xmlNodePtr parameter = add(node, "parameter", NULL);

        config_ip_format(net->ips[i], text);
        set(parameter, "name", "IP");
        set(parameter, "value", text);
    }
}

static void add_net(xmlNodePtr devices, const struct vane_net *net)
{
    xmlNodePtr node = add(devices, "interface", NULL);
    char mac[18];

    set(node, "type", "bridge");
    if (net->mac_given) {
        config_mac_format(net->mac, mac);
        set(add(node, "mac", NULL), "address", mac);
    }
    set(add(node, "source", NULL), "bridge", net->bridge);
    if (net->target != NULL) {
        set(add(node, "target", NULL), "dev", net->target);
    }
    if (net->rate_kib != 0) {
        set_number(add(add(node, "bandwidth", NULL), "outbound", NULL), "average", net->rate_kib);
    }
    if (net->filter != 0) {
        add_filter(add(node, "filterref", NULL), net);
    }
}

static void add_hostdev(xmlNodePtr devices, const struct vane_hostdev *hostdev)
{
    static const char *const names[] = {"domain", "bus", "slot", "function"};
    xmlNodePtr node = add(devices, "hostdev", NULL);
    const char *at = hostdev->address;

    set(node, "mode", "subsystem");
    set(node, "type", "pci");
    set(node, "managed", hostdev->managed ? "yes" : "no");
    node = add(add(node, "source", NULL), "address", NULL);
    for (size_t i = 0; i < 4; i++) {
        size_t bytes = strcspn(at, ":.");
        char text[8];

        snprintf(text, sizeof(text), "0x%.*s", (int)bytes, at);
        set(node, names[i], text);
        at += bytes + 1;
    }
}

static void add_devices(xmlNodePtr root, const struct vane_config *config)
{
    xmlNodePtr devices = add(root, "devices", NULL);

    for (size_t i = 0; i < config->disk_count; i++) {
        add_disk(devices, &config->disks[i]);
    }
    for (size_t i = 0; i < config->net_count; i++) {
        add_net(devices, &config->nets[i]);
    }
    for (size_t i = 0; i < config->hostdev_count; i++) {
        add_hostdev(devices, &config->hostdevs[i]);
    }

    xmlNodePtr console = add(devices, "console", NULL);

    set(console, "type", "pty");
    console = add(console, "target", NULL);
    set(console, "type", "xen");
    set(console, "port", "0");
}

/* --- the whole --------------------------------------------------------------------------- */

static void add_identity(xmlNodePtr root, const struct vane_config *config)
{
    char uuid[37];

    set(root, "type", "xen");
    add(root, "name", config->name);
    if (config->uuid_given) {
        config_uuid_format(config->uuid, uuid);
        add(root, "uuid", uuid);
    }
    if (config->title != NULL && *config->title != '\0') {
        add(root, "title", config->title);
    }
    if (config->description != NULL && *config->description != '\0') {
        add(root, "description", config->description);
    }
    if (config->unsafe) {
        xmlNodePtr ours = add(add(root, "metadata", NULL), "passthrough", NULL);

        xmlSetNs(ours, xmlNewNs(ours, (const xmlChar *)CONFIG_NAMESPACE, (const xmlChar *)"pv"));
        set(ours, "unsafe", "yes");
    }
}

static void add_os(xmlNodePtr root, const struct vane_config *config)
{
    xmlNodePtr os = add(root, "os", NULL);
    xmlNodePtr type = add(os, "type", "linux");

    set(type, "arch", "x86_64");
    set(type, "machine", "xenpv");
    add(os, "kernel", config->kernel);
    if (config->ramdisk != NULL) {
        add(os, "initrd", config->ramdisk);
    }
    if (*config->cmdline != '\0') {
        add(os, "cmdline", config->cmdline);
    }
}

int config_write_xml(const struct vane_config *config, char **text, struct err *err)
{
    xmlDocPtr doc = xmlNewDoc((const xmlChar *)"1.0");
    xmlNodePtr root = xmlNewNode(NULL, (const xmlChar *)"domain");
    xmlChar *data = NULL;
    int bytes = 0;

    xmlDocSetRootElement(doc, root);
    add_identity(root, config);
    add_memory(root, "memory", config->memory_kib);
    if (config->current_memory_kib != config->memory_kib) {
        add_memory(root, "currentMemory", config->current_memory_kib);
    }
    add_vcpu(root, config);
    add_cputune(root, config);
    add_os(root, config);
    add(root, "on_poweroff", config_action_name(config->on_poweroff));
    add(root, "on_reboot", config_action_name(config->on_reboot));
    add(root, "on_crash", config_action_name(config->on_crash));
    add_devices(root, config);

    /* The root alone, without the line that names the version of XML. */
    xmlBufferPtr buffer = xmlBufferCreate();

    if (buffer != NULL && root != NULL && xmlNodeDump(buffer, doc, root, 0, 1) > 0) {
        bytes = xmlBufferLength(buffer);
        data = xmlBufferDetach(buffer);
    }
    xmlBufferFree(buffer);
    xmlFreeDoc(doc);
    *text = NULL;
    if (data == NULL || asprintf(text, "%.*s\n", bytes, (const char *)data) < 0) {
        xmlFree(data);
        return err_set(err, ENOMEM, "%s: no memory", config->name);
    }
    xmlFree(data);
    return 0;
}
