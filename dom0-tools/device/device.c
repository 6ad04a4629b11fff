/* SPDX-License-Identifier: MIT */
/*
 * What disks, network cards and PCI devices have in common: node pairs, waiting, removal. See
 * device.h.
 *
 * Removal: the back end is told it is offline and closing, then the front end's nodes disappear;
 * the kernel takes that as the guest's end of the device being gone, lets go of everything and
 * writes Closed. Only then the back end's nodes are removed, because that order is what makes sure
 * the disk is free when the call returns.
 */
#include "dom0-tools/device/device.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dom0-tools/device/device_internal.h"
#include "dom0-tools/device/disk_users.h"
#include "dom0-tools/device/hostdev.h"
#include "dom0-tools/device/nbd.h"

static const char *const kinds[] = {"vbd", "vif", "pci"};

#define KIND_COUNT (sizeof(kinds) / sizeof(kinds[0]))

struct node device_frontend(struct xs_handle *xs, xs_transaction_t transaction, uint32_t domid,
                            const char *kind, unsigned int id)
{
    return node_at(xs, transaction, "/local/domain/%u/device/%s/%u", domid, kind, id);
}

struct node device_backend(struct xs_handle *xs, xs_transaction_t transaction, uint32_t domid,
                           const char *kind, unsigned int id)
{
    return node_at(xs, transaction, "/local/domain/%u/backend/%s/%u/%u", DEVICE_BACKEND_DOMID, kind,
                   domid, id);
}

void device_make_pair(struct node *front, struct node *back, uint32_t domid)
{
    node_make(front, domid, DEVICE_BACKEND_DOMID);
    node_put(front, "backend", "%s", back->path);
    node_put(front, "backend-id", "%u", DEVICE_BACKEND_DOMID);
    node_put(front, "state", "%d", NODE_STATE_INITIALISING);
    node_make(back, DEVICE_BACKEND_DOMID, domid);
    node_put(back, "frontend", "%s", front->path);
    node_put(back, "frontend-id", "%u", domid);
    node_put(back, "online", "1");
    node_put(back, "state", "%d", NODE_STATE_INITIALISING);
}

int device_driver_check(const char *kind, const char *module, struct err *err)
{
    char path[128];

    snprintf(path, sizeof(path), "/sys/bus/xen-backend/drivers/%s", kind);
    if (access(path, F_OK) != 0) {
        return err_set(err, ENODEV, "the kernel has no %s driver: load the module %s", kind,
                       module);
    }
    return 0;
}

int device_stopped(int number, struct err *err)
{
    return number == EINTR ? err_set(err, EINTR, "interrupted")
                           : err_set(err, number, "the guest has gone");
}

/* One back end being waited for. */
struct ready_wait {
    struct node back;
    uint32_t domid;
    unsigned int id;
    bool (*ready)(uint32_t domid, unsigned int id);
    enum node_state state;
    const struct device_patience *patience;
    int stopped;
};

static bool ready_or_failed(void *context)
{
    struct ready_wait *wait = context;

    wait->state = node_read_state(&wait->back);
    if (wait->state >= NODE_STATE_CLOSING) {
        return true;
    }
    if (wait->patience->stop != NULL) {
        wait->stopped = wait->patience->stop(wait->patience->context);
    }
    return wait->stopped != 0 || (wait->ready != NULL ? wait->state >= NODE_STATE_INIT_WAIT &&
                                                            wait->ready(wait->domid, wait->id)
                                                      : wait->state >= NODE_STATE_INITIALISED);
}

int device_wait_ready(struct device_set *set, const char *kind, unsigned int id,
                      bool (*ready)(uint32_t domid, unsigned int id), struct err *err)
{
    struct ready_wait wait = {
        .back = device_backend(set->xs, XBT_NULL, set->domid, kind, id),
        .domid = set->domid,
        .id = id,
        .ready = ready,
        .patience = &set->patience,
    };
    struct node report = node_at(set->xs, XBT_NULL, "/local/domain/%u/error/backend/%s/%u/%u",
                                 DEVICE_BACKEND_DOMID, kind, set->domid, id);
    char text[256];

    if (node_wait(set->xs, wait.back.path, ready_or_failed, &wait, set->patience.timeout_ms) != 0) {
        return err_set(err, ETIMEDOUT, "the back end does not answer (state %d)", wait.state);
    }
    if (wait.stopped != 0) {
        return device_stopped(wait.stopped, err);
    }
    if (wait.state < NODE_STATE_CLOSING) {
        return 0;
    }
    if (node_read(&report, "error", text, sizeof(text)) != 0) {
        snprintf(text, sizeof(text), "the back end gave up");
    }
    return err_set(err, EIO, "%s", text);
}

int device_check(struct xs_handle *xs, const struct vane_config *config, struct err *err)
{
    int rc = disk_check(xs, config, err);

    rc = rc != 0 ? rc : net_check(config, err);
    return rc != 0 ? rc : hostdev_check(xs, config, err);
}

void device_set_init(struct device_set *set, struct xs_handle *xs, const struct vane_config *config)
{
    *set = (struct device_set){
        .xs = xs, .config = config, .patience = {.timeout_ms = DEVICE_TIMEOUT_MS}};
    for (size_t i = 0; i < CONFIG_MAX_DISKS; i++) {
        set->loops[i] = -1;
    }
}

int device_begin(struct device_set *set, uint32_t domid, struct err *err)
{
    int rc = 0;

    set->domid = domid;
    for (size_t i = 0; i < set->config->disk_count && rc == 0; i++) {
        rc = disk_begin(set, i, err);
    }
    for (size_t i = 0; i < set->config->net_count && rc == 0; i++) {
        rc = net_begin(set, i, err);
    }
    return rc != 0 ? rc : hostdev_begin(set, err);
}

int device_finish(struct device_set *set, struct err *err)
{
    int rc = 0;

    for (size_t i = 0; i < set->config->disk_count && rc == 0; i++) {
        rc = disk_finish(set, i, err);
    }
    for (size_t i = 0; i < set->config->net_count && rc == 0; i++) {
        rc = net_finish(set, i, err);
    }
    return rc != 0 ? rc : hostdev_finish(set, err);
}

void device_set_end(struct device_set *set)
{
    for (size_t i = 0; i < CONFIG_MAX_DISKS; i++) {
        if (set->loops[i] >= 0) {
            close(set->loops[i]);
            set->loops[i] = -1;
        }
    }
}

/* Tells one back end to close; in a transaction so that no node comes back to life. */
static int close_body(xs_transaction_t transaction, void *context)
{
    struct node back = *(const struct node *)context;
    enum node_state state;

    back.transaction = transaction;
    state = node_read_state(&back);
    if (state != NODE_STATE_UNKNOWN) {
        node_put(&back, "online", "0");
    }
    if (state != NODE_STATE_UNKNOWN && state != NODE_STATE_CLOSED) {
        node_put(&back, "state", "%d", NODE_STATE_CLOSING);
    }
    return back.error;
}

/* Calls visit() for each of a domain's back ends of one kind. */
static int for_each_backend(struct xs_handle *xs, uint32_t domid, const char *kind,
                            int (*visit)(struct xs_handle *xs, uint32_t domid, const char *kind,
                                         unsigned int id))
{
    struct node parent =
        node_at(xs, XBT_NULL, "/local/domain/%u/backend/%s/%u", DEVICE_BACKEND_DOMID, kind, domid);
    unsigned int count;
    char **ids = node_list(&parent, &count);
    int rc = 0;

    for (unsigned int i = 0; ids != NULL && i < count; i++) {
        int one = visit(xs, domid, kind, (unsigned int)strtoul(ids[i], NULL, 10));

        rc = rc != 0 ? rc : one;
    }
    free(ids);
    return rc;
}

int device_backend_close(struct xs_handle *xs, uint32_t domid, const char *kind, unsigned int id)
{
    struct node back = device_backend(xs, XBT_NULL, domid, kind, id);

    return node_transaction(xs, close_body, &back);
}

/* One back end whose end is awaited. */
struct closed_wait {
    struct node back;
    char driver[128]; /* exists while a driver is bound to the device */
    const struct device_patience *patience;
    int stopped;
};

static bool is_closed(void *context)
{
    struct closed_wait *wait = context;
    enum node_state state = node_read_state(&wait->back);

    if (wait->patience->stop != NULL) {
        wait->stopped = wait->patience->stop(wait->patience->context);
    }
    return wait->stopped != 0 || state == NODE_STATE_CLOSED || state == NODE_STATE_UNKNOWN ||
           access(wait->driver, F_OK) != 0;
}

int device_backend_wait(const struct device_name *name, const struct device_patience *patience)
{
    struct closed_wait wait = {
        .back = device_backend(name->xs, XBT_NULL, name->domid, name->kind, name->id),
        .patience = patience,
    };
    int rc;

    snprintf(wait.driver, sizeof(wait.driver), "/sys/bus/xen-backend/devices/%s-%u-%u/driver",
             name->kind, name->domid, name->id);
    rc = node_wait(name->xs, wait.back.path, is_closed, &wait, patience->timeout_ms);
    return rc != 0 ? rc : -wait.stopped;
}

static int backend_wait(struct xs_handle *xs, uint32_t domid, const char *kind, unsigned int id)
{
    const struct device_patience usual = {.timeout_ms = DEVICE_TIMEOUT_MS};

    return device_backend_wait(
        &(struct device_name){.xs = xs, .domid = domid, .kind = kind, .id = id}, &usual);
}

void device_backend_forget(struct xs_handle *xs, uint32_t domid, const char *kind, unsigned int id)
{
    struct node back = device_backend(xs, XBT_NULL, domid, kind, id);
    struct node report = node_at(xs, XBT_NULL, "/local/domain/%u/error/backend/%s/%u/%u",
                                 DEVICE_BACKEND_DOMID, kind, domid, id);

    nbd_release(&back);
    if (strcmp(kind, "vbd") == 0) {
        disk_users_remove(&back, domid, id);
    }
    if (node_exists(&back)) {
        node_prune(&back, "/local/domain/0");
    }
    if (node_exists(&report)) {
        node_prune(&report, "/local/domain/0");
    }
}

static int backend_forget(struct xs_handle *xs, uint32_t domid, const char *kind, unsigned int id)
{
    device_backend_forget(xs, domid, kind, id);
    return 0;
}

int device_remove(struct xs_handle *xs, uint32_t domid)
{
    struct node front = node_at(xs, XBT_NULL, "/local/domain/%u/device", domid);
    int rc = 0;

    for (size_t i = 0; i < KIND_COUNT; i++) {
        for_each_backend(xs, domid, kinds[i], device_backend_close);
    }
    node_remove(&front);
    for (size_t i = 0; i < KIND_COUNT; i++) {
        int one = for_each_backend(xs, domid, kinds[i], backend_wait);

        rc = rc != 0 ? rc : one;
    }
    for (size_t i = 0; i < KIND_COUNT; i++) {
        struct node back = node_at(xs, XBT_NULL, "/local/domain/%u/backend/%s/%u",
                                   DEVICE_BACKEND_DOMID, kinds[i], domid);

        for_each_backend(xs, domid, kinds[i], backend_forget);
        if (node_exists(&back)) {
            node_prune(&back, "/local/domain/0");
        }
    }
    return rc;
}
