/* SPDX-License-Identifier: MIT */
/*
 * Network cards of a running guest: net attach, detach, list.
 *
 * A card is named by its number, which is also the last part of the control domain's interface
 * vifDOMAIN.NUMBER, or by its hardware address.
 */
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "dom0-tools/config/values.h"
#include "dom0-tools/vane/plug.h"

/* Looks for a hardware address, and for a number that is free. */
struct search {
    uint8_t mac[6];
    bool found;
    char owner[65];
    unsigned int id; /* of the card that has it */
    uint32_t domid;  /* whose numbers are looked at */
    bool used[CONFIG_MAX_NETS];
};

static bool mac_of(const struct plug_device *device, uint8_t mac[6])
{
    char text[32];

    plug_text(device, "mac", text, sizeof(text));
    return value_mac(text, mac);
}

static int search_one(struct plug_device *device, void *context)
{
    struct search *search = context;
    uint8_t mac[6];

    if (device->domid == search->domid && device->id < CONFIG_MAX_NETS) {
        search->used[device->id] = true;
    }
    if (mac_of(device, mac) && memcmp(mac, search->mac, sizeof(mac)) == 0) {
        search->found = true;
        search->id = device->id;
        snprintf(search->owner, sizeof(search->owner), "%s", device->domain);
    }
    return 0;
}

/* --- attach ------------------------------------------------------------------------------ */

/* The addresses of --ip, with commas between them. */
static int read_ips(struct vane_net *net, const char *list, struct err *err)
{
    char text[16];

    while (net->ip_count < CONFIG_MAX_NET_IPS) {
        size_t bytes = strcspn(list, ",");

        snprintf(text, sizeof(text), "%.*s", (int)(bytes < sizeof(text) ? bytes : sizeof(text)),
                 list);
        if (bytes >= sizeof(text) || !value_ip(text, &net->ips[net->ip_count++])) {
            return err_set(err, EINVAL, "net attach: '%.*s' is no unicast IPv4 address",
                           bytes < 64 ? (int)bytes : 64, list);
        }
        if (list[bytes] == '\0') {
            net->filter = VANE_FILTER_ALL;
            return 0;
        }
        list += bytes + 1;
    }
    return err_set(err, EINVAL, "net attach: a card has at most %u addresses", CONFIG_MAX_NET_IPS);
}

/* What the command line describes, as a configuration with one card. */
static int describe(const struct vane_args *args, struct vane_net *net, struct err *err)
{
    const char *mac = vane_option(args, 'm');
    const char *rate = vane_option(args, 'r');
    const char *target = vane_option(args, 'i');
    const char *ips = vane_option(args, 'a');

    *net = (struct vane_net){
        .bridge = args->operands[1],
        .mac_given = mac != NULL,
        .target = NULL,
        .filter = vane_option(args, 'f') != NULL ? VANE_FILTER_MAC : 0,
    };
    if (!value_interface_name(net->bridge)) {
        return err_set(err, EINVAL, "net attach: '%s' cannot be the name of a bridge", net->bridge);
    }
    if (mac != NULL && !value_mac(mac, net->mac)) {
        return err_set(err, EINVAL, "net attach: '%s' is no unicast hardware address", mac);
    }
    if (ips != NULL && read_ips(net, ips, err) != 0) {
        return -EINVAL;
    }
    if (rate != NULL &&
        (!vane_amount(rate, &net->rate_kib) || net->rate_kib == 0 || net->rate_kib > UINT32_MAX)) {
        return err_set(err, EINVAL,
                       "net attach: a rate is an amount in a second, such as 10MiB, not '%s'",
                       rate);
    }
    if (target != NULL && (!value_interface_name(target) || strncmp(target, "vif", 3) == 0)) {
        return err_set(err, EINVAL, "net attach: '%s' cannot be the name of an interface of yours",
                       target);
    }
    if (target != NULL) {
        net->target = strdup(target);
        if (net->target == NULL) {
            return err_set(err, ENOMEM, "no memory");
        }
    }
    return 0;
}

/* Finds a free number, and an address where none is given. Held under the life lock. */
static int choose(struct plug *plug, struct vane_net *net, unsigned int *id, struct err *err)
{
    static const uint8_t range[3] = {0x00, 0x16, 0x3e}; /* IEEE gave it to Xen */
    struct search search;

    do {
        if (!net->mac_given) {
            memcpy(net->mac, range, sizeof(range));
            if (getrandom(net->mac + 3, 3, 0) != 3) {
                return err_set_errno(err, errno, "no random bytes");
            }
            net->mac[3] &= 0x7f;
        }
        search = (struct search){.domid = plug->domid};
        memcpy(search.mac, net->mac, sizeof(search.mac));
        plug_each(&plug->life, "vif", NULL, search_one, &search, err);
    } while (search.found && !net->mac_given);
    if (search.found) {
        return err_set(err, EEXIST, "%s has a card with this address", search.owner);
    }
    for (*id = 0; *id < CONFIG_MAX_NETS && search.used[*id]; (*id)++) {
    }
    return *id < CONFIG_MAX_NETS
               ? 0
               : err_set(err, ENOSPC, "the guest has %u cards, the most there can be",
                         CONFIG_MAX_NETS);
}

static int attach(struct plug *plug, struct vane_net *net, unsigned int *id, struct err *err)
{
    struct vane_config config = {.nets = net, .net_count = 1};
    struct device_name name = {.xs = plug->life.xs, .domid = plug->domid, .kind = "vif"};
    int lock = life_lock(err);
    int rc;

    if (lock < 0) {
        return lock;
    }
    rc = choose(plug, net, id, err);
    rc = rc != 0 ? rc : device_check(plug->life.xs, &config, err);
    if (rc != 0) {
        close(lock);
        return rc;
    }
    name.id = *id;
    return device_plug(&name, &config, lock, !plug->paused, &plug->patience, err);
}

static int run_attach(const struct vane_args *args)
{
    unsigned int id = 0;
    struct vane_net net;
    struct err err = {0};
    struct plug plug;
    char mac[18];

    if (describe(args, &net, &err) != 0) {
        vane_error("%s", err.text);
        return VANE_USAGE;
    }

    int rc = plug_open(&plug, args, &err);

    if (rc == 0) {
        rc = attach(&plug, &net, &id, &err);
        plug_close(&plug);
    }
    free(net.target);
    if (rc != 0) {
        return plug_status(rc, &err);
    }
    config_mac_format(net.mac, mac);
    printf("%s: card %u, %s\n", args->operands[0], id, mac);
    return VANE_OK;
}

/* --- detach ------------------------------------------------------------------------------ */

/* The number of the card a command names, by number or address. */
static int find_card(struct plug *plug, const char *who, unsigned int *id, struct err *err)
{
    struct search search = {.domid = plug->domid};
    struct device_name name = {.xs = plug->life.xs, .domid = plug->domid, .kind = "vif"};
    char guest[16];
    uint64_t number;

    if (value_mac(who, search.mac)) {
        snprintf(guest, sizeof(guest), "%u", plug->domid);
        plug_each(&plug->life, "vif", guest, search_one, &search, err);
        *id = search.id;
        return search.found ? 0 : err_set(err, ENOENT, "the guest has no card %s", who);
    }
    name.id = value_number(who, &number) && number < UINT32_MAX ? (unsigned int)number : UINT32_MAX;
    *id = name.id;
    return device_exists(&name) ? 0 : err_set(err, ENOENT, "the guest has no card %s", who);
}

static int run_detach(const struct vane_args *args)
{
    struct device_name name = {.kind = "vif"};
    struct err err = {0};
    struct plug plug;
    uint64_t number;
    uint8_t mac[6];

    if (!value_mac(args->operands[1], mac) && !value_number(args->operands[1], &number)) {
        vane_error("net detach: the number of a card or its address is needed, not '%s'",
                   args->operands[1]);
        return VANE_USAGE;
    }

    int rc = plug_open(&plug, args, &err);

    if (rc == 0) {
        name.xs = plug.life.xs;
        name.domid = plug.domid;
        rc = find_card(&plug, args->operands[1], &name.id, &err);
        if (rc == 0) {
            rc = device_unplug(&name, vane_option(args, 'f') != NULL, &plug.patience, &err);
            if (rc != 0) {
                err_prefix(&err, "card %s", args->operands[1]);
            }
        }
        plug_close(&plug);
    }
    return plug_status(rc, &err);
}

/* --- list -------------------------------------------------------------------------------- */

/* The control domain's interface: by its given name, or as the driver has named it. */
static void interface_of(const struct plug_device *device, char name[32])
{
    plug_text(device, "interface", name, 32);
    if (name[0] == '\0') {
        snprintf(name, 32, "vif%u.%u", device->domid, device->id);
    }
}

/* Bytes a second it may send; 0: no limit. */
static unsigned long long rate_of(const struct plug_device *device)
{
    unsigned long long bytes;
    unsigned int us;
    char text[48];

    plug_text(device, "rate", text, sizeof(text));
    return sscanf(text, "%llu,%u", &bytes, &us) == 2 && us != 0 ? bytes * 1000000 / us : 0;
}

static struct json_object *split(char *words)
{
    struct json_object *out = json_object_new_array();
    char *rest = words;

    for (char *word; (word = strtok_r(rest, " ", &rest)) != NULL;) {
        json_object_array_add(out, json_object_new_string(word));
    }
    return out;
}

static int list_one(struct plug_device *device, void *context)
{
    struct plug_list *list = context;
    unsigned long long rate = rate_of(device);
    char interface[32];
    char filter[32];
    char bridge[32];
    char mac[32];
    char ips[CONFIG_MAX_NET_IPS * 16];

    interface_of(device, interface);
    plug_text(device, "mac", mac, sizeof(mac));
    plug_text(device, "bridge", bridge, sizeof(bridge));
    plug_text(device, "filter", filter, sizeof(filter));
    plug_text(device, "ip", ips, sizeof(ips));
    if (list->array != NULL) {
        struct json_object *out = json_object_new_object();

        json_object_object_add(out, "domain", json_object_new_string(device->domain));
        json_object_object_add(out, "domain_id", json_object_new_int64(device->domid));
        json_object_object_add(out, "card", json_object_new_int64(device->id));
        json_object_object_add(out, "mac", json_object_new_string(mac));
        json_object_object_add(out, "bridge", json_object_new_string(bridge));
        json_object_object_add(out, "interface", json_object_new_string(interface));
        json_object_object_add(out, "rate_bytes", json_object_new_uint64(rate));
        json_object_object_add(out, "filter", json_object_new_boolean(filter[0] != '\0'));
        json_object_object_add(out, "ips", split(ips));
        json_object_object_add(out, "state", json_object_new_string(plug_state(device)));
        json_object_array_add(list->array, out);
        return 0;
    }
    vane_table_cell(list->table, "%s", device->domain);
    vane_table_cell(list->table, "%u", device->id);
    vane_table_cell(list->table, "%s", mac);
    vane_table_cell(list->table, "%s", bridge);
    vane_table_cell(list->table, "%s", interface);
    if (rate != 0) {
        vane_table_cell(list->table, "%llu", rate / 1024);
    } else {
        vane_table_cell(list->table, "-");
    }
    vane_table_cell(list->table, "%s", filter[0] != '\0' ? filter : "-");
    vane_table_cell(list->table, "%s", plug_state(device));
    return 0;
}

static int run_list(const struct vane_args *args)
{
    static const char *const headings[] = {"DOMAIN",    ">CARD",        "MAC",    "BRIDGE",
                                           "INTERFACE", ">RATE(KiB/s)", "FILTER", "STATE"};

    return plug_list(args, "vif", headings, 8, list_one);
}

/* --- table ------------------------------------------------------------------------------- */

static const struct vane_option attach_options[] = {
    {'m', "mac", "ADDRESS", "its hardware address (default: one is made up)"},
    {'r', "rate", "AMOUNT", "most it may send in a second, such as 10MiB"},
    {'f', "filter", NULL, "drop what it sends from another hardware address than its own"},
    {'a', "ip", "ADDRESSES",
     "the IPv4 addresses it has: drop all else that it sends, as libvirt's "
     "clean-traffic"},
    {'i', "interface", "NAME", "name of the control domain's interface (default vifD.N)"},
    {'t', "timeout", "SECONDS", "longest time to wait for the guest (default 60)"},
    {0, NULL, NULL, NULL},
};

const struct vane_command vane_commands_net[] = {
    {
        .name = "net attach",
        .operands = "DOMAIN BRIDGE",
        .summary = "give a running guest another network card",
        .details = "The command returns when the guest has connected to it; when the guest does "
                   "not, nothing of the card remains. A paused guest finds it when it runs "
                   "again.\n\n"
                   "--rate limits what the guest sends, not what it receives. --filter "
                   "and --ip need Linux 5.18 in the control domain, --ip its sch_ingress and "
                   "cls_bpf, too. ADDRESSES has commas, as in 10.0.0.5,10.0.0.6; from them come "
                   "IPv4 and ARP, and nothing else passes.",
        .min_operands = 2,
        .max_operands = 2,
        .options = attach_options,
        .run = run_attach,
    },
    {
        .name = "net detach",
        .operands = "DOMAIN CARD",
        .summary = "take a network card from a running guest",
        .details = "CARD is its number, as net list shows it, or its hardware address.",
        .min_operands = 2,
        .max_operands = 2,
        .options = plug_detach_options,
        .run = run_detach,
    },
    {
        .name = "net list",
        .operands = "[DOMAIN]",
        .summary = "list the network cards of a guest, or of all",
        .max_operands = 1,
        .json = true,
        .run = run_list,
    },
    {.name = NULL},
};
