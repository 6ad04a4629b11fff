/* SPDX-License-Identifier: MIT */
/*
 * Network cards: nodes for xen-netback, and its interfaces' way into bridges.
 *
 * xen-netback makes the interface vifGUEST.INDEX and connects only after hotplug-status says
 * "connected"; in between the interface gets its name, joins its bridge and is set up. It leaves
 * the bridge by itself when the back end goes.
 */
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/sockios.h>

#include "dom0-tools/device/bridge_port.h"
#include "dom0-tools/device/device_internal.h"
#include "dom0-tools/device/net_filter.h"

/* Length of the driver's accounting period. */
#define RATE_INTERVAL_US 50000u

static bool is_bridge(const char *name)
{
    char path[128];

    if (strlen(name) >= IFNAMSIZ || strchr(name, '/') != NULL) {
        return false;
    }
    snprintf(path, sizeof(path), "/sys/class/net/%s/bridge", name);
    return access(path, F_OK) == 0;
}

int net_check(const struct vane_config *config, struct err *err)
{
    int rc = config->net_count != 0 ? device_driver_check("vif", "xen-netback", err) : 0;

    for (size_t i = 0; i < config->net_count && rc == 0; i++) {
        const struct vane_net *net = &config->nets[i];

        if (if_nametoindex(net->bridge) == 0) {
            rc = err_set(err, ENOENT, "there is no bridge %s", net->bridge);
        } else if (!is_bridge(net->bridge)) {
            rc = err_set(err, EINVAL, "the interface %s is no bridge", net->bridge);
        } else if (net->target != NULL && strlen(net->target) >= IFNAMSIZ) {
            rc = err_set(err, EINVAL, "the interface name %s is too long", net->target);
        } else if (net->target != NULL && if_nametoindex(net->target) != 0) {
            rc = err_set(err, EEXIST, "there is an interface %s already", net->target);
        }
    }
    return rc;
}

/* The nodes of one card, written in one transaction. */
struct net_nodes {
    const struct device_set *set;
    size_t index;
};

/* The addresses a card is held to, for whoever lists it. */
static void put_ips(struct node *back, const struct vane_net *net)
{
    char text[CONFIG_MAX_NET_IPS * 16] = "";

    for (unsigned int i = 0; i < net->ip_count; i++) {
        strcat(text, i != 0 ? " " : "");
        config_ip_format(net->ips[i], text + strlen(text));
    }
    if (text[0] != '\0') {
        node_put(back, "ip", "%s", text);
    }
}

static int net_nodes_body(xs_transaction_t transaction, void *context)
{
    const struct net_nodes *nodes = context;
    const struct vane_net *net = &nodes->set->config->nets[nodes->index];
    uint32_t domid = nodes->set->domid;
    unsigned int id = nodes->set->first_net + (unsigned int)nodes->index;
    struct node front = device_frontend(nodes->set->xs, transaction, domid, "vif", id);
    struct node back = device_backend(nodes->set->xs, transaction, domid, "vif", id);
    char mac[18];

    config_mac_format(net->mac, mac);
    device_make_pair(&front, &back, domid);
    node_put(&front, "handle", "%u", id);
    node_put(&front, "mac", "%s", mac);
    node_put(&back, "handle", "%u", id);
    node_put(&back, "mac", "%s", mac);
    node_put(&back, "bridge", "%s", net->bridge);
    node_put(&back, "type", "vif");
    if (net->target != NULL) {
        node_put(&back, "interface", "%s", net->target);
    }
    if (net->rate_kib != 0) {
        /* What the driver lets out in each interval; as short as keeps the stream smooth. */
        node_put(&back, "rate", "%llu,%u",
                 (unsigned long long)(net->rate_kib * 1024 / (1000000 / RATE_INTERVAL_US)),
                 RATE_INTERVAL_US);
    }
    if (net->filter != 0) {
        node_put(&back, "filter", "%s", config_filter_name(net->filter));
    }
    put_ips(&back, net);
    /* The driver insists on a script's name; one that does nothing suits udev rules too. */
    node_put(&back, "script", "/bin/true");
    return front.error != 0 ? front.error : back.error;
}

int net_begin(struct device_set *set, size_t index, struct err *err)
{
    struct net_nodes nodes = {.set = set, .index = index};
    int rc = node_transaction(set->xs, net_nodes_body, &nodes);

    return rc != 0 ? err_set_errno(err, -rc, "interface %zu: cannot write store nodes", index) : 0;
}

static void vif_name(uint32_t domid, unsigned int id, char name[IFNAMSIZ])
{
    snprintf(name, IFNAMSIZ, "vif%u.%u", domid, id);
}

static bool vif_exists(uint32_t domid, unsigned int id)
{
    char name[IFNAMSIZ];

    vif_name(domid, id, name);
    return if_nametoindex(name) != 0;
}

/* What the guest may send is settled before the first frame comes through. */
static int put_filter(const char *name, const struct vane_net *net, struct err *err)
{
    unsigned int interface = if_nametoindex(name);
    int rc = (net->filter & VANE_FILTER_MAC) != 0 ? bridge_port_lock(interface, net->mac) : 0;

    if (rc != 0) {
        return err_set_errno(err, -rc,
                             "the bridge %s cannot hold it to its hardware address (needs Linux "
                             "5.18)",
                             net->bridge);
    }
    rc = (net->filter & ~(unsigned int)VANE_FILTER_MAC) != 0 ? net_filter_put(interface, net) : 0;
    return rc == 0 ? 0
                   : err_set_errno(err, -rc,
                                   "cannot filter its IPv4 addresses (needs the modules "
                                   "sch_ingress and cls_bpf)");
}

/* Gives a new interface its name, its bridge and the state "up". */
static int vif_connect(int control, const char *name, const struct vane_net *net, struct err *err)
{
    struct ifreq request = {0};

    snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
    if (net->target != NULL) {
        snprintf(request.ifr_newname, sizeof(request.ifr_newname), "%s", net->target);
        if (ioctl(control, SIOCSIFNAME, &request) != 0) {
            return err_set_errno(err, errno, "%s cannot be named %s", name, net->target);
        }
        name = net->target;
    }
    memset(&request, 0, sizeof(request));
    snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", net->bridge);
    request.ifr_ifindex = (int)if_nametoindex(name);
    if (ioctl(control, SIOCBRADDIF, &request) != 0) {
        return err_set_errno(err, errno, "cannot join the bridge %s", net->bridge);
    }

    int rc = put_filter(name, net, err);

    if (rc != 0) {
        return rc;
    }
    memset(&request, 0, sizeof(request));
    snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
    if (ioctl(control, SIOCGIFFLAGS, &request) == 0) {
        request.ifr_flags |= IFF_UP;
        rc = ioctl(control, SIOCSIFFLAGS, &request);
    } else {
        rc = -1;
    }
    return rc == 0 ? 0 : err_set_errno(err, errno, "cannot bring %s up", name);
}

int net_finish(struct device_set *set, size_t index, struct err *err)
{
    const struct vane_net *net = &set->config->nets[index];
    unsigned int id = set->first_net + (unsigned int)index;
    struct node back = device_backend(set->xs, XBT_NULL, set->domid, "vif", id);
    char name[IFNAMSIZ];
    int control;
    int rc = device_wait_ready(set, "vif", id, vif_exists, err);

    if (rc != 0) {
        return err_prefix(err, "interface %zu", index);
    }
    control = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (control < 0) {
        return err_set_errno(err, errno, "interface %zu: no socket", index);
    }
    vif_name(set->domid, id, name);
    rc = vif_connect(control, name, net, err);
    close(control);
    if (rc != 0) {
        return err_prefix(err, "interface %zu", index);
    }
    rc = node_write(&back, "hotplug-status", "connected");
    return rc != 0 ? err_set_errno(err, -rc, "interface %zu: cannot write store nodes", index) : 0;
}
