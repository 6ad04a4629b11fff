/* SPDX-License-Identifier: MIT */
/*
 * What the control domain takes from a guest's network card, by what is inside the frames.
 *
 * bridge_port.h sees to the hardware address frames come from; here is what they say: a program of
 * the kernel's packet filter at the interface's way in, which goes when the interface does. Nothing
 * but the kernel's sch_ingress and cls_bpf is needed, and no rule of the administrator's is
 * touched. Used by net.c.
 */
#pragma once

#include <linux/filter.h>
#include <stddef.h>

#include "dom0-tools/config/config.h"

/* Most instructions net_filter_program() writes. */
#define NET_FILTER_MAX 64u

/* Writes the program for a card whose filter has more than VANE_FILTER_MAC. It sees a frame from
 * its Ethernet head on and answers TC_ACT_OK or TC_ACT_SHOT. Returns: number of instructions. */
size_t net_filter_program(const struct vane_net *net, struct sock_filter code[NET_FILTER_MAX]);

/* Puts a card's filter before an interface. Errors: as the kernel gives, EEXIST when somebody has
 * one there, ENOENT without the two modules. */
int net_filter_put(unsigned int interface, const struct vane_net *net);
