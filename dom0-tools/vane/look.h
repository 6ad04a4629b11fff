/* SPDX-License-Identifier: MIT */
/*
 * Looking at domains: connections that also serve when there is no store daemon, then without
 * names, and the list of domains. Used by the commands that look at the machine or set what the
 * hypervisor keeps of a domain (see.c, cpu.c, top.c).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <xenstore.h>

#include "dom0-tools/base/err.h"
#include "dom0-tools/config/config.h"
#include "dom0-tools/libhv/hv.h"
#include "dom0-tools/vane/vane.h"

/* Open connections; xs is NULL without a store daemon. */
struct look {
    struct hv *hv;
    struct xs_handle *xs;
};

struct look_domains {
    struct xen_domctl_getdomaininfo *infos; /* by number, upwards; free() it */
    size_t count;
};

#define LOOK_NAME_BYTES (CONFIG_MAX_NAME_BYTES + 1)

/* Connects to the hypervisor and, for names, to the store if it runs.
 * Errors: ENODEV and so on, in words for the user. */
int look_open(struct look *look, bool names, struct err *err);
void look_close(struct look *look);

/* Reports a hypervisor call's failure: "what: reason". Returns: rc. */
int look_call_failed(struct err *err, int rc, const char *what);

/* A domain's name, "-" if it has none or nobody can tell. */
void look_name(const struct look *look, uint32_t domid, char *name, size_t name_bytes);

/* The names of all in a list, as look_name() gives them, asked for together; to be freed. NULL
 * without memory. */
char (*look_names(const struct look *look, const struct look_domains *list))[LOOK_NAME_BYTES];

/* All domains there are. */
int look_list(const struct look *look, struct look_domains *list, struct err *err);

/* The domain that is called `who`, or has that number. Errors: ESRCH. */
int look_find(const struct look *look, const char *who, struct xen_domctl_getdomaininfo *info,
              struct err *err);
/* All domains, or the one that the first operand names; free(list->infos). */
int look_selected(const struct look *look, const struct vane_args *args, struct look_domains *list,
                  struct err *err);
