/* SPDX-License-Identifier: MIT */
/*
 * A guest that takes all it can get of the store: nodes, watches, transactions, the size of a node,
 * what one transaction may grow to, the length of paths. At each limit comes the error the
 * protocol has for it, no connection is lost, and giving back makes room again. What is not its own
 * it cannot write, whatever it owns.
 * Not alone: the store is in the control domain.
 */
#include "lib.h"

#define AT_ONCE 16

static char body[XENSTORE_PAYLOAD_MAX];
static unsigned events;

/* Repeats a request with a number in it until it is refused, as many at a time as may be
 * outstanding. Returns: how many were not refused. */
static unsigned until_refused(uint32_t type, uint32_t tx, const char *format, const char *want)
{
    unsigned made = 0, sent = 0;
    bool refused = false;
    while (!refused && sent < 3000) {
        for (unsigned i = 0; i < AT_ONCE; i++, sent++) {
            size_t bytes = text_print(body, sizeof(body), format, sent);
            for (size_t k = 0; k < bytes; k++) {
                body[k] = body[k] == '|' ? '\0' : body[k];
            }
            NEED(store_send(type, tx, body, bytes));
        }
        for (unsigned answers = 0; answers < AT_ONCE;) {
            NEED(store_receive());
            if (store_reply.type == type) {
                CHECK(!refused);
                made++;
            } else if (store_reply.type == XS_ERROR && !refused) {
                refused = true;
                CHECK_TEXT(store_reply.text, want);
            }
            answers += store_reply.type != XS_WATCH_EVENT;
            events += store_reply.type == XS_WATCH_EVENT;
        }
    }
    CHECK(refused);
    return made;
}

static const char *write_size(size_t bytes)
{
    memset(body, 'v', sizeof(body));
    memcpy(body, "data/big", 9);
    return store_ask(XS_WRITE, 0, body, 9 + bytes);
}

static const char *write_path(size_t bytes)
{
    memset(body, 'p', sizeof(body));
    memcpy(body, "data/", 5);
    body[bytes] = '\0';
    return store_ask(XS_MKDIR, 0, body, bytes + 1);
}

static void nodes(void)
{
    unsigned made = until_refused(XS_WRITE, 0, "data/n/of-many-nodes-%u|x", "ENOSPC");
    CHECK(made > 900 && made < 1000);
    CHECK_TEXT(store_request(XS_WRITE, 0, "data/n/of-many-nodes-0|other"), "OK");
    CHECK_TEXT(store_request(XS_RM, 0, "data/n/of-many-nodes-0|"), "OK");
    CHECK_TEXT(store_request(XS_WRITE, 0, "data/n/a/b|x"), "ENOSPC");
    CHECK_TEXT(store_request(XS_WRITE, 0, "data/n/a|x"), "OK");
    CHECK_TEXT(store_request(XS_DIRECTORY, 0, "data/n|"), "E2BIG");
    CHECK_TEXT(store_request(XS_RM, 0, "data/n|"), "OK");
    CHECK_TEXT(store_request(XS_WRITE, 0, "data/n|x"), "OK");
}

static void transactions(void)
{
    unsigned made = 0;
    do {
        (void)store_request(XS_TRANSACTION_START, 0, "|");
        made += store_reply.type == XS_TRANSACTION_START;
    } while (store_reply.type == XS_TRANSACTION_START && made < 100);
    CHECK_TEXT(store_reply.text, "ENOSPC");
    CHECK_IS(made, 10);
    CHECK_TEXT(store_request(XS_RESET_WATCHES, 0, "|"), "OK");
    (void)store_request(XS_TRANSACTION_START, 0, "|");
    NEED(store_reply.type == XS_TRANSACTION_START);
    uint32_t tx = 0;
    for (const char *c = store_reply.text; *c; c++) {
        tx = tx * 10 + (uint32_t)(*c - '0');
    }
    /* One node again and again: what grows is the list of what has been done. */
    CHECK_IS(until_refused(XS_WRITE, tx, "data/same|%u", "ENOSPC"), 1025);
    CHECK_TEXT(store_request(XS_TRANSACTION_END, tx, "F|"), "OK");
    CHECK_TEXT(store_request(XS_TRANSACTION_END, tx, "F|"), "ENOENT");
    CHECK_TEXT(store_request(XS_READ, tx, "data/same|"), "ENOENT");
}

/* Changes its own node under all of its watches, and takes nothing until all are made. */
static void watches(void)
{
    CHECK_IS(until_refused(XS_WATCH, 0, "data|%u|", "E2BIG"), 128);
    for (unsigned i = 0; i < 20; i++) {
        CHECK(store_send(XS_WRITE, 0, "data/w\0x", 8));
    }
    unsigned answers = 0;
    while (answers < 20) {
        NEED(store_receive());
        answers += store_reply.type == XS_WRITE;
        events += store_reply.type == XS_WATCH_EVENT;
    }
    CHECK(events >= 128);
    CHECK_TEXT(store_request(XS_UNWATCH, 0, "data|5|"), "OK");
    CHECK_TEXT(store_request(XS_WATCH, 0, "data|new|"), "OK");
    CHECK_TEXT(store_request(XS_WATCH, 0, "data|too-many|"), "E2BIG");
    CHECK_TEXT(store_request(XS_RESET_WATCHES, 0, "|"), "OK");
}

static void not_ours(void)
{
    CHECK_TEXT(store_request(XS_WRITE, 0, "/local/domain/0/data|x"), "EACCES");
    CHECK_TEXT(store_request(XS_WRITE, 0, "/data|x"), "EACCES");
    CHECK_TEXT(store_request(XS_WRITE, 0, "domid|9"), "EACCES");
    CHECK_TEXT(store_request(XS_RM, 0, "/|"), "EINVAL");
    CHECK_TEXT(store_request(XS_SET_PERMS, 0, "domid|n%u|", own_domid()), "EACCES");
    CHECK_TEXT(store_request(XS_SET_PERMS, 0, "data|n0|"), "EPERM");
    CHECK_TEXT(store_request(XS_SET_PERMS, 0, "data|n%u|r1|r2|r3|r4|r5|", own_domid()), "ENOSPC");
    CHECK_TEXT(store_request(XS_INTRODUCE, 0, "%u|1|1|", own_domid()), "EACCES");
    CHECK_TEXT(store_request(XS_RELEASE, 0, "%u|", own_domid()), "EACCES");
    CHECK_TEXT(store_request(XS_SET_TARGET, 0, "%u|0|", own_domid()), "EACCES");
    CHECK_TEXT(store_request(XS_RESUME, 0, "%u|", own_domid()), "EACCES");
    CHECK_TEXT(store_request(XS_CONTROL, 0, "quota|set|nodes|100000|"), "EACCES");
    CHECK_TEXT(store_request(77, 0, "|"), "ENOSYS");
}

void test_main(void)
{
    store_init();
    nodes();
    watches();
    transactions();
    CHECK_TEXT(write_size(2048), "OK");
    CHECK_TEXT(write_size(2049), "ENOSPC");
    CHECK_TEXT(write_size(XENSTORE_PAYLOAD_MAX - 9), "ENOSPC");
    CHECK_TEXT(write_path(XENSTORE_REL_PATH_MAX), "OK");
    CHECK_TEXT(write_path(XENSTORE_REL_PATH_MAX + 1), "EINVAL");
    not_ours();
}
