/* SPDX-License-Identifier: MIT */
/*
 * PCI devices of a running guest: pci assignable, attach, detach, list.
 *
 * The control domain's xen-pciback gives a function to the guest's xen-pcifront. What the guest may
 * touch of it, its memory and ports, the hypervisor is told here; its message interrupts it is told
 * by the kernel.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "dom0-tools/device/hostdev.h"
#include "dom0-tools/device/pci.h"
#include "dom0-tools/vane/plug.h"

/* --- attach ------------------------------------------------------------------------------ */

/* Whether the guest can be given the device; reads it. */
static int check(struct plug *plug, const struct vane_args *args, const char *device,
                 struct pci_function *function, struct err *err)
{
    int rc = pci_read(PCI_SYSFS, device, function, err);

    if (rc != 0) {
        return rc;
    }
    rc = life_hostdev_protection(&plug->life, vane_option(args, 'u') != NULL, "--unsafe", err);
    if (rc != 0) {
        return err_prefix(err, "device %s", device);
    }
    return hostdev_usable(plug->life.xs, function, vane_option(args, 'k') != NULL, "--take", err);
}

/* Under both locks. `lock`, the life lock, is closed when the store says whose the device is: who
 * creates a guest does not wait until this one answers. pci.lock stays, so that nobody gives the
 * device anywhere before this has succeeded or put it back. */
static int attach(struct plug *plug, const struct vane_args *args, const char *device, int lock,
                  struct err *err)
{
    const struct device_name name = {.xs = plug->life.xs, .domid = plug->domid, .kind = "pci"};
    struct hostdev_gift gift = {.function = device, .answer = !plug->paused, .lock = lock};
    struct pci_function function;
    struct err ignored = {0};
    int rc = check(plug, args, device, &function, err);

    if (rc != 0) {
        close(lock);
        return rc;
    }
    gift.taken = strcmp(function.driver, PCI_BACK) != 0;
    rc = gift.taken ? pci_take(PCI_SYSFS, &function, err) : 0;
    rc = rc != 0 ? rc : life_hostdev_permit(&plug->life, plug->domid, device, true, err);
    if (rc == 0) {
        rc = hostdev_add(&name, gift, &plug->patience, err);
    } else {
        close(lock);
    }
    if (rc != 0) {
        life_hostdev_permit(&plug->life, plug->domid, device, false, &ignored);
        if (gift.taken) {
            pci_give_back(PCI_SYSFS, device, &ignored);
        }
    }
    return rc;
}

/* The device a command names. Returns: false after a report. */
static bool device_of(const struct vane_args *args, char name[CONFIG_PCI_NAME_BYTES])
{
    if (config_pci_name(args->operands[1], name)) {
        return true;
    }
    vane_error("%s: a device is named as in 00:05.0 or 0000:00:05.0, not '%s'", args->command->name,
               args->operands[1]);
    return false;
}

/* Runs work() under pci.lock; what claims a device has the life lock, too, and closes it. */
static int run_locked(const struct vane_args *args, bool claims,
                      int (*work)(struct plug *plug, const struct vane_args *args,
                                  const char *device, int lock, struct err *err))
{
    char device[CONFIG_PCI_NAME_BYTES];
    struct err err = {0};
    struct plug plug;
    int life, pci;
    int rc;

    if (!device_of(args, device)) {
        return VANE_USAGE;
    }
    rc = plug_open(&plug, args, &err);
    if (rc != 0) {
        return plug_status(rc, &err);
    }
    rc = life = claims ? life_lock(&err) : -1;
    if (life >= 0 || !claims) {
        rc = pci = life_lock_hostdevs(&err);
        if (pci >= 0) {
            rc = work(&plug, args, device, life, &err);
            close(pci);
        } else if (life >= 0) {
            close(life);
        }
    }
    plug_close(&plug);
    return plug_status(rc, &err);
}

static int run_attach(const struct vane_args *args)
{
    return run_locked(args, true, attach);
}

/* --- detach ------------------------------------------------------------------------------ */

/* Without the life lock, as when a guest ends: who creates one meanwhile, or has just found the
 * device free, looks at it once more under pci.lock. */
static int detach(struct plug *plug, const struct vane_args *args, const char *device, int lock,
                  struct err *err)
{
    const struct device_name name = {.xs = plug->life.xs, .domid = plug->domid, .kind = "pci"};
    bool taken = false;
    int rc;

    (void)lock;
    rc = hostdev_drop(&name, device, vane_option(args, 'f') != NULL, &taken, &plug->patience, err);

    rc = rc != 0 ? rc : life_hostdev_permit(&plug->life, plug->domid, device, false, err);
    return rc != 0 || !taken ? rc : pci_give_back(PCI_SYSFS, device, err);
}

static int run_detach(const struct vane_args *args)
{
    return run_locked(args, false, detach);
}

/* --- list -------------------------------------------------------------------------------- */

/* A row for one function of a guest. */
struct row {
    const struct plug_device *device;
    struct plug_list *list;
};

static int list_function(unsigned int slot, const char *name, bool taken, void *context)
{
    const struct row *row = context;
    const struct plug_device *device = row->device;

    (void)slot;
    if (row->list->array != NULL) {
        struct json_object *out = json_object_new_object();

        json_object_object_add(out, "domain", json_object_new_string(device->domain));
        json_object_object_add(out, "domain_id", json_object_new_int64(device->domid));
        json_object_object_add(out, "device", json_object_new_string(name));
        json_object_object_add(out, "state", json_object_new_string(plug_state(device)));
        json_object_object_add(out, "managed", json_object_new_boolean(taken));
        json_object_array_add(row->list->array, out);
        return 0;
    }
    vane_table_cell(row->list->table, "%s", device->domain);
    vane_table_cell(row->list->table, "%s", name);
    vane_table_cell(row->list->table, "%s", plug_state(device));
    return 0;
}

static int list_one(struct plug_device *device, void *context)
{
    struct row row = {.device = device, .list = context};

    return hostdev_each(device->back.xs, device->domid, list_function, &row);
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
                   "by message (MSI or MSI-X). A guest that is made with the device has it by "
                   "<hostdev> in its XML.\n\n"
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
        .details = "One that attach, or managed='yes' in the guest's XML, has given to pciback "
                   "goes back to the control domain's driver; another stays assignable. The same "
                   "happens to all that a guest has when it ends. Whatever the guest has mapped of "
                   "the device is unmapped.",
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
