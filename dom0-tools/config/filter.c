/* SPDX-License-Identifier: MIT */
/*
 * The filters of network interfaces: libvirt's names of them, and what each tests.
 *
 * libvirt learns a guest's addresses from what it sends when it is told none. We do not: who sends
 * first would choose.
 */
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "dom0-tools/config/config_internal.h"
#include "dom0-tools/config/values.h"

static const char *const names[] = {"no-mac-spoofing", "no-ip-spoofing", "no-arp-spoofing",
                                    "clean-traffic", NULL};
static const unsigned int filters[] = {VANE_FILTER_MAC, VANE_FILTER_IP, VANE_FILTER_ARP,
                                       VANE_FILTER_ALL};

const char *config_filter_name(unsigned int filter)
{
    for (size_t i = 0; names[i] != NULL; i++) {
        if (filters[i] == filter) {
            return names[i];
        }
    }
    return NULL;
}

void config_ip_format(uint32_t ip, char text[16])
{
    struct in_addr address = {.s_addr = htonl(ip)};

    inet_ntop(AF_INET, &address, text, 16);
}

static struct vane_net *last_net(struct xml_reader *reader)
{
    struct vane_config *config = loading_of(reader)->config;

    return &config->nets[config->net_count - 1];
}

static int read_parameter(struct xml_reader *reader, xmlNodePtr node)
{
    static const char *const parameters[] = {"IP", NULL};
    struct vane_net *net = last_net(reader);
    char *text;
    int rc = xml_attribute_needed(reader, node, "name");

    rc = rc != 0 ? rc : xml_attribute_choice(reader, node, "name", parameters, NULL);
    rc = rc != 0 ? rc : xml_attribute_required(reader, node, "value", &text);
    if (rc != 0) {
        return rc;
    }
    if (net->ip_count == CONFIG_MAX_NET_IPS) {
        rc = xml_error(reader, node, "there are more than %u of them", CONFIG_MAX_NET_IPS);
    } else if (!value_ip(text, &net->ips[net->ip_count++])) {
        rc = xml_error(reader, node, "value='%.64s' is no unicast IPv4 address", text);
    }
    free(text);
    return rc != 0 ? rc : xml_read_empty(reader, node);
}

int config_read_filter(struct xml_reader *reader, xmlNodePtr node)
{
    static const char *const attributes[] = {"name", "value", NULL};
    static const struct xml_rule rules[] = {
        {"parameter", attributes, true, read_parameter},
        {.name = NULL},
    };
    struct vane_net *net = last_net(reader);
    size_t index = 0;
    int rc = xml_attribute_needed(reader, node, "filter");

    rc = rc != 0 ? rc : xml_attribute_choice(reader, node, "filter", names, &index);
    rc = rc != 0 ? rc : xml_read_children(reader, node, rules);
    if (rc != 0) {
        return rc;
    }
    net->filter = filters[index];
    if (net->filter == VANE_FILTER_MAC && net->ip_count != 0) {
        return xml_error(reader, node, "%s has no parameters", names[index]);
    }
    if (net->filter != VANE_FILTER_MAC && net->ip_count == 0) {
        return xml_error(reader, node, "%s needs the guest's address: <parameter name='IP' .../>",
                         names[index]);
    }
    return 0;
}
