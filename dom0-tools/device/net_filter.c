/* SPDX-License-Identifier: MIT */
/*
 * Packet filter programs for guests' interfaces; see net_filter.h.
 *
 * A program's loads end it with 0, which is TC_ACT_OK, where a frame is too short for them. So the
 * length is tested before anything that an Ethernet head does not have.
 *
 * Jumps are written with the labels they go to; resolve() makes distances of them. All go forward.
 */
#include "dom0-tools/device/net_filter.h"

#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>
#include <string.h>
#include <unistd.h>

#include "dom0-tools/device/netlink.h"

/* Where things are in a frame. */
enum {
    AT_TYPE = 12,
    AT_IP = 14,
    AT_IP_FRAGMENT = AT_IP + 6,
    AT_IP_PROTOCOL = AT_IP + 9,
    AT_IP_SOURCE = AT_IP + 12,
    AT_IP_TARGET = AT_IP + 16,
    AT_UDP_PORT = AT_IP + 2, /* and the length of the IP head: port it goes to */
    AT_ARP_KINDS = 14,
    AT_ARP_SIZES = 18,
    AT_ARP_MAC = 22,
    AT_ARP_IP = 28,

    IP_BYTES = AT_IP + 20,
    DHCP_BYTES = AT_IP + 60 + 8, /* any IP head, and UDP's; DHCP's messages are larger */
    ARP_BYTES = 42,
};

#define FRAGMENT_OFFSET 0x1fffu
#define DHCP_SERVER_PORT 67u
#define ARP_OF_IP 0x00010800u /* Ethernet, IPv4 */
#define ARP_SIZES 0x0604u     /* of their addresses */

/* Labels. NEXT is the instruction behind the jump. */
enum label { NEXT, PASS, DROP, NOT_IP, ELSE, LABELS };

struct program {
    struct sock_filter *code;
    size_t count;
    size_t at[LABELS];
};

static void emit(struct program *program, unsigned int code, uint32_t k)
{
    program->code[program->count++] = (struct sock_filter){.code = (uint16_t)code, .k = k};
}

static void load(struct program *program, unsigned int size, uint32_t at)
{
    emit(program, BPF_LD | size | BPF_ABS, at);
}

static void jump(struct program *program, unsigned int test, uint32_t k, enum label yes,
                 enum label no)
{
    emit(program, BPF_JMP | test | BPF_K, k);
    program->code[program->count - 1].jt = (uint8_t)yes;
    program->code[program->count - 1].jf = (uint8_t)no;
}

static void put_label(struct program *program, enum label label)
{
    program->at[label] = program->count;
}

/* Drops frames that are too short. */
static void need(struct program *program, uint32_t bytes)
{
    emit(program, BPF_LD | BPF_W | BPF_LEN, 0);
    jump(program, BPF_JGE, bytes, NEXT, DROP);
}

/* Lets pass where the word loaded is one of the card's addresses. */
static void test_addresses(struct program *program, const struct vane_net *net)
{
    for (unsigned int i = 0; i < net->ip_count; i++) {
        jump(program, BPF_JEQ, net->ips[i], PASS, NEXT);
    }
}

static void put_ip(struct program *program, const struct vane_net *net)
{
    need(program, IP_BYTES);
    load(program, BPF_W, AT_IP_SOURCE);
    test_addresses(program, net);
    /* Who has no address yet may ask everybody for one. */
    jump(program, BPF_JEQ, INADDR_ANY, NEXT, DROP);
    load(program, BPF_W, AT_IP_TARGET);
    jump(program, BPF_JEQ, INADDR_BROADCAST, NEXT, DROP);
    load(program, BPF_B, AT_IP_PROTOCOL);
    jump(program, BPF_JEQ, IPPROTO_UDP, NEXT, DROP);
    load(program, BPF_H, AT_IP_FRAGMENT);
    jump(program, BPF_JSET, FRAGMENT_OFFSET, DROP, NEXT);
    need(program, DHCP_BYTES);
    emit(program, BPF_LDX | BPF_B | BPF_MSH, AT_IP);
    emit(program, BPF_LD | BPF_H | BPF_IND, AT_UDP_PORT);
    jump(program, BPF_JEQ, DHCP_SERVER_PORT, PASS, DROP);
}

static void put_arp(struct program *program, const struct vane_net *net)
{
    const uint8_t *mac = net->mac;

    need(program, ARP_BYTES);
    load(program, BPF_W, AT_ARP_KINDS);
    jump(program, BPF_JEQ, ARP_OF_IP, NEXT, DROP);
    load(program, BPF_H, AT_ARP_SIZES);
    jump(program, BPF_JEQ, ARP_SIZES, NEXT, DROP);
    load(program, BPF_W, AT_ARP_MAC);
    jump(program, BPF_JEQ,
         (uint32_t)mac[0] << 24 | (uint32_t)mac[1] << 16 | (uint32_t)mac[2] << 8 | mac[3], NEXT,
         DROP);
    load(program, BPF_H, AT_ARP_MAC + 4);
    jump(program, BPF_JEQ, (uint32_t)mac[4] << 8 | mac[5], NEXT, DROP);
    load(program, BPF_W, AT_ARP_IP);
    test_addresses(program, net);
    /* Looking whether an address is free says nobody's. */
    jump(program, BPF_JEQ, INADDR_ANY, PASS, DROP);
}

static void resolve(const struct program *program)
{
    for (size_t i = 0; i < program->count; i++) {
        struct sock_filter *at = &program->code[i];

        if (BPF_CLASS(at->code) == BPF_JMP) {
            at->jt = at->jt != NEXT ? (uint8_t)(program->at[at->jt] - i - 1) : 0;
            at->jf = at->jf != NEXT ? (uint8_t)(program->at[at->jf] - i - 1) : 0;
        }
    }
}

size_t net_filter_program(const struct vane_net *net, struct sock_filter code[NET_FILTER_MAX])
{
    struct program program = {.code = code};

    if ((net->filter & VANE_FILTER_ELSE) != 0) {
        load(&program, BPF_B, (uint32_t)(SKF_AD_OFF + SKF_AD_VLAN_TAG_PRESENT));
        jump(&program, BPF_JEQ, 0, NEXT, DROP);
    }
    load(&program, BPF_H, AT_TYPE);
    jump(&program, BPF_JEQ, ETH_P_IP, NEXT, NOT_IP);
    if ((net->filter & VANE_FILTER_IP) != 0) {
        put_ip(&program, net);
    } else {
        emit(&program, BPF_RET | BPF_K, TC_ACT_OK);
    }
    put_label(&program, NOT_IP);
    jump(&program, BPF_JEQ, ETH_P_ARP, NEXT, ELSE);
    if ((net->filter & VANE_FILTER_ARP) != 0) {
        put_arp(&program, net);
    } else {
        emit(&program, BPF_RET | BPF_K, TC_ACT_OK);
    }
    put_label(&program, PASS);
    emit(&program, BPF_RET | BPF_K, TC_ACT_OK);
    put_label(&program, DROP);
    emit(&program, BPF_RET | BPF_K, TC_ACT_SHOT);
    program.at[ELSE] = program.at[(net->filter & VANE_FILTER_ELSE) != 0 ? DROP : PASS];
    resolve(&program);
    return program.count;
}

/* A request about what happens to frames of an interface. */
static struct netlink_request start(uint16_t type, unsigned int interface, uint32_t parent,
                                    uint32_t handle, uint32_t info, const char *kind)
{
    struct netlink_request request = netlink_start(type, NLM_F_CREATE | NLM_F_EXCL);
    struct tcmsg message = {
        .tcm_family = AF_UNSPEC,
        .tcm_ifindex = (int)interface,
        .tcm_parent = parent,
        .tcm_handle = handle,
        .tcm_info = info,
    };

    netlink_add(&request, &message, sizeof(message));
    netlink_attribute(&request, TCA_KIND, kind, strlen(kind) + 1);
    return request;
}

static int add_queue(int control, unsigned int interface)
{
    struct netlink_request request =
        start(RTM_NEWQDISC, interface, TC_H_CLSACT, TC_H_MAKE(TC_H_CLSACT, 0), 0, "clsact");

    return netlink_ask(control, &request);
}

static int add_program(int control, unsigned int interface, const struct vane_net *net)
{
    static const uint32_t flags = TCA_BPF_FLAG_ACT_DIRECT; /* what it returns is done */
    struct netlink_request request =
        start(RTM_NEWTFILTER, interface, TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS), 0,
              TC_H_MAKE(1u << 16, htons(ETH_P_ALL)), "bpf");
    struct sock_filter code[NET_FILTER_MAX];
    uint16_t count = (uint16_t)net_filter_program(net, code);
    struct rtattr *options = netlink_nest(&request, TCA_OPTIONS);

    netlink_attribute(&request, TCA_BPF_OPS_LEN, &count, sizeof(count));
    netlink_attribute(&request, TCA_BPF_OPS, code, count * sizeof(*code));
    netlink_attribute(&request, TCA_BPF_FLAGS, &flags, sizeof(flags));
    netlink_nest_end(&request, options);
    return netlink_ask(control, &request);
}

int net_filter_put(unsigned int interface, const struct vane_net *net)
{
    int control = netlink_open();
    int rc;

    if (control < 0) {
        return control;
    }
    rc = add_queue(control, interface);
    rc = rc != 0 ? rc : add_program(control, interface, net);
    close(control);
    return rc;
}
