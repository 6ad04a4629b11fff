// SPDX-License-Identifier: MIT
/*
 * Transactions: isolation, conflicts that are conflicts, those that are none, and turns.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "test_store_util.h"

#define IS(expr, want) CU_ASSERT_STRING_EQUAL(expr, want)

static struct server s;
static struct fake a, b, g;

static int open_server(void)
{
    server_init(&s, NULL);
    fake_connect(&a, &s, 0);
    fake_connect(&b, &s, 0);
    fake_connect(&g, &s, 1);
    fake_ask(&a, XS_MKDIR, 0, "/local/domain/1/data|");
    fake_ask(&a, XS_SET_PERMS, 0, "/local/domain/1/data|n1|");
    fake_ask(&a, XS_WRITE, 0, "/t/x|0");
    fake_ask(&a, XS_WRITE, 0, "/t/y|0");
    return 0;
}

static int close_server(void)
{
    server_destroy(&s);
    fake_free(&a);
    fake_free(&b);
    fake_free(&g);
    return 0;
}

/* The last case of each suite: nothing is left behind, and the books agree with the tree. */
static void test_books__balance(void)
{
    CU_ASSERT_EQUAL(a.conn->txns.count, 0);
    CU_ASSERT_EQUAL(b.conn->txns.count, 0);
    CU_ASSERT_EQUAL(s.store.live.root->ref, 1);
    IS(fake_check(&a), "OK|");
}

static uint32_t begin(struct fake *f)
{
    return (uint32_t)strtoul(fake_ask(f, XS_TRANSACTION_START, 0, "|"), NULL, 10);
}

static const char *commit(struct fake *f, uint32_t tx)
{
    return fake_ask(f, XS_TRANSACTION_END, tx, "T|");
}

static void test_txn__isolated_both_ways(void)
{
    uint32_t tx = begin(&a);

    CU_ASSERT(tx != 0);
    IS(fake_ask(&a, XS_WRITE, tx, "/t/x|in"), "OK|");
    IS(fake_ask(&b, XS_READ, 0, "/t/x|"), "0");
    IS(fake_ask(&a, XS_READ, tx, "/t/x|"), "in");
    IS(fake_ask(&b, XS_WRITE, 0, "/t/z|late"), "OK|");
    IS(fake_ask(&a, XS_DIRECTORY, tx, "/t|"), "x|y|");
    IS(fake_ask(&a, XS_TRANSACTION_END, tx, "F|"), "OK|");
    IS(fake_ask(&b, XS_READ, 0, "/t/x|"), "0");
    IS(fake_ask(&a, XS_READ, tx, "/t/x|"), "ENOENT");
    IS(fake_ask(&b, XS_RM, 0, "/t/z|"), "OK|");
}

static void test_txn__commits_as_a_whole(void)
{
    uint32_t tx = begin(&a);

    IS(fake_ask(&b, XS_WATCH, 0, "/t|w|"), "OK|");
    IS(fake_event(&b), "/t|w");
    IS(fake_ask(&a, XS_WRITE, tx, "/t/x|1"), "OK|");
    IS(fake_ask(&a, XS_WRITE, tx, "/t/new/deep|1"), "OK|");
    IS(fake_ask(&a, XS_RM, tx, "/t/y|"), "OK|");
    IS(fake_ask(&a, XS_SET_PERMS, tx, "/t/x|n0|r1|"), "OK|");
    IS(fake_event(&b), "");
    IS(commit(&a, tx), "OK|");
    IS(fake_event(&b), "/t/x|w");
    IS(fake_event(&b), "/t/new/deep|w");
    IS(fake_event(&b), "/t/y|w");
    IS(fake_event(&b), "");
    IS(fake_ask(&g, XS_READ, 0, "/t/x|"), "1");
    IS(fake_ask(&b, XS_DIRECTORY, 0, "/t|"), "new|x|");
    IS(fake_ask(&b, XS_UNWATCH, 0, "/t|w|"), "OK|");
    IS(fake_ask(&b, XS_WRITE, 0, "/t/y|0"), "OK|");
    IS(fake_ask(&b, XS_RM, 0, "/t/new|"), "OK|");
}

/* What one does in a transaction, what another does meanwhile, and whether these conflict. */
static const struct {
    uint32_t type;
    const char *text;
    uint32_t other_type;
    const char *other;
    bool conflict;
} meetings[] = {
    {XS_READ, "/t/x|", XS_WRITE, "/t/x|1", true},
    {XS_READ, "/t/x|", XS_WRITE, "/t/y|1", false},
    {XS_READ, "/t/x|", XS_RM, "/t/x|", true},
    {XS_READ, "/t|", XS_WRITE, "/t/n|1", false},
    {XS_READ, "/t|", XS_WRITE, "/t/x|1", false},
    {XS_READ, "/t/n|", XS_WRITE, "/t/n|1", true},
    {XS_READ, "/t/n|", XS_WRITE, "/t/m|1", false},
    {XS_READ, "/t/x|", XS_SET_PERMS, "/t/x|n0|r1|", true},
    {XS_READ, "/t/x|", XS_SET_PERMS, "/t|n0|r1|", false},
    {XS_DIRECTORY, "/t|", XS_WRITE, "/t/n|1", true},
    {XS_DIRECTORY, "/t|", XS_RM, "/t/y|", true},
    {XS_DIRECTORY, "/t|", XS_WRITE, "/t/x|1", false},
    {XS_DIRECTORY, "/t|", XS_WRITE, "/t/x/n|1", false},
    {XS_DIRECTORY, "/t|", XS_WRITE, "/t|1", false},
    {XS_GET_PERMS, "/t/x|", XS_WRITE, "/t/x|1", false},
    {XS_GET_PERMS, "/t/x|", XS_SET_PERMS, "/t/x|n0|", true},
    {XS_WRITE, "/t/x|2", XS_WRITE, "/t/x|1", true},
    {XS_WRITE, "/t/x|2", XS_WRITE, "/t/y|1", false},
    {XS_WRITE, "/t/n|2", XS_WRITE, "/t/m|1", false},
    {XS_WRITE, "/t/n|2", XS_WRITE, "/t/n|1", true},
    {XS_WRITE, "/t/n/o|2", XS_MKDIR, "/t/n|", true},
    {XS_WRITE, "/t/n|2", XS_RM, "/t|", true},
    {XS_MKDIR, "/t/n|", XS_MKDIR, "/t/m|", false},
    {XS_MKDIR, "/t/x|", XS_RM, "/t/x|", true},
    {XS_RM, "/t/x|", XS_WRITE, "/t/y|1", false},
    {XS_RM, "/t/x|", XS_WRITE, "/t/x|1", true},
    {XS_RM, "/t/x|", XS_WRITE, "/t/x/below/it|1", true},
    {XS_RM, "/t|", XS_WRITE, "/t/x|1", true},
    {XS_RM, "/t|", XS_WRITE, "/other|1", false},
    {XS_SET_PERMS, "/t/x|n0|r1|", XS_WRITE, "/t/x|1", false},
    {XS_SET_PERMS, "/t/x|n0|r1|", XS_SET_PERMS, "/t/x|n0|", true},
};

static void test_txn__meetings(void)
{
    for (size_t i = 0; i < sizeof(meetings) / sizeof(meetings[0]); i++) {
        const char *want = meetings[i].conflict ? "EAGAIN" : "OK|";
        const char *got;
        uint32_t tx;

        fake_ask(&b, XS_RM, 0, "/t|");
        fake_ask(&b, XS_WRITE, 0, "/t/x|0");
        fake_ask(&b, XS_WRITE, 0, "/t/y|0");
        tx = begin(&a);
        fake_ask(&a, meetings[i].type, tx, meetings[i].text);
        /* An edit elsewhere, so that there is something to commit. */
        IS(fake_ask(&a, XS_WRITE, tx, "/elsewhere|1"), "OK|");
        IS(fake_ask(&b, meetings[i].other_type, 0, meetings[i].other), "OK|");
        got = commit(&a, tx);
        if (strcmp(got, want) != 0) {
            printf("meeting %zu: %s\n", i, got);
        }
        IS(got, want);
        fake_ask(&b, XS_RM, 0, "/elsewhere|");
        fake_ask(&b, XS_RM, 0, "/other|");
    }
    fake_ask(&b, XS_RM, 0, "/t|");
    fake_ask(&b, XS_WRITE, 0, "/t/x|0");
    fake_ask(&b, XS_WRITE, 0, "/t/y|0");
}

static void test_txn__both_sides_survive_a_merge(void)
{
    uint32_t tx = begin(&a), tx2 = begin(&b);

    IS(fake_ask(&a, XS_WRITE, tx, "/t/a1|1"), "OK|");
    IS(fake_ask(&b, XS_WRITE, tx2, "/t/b1|1"), "OK|");
    IS(fake_ask(&b, XS_WRITE, tx2, "/t/y|b"), "OK|");
    IS(commit(&a, tx), "OK|");
    IS(commit(&b, tx2), "OK|");
    IS(fake_ask(&a, XS_DIRECTORY, 0, "/t|"), "a1|b1|x|y|");
    IS(fake_ask(&a, XS_READ, 0, "/t/y|"), "b");
    fake_ask(&a, XS_RM, 0, "/t/a1|");
    fake_ask(&a, XS_RM, 0, "/t/b1|");
}

static void test_txn__reading_only_never_conflicts(void)
{
    uint32_t tx = begin(&a);

    IS(fake_ask(&a, XS_READ, tx, "/t/x|"), "0");
    IS(fake_ask(&b, XS_WRITE, 0, "/t/x|7"), "OK|");
    IS(fake_ask(&b, XS_WRITE, 0, "/t/y|7"), "OK|");
    /* Still the state at the start, also for what was not looked at before. */
    IS(fake_ask(&a, XS_READ, tx, "/t/y|"), "b");
    IS(commit(&a, tx), "OK|");
}

static void test_txn__of_another_connection(void)
{
    uint32_t tx = begin(&a);

    IS(fake_ask(&b, XS_READ, tx + 100, "/t/x|"), "ENOENT");
    IS(fake_ask(&b, XS_TRANSACTION_END, tx + 100, "T|"), "ENOENT");
    IS(fake_ask(&a, XS_TRANSACTION_START, tx, "|"), "EBUSY");
    IS(fake_ask(&a, XS_TRANSACTION_END, tx, "F|"), "OK|");
    IS(fake_ask(&a, XS_TRANSACTION_END, tx, "F|"), "ENOENT");
    IS(fake_ask(&a, XS_TRANSACTION_END, 0, "T|"), "ENOENT");
}

static void test_txn__permissions_hold_inside(void)
{
    uint32_t tx = begin(&g);

    IS(fake_ask(&g, XS_WRITE, tx, "/t/x|no"), "EACCES");
    IS(fake_ask(&g, XS_WRITE, tx, "data/mine|yes"), "OK|");
    IS(commit(&g, tx), "OK|");
    IS(fake_ask(&a, XS_GET_PERMS, 0, "/local/domain/1/data/mine|"), "n1|");
    IS(fake_ask(&g, XS_RM, 0, "data/mine|"), "OK|");
    /* What was allowed at the start and is not at the end is a conflict. */
    tx = begin(&g);
    IS(fake_ask(&g, XS_WRITE, tx, "data/mine|yes"), "OK|");
    IS(fake_ask(&a, XS_SET_PERMS, 0, "/local/domain/1/data|n0|"), "OK|");
    IS(commit(&g, tx), "EAGAIN");
    IS(fake_ask(&a, XS_SET_PERMS, 0, "/local/domain/1/data|n1|"), "OK|");
}

static void test_txn__quota_counts_inside_and_at_the_end(void)
{
    char text[64];
    uint32_t tx;
    int made = 0;
    const char *got = "";

    IS(fake_ask(&a, XS_CONTROL, 0, "quota|set|1|nodes|50|"), "OK|");
    tx = begin(&g);
    while (made < 100) {
        snprintf(text, sizeof(text), "data/%d|x", made);
        got = fake_ask(&g, XS_WRITE, tx, text);
        if (strcmp(got, "OK|") != 0) {
            break;
        }
        made++;
    }
    IS(got, "ENOSPC");
    CU_ASSERT_EQUAL(made, 49);
    IS(fake_ask(&g, XS_WRITE, 0, "data/outside|x"), "OK|");
    IS(commit(&g, tx), "ENOSPC");
    IS(fake_ask(&g, XS_DIRECTORY, 0, "data|"), "outside|");
    IS(fake_ask(&g, XS_RM, 0, "data/outside|"), "OK|");
    CU_ASSERT_EQUAL(server_find_domain(&s, 1)->nodes, 1);
    IS(fake_ask(&a, XS_CONTROL, 0, "quota|set|1|transaction_nodes|20|"), "OK|");
    tx = begin(&g);
    for (int i = 0; i < 40; i++) {
        snprintf(text, sizeof(text), "data/%d|", i);
        got = fake_ask(&g, XS_READ, tx, text);
    }
    IS(got, "ENOSPC");
    IS(fake_ask(&g, XS_TRANSACTION_END, tx, "F|"), "OK|");
    server_find_domain(&s, 1)->own_quota = false;
}

/* One node written, or removed and made, again and again takes memory like many nodes. */
static void test_txn__edits_of_one_node_are_bounded(void)
{
    const char *got = "OK|";
    uint32_t tx = begin(&g);
    int done = 0;

    while (done < 5000 && strcmp(got, "OK|") == 0) {
        got = fake_ask(&g, XS_WRITE, tx, "data/same|x");
        done++;
    }
    IS(got, "ENOSPC");
    CU_ASSERT_EQUAL(done, 1026);
    IS(fake_ask(&g, XS_READ, tx, "data/same|"), "ENOSPC");
    /* Of a client that has no limits, a like one goes through; and this one can still be kept. */
    CU_ASSERT_STRING_EQUAL(commit(&g, tx), "OK|");
    IS(fake_ask(&g, XS_READ, 0, "data/same|"), "x");
    IS(fake_ask(&g, XS_RM, 0, "data/same|"), "OK|");
}

static void test_txn__dies_with_its_connection(void)
{
    struct fake c;
    uint32_t tx;

    fake_connect(&c, &s, 0);
    tx = begin(&c);
    IS(fake_ask(&c, XS_WRITE, tx, "/t/x|lost"), "OK|");
    conn_free(c.conn);
    CU_ASSERT_TRUE(c.closed);
    IS(fake_ask(&a, XS_READ, 0, "/t/x|"), "7");
    fake_free(&c);
}

/* Makes a client's transaction meet a conflict. */
static void collide(struct fake *f)
{
    uint32_t tx = begin(f);

    IS(fake_ask(f, XS_WRITE, tx, "/t/x|mine"), "OK|");
    IS(fake_ask(&g, XS_GET_DOMAIN_PATH, 0, "1|"), "/local/domain/1|");
    view_write(&s.store.live, "/t/x", "7", 1, STORE_INHERIT_OWNER);
    server_committed(&s, &s.store.live);
    IS(commit(f, tx), "EAGAIN");
}

static void test_turn__commit_in_the_way_waits(void)
{
    uint32_t turn, tx;
    struct fake_msg m;

    collide(&a);
    turn = begin(&a);
    IS(fake_ask(&a, XS_READ, turn, "/t/x|"), "7");
    tx = begin(&b);
    IS(fake_ask(&b, XS_WRITE, tx, "/t/x|b"), "OK|");
    fake_send(&b, XS_TRANSACTION_END, tx, "T", 2);
    fake_run(&s);
    CU_ASSERT_FALSE(fake_next(&b, &m));
    CU_ASSERT(turn_timeout(&s) >= 0);
    /* Others, and commits that are not in the way, go on. */
    IS(fake_ask(&g, XS_WRITE, 0, "data/free|1"), "OK|");
    IS(fake_ask(&g, XS_RM, 0, "data/free|"), "OK|");
    IS(fake_ask(&a, XS_WRITE, turn, "/t/x|a"), "OK|");
    IS(commit(&a, turn), "OK|");
    CU_ASSERT_TRUE(fake_next(&b, &m));
    CU_ASSERT_EQUAL(m.hdr.type, XS_ERROR);
    CU_ASSERT_STRING_EQUAL(m.body, "EAGAIN");
    IS(fake_ask(&a, XS_READ, 0, "/t/x|"), "a");
    CU_ASSERT_EQUAL(turn_timeout(&s), -1);
    tx = begin(&b);
    IS(fake_ask(&b, XS_TRANSACTION_END, tx, "F|"), "OK|");
}

/* Whoever ends one transaction again and again while that end waits is not read any more. */
static void test_turn__requests_that_wait_are_bounded(void)
{
    uint32_t turn, tx;
    struct fake_msg m;
    int answers = 0;

    IS(fake_ask(&g, XS_WRITE, 0, "data/x|7"), "OK|");
    collide(&a);
    turn = begin(&a);
    IS(fake_ask(&a, XS_READ, turn, "/local/domain/1/data/x|"), "7");
    tx = begin(&g);
    IS(fake_ask(&g, XS_WRITE, tx, "data/x|8"), "OK|");
    for (int i = 0; i < 200; i++) {
        fake_send(&g, XS_TRANSACTION_END, tx, "T", 2);
    }
    fake_run(&s);
    CU_ASSERT_FALSE(fake_next(&g, &m));
    CU_ASSERT_EQUAL(g.conn->parked, 20);
    IS(commit(&a, turn), "OK|");
    while (fake_next(&g, &m)) {
        answers++;
    }
    CU_ASSERT_EQUAL(answers, 200);
    CU_ASSERT_EQUAL(g.conn->parked, 0);
    IS(fake_ask(&g, XS_READ, 0, "data/x|"), "8");
    IS(fake_ask(&g, XS_RM, 0, "data/x|"), "OK|");
}

static void test_turn__of_a_dawdler_ends(void)
{
    const struct timespec tick = {.tv_nsec = 5000000};
    uint32_t turn;
    struct fake_msg m;
    bool got = false;

    collide(&a);
    collide(&b);
    turn = begin(&a);
    fake_send(&b, XS_TRANSACTION_START, 0, "", 1);
    fake_run(&s);
    CU_ASSERT_FALSE(fake_next(&b, &m));
    CU_ASSERT(turn_timeout(&s) >= 0 && turn_timeout(&s) <= TURN_LIMIT_MS);
    for (int i = 0; i < 10000 && !got; i++) {
        nanosleep(&tick, NULL);
        fake_run(&s);
        got = fake_next(&b, &m);
    }
    CU_ASSERT_TRUE_FATAL(got);
    CU_ASSERT_EQUAL(m.hdr.type, XS_TRANSACTION_START);
    IS(fake_ask(&b, XS_TRANSACTION_END, (uint32_t)strtoul(m.body, NULL, 10), "F|"), "OK|");
    IS(fake_ask(&a, XS_TRANSACTION_END, turn, "F|"), "OK|");
}

static void test_turn__ends_with_its_connection(void)
{
    struct fake c;
    struct fake_msg m;

    fake_connect(&c, &s, 0);
    collide(&c);
    collide(&b);
    CU_ASSERT(begin(&c) != 0);
    fake_send(&b, XS_TRANSACTION_START, 0, "", 1);
    fake_run(&s);
    CU_ASSERT_FALSE(fake_next(&b, &m));
    conn_free(c.conn);
    fake_free(&c);
    CU_ASSERT_EQUAL(turn_timeout(&s), 0);
    fake_run(&s);
    CU_ASSERT_TRUE_FATAL(fake_next(&b, &m));
    IS(fake_ask(&b, XS_TRANSACTION_END, (uint32_t)strtoul(m.body, NULL, 10), "F|"), "OK|");
    /* And one that waits goes without a trace. */
    fake_connect(&c, &s, 0);
    collide(&c);
    collide(&b);
    CU_ASSERT(begin(&b) != 0);
    fake_send(&c, XS_TRANSACTION_START, 0, "", 1);
    fake_run(&s);
    conn_free(c.conn);
    fake_free(&c);
    CU_ASSERT_PTR_NULL(s.turns.first);
    IS(fake_ask(&b, XS_RESET_WATCHES, 0, ""), "OK|");
    CU_ASSERT_PTR_NULL(s.turns.holder);
}

#define CLIENTS 500
#define ROUNDS 4

/* A client that adds one to a number, over and over, whatever it takes. */
struct adder {
    struct fake f;
    uint32_t tx;
    int state; /* 0 start, 1 read, 2 write, 3 end */
    int done;
    unsigned int tries;
};

static void adder_step(struct adder *ad)
{
    struct fake_msg m;
    char text[64];

    if (!fake_next(&ad->f, &m)) {
        return;
    }
    switch (ad->state) {
    case 0:
        ad->tx = (uint32_t)strtoul(m.body, NULL, 10);
        fake_send(&ad->f, XS_READ, ad->tx, "/sum", 5);
        break;
    case 1:
        memcpy(text, "/sum", 5);
        sprintf(text + 5, "%d", atoi(m.body) + 1);
        fake_send(&ad->f, XS_WRITE, ad->tx, text, 5 + strlen(text + 5));
        break;
    case 2:
        CU_ASSERT_EQUAL(m.hdr.type, XS_WRITE);
        fake_send(&ad->f, XS_TRANSACTION_END, ad->tx, "T", 2);
        break;
    default:
        ad->done += m.hdr.type != XS_ERROR;
        ad->tries++;
        if (ad->done < ROUNDS) {
            fake_send(&ad->f, XS_TRANSACTION_START, 0, "", 1);
        }
        break;
    }
    ad->state = (ad->state + 1) % 4;
}

static void test_txn__five_hundred_adders(void)
{
    static struct adder ad[CLIENTS];
    char want[16];
    bool all = false;
    unsigned int most = 0;

    IS(fake_ask(&a, XS_WRITE, 0, "/sum|0"), "OK|");
    for (int i = 0; i < CLIENTS; i++) {
        ad[i] = (struct adder){0};
        fake_connect(&ad[i].f, &s, 0);
        fake_send(&ad[i].f, XS_TRANSACTION_START, 0, "", 1);
    }
    while (!all) {
        server_run(&s);
        all = true;
        for (int i = 0; i < CLIENTS; i++) {
            adder_step(&ad[i]);
            all = all && ad[i].done >= ROUNDS;
        }
    }
    snprintf(want, sizeof(want), "%d", CLIENTS * ROUNDS);
    IS(fake_ask(&a, XS_READ, 0, "/sum|"), want);
    for (int i = 0; i < CLIENTS; i++) {
        most = ad[i].tries > most ? ad[i].tries : most;
        conn_free(ad[i].f.conn);
        fake_free(&ad[i].f);
    }
    printf("\n  most tries of one client for %d commits: %u\n", ROUNDS, most);
    /* One conflict puts a client in the queue of those that are served one by one. */
    CU_ASSERT(most <= 3 * ROUNDS);
    IS(fake_ask(&a, XS_RM, 0, "/sum|"), "OK|");
}

static void add_suites(void)
{
    CU_pSuite txn = CU_add_suite("transactions", open_server, close_server);

    CU_ADD_TEST(txn, test_txn__isolated_both_ways);
    CU_ADD_TEST(txn, test_txn__commits_as_a_whole);
    CU_ADD_TEST(txn, test_txn__meetings);
    CU_ADD_TEST(txn, test_txn__both_sides_survive_a_merge);
    CU_ADD_TEST(txn, test_txn__reading_only_never_conflicts);
    CU_ADD_TEST(txn, test_txn__of_another_connection);
    CU_ADD_TEST(txn, test_txn__permissions_hold_inside);
    CU_ADD_TEST(txn, test_txn__quota_counts_inside_and_at_the_end);
    CU_ADD_TEST(txn, test_txn__edits_of_one_node_are_bounded);
    CU_ADD_TEST(txn, test_txn__dies_with_its_connection);
    CU_ADD_TEST(txn, test_turn__commit_in_the_way_waits);
    CU_ADD_TEST(txn, test_turn__requests_that_wait_are_bounded);
    CU_ADD_TEST(txn, test_turn__of_a_dawdler_ends);
    CU_ADD_TEST(txn, test_turn__ends_with_its_connection);
    CU_ADD_TEST(txn, test_txn__five_hundred_adders);
    CU_ADD_TEST(txn, test_books__balance);
}

int main(void)
{
    return fake_main("test_store_txn", add_suites);
}
