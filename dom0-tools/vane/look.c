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

#include "dom0-tools/config/config.h"
#include "dom0-tools/device/node.h"

#define MAX_DOMAINS 32752 /* every id there can be */
#define LIST_STEP 256

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

void look_name(const struct look *look, uint32_t domid, char *name, size_t name_bytes)
{
    if (look->xs != NULL) {
        struct node node = node_at(look->xs, XBT_NULL, "/local/domain/%u", domid);

        if (node_read(&node, "name", name, name_bytes) == 0) {
            return;
        }
    }
    snprintf(name, name_bytes, "%s", domid == 0 ? "Domain-0" : "-");
}

int look_list(const struct look *look, struct look_domains *list, struct err *err)
{
    size_t room = 0;
    uint32_t first = 0;
    int got;

    *list = (struct look_domains){0};
    do {
        if (list->count + LIST_STEP > room) {
            room = room * 2 + LIST_STEP;

            void *larger = realloc(list->infos, room * sizeof(*list->infos));

            if (larger == NULL) {
                free(list->infos);
                return err_set(err, ENOMEM, "no memory");
            }
            list->infos = larger;
        }
        got = hv_domain_info_list(look->hv, first, list->infos + list->count, LIST_STEP);
        if (got < 0) {
            free(list->infos);
            return look_call_failed(err, got, "cannot list the domains");
        }
        list->count += (size_t)got;
        first = got > 0 ? list->infos[list->count - 1].domain + 1u : 0;
    } while (got == LIST_STEP && list->count < MAX_DOMAINS);
    return 0;
}

int look_find(const struct look *look, const char *who, struct xen_domctl_getdomaininfo *info,
              struct err *err)
{
    struct look_domains list;
    char *end;
    unsigned long number = strtoul(who, &end, 10);
    bool by_number = who[0] >= '0' && who[0] <= '9' && *end == '\0';
    bool found = false;
    int rc = look_list(look, &list, err);

    if (rc != 0) {
        return rc;
    }
    for (size_t i = 0; i < list.count && !found; i++) {
        char name[CONFIG_MAX_NAME_BYTES + 1];

        look_name(look, list.infos[i].domain, name, sizeof(name));
        found = by_number ? list.infos[i].domain == number
                          : strcmp(name, "-") != 0 && strcmp(name, who) == 0;
        if (found) {
            *info = list.infos[i];
        }
    }
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
