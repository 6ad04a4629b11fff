/* SPDX-License-Identifier: MIT */
/*
 * Who has which name. The store keeps names by domain, so finding one would be a look at all of
 * them; /run/paravane/names/NAME is a link whose text is the domain's number. It is a hint: the
 * store decides, and what is not there, like a guest of other tools, is looked for in the store.
 *
 * Names are claimed and given up under the lock of life_lock().
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dom0-tools/device/node.h"
#include "dom0-tools/storeclient/client.h"
#include "dom0-tools/vane/life.h"

#define FOLDER LIFE_RUN_DIR "/names"

static bool has_name(struct xs_handle *xs, const char *domid, const char *wanted)
{
    struct node home = node_at(xs, XBT_NULL, "/local/domain/%s", domid);
    char name[CONFIG_MAX_NAME_BYTES + 1];

    return node_read(&home, "name", name, sizeof(name)) == 0 && strcmp(name, wanted) == 0;
}

static bool find_by_walk(struct xs_handle *xs, const char *wanted, uint32_t *domid)
{
    struct node root = node_at(xs, XBT_NULL, "/local/domain");
    unsigned int count;
    char **ids = node_list(&root, &count);
    bool found = false;

    for (unsigned int i = 0; ids != NULL && i < count && !found; i++) {
        *domid = (uint32_t)strtoul(ids[i], NULL, 10);
        found = has_name(xs, ids[i], wanted);
    }
    free(ids);
    return found;
}

/* The link's path, or false for what can be no name. */
static bool link_path(const char *name, char path[256])
{
    return name[0] != '\0' && name[0] != '.' && strchr(name, '/') == NULL &&
           snprintf(path, 256, FOLDER "/%s", name) < 256;
}

static bool find_by_link(struct xs_handle *xs, const char *wanted, uint32_t *domid)
{
    char path[256];
    char text[16];
    ssize_t bytes = link_path(wanted, path) ? readlink(path, text, sizeof(text) - 1) : -1;

    if (bytes <= 0) {
        return false;
    }
    text[bytes] = '\0';
    *domid = (uint32_t)strtoul(text, NULL, 10);
    return has_name(xs, text, wanted);
}

bool life_name_find(struct xs_handle *xs, const char *name, uint32_t *domid)
{
    return find_by_link(xs, name, domid) || find_by_walk(xs, name, domid);
}

bool life_name_taken(struct xs_handle *xs, const char *name, uint32_t *domid)
{
    static const char *const paths[2] = {"/local/domain/0/name", "/libxl"};
    char *values[2];
    bool taken, others;

    if (find_by_link(xs, name, domid)) {
        return true;
    }
    *domid = 0;
    xs_read_many(xs, paths, 2, values);
    taken = values[0] != NULL && strcmp(values[0], name) == 0;
    others = values[1] != NULL;
    free(values[0]);
    free(values[1]);
    /* All of ours have their link, unless somebody has swept them away. */
    return taken || ((others || access(FOLDER, F_OK) != 0) && find_by_walk(xs, name, domid));
}

void life_name_claim(const char *name, uint32_t domid)
{
    char path[256];
    char text[16];

    snprintf(text, sizeof(text), "%u", domid);
    if (link_path(name, path)) {
        mkdir(FOLDER, 0755);
        unlink(path);
        if (symlink(text, path) != 0) {
            unlink(path); /* no hint is better than a wrong one */
        }
    }
}

void life_name_drop(const char *name, uint32_t domid)
{
    char path[256];
    char text[16];
    ssize_t bytes = link_path(name, path) ? readlink(path, text, sizeof(text) - 1) : -1;

    if (bytes > 0) {
        text[bytes] = '\0';
        if (strtoul(text, NULL, 10) == domid) {
            unlink(path);
        }
    }
}
