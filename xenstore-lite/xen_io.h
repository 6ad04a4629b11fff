// SPDX-License-Identifier: MIT
/*
 * The machine below the store: rings of domains, their event channels, and the list of domains, by
 * the libraries of libxen-dev and xenfs.
 */
#pragma once

#include "xenstore-lite/server.h"

struct xen_io;

/*
 * Opens the devices, listens for news of domains and connects the control domain's kernel.
 * Errors: a negative errno; what failed has been printed.
 */
int xen_io_open(struct server *s, struct xen_io **out);
/* Requires: the server's connections are closed. */
void xen_io_close(struct xen_io *x);
/* How the server connects domains. */
const struct platform *xen_io_platform(struct xen_io *x);
/* Readable when an event is waiting. */
/* Tells the server what has become of the domains. */
void xen_io_look(struct xen_io *x);
int xen_io_fd(struct xen_io *x);
/* Takes the events that wait: wakes connections, looks after domains. */
void xen_io_events(struct xen_io *x);
