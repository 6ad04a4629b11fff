/* SPDX-License-Identifier: MIT */
/*
 * Two route-netlink requests: a static entry for the address in the bridge's table, then the port
 * is locked, in this order so that no frame of the guest is lost. See bridge_port.h.
 */
#include "dom0-tools/device/bridge_port.h"

#include <linux/if_bridge.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>
#include <unistd.h>

#include "dom0-tools/device/netlink.h"

static int add_entry(int control, unsigned int interface, const uint8_t mac[6])
{
    struct netlink_request request = netlink_start(RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE);
    struct ndmsg entry = {
        .ndm_family = AF_BRIDGE,
        .ndm_ifindex = (int)interface,
        .ndm_state = NUD_NOARP, /* static: it neither moves nor ages */
        .ndm_flags = NTF_MASTER,
    };

    netlink_add(&request, &entry, sizeof(entry));
    netlink_attribute(&request, NDA_LLADDR, mac, 6);
    return netlink_ask(control, &request);
}

static int lock_port(int control, unsigned int interface)
{
    static const uint8_t off = 0;
    static const uint8_t on = 1;
    struct netlink_request request = netlink_start(RTM_SETLINK, 0);
    struct ifinfomsg link = {.ifi_family = AF_BRIDGE, .ifi_index = (int)interface};
    struct rtattr *port;

    netlink_add(&request, &link, sizeof(link));
    port = netlink_nest(&request, IFLA_PROTINFO | NLA_F_NESTED);
    netlink_attribute(&request, IFLA_BRPORT_LEARNING, &off, sizeof(off));
    netlink_attribute(&request, IFLA_BRPORT_LOCKED, &on, sizeof(on));
    netlink_nest_end(&request, port);
    return netlink_ask(control, &request);
}

int bridge_port_lock(unsigned int interface, const uint8_t mac[6])
{
    int control = netlink_open();
    int rc;

    if (control < 0) {
        return control;
    }
    rc = add_entry(control, interface, mac);
    rc = rc != 0 ? rc : lock_port(control, interface);
    close(control);
    return rc;
}
