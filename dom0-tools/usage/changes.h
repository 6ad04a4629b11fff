/* SPDX-License-Identifier: MIT */
/*
 * What happened to the guests between two looks at them: pure, so every rule is tested with made-up
 * states. Used by vane events.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CHANGES_NAME_BYTES 65
#define CHANGES_DETAIL_BYTES 128

struct changes_domain {
    uint32_t domid;
    uint8_t uuid[16];
    char name[CHANGES_NAME_BYTES];
    bool paused;
    bool stopped;       /* has shut down and still exists */
    const char *reason; /* why, when stopped */
    uint64_t target_kib;
};

struct changes_device {
    const char *kind; /* "disk" or "net" */
    uint32_t domid;
    unsigned int id;
    char label[32]; /* xvdb, or a hardware address */
    bool connected;
};

/* Everything at one moment, in any order. */
struct changes_state {
    struct changes_domain *domains;
    size_t domain_count;
    struct changes_device *devices;
    size_t device_count;
};

/* One thing that happened. */
struct change {
    const char *event; /* created, gone, paused, resumed, stopped, renamed, memory, disk-attached,
                        * disk-detached, net-attached, net-detached */
    uint32_t domid;
    const char *name;
    char detail[CHANGES_DETAIL_BYTES]; /* "" for none */
};

/* Adds an element, zeroed, good until the next call; NULL without memory. */
struct changes_domain *changes_add_domain(struct changes_state *state);
struct changes_device *changes_add_device(struct changes_state *state);
void changes_free(struct changes_state *state);

/* Tells what is different: devices that went, domains that went, domains that came, what changed of
 * those that stayed, devices that came. Returns: how many things. */
size_t changes_compare(const struct changes_state *before, const struct changes_state *after,
                       void (*tell)(const struct change *change, void *context), void *context);
