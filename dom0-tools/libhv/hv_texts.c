/* SPDX-License-Identifier: MIT */
/*
 * libhv, texts: the tree of short texts that the hypervisor shows the control domain, through
 * libxenhypfs. A hypervisor without the tree, or without the folder asked for, has no texts: that
 * is no error. Called by vane.
 */
#include "dom0-tools/libhv/hv_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <xenhypfs.h>

#define PATH_BYTES 256

/* Reads one entry of the folder; true when it is a text. */
static bool read_text(xenhypfs_handle *hypfs, const char *folder, const char *name,
                      struct hv_text *text)
{
    char path[PATH_BYTES];

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    char *value = xenhypfs_read(hypfs, path);
    if (value == NULL) {
        return false;
    }
    snprintf(text->name, sizeof(text->name), "%s", name);
    snprintf(text->value, sizeof(text->value), "%s", value);
    free(value);
    return true;
}

size_t hv_texts(const char *folder, struct hv_text *texts, size_t max)
{
    xenhypfs_handle *hypfs = xenhypfs_open(&hv_quiet, 0);
    unsigned int count = 0;
    size_t stored = 0;

    if (hypfs == NULL) {
        return 0;
    }
    struct xenhypfs_dirent *entries = xenhypfs_readdir(hypfs, folder, &count);
    for (unsigned int i = 0; entries != NULL && i < count && stored < max; i++) {
        if (entries[i].type == xenhypfs_type_string &&
            read_text(hypfs, folder, entries[i].name, &texts[stored])) {
            stored++;
        }
    }
    free(entries);
    xenhypfs_close(hypfs);
    return stored;
}
