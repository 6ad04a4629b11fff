/* SPDX-License-Identifier: MIT */
/* A client of the store, by the ring of the protocol; one vCPU at a time. */
#include "lib.h"

#define PATIENCE_MS 20000

struct xenstore_domain_interface *store_ring;
struct store_reply store_reply;
uint32_t store_events;
static uint32_t last_id;

void store_init(void)
{
    store_ring =
        (struct xenstore_domain_interface *)(VIRT_BASE +
                                             pfn_of_mfn(start_info->store_mfn) * PAGE_BYTES);
}

/* Moves bytes one way as they come to fit. false: nothing has moved for too long. */
static bool put(const char *data, size_t bytes)
{
    uint64_t until = now_ns() + PATIENCE_MS * 1000000UL;
    uint32_t prod = store_ring->req_prod;
    while (bytes) {
        uint32_t cons = __atomic_load_n(&store_ring->req_cons, __ATOMIC_ACQUIRE);
        if (prod - cons >= XENSTORE_RING_SIZE) {
            store_kick();
            if (now_ns() > until) {
                return false;
            }
            (void)sched_op(SCHEDOP_yield, 0);
            continue;
        }
        store_ring->req[MASK_XENSTORE_IDX(prod++)] = *data++;
        __atomic_store_n(&store_ring->req_prod, prod, __ATOMIC_RELEASE);
        bytes--;
    }
    return true;
}

static bool get(char *data, size_t bytes)
{
    uint64_t until = now_ns() + PATIENCE_MS * 1000000UL;
    uint32_t cons = store_ring->rsp_cons;
    while (bytes) {
        if (__atomic_load_n(&store_ring->rsp_prod, __ATOMIC_ACQUIRE) == cons) {
            store_kick();
            if (now_ns() > until) {
                return false;
            }
            (void)sched_op(SCHEDOP_yield, 0);
            continue;
        }
        *data++ = store_ring->rsp[MASK_XENSTORE_IDX(cons++)];
        __atomic_store_n(&store_ring->rsp_cons, cons, __ATOMIC_RELEASE);
        bytes--;
    }
    return true;
}

void store_kick(void)
{
    (void)event_send(start_info->store_evtchn);
}

bool store_send(uint32_t type, uint32_t tx, const void *body, size_t bytes)
{
    struct xsd_sockmsg hdr = {
        .type = type, .req_id = ++last_id, .tx_id = tx, .len = (uint32_t)bytes};
    bool sent = put((const char *)&hdr, sizeof(hdr)) && put(body, bytes);
    store_kick();
    return sent;
}

bool store_receive(void)
{
    struct xsd_sockmsg hdr;
    if (!get((char *)&hdr, sizeof(hdr)) || hdr.len > XENSTORE_PAYLOAD_MAX ||
        !get(store_reply.text, hdr.len)) {
        return false;
    }
    store_reply.type = hdr.type;
    store_reply.len = hdr.len;
    store_reply.text[hdr.len] = '\0';
    store_kick();
    return true;
}

const char *store_ask(uint32_t type, uint32_t tx, const void *body, size_t bytes)
{
    if (!store_send(type, tx, body, bytes)) {
        return "not taken";
    }
    do {
        if (!store_receive()) {
            return "no answer";
        }
        store_events += store_reply.type == XS_WATCH_EVENT;
    } while (store_reply.type == XS_WATCH_EVENT);
    return store_reply.text;
}

const char *store_request(uint32_t type, uint32_t tx, const char *format, ...)
{
    static char body[XENSTORE_PAYLOAD_MAX + 1];
    va_list args;
    va_start(args, format);
    size_t bytes = text_format(body, sizeof(body), format, args);
    va_end(args);
    for (size_t i = 0; i < bytes; i++) {
        body[i] = body[i] == '|' ? '\0' : body[i];
    }
    return store_ask(type, tx, body, bytes);
}

uint64_t store_number(const char *path)
{
    uint64_t value = 0;
    const char *text = store_request(XS_READ, 0, "%s|", path);
    if (store_reply.type != XS_READ) {
        return ~0UL;
    }
    for (; *text >= '0' && *text <= '9'; text++) {
        value = value * 10 + (uint64_t)(*text - '0');
    }
    return value;
}

void check_text(const char *got, const char *want, const char *file, int line)
{
    bool same = strlen(got) == strlen(want) && memcmp(got, want, strlen(want)) == 0;
    check_bool(same, file, line, want);
    if (!same) {
        say("the answer was \"%s\"", got);
    }
}
