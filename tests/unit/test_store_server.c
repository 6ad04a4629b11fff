// SPDX-License-Identifier: MIT
/*
 * Requests against a server in memory: nodes, permissions, watches, quotas, domains.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "three_clients.h"

static void test_op_read__values(void)
{
    IS(fake_ask(&dom0, XS_WRITE, 0, "/v|one"), "OK|");
    IS(fake_ask(&dom0, XS_READ, 0, "/v|"), "one");
    IS(fake_ask(&dom0, XS_WRITE, 0, "/v|a|b|"), "OK|");
    IS(fake_ask(&dom0, XS_READ, 0, "/v|"), "a|b|");
    IS(fake_ask(&dom0, XS_WRITE, 0, "/v|"), "OK|");
    IS(fake_ask(&dom0, XS_READ, 0, "/v|"), "");
    IS(fake_ask(&dom0, XS_READ, 0, "/w|"), "ENOENT");
    IS(fake_ask(&dom0, XS_READ, 9, "/v|"), "ENOENT");
    IS(fake_ask(&dom0, XS_WRITE, 0, "rel|x"), "OK|");
    IS(fake_ask(&dom0, XS_READ, 0, "/local/domain/0/rel|"), "x");
}

static void test_op_directory__lists(void)
{
    IS(fake_ask(&dom0, XS_MKDIR, 0, "/d/b|"), "OK|");
    IS(fake_ask(&dom0, XS_MKDIR, 0, "/d/b|"), "OK|");
    IS(fake_ask(&dom0, XS_MKDIR, 0, "/d/a|"), "OK|");
    IS(fake_ask(&dom0, XS_DIRECTORY, 0, "/d|"), "a|b|");
    IS(fake_ask(&dom0, XS_DIRECTORY, 0, "/d/a|"), "");
    IS(fake_ask(&dom0, XS_DIRECTORY, 0, "/e|"), "ENOENT");
    IS(fake_ask(&dom0, XS_RM, 0, "/d/a|"), "OK|");
    IS(fake_ask(&dom0, XS_RM, 0, "/d/a|"), "OK|");
    IS(fake_ask(&dom0, XS_RM, 0, "/d/a/x|"), "ENOENT");
    IS(fake_ask(&dom0, XS_DIRECTORY, 0, "/d|"), "b|");
    IS(fake_ask(&dom0, XS_RM, 0, "/d|"), "OK|");
    IS(fake_ask(&dom0, XS_READ, 0, "/d/b|"), "ENOENT");
}

static void test_op_directory_part__puts_a_long_list_together(void)
{
    size_t offset = 0;
    int seen = 0;
    char text[64], gen[32] = "";
    bool more = true;

    for (int i = 0; i < 2000; i++) {
        snprintf(text, sizeof(text), "/long/entry-%04d|", i);
        IS(fake_ask(&dom0, XS_MKDIR, 0, text), "OK|");
    }
    IS(fake_ask(&dom0, XS_DIRECTORY, 0, "/long|"), "E2BIG");
    while (more) {
        const char *part, *at;

        snprintf(text, sizeof(text), "/long|%zu|", offset);
        part = fake_ask(&dom0, XS_DIRECTORY_PART, 0, text);
        CU_ASSERT(strlen(part) <= XENSTORE_PAYLOAD_MAX);
        at = strchr(part, '|');
        CU_ASSERT_PTR_NOT_NULL_FATAL(at);
        if (!*gen) {
            snprintf(gen, sizeof(gen), "%.*s", (int)(at - part), part);
        }
        CU_ASSERT_EQUAL(strncmp(part, gen, (size_t)(at - part)), 0);
        for (at++; *at && *at != '|'; at = strchr(at, '|') + 1) {
            snprintf(text, sizeof(text), "entry-%04d|", seen++);
            CU_ASSERT_EQUAL(strncmp(at, text, strlen(text)), 0);
            offset += strlen(text);
        }
        more = *at != '|';
    }
    CU_ASSERT_EQUAL(seen, 2000);
    fake_ask(&dom0, XS_RM, 0, "/long/entry-0000|");
    CU_ASSERT_EQUAL(
        strncmp(fake_ask(&dom0, XS_DIRECTORY_PART, 0, "/long|0|"), gen, strlen(gen)) == 0, false);
    fake_ask(&dom0, XS_RM, 0, "/long|");
}

/* Nothing the public header names is unknown but what is no request. */
static void test_ops__all_of_the_header(void)
{
    for (uint32_t type = 0; type < XS_TYPE_COUNT + 3; type++) {
        bool none = type == XS_WATCH_EVENT || type == XS_ERROR || type == XS_SET_TARGET + 1 ||
                    type >= XS_TYPE_COUNT;

        CU_ASSERT_EQUAL(strcmp(fake_ask(&dom0, type, 0, "/nonsense to most"), "ENOSYS") == 0, none);
    }
    IS(fake_ask(&dom0, XS_INVALID, 0, ""), "ENOSYS");
}

static void test_perms__guest_stays_in_its_room(void)
{
    IS(fake_ask(&g1, XS_WRITE, 0, "data/x|1"), "OK|");
    IS(fake_ask(&dom0, XS_GET_PERMS, 0, "/local/domain/1/data/x|"), "n1|");
    IS(fake_ask(&g1, XS_READ, 0, "/local/domain/1/data/x|"), "1");
    IS(fake_ask(&g2, XS_READ, 0, "/local/domain/1/data/x|"), "EACCES");
    IS(fake_ask(&g2, XS_READ, 0, "/local/domain/1/data/none|"), "EACCES");
    IS(fake_ask(&g1, XS_READ, 0, "data/none|"), "ENOENT");
    IS(fake_ask(&g1, XS_WRITE, 0, "other|1"), "EACCES");
    IS(fake_ask(&g1, XS_MKDIR, 0, "/tool/x|"), "EACCES");
    IS(fake_ask(&g1, XS_RM, 0, "/tool|"), "EACCES");
    IS(fake_ask(&g1, XS_DIRECTORY, 0, "/|"), "EACCES");
    IS(fake_ask(&g1, XS_DIRECTORY, 0, "/local/domain/1|"), "data|");
    IS(fake_ask(&g1, XS_SET_PERMS, 0, "data/x|n1|r2|"), "OK|");
    IS(fake_ask(&g2, XS_READ, 0, "/local/domain/1/data/x|"), "1");
    IS(fake_ask(&g2, XS_WRITE, 0, "/local/domain/1/data/x|2"), "EACCES");
    IS(fake_ask(&g2, XS_SET_PERMS, 0, "/local/domain/1/data/x|n2|"), "EACCES");
    IS(fake_ask(&g1, XS_SET_PERMS, 0, "data/x|n2|"), "EPERM");
    IS(fake_ask(&g1, XS_SET_PERMS, 0, "data/x|n1|r2|r3|r4|r5|r6|"), "ENOSPC");
    IS(fake_ask(&g1, XS_SET_PERMS, 0, "data/x|n1|b2|"), "OK|");
    IS(fake_ask(&g2, XS_WRITE, 0, "/local/domain/1/data/x|2"), "OK|");
    IS(fake_ask(&g1, XS_READ, 0, "data/x|"), "2");
    /* Children made by a writer belong to the writer. */
    IS(fake_ask(&g2, XS_WRITE, 0, "/local/domain/1/data/x/y|z"), "OK|");
    IS(fake_ask(&dom0, XS_GET_PERMS, 0, "/local/domain/1/data/x/y|"), "n2|b2|");
    IS(fake_ask(&g1, XS_RM, 0, "data/x|"), "OK|");
}

static void test_perms__control_requests_are_refused(void)
{
    static const struct {
        uint32_t type;
        const char *text;
    } cases[] = {
        {XS_INTRODUCE, "5|1|1|"},
        {XS_RELEASE, "2|"},
        {XS_RESUME, "2|"},
        {XS_SET_TARGET, "1|2|"},
        {XS_CONTROL, "help|"},
        {XS_GET_PERMS, "@releaseDomain|"},
        {XS_SET_PERMS, "@releaseDomain|n0|r1|"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        IS(fake_ask(&g1, cases[i].type, 0, cases[i].text), "EACCES");
    }
    IS(fake_ask(&g1, XS_IS_DOMAIN_INTRODUCED, 0, "2|"), "T|");
    IS(fake_ask(&g1, XS_IS_DOMAIN_INTRODUCED, 0, "3|"), "F|");
    IS(fake_ask(&g1, XS_GET_DOMAIN_PATH, 0, "3|"), "/local/domain/3|");
}

static void test_op_set_target__acts_for_another(void)
{
    IS(fake_ask(&dom0, XS_WRITE, 0, "/local/domain/1/data/t|1"), "OK|");
    IS(fake_ask(&g2, XS_READ, 0, "/local/domain/1/data/t|"), "EACCES");
    IS(fake_ask(&dom0, XS_SET_TARGET, 0, "2|1|"), "OK|");
    IS(fake_ask(&g2, XS_READ, 0, "/local/domain/1/data/t|"), "1");
    IS(fake_ask(&g1, XS_READ, 0, "/local/domain/2/data|"), "EACCES");
    IS(fake_ask(&dom0, XS_SET_TARGET, 0, "9|1|"), "ENOENT");
    server_find_domain(&s, 2)->has_target = false;
    IS(fake_ask(&dom0, XS_RM, 0, "/local/domain/1/data/t|"), "OK|");
}

static void test_watch__initial_and_changes(void)
{
    IS(fake_ask(&dom0, XS_WATCH, 0, "/w/a|tok|"), "OK|");
    IS(fake_event(&dom0), "/w/a|tok");
    IS(fake_ask(&dom0, XS_WATCH, 0, "/w/a|tok|"), "EEXIST");
    IS(fake_ask(&dom0, XS_WRITE, 0, "/w/a/b|1"), "OK|");
    IS(fake_event(&dom0), "/w/a/b|tok");
    IS(fake_ask(&dom0, XS_WRITE, 0, "/w/ab|1"), "OK|");
    IS(fake_ask(&dom0, XS_WRITE, 0, "/w|1"), "OK|");
    IS(fake_event(&dom0), "");
    IS(fake_ask(&dom0, XS_MKDIR, 0, "/w/a/c|"), "OK|");
    IS(fake_event(&dom0), "/w/a/c|tok");
    IS(fake_ask(&dom0, XS_MKDIR, 0, "/w/a/c|"), "OK|");
    IS(fake_event(&dom0), "");
    IS(fake_ask(&dom0, XS_SET_PERMS, 0, "/w/a|n0|"), "OK|");
    IS(fake_event(&dom0), "/w/a|tok");
    /* Removing something above fires a watch whose node went with it, and no other. */
    IS(fake_ask(&dom0, XS_WATCH, 0, "/w/none|tok2|"), "OK|");
    IS(fake_event(&dom0), "/w/none|tok2");
    IS(fake_ask(&dom0, XS_RM, 0, "/w|"), "OK|");
    IS(fake_event(&dom0), "/w/a|tok");
    IS(fake_event(&dom0), "");
    IS(fake_ask(&dom0, XS_UNWATCH, 0, "/w/a|nope|"), "ENOENT");
    IS(fake_ask(&dom0, XS_UNWATCH, 0, "/w/a|tok|"), "OK|");
    IS(fake_ask(&dom0, XS_WRITE, 0, "/w/a|1"), "OK|");
    IS(fake_event(&dom0), "");
    IS(fake_ask(&dom0, XS_RESET_WATCHES, 0, "|"), "OK|");
    IS(fake_ask(&dom0, XS_WRITE, 0, "/w/none|1"), "OK|");
    IS(fake_event(&dom0), "");
    IS(fake_ask(&dom0, XS_RM, 0, "/w|"), "OK|");
}

static void test_watch__answer_comes_before_events(void)
{
    struct fake_msg m;

    IS(fake_ask(&dom0, XS_WATCH, 0, "/|root|"), "OK|");
    IS(fake_event(&dom0), "/|root");
    fake_send(&dom0, XS_WRITE, 0, "/o\0x", 4);
    fake_run(&s);
    CU_ASSERT_TRUE(fake_next(&dom0, &m));
    CU_ASSERT_EQUAL(m.hdr.type, XS_WRITE);
    CU_ASSERT_TRUE(fake_next(&dom0, &m));
    CU_ASSERT_EQUAL(m.hdr.type, XS_WATCH_EVENT);
    CU_ASSERT_STRING_EQUAL(m.body, "/o");
    fake_ask(&dom0, XS_UNWATCH, 0, "/|root|");
    fake_ask(&dom0, XS_RM, 0, "/o|");
}

static void test_watch__relative_paths(void)
{
    IS(fake_ask(&g1, XS_WATCH, 0, "data/k|t|"), "OK|");
    IS(fake_event(&g1), "data/k|t");
    IS(fake_ask(&dom0, XS_WRITE, 0, "/local/domain/1/data/k/deep|1"), "OK|");
    IS(fake_event(&g1), "data/k/deep|t");
    IS(fake_ask(&g1, XS_WATCH, 0, "/local/domain/1/data/k|abs|"), "OK|");
    IS(fake_event(&g1), "/local/domain/1/data/k|abs");
    IS(fake_ask(&g1, XS_RM, 0, "data/k|"), "OK|");
    IS(fake_event(&g1), "/local/domain/1/data/k|abs");
    IS(fake_event(&g1), "data/k|t");
    IS(fake_ask(&g1, XS_RESET_WATCHES, 0, ""), "OK|");
}

static void test_watch__says_nothing_of_what_one_may_not_read(void)
{
    IS(fake_ask(&g2, XS_WATCH, 0, "/local/domain/1|spy|"), "OK|");
    IS(fake_event(&g2), "/local/domain/1|spy");
    IS(fake_ask(&g1, XS_WRITE, 0, "data/secret|1"), "OK|");
    IS(fake_ask(&g1, XS_RM, 0, "data/secret|"), "OK|");
    IS(fake_event(&g2), "");
    IS(fake_ask(&g1, XS_WRITE, 0, "data/shared|1"), "OK|");
    IS(fake_ask(&g1, XS_SET_PERMS, 0, "data/shared|n1|r2|"), "OK|");
    IS(fake_event(&g2), "/local/domain/1/data/shared|spy");
    IS(fake_ask(&g1, XS_WRITE, 0, "data/shared|2"), "OK|");
    IS(fake_event(&g2), "/local/domain/1/data/shared|spy");
    /* Losing the right is still told. */
    IS(fake_ask(&g1, XS_SET_PERMS, 0, "data/shared|n1|"), "OK|");
    IS(fake_event(&g2), "/local/domain/1/data/shared|spy");
    IS(fake_ask(&g1, XS_RM, 0, "data/shared|"), "OK|");
    IS(fake_event(&g2), "");
    IS(fake_ask(&g2, XS_RESET_WATCHES, 0, ""), "OK|");
}

static void test_watch__same_event_waits_once(void)
{
    struct fake_msg m;
    int events = 0;

    IS(fake_ask(&g1, XS_WATCH, 0, "data|t|"), "OK|");
    IS(fake_event(&g1), "data|t");
    g1.room = 0;
    for (int i = 0; i < 100; i++) {
        IS(fake_ask(&dom0, XS_WRITE, 0, "/local/domain/1/data/n|1"), "OK|");
    }
    g1.room = SIZE_MAX;
    conn_wake(g1.conn);
    fake_run(&s);
    while (fake_next(&g1, &m)) {
        events++;
    }
    CU_ASSERT_EQUAL(events, 1);
    /* Half of it is out: the next change is a new event. */
    g1.room = 4;
    IS(fake_ask(&dom0, XS_WRITE, 0, "/local/domain/1/data/n|2"), "OK|");
    IS(fake_ask(&dom0, XS_WRITE, 0, "/local/domain/1/data/n|3"), "OK|");
    g1.room = SIZE_MAX;
    conn_wake(g1.conn);
    IS(fake_event(&g1), "data/n|t");
    IS(fake_event(&g1), "data/n|t");
    IS(fake_event(&g1), "");
    IS(fake_ask(&g1, XS_RM, 0, "data/n|"), "OK|");
    IS(fake_event(&g1), "data/n|t");
    IS(fake_ask(&g1, XS_RESET_WATCHES, 0, ""), "OK|");
}

static void test_watch__many_at_one_place(void)
{
    char text[64];

    for (int i = 0; i < 500; i++) {
        snprintf(text, sizeof(text), "/many|%d|", i);
        IS(fake_ask(&dom0, XS_WATCH, 0, text), "OK|");
        fake_event(&dom0);
    }
    IS(fake_ask(&dom0, XS_WRITE, 0, "/many|1"), "OK|");
    for (int i = 0; i < 500; i++) {
        CU_ASSERT_EQUAL(strncmp(fake_event(&dom0), "/many|", 6), 0);
    }
    IS(fake_event(&dom0), "");
    for (int i = 0; i < 500; i++) {
        snprintf(text, sizeof(text), "/many|%d|", (i * 7) % 500);
        IS(fake_ask(&dom0, XS_UNWATCH, 0, text), "OK|");
    }
    IS(fake_ask(&dom0, XS_RM, 0, "/many|"), "OK|");
    IS(fake_event(&dom0), "");
}

static void test_watch__depth(void)
{
    IS(fake_ask(&dom0, XS_WATCH, 0, "/w|0|0|"), "OK|");
    IS(fake_event(&dom0), "/w|0");
    IS(fake_ask(&dom0, XS_WATCH, 0, "/w|1|1|"), "OK|");
    IS(fake_event(&dom0), "/w|1");
    IS(fake_ask(&dom0, XS_WATCH, 0, "/|top|2|"), "OK|");
    IS(fake_event(&dom0), "/|top");
    IS(fake_ask(&dom0, XS_WATCH, 0, "/w|0|2|"), "EEXIST");
    IS(fake_ask(&dom0, XS_WRITE, 0, "/w|x"), "OK|");
    IS(fake_event(&dom0), "/w|top");
    IS(fake_event(&dom0), "/w|1");
    IS(fake_event(&dom0), "/w|0");
    IS(fake_ask(&dom0, XS_WRITE, 0, "/w/a|x"), "OK|");
    IS(fake_event(&dom0), "/w/a|top");
    IS(fake_event(&dom0), "/w/a|1");
    IS(fake_ask(&dom0, XS_WRITE, 0, "/w/a/b|x"), "OK|");
    IS(fake_event(&dom0), "");
    /* What goes from above, goes at every depth. */
    IS(fake_ask(&dom0, XS_WATCH, 0, "/w/a/b|b|0|"), "OK|");
    IS(fake_event(&dom0), "/w/a/b|b");
    IS(fake_ask(&dom0, XS_RM, 0, "/w|"), "OK|");
    IS(fake_event(&dom0), "/w|top");
    IS(fake_event(&dom0), "/w|1");
    IS(fake_event(&dom0), "/w|0");
    IS(fake_event(&dom0), "/w/a/b|b");
    IS(fake_event(&dom0), "");
    IS(fake_ask(&g1, XS_WATCH, 0, "data|t|1|"), "OK|");
    IS(fake_event(&g1), "data|t");
    IS(fake_ask(&g1, XS_WRITE, 0, "data/d|x"), "OK|");
    IS(fake_event(&g1), "data/d|t");
    IS(fake_ask(&g1, XS_WRITE, 0, "data/d/e|x"), "OK|");
    IS(fake_event(&g1), "");
    IS(fake_ask(&g1, XS_UNWATCH, 0, "data|t|"), "OK|");
    IS(fake_ask(&g1, XS_RM, 0, "data/d|"), "OK|");
    IS(fake_event(&g1), "");
    IS(fake_ask(&dom0, XS_RESET_WATCHES, 0, ""), "OK|");
}

static void test_quota__nodes(void)
{
    char text[64];
    const char *got = "";
    long had = server_find_domain(&s, 1)->nodes;
    int made = 0;

    while (made < 2000) {
        snprintf(text, sizeof(text), "data/q/%d|x", made);
        got = fake_ask(&g1, XS_WRITE, 0, text);
        if (strcmp(got, "OK|") != 0) {
            break;
        }
        made++;
    }
    IS(got, "ENOSPC");
    CU_ASSERT_EQUAL(had + made + 1, 1000);
    /* A new node with its parents counts as a whole or not at all. */
    IS(fake_ask(&g1, XS_RM, 0, "data/q/0|"), "OK|");
    IS(fake_ask(&g1, XS_WRITE, 0, "data/q/p/p|x"), "ENOSPC");
    IS(fake_ask(&g1, XS_WRITE, 0, "data/q/1|other"), "OK|");
    IS(fake_ask(&g2, XS_WRITE, 0, "data/fine|x"), "OK|");
    IS(fake_ask(&g1, XS_RM, 0, "data/q|"), "OK|");
    CU_ASSERT_EQUAL(server_find_domain(&s, 1)->nodes, had);
    IS(fake_ask(&g2, XS_RM, 0, "data/fine|"), "OK|");
}

static void test_quota__watches_transactions_size(void)
{
    char text[64], *big = mem_zalloc(2100);

    for (int i = 0; i < 128; i++) {
        snprintf(text, sizeof(text), "data|%d|", i);
        IS(fake_ask(&g1, XS_WATCH, 0, text), "OK|");
        fake_event(&g1);
    }
    IS(fake_ask(&g1, XS_WATCH, 0, "data|one-too-many|"), "E2BIG");
    IS(fake_ask(&g1, XS_RESET_WATCHES, 0, ""), "OK|");
    for (int i = 0; i < 10; i++) {
        CU_ASSERT_STRING_NOT_EQUAL(fake_ask(&g1, XS_TRANSACTION_START, 0, "|"), "ENOSPC");
    }
    IS(fake_ask(&g1, XS_TRANSACTION_START, 0, "|"), "ENOSPC");
    IS(fake_ask(&g1, XS_RESET_WATCHES, 0, ""), "OK|");
    CU_ASSERT_EQUAL(g1.conn->txns.count, 0);
    memset(big, 'v', 2100);
    memcpy(big, "data/big|", 9);
    big[9 + 2048] = '\0';
    IS(fake_ask(&g1, XS_WRITE, 0, big), "OK|");
    big[9 + 2048] = 'v';
    big[9 + 2049] = '\0';
    IS(fake_ask(&g1, XS_WRITE, 0, big), "ENOSPC");
    IS(fake_ask(&g1, XS_RM, 0, "data/big|"), "OK|");
    free(big);
}

/* Asks for BEFORE number AFTER, with `fill` bytes at the end, until it is refused.
 * Returns: how often it was not. */
static int until_no_room(uint32_t type, uint32_t tx, const char *before, const char *after,
                         int fill, const char *want)
{
    const char *got = "OK|";
    char text[2048];
    int made = -1;

    while (strcmp(got, "OK|") == 0 && made < 1000) {
        int len = snprintf(text, 1024, "%s%d%s", before, ++made, after);

        memset(text + len, 'f', (size_t)fill);
        text[len + fill] = '\0';
        got = fake_ask(&g1, type, tx, text);
        drain(&g1);
    }
    IS(got, want);
    return made;
}

/* One sum for all that a domain makes the store keep: each kind fills it, and what is given back
 * makes room for another kind. */
static void test_quota__memory(void)
{
    const struct domain *d = server_find_domain(&s, 1);
    char limit[64];
    size_t had;
    int values, paths;
    uint32_t tx;

    drain(&g1);
    had = server_memory(d);
    snprintf(limit, sizeof(limit), "quota|set|1|memory|%zu|", had + 100000);
    IS(fake_ask(&dom0, XS_CONTROL, 0, limit), "OK|");
    values = until_no_room(XS_WRITE, 0, "data/m/", "|", 900, "ENOSPC");
    CU_ASSERT(values > 60 && values < 112);
    CU_ASSERT(server_memory(d) <= had + 100000);
    CU_ASSERT(server_memory(d) > had + 98000);
    IS(fake_ask(&g1, XS_WRITE, 0, "data/m/0|short"), "OK|");
    IS(fake_ask(&g1, XS_WRITE, 0, "data/m/new|short"), "OK|");
    /* No room for a transaction's notes, an own one or another's who would give it nodes. */
    until_no_room(XS_WRITE, 0, "data/m/x", "|x", 0, "ENOSPC");
    IS(fake_ask(&g1, XS_TRANSACTION_START, 0, "|"), "ENOSPC");
    until_no_room(XS_WATCH, 0, "data/m/", "|t|", 0, "E2BIG");
    IS(fake_ask(&g1, XS_RM, 0, "data/m|"), "OK|");
    IS(fake_ask(&g1, XS_RESET_WATCHES, 0, ""), "OK|");
    CU_ASSERT_EQUAL(server_memory(d), had);
    /* Of watches on long paths fewer fit than their number allows. */
    snprintf(limit, sizeof(limit), "quota|set|1|memory|%zu|", had + 20000);
    IS(fake_ask(&dom0, XS_CONTROL, 0, limit), "OK|");
    paths =
        until_no_room(XS_WATCH, 0, "", "/a/b/c/d/e/f/g/h/i/j/k/l/m/n/o/p/q/r/s/t|t|", 0, "E2BIG");
    CU_ASSERT(paths > 2 && paths < 12);
    IS(fake_ask(&g1, XS_RESET_WATCHES, 0, ""), "OK|");
    CU_ASSERT_EQUAL(server_memory(d), had);
    /* A transaction that writes one node again and again. */
    tx = (uint32_t)strtoul(fake_ask(&g1, XS_TRANSACTION_START, 0, "|"), NULL, 10);
    values = until_no_room(XS_WRITE, tx, "data/t|", "", 900, "ENOSPC");
    CU_ASSERT(values > 5 && values < 22);
    IS(fake_ask(&g1, XS_TRANSACTION_END, tx, "F|"), "OK|");
    CU_ASSERT_EQUAL(server_memory(d), had);
    IS(fake_check(&dom0), "OK|");
    server_find_domain(&s, 1)->own_quota = false;
}

static void test_quota__paths_and_permissions(void)
{
    char *text = mem_zalloc(4096);
    size_t len = (size_t)sprintf(text, "data");
    long had = server_find_domain(&s, 1)->nodes;

    /* As deep as the quota of nodes lets it be, in one request; deeper is refused as a whole. */
    for (long i = had; i < 999; i++) {
        len += (size_t)sprintf(text + len, "/d");
    }
    strcpy(text + len, "/e/f|");
    IS(fake_ask(&g1, XS_MKDIR, 0, text), "ENOSPC");
    CU_ASSERT_EQUAL(server_find_domain(&s, 1)->nodes, had);
    strcpy(text + len, "/e|");
    IS(fake_ask(&g1, XS_MKDIR, 0, text), "OK|");
    CU_ASSERT_EQUAL(server_find_domain(&s, 1)->nodes, 1000);
    IS(fake_ask(&g1, XS_RM, 0, "data/d|"), "OK|");
    CU_ASSERT_EQUAL(server_find_domain(&s, 1)->nodes, had);
    /* The protocol's longest paths, and one more. */
    memset(text, 'p', 4000);
    memcpy(text, "data/", 5);
    strcpy(text + 2048, "|x");
    IS(fake_ask(&g1, XS_WRITE, 0, text), "OK|");
    IS(fake_ask(&g1, XS_RM, 0, strcpy(text + 2048, "|") - 2048), "OK|");
    strcpy(text + 2048, "p|x");
    IS(fake_ask(&g1, XS_WRITE, 0, text), "EINVAL");
    memset(text, 'p', 4000);
    memcpy(text, "/local/domain/1/data/", 21);
    strcpy(text + 3072, "|x");
    IS(fake_ask(&g1, XS_WRITE, 0, text), "OK|");
    IS(fake_ask(&g1, XS_RM, 0, strcpy(text + 3072, "|") - 3072), "OK|");
    strcpy(text + 3072, "p|x");
    IS(fake_ask(&g1, XS_WRITE, 0, text), "EINVAL");
    IS(fake_ask(&g1, XS_SET_PERMS, 0, "data|n1|r2|r3|r4|r5|"), "OK|");
    IS(fake_ask(&g1, XS_SET_PERMS, 0, "data|n1|r2|r3|r4|r5|r6|"), "ENOSPC");
    IS(fake_ask(&g1, XS_SET_PERMS, 0, "data|n1|"), "OK|");
    free(text);
}

static void test_quota__own_limits_by_control(void)
{
    IS(fake_ask(&dom0, XS_CONTROL, 0, "quota|set|1|watches|1|"), "OK|");
    IS(fake_ask(&g1, XS_WATCH, 0, "data|1|"), "OK|");
    IS(fake_event(&g1), "data|1");
    IS(fake_ask(&g1, XS_WATCH, 0, "data|2|"), "E2BIG");
    IS(fake_ask(&g2, XS_WATCH, 0, "data|1|"), "OK|");
    IS(fake_event(&g2), "data|1");
    IS(fake_ask(&g2, XS_WATCH, 0, "data|2|"), "OK|");
    IS(fake_event(&g2), "data|2");
    IS(fake_ask(&dom0, XS_CONTROL, 0, "quota|set|9|watches|1|"), "ENOENT");
    IS(fake_ask(&dom0, XS_CONTROL, 0, "quota|set|1|nothing|1|"), "ENOENT");
    CU_ASSERT_PTR_NOT_NULL(strstr(fake_ask(&dom0, XS_CONTROL, 0, "quota|1|"), "watches 1"));
    IS(fake_ask(&g1, XS_RESET_WATCHES, 0, ""), "OK|");
    IS(fake_ask(&g2, XS_RESET_WATCHES, 0, ""), "OK|");
    server_find_domain(&s, 1)->own_quota = false;
}

static void test_quota__who_does_not_read_is_not_served(void)
{
    struct fake_msg m;
    int answers = 0;

    g1.room = 0;
    for (int i = 0; i < 100; i++) {
        fake_send(&g1, XS_GET_DOMAIN_PATH, 0, "1", 2);
    }
    fake_run(&s);
    CU_ASSERT_EQUAL(g1.conn->answers, 20);
    IS(fake_ask(&g2, XS_GET_DOMAIN_PATH, 0, "1|"), "/local/domain/1|");
    g1.room = SIZE_MAX;
    conn_wake(g1.conn);
    fake_run(&s);
    while (fake_next(&g1, &m)) {
        answers++;
    }
    CU_ASSERT_EQUAL(answers, 100);
}

static void test_quota__unread_events_are_bounded(void)
{
    char text[4096];
    struct fake_msg m;
    size_t limit = 4000, most = 0;
    bool own_path = false;

    IS(fake_ask(&dom0, XS_CONTROL, 0, "quota|set|1|memory|4000|"), "OK|");
    IS(fake_ask(&g1, XS_WATCH, 0, "data|t|"), "OK|");
    IS(fake_event(&g1), "data|t");
    g1.room = 0;
    for (int i = 0; i < 1000; i++) {
        snprintf(text, sizeof(text), "/local/domain/1/data/e%d|1", i);
        IS(fake_ask(&dom0, XS_WRITE, 0, text), "OK|");
        most = g1.conn->out_bytes > most ? g1.conn->out_bytes : most;
    }
    CU_ASSERT(most < limit + 2 * 64);
    g1.room = SIZE_MAX;
    conn_wake(g1.conn);
    fake_run(&s);
    while (fake_next(&g1, &m)) {
        own_path = own_path || strcmp(m.body, "data") == 0;
    }
    /* Nothing is lost without a word: what did not fit is told as a change of the watch's node. */
    CU_ASSERT_TRUE(own_path);
    for (int i = 0; i < 1000; i++) {
        snprintf(text, sizeof(text), "/local/domain/1/data/e%d|", i);
        IS(fake_ask(&dom0, XS_RM, 0, text), "OK|");
    }
    server_find_domain(&s, 1)->own_quota = false;
    drain(&g1);
    IS(fake_ask(&g1, XS_RESET_WATCHES, 0, ""), "OK|");
}

static void test_conn__one_client_cannot_keep_the_others_waiting(void)
{
    struct fake_msg m;
    int rounds = 0;

    for (int i = 0; i < 1000; i++) {
        fake_send(&g1, XS_GET_DOMAIN_PATH, 0, "1", 2);
    }
    fake_send(&g2, XS_GET_DOMAIN_PATH, 0, "2", 2);
    while (!fake_next(&g2, &m)) {
        CU_ASSERT_TRUE_FATAL(server_run(&s));
        rounds++;
    }
    CU_ASSERT(rounds <= 2);
    drain(&g1);
}

/* Each write may be a system call and a switch to the client. */
static void test_conn__answers_leave_together(void)
{
    struct fake_msg m;

    IS(fake_ask(&dom0, XS_WRITE, 0, "/long|"), "OK|");
    drain(&dom0);
    dom0.writes = 0;
    for (int i = 0; i < 10; i++) {
        fake_send(&dom0, XS_READ, 0, "/long", 6);
    }
    fake_run(&s);
    CU_ASSERT_EQUAL(dom0.writes, 1);
    for (int i = 0; i < 10; i++) {
        CU_ASSERT(fake_next(&dom0, &m) && m.hdr.type == XS_READ && m.hdr.len == 0);
    }
    /* Whatever part of a piece goes, no byte is lost or sent twice. */
    for (size_t room = 1; room < 60; room += 7) {
        for (int i = 0; i < 3; i++) {
            fake_send(&dom0, XS_GET_DOMAIN_PATH, 0, "1", 2);
        }
        for (int i = 0; i < 200 && dom0.writes != 0; i++) {
            dom0.room = room;
            dom0.writes = 0;
            conn_wake(dom0.conn);
            fake_run(&s);
        }
        dom0.room = SIZE_MAX;
        dom0.writes = 1;
        for (int i = 0; i < 3; i++) {
            CU_ASSERT(fake_next(&dom0, &m) && strcmp(m.body, "/local/domain/1") == 0);
        }
        CU_ASSERT_FALSE(fake_next(&dom0, &m));
    }
}

static void add_suites(void)
{
    CU_pSuite node = CU_add_suite("nodes", open_server, close_server);
    CU_pSuite perm = CU_add_suite("permissions", open_server, close_server);
    CU_pSuite watch = CU_add_suite("watches", open_server, close_server);
    CU_pSuite quota = CU_add_suite("quota", open_server, close_server);
    CU_pSuite conns = CU_add_suite("connections", open_server, close_server);

    CU_ADD_TEST(node, test_op_read__values);
    CU_ADD_TEST(node, test_op_directory__lists);
    CU_ADD_TEST(node, test_op_directory_part__puts_a_long_list_together);
    CU_ADD_TEST(node, test_ops__all_of_the_header);
    CU_ADD_TEST(node, test_books__balance);
    CU_ADD_TEST(perm, test_perms__guest_stays_in_its_room);
    CU_ADD_TEST(perm, test_perms__control_requests_are_refused);
    CU_ADD_TEST(perm, test_op_set_target__acts_for_another);
    CU_ADD_TEST(perm, test_books__balance);
    CU_ADD_TEST(watch, test_watch__initial_and_changes);
    CU_ADD_TEST(watch, test_watch__answer_comes_before_events);
    CU_ADD_TEST(watch, test_watch__relative_paths);
    CU_ADD_TEST(watch, test_watch__says_nothing_of_what_one_may_not_read);
    CU_ADD_TEST(watch, test_watch__same_event_waits_once);
    CU_ADD_TEST(watch, test_watch__many_at_one_place);
    CU_ADD_TEST(watch, test_watch__depth);
    CU_ADD_TEST(watch, test_books__balance);
    CU_ADD_TEST(quota, test_quota__nodes);
    CU_ADD_TEST(quota, test_quota__watches_transactions_size);
    CU_ADD_TEST(quota, test_quota__memory);
    CU_ADD_TEST(quota, test_quota__paths_and_permissions);
    CU_ADD_TEST(quota, test_quota__own_limits_by_control);
    CU_ADD_TEST(quota, test_quota__who_does_not_read_is_not_served);
    CU_ADD_TEST(quota, test_quota__unread_events_are_bounded);
    CU_ADD_TEST(quota, test_books__balance);
    CU_ADD_TEST(conns, test_conn__answers_leave_together);
    CU_ADD_TEST(conns, test_conn__one_client_cannot_keep_the_others_waiting);
    CU_ADD_TEST(conns, test_books__balance);
}

int main(void)
{
    return fake_main("test_store_server", add_suites);
}
