/* SPDX-License-Identifier: MIT */
/*
 * Holding a guest for a change of its devices, listing devices; see plug.h.
 */
#include "dom0-tools/vane/plug.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Whether it is pointless or unwanted to wait on. */
static int stop_waiting(void *context)
{
    const struct plug *plug = context;
    struct xen_domctl_getdomaininfo info;

    if (life_interrupted()) {
        return EINTR;
    }
    return hv_domain_info(plug->life.hv, plug->domid, &info) != 0 ||
                   (info.flags & (XEN_DOMINF_dying | XEN_DOMINF_shutdown)) != 0
               ? ESRCH
               : 0;
}

/* Locks the guest and sees that it runs. */
static int hold(struct plug *plug, const char *who, struct err *err)
{
    struct xen_domctl_getdomaininfo info;

    plug->lock = life_lock_domain(plug->domid, err);
    if (plug->lock < 0) {
        return plug->lock;
    }
    if (hv_domain_info(plug->life.hv, plug->domid, &info) != 0 ||
        (info.flags & (XEN_DOMINF_dying | XEN_DOMINF_shutdown)) != 0) {
        close(plug->lock);
        return err_set(err, ESRCH, "%s does not run any more", who);
    }
    plug->paused = (info.flags & XEN_DOMINF_paused) != 0;
    life_signals_hold(&plug->before);
    return 0;
}

int plug_open(struct plug *plug, const struct vane_args *args, struct err *err)
{
    unsigned long seconds;
    int rc = vane_option_number(args, 't', 1, PLUG_TIMEOUT_MAX_S, PLUG_TIMEOUT_S, &seconds);

    if (rc != 0) {
        return rc;
    }
    rc = life_open(&plug->life, err);
    if (rc != 0) {
        return rc;
    }
    rc = life_find(&plug->life, args->operands[0], &plug->domid, err);
    rc = rc != 0 ? rc : hold(plug, args->operands[0], err);
    if (rc != 0) {
        life_close(&plug->life);
        return rc;
    }
    plug->patience = (struct device_patience){
        .timeout_ms = (unsigned int)seconds * 1000, .stop = stop_waiting, .context = plug};
    return 0;
}

void plug_close(struct plug *plug)
{
    close(plug->lock);
    life_close(&plug->life);
    life_signals_release(&plug->before);
}

int plug_status(int rc, const struct err *err)
{
    return rc == 0 ? VANE_OK : err->number == 0 ? VANE_USAGE : vane_fail(err);
}

const struct vane_option plug_detach_options[] = {
    {'f', "force", NULL, "take it from a guest that does not agree"},
    {'t', "timeout", "SECONDS", "longest time to wait for the guest (default 60)"},
    {0, NULL, NULL, NULL},
};

/* The devices of one guest. */
static int each_of(struct life *life, const char *kind, uint32_t domid,
                   int (*visit)(struct plug_device *device, void *context), void *context)
{
    struct node parent = node_at(life->xs, XBT_NULL, "/local/domain/%u/backend/%s/%u",
                                 DEVICE_BACKEND_DOMID, kind, domid);
    struct node home = node_at(life->xs, XBT_NULL, "/local/domain/%u", domid);
    unsigned int count;
    char **ids = node_list(&parent, &count);
    int rc = 0;

    for (unsigned int i = 0; ids != NULL && i < count && rc == 0; i++) {
        struct plug_device device = {
            .domid = domid,
            .id = (unsigned int)strtoul(ids[i], NULL, 10),
            .back = node_at(life->xs, XBT_NULL, "%s/%s", parent.path, ids[i]),
        };

        if (node_read(&home, "name", device.domain, sizeof(device.domain)) != 0) {
            snprintf(device.domain, sizeof(device.domain), "%u", domid);
        }
        rc = visit(&device, context);
    }
    free(ids);
    return rc;
}

int plug_each(struct life *life, const char *kind, const char *who,
              int (*visit)(struct plug_device *device, void *context), void *context,
              struct err *err)
{
    struct node root =
        node_at(life->xs, XBT_NULL, "/local/domain/%u/backend/%s", DEVICE_BACKEND_DOMID, kind);
    unsigned int count;
    uint32_t domid;
    char **ids;
    int rc = 0;

    if (who != NULL) {
        rc = life_find(life, who, &domid, err);
        return rc != 0 ? rc : each_of(life, kind, domid, visit, context);
    }
    ids = node_list(&root, &count);
    for (unsigned int i = 0; ids != NULL && i < count && rc == 0; i++) {
        rc = each_of(life, kind, (uint32_t)strtoul(ids[i], NULL, 10), visit, context);
    }
    free(ids);
    return rc;
}

void plug_text(const struct plug_device *device, const char *child, char *text, size_t text_bytes)
{
    if (node_read(&device->back, child, text, text_bytes) != 0) {
        text[0] = '\0';
    }
}

const char *plug_state(const struct plug_device *device)
{
    static const char *const words[] = {"unknown", "new",    "waiting",  "connecting", "connected",
                                        "closing", "closed", "changing", "changing"};

    return words[node_read_state(&device->back)];
}

int plug_list(const struct vane_args *args, const char *kind, const char *const headings[],
              size_t column_count, int (*visit)(struct plug_device *device, void *context))
{
    struct plug_list list = {.table = NULL};
    struct err err = {0};
    struct life life;
    int rc = life_open(&life, &err);

    if (rc != 0) {
        return vane_fail(&err);
    }
    if (args->json) {
        list.array = json_object_new_array();
    } else {
        list.table = vane_table_new(headings, column_count);
    }
    rc = plug_each(&life, kind, args->operands[0], visit, &list, &err);
    life_close(&life);
    if (rc != 0) {
        json_object_put(list.array);
        vane_table_free(list.table);
        return vane_fail(&err);
    }
    return args->json ? vane_print_json(list.array) : vane_table_print(list.table);
}
