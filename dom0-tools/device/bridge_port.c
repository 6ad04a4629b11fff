/* SPDX-License-Identifier: MIT */
/*
 * Two route-netlink requests: a static entry for the address in the bridge's table, then the port
 * is locked, in this order so that no frame of the guest is lost. See bridge_port.h.
 */
#include "dom0-tools/device/bridge_port.h"

#include <errno.h>
#include <linux/if_bridge.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* A request being put together. */
struct request {
    struct nlmsghdr head;
    char body[256];
};

static void *add(struct request *request, const void *data, size_t bytes)
{
    char *at = (char *)request + NLMSG_ALIGN(request->head.nlmsg_len);

    memcpy(at, data, bytes);
    request->head.nlmsg_len = (uint32_t)(NLMSG_ALIGN(request->head.nlmsg_len) + bytes);
    return at;
}

static void add_attribute(struct request *request, unsigned short type, const void *data,
                          size_t bytes)
{
    struct rtattr attribute = {.rta_len = (unsigned short)RTA_LENGTH(bytes), .rta_type = type};

    add(request, &attribute, sizeof(attribute));
    add(request, data, bytes);
}

static struct request start(uint16_t type, uint16_t flags)
{
    return (struct request){.head = {.nlmsg_len = NLMSG_HDRLEN,
                                     .nlmsg_type = type,
                                     .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | flags,
                                     .nlmsg_seq = 1}};
}

/* Sends a request and waits for the kernel's answer. */
static int ask(int control, const struct request *request)
{
    struct {
        struct nlmsghdr head;
        struct nlmsgerr result;
        char rest[1024];
    } answer;
    ssize_t got;

    if (send(control, request, request->head.nlmsg_len, 0) < 0) {
        return -errno;
    }
    got = recv(control, &answer, sizeof(answer), 0);
    if (got < 0) {
        return -errno;
    }
    if ((size_t)got < NLMSG_LENGTH(sizeof(answer.result)) ||
        answer.head.nlmsg_type != NLMSG_ERROR) {
        return -EPROTO;
    }
    return answer.result.error;
}

static int add_entry(int control, unsigned int interface, const uint8_t mac[6])
{
    struct request request = start(RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE);
    struct ndmsg entry = {
        .ndm_family = AF_BRIDGE,
        .ndm_ifindex = (int)interface,
        .ndm_state = NUD_NOARP, /* static: it neither moves nor ages */
        .ndm_flags = NTF_MASTER,
    };

    add(&request, &entry, sizeof(entry));
    add_attribute(&request, NDA_LLADDR, mac, 6);
    return ask(control, &request);
}

static int lock_port(int control, unsigned int interface)
{
    static const uint8_t off = 0;
    static const uint8_t on = 1;
    struct request request = start(RTM_SETLINK, 0);
    struct ifinfomsg link = {.ifi_family = AF_BRIDGE, .ifi_index = (int)interface};
    struct rtattr *port;
    struct rtattr empty = {.rta_len = RTA_LENGTH(0), .rta_type = IFLA_PROTINFO | NLA_F_NESTED};

    add(&request, &link, sizeof(link));
    port = add(&request, &empty, sizeof(empty));
    add_attribute(&request, IFLA_BRPORT_LEARNING, &off, sizeof(off));
    add_attribute(&request, IFLA_BRPORT_LOCKED, &on, sizeof(on));
    port->rta_len =
        (unsigned short)((char *)&request + NLMSG_ALIGN(request.head.nlmsg_len) - (char *)port);
    request.head.nlmsg_len = NLMSG_ALIGN(request.head.nlmsg_len);
    return ask(control, &request);
}

int bridge_port_lock(unsigned int interface, const uint8_t mac[6])
{
    int control = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    int rc;

    if (control < 0) {
        return -errno;
    }
    rc = add_entry(control, interface, mac);
    rc = rc != 0 ? rc : lock_port(control, interface);
    close(control);
    return rc;
}
