/* SPDX-License-Identifier: MIT */
/*
 * Guests' PCI functions in the store; see hostdev.h.
 *
 * To change what a guest has while it runs, slots get a new state and the back end as a whole is
 * set to Reconfiguring: the guest drops what is Closing and answers, the back end follows and says
 * Reconfigured, the guest looks what is new, and both are Connected again.
 */
#include "dom0-tools/device/hostdev.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dom0-tools/device/device_internal.h"

#define CLASS_BRIDGE 0x06

/* --- who has what ------------------------------------------------------------------------ */

static struct node back_of(struct xs_handle *xs, xs_transaction_t transaction, uint32_t domid)
{
    return device_backend(xs, transaction, domid, "pci", 0);
}

static unsigned int slots_of(const struct node *back)
{
    uint64_t count = 0;

    (void)!node_read_number(back, "num_devs", &count);
    return count < HOSTDEV_SLOTS ? (unsigned int)count : HOSTDEV_SLOTS;
}

/* A number in one of a slot's nodes; 0 when it is not there. */
static unsigned int slot_number(const struct node *back, const char *what, unsigned int slot)
{
    uint64_t value = 0;
    char name[16];

    snprintf(name, sizeof(name), "%s-%u", what, slot);
    return node_read_number(back, name, &value) == 0 ? (unsigned int)value : 0;
}

static void put_number(struct node *back, const char *what, unsigned int slot, unsigned int value)
{
    char name[16];

    snprintf(name, sizeof(name), "%s-%u", what, slot);
    node_put(back, name, "%u", value);
}

static int each_in(struct xs_handle *xs, xs_transaction_t transaction, uint32_t domid,
                   int (*visit)(unsigned int slot, const char *name, bool taken, void *context),
                   void *context)
{
    struct node back = back_of(xs, transaction, domid);
    unsigned int count = slots_of(&back);
    int rc = 0;

    for (unsigned int i = 0; i < count && rc == 0; i++) {
        char name[32];
        char key[16];

        snprintf(key, sizeof(key), "dev-%u", i);
        if (slot_number(&back, "state", i) != NODE_STATE_CLOSED &&
            node_read(&back, key, name, sizeof(name)) == 0) {
            rc = visit(i, name, slot_number(&back, "taken", i) == 1, context);
        }
    }
    return rc;
}

int hostdev_each(struct xs_handle *xs, uint32_t domid,
                 int (*visit)(unsigned int slot, const char *name, bool taken, void *context),
                 void *context)
{
    return each_in(xs, XBT_NULL, domid, visit, context);
}

/* A function being looked for. */
struct search {
    const char *name;
    unsigned int slot;
    bool taken;
};

/* Returns: 1 when it is the one. */
static int is_it(unsigned int slot, const char *name, bool taken, void *context)
{
    struct search *search = context;

    if (strcmp(name, search->name) != 0) {
        return 0;
    }
    search->slot = slot;
    search->taken = taken;
    return 1;
}

/* Finds a guest that has a function, another than `not_domid`. */
static bool find_owner(struct xs_handle *xs, xs_transaction_t transaction, struct search *search,
                       uint32_t not_domid, uint32_t *domid)
{
    struct node root =
        node_at(xs, transaction, "/local/domain/%u/backend/pci", DEVICE_BACKEND_DOMID);
    unsigned int count;
    char **ids = node_list(&root, &count);
    bool found = false;

    for (unsigned int i = 0; ids != NULL && i < count && !found; i++) {
        *domid = (uint32_t)strtoul(ids[i], NULL, 10);
        found = *domid != not_domid && each_in(xs, transaction, *domid, is_it, search) == 1;
    }
    free(ids);
    return found;
}

bool hostdev_owner(struct xs_handle *xs, const char *name, uint32_t *domid)
{
    struct search search = {.name = name};

    return find_owner(xs, XBT_NULL, &search, DEVICE_BACKEND_DOMID, domid);
}

/* --- checks ------------------------------------------------------------------------------ */

int hostdev_usable(struct xs_handle *xs, const struct pci_function *function, bool take,
                   const char *hint, struct err *err)
{
    uint32_t domid;
    char owner[65];

    if (function->class >> 16 == CLASS_BRIDGE) {
        return err_set(err, EINVAL, "device %s: it is a bridge, others are behind it",
                       function->name);
    }
    if (!function->message) {
        return err_set(err, EOPNOTSUPP,
                       "device %s: it interrupts by a line only, which others may share",
                       function->name);
    }
    if (hostdev_owner(xs, function->name, &domid)) {
        struct node home = node_at(xs, XBT_NULL, "/local/domain/%u", domid);

        if (node_read(&home, "name", owner, sizeof(owner)) != 0) {
            snprintf(owner, sizeof(owner), "domain %u", domid);
        }
        return err_set(err, EBUSY, "device %s: %s has it", function->name, owner);
    }
    if (strcmp(function->driver, PCI_BACK) != 0 && function->driver[0] != '\0' && !take) {
        return err_set(err, EBUSY, "device %s: the control domain's %s drives it (%s takes it)",
                       function->name, function->driver, hint);
    }
    return device_driver_check("xen-pciback", "xen-pciback", err);
}

/* Says where in the file a device stands that cannot be had. */
static int blame(const struct vane_config *config, const struct vane_hostdev *hostdev,
                 struct err *err)
{
    return hostdev->line == 0 ? -err->number
                              : err_prefix(err, "%s:%u: <hostdev>", config->file, hostdev->line);
}

static int not_held(const struct pci_function *function, struct err *err)
{
    return err_set(err, EBUSY,
                   "device %s: pciback does not hold it (attribute managed='yes' gives it to "
                   "pciback)",
                   function->name);
}

int hostdev_check(struct xs_handle *xs, const struct vane_config *config, struct err *err)
{
    int rc = 0;

    for (size_t i = 0; i < config->hostdev_count && rc == 0; i++) {
        const struct vane_hostdev *hostdev = &config->hostdevs[i];
        struct pci_function function;

        rc = pci_read(PCI_SYSFS, hostdev->address, &function, err);
        rc = rc != 0
                 ? rc
                 : hostdev_usable(xs, &function, hostdev->managed, "attribute managed='yes'", err);
        if (rc == 0 && strcmp(function.driver, PCI_BACK) != 0 && !hostdev->managed) {
            rc = not_held(&function, err);
        }
        rc = rc != 0 ? blame(config, hostdev, err) : 0;
    }
    return rc;
}

/* --- a new guest's ----------------------------------------------------------------------- */

static void put_slot(struct node *back, unsigned int slot, const char *function, bool taken)
{
    char name[16];

    snprintf(name, sizeof(name), "key-%u", slot);
    node_put(back, name, "%s", function);
    snprintf(name, sizeof(name), "dev-%u", slot);
    node_put(back, name, "%s", function);
    snprintf(name, sizeof(name), "opts-%u", slot);
    node_put(back, name, "msitranslate=0,power_mgmt=0,permissive=0");
    put_number(back, "taken", slot, taken);
    put_number(back, "state", slot, NODE_STATE_INITIALISING);
}

/* Functions that get a guest's first nodes. */
struct first {
    struct xs_handle *xs;
    uint32_t domid;
    unsigned int count;
    const char *names[HOSTDEV_SLOTS];
    bool taken[HOSTDEV_SLOTS];
};

static int first_body(xs_transaction_t transaction, void *context)
{
    const struct first *first = context;
    struct node front = device_frontend(first->xs, transaction, first->domid, "pci", 0);
    struct node back = back_of(first->xs, transaction, first->domid);

    device_make_pair(&front, &back, first->domid);
    for (unsigned int i = 0; i < first->count; i++) {
        put_slot(&back, i, first->names[i], first->taken[i]);
    }
    node_put(&back, "num_devs", "%u", first->count);
    return front.error != 0 ? front.error : back.error;
}

/* Has pciback have the function. */
static int bind_back(const struct vane_hostdev *hostdev, bool *taken, struct err *err)
{
    struct pci_function function;
    int rc = pci_read(PCI_SYSFS, hostdev->address, &function, err);

    if (rc == 0 && strcmp(function.driver, PCI_BACK) != 0) {
        if (!hostdev->managed) {
            return not_held(&function, err);
        }
        rc = pci_take(PCI_SYSFS, &function, err);
        *taken = rc == 0;
    }
    return rc;
}

int hostdev_begin(struct device_set *set, struct err *err)
{
    const struct vane_config *config = set->config;
    struct first first = {.xs = set->xs, .domid = set->domid};
    struct err ignored = {0};
    int rc = 0;

    for (size_t i = 0; i < config->hostdev_count && rc == 0; i++) {
        first.names[i] = config->hostdevs[i].address;
        rc = bind_back(&config->hostdevs[i], &first.taken[i], err);
        rc = rc != 0 ? blame(config, &config->hostdevs[i], err) : 0;
        first.count++;
    }
    if (rc == 0 && first.count != 0) {
        rc = node_transaction(set->xs, first_body, &first);
        rc = rc != 0 ? err_set_errno(err, -rc, "PCI devices: cannot write store nodes") : 0;
    }
    for (unsigned int i = 0; i < first.count && rc != 0; i++) {
        if (first.taken[i]) { /* nothing in the store says so */
            pci_give_back(PCI_SYSFS, first.names[i], &ignored);
        }
    }
    return rc;
}

int hostdev_finish(struct device_set *set, struct err *err)
{
    int rc = set->config->hostdev_count != 0 ? device_wait_ready(set, "pci", 0, NULL, err) : 0;

    return rc != 0 ? err_prefix(err, "PCI devices") : 0;
}

/* --- a running guest's ------------------------------------------------------------------- */

/* One slot's change, being asked for and waited for. */
struct change {
    const struct device_name *name;
    const char *function;
    bool taken;
    unsigned int slot;
    enum node_state wanted; /* of the slot in the end */
    const struct device_patience *patience;
    int stopped;
    int lock; /* closed when it has been asked for; -1: none */
};

static void unlock(int *lock)
{
    if (*lock >= 0) {
        close(*lock);
        *lock = -1;
    }
}

/* Both ends are at rest. */
static bool at_rest(const struct node *front, const struct node *back)
{
    return node_read_state(front) == NODE_STATE_CONNECTED &&
           node_read_state(back) == NODE_STATE_CONNECTED;
}

/* Asks for it. Returns: -EBUSY while the guest does not answer for what it has. */
static int ask_body(xs_transaction_t transaction, void *context)
{
    struct change *change = context;
    const struct device_name *name = change->name;
    struct node front = device_frontend(name->xs, transaction, name->domid, "pci", 0);
    struct node back = back_of(name->xs, transaction, name->domid);
    unsigned int count = slots_of(&back);

    if (!at_rest(&front, &back)) {
        return -EBUSY;
    }
    if (change->wanted == NODE_STATE_CLOSED) {
        put_number(&back, "state", change->slot, NODE_STATE_CLOSING);
    } else {
        change->slot = 0;
        while (change->slot < count &&
               slot_number(&back, "state", change->slot) != NODE_STATE_CLOSED) {
            change->slot++;
        }
        if (change->slot == HOSTDEV_SLOTS) {
            return -ENOSPC;
        }
        put_slot(&back, change->slot, change->function, change->taken);
        if (change->slot == count) {
            node_put(&back, "num_devs", "%u", count + 1);
        }
    }
    node_put(&back, "state", "%d", NODE_STATE_RECONFIGURING);
    return back.error;
}

static bool is_done(void *context)
{
    struct change *change = context;
    const struct device_name *name = change->name;
    struct node front = device_frontend(name->xs, XBT_NULL, name->domid, "pci", 0);
    struct node back = back_of(name->xs, XBT_NULL, name->domid);

    if (change->patience->stop != NULL) {
        change->stopped = change->patience->stop(change->patience->context);
    }
    return change->stopped != 0 || node_read_state(&back) == NODE_STATE_UNKNOWN ||
           at_rest(&front, &back);
}

/* Takes the request back, unless the guest has begun to follow it. */
static int unask_body(xs_transaction_t transaction, void *context)
{
    const struct change *change = context;
    const struct device_name *name = change->name;
    struct node front = device_frontend(name->xs, transaction, name->domid, "pci", 0);
    struct node back = back_of(name->xs, transaction, name->domid);

    if (node_read_state(&front) != NODE_STATE_CONNECTED ||
        node_read_state(&back) != NODE_STATE_RECONFIGURING) {
        return -EBUSY;
    }
    put_number(&back, "state", change->slot,
               change->wanted == NODE_STATE_CLOSED ? NODE_STATE_INITIALISED : NODE_STATE_CLOSED);
    node_put(&back, "state", "%d", NODE_STATE_CONNECTED);
    return back.error;
}

static int reconfigure(struct change *change, struct err *err)
{
    const struct device_name *name = change->name;
    struct node back = back_of(name->xs, XBT_NULL, name->domid);
    int rc = node_transaction(name->xs, ask_body, change);

    if (rc != 0) {
        return rc == -EBUSY    ? err_set(err, EBUSY, "the guest does not answer for those it has")
               : rc == -ENOSPC ? err_set(err, ENOSPC, "the guest has as many as it can")
                               : err_set_errno(err, -rc, "cannot write store nodes");
    }
    unlock(&change->lock);
    rc = node_wait(name->xs, back.path, is_done, change, change->patience->timeout_ms);
    if (rc == 0 && change->stopped == 0) {
        bool done = change->wanted == NODE_STATE_CLOSED ||
                    slot_number(&back, "state", change->slot) == (unsigned int)change->wanted;

        /* The back end does not mark a slot that it has emptied. */
        if (change->wanted == NODE_STATE_CLOSED || !done) {
            put_number(&back, "state", change->slot, NODE_STATE_CLOSED);
            put_number(&back, "taken", change->slot, 0);
        }
        return done ? 0 : err_set(err, EIO, "the back end does not do it; see the kernel's log");
    }
    if (node_transaction(name->xs, unask_body, change) != 0) {
        if (change->wanted != NODE_STATE_CLOSED) { /* who asked gives it back now */
            put_number(&back, "taken", change->slot, 0);
        }
        return err_set(err, rc != 0 ? ETIMEDOUT : change->stopped,
                       "the guest has begun to follow and has not finished");
    }
    return rc != 0 ? err_set(err, ETIMEDOUT, "the guest does not follow")
                   : device_stopped(change->stopped, err);
}

/* The first a guest gets: the device as a whole is new to it. */
static int add_first(const struct device_name *name, struct hostdev_gift *gift,
                     const struct device_patience *patience, struct err *err)
{
    struct first first = {.xs = name->xs,
                          .domid = name->domid,
                          .count = 1,
                          .names = {gift->function},
                          .taken = {gift->taken}};
    struct err ignored = {0};
    int rc = node_transaction(name->xs, first_body, &first);

    if (rc != 0) {
        return err_set_errno(err, -rc, "cannot write store nodes");
    }
    unlock(&gift->lock);
    rc = gift->answer ? device_wait_connected(name, patience, err) : 0;
    if (rc != 0) {
        device_unplug(name, true, patience, &ignored);
    }
    return rc;
}

int hostdev_add(const struct device_name *name, struct hostdev_gift gift,
                const struct device_patience *patience, struct err *err)
{
    struct change change = {.name = name,
                            .function = gift.function,
                            .taken = gift.taken,
                            .wanted = NODE_STATE_INITIALISED,
                            .patience = patience,
                            .lock = gift.lock};
    bool more = device_exists(name);
    int rc = more ? reconfigure(&change, err) : add_first(name, &gift, patience, err);

    unlock(more ? &change.lock : &gift.lock);
    return rc != 0 ? err_prefix(err, "device %s", gift.function) : 0;
}

static int count_one(unsigned int slot, const char *name, bool taken, void *context)
{
    (void)slot, (void)name, (void)taken;
    ++*(unsigned int *)context;
    return 0;
}

int hostdev_drop(const struct device_name *name, const char *function, bool force, bool *taken,
                 const struct device_patience *patience, struct err *err)
{
    struct search search = {.name = function};
    struct change change = {
        .name = name, .wanted = NODE_STATE_CLOSED, .patience = patience, .lock = -1};
    unsigned int count = 0;
    int rc = 0;

    if (hostdev_each(name->xs, name->domid, is_it, &search) != 1) {
        return err_set(err, ENOENT, "device %s: the guest has it not", function);
    }
    hostdev_each(name->xs, name->domid, count_one, &count);
    change.slot = search.slot;
    *taken = search.taken;
    if (count == 1) {
        rc = device_unplug(name, force, patience, err);
    } else if (force) {
        rc = err_set(err, EBUSY, "the guest has others, which --force would take, too");
    } else {
        rc = reconfigure(&change, err);
    }
    return rc != 0 ? err_prefix(err, "device %s", function) : 0;
}

/* --- what goes back ---------------------------------------------------------------------- */

static int note_taken(unsigned int slot, const char *name, bool taken, void *context)
{
    struct hostdev_list *list = context;

    (void)slot;
    if (taken && config_pci_name(name, list->names[list->count])) {
        list->count++;
    }
    return 0;
}

void hostdev_taken(struct xs_handle *xs, uint32_t domid, struct hostdev_list *list)
{
    list->count = 0;
    hostdev_each(xs, domid, note_taken, list);
}

/* A function that a guest is to have given back in the end. */
struct pass {
    struct xs_handle *xs;
    const char *name;
    uint32_t not_domid;
};

/* Returns: -ENOENT when no guest but that one has it. */
static int pass_body(xs_transaction_t transaction, void *context)
{
    const struct pass *pass = context;
    struct search search = {.name = pass->name};
    struct node back;
    uint32_t domid;

    if (!find_owner(pass->xs, transaction, &search, pass->not_domid, &domid)) {
        return -ENOENT;
    }
    back = back_of(pass->xs, transaction, domid);
    put_number(&back, "taken", search.slot, 1);
    return back.error;
}

int hostdev_return(struct xs_handle *xs, uint32_t domid, const struct hostdev_list *list,
                   struct err *err)
{
    struct err later = {0};
    int rc = 0;

    for (size_t i = 0; i < list->count; i++) {
        struct pass pass = {.xs = xs, .name = list->names[i], .not_domid = domid};
        int one = node_transaction(xs, pass_body, &pass);

        if (one != 0) {
            one = pci_give_back(PCI_SYSFS, list->names[i], rc == 0 ? err : &later);
        }
        rc = rc != 0 ? rc : one;
    }
    return rc;
}
