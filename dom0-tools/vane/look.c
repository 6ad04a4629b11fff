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

#define NAME_PATH_BYTES 40

/* Asks the store; NULL, or as many names or NULLs as there are paths. */
static char **read_names(const struct look *look, const struct look_domains *list)
{
    char(*paths)[NAME_PATH_BYTES] = malloc(list->count * sizeof(*paths));
    const char **pointers = malloc(list->count * sizeof(*pointers));
    char **found = malloc(list->count * sizeof(*found));

    if (look->xs != NULL && paths != NULL && pointers != NULL && found != NULL) {
        for (size_t i = 0; i < list->count; i++) {
            snprintf(paths[i], NAME_PATH_BYTES, "/local/domain/%u/name", list->infos[i].domain);
            pointers[i] = paths[i];
        }
        xs_read_many(look->xs, pointers, list->count, found);
    } else {
        free(found);
        found = NULL;
    }
    free(paths);
    free(pointers);
    return found;
}

static void no_name(uint32_t domid, char *name, size_t name_bytes)
{
    snprintf(name, name_bytes, "%s", domid == 0 ? "Domain-0" : "-");
}

char (*look_names(const struct look *look, const struct look_domains *list))[LOOK_NAME_BYTES]
{
    char(*names)[LOOK_NAME_BYTES] = malloc((list->count + 1) * sizeof(*names));
    char **found = read_names(look, list);

    for (size_t i = 0; i < list->count; i++) {
        bool usable = found != NULL && found[i] != NULL && strlen(found[i]) < sizeof(names[i]);

        if (names != NULL && usable) {
            memcpy(names[i], found[i], strlen(found[i]) + 1);
        } else if (names != NULL) {
            no_name(list->infos[i].domain, names[i], sizeof(names[i]));
        }
        if (found != NULL) {
            free(found[i]);
        }
    }
    free(found);
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
