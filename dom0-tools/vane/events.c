/* SPDX-License-Identifier: MIT */
/*
 * The command events: what happens to the guests, a line each, as it happens.
 *
 * The store says when to look, and a look is taken every second besides, because pausing a domain
 * is nothing the store hears of. What is told are the differences between two looks
 * (usage/changes.h); something that comes and goes within a moment is not seen.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "dom0-tools/device/node.h"
#include "dom0-tools/storeclient/client.h"
#include "dom0-tools/usage/changes.h"
#include "dom0-tools/vane/look.h"
#include "dom0-tools/vane/plug.h"

#define LOOK_EVERY_MS 1000
#define EVENTS_MAX 1000000000ul

/* Changes come in bursts: one look serves for all within this time. */
#define SETTLE_MS 50

static const char *const watched[] = {"@introduceDomain", "@releaseDomain",
                                      "/local/domain/0/backend/vbd", "/local/domain/0/backend/vif"};

struct follow {
    struct life life;
    struct changes_state state;
    bool json;
    unsigned long left;
};

static const char *reason_of(const struct xen_domctl_getdomaininfo *info)
{
    static const char *const words[] = {"poweroff", "reboot",   "suspend",
                                        "crash",    "watchdog", "soft-reset"};
    unsigned int reason = hv_shutdown_reason(info);

    return reason < sizeof(words) / sizeof(words[0]) ? words[reason] : "unknown";
}

/* --- looking ----------------------------------------------------------------------------- */

static int add_device(struct changes_state *state, struct plug_device *device, const char *kind,
                      const char *label)
{
    struct changes_device *to = changes_add_device(state);

    if (to == NULL) {
        return -ENOMEM;
    }
    to->kind = kind;
    to->domid = device->domid;
    to->id = device->id;
    to->connected = node_read_state(&device->back) == NODE_STATE_CONNECTED;
    plug_text(device, label, to->label, sizeof(to->label));
    return 0;
}

static int add_disk(struct plug_device *device, void *context)
{
    return add_device(context, device, "disk", "dev");
}

static int add_card(struct plug_device *device, void *context)
{
    return add_device(context, device, "net", "mac");
}

static int add_domain(const struct look *look, const struct xen_domctl_getdomaininfo *info,
                      struct changes_state *state)
{
    struct node memory = node_at(look->xs, XBT_NULL, "/local/domain/%u/memory", info->domain);
    struct changes_domain *to = changes_add_domain(state);

    if (to == NULL) {
        return -ENOMEM;
    }
    to->domid = info->domain;
    memcpy(to->uuid, info->handle, sizeof(to->uuid));
    look_name(look, info->domain, to->name, sizeof(to->name));
    to->paused = (info->flags & XEN_DOMINF_paused) != 0;
    to->stopped = (info->flags & XEN_DOMINF_shutdown) != 0;
    to->reason = reason_of(info);
    node_read_number(&memory, "target", &to->target_kib);
    return 0;
}

/* Takes a look. A domain counts from when it has a name until it is being destroyed. */
static int take_look(struct follow *follow, struct changes_state *state, struct err *err)
{
    struct look look = {.hv = follow->life.hv, .xs = follow->life.xs};
    struct look_domains list;
    int rc = look_list(&look, &list, err);

    *state = (struct changes_state){.domains = NULL};
    if (rc != 0) {
        return rc;
    }
    for (size_t i = 0; i < list.count && rc == 0; i++) {
        struct node home =
            node_at(look.xs, XBT_NULL, "/local/domain/%u/name", list.infos[i].domain);

        if (list.infos[i].domain != 0 && (list.infos[i].flags & XEN_DOMINF_dying) == 0 &&
            node_exists(&home)) {
            rc = add_domain(&look, &list.infos[i], state);
        }
    }
    free(list.infos);
    rc = rc != 0 ? rc : plug_each(&follow->life, "vbd", NULL, add_disk, state, err);
    rc = rc != 0 ? rc : plug_each(&follow->life, "vif", NULL, add_card, state, err);
    return rc == -ENOMEM ? err_set(err, ENOMEM, "no memory") : rc;
}

/* --- telling ----------------------------------------------------------------------------- */

static void tell(const struct change *change, void *context)
{
    struct follow *follow = context;
    struct timespec now;
    struct tm local;
    char stamp[32];

    if (follow->left == 0) {
        return;
    }
    follow->left--;
    clock_gettime(CLOCK_REALTIME, &now);
    if (follow->json) {
        struct json_object *out = json_object_new_object();
        long milliseconds = now.tv_nsec / 1000000;

        json_object_object_add(
            out, "time", json_object_new_double((double)now.tv_sec + (double)milliseconds / 1000));
        json_object_object_add(out, "event", json_object_new_string(change->event));
        json_object_object_add(out, "domain", json_object_new_string(change->name));
        json_object_object_add(out, "domain_id", json_object_new_int64(change->domid));
        if (change->detail[0] != '\0') {
            json_object_object_add(out, "detail", json_object_new_string(change->detail));
        }
        puts(json_object_to_json_string_ext(out, JSON_C_TO_STRING_PLAIN |
                                                     JSON_C_TO_STRING_NOSLASHESCAPE));
        json_object_put(out);
    } else {
        localtime_r(&now.tv_sec, &local);
        strftime(stamp, sizeof(stamp), "%Y-%m-%d %H:%M:%S", &local);
        printf("%s.%03ld %s %s%s%s\n", stamp, now.tv_nsec / 1000000, change->name, change->event,
               change->detail[0] != '\0' ? " " : "", change->detail);
    }
    fflush(stdout);
}

/* Sleeps until the store tells of something, or it is time. */
static void wait_for_news(struct xs_handle *xs)
{
    struct pollfd ready = {.fd = xs_fileno(xs), .events = POLLIN};
    char **event;

    if (poll(&ready, 1, LOOK_EVERY_MS) > 0) {
        poll(NULL, 0, SETTLE_MS);
    }
    while ((event = xs_check_watch(xs)) != NULL) {
        free(event);
    }
}

static int watch_guests(const struct follow *follow, struct err *err)
{
    for (size_t i = 0; i < sizeof(watched) / sizeof(watched[0]); i++) {
        if (!xs_watch(follow->life.xs, watched[i], "events")) {
            return err_set_errno(err, errno, "cannot watch %s", watched[i]);
        }
    }
    return 0;
}

/* As take_look(), but where the store has gone meanwhile, with what was seen, once it is there
 * again: a guest has not gone with it. */
static int take_whole_look(struct follow *follow, struct changes_state *state, struct err *err)
{
    int rc = take_look(follow, state, err);

    while (!xs_lasts(follow->life.xs)) {
        changes_free(state);
        while ((follow->life.xs = xs_renew(follow->life.xs)) == NULL) {
            poll(NULL, 0, LOOK_EVERY_MS);
        }
        rc = watch_guests(follow, err);
        rc = rc != 0 ? rc : take_look(follow, state, err);
    }
    return rc;
}

static int follow_guests(struct follow *follow, struct err *err)
{
    int rc = watch_guests(follow, err);

    rc = rc != 0 ? rc : take_whole_look(follow, &follow->state, err);
    while (rc == 0 && follow->left != 0 && !ferror(stdout)) {
        struct changes_state now;

        wait_for_news(follow->life.xs);
        rc = take_whole_look(follow, &now, err);
        if (rc == 0) {
            changes_compare(&follow->state, &now, tell, follow);
            changes_free(&follow->state);
            follow->state = now;
        } else {
            changes_free(&now);
        }
    }
    return rc;
}

static int run_events(const struct vane_args *args)
{
    struct follow follow = {.json = args->json};
    struct err err = {0};

    if (vane_option_number(args, 'n', 1, EVENTS_MAX, ~0ul, &follow.left) != 0) {
        return VANE_USAGE;
    }

    int rc = life_open(&follow.life, &err);

    if (rc == 0) {
        rc = follow_guests(&follow, &err);
        changes_free(&follow.state);
        life_close(&follow.life);
    }
    return rc == 0 ? VANE_OK : vane_fail(&err);
}

static const struct vane_option events_options[] = {
    {'n', "events", "N", "end after so many"},
    {0, NULL, NULL, NULL},
};

const struct vane_command vane_commands_events[] = {
    {
        .name = "events",
        .operands = "",
        .summary = "tell what happens to the guests, a line each",
        .details = "The events: created, gone, paused, resumed, stopped (with the reason), "
                   "renamed, memory, disk-attached, disk-detached, net-attached, net-detached. "
                   "With --json each line is an object.",
        .json = true,
        .options = events_options,
        .run = run_events,
    },
    {.name = NULL},
};
