// SPDX-License-Identifier: MIT
/*
 * What each request costs as the store grows, counted in steps and not timed: the store's objects
 * are compiled so that every basic block they run calls us. The store holds 1,000, 10,000 and then
 * 100,000 nodes, a tenth as many watches and a hundredth as many connected domains.
 *
 * O(log n) shows in two ways: ten times as much of everything never doubles a request, and each
 * tenfold growth adds about as many steps as the one before.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "test_store_util.h"

#define SIZES 3
#define TRIES 200
/* Nodes of each domain, and of them those of one device. */
#define DOMAIN_NODES 90u
#define DEVICE_NODES 10u

/* Instrumentation's call, one a basic block. */
void __sanitizer_cov_trace_pc(void);

static unsigned long steps;

void __sanitizer_cov_trace_pc(void)
{
    steps++;
}

/* The store's seed, in the kernel's place: the same trees and the same places in every run, or
 * those of STEPS_SEED=, so that nobody meets the one in many that is out of the ordinary. */
ssize_t getrandom(void *seed, size_t bytes, unsigned int flags)
{
    const char *own = getenv("STEPS_SEED");

    (void)flags;
    memset(seed, own != NULL ? 1 + atoi(own) % 255 : 42, bytes);
    return (ssize_t)bytes;
}

/* A store of one size. */
struct world {
    struct server s;
    unsigned int domains;
    unsigned int wide; /* children of /wide */
    struct fake dom0;
    struct fake *guests; /* the i-th is domain 2 (i + 1) */
};

static struct world worlds[SIZES];

static const char *ask(struct fake *f, uint32_t type, uint32_t tx, const char *text)
{
    /* What came before, events among it, has been looked at or is of no interest. */
    f->to_server.len = f->taken = 0;
    f->from_server.len = f->seen = 0;
    return fake_ask(f, type, tx, text);
}

static void expect(struct fake *f, uint32_t type, uint32_t tx, const char *text, const char *want)
{
    const char *got = ask(f, type, tx, text);

    if (strcmp(got, want) != 0) {
        printf("\n  request %u \"%s\": \"%s\"\n", type, text, got);
        CU_FAIL_FATAL("not the answer wanted");
    }
}

/* The i-th node of a domain. */
static void node_name(char text[96], unsigned int domid, unsigned int i, const char *rest)
{
    snprintf(text, 96, "/local/domain/%u/device/%u/%u%s", domid, i / DEVICE_NODES, i % DEVICE_NODES,
             rest);
}

/* The guest has every other id, for there to be free ones between them. */
static void fill_domain(struct world *w, unsigned int guest)
{
    unsigned int domid = 2 * (guest + 1);
    char text[96];

    fake_connect(&w->guests[guest], &w->s, (uint16_t)domid);
    for (unsigned int i = 0; i < DOMAIN_NODES; i++) {
        node_name(text, domid, i, "|value");
        expect(&w->dom0, XS_WRITE, 0, text, "OK|");
    }
    snprintf(text, sizeof(text), "/local/domain/%u/device|n%u|", domid, domid);
    expect(&w->dom0, XS_SET_PERMS, 0, text, "OK|");
    for (unsigned int i = 0; i < DEVICE_NODES; i++) {
        node_name(text, domid, i, "|n");
        snprintf(text + strlen(text), 16, "%u|", domid);
        expect(&w->dom0, XS_SET_PERMS, 0, text, "OK|");
        node_name(text, domid, i, "|token|");
        expect(&w->guests[guest], XS_WATCH, 0, text, "OK|");
    }
}

static void test_filling(void)
{
    unsigned int nodes = 1000;
    char text[96];

    for (unsigned int size = 0; size < SIZES; size++, nodes *= 10) {
        struct world *w = &worlds[size];

        w->domains = nodes / 100;
        w->wide = nodes / 10;
        w->guests = mem_zalloc(w->domains * sizeof(*w->guests));
        server_init(&w->s, NULL);
        fake_connect(&w->dom0, &w->s, 0);
        for (unsigned int i = 0; i < w->wide; i++) {
            snprintf(text, sizeof(text), "/wide/%u|", i);
            expect(&w->dom0, XS_MKDIR, 0, text, "OK|");
        }
        for (unsigned int guest = 0; guest < w->domains; guest++) {
            fill_domain(w, guest);
        }
        CU_ASSERT_TRUE(w->s.store.nodes >= nodes);
        expect(&w->dom0, XS_CONTROL, 0, "check|", "OK|");
    }
}

static int free_worlds(void)
{
    for (unsigned int size = 0; size < SIZES; size++) {
        struct world *w = &worlds[size];

        server_destroy(&w->s);
        fake_free(&w->dom0);
        for (unsigned int i = 0; i < w->domains; i++) {
            fake_free(&w->guests[i]);
        }
        free(w->guests);
    }
    return 0;
}

/* --- the requests ------------------------------------------------------------------------ */

/* One request somewhere: what has to be there is prepared before, and cleaned up after it. */
struct kind {
    const char *name;
    uint32_t type;
    const char *want;       /* the answer; NULL: any but an error's name */
    const char *text;       /* payload: %d a domain, %k one of its devices, %w a child of /wide */
    uint32_t before, after; /* requests of the control domain, 0 for none */
    const char *before_text, *after_text;
    unsigned int from; /* the first size at which it is itself */
    bool guest;        /* it is the domain's own request */
    bool txn;          /* in a transaction; its end for XS_TRANSACTION_END */
};

static const struct kind kinds[] = {
    {.name = "read", .type = XS_READ, .want = "value", .text = "/local/domain/%d/device/%k/7|"},
    {.name = "read, guest", .type = XS_READ, .text = "device/0/3|", .guest = true},
    {.name = "read, absent", .type = XS_READ, .want = "ENOENT", .text = "/local/domain/%d/none|"},
    {.name = "read, wide", .type = XS_READ, .want = "", .text = "/wide/%w|"},
    {.name = "write",
     .type = XS_WRITE,
     .want = "OK|",
     .text = "/local/domain/%d/device/%k/7|value"},
    {.name = "write, guest",
     .type = XS_WRITE,
     .want = "OK|",
     .text = "device/0/3|value",
     .guest = true},
    {.name = "write, watched",
     .type = XS_WRITE,
     .want = "OK|",
     .text = "/local/domain/%d/device/0/1|value"},
    {.name = "write, new",
     .type = XS_WRITE,
     .want = "OK|",
     .text = "/wide/%wnew|",
     .after = XS_RM,
     .after_text = "/wide/%wnew|"},
    {.name = "mkdir",
     .type = XS_MKDIR,
     .want = "OK|",
     .text = "/local/domain/%d/new|",
     .after = XS_RM,
     .after_text = "/local/domain/%d/new|"},
    {.name = "rm",
     .type = XS_RM,
     .want = "OK|",
     .text = "/wide/%wnew|",
     .before = XS_MKDIR,
     .before_text = "/wide/%wnew|"},
    {.name = "directory",
     .type = XS_DIRECTORY,
     .want = "0|1|2|3|4|5|6|7|8|9|",
     .text = "/local/domain/%d/device/%k|"},
    {.name = "directory part", .type = XS_DIRECTORY_PART, .text = "/local/domain/%d/device/%k|4|"},
    {.name = "directory part, wide", .type = XS_DIRECTORY_PART, .text = "/wide|0|", .from = 1},
    {.name = "get perms", .type = XS_GET_PERMS, .text = "/local/domain/%d/device/%k/7|"},
    {.name = "set perms",
     .type = XS_SET_PERMS,
     .want = "OK|",
     .text = "/local/domain/%d/device/%k|n0|r%d|"},
    {.name = "watch",
     .type = XS_WATCH,
     .want = "OK|",
     .text = "/local/domain/%d/device/%k|new|",
     .after = XS_UNWATCH,
     .after_text = "/local/domain/%d/device/%k|new|"},
    {.name = "watch, guest", .type = XS_WATCH, .want = "OK|", .text = "data|%k|", .guest = true},
    {.name = "unwatch, guest",
     .type = XS_UNWATCH,
     .want = "OK|",
     .text = "data|%k|",
     .guest = true},
    {.name = "unwatch",
     .type = XS_UNWATCH,
     .want = "OK|",
     .text = "/local/domain/%d/device/%k|new|",
     .before = XS_WATCH,
     .before_text = "/local/domain/%d/device/%k|new|"},
    {.name = "txn start", .type = XS_TRANSACTION_START, .text = "|"},
    {.name = "txn read",
     .type = XS_READ,
     .want = "value",
     .text = "/local/domain/%d/device/%k/7|",
     .txn = true},
    {.name = "txn write",
     .type = XS_WRITE,
     .want = "OK|",
     .text = "/local/domain/%d/device/%k/7|value",
     .txn = true},
    {.name = "txn new", .type = XS_MKDIR, .want = "OK|", .text = "/wide/%wnew|", .txn = true},
    {.name = "txn rm", .type = XS_RM, .want = "OK|", .text = "/wide/%w|", .txn = true},
    {.name = "txn end", .type = XS_TRANSACTION_END, .want = "OK|", .text = "T|", .txn = true},
    {.name = "is introduced", .type = XS_IS_DOMAIN_INTRODUCED, .want = "T|", .text = "%d|"},
    {.name = "domain path", .type = XS_GET_DOMAIN_PATH, .text = "%d|"},
    {.name = "resume", .type = XS_RESUME, .want = "OK|", .text = "%d|"},
    {.name = "set target", .type = XS_SET_TARGET, .want = "OK|", .text = "%d|%d|"},
    {.name = "introduce",
     .type = XS_INTRODUCE,
     .want = "OK|",
     .text = "%f|1|1|",
     .after = XS_RELEASE,
     .after_text = "%f|"},
    {.name = "release",
     .type = XS_RELEASE,
     .want = "OK|",
     .text = "%f|",
     .before = XS_INTRODUCE,
     .before_text = "%f|1|1|"},
    {.name = "quota", .type = XS_CONTROL, .text = "quota|%d|"},
};
#define KIND_COUNT (sizeof(kinds) / sizeof(kinds[0]))

/* Where one try is. */
struct place {
    unsigned int guest, device, wide;
};

static void fill_in(char out[128], const char *text, const struct place *at)
{
    size_t used = 0;

    for (; *text; text++) {
        if (*text != '%') {
            out[used++] = *text;
            continue;
        }
        text++;
        used += (size_t)snprintf(out + used, 16, "%u",
                                 *text == 'd'   ? 2 * (at->guest + 1)
                                 : *text == 'f' ? 2 * at->guest + 1 /* free */
                                 : *text == 'k' ? at->device
                                                : at->wide);
    }
    out[used] = '\0';
}

static void also(struct world *w, uint32_t type, const char *text, const struct place *at)
{
    char full[128];

    if (type != 0) {
        fill_in(full, text, at);
        expect(&w->dom0, type, 0, full, "OK|");
    }
}

/* Opens a transaction with a few edits in it, while somebody else edits: the end has work to do. */
static uint32_t open_txn(struct world *w, const struct place *at)
{
    uint32_t id = (uint32_t)atoi(ask(&w->dom0, XS_TRANSACTION_START, 0, "|"));

    for (unsigned int i = 0; i < 3; i++) {
        char full[128];

        snprintf(full, sizeof(full), "/wide/%u|v", (at->wide + i + 1) % w->wide);
        expect(&w->dom0, XS_WRITE, id, full, "OK|");
    }
    also(w, XS_WRITE, "/local/domain/%d/device/0/9|v", at);
    return id;
}

/* Steps of one request of a kind. */
static unsigned long try_one(struct world *w, const struct kind *k)
{
    const struct place at = {
        .guest = (unsigned int)(mem_random() % w->domains),
        .device = 1 + (unsigned int)(mem_random() % (DOMAIN_NODES / DEVICE_NODES - 1)),
        .wide = (unsigned int)(mem_random() % w->wide),
    };
    struct fake *who = k->guest ? &w->guests[at.guest] : &w->dom0;
    uint32_t id = 0;
    unsigned long before;
    const char *answer;
    char full[128];

    also(w, k->before, k->before_text, &at);
    if (k->txn) {
        id = open_txn(w, &at);
    }
    if (k->type == XS_UNWATCH && k->guest) {
        fill_in(full, k->text, &at);
        ask(who, XS_WATCH, 0, full);
    }
    fill_in(full, k->text, &at);
    before = steps;
    answer = ask(who, k->type, id, full);
    before = steps - before;
    if (k->want ? strcmp(answer, k->want) != 0 : answer[0] == 'E') {
        printf("\n  %s: \"%s\" for \"%s\"\n", k->name, answer, full);
        CU_FAIL("not the answer wanted");
    }
    if (k->type == XS_WATCH && k->guest) {
        expect(who, XS_UNWATCH, 0, full, "OK|");
    }
    if (k->type == XS_TRANSACTION_START) {
        id = (uint32_t)atoi(answer);
    }
    if (id != 0 && k->type != XS_TRANSACTION_END) {
        expect(&w->dom0, XS_TRANSACTION_END, id, "F|", "OK|");
    }
    also(w, k->after, k->after_text, &at);
    return before;
}

static double average(struct world *w, const struct kind *k)
{
    unsigned long sum = 0;

    for (unsigned int i = 0; i < TRIES; i++) {
        sum += try_one(w, k);
    }
    return (double)sum / TRIES;
}

static void test_growth(void)
{
    printf("\n    steps of a request at   1,000  10,000 100,000 nodes\n");
    for (size_t i = 0; i < KIND_COUNT; i++) {
        double at[SIZES];

        for (unsigned int size = 0; size < SIZES; size++) {
            at[size] = average(&worlds[size], &kinds[i]);
        }
        printf("    %-20s %8.0f %7.0f %7.0f  times %.2f\n", kinds[i].name, at[0], at[1], at[2],
               at[2] / at[1]);
        CU_ASSERT_TRUE(at[2] <= 2 * at[1]);
        if (kinds[i].from > 0) {
            continue;
        }
        CU_ASSERT_TRUE(at[1] <= 2 * at[0]);
        /* The same for each tenfold, but for chance. */
        CU_ASSERT_TRUE(at[2] - at[1] <= 1.5 * (at[1] - at[0]) + 0.2 * at[0]);
    }
}

/* Everything of all domains at once, with its watches: by the node no dearer the more there are. */
static void test_removal(void)
{
    double by_node[SIZES];

    for (unsigned int size = 0; size < SIZES; size++) {
        struct world *w = &worlds[size];
        uint64_t nodes = w->s.store.nodes;
        unsigned long before = steps;

        expect(&w->dom0, XS_RM, 0, "/local/domain|", "OK|");
        nodes -= w->s.store.nodes;
        CU_ASSERT_TRUE(nodes >= w->domains * DOMAIN_NODES);
        by_node[size] = (double)(steps - before) / (double)nodes;
        expect(&w->dom0, XS_CONTROL, 0, "check|", "OK|");
    }
    printf("\n    steps of removing a node %7.0f %7.0f %7.0f ", by_node[0], by_node[1], by_node[2]);
    CU_ASSERT_TRUE(by_node[2] <= 1.5 * by_node[1] && by_node[1] <= 1.5 * by_node[0]);
}

static void add_suites(void)
{
    CU_pSuite suite = CU_add_suite("steps", NULL, free_worlds);

    CU_add_test(suite, "100,000 nodes, 10,000 watches, 1,000 domains", test_filling);
    CU_add_test(suite, "a request's steps are O(log n)", test_growth);
    CU_add_test(suite, "a removal's steps are O(log n) a node", test_removal);
}

int main(void)
{
    return fake_main("test_store_steps", add_suites);
}
