/* SPDX-License-Identifier: MIT */
/*
 * What `vane disk` and `vane net` share: a running guest held still for a change of its devices,
 * and going through the devices that exist.
 *
 * While a plug is open nobody else changes this guest's devices or takes it apart, and Ctrl-C is
 * held back; waits notice it and end early, cleaning up.
 */
#pragma once

#include <signal.h>

#include "dom0-tools/device/device.h"
#include "dom0-tools/device/node.h"
#include "dom0-tools/vane/life.h"
#include "dom0-tools/vane/vane.h"

#define PLUG_TIMEOUT_S 60ul
#define PLUG_TIMEOUT_MAX_S 86400ul

struct plug {
    struct life life;
    uint32_t domid;
    bool paused; /* by the administrator: it cannot answer */
    struct device_patience patience;
    int lock;
    sigset_t before;
};

/* Opens the connections and holds the guest that the first operand names; -t says how long its
 * waits are. Returns: 0 or a negative errno; -EINVAL without a report is one of the command line.
 */
int plug_open(struct plug *plug, const struct vane_args *args, struct err *err);
void plug_close(struct plug *plug);
/* The exit status of a command by what plug_open() or what followed has returned; reports `err`. */
int plug_status(int rc, const struct err *err);

/* Of `disk detach` and `net detach`. */
extern const struct vane_option plug_detach_options[];

/* A device of the control domain's nodes. */
struct plug_device {
    uint32_t domid;
    unsigned int id;
    char domain[65]; /* its name */
    struct node back;
};

/* Calls visit() for every device of a kind, of one guest or (who == NULL) of all, until it returns
 * something else than 0, and returns that. */
int plug_each(struct life *life, const char *kind, const char *who,
              int (*visit)(struct plug_device *device, void *context), void *context,
              struct err *err);

/* Reads a child of a device's nodes as text; "" if there is none. */
void plug_text(const struct plug_device *device, const char *child, char *text, size_t text_bytes);

/* A word for a device's state. */
const char *plug_state(const struct plug_device *device);

/* Opens the connections, calls plug_each() for the guest the first operand names or for all, and
 * prints the table or array that visit() has filled. */
struct plug_list {
    struct vane_table *table;  /* or */
    struct json_object *array; /* with --json */
};
int plug_list(const struct vane_args *args, const char *kind, const char *const headings[],
              size_t column_count, int (*visit)(struct plug_device *device, void *context));
