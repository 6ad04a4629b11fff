/* SPDX-License-Identifier: MIT */
#include "dom0-tools/console/domains.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dom0-tools/device/node.h"
#include "dom0-tools/storeclient/client.h"

#define NEW_NAME "@introduceDomain"
#define GONE_NAME "@releaseDomain"
#define CONSOLE_TOKEN "console"

#define LIST_STEP 64

static bool domain_lives(const struct domains *domains, uint32_t domid)
{
    struct xen_domctl_getdomaininfo info;

    return hv_domain_info(domains->hv, domid, &info) == 0 && (info.flags & XEN_DOMINF_dying) == 0;
}

/* Some builders introduce a domain before they say where its console is: they are waited for. */
static void await_console(struct domains *domains, uint32_t domid, bool await)
{
    struct xs_handle *xs = domains->loop->services.xs;
    uint8_t *bits = &domains->awaited[domid / 8];
    uint8_t bit = (uint8_t)(1u << domid % 8);
    struct node console;

    if (((*bits & bit) != 0) == await) {
        return;
    }
    console = node_at(xs, XBT_NULL, "/local/domain/%u/console", domid);
    if (!await) {
        xs_unwatch(xs, console.path, CONSOLE_TOKEN);
        *bits &= (uint8_t)~bit;
    } else if (xs_watch(xs, console.path, CONSOLE_TOKEN)) {
        *bits |= bit;
    }
}

/* Starts to serve a domain, if it is there and not served yet. */
static void serve(struct domains *domains, uint32_t domid)
{
    struct guest *guest;
    struct err err = {0};

    if (domid == 0 || domid >= DOMID_FIRST_RESERVED || loop_find(domains->loop, domid) != NULL ||
        !domain_lives(domains, domid)) {
        return;
    }
    if (guest_open(&domains->loop->services, domid, &guest, &err) == 0) {
        loop_add(domains->loop, guest);
        await_console(domains, domid, false);
    } else if (err.number == ENOENT) {
        await_console(domains, domid, true);
    } else {
        fprintf(stderr, "vane-consoled: domain %u: %s\n", domid, err.text);
    }
}

/* Lets go of a domain, if it has died. */
static void let_go(struct domains *domains, uint32_t domid)
{
    struct guest *guest = loop_find(domains->loop, domid);
    bool awaited = domid < DOMID_FIRST_RESERVED && (domains->awaited[domid / 8] >> domid % 8 & 1);

    if ((guest == NULL && !awaited) || domain_lives(domains, domid)) {
        return;
    }
    if (guest != NULL) {
        loop_died(domains->loop, guest);
    }
    await_console(domains, domid, false);
}

static void find_new(struct domains *domains)
{
    struct node root = node_at(domains->loop->services.xs, XBT_NULL, "/local/domain");
    unsigned int count;
    char **ids = node_list(&root, &count);

    for (unsigned int i = 0; ids != NULL && i < count; i++) {
        serve(domains, (uint32_t)strtoul(ids[i], NULL, 10));
    }
    free(ids);
}

/* Notes which domains live, a bit each: one call for many instead of one for each guest. */
static bool find_living(const struct domains *domains, uint8_t living[DOMID_FIRST_RESERVED / 8])
{
    static struct xen_domctl_getdomaininfo infos[LIST_STEP];
    uint32_t first = 0;
    int got;

    memset(living, 0, DOMID_FIRST_RESERVED / 8);
    do {
        got = hv_domain_info_list(domains->hv, first, infos, LIST_STEP);
        for (int i = 0; i < got; i++) {
            if ((infos[i].flags & XEN_DOMINF_dying) == 0) {
                living[infos[i].domain / 8] |= (uint8_t)(1u << infos[i].domain % 8);
            }
            first = infos[i].domain + 1u;
        }
    } while (got == LIST_STEP);
    return got >= 0;
}

static void find_dead(struct domains *domains)
{
    static uint8_t living[DOMID_FIRST_RESERVED / 8];

    if (!find_living(domains, living)) {
        return;
    }
    for (struct guest *guest = domains->loop->guests; guest != NULL; guest = guest->next) {
        if (!guest->dead && (living[guest->domid / 8] >> guest->domid % 8 & 1) == 0) {
            loop_died(domains->loop, guest);
        }
    }
}

bool domains_watch(struct domains *domains)
{
    domains->came = domains->went = true; /* whatever has happened until now */
    return xs_watch_domains(domains->loop->services.xs, NEW_NAME, "new") &&
           xs_watch_domains(domains->loop->services.xs, GONE_NAME, "gone");
}

void domains_unwatched(struct domains *domains)
{
    memset(domains->awaited, 0, sizeof(domains->awaited));
}

void domains_event(struct domains *domains, const char *path, const char *token)
{
    uint32_t domid;

    if (strcmp(token, CONSOLE_TOKEN) == 0) {
        if (sscanf(path, "/local/domain/%u/", &domid) == 1) {
            serve(domains, domid);
            let_go(domains, domid);
        }
    } else if (sscanf(path, NEW_NAME "/%u", &domid) == 1) {
        serve(domains, domid);
    } else if (sscanf(path, GONE_NAME "/%u", &domid) == 1) {
        let_go(domains, domid);
    } else {
        domains->came |= strcmp(path, NEW_NAME) == 0;
        domains->went |= strcmp(path, GONE_NAME) == 0;
    }
}

void domains_look(struct domains *domains)
{
    bool came = domains->came, went = domains->went;

    domains->came = domains->went = false;
    if (went) {
        find_dead(domains);
    }
    if (came) {
        find_new(domains);
    }
}
