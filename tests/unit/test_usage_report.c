/* SPDX-License-Identifier: MIT */
/*
 * Reports of two samples (dom0-tools/usage): percentages, demand, rates, order, JSON. The counters
 * of the examples come from a small scheduler written here, so that what the report must say is
 * known beforehand.
 */
#include <CUnit/Basic.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dom0-tools/usage/columns.h"
#include "dom0-tools/usage/usage.h"
#include "tests/unit/runner.h"

#define MS 1000000ull
#define S 1000000000ull

static struct usage_sample before;
static struct usage_sample after;
static struct usage_report report;
static struct err err;

static void start(void)
{
    before = (struct usage_sample){.host = "h", .has_states = true, .pcpus = 2};
    after = before;
    after.now_ns = 1 * S;
    after.idle_ns = 500 * MS;
}

/* Adds a domain, named after its number, to a sample. */
static struct usage_domain *domain(struct usage_sample *sample, uint32_t domid)
{
    struct usage_domain *d = usage_add_domain(sample);

    CU_ASSERT_PTR_NOT_NULL_FATAL(d);
    d->domid = domid;
    snprintf(d->name, sizeof(d->name), "guest%u", domid);
    return d;
}

/* Adds a vCPU to the domain added last; times in ms, in the order of the ABI's states. */
static void vcpu(struct usage_sample *sample, uint64_t used, uint64_t system, uint64_t ready,
                 uint64_t wait, uint64_t offline)
{
    uint32_t number = (uint32_t)sample->domains[sample->domain_count - 1].vcpu_count;
    struct usage_vcpu *v = usage_add_vcpu(sample);

    CU_ASSERT_PTR_NOT_NULL_FATAL(v);
    *v = (struct usage_vcpu){
        .vcpu = number,
        .online = offline == 0,
        .used_ns = used * MS,
        .system_ns = system * MS,
        .ready_ns = ready * MS,
        .wait_ns = wait * MS,
        .offline_ns = offline * MS,
    };
}

static void compare(void)
{
    int rc = usage_compare(&before, &after, &report, &err);

    CU_ASSERT_EQUAL_FATAL(rc, 0);
}

static void end(void)
{
    usage_report_free(&report);
    usage_sample_free(&before);
    usage_sample_free(&after);
}

static bool near(double value, double expected)
{
    if (fabs(value - expected) > 1e-6) {
        printf("\n  %f instead of %f\n", value, expected);
        return false;
    }
    return true;
}

/* --- percentages ------------------------------------------------------------------------- */

static void test_usage_compare__states(void)
{
    start();
    domain(&before, 3);
    vcpu(&before, 100, 10, 20, 30, 0);
    domain(&after, 3)->memory_kib = 2048;
    vcpu(&after, 300, 60, 520, 280, 0);
    compare();
    CU_ASSERT_EQUAL_FATAL(report.row_count, 1);

    const struct usage_cpu *cpu = &report.rows[0].cpu;

    CU_ASSERT_TRUE(near(cpu->used, 20));
    CU_ASSERT_TRUE(near(cpu->system, 5));
    CU_ASSERT_TRUE(near(cpu->ready, 50));
    CU_ASSERT_TRUE(near(cpu->wait, 25));
    CU_ASSERT_TRUE(near(cpu->offline, 0));
    CU_ASSERT_TRUE(near(cpu->demand, 50)); /* (20 + 5) of the 50 in which it had its way */
    CU_ASSERT_TRUE(near(report.idle, 50));
    CU_ASSERT_EQUAL(report.rows[0].memory_kib, 2048);
    end();
}

static void test_usage_compare__demand_at_its_ends(void)
{
    static const struct {
        uint64_t used, system, ready, wait, offline;
        double demand;
    } cases[] = {
        {0, 0, 0, 1000, 0, 0},            /* sleeps */
        {1000, 0, 0, 0, 0, 100},          /* runs alone */
        {0, 0, 1000, 0, 0, 100},          /* never gets a processor */
        {1, 0, 999, 0, 0, 100},           /* hardly ever */
        {0, 0, 0, 0, 1000, 0},            /* is down */
        {250, 0, 250, 0, 500, 100.0 / 3}, /* was down for half of the time */
        {100, 100, 0, 800, 0, 20},
        {0, 0, 0, 0, 0, 0}, /* made in this moment */
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        start();
        domain(&after, 1);
        vcpu(&after, cases[i].used, cases[i].system, cases[i].ready, cases[i].wait,
             cases[i].offline);
        compare();
        CU_ASSERT_TRUE(near(report.rows[0].cpu.demand, cases[i].demand));
        end();
    }
}

static void test_usage_compare__vcpus_add_up(void)
{
    start();
    domain(&after, 1);
    vcpu(&after, 500, 0, 500, 0, 0);
    vcpu(&after, 250, 0, 0, 750, 0);
    vcpu(&after, 0, 0, 0, 0, 1000);
    domain(&after, 2);
    vcpu(&after, 100, 0, 0, 900, 0);
    compare();
    CU_ASSERT_TRUE(near(report.rows[0].cpu.used, 75));
    CU_ASSERT_TRUE(near(report.rows[0].cpu.demand, 125));
    CU_ASSERT_EQUAL(report.rows[0].online_vcpus, 2);
    CU_ASSERT_EQUAL(report.rows[1].first_vcpu, 3);
    CU_ASSERT_TRUE(near(report.vcpus[1].cpu.wait, 75));
    CU_ASSERT_TRUE(near(report.total.cpu.used, 85));
    CU_ASSERT_TRUE(near(report.total.cpu.demand, 135));
    CU_ASSERT_EQUAL(report.total.online_vcpus, 3);
    end();
}

/* --- the acceptance example --------------------------------------------------------------- */

#define GUESTS 10
#define PCPUS 2
#define TICK MS
#define RUN_TICKS 4 /* then one of sleep */

struct worker {
    unsigned int left;  /* ticks to run before it sleeps */
    unsigned int sleep; /* ticks to sleep */
    uint64_t queued;    /* when it became ready; the longest wait runs first */
    uint64_t used, ready, wait;
};

/* Ticks of a plain round robin on two processors, one tick each. */
static void work(struct worker workers[GUESTS], uint64_t from, uint64_t ticks)
{
    for (uint64_t now = from; now < from + ticks; now++) {
        bool runs[GUESTS] = {false};

        for (unsigned int cpu = 0; cpu < PCPUS; cpu++) {
            unsigned int best = GUESTS;

            for (unsigned int i = 0; i < GUESTS; i++) {
                if (!runs[i] && workers[i].sleep == 0 &&
                    (best == GUESTS || workers[i].queued < workers[best].queued)) {
                    best = i;
                }
            }
            if (best < GUESTS) {
                runs[best] = true;
            }
        }
        for (unsigned int i = 0; i < GUESTS; i++) {
            struct worker *w = &workers[i];

            if (runs[i]) {
                w->used += TICK;
                w->queued = now + 1;
                w->left--;
                if (w->left == 0) {
                    w->left = RUN_TICKS;
                    w->sleep = 1;
                }
            } else if (w->sleep > 0) {
                w->wait += TICK;
                w->sleep--;
                w->queued = now + 1;
            } else {
                w->ready += TICK;
            }
        }
    }
}

static void take(struct usage_sample *sample, const struct worker workers[GUESTS])
{
    for (uint32_t i = 0; i < GUESTS; i++) {
        struct usage_vcpu *v;

        domain(sample, i + 1);
        v = usage_add_vcpu(sample);
        CU_ASSERT_PTR_NOT_NULL_FATAL(v);
        v->online = true;
        v->used_ns = workers[i].used;
        v->ready_ns = workers[i].ready;
        v->wait_ns = workers[i].wait;
    }
}

/* Ten guests with one vCPU on two processors, each running four ticks, then sleeping one: they get
 * 20 % each, and the demand tells that each wants 80 %. */
static void test_usage_compare__ten_guests_on_two_pcpus(void)
{
    struct worker workers[GUESTS] = {0};

    for (unsigned int i = 0; i < GUESTS; i++) {
        workers[i].left = RUN_TICKS;
        workers[i].queued = i;
    }
    start();
    work(workers, GUESTS, 200);
    take(&before, workers);
    work(workers, GUESTS + 200, 10000);
    take(&after, workers);
    before.now_ns = 200 * TICK;
    after.now_ns = 10200 * TICK;
    compare();
    CU_ASSERT_EQUAL_FATAL(report.row_count, GUESTS);
    for (unsigned int i = 0; i < GUESTS; i++) {
        const struct usage_cpu *cpu = &report.rows[i].cpu;

        CU_ASSERT_TRUE(fabs(cpu->used - 20) < 0.5);
        CU_ASSERT_TRUE(fabs(cpu->demand - 80) < 2);
        CU_ASSERT_TRUE(near(cpu->used + cpu->ready + cpu->wait, 100));
    }
    CU_ASSERT_TRUE(fabs(report.total.cpu.demand - 800) < 20);
    end();
}

/* --- coming and going -------------------------------------------------------------------- */

static void test_usage_compare__new_gone_and_replaced(void)
{
    start();
    domain(&before, 1);
    vcpu(&before, 900, 0, 0, 100, 0);
    domain(&before, 2)->net_rx_bytes = 5000;
    vcpu(&before, 900, 0, 0, 100, 0);
    domain(&after, 2)->net_rx_bytes = 1000; /* another domain with an old number */
    vcpu(&after, 100, 0, 0, 400, 0);
    domain(&after, 5)->net_tx_bytes = 300; /* half a second old */
    vcpu(&after, 250, 0, 0, 250, 0);
    compare();
    CU_ASSERT_EQUAL_FATAL(report.row_count, 2);
    CU_ASSERT_TRUE(near(report.rows[0].cpu.used, 10));
    CU_ASSERT_TRUE(near(report.rows[0].net_rx, 1000));
    CU_ASSERT_TRUE(near(report.rows[0].cpu.demand, 20));
    CU_ASSERT_EQUAL(report.rows[1].domid, 5);
    CU_ASSERT_TRUE(near(report.rows[1].cpu.used, 25));
    CU_ASSERT_TRUE(near(report.rows[1].cpu.demand, 50)); /* of its own short period */
    CU_ASSERT_TRUE(near(report.rows[1].net_tx, 300));
    end();
}

static void test_usage_compare__rates(void)
{
    struct usage_domain *d;

    start();
    after.now_ns = 2 * S;
    d = domain(&before, 1);
    d->net_rx_bytes = 1000;
    d->net_tx_bytes = 2000;
    d->disk_rd_bytes = 0;
    d->disk_wr_bytes = 512;
    d = domain(&after, 1);
    d->net_rx_bytes = 3000;
    d->net_tx_bytes = 2000;
    d->disk_rd_bytes = 1 << 20;
    d->disk_wr_bytes = 256; /* the disk was detached and attached again */
    compare();
    CU_ASSERT_TRUE(near(report.rows[0].net_rx, 1000));
    CU_ASSERT_TRUE(near(report.rows[0].net_tx, 0));
    CU_ASSERT_TRUE(near(report.rows[0].disk_rd, 524288));
    CU_ASSERT_TRUE(near(report.rows[0].disk_wr, 128));
    CU_ASSERT_TRUE(near(report.total.disk_rd, 524288));
    CU_ASSERT_TRUE(near(report.idle, 25));
    usage_report_free(&report);
    before.idle_at_ns = 100 * S; /* idle time was read at other moments, a second apart */
    after.idle_at_ns = 101 * S;
    compare();
    CU_ASSERT_TRUE(near(report.idle, 50));
    end();
}

static void test_usage_compare__no_time(void)
{
    start();
    after.now_ns = before.now_ns;
    CU_ASSERT_EQUAL(usage_compare(&before, &after, &report, &err), -22);
    CU_ASSERT_PTR_NULL(report.rows);
    end();
}

/* --- columns ----------------------------------------------------------------------------- */

static const char *cell(size_t row, enum usage_column column)
{
    static char text[USAGE_CELL_BYTES];

    usage_cell(&report, &report.rows[row], column, text);
    return text;
}

static void three_domains(void)
{
    start();
    domain(&after, 1)->memory_kib = 4096;
    vcpu(&after, 100, 0, 0, 900, 0);
    domain(&after, 2)->memory_kib = 1024;
    vcpu(&after, 700, 0, 0, 300, 0);
    vcpu(&after, 0, 0, 0, 0, 1000);
    domain(&after, 3)->memory_kib = 2048;
    after.domains[2].disk_wr_bytes = 3 << 10;
    memcpy(after.domains[2].name, "a", 2);
    vcpu(&after, 100, 0, 0, 900, 0);
    compare();
}

static void order_is(enum usage_column column, bool reverse, uint32_t a, uint32_t b, uint32_t c)
{
    usage_sort(&report, column, reverse);
    CU_ASSERT_EQUAL(report.rows[0].domid, a);
    CU_ASSERT_EQUAL(report.rows[1].domid, b);
    CU_ASSERT_EQUAL(report.rows[2].domid, c);
}

static void test_usage_sort__columns(void)
{
    three_domains();
    order_is(USAGE_USED, false, 2, 1, 3);
    order_is(USAGE_USED, true, 1, 3, 2);
    order_is(USAGE_NAME, false, 3, 1, 2);
    order_is(USAGE_MEMORY, false, 1, 3, 2);
    order_is(USAGE_ID, true, 3, 2, 1);
    order_is(USAGE_ID, false, 1, 2, 3);
    order_is(USAGE_DISK_WR, false, 3, 1, 2);
    end();
}

static void test_usage_cell__texts(void)
{
    char text[USAGE_CELL_BYTES];
    char first[160];
    char second[160];

    three_domains();
    CU_ASSERT_STRING_EQUAL(cell(1, USAGE_ID), "2");
    CU_ASSERT_STRING_EQUAL(cell(1, USAGE_NAME), "guest2");
    CU_ASSERT_STRING_EQUAL(cell(1, USAGE_VCPUS), "1");
    CU_ASSERT_STRING_EQUAL(cell(1, USAGE_USED), "70.0");
    CU_ASSERT_STRING_EQUAL(cell(1, USAGE_DEMAND), "70.0");
    CU_ASSERT_STRING_EQUAL(cell(1, USAGE_MEMORY), "1");
    CU_ASSERT_STRING_EQUAL(cell(2, USAGE_DISK_WR), "3.0");
    usage_vcpu_cell(&report, &report.vcpus[2], USAGE_NAME, text);
    CU_ASSERT_STRING_EQUAL(text, "  vcpu 1 offline");
    usage_vcpu_cell(&report, &report.vcpus[1], USAGE_WAIT, text);
    CU_ASSERT_STRING_EQUAL(text, "30.0");
    usage_vcpu_cell(&report, &report.vcpus[1], USAGE_MEMORY, text);
    CU_ASSERT_STRING_EQUAL(text, "");
    usage_host_lines(&report, first, second);
    CU_ASSERT_STRING_EQUAL(first, "h: 2 processors, 25.0 % idle; 0 MiB, 0 MiB free; 3 domains");
    CU_ASSERT_PTR_NOT_NULL(strstr(second, "90.0 % used"));

    /* A hypervisor that counts nothing but the time used. */
    report.has_states = false;
    CU_ASSERT_STRING_EQUAL(cell(1, USAGE_USED), "70.0");
    CU_ASSERT_STRING_EQUAL(cell(1, USAGE_READY), "-");
    CU_ASSERT_STRING_EQUAL(cell(1, USAGE_DEMAND), "-");
    usage_host_lines(&report, first, second);
    CU_ASSERT_STRING_EQUAL(second, "all domains: 90.0 % used; 1.0 s");
    end();
}

static struct json_object *member(struct json_object *of, const char *key)
{
    struct json_object *value = NULL;

    CU_ASSERT_TRUE_FATAL(json_object_object_get_ex(of, key, &value));
    return value;
}

static void test_usage_json__document(void)
{
    struct json_object *out;
    struct json_object *first;

    three_domains();
    out = usage_json(&report, true);
    CU_ASSERT_EQUAL(json_object_get_int(member(member(out, "host"), "pcpus")), 2);
    CU_ASSERT_TRUE(near(json_object_get_double(member(member(out, "host"), "idle_percent")), 50));
    CU_ASSERT_TRUE(near(json_object_get_double(member(out, "period_s")), 1));
    CU_ASSERT_EQUAL(json_object_array_length(member(out, "domains")), 3);
    first = json_object_array_get_idx(member(out, "domains"), 1);
    CU_ASSERT_TRUE(near(json_object_get_double(member(first, "demand_percent")), 70));
    CU_ASSERT_EQUAL(json_object_array_length(member(first, "vcpus")), 2);
    json_object_put(out);
    report.has_states = false;
    out = usage_json(&report, false);
    first = json_object_array_get_idx(member(out, "domains"), 1);
    CU_ASSERT_PTR_NULL(member(first, "demand_percent"));
    CU_ASSERT_FALSE(json_object_object_get_ex(first, "vcpus", NULL));
    json_object_put(out);
    end();
}

int main(void)
{
    static CU_TestInfo tests[] = {
        {"states", test_usage_compare__states},
        {"demand at its ends", test_usage_compare__demand_at_its_ends},
        {"vCPUs add up", test_usage_compare__vcpus_add_up},
        {"ten guests on two pcpus", test_usage_compare__ten_guests_on_two_pcpus},
        {"new, gone, replaced", test_usage_compare__new_gone_and_replaced},
        {"rates", test_usage_compare__rates},
        {"no time", test_usage_compare__no_time},
        {"order", test_usage_sort__columns},
        {"cells", test_usage_cell__texts},
        {"JSON", test_usage_json__document},
        CU_TEST_INFO_NULL,
    };
    return run_tests("usage report", tests);
}
