/* SPDX-License-Identifier: MIT */
/* The front end of a device, as tests use it to deal with the control domain's own back ends. */
#pragma once

#include <xen/io/xenbus.h>

#include "lib.h"

/* What the rings of <xen/io/ring.h> ask for. */
#define xen_mb() __sync_synchronize()
#define xen_rmb() barrier()
#define xen_wmb() barrier()

struct front {
    const char *kind; /* "vbd", "vif" */
    unsigned id;
    char backend[128]; /* path of the back end */
    domid_t backend_id;
    uint32_t port; /* unbound, for the back end */
    unsigned refs; /* grants made so far */
};

/* Finds the device in the store and makes a port for it; needs grant_init(). */
void front_open(struct front *f, const char *kind, unsigned id);
/* A node of the front end's directory. */
uint64_t front_number(const struct front *f, const char *name);
void front_put(const struct front *f, const char *name, uint64_t value);
unsigned front_backend_state(const struct front *f);
/* Waits until the back end is in a state; false after half a minute. */
bool front_wait(const struct front *f, unsigned state);
/* Lets the back end use a page, and ends that whether it still does or not. */
grant_ref_t front_grant(struct front *f, const void *page, uint16_t flags);
void front_revoke(grant_ref_t ref);
