/* SPDX-License-Identifier: MIT */
/*
 * PCI devices of a running guest: pci assignable, attach, detach, list.
 *
 * The control domain's xen-pciback gives a function to the guest's xen-pcifront. What the guest may
 * touch of it, its memory and ports, the hypervisor is told here; its message interrupts it is told
 * by the kernel. A guest has one such device: its driver takes one bus.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "dom0-tools/device/device_internal.h"
#include "dom0-tools/device/pci.h"
#include "dom0-tools/vane/plug.h"

#define CLASS_BRIDGE 0x06

/* Looks for the guest that has a function, and for what a guest has. */
struct search {
    const char *name;
    uint32_t domid; /* whose devices are looked at */
    bool taken;     /* somebody has it */
    bool has_one;   /* that guest has a device */
    bool ours;      /* and it is this one */
    char owner[65];
};

static int search_one(struct plug_device *device, void *context)
{
    struct search *search = context;
    char name[32];

    plug_text(device, "dev-0", name, sizeof(name));
    search->has_one = search->has_one || device->domid == search->domid;
    if (strcmp(name, search->name) == 0) {
        search->taken = true;
        search->ours = device->domid == search->domid;
        snprintf(search->owner, sizeof(search->owner), "%s", device->domain);
    }
    return 0;
}

/* --- attach ------------------------------------------------------------------------------ */

/* Whether the function may be given away at all. */
static int check_function(const struct vane_args *args, const struct pci_function *function,
                          struct err *err)
{
    if (function->class >> 16 == CLASS_BRIDGE) {
        return err_set(err, EINVAL, "device %s: it is a bridge, others are behind it",
                       function->name);
    }
    if (!function->message) {
        return err_set(err, EOPNOTSUPP,
                       "device %s: it interrupts by a line only, which others may share",
                       function->name);
    }
    if (strcmp(function->driver, PCI_BACK) != 0 && function->driver[0] != '\0' &&
        vane_option(args, 'k') == NULL) {
        return err_set(err, EBUSY, "device %s: the control domain's %s drives it (--take takes it)",
                       function->name, function->driver);
    }
    return 0;
}

/* A device reads and writes memory on behalf of whoever drives it. */
static int check_protection(struct plug *plug, const struct vane_args *args, const char *name,
                            struct err *err)
{
    struct xen_sysctl_physinfo info = {.capabilities = 0};
    int rc = hv_physinfo(plug->life.hv, &info);

    if (rc != 0) {
        return err_set_errno(err, -rc, "cannot ask the hypervisor");
    }
    if (vane_option(args, 'u') != NULL) {
        return 0;
    }
    return err_set(err, EPERM,
                   (info.capabilities & XEN_SYSCTL_PHYSCAP_directio) != 0
                       ? "device %s: the IOMMU is not told of it by vane, so the guest could reach "
                         "all memory with it (--unsafe gives it nevertheless)"
                       : "device %s: no IOMMU protects the machine's memory from it, so the guest "
                         "could reach all of it (--unsafe gives it nevertheless)",
                   name);
}

/* Lets the guest reach the function's memory and ports, or no more. Taking goes through all. */
static int permit(struct plug *plug, const struct pci_function *function, bool allow,
                  struct err *err)
{
    int rc = 0;

    for (unsigned int i = 0; i < function->range_count && (rc == 0 || !allow); i++) {
        const struct pci_range *range = &function->ranges[i];

        rc = range->ports
                 ? hv_device_ports(plug->life.hv, plug->domid, range->first, range->count, allow)
                 : hv_device_memory(plug->life.hv, plug->domid, range->first, range->count, allow);
    }
    return rc != 0 ? err_set_errno(err, -rc, "device %s: the hypervisor refuses", function->name)
                   : 0;
}

struct nodes {
    struct plug *plug;
    const struct pci_function *function;
    bool taken; /* from a driver that gets it back */
};

static int nodes_body(xs_transaction_t transaction, void *context)
{
    const struct nodes *nodes = context;
    uint32_t domid = nodes->plug->domid;
    struct node front = device_frontend(nodes->plug->life.xs, transaction, domid, "pci", 0);
    struct node back = device_backend(nodes->plug->life.xs, transaction, domid, "pci", 0);

    device_make_pair(&front, &back, domid);
    node_put(&back, "key-0", "%s", nodes->function->name);
    node_put(&back, "dev-0", "%s", nodes->function->name);
    node_put(&back, "opts-0", "msitranslate=0,power_mgmt=0,permissive=0");
    node_put(&back, "state-0", "%d", NODE_STATE_INITIALISING);
    node_put(&back, "num_devs", "1");
    node_put(&back, "taken", "%d", nodes->taken);
    return front.error != 0 ? front.error : back.error;
}

/* The device's nodes, and the guest's consent. */
static int offer(struct plug *plug, const struct pci_function *function, bool taken,
                 struct err *err)
{
    struct device_name name = {.xs = plug->life.xs, .domid = plug->domid, .kind = "pci"};
    struct nodes nodes = {.plug = plug, .function = function, .taken = taken};
    int rc = node_transaction(plug->life.xs, nodes_body, &nodes);

    if (rc != 0) {
        return err_set_errno(err, -rc, "cannot write store nodes");
    }
    rc = plug->paused ? 0 : device_wait_connected(&name, &plug->patience, err);
    if (rc != 0) {
        struct err ignored = {0};

        device_unplug(&name, true, &plug->patience, &ignored);
        err_prefix(err, "device %s", function->name);
    }
    return rc;
}

static int attach(struct plug *plug, const struct vane_args *args, const char *device,
                  struct err *err)
{
    struct search search = {.name = device, .domid = plug->domid};
    struct pci_function function;
    struct err ignored = {0};
    bool take;
    int rc = pci_read(PCI_SYSFS, device, &function, err);

    rc = rc != 0 ? rc : check_protection(plug, args, device, err);
    rc = rc != 0 ? rc : check_function(args, &function, err);
    rc = rc != 0 ? rc : plug_each(&plug->life, "pci", NULL, search_one, &search, err);
    if (rc == 0 && search.taken) {
        rc = err_set(err, EBUSY, "device %s: %s has it", device, search.owner);
    } else if (rc == 0 && search.has_one) {
        rc = err_set(err, EBUSY, "the guest has a device already, and its driver takes but one");
    }
    rc = rc != 0 ? rc : device_driver_check("xen-pciback", "xen-pciback", err);
    if (rc != 0) {
        return rc;
    }
    take = strcmp(function.driver, PCI_BACK) != 0;
    rc = take ? pci_take(PCI_SYSFS, &function, err) : 0;
    rc = rc != 0 ? rc : permit(plug, &function, true, err);
    rc = rc != 0 ? rc : offer(plug, &function, take && function.driver[0] != '\0', err);
    if (rc != 0) {
        permit(plug, &function, false, &ignored);
        if (take) {
            pci_give_back(PCI_SYSFS, device, &ignored);
        }
    }
    return rc;
}

/* The device a command names. Returns: false after a report. */
static bool device_of(const struct vane_args *args, char name[PCI_NAME_BYTES])
{
    if (pci_name(args->operands[1], name)) {
        return true;
    }
    vane_error("%s: a device is named as in 00:05.0 or 0000:00:05.0, not '%s'", args->command->name,
               args->operands[1]);
    return false;
}

/* What both do under the life lock: no two of them at one device. */
static int run_locked(const struct vane_args *args,
                      int (*work)(struct plug *plug, const struct vane_args *args,
                                  const char *device, struct err *err))
{
    char device[PCI_NAME_BYTES];
    struct err err = {0};
    struct plug plug;
    int lock;
    int rc;

    if (!device_of(args, device)) {
        return VANE_USAGE;
    }
    rc = plug_open(&plug, args, &err);
    if (rc == 0) {
        rc = lock = life_lock(&err);
        if (lock >= 0) {
            rc = work(&plug, args, device, &err);
            close(lock);
        }
        plug_close(&plug);
    }
    return plug_status(rc, &err);
}

static int run_attach(const struct vane_args *args)
{
    return run_locked(args, attach);
}

/* --- detach ------------------------------------------------------------------------------ */

static int detach(struct plug *plug, const struct vane_args *args, const char *device,
                  struct err *err)
{
    struct device_name name = {.xs = plug->life.xs, .domid = plug->domid, .kind = "pci"};
    struct node back = device_backend(plug->life.xs, XBT_NULL, plug->domid, "pci", 0);
    struct search search = {.name = device, .domid = plug->domid};
    struct pci_function function;
    uint64_t taken = 0;
    int rc = plug_each(&plug->life, "pci", NULL, search_one, &search, err);

    if (rc != 0 || !search.ours) {
        return rc != 0 ? rc : err_set(err, ENOENT, "device %s: the guest has it not", device);
    }
    (void)!node_read_number(&back, "taken", &taken);
    rc = device_unplug(&name, vane_option(args, 'f') != NULL, &plug->patience, err);
    if (rc != 0) {
        err_prefix(err, "device %s", device);
        return rc;
    }
    rc = pci_read(PCI_SYSFS, device, &function, err);
    rc = rc != 0 ? rc : permit(plug, &function, false, err);
    return rc != 0 || taken == 0 ? rc : pci_give_back(PCI_SYSFS, device, err);
}

static int run_detach(const struct vane_args *args)
{
    return run_locked(args, detach);
}

/* --- list -------------------------------------------------------------------------------- */

static int list_one(struct plug_device *device, void *context)
{
    struct plug_list *list = context;
    char name[32];

    plug_text(device, "dev-0", name, sizeof(name));
    if (list->array != NULL) {
        struct json_object *out = json_object_new_object();

        json_object_object_add(out, "domain", json_object_new_string(device->domain));
        json_object_object_add(out, "domain_id", json_object_new_int64(device->domid));
        json_object_object_add(out, "device", json_object_new_string(name));
        json_object_object_add(out, "state", json_object_new_string(plug_state(device)));
        json_object_array_add(list->array, out);
        return 0;
    }
    vane_table_cell(list->table, "%s", device->domain);
    vane_table_cell(list->table, "%s", name);
    vane_table_cell(list->table, "%s", plug_state(device));
    return 0;
}

static int run_list(const struct vane_args *args)
{
    static const char *const headings[] = {"DOMAIN", "DEVICE", "STATE"};

    return plug_list(args, "pci", headings, 3, list_one);
}

/* --- assignable -------------------------------------------------------------------------- */

struct assignable {
    struct plug_list list;
    bool all;
};

static int assignable_one(const struct pci_function *function, void *context)
{
    const struct assignable *assignable = context;
    bool held = strcmp(function->driver, PCI_BACK) == 0;
    char id[16];

    if (!held && !assignable->all) {
        return 0;
    }
    snprintf(id, sizeof(id), "%04x:%04x", function->vendor, function->device);
    if (assignable->list.array != NULL) {
        struct json_object *out = json_object_new_object();

        json_object_object_add(out, "device", json_object_new_string(function->name));
        json_object_object_add(out, "id", json_object_new_string(id));
        json_object_object_add(out, "class", json_object_new_int64(function->class));
        json_object_object_add(out, "driver", json_object_new_string(function->driver));
        json_object_object_add(out, "message_interrupts",
                               json_object_new_boolean(function->message));
        json_object_object_add(out, "assignable", json_object_new_boolean(held));
        json_object_array_add(assignable->list.array, out);
        return 0;
    }
    vane_table_cell(assignable->list.table, "%s", function->name);
    vane_table_cell(assignable->list.table, "%s", id);
    vane_table_cell(assignable->list.table, "%06x", function->class);
    vane_table_cell(assignable->list.table, "%s",
                    function->driver[0] != '\0' ? function->driver : "-");
    vane_table_cell(assignable->list.table, "%s", function->message ? "message" : "line");
    return 0;
}

static int run_assignable(const struct vane_args *args)
{
    static const char *const headings[] = {"DEVICE", "ID", "CLASS", "DRIVER", "INTERRUPT"};
    struct assignable assignable = {.all = vane_option(args, 'a') != NULL};
    struct err err = {0};

    if (args->json) {
        assignable.list.array = json_object_new_array();
    } else {
        assignable.list.table = vane_table_new(headings, 5);
    }
    if (pci_each(PCI_SYSFS, assignable_one, &assignable, &err) != 0) {
        json_object_put(assignable.list.array);
        vane_table_free(assignable.list.table);
        return vane_fail(&err);
    }
    return args->json ? vane_print_json(assignable.list.array)
                      : vane_table_print(assignable.list.table);
}

/* --- table ------------------------------------------------------------------------------- */

static const struct vane_option assignable_options[] = {
    {'a', "all", NULL, "those too that drivers of the control domain have"},
    {0, NULL, NULL, NULL},
};

static const struct vane_option attach_options[] = {
    {'u', "unsafe", NULL, "give it although the guest can reach all memory with it"},
    {'k', "take", NULL, "take it from the control domain's driver"},
    {'t', "timeout", "SECONDS", "longest time to wait for the guest (default 60)"},
    {0, NULL, NULL, NULL},
};

const struct vane_command vane_commands_pci[] = {
    {
        .name = "pci assignable",
        .operands = "",
        .summary = "list the PCI devices that the control domain holds ready for guests",
        .details = "Those are the ones its driver pciback has.",
        .json = true,
        .options = assignable_options,
        .run = run_assignable,
    },
    {
        .name = "pci attach",
        .operands = "DOMAIN DEVICE",
        .summary = "give a running guest a PCI device of the machine",
        .details = "DEVICE is as in 00:05.0. The control domain's kernel needs the module "
                   "xen-pciback, the guest's xen-pcifront. The device must be able to interrupt "
                   "by message (MSI or MSI-X), and a guest can have one.\n\n"
                   "Without an IOMMU a device reads and writes any memory its driver tells it "
                   "to, the hypervisor's too. That is refused but for --unsafe, which makes "
                   "this guest as powerful as the control domain.",
        .min_operands = 2,
        .max_operands = 2,
        .options = attach_options,
        .run = run_attach,
    },
    {
        .name = "pci detach",
        .operands = "DOMAIN DEVICE",
        .summary = "take a PCI device from a running guest",
        .details = "One that attach has taken from a driver goes back to it, another stays "
                   "assignable.",
        .min_operands = 2,
        .max_operands = 2,
        .options = plug_detach_options,
        .run = run_detach,
    },
    {
        .name = "pci list",
        .operands = "[DOMAIN]",
        .summary = "list the PCI devices of a guest, or of all",
        .max_operands = 1,
        .json = true,
        .run = run_list,
    },
    {.name = NULL},
};
