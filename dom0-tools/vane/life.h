/* SPDX-License-Identifier: MIT */
/*
 * A guest's life: from a configuration to a running domain, and back to nothing.
 *
 * What exists of a guest: the domain in the hypervisor, its nodes in the store, its devices, a file
 * that tells the monitor of it. life_create() makes all but the monitor, or nothing;
 * life_teardown() removes whatever is left of a domain, works from the store alone and may be
 * called by anybody any number of times, so `vane destroy`, the monitor and a later `vane create`
 * can all clean up after each other. Called by the commands in life.c.
 */
#pragma once

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <xenstore.h>

#include "dom0-tools/base/err.h"
#include "dom0-tools/builder/builder.h"
#include "dom0-tools/config/config.h"
#include "dom0-tools/libhv/hv.h"

#define LIFE_RUN_DIR "/run/paravane"
#define LIFE_LOG_DIR "/var/log/paravane"
#define LIFE_STATE_DIR "/var/lib/paravane"
#define LIFE_DUMP_DIR LIFE_STATE_DIR "/dump"

/* Open connections of a process. */
struct life {
    struct hv *hv;
    struct xs_handle *xs;
    unsigned int wait_ms; /* most to wait for a new guest's back ends; 0: the usual time */
};

/* --- life_domain.c ------------------------------------------------------------------------- */

/* Connects to hypervisor and store. Errors: ENODEV and so on, in words for the user. */
int life_open(struct life *life, struct err *err);
void life_close(struct life *life);

/* Holds SIGINT, SIGTERM and SIGHUP back, and lets them through again. */
void life_signals_hold(sigset_t *before);
void life_signals_release(const sigset_t *before);
/* Whether one of them waits to be let through. */
bool life_interrupted(void);

/* Takes the lock that is held from device_check() to the end of device_begin(); or the one that
 * whoever changes or takes apart a domain holds. Returns: a descriptor, closed to unlock. */
int life_lock(struct err *err);
int life_lock_domain(uint32_t domid, struct err *err);

/* Takes the lock of those who give PCI functions to guests or back to drivers, after the others. */
int life_lock_hostdevs(struct err *err);

/* Finds a guest by name or number. Errors: ESRCH; EPERM for the control domain. */
int life_find(struct life *life, const char *who, uint32_t *domid, struct err *err);

/* Tests what can be tested without creating anything: name, memory, devices, actions. */
int life_check(struct life *life, const struct vane_config *config,
               const struct builder_image *image, struct err *err);

/* Makes a paused domain of a configuration. On failure nothing is left. */
int life_create(struct life *life, const struct vane_config *config,
                const struct builder_image *image, uint32_t *domid, struct err *err);

/* Gives a new domain its monitor and lets it run unless it shall stay paused. On failure nothing is
 * left of it. */
int life_start(struct life *life, struct vane_config *config, bool paused, uint32_t domid,
               struct err *err);

/* Removes all that is left of a domain and waits until its memory is free. Of several who do so at
 * once one comes first: for the others there is nothing, and *found, if asked for, is false. */
int life_teardown(struct life *life, uint32_t domid, bool *found, struct err *err);

/* --- life_nodes.c -------------------------------------------------------------------------- */

/* Writes a new domain's nodes, claiming its name. Errors: EEXIST when name or uuid is taken. */
int life_nodes_create(struct life *life, uint32_t domid, const struct vane_config *config,
                      struct err *err);

/* Gives a guest another name, in its own nodes and its /vm entry. Errors: EEXIST. */
int life_nodes_rename(struct life *life, uint32_t domid, const char *name, struct err *err);

/* Writes a node below a guest's home, by which it is asked for something or is limited; `who`
 * stands for it in reports. Errors: ESRCH when it has gone, and then nothing is written. */
int life_nodes_ask(struct life *life, uint32_t domid, const char *who, struct err *err,
                   const char *name, const char *format, ...) __attribute__((format(printf, 6, 7)));

/* Adds what is known after building: rings and ports of store and console. */
int life_nodes_connect(struct life *life, const struct builder_guest *guest, struct err *err);

/* Removes a domain's nodes, its /vm entry too. */
void life_nodes_remove(struct life *life, uint32_t domid);

/* --- life_names.c -------------------------------------------------------------------------- */

/* Finds a domain by its name. */
bool life_name_find(struct xs_handle *xs, const char *name, uint32_t *domid);

/* Whether a name is not free; *domid has it. Without a look at all domains where all are ours. */
bool life_name_taken(struct xs_handle *xs, const char *name, uint32_t *domid);

/* Notes that a domain has a name, or has it no more. */
void life_name_claim(const char *name, uint32_t domid);
void life_name_drop(const char *name, uint32_t domid);

/* --- life_hostdev.c ------------------------------------------------------------------------ */

/* Refuses to give PCI functions to guests, which reach all memory with them, unless that is wanted;
 * `hint` says how to say so. Errors: EPERM. */
int life_hostdev_protection(struct life *life, bool unsafe, const char *hint, struct err *err);

/* Lets a guest reach a function's memory and ports, or no more. Taking goes through all. */
int life_hostdev_permit(struct life *life, uint32_t domid, const char *name, bool allow,
                        struct err *err);

/* Both for all that a configuration names. */
int life_hostdev_check(struct life *life, const struct vane_config *config, struct err *err);
int life_hostdev_permit_all(struct life *life, uint32_t domid, const struct vane_config *config,
                            struct err *err);

/* --- life_monitor.c ------------------------------------------------------------------------ */

/* Has the monitor watch the domain and act when it stops; starts the monitor if there is none.
 * Errors: those of writing to LIFE_RUN_DIR, EIO when no monitor can be started. */
int life_monitor_start(struct vane_config *config, uint32_t domid, struct err *err);

/* Where a watched domain's configuration stands. */
void life_monitor_path(uint32_t domid, char path[64]);

/* --- life_console.c ------------------------------------------------------------------------ */

/* Waits until the console daemon, if one runs, serves a new domain, whose log then has what it says
 * even if it ends at once. A daemon that does not answer keeps no guest from starting. */
void life_console_await(uint32_t domid);

/* Connects standard input and output to the guest's console until Ctrl-] or the guest's end. */
int life_console(struct life *life, uint32_t domid, struct err *err);

/* --- life.c -------------------------------------------------------------------------------- */

struct vane_args;

/* Creates a guest from a file, as the options of vane create say. Returns: an exit status. */
int life_run_create(const struct vane_args *args, const char *path);
