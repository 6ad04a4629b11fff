/* SPDX-License-Identifier: MIT */
/*
 * Requests to the kernel's network configuration, put together and answered.
 *
 * A request is a message head, the structure of its kind, then attributes, some of which hold
 * others. Callers know that what they add fits. Used by bridge_port.c and net_filter.c.
 */
#pragma once

#include <linux/rtnetlink.h>
#include <stddef.h>
#include <stdint.h>

struct netlink_request {
    struct nlmsghdr head;
    char body[1024];
};

/* A socket for requests. Returns: it, or a negative errno. */
int netlink_open(void);

/* An empty request of a kind, RTM_NEWNEIGH for instance. */
struct netlink_request netlink_start(uint16_t type, uint16_t flags);

/* Puts bytes at a request's end. Returns: where they are. */
void *netlink_add(struct netlink_request *request, const void *data, size_t bytes);

void netlink_attribute(struct netlink_request *request, unsigned short type, const void *data,
                       size_t bytes);

/* An attribute that holds all that is added until netlink_nest_end(). */
struct rtattr *netlink_nest(struct netlink_request *request, unsigned short type);
void netlink_nest_end(struct netlink_request *request, struct rtattr *nest);

/* Sends a request and waits for the kernel's answer. Returns: 0 or a negative errno, the kernel's
 * among them. */
int netlink_ask(int control, const struct netlink_request *request);
