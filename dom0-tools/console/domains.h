/* SPDX-License-Identifier: MIT */
/*
 * Which domains the console daemon serves: those that live and whose console the store names.
 *
 * Events of the store that name a domain have that one looked at and no other. All are looked at
 * for an event that names none: the first of every watch, one of a store that names none ever
 * (Debian's), and one that stands for several that did not fit the queue.
 */
#pragma once

#include "dom0-tools/console/loop.h"
#include "dom0-tools/libhv/hv.h"

struct domains {
    struct hv *hv;
    struct loop *loop;
    bool came, went;                           /* some have, and it is not known which */
    uint8_t awaited[DOMID_FIRST_RESERVED / 8]; /* bits of those whose console is */
};

/* Starts to watch, with a new connection to the store. */
bool domains_watch(struct domains *domains);

/* The connection has ended, and watches with it. */
void domains_unwatched(struct domains *domains);

/* An event of a watch; domains_look() is to follow the last that is there. */
void domains_event(struct domains *domains, const char *path, const char *token);

/* Looks at all domains, if there was reason to. */
void domains_look(struct domains *domains);
