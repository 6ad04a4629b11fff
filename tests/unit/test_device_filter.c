/* SPDX-License-Identifier: MIT */
/*
 * The programs that guard network cards (dom0-tools/device/net_filter.h), run by this machine's own
 * kernel: a socket that has one as its filter loses a frame that passes (TC_ACT_OK is 0) and cuts
 * one that is dropped to TC_ACT_SHOT bytes.
 */
#include <CUnit/Basic.h>
#include <linux/pkt_cls.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "dom0-tools/device/net_filter.h"

#define OWN 0x0a000005u
#define SECOND 0x0a000006u
#define OTHER 0x0a000007u

static const uint8_t own_mac[6] = {0x00, 0x16, 0x3e, 0xfe, 0x80, 0xff};
static const uint8_t other_mac[6] = {0x00, 0x16, 0x3e, 0xfe, 0x80, 0xfe};

static uint8_t frame[512];
static size_t frame_bytes;

static void put16(size_t at, unsigned int value)
{
    frame[at] = (uint8_t)(value >> 8);
    frame[at + 1] = (uint8_t)value;
}

static void put32(size_t at, uint32_t value)
{
    put16(at, value >> 16);
    put16(at + 2, value & 0xffff);
}

static void ethernet(unsigned int type, size_t bytes)
{
    memset(frame, 0, sizeof(frame));
    memcpy(frame + 6, own_mac, 6);
    put16(12, type);
    frame_bytes = bytes;
}

/* IPv4 with a head of `words` words. */
static void ip(uint32_t source, unsigned int words)
{
    ethernet(0x0800, 300);
    frame[14] = (uint8_t)(0x40 | words);
    frame[23] = 6;
    put32(26, source);
    put32(30, OTHER);
}

/* A question for an address by DHCP. */
static void dhcp(unsigned int words)
{
    ip(0, words);
    frame[23] = 17;
    put32(30, 0xffffffff);
    put16(14 + words * 4, 68);
    put16(14 + words * 4 + 2, 67);
}

static void arp(const uint8_t mac[6], uint32_t source)
{
    ethernet(0x0806, 42);
    put16(14, 1);
    put16(16, 0x0800);
    put16(18, 0x0604);
    put16(20, 2);
    memcpy(frame + 22, mac, 6);
    put32(28, source);
    put32(38, OTHER);
}

static struct vane_net card(unsigned int filter)
{
    struct vane_net net = {.filter = filter, .ips = {OWN, SECOND}, .ip_count = 2};

    memcpy(net.mac, own_mac, sizeof(net.mac));
    return net;
}

/* Whether the frame passes. */
static bool passes(unsigned int filter)
{
    struct vane_net net = card(filter);
    struct sock_filter code[NET_FILTER_MAX];
    struct sock_fprog program = {.len = (unsigned short)net_filter_program(&net, code),
                                 .filter = code};
    uint8_t got[sizeof(frame)];
    int ends[2];
    ssize_t bytes;

    CU_ASSERT_EQUAL_FATAL(socketpair(AF_UNIX, SOCK_DGRAM, 0, ends), 0);
    CU_ASSERT_EQUAL_FATAL(
        setsockopt(ends[1], SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)), 0);
    CU_ASSERT_EQUAL(send(ends[0], frame, frame_bytes, 0), (ssize_t)frame_bytes);
    bytes = recv(ends[1], got, sizeof(got), MSG_DONTWAIT);
    CU_ASSERT_TRUE(bytes == -1 || bytes == TC_ACT_SHOT);
    close(ends[0]);
    close(ends[1]);
    return bytes == -1;
}

static void test_ip(void)
{
    ip(OWN, 5);
    CU_ASSERT_TRUE(passes(VANE_FILTER_IP));
    CU_ASSERT_TRUE(passes(VANE_FILTER_ALL));
    ip(SECOND, 15);
    CU_ASSERT_TRUE(passes(VANE_FILTER_ALL));
    ip(OTHER, 5);
    CU_ASSERT_FALSE(passes(VANE_FILTER_IP));
    CU_ASSERT_FALSE(passes(VANE_FILTER_ALL));
    CU_ASSERT_TRUE(passes(VANE_FILTER_ARP));
    ip(0, 5);
    CU_ASSERT_FALSE(passes(VANE_FILTER_ALL));
    ip(OWN, 5);
    for (frame_bytes = 14; frame_bytes < 34; frame_bytes++) {
        CU_ASSERT_FALSE(passes(VANE_FILTER_IP));
    }
    CU_ASSERT_TRUE(passes(VANE_FILTER_IP));
}

static void test_dhcp(void)
{
    for (unsigned int words = 5; words <= 15; words++) {
        dhcp(words);
        CU_ASSERT_TRUE(passes(VANE_FILTER_IP));
        put16(14 + words * 4 + 2, 68); /* not to a server */
        CU_ASSERT_FALSE(passes(VANE_FILTER_IP));
    }
    dhcp(5);
    put32(30, OTHER); /* not to everybody */
    CU_ASSERT_FALSE(passes(VANE_FILTER_ALL));
    dhcp(5);
    frame[23] = 6; /* not UDP */
    CU_ASSERT_FALSE(passes(VANE_FILTER_ALL));
    dhcp(5);
    put16(20, 1); /* from the middle of a packet: its ports are data */
    CU_ASSERT_FALSE(passes(VANE_FILTER_ALL));
    put16(20, 0x4000); /* not to be cut is no cut */
    CU_ASSERT_TRUE(passes(VANE_FILTER_ALL));
    dhcp(15);
    frame_bytes = 81;
    CU_ASSERT_FALSE(passes(VANE_FILTER_ALL));
}

static void test_arp(void)
{
    arp(own_mac, OWN);
    CU_ASSERT_TRUE(passes(VANE_FILTER_ARP));
    CU_ASSERT_TRUE(passes(VANE_FILTER_ALL));
    arp(own_mac, 0); /* is it free? */
    CU_ASSERT_TRUE(passes(VANE_FILTER_ALL));
    arp(own_mac, OTHER);
    CU_ASSERT_FALSE(passes(VANE_FILTER_ARP));
    CU_ASSERT_TRUE(passes(VANE_FILTER_IP));
    arp(other_mac, OWN);
    CU_ASSERT_FALSE(passes(VANE_FILTER_ARP));
    for (size_t i = 0; i < 6; i++) {
        arp(own_mac, OWN);
        frame[22 + i] ^= 1;
        CU_ASSERT_FALSE(passes(VANE_FILTER_ALL));
        arp(own_mac, OWN);
        frame[14 + i] ^= 0x10; /* kinds and sizes */
        CU_ASSERT_FALSE(passes(VANE_FILTER_ALL));
    }
    arp(own_mac, OWN);
    frame_bytes = 41;
    CU_ASSERT_FALSE(passes(VANE_FILTER_ARP));
}

static void test_else(void)
{
    static const unsigned int types[] = {0x86dd, 0x8100, 0x88a8, 0x8035, 0x05ff, 0x0026};

    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        ethernet(types[i], 60);
        CU_ASSERT_TRUE(passes(VANE_FILTER_IP));
        CU_ASSERT_TRUE(passes(VANE_FILTER_ARP));
        CU_ASSERT_FALSE(passes(VANE_FILTER_ALL));
    }
}

/* The most addresses there can be are all known, and fit. */
static void test_many(void)
{
    struct vane_net net = card(VANE_FILTER_ALL);
    struct sock_filter code[NET_FILTER_MAX];
    size_t few = net_filter_program(&net, code);

    net.ip_count = CONFIG_MAX_NET_IPS;
    CU_ASSERT_EQUAL(net_filter_program(&net, code), few + 2 * (CONFIG_MAX_NET_IPS - 2));
    CU_ASSERT_TRUE(few + 2 * (CONFIG_MAX_NET_IPS - 2) <= NET_FILTER_MAX);
}

int main(void)
{
    CU_pSuite suite;
    unsigned int failed;

    if (CU_initialize_registry() != CUE_SUCCESS) {
        return 1;
    }
    suite = CU_add_suite("network cards' filters", NULL, NULL);
    CU_add_test(suite, "IPv4", test_ip);
    CU_add_test(suite, "DHCP", test_dhcp);
    CU_add_test(suite, "ARP", test_arp);
    CU_add_test(suite, "anything else", test_else);
    CU_add_test(suite, "many addresses", test_many);
    CU_basic_set_mode(CU_BRM_NORMAL);
    CU_basic_run_tests();
    failed = CU_get_number_of_failures() + CU_get_number_of_suites_failed();
    CU_cleanup_registry();
    return failed != 0;
}
