/* SPDX-License-Identifier: MIT */
/*
 * Comparing two looks at the guests; see changes.h.
 *
 * A domain is the same when number and uuid are: a number is used again, and a guest that restarts
 * keeps its uuid.
 */
#include "dom0-tools/usage/changes.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Who is told, and how often that was. */
struct teller {
    void (*tell)(const struct change *change, void *context);
    void *context;
    size_t count;
};

static void *add(void **array, size_t *count, size_t element_bytes)
{
    char *larger = realloc(*array, (*count + 1) * element_bytes);

    if (larger == NULL) {
        return NULL;
    }
    *array = larger;
    memset(larger + *count * element_bytes, 0, element_bytes);
    return larger + (*count)++ * element_bytes;
}

struct changes_domain *changes_add_domain(struct changes_state *state)
{
    return add((void **)&state->domains, &state->domain_count, sizeof(*state->domains));
}

struct changes_device *changes_add_device(struct changes_state *state)
{
    return add((void **)&state->devices, &state->device_count, sizeof(*state->devices));
}

void changes_free(struct changes_state *state)
{
    free(state->domains);
    free(state->devices);
    *state = (struct changes_state){.domains = NULL};
}

static void tell(struct teller *teller, const char *event, const struct changes_domain *domain,
                 const char *format, ...) __attribute__((format(printf, 4, 5)));

static void tell(struct teller *teller, const char *event, const struct changes_domain *domain,
                 const char *format, ...)
{
    struct change change = {.event = event, .domid = domain->domid, .name = domain->name};
    va_list list;

    va_start(list, format);
    vsnprintf(change.detail, sizeof(change.detail), format, list);
    va_end(list);
    teller->tell(&change, teller->context);
    teller->count++;
}

static const struct changes_domain *find_domain(const struct changes_state *state, uint32_t domid)
{
    for (size_t i = 0; i < state->domain_count; i++) {
        if (state->domains[i].domid == domid) {
            return &state->domains[i];
        }
    }
    return NULL;
}

/* The same domain in another state. */
static const struct changes_domain *same_domain(const struct changes_state *state,
                                                const struct changes_domain *domain)
{
    const struct changes_domain *found = find_domain(state, domain->domid);

    return found != NULL && memcmp(found->uuid, domain->uuid, sizeof(found->uuid)) == 0 ? found
                                                                                        : NULL;
}

/* Devices of `these` that are not connected in `those`. */
static void tell_devices(struct teller *teller, const struct changes_state *these,
                         const struct changes_state *those, bool came)
{
    for (size_t i = 0; i < these->device_count; i++) {
        const struct changes_device *at = &these->devices[i];
        const struct changes_domain *domain = find_domain(these, at->domid);
        bool other = false;

        for (size_t k = 0; k < those->device_count && !other; k++) {
            const struct changes_device *device = &those->devices[k];

            other = device->connected && strcmp(device->kind, at->kind) == 0 &&
                    device->domid == at->domid && device->id == at->id &&
                    strcmp(device->label, at->label) == 0;
        }
        if (at->connected && !other && domain != NULL) {
            bool disk = strcmp(at->kind, "disk") == 0;

            tell(teller,
                 came ? (disk ? "disk-attached" : "net-attached")
                      : (disk ? "disk-detached" : "net-detached"),
                 domain, "%s", at->label);
        }
    }
}

static void tell_domain(struct teller *teller, const struct changes_domain *before,
                        const struct changes_domain *after)
{
    if (strcmp(before->name, after->name) != 0) {
        tell(teller, "renamed", after, "was %s", before->name);
    }
    if (before->paused != after->paused && !after->stopped) {
        tell(teller, after->paused ? "paused" : "resumed", after, "%s", "");
    }
    if (!before->stopped && after->stopped) {
        tell(teller, "stopped", after, "%s", after->reason != NULL ? after->reason : "unknown");
    }
    if (before->target_kib != after->target_kib) {
        tell(teller, "memory", after, "%" PRIu64 " MiB, was %" PRIu64, after->target_kib / 1024,
             before->target_kib / 1024);
    }
}

size_t changes_compare(const struct changes_state *before, const struct changes_state *after,
                       void (*tell_one)(const struct change *change, void *context), void *context)
{
    struct teller teller = {.tell = tell_one, .context = context};

    tell_devices(&teller, before, after, false);
    for (size_t i = 0; i < before->domain_count; i++) {
        if (same_domain(after, &before->domains[i]) == NULL) {
            tell(&teller, "gone", &before->domains[i], "%s", "");
        }
    }
    for (size_t i = 0; i < after->domain_count; i++) {
        const struct changes_domain *at = &after->domains[i];
        const struct changes_domain *was = same_domain(before, at);

        if (was == NULL) {
            tell(&teller, "created", at, "%s", "");
        } else {
            tell_domain(&teller, was, at);
        }
    }
    tell_devices(&teller, after, before, true);
    return teller.count;
}
