/* SPDX-License-Identifier: MIT */
/*
 * The settings of an xl configuration file before anybody has asked what they mean. Private to
 * dom0-tools/config.
 */
#pragma once

#include "dom0-tools/config/xlcfg.h"

#define XL_MAX_SETTINGS 256
#define XL_MAX_ITEMS 256

/* One string or number, as written, and where. */
struct xl_item {
    char *text; /* escapes resolved; valid UTF-8, no control characters but tab and newline */
    unsigned int line;
};

struct xl_setting {
    char *key;
    unsigned int line;
    bool is_list;          /* value in brackets */
    struct xl_item *items; /* of a list any number, else one */
    size_t count;
};

struct xl_file {
    const char *name; /* for reports */
    struct err *err;  /* where they go */
    struct xl_setting settings[XL_MAX_SETTINGS];
    size_t count;
};

/* Reads the syntax. Errors: EBADMSG, ENOMEM; xl_close() is due in any case. */
int xl_open(struct xl_file *file, const char *data, size_t bytes);
void xl_close(struct xl_file *file);

/* Reports "file:line: words". Returns: -EBADMSG. */
int xl_error(struct xl_file *file, unsigned int line, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
int xl_no_memory(struct xl_file *file);

/* xlcfg_devices.c: append what one string of disk=, vif= or pci= describes. */
int xl_read_disk(struct xl_file *file, const struct xl_item *item, struct vane_config *config);
int xl_read_vif(struct xl_file *file, const struct xl_item *item, struct vane_config *config);
int xl_read_pci(struct xl_file *file, const struct xl_item *item, struct vane_config *config);
