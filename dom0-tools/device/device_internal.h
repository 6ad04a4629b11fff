/* SPDX-License-Identifier: MIT */
/*
 * What disk.c, net.c and device.c share. Paths: the front end of a device is
 * /local/domain/GUEST/device/KIND/ID, its back end /local/domain/0/backend/KIND/GUEST/ID.
 */
#pragma once

#include "dom0-tools/device/device.h"
#include "dom0-tools/device/node.h"

/* A back end has this long to react; an emulated machine under load is slow. */
#define DEVICE_TIMEOUT_MS 120000u

struct node device_frontend(struct xs_handle *xs, xs_transaction_t transaction, uint32_t domid,
                            const char *kind, unsigned int id);
struct node device_backend(struct xs_handle *xs, xs_transaction_t transaction, uint32_t domid,
                           const char *kind, unsigned int id);

/* Makes both directories and the nodes every device has. */
void device_make_pair(struct node *front, struct node *back, uint32_t domid);

/* Reports why a wait was ended early. Returns: -number. */
int device_stopped(int number, struct err *err);

/* Tells a back end to close. */
int device_backend_close(struct xs_handle *xs, uint32_t domid, const char *kind, unsigned int id);

/* Waits until a back end is closed, or has no driver that could. */
int device_backend_wait(const struct device_name *name, const struct device_patience *patience);

/* Removes what the control domain keeps of a device whose back end has let go. */
void device_backend_forget(struct xs_handle *xs, uint32_t domid, const char *kind, unsigned int id);

/* Waits until the back end has reached InitWait and ready() says what it made can be used, or, if
 * ready is NULL, until it has reached Initialised. A back end that gives up is reported in its own
 * words. */
int device_wait_ready(struct device_set *set, const char *kind, unsigned int id,
                      bool (*ready)(uint32_t domid, unsigned int id), struct err *err);

/* Errors: ENODEV unless the kernel has the back end driver of that kind. */
int device_driver_check(const char *kind, const char *module, struct err *err);

int disk_check(struct xs_handle *xs, const struct vane_config *config, struct err *err);
int disk_begin(struct device_set *set, size_t index, struct err *err);
int disk_finish(struct device_set *set, size_t index, struct err *err);

int net_check(const struct vane_config *config, struct err *err);
int net_begin(struct device_set *set, size_t index, struct err *err);
int net_finish(struct device_set *set, size_t index, struct err *err);
