/* SPDX-License-Identifier: MIT */
/* A device's front end, up to the point where its back end is connected. */
#include "front.h"

#define PATIENCE_MS 30000

void front_open(struct front *f, const char *kind, unsigned id)
{
    struct evtchn_status status;
    store_init();
    memset(f, 0, sizeof(*f));
    f->kind = kind;
    f->id = id;
    f->backend_id = (domid_t)front_number(f, "backend-id");
    const char *path = store_request(XS_READ, 0, "device/%s/%u/backend|", kind, id);
    if (store_reply.type != XS_READ) {
        error("no device %s/%u: %s", kind, id, path);
    }
    memcpy(f->backend, path, strlen(path) + 1);
    long port = event_alloc_unbound(DOMID_SELF, f->backend_id);
    NEED(port > 0);
    NEED_OK(event_status((uint32_t)port, &status));
    f->port = (uint32_t)port;
}

uint64_t front_number(const struct front *f, const char *name)
{
    char path[96];
    text_print(path, sizeof(path), "device/%s/%u/%s", f->kind, f->id, name);
    return store_number(path);
}

void front_put(const struct front *f, const char *name, uint64_t value)
{
    const char *got =
        store_request(XS_WRITE, 0, "device/%s/%u/%s|%lu", f->kind, f->id, name, value);
    if (store_reply.type != XS_WRITE) {
        error("cannot write %s: %s", name, got);
    }
}

unsigned front_backend_state(const struct front *f)
{
    char path[160];
    text_print(path, sizeof(path), "%s/state", f->backend);
    return (unsigned)store_number(path);
}

bool front_wait(const struct front *f, unsigned state)
{
    uint64_t until = now_ns() + PATIENCE_MS * 1000000UL;
    while (front_backend_state(f) != state) {
        if (now_ns() > until) {
            return false;
        }
        sleep_ns(20000000);
    }
    return true;
}

grant_ref_t front_grant(struct front *f, const void *page, uint16_t flags)
{
    grant_ref_t ref = 16 + f->refs++ % 400;
    grant_set(ref, f->backend_id, mfn_of(page), GTF_permit_access | flags);
    return ref;
}

void front_revoke(grant_ref_t ref)
{
    grant_table[ref].flags = 0;
}
