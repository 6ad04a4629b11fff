/* SPDX-License-Identifier: MIT */
/*
 * PCI devices of the machine in a configuration: <hostdev>, and in <metadata> the consent to their
 * reaching all memory, for which libvirt's format has no word of its own.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dom0-tools/config/config_internal.h"

bool config_pci_name(const char *text, char name[CONFIG_PCI_NAME_BYTES])
{
    unsigned int segment = 0;
    unsigned int bus;
    unsigned int device;
    unsigned int function;
    int end = 0;

    if (sscanf(text, "%4x:%2x:%2x.%1x%n", &segment, &bus, &device, &function, &end) != 4) {
        segment = 0;
        if (sscanf(text, "%2x:%2x.%1x%n", &bus, &device, &function, &end) != 3) {
            return false;
        }
    }
    /* scanf takes signs and blanks, a name has none. */
    if (text[end] != '\0' || strspn(text, "0123456789abcdefABCDEF:.") != strlen(text) ||
        device > 0x1f || function > 7) {
        return false;
    }
    snprintf(name, CONFIG_PCI_NAME_BYTES, "%04x:%02x:%02x.%x", segment & 0xffff, bus & 0xff, device,
             function);
    return true;
}

static struct vane_hostdev *last_hostdev(struct xml_reader *reader)
{
    struct vane_config *config = loading_of(reader)->config;

    return &config->hostdevs[config->hostdev_count - 1];
}

/* --- <address> --------------------------------------------------------------------------- */

/* A part of an address: its most hexadecimal digits and its greatest value. */
struct address_part {
    const char *name;
    size_t digits;
    unsigned long max;
};

/* Hexadecimal behind 0x, or decimal. A leading zero would be octal to libvirt: it is refused. */
static int read_part(struct xml_reader *reader, xmlNodePtr node, const struct address_part *part,
                     unsigned int *value)
{
    unsigned long number = 0;
    char *text;
    int rc = xml_attribute(reader, node, part->name, &text);
    size_t bytes;
    bool hex;

    if (rc != 0 || text == NULL) {
        return rc; /* 0 when absent, as in libvirt */
    }
    hex = strncmp(text, "0x", 2) == 0;
    bytes = strlen(text) - (hex ? 2 : 0);
    if (bytes == 0 || bytes > (hex ? part->digits : 4) || (!hex && bytes > 1 && *text == '0') ||
        strspn(text + (hex ? 2 : 0), hex ? "0123456789abcdefABCDEF" : "0123456789") != bytes ||
        (number = strtoul(text, NULL, hex ? 16 : 10)) > part->max) {
        rc = xml_error(reader, node, "%s='%.64s' is not a number from 0 to 0x%lx", part->name, text,
                       part->max);
    }
    *value = (unsigned int)number;
    free(text);
    return rc;
}

static int read_address(struct xml_reader *reader, xmlNodePtr node)
{
    static const struct address_part parts[] = {
        {"domain", 4, 0xffff}, {"bus", 2, 0xff}, {"slot", 2, 0x1f}, {"function", 1, 7}};
    struct vane_hostdev *hostdev = last_hostdev(reader);
    unsigned int value[4] = {0};
    int rc = 0;

    for (size_t i = 0; i < 4 && rc == 0; i++) {
        rc = read_part(reader, node, &parts[i], &value[i]);
    }
    if (rc != 0) {
        return rc;
    }
    if ((value[0] | value[1] | value[2] | value[3]) == 0) {
        return xml_error(reader, node, "names no device");
    }
    snprintf(hostdev->address, sizeof(hostdev->address), "%04x:%02x:%02x.%x", value[0] & 0xffff,
             value[1] & 0xff, value[2] & 0x1f, value[3] & 7);
    for (const struct vane_hostdev *at = loading_of(reader)->config->hostdevs; at < hostdev; at++) {
        if (strcmp(at->address, hostdev->address) == 0) {
            return xml_error(reader, node, "device %s stands here for the second time",
                             hostdev->address);
        }
    }
    return xml_read_empty(reader, node);
}

/* --- <hostdev> --------------------------------------------------------------------------- */

static int read_driver(struct xml_reader *reader, xmlNodePtr node)
{
    static const char *const names[] = {"xen", NULL};
    int rc = xml_attribute_needed(reader, node, "name");

    rc = rc != 0 ? rc : xml_attribute_choice(reader, node, "name", names, NULL);
    return rc != 0 ? rc : xml_read_empty(reader, node);
}

static int read_source(struct xml_reader *reader, xmlNodePtr node)
{
    static const char *const address[] = {"domain", "bus", "slot", "function", NULL};
    static const struct xml_rule rules[] = {
        {"address", address, false, read_address},
        {.name = NULL},
    };
    int rc = xml_read_children(reader, node, rules);

    if (rc == 0 && last_hostdev(reader)->address[0] == '\0') {
        rc = xml_error(reader, node, "element <address> is missing");
    }
    return rc;
}

int config_read_hostdev(struct xml_reader *reader, xmlNodePtr node)
{
    static const char *const modes[] = {"subsystem", NULL};
    static const char *const types[] = {"pci", NULL};
    static const char *const answers[] = {"no", "yes", NULL};
    static const char *const name[] = {"name", NULL};
    static const struct xml_rule rules[] = {
        {"driver", name, false, read_driver},
        {"source", NULL, false, read_source},
        {.name = NULL},
    };
    struct vane_config *config = loading_of(reader)->config;
    size_t managed = 0;
    int rc = xml_attribute_choice(reader, node, "mode", modes, NULL);

    rc = rc != 0 ? rc : xml_attribute_needed(reader, node, "type");
    rc = rc != 0 ? rc : xml_attribute_choice(reader, node, "type", types, NULL);
    rc = rc != 0 ? rc : xml_attribute_choice(reader, node, "managed", answers, &managed);
    rc = rc != 0 ? rc
                 : config_grow(reader, node, (void **)&config->hostdevs, &config->hostdev_count,
                               sizeof(*config->hostdevs), CONFIG_MAX_HOSTDEVS);
    if (rc != 0) {
        return rc;
    }
    last_hostdev(reader)->managed = managed == 1;
    last_hostdev(reader)->line = (unsigned int)xmlGetLineNo(node);
    rc = xml_read_children(reader, node, rules);
    if (rc == 0 && last_hostdev(reader)->address[0] == '\0') {
        rc = xml_error(reader, node, "element <source> is missing");
    }
    return rc;
}

/* --- <metadata> -------------------------------------------------------------------------- */

static int read_passthrough(struct xml_reader *reader, xmlNodePtr node)
{
    static const char *const answers[] = {"no", "yes", NULL};
    size_t unsafe = 0;
    int rc = xml_attribute_needed(reader, node, "unsafe");

    rc = rc != 0 ? rc : xml_attribute_choice(reader, node, "unsafe", answers, &unsafe);
    if (rc == 0 && node->properties->next != NULL) {
        rc = xml_error(reader, node, "has another attribute than 'unsafe'");
    }
    if (rc == 0 && loading_of(reader)->has_passthrough) {
        rc = xml_error(reader, node, "stands here for the second time");
    }
    loading_of(reader)->has_passthrough = true;
    loading_of(reader)->config->unsafe = unsafe == 1;
    return rc != 0 ? rc : xml_read_empty(reader, node);
}

/* Other programs' elements are theirs; one of ours is understood or refused. */
int config_read_metadata(struct xml_reader *reader, xmlNodePtr node)
{
    int rc = xml_read_foreign(reader, node);

    for (xmlNodePtr at = xmlFirstElementChild(node); at != NULL && rc == 0;
         at = xmlNextElementSibling(at)) {
        if (at->ns == NULL || strcmp((const char *)at->ns->href, CONFIG_NAMESPACE) != 0) {
            continue;
        }
        rc = strcmp((const char *)at->name, "passthrough") == 0
                 ? read_passthrough(reader, at)
                 : xml_error(reader, at, "unknown element of " CONFIG_NAMESPACE);
    }
    return rc;
}
