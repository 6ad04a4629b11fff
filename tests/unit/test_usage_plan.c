/* SPDX-License-Identifier: MIT */
/*
 * Placement advice (dom0-tools/usage/plan.c): the examples of the literature, minimality against a
 * search of all placements, memory, order, and the reader of hosts.json.
 */
#include <CUnit/Basic.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dom0-tools/usage/plan.h"
#include "tests/unit/runner.h"

#define MAX_HOSTS 8
#define MAX_GUESTS 64

static struct plan_host hosts[MAX_HOSTS];
static struct plan_guest guests[MAX_GUESTS];
static struct plan_input input;
static struct plan plan;
static struct err err;

/* Hosts with that many processors and that much free memory. */
static void start(size_t count, uint32_t pcpus, uint64_t free_kib, unsigned int limit)
{
    memset(hosts, 0, sizeof(hosts));
    memset(guests, 0, sizeof(guests));
    input = (struct plan_input){.hosts = hosts, .guests = guests, .limit_percent = limit};
    for (size_t h = 0; h < count; h++) {
        snprintf(hosts[h].name, sizeof(hosts[h].name), "host%zu", h);
        hosts[h].pcpus = pcpus;
        hosts[h].free_kib = free_kib;
    }
    input.host_count = count;
}

static struct plan_guest *guest(size_t host, double demand, uint64_t memory_kib)
{
    struct plan_guest *g = &guests[input.guest_count++];

    snprintf(g->name, sizeof(g->name), "guest%zu", input.guest_count);
    g->id = (uint32_t)input.guest_count;
    g->host = host;
    g->demand = (uint64_t)(demand * PLAN_UNITS + 0.5);
    g->memory_kib = memory_kib;
    g->movable = true;
    return g;
}

/* Makes a plan and checks what every plan promises. Returns: its number of moves, or -errno. */
static int make(void)
{
    uint64_t free_kib[MAX_HOSTS];
    size_t at[MAX_GUESTS];
    int rc = plan_make(&input, &plan, &err);

    if (rc != 0) {
        return rc;
    }
    for (size_t h = 0; h < input.host_count; h++) {
        free_kib[h] = hosts[h].free_kib;
        CU_ASSERT_TRUE(plan_load(&input, &plan, h) <= plan_limit(&input, h));
    }
    for (size_t i = 0; i < input.guest_count; i++) {
        at[i] = guests[i].host;
    }
    for (size_t m = 0; m < plan.move_count; m++) {
        const struct plan_move *move = &plan.moves[m];
        const struct plan_guest *g = &guests[move->guest];

        CU_ASSERT_TRUE(g->movable);
        CU_ASSERT_EQUAL(at[move->guest], g->host); /* moved once */
        CU_ASSERT_NOT_EQUAL(move->to, g->host);
        CU_ASSERT_TRUE(free_kib[move->to] >= g->memory_kib);
        free_kib[move->to] -= g->memory_kib;
        free_kib[g->host] += g->memory_kib;
        at[move->guest] = move->to;
    }
    return (int)plan.move_count;
}

/* --- the example ------------------------------------------------------------------------- */

/*
 * Three hosts with one processor each, eight guests, all on the first. Each guest wants 25 %, but
 * can be seen to use 12.5 %, because eight of them share the processor.
 *
 * With a limit of 80 %, whoever goes by use takes two away (8 x 12.5 % = 100 % -> 75 %) and finds
 * the six left using all of the processor again; takes two more away, finds the four left using all
 * of it again; takes one, and is done after three steps. The demand tells at once that only three
 * guests (75 %) may stay, and where the other five go.
 */
#define EXAMPLE_GUESTS 8
#define EXAMPLE_WANT 25.0

/* What guests that want 25 % can be seen to use: on a crowded host an equal share. */
static void show_use(void)
{
    size_t count[3] = {0};

    for (size_t i = 0; i < EXAMPLE_GUESTS; i++) {
        count[guests[i].host]++;
    }
    for (size_t i = 0; i < EXAMPLE_GUESTS; i++) {
        double share = 100.0 / (double)count[guests[i].host];

        guests[i].demand = (uint64_t)((share < EXAMPLE_WANT ? share : EXAMPLE_WANT) * PLAN_UNITS);
    }
}

static void example(void)
{
    start(3, 1, 8 << 20, 80);
    for (size_t i = 0; i < EXAMPLE_GUESTS; i++) {
        guest(0, EXAMPLE_WANT, 1 << 20);
    }
}

/* Carries out the plan. */
static void carry_out(void)
{
    for (size_t m = 0; m < plan.move_count; m++) {
        guests[plan.moves[m].guest].host = plan.moves[m].to;
    }
    plan_free(&plan);
}

static void test_plan_make__eight_guests_on_three_hosts(void)
{
    unsigned int steps = 0;
    int moves;

    example();
    show_use();
    CU_ASSERT_EQUAL(guests[0].demand, 12500);
    while ((moves = make()) > 0 && steps < 10) {
        carry_out();
        show_use();
        steps++;
    }
    CU_ASSERT_EQUAL(moves, 0);
    plan_free(&plan);
    CU_ASSERT_EQUAL(steps, 3);

    example();
    steps = 0;
    while ((moves = make()) > 0 && steps < 10) {
        CU_ASSERT_EQUAL(moves, 5);
        CU_ASSERT_TRUE(plan.minimum);
        carry_out();
        steps++;
    }
    CU_ASSERT_EQUAL(moves, 0);
    plan_free(&plan);
    CU_ASSERT_EQUAL(steps, 1);
}

/* --- rules ------------------------------------------------------------------------------- */

static void test_plan_make__nothing_to_do(void)
{
    start(2, 1, 1000, 90);
    CU_ASSERT_EQUAL(make(), 0);
    plan_free(&plan);
    guest(0, 90, 10); /* exactly the limit */
    guest(1, 20, 10);
    CU_ASSERT_EQUAL(make(), 0);
    CU_ASSERT_TRUE(plan.minimum);
    plan_free(&plan);
}

static void test_plan_make__fewest_moves(void)
{
    /* One large guest instead of several small ones. */
    start(2, 1, 1000, 90);
    guest(0, 10, 10);
    guest(0, 10, 10);
    guest(0, 50, 10);
    guest(0, 30, 10);
    guest(0, 20, 10);
    CU_ASSERT_EQUAL(make(), 1);
    CU_ASSERT_TRUE(guests[plan.moves[0].guest].demand >= 30000);
    plan_free(&plan);

    /* The simple rule takes the guest of 40 and cannot place it; 25 + 20 can be placed. */
    start(3, 1, 1000, 90);
    guest(0, 40, 10);
    guest(0, 40, 10);
    guest(0, 25, 10);
    guest(0, 20, 10);
    guest(1, 65, 10);
    guest(2, 70, 10);
    CU_ASSERT_EQUAL(make(), 2);
    CU_ASSERT_TRUE(plan.minimum);
    plan_free(&plan);
}

static void test_plan_make__exchange(void)
{
    /* Only by taking something from the other host can there be room for what must go there. */
    start(2, 1, 1000, 90);
    guest(0, 60, 10);
    guest(0, 40, 10);
    guest(1, 30, 10);
    guest(1, 28, 10);
    CU_ASSERT_EQUAL(make(), 2);
    CU_ASSERT_TRUE(plan.minimum);
    plan_free(&plan);
}

static void test_plan_make__least_memory(void)
{
    start(2, 1, 1 << 20, 90);
    guest(0, 50, 4000);
    guest(0, 50, 1000);
    guest(0, 50, 2000);
    guests[0].demand = 49000;
    guests[1].demand = 30000;
    guests[2].demand = 30000;
    CU_ASSERT_EQUAL(make(), 1);
    CU_ASSERT_EQUAL(plan.moves[0].guest, 1);
    plan_free(&plan);
}

static void test_plan_make__memory(void)
{
    /* The smaller host has no memory for it. */
    start(3, 1, 1000, 90);
    hosts[1].free_kib = 99;
    guest(0, 60, 100);
    guest(0, 60, 100);
    guest(2, 20, 100);
    CU_ASSERT_EQUAL(make(), 1);
    CU_ASSERT_EQUAL(plan.moves[0].to, 2);
    plan_free(&plan);
    hosts[2].free_kib = 99; /* the third guest changes places with one of the others */
    CU_ASSERT_EQUAL(make(), 2);
    plan_free(&plan);
    guests[2].movable = false;
    CU_ASSERT_EQUAL(make(), -ENOSPC);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "there is no way to place"));

    /* Two guests change places, one host has room for both: that one is filled first. */
    start(2, 1, 0, 90);
    hosts[1].free_kib = 100;
    guest(0, 70, 100);
    guest(0, 50, 100);
    guest(1, 35, 100);
    guest(1, 10, 100);
    CU_ASSERT_EQUAL(make(), 2);
    CU_ASSERT_EQUAL(guests[plan.moves[0].guest].host, 0);
    plan_free(&plan);

    /* The same without any room: there is a placement, but no way to get there. */
    hosts[1].free_kib = 0;
    CU_ASSERT_EQUAL(make(), -ENOSPC);
}

static void test_plan_make__what_stays(void)
{
    start(2, 1, 1000, 90);
    guest(0, 50, 10)->movable = false;
    guest(0, 45, 10);
    guest(1, 40, 10);
    CU_ASSERT_EQUAL(make(), 1);
    CU_ASSERT_EQUAL(plan.moves[0].guest, 1);
    plan_free(&plan);
    guests[0].demand = 95000;
    CU_ASSERT_EQUAL(make(), -ENOSPC);
    CU_ASSERT_STRING_EQUAL(err.text, "what cannot move from host host0 wants 95 % of a processor; "
                                     "its limit is 90 %");
    guests[0].demand = 50000;
    guests[2].demand = 80000;
    CU_ASSERT_EQUAL(make(), -ENOSPC);
}

static void test_plan_make__processors_count(void)
{
    start(2, 4, 1000, 50); /* limit of 200 % */
    hosts[1].pcpus = 1;    /* of 50 % */
    guest(0, 100, 10);
    guest(0, 60, 10);
    guest(0, 60, 10);
    guest(1, 0, 10);
    CU_ASSERT_EQUAL(make(), -ENOSPC);
    guest(0, 45, 10);
    guests[1].demand = 50000;
    guests[2].demand = 40000;
    CU_ASSERT_EQUAL(make(), 1);
    plan_free(&plan);
}

/* --- against all placements --------------------------------------------------------------- */

static uint32_t seed = 1;

static uint32_t draw(uint32_t below)
{
    seed = seed * 1103515245 + 12345;
    return (seed >> 12) % below;
}

/* The fewest moves of any placement, whatever the way there; SIZE_MAX if there is none. */
static size_t fewest_of_all(void)
{
    size_t best = SIZE_MAX;
    size_t placements = 1;

    for (size_t i = 0; i < input.guest_count; i++) {
        placements *= input.host_count;
    }
    for (size_t p = 0; p < placements; p++) {
        uint64_t load[MAX_HOSTS] = {0};
        int64_t memory[MAX_HOSTS];
        size_t rest = p;
        size_t moves = 0;
        bool good = true;

        for (size_t h = 0; h < input.host_count; h++) {
            memory[h] = (int64_t)hosts[h].free_kib;
        }
        for (size_t i = 0; i < input.guest_count; i++, rest /= input.host_count) {
            size_t to = rest % input.host_count;

            load[to] += guests[i].demand;
            memory[guests[i].host] += (int64_t)guests[i].memory_kib;
            memory[to] -= (int64_t)guests[i].memory_kib;
            moves += to != guests[i].host;
        }
        for (size_t h = 0; h < input.host_count; h++) {
            good = good && load[h] <= plan_limit(&input, h) && memory[h] >= 0;
        }
        best = good && moves < best ? moves : best;
    }
    return best;
}

static void test_plan_make__minimum_of_all(void)
{
    unsigned int found = 0;
    unsigned int moved = 0;

    for (unsigned int round = 0; round < 150; round++) {
        start(2 + draw(2), 1 + draw(2), 1 << 20, 80);
        for (size_t i = 0; i < 7; i++) {
            guest(draw(2), 10 + draw(40), 1000);
        }

        size_t best = fewest_of_all();
        int moves = make();

        if (best == SIZE_MAX) {
            CU_ASSERT_EQUAL(moves, -ENOSPC);
            continue;
        }
        CU_ASSERT_EQUAL(moves, (int)best);
        CU_ASSERT_TRUE(plan.minimum);
        plan_free(&plan);
        found++;
        moved += best > 1;
    }
    CU_ASSERT_TRUE(found > 50);
    CU_ASSERT_TRUE(moved > 20);
}

/* Memory is tight here, so that some placements cannot be reached: then more moves, or none, are
 * right, but never fewer, and never a step without memory (which make() checks). */
static void test_plan_make__tight_memory(void)
{
    unsigned int found = 0;

    for (unsigned int round = 0; round < 150; round++) {
        start(3, 1, 0, 80);
        for (size_t h = 0; h < 3; h++) {
            hosts[h].free_kib = draw(400);
        }
        for (size_t i = 0; i < 6; i++) {
            guest(draw(3), 10 + draw(30), 100 + draw(100));
        }

        size_t best = fewest_of_all();
        int moves = make();

        if (moves >= 0) {
            CU_ASSERT_TRUE(best != SIZE_MAX && (size_t)moves >= best);
            plan_free(&plan);
            found++;
        }
    }
    CU_ASSERT_TRUE(found > 50);
}

/* Too large to search through: still a good plan, and honest about not being proven. */
static void test_plan_make__large(void)
{
    static struct plan_host many_hosts[64];
    static struct plan_guest many_guests[2000];
    struct plan_input large = {.hosts = many_hosts,
                               .host_count = 64,
                               .guests = many_guests,
                               .guest_count = 2000,
                               .limit_percent = 90};

    for (size_t h = 0; h < 64; h++) {
        snprintf(many_hosts[h].name, sizeof(many_hosts[h].name), "host%zu", h);
        many_hosts[h].pcpus = 16;
        many_hosts[h].free_kib = 1ull << 30;
    }
    for (size_t i = 0; i < 2000; i++) {
        many_guests[i].host = draw(16); /* a quarter of the hosts has all guests */
        many_guests[i].demand = draw(60) * PLAN_UNITS;
        many_guests[i].memory_kib = 1 << 20;
        many_guests[i].movable = true;
    }
    CU_ASSERT_EQUAL_FATAL(plan_make(&large, &plan, &err), 0);
    CU_ASSERT_TRUE(plan.move_count > 0 && plan.move_count < 2000);
    for (size_t h = 0; h < 64; h++) {
        CU_ASSERT_TRUE(plan_load(&large, &plan, h) <= plan_limit(&large, h));
    }
    plan_free(&plan);
}

/* --- the reader -------------------------------------------------------------------------- */

#define HOST(name, guests)                                                                         \
    "{\"host\":{\"name\":\"" name "\",\"pcpus\":2,\"free_memory_kib\":4096,\"x\":1},"              \
    "\"period_s\":1.0,\"domains\":[" guests "]}"
#define GUEST(id, demand)                                                                          \
    "{\"id\":" id ",\"name\":\"g" id "\",\"demand_percent\":" demand ",\"memory_kib\":1024}"

static int read_text(const char *text)
{
    input = (struct plan_input){.limit_percent = 90};
    memset(&err, 0, sizeof(err));
    return plan_read("hosts.json", text, &input, &err);
}

static void test_plan_read__forms(void)
{
    CU_ASSERT_EQUAL(read_text("{\"hosts\":[" HOST(
                        "a", GUEST("0", "3") "," GUEST("7", "12.3456")) "," HOST("b", "") "]}"),
                    0);
    CU_ASSERT_EQUAL_FATAL(input.host_count, 2);
    CU_ASSERT_EQUAL_FATAL(input.guest_count, 2);
    CU_ASSERT_STRING_EQUAL(input.hosts[1].name, "b");
    CU_ASSERT_EQUAL(input.hosts[0].pcpus, 2);
    CU_ASSERT_EQUAL(input.hosts[0].free_kib, 4096);
    CU_ASSERT_FALSE(input.guests[0].movable); /* a control domain */
    CU_ASSERT_TRUE(input.guests[1].movable);
    CU_ASSERT_EQUAL(input.guests[1].demand, 12346);
    CU_ASSERT_EQUAL(input.guests[1].memory_kib, 1024);
    CU_ASSERT_EQUAL(input.guests[1].host, 0);
    plan_input_free(&input);

    /* What several runs of vane top --json print; of a host the last counts. */
    CU_ASSERT_EQUAL(read_text(HOST("a", GUEST("1", "10") "," GUEST("2", "10")) "\n" HOST(
                        "b", GUEST("3", "10")) "\n" HOST("a", GUEST("2", "20")) "\n"),
                    0);
    CU_ASSERT_EQUAL(input.host_count, 2);
    CU_ASSERT_EQUAL_FATAL(input.guest_count, 2);
    CU_ASSERT_EQUAL(input.guests[0].id, 3);
    CU_ASSERT_EQUAL(input.guests[1].demand, 20000);
    CU_ASSERT_EQUAL(input.guests[1].host, 0);
    plan_input_free(&input);

    CU_ASSERT_EQUAL(read_text(HOST("a", "{\"id\":1,\"name\":\"g\",\"demand_percent\":1,"
                                        "\"memory_kib\":1,\"movable\":false}")),
                    0);
    CU_ASSERT_FALSE(input.guests[0].movable);
    plan_input_free(&input);
}

static void refused(const char *text, const char *report)
{
    int rc = read_text(text);

    if (rc != -EBADMSG || strcmp(err.text, report) != 0) {
        printf("\n  %d \"%s\"\n  instead of \"%s\"\n", rc, err.text, report);
        CU_FAIL("another report");
    }
    plan_input_free(&input);
}

static void test_plan_read__refused(void)
{
    refused("", "hosts.json: is empty");
    refused(" \n", "hosts.json: is empty");
    refused("[]", "hosts.json: : is no object");
    refused("{}", "hosts.json: host: is missing or no object");
    refused("{\"hosts\":7}", "hosts.json: hosts: is no list");
    refused("{\"hosts\":[7]}", "hosts.json: hosts[0]: is no object");
    refused("{\"hosts\":[" HOST("a", "") ",{\"host\":{}}]}",
            "hosts.json: hosts[1].domains: is missing or no list");
    refused("{\"host\":{\"pcpus\":1},\"domains\":[]}", "hosts.json: host.name: is missing");
    refused("{\"host\":{\"name\":\"\"},\"domains\":[]}",
            "hosts.json: host.name: is empty, too long or not printable");
    refused("{\"host\":{\"name\":\"a\\u001b[2J\"},\"domains\":[]}",
            "hosts.json: host.name: is empty, too long or not printable");
    refused("{\"host\":{\"name\":\"a\\u0000b\"},\"domains\":[]}",
            "hosts.json: host.name: is empty, too long or not printable");
    refused("{\"host\":{\"name\":\"a\",\"pcpus\":0,\"free_memory_kib\":1},\"domains\":[]}",
            "hosts.json: host.pcpus: is out of bounds");
    refused("{\"host\":{\"name\":\"a\",\"pcpus\":1.5,\"free_memory_kib\":1},\"domains\":[]}",
            "hosts.json: host.pcpus: is no whole number");
    refused("{\"host\":{\"name\":\"a\",\"pcpus\":\"1\",\"free_memory_kib\":1},\"domains\":[]}",
            "hosts.json: host.pcpus: is no number");
    refused("{\"hosts\":[" HOST("a", GUEST("1", "5") "," GUEST("2", "-5")) "]}",
            "hosts.json: hosts[0].domains[1].demand_percent: is out of bounds");
    refused(HOST("a", GUEST("1", "null")),
            "hosts.json: domains[0].demand_percent: is not known, but needed");
    refused(HOST("a", GUEST("1", "1e99")), "hosts.json: domains[0].demand_percent: is out of "
                                           "bounds");
    refused(HOST("a", "{}"), "hosts.json: domains[0].name: is missing");
    refused(HOST("a", "3"), "hosts.json: domains[0]: is no object");
    refused(HOST("a", "{\"id\":1,\"name\":\"g\",\"demand_percent\":1,\"memory_kib\":1,"
                      "\"movable\":1}"),
            "hosts.json: domains[0].movable: is neither true nor false");
    refused("\n\n{\"hosts\":[}", "hosts.json:3: no JSON: unexpected character");
    refused("{\"hosts\":[", "hosts.json:1: no JSON: unexpected end of data");
    refused("{\"a\":[[[[[[[[[[1]]]]]]]]]]}", "hosts.json:1: no JSON: nesting too deep");
}

int main(void)
{
    static CU_TestInfo tests[] = {
        {"eight guests on three hosts", test_plan_make__eight_guests_on_three_hosts},
        {"nothing to do", test_plan_make__nothing_to_do},
        {"fewest moves", test_plan_make__fewest_moves},
        {"exchange", test_plan_make__exchange},
        {"least memory", test_plan_make__least_memory},
        {"memory", test_plan_make__memory},
        {"what stays", test_plan_make__what_stays},
        {"processors count", test_plan_make__processors_count},
        {"minimum of all", test_plan_make__minimum_of_all},
        {"tight memory", test_plan_make__tight_memory},
        {"large", test_plan_make__large},
        {"forms of hosts.json", test_plan_read__forms},
        {"bad hosts.json", test_plan_read__refused},
        CU_TEST_INFO_NULL,
    };
    return run_tests("plan", tests);
}
