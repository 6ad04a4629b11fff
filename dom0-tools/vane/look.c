/* SPDX-License-Identifier: MIT */
/*
 * Connections and the list of domains; see look.h.
 */
#include "dom0-tools/vane/look.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dom0-tools/device/node.h"
#include "dom0-tools/storeclient/client.h"

#define MAX_DOMAINS 32752 /* every id there can be */
#define LIST_STEP 128
/* What fits into a page: most machines have no more, and what is asked for is cleared first. */
#define LIST_FIRST ((HV_PAGE_BYTES - 64) / sizeof(struct xen_domctl_getdomaininfo))

int look_open(struct look *look, bool names, struct err *err)
{
    int rc = hv_open(&look->hv);

    look->xs = NULL;
    if (rc != 0) {
        return err_set(err, rc == -EACCES || rc == -EPERM ? EACCES : ENODEV,
                       "no hypervisor to talk to (%s): is this the control domain, and are you "
                       "root?",
                       strerror(-rc));
    }
    /* Without the daemon's socket libxenstore would wait on the kernel's device for ever. */
    if (names && access(xs_daemon_socket(), F_OK) == 0) {
        look->xs = xs_open(0);
    }
    return 0;
}

void look_close(struct look *look)
{
    if (look->xs != NULL) {
        xs_close(look->xs);
    }
    hv_close(look->hv);
}

int look_call_failed(struct err *err, int rc, const char *what)
{
    return err_set_errno(err, -rc, "%s", what);
}

static void take_name(char to[LOOK_NAME_BYTES], const char *name)
{
    size_t bytes = strlen(name) + 1;

    if (bytes <= LOOK_NAME_BYTES) {
        memcpy(to, name, bytes);
    }
}

/* Takes the names of all domains that the store knows, in one exchange. Those it does not tell stay
 * as they are. Returns: false for a store that cannot (Debian's). */
static bool take_names(const struct look *look, const struct look_domains *list,
                       char (*names)[LOOK_NAME_BYTES])
{
    char *pairs = xs_read_children(look->xs, "/local/domain", "name");
    char *at = pairs;

    while (at != NULL && *at != '\0') {
        char *end;
        unsigned long domid = strtoul(at, &end, 10);
        size_t low = 0, high = list->count;

        while (low < high) {
            size_t middle = (low + high) / 2;

            if (list->infos[middle].domain < domid) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        if (low < list->count && list->infos[low].domain == domid && *end == '\0') {
            take_name(names[low], end + 1);
        }
        at = end + strlen(end) + 1;
        at += strlen(at) + 1;
    }
    free(pairs);
    return pairs != NULL;
}

#define NAME_PATH_BYTES 40

/* Takes the names that are not there yet, one by one. */
static void read_names(const struct look *look, const struct look_domains *list,
                       char (*names)[LOOK_NAME_BYTES])
{
    char(*paths)[NAME_PATH_BYTES] = malloc(list->count * sizeof(*paths));
    const char **pointers = malloc(list->count * sizeof(*pointers));
    size_t *places = malloc(list->count * sizeof(*places));
    char **found = malloc(list->count * sizeof(*found));
    size_t count = 0;

    if (paths != NULL && pointers != NULL && places != NULL && found != NULL) {
        for (size_t i = 0; i < list->count; i++) {
            if (names[i][0] == '\0') {
                snprintf(paths[count], NAME_PATH_BYTES, "/local/domain/%u/name",
                         list->infos[i].domain);
                pointers[count] = paths[count];
                places[count++] = i;
            }
        }
        xs_read_many(look->xs, pointers, count, found);
        for (size_t i = 0; i < count; i++) {
            if (found[i] != NULL) {
                take_name(names[places[i]], found[i]);
                free(found[i]);
            }
        }
    }
    free(paths);
    free(pointers);
    free(places);
    free(found);
}

static void no_name(uint32_t domid, char *name, size_t name_bytes)
{
    snprintf(name, name_bytes, "%s", domid == 0 ? "Domain-0" : "-");
}

static size_t without_name(const struct look_domains *list, char (*names)[LOOK_NAME_BYTES])
{
    size_t count = 0;

    for (size_t i = 0; i < list->count; i++) {
        count += names[i][0] == '\0';
    }
    return count;
}

char (*look_names(const struct look *look, const struct look_domains *list))[LOOK_NAME_BYTES]
{
    char(*names)[LOOK_NAME_BYTES] = malloc((list->count + 1) * sizeof(*names));

    if (names == NULL) {
        return NULL;
    }
    for (size_t i = 0; i < list->count; i++) {
        names[i][0] = '\0';
    }
    if (look->xs != NULL) {
        /* One that was made or renamed meanwhile may be missing. */
        if (list->count < 2 || !take_names(look, list, names) || without_name(list, names) > 0) {
            read_names(look, list, names);
        }
    }
    for (size_t i = 0; i < list->count; i++) {
        if (names[i][0] == '\0') {
            no_name(list->infos[i].domain, names[i], sizeof(names[i]));
        }
    }
    return names;
}

void look_name(const struct look *look, uint32_t domid, char *name, size_t name_bytes)
{
    if (look->xs != NULL) {
        struct node node = node_at(look->xs, XBT_NULL, "/local/domain/%u", domid);

        if (node_read(&node, "name", name, name_bytes) == 0) {
            return;
        }
    }
    no_name(domid, name, name_bytes);
}

int look_list(const struct look *look, struct look_domains *list, struct err *err)
{
    size_t room = 0;
    size_t step = LIST_FIRST;
    size_t asked;
    uint32_t first = 0;
    int got;

    *list = (struct look_domains){0};
    do {
        if (list->count + step > room) {
            room = room * 2 + step;

            void *larger = realloc(list->infos, room * sizeof(*list->infos));

            if (larger == NULL) {
                free(list->infos);
                return err_set(err, ENOMEM, "no memory");
            }
            list->infos = larger;
        }
        got = hv_domain_info_list(look->hv, first, list->infos + list->count, step);
        if (got < 0) {
            free(list->infos);
            return look_call_failed(err, got, "cannot list the domains");
        }
        list->count += (size_t)got;
        first = got > 0 ? list->infos[list->count - 1].domain + 1u : 0;
        asked = step;
        step = LIST_STEP;
    } while ((size_t)got == asked && list->count < MAX_DOMAINS);
    return 0;
}

int look_find(const struct look *look, const char *who, struct xen_domctl_getdomaininfo *info,
              struct err *err)
{
    struct look_domains list;
    char *end;
    unsigned long number = strtoul(who, &end, 10);
    bool by_number = who[0] >= '0' && who[0] <= '9' && *end == '\0';
    char(*names)[LOOK_NAME_BYTES] = NULL;
    bool found = false;
    int rc = look_list(look, &list, err);

    if (rc != 0) {
        return rc;
    }
    if (!by_number && strcmp(who, "-") != 0) {
        names = look_names(look, &list);
    }
    for (size_t i = 0; i < list.count && !found; i++) {
        found = by_number ? list.infos[i].domain == number
                          : names != NULL && strcmp(names[i], who) == 0;
        if (found) {
            *info = list.infos[i];
        }
    }
    free(names);
    free(list.infos);
    if (!found && !by_number && look->xs == NULL) {
        return err_set(err, ESRCH,
                       "no domain '%s' (the store daemon does not run: only numbers "
                       "can be used)",
                       who);
    }
    return found ? 0 : err_set(err, ESRCH, "no domain '%s'", who);
}

int look_selected(const struct look *look, const struct vane_args *args, struct look_domains *list,
                  struct err *err)
{
    if (args->count == 0) {
        return look_list(look, list, err);
    }
    list->count = 1;
    list->infos = calloc(1, sizeof(*list->infos));
    if (list->infos == NULL) {
        return err_set(err, ENOMEM, "no memory");
    }

    int rc = look_find(look, args->operands[0], list->infos, err);

    if (rc != 0) {
        free(list->infos);
    }
    return rc;
}
