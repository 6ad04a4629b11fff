/* SPDX-License-Identifier: MIT */
/*
 * What is said when a network card cannot be connected (dom0-tools/device/net.c). The kernel, which
 * refuses one step or another, is played here.
 */
#include <CUnit/Basic.h>
#include <errno.h>
#include <linux/sockios.h>
#include <stdarg.h>
#include <string.h>

#include "dom0-tools/device/bridge_port.h"
#include "dom0-tools/device/device_internal.h"
#include "dom0-tools/device/net_filter.h"
#include "tests/unit/runner.h"

static unsigned long refused; /* an ioctl */
static int lock_says, filter_says;

int __wrap_device_wait_ready(struct device_set *set, const char *kind, unsigned int id,
                             bool (*ready)(uint32_t domid, unsigned int id), struct err *err);
int __wrap_bridge_port_lock(unsigned int interface, const uint8_t mac[6]);
int __wrap_net_filter_put(unsigned int interface, const struct vane_net *net);
int __wrap_ioctl(int fd, unsigned long request, ...);

int __wrap_device_wait_ready(struct device_set *set, const char *kind, unsigned int id,
                             bool (*ready)(uint32_t domid, unsigned int id), struct err *err)
{
    (void)set, (void)kind, (void)id, (void)ready, (void)err;
    return 0;
}

int __wrap_bridge_port_lock(unsigned int interface, const uint8_t mac[6])
{
    (void)interface, (void)mac;
    return lock_says;
}

int __wrap_net_filter_put(unsigned int interface, const struct vane_net *net)
{
    (void)interface, (void)net;
    return filter_says;
}

int __wrap_ioctl(int fd, unsigned long request, ...)
{
    (void)fd;
    errno = ENODEV;
    return request == refused ? -1 : 0;
}

/* Connects a card of domain 5. */
static void fails(int number, const char *text)
{
    char bridge[] = "br0", target[] = "web0";
    struct vane_net net = {.bridge = bridge,
                           .target = target,
                           .filter = VANE_FILTER_ALL,
                           .ips = {0x0a000001},
                           .ip_count = 1};
    const struct vane_config config = {.nets = &net, .net_count = 1};
    struct device_set set = {.config = &config, .domid = 5};
    struct err err = {0};

    CU_ASSERT_EQUAL(net_finish(&set, 0, &err), -number);
    CU_ASSERT_STRING_EQUAL(err.text, text);
}

static void test_net__refused(void)
{
    refused = SIOCSIFNAME;
    fails(ENODEV, "interface 0: vif5.0 cannot be named web0: No such device");
    refused = SIOCBRADDIF;
    fails(ENODEV, "interface 0: cannot join the bridge br0: No such device");
    refused = SIOCSIFFLAGS;
    fails(ENODEV, "interface 0: cannot bring web0 up: No such device");
    lock_says = -EINVAL;
    fails(EINVAL, "interface 0: the bridge br0 cannot hold it to its hardware address (needs Linux "
                  "5.18): Invalid argument");
    lock_says = 0;
    filter_says = -EOPNOTSUPP;
    fails(EOPNOTSUPP, "interface 0: cannot filter its IPv4 addresses (needs the modules "
                      "sch_ingress and cls_bpf): Operation not supported");
}

int main(void)
{
    CU_TestInfo tests[] = {{"what the kernel refuses", test_net__refused}, CU_TEST_INFO_NULL};

    return run_tests("network cards", tests);
}
