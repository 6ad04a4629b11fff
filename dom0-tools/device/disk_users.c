/* SPDX-License-Identifier: MIT */
/*
 * Which guests use what as a disk: /vane/disks/WHAT/DOMID-ID in the store, so that a new disk is
 * compared with those that are the same, not with everybody's. WHAT is "b" and the numbers of a
 * block device or "f" and device and inode of a file; a file's disk has both, for it is a loop or
 * nbd device too. Written and removed with a back end's nodes, which say the same by "users"; a
 * domain that other tools have destroyed leaves its entries, so the back end has the last word.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "dom0-tools/device/device_internal.h"
#include "dom0-tools/device/disk_users.h"

#define ROOT "/vane/disks"
#define NAME_BYTES 64

static void name_of(const struct disk_what *what, char name[NAME_BYTES])
{
    if (what->block) {
        snprintf(name, NAME_BYTES, "b%x-%x", major(what->device), minor(what->device));
    } else {
        snprintf(name, NAME_BYTES, "f%x-%x-%llx", major(what->device), minor(what->device),
                 (unsigned long long)what->inode);
    }
}

void disk_users_add(struct node *back, uint32_t domid, unsigned int id,
                    const struct disk_what *whats, size_t count)
{
    char names[2 * NAME_BYTES] = "";

    for (size_t i = 0; i < count; i++) {
        char name[NAME_BYTES];
        struct node user;

        name_of(&whats[i], name);
        user = node_at(back->xs, back->transaction, ROOT "/%s/%u-%u", name, domid, id);
        node_put(&user, NULL, "%s", "");
        back->error = back->error != 0 ? back->error : user.error;
        snprintf(names + strlen(names), sizeof(names) - strlen(names), "%s%s", i ? " " : "", name);
    }
    node_put(back, "users", "%s", names);
}

/* The entries of one disk. */
struct entries {
    struct xs_handle *xs;
    uint32_t domid;
    unsigned int id;
    char names[2 * NAME_BYTES];
};

static int remove_body(xs_transaction_t transaction, void *context)
{
    const struct entries *entries = context;
    char names[sizeof(entries->names)];
    char *rest = NULL;
    int rc = 0;

    memcpy(names, entries->names, sizeof(names));
    for (char *name = strtok_r(names, " ", &rest); name != NULL && rc == 0;
         name = strtok_r(NULL, " ", &rest)) {
        struct node user =
            node_at(entries->xs, transaction, ROOT "/%s/%u-%u", name, entries->domid, entries->id);

        rc = node_prune(&user, "");
    }
    return rc;
}

void disk_users_remove(const struct node *back, uint32_t domid, unsigned int id)
{
    struct entries entries = {.xs = back->xs, .domid = domid, .id = id};

    if (node_read(back, "users", entries.names, sizeof(entries.names)) == 0) {
        node_transaction(back->xs, remove_body, &entries);
    }
}

int disk_users_each(struct xs_handle *xs, const struct disk_what *what,
                    int (*visit)(void *context, const char *guest, const char *id), void *context)
{
    char name[NAME_BYTES];
    struct node parent;
    unsigned int count;
    char **users;
    int rc = 0;

    name_of(what, name);
    parent = node_at(xs, XBT_NULL, ROOT "/%s", name);
    users = node_list(&parent, &count);
    for (unsigned int i = 0; users != NULL && i < count && rc == 0; i++) {
        char *id = strchr(users[i], '-');

        if (id != NULL) {
            *id++ = '\0';
            rc = visit(context, users[i], id);
        }
    }
    free(users);
    return rc;
}
