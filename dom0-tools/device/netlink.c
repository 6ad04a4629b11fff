/* SPDX-License-Identifier: MIT */
/*
 * Route-netlink requests; see netlink.h. Every request asks for an answer, and one is outstanding
 * at a time.
 */
#include "dom0-tools/device/netlink.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

int netlink_open(void)
{
    int control = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);

    return control >= 0 ? control : -errno;
}

struct netlink_request netlink_start(uint16_t type, uint16_t flags)
{
    return (struct netlink_request){.head = {.nlmsg_len = NLMSG_HDRLEN,
                                             .nlmsg_type = type,
                                             .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | flags,
                                             .nlmsg_seq = 1}};
}

void *netlink_add(struct netlink_request *request, const void *data, size_t bytes)
{
    size_t at = NLMSG_ALIGN(request->head.nlmsg_len);

    assert(at + bytes <= sizeof(*request));
    memcpy((char *)request + at, data, bytes);
    request->head.nlmsg_len = (uint32_t)(at + bytes);
    return (char *)request + at;
}

void netlink_attribute(struct netlink_request *request, unsigned short type, const void *data,
                       size_t bytes)
{
    struct rtattr attribute = {.rta_len = (unsigned short)RTA_LENGTH(bytes), .rta_type = type};

    netlink_add(request, &attribute, sizeof(attribute));
    netlink_add(request, data, bytes);
}

struct rtattr *netlink_nest(struct netlink_request *request, unsigned short type)
{
    struct rtattr empty = {.rta_len = RTA_LENGTH(0), .rta_type = type};

    return netlink_add(request, &empty, sizeof(empty));
}

void netlink_nest_end(struct netlink_request *request, struct rtattr *nest)
{
    /* The kernel leaves out an attribute that goes beyond the message, and says nothing. */
    request->head.nlmsg_len = NLMSG_ALIGN(request->head.nlmsg_len);
    nest->rta_len =
        (unsigned short)((char *)request + request->head.nlmsg_len - (const char *)nest);
}

int netlink_ask(int control, const struct netlink_request *request)
{
    struct {
        struct nlmsghdr head;
        struct nlmsgerr result;
        char rest[2048];
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
