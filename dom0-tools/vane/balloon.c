/* SPDX-License-Identifier: MIT */
/*
 * The command balloon: who has how much memory and needs how much, and moving it between guests.
 *
 * A guest says in its own node data/memory-used how many KiB of its memory are taken, kernel and
 * swapped out pages included; one that says nothing keeps what it has. The division is made in
 * usage/balance.h; here are the reading, and the order: guests give first, and only what has
 * arrived is given out.
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dom0-tools/config/config.h"
#include "dom0-tools/device/node.h"
#include "dom0-tools/storeclient/client.h"
#include "dom0-tools/usage/balance.h"
#include "dom0-tools/vane/life.h"
#include "dom0-tools/vane/look.h"
#include "dom0-tools/vane/vane.h"

#define PAGE_KIB (HV_PAGE_BYTES / 1024)
#define GIVE_TIMEOUT_MS 20000u
#define PERIOD_MAX_S 3600ul
/* A store that has gone is looked for this often. */
#define STORE_STEP_MS 200

/* Left alone for what the hypervisor and new guests need. */
#define RESERVE_KIB (32u << 10)

/* A guest comes this close to its target. */
#define SLACK_KIB 1024u

/* A guest that has no least is never asked below this part of its most. */
#define LEAST_PART 4u

struct pool {
    struct life life;
    size_t count;
    struct balance_guest *guests;
    struct balloon_guest {
        uint32_t domid;
        char name[CONFIG_MAX_NAME_BYTES + 1];
        uint64_t owned_kib; /* by the hypervisor's count */
    } * names;              /* as many */
    uint64_t free_kib;
};

static void pool_free(struct pool *pool)
{
    free(pool->guests);
    free(pool->names);
    pool->guests = NULL;
    pool->names = NULL;
    pool->count = 0;
}

/* Reads one guest; false for what has no memory nodes or does not run. */
static bool read_guest(const struct look *look, const struct xen_domctl_getdomaininfo *info,
                       struct balance_guest *guest, struct balloon_guest *name)
{
    struct node memory = node_at(look->xs, XBT_NULL, "/local/domain/%u/memory", info->domain);
    struct node home = node_at(look->xs, XBT_NULL, "/local/domain/%u", info->domain);

    *guest = (struct balance_guest){.used_kib = 0};
    *name = (struct balloon_guest){.domid = info->domain, .owned_kib = info->tot_pages * PAGE_KIB};
    if (info->domain == 0 || (info->flags & (XEN_DOMINF_shutdown | XEN_DOMINF_dying)) != 0 ||
        node_read_number(&memory, "static-max", &guest->most_kib) != 0 ||
        node_read_number(&memory, "target", &guest->has_kib) != 0) {
        return false;
    }
    if (node_read_number(&memory, "static-min", &guest->least_kib) != 0) {
        guest->least_kib = guest->most_kib / LEAST_PART;
    }
    if (guest->least_kib > guest->has_kib) {
        guest->least_kib = guest->has_kib; /* an administrator has asked it below */
    }
    if (guest->most_kib < guest->has_kib) {
        guest->most_kib = guest->has_kib;
    }
    if (node_read_number(&home, "data/memory-used", &guest->used_kib) != 0 ||
        guest->used_kib > CONFIG_MAX_MEMORY_KIB) {
        guest->used_kib = 0;
    }
    look_name(look, info->domain, name->name, sizeof(name->name));
    return true;
}

static int read_pool(struct pool *pool, struct err *err)
{
    struct look look = {.hv = pool->life.hv, .xs = pool->life.xs};
    struct xen_sysctl_physinfo info;
    struct look_domains list;
    int rc = hv_physinfo(look.hv, &info);

    if (rc != 0) {
        return look_call_failed(err, rc, "cannot ask the hypervisor for its free memory");
    }
    rc = look_list(&look, &list, err);
    if (rc != 0) {
        return rc;
    }
    pool_free(pool);
    pool->guests = calloc(list.count + 1, sizeof(*pool->guests));
    pool->names = calloc(list.count + 1, sizeof(*pool->names));
    for (size_t i = 0; pool->guests != NULL && pool->names != NULL && i < list.count; i++) {
        if (read_guest(&look, &list.infos[i], &pool->guests[pool->count],
                       &pool->names[pool->count])) {
            pool->count++;
        }
    }
    free(list.infos);
    if (pool->guests == NULL || pool->names == NULL) {
        return err_set(err, ENOMEM, "no memory");
    }
    pool->free_kib = info.free_pages * PAGE_KIB;
    pool->free_kib = pool->free_kib > RESERVE_KIB ? pool->free_kib - RESERVE_KIB : 0;
    /* What has been promised and not been taken yet is not free. */
    for (size_t i = 0; i < pool->count; i++) {
        uint64_t promised = pool->guests[i].has_kib > pool->names[i].owned_kib
                                ? pool->guests[i].has_kib - pool->names[i].owned_kib
                                : 0;

        pool->free_kib = pool->free_kib > promised ? pool->free_kib - promised : 0;
    }
    balance(pool->guests, pool->count, pool->free_kib);
    return 0;
}

/* --- moving ------------------------------------------------------------------------------ */

/* A guest that has gone since it was read is none to ask. */
static int set_target(struct pool *pool, size_t i, uint64_t kib, struct err *err)
{
    int rc = life_nodes_ask(&pool->life, pool->names[i].domid, pool->names[i].name, err,
                            "memory/target", "%" PRIu64, kib);

    if (rc != 0) {
        return rc == -ESRCH ? 0 : rc;
    }
    printf("%s: %" PRIu64 " MiB, was %" PRIu64 "\n", pool->names[i].name, kib / 1024,
           pool->guests[i].has_kib / 1024);
    fflush(stdout);
    return 0;
}

/* Whether all that shall give have given. */
static bool have_given(void *context)
{
    const struct pool *pool = context;

    for (size_t i = 0; i < pool->count; i++) {
        struct xen_domctl_getdomaininfo info;

        if (pool->guests[i].give_kib < pool->guests[i].has_kib &&
            hv_domain_info(pool->life.hv, pool->names[i].domid, &info) == 0 &&
            info.tot_pages * PAGE_KIB > pool->guests[i].give_kib + SLACK_KIB) {
            return false;
        }
    }
    return true;
}

/* Has guests give, waits for it, and gives what there is by then. What a guest did not give in time
 * is not promised to another. */
static int move_once(struct pool *pool, struct err *err)
{
    struct xen_sysctl_physinfo info;
    uint64_t left;
    int rc = 0;

    for (size_t i = 0; i < pool->count && rc == 0; i++) {
        if (pool->guests[i].give_kib < pool->guests[i].has_kib) {
            rc = set_target(pool, i, pool->guests[i].give_kib, err);
        }
    }
    if (rc != 0) {
        return rc;
    }
    node_wait(pool->life.xs, "/local/domain/0/name", have_given, pool, GIVE_TIMEOUT_MS);
    rc = hv_physinfo(pool->life.hv, &info);
    if (rc != 0) {
        return look_call_failed(err, rc, "cannot ask the hypervisor for its free memory");
    }
    left = info.free_pages * PAGE_KIB;
    for (size_t i = 0; i < pool->count && rc == 0; i++) {
        uint64_t wants = pool->guests[i].give_kib - pool->guests[i].has_kib;

        if (pool->guests[i].give_kib > pool->guests[i].has_kib && left >= BALANCE_STEP_KIB) {
            wants = wants < left ? wants : left;
            left -= wants;
            rc = set_target(pool, i, pool->guests[i].has_kib + wants, err);
        }
    }
    return rc;
}

static int follow(struct pool *pool, unsigned long seconds, struct err *err)
{
    int rc = 0;

    while (rc == 0 && !ferror(stdout)) {
        rc = read_pool(pool, err);
        rc = rc != 0 ? rc : move_once(pool, err);
        poll(NULL, 0, (int)seconds * 1000);
        if (!xs_lasts(pool->life.xs)) {
            rc = 0; /* whatever failed with it */
        }
        while ((pool->life.xs = xs_renew(pool->life.xs)) == NULL) {
            poll(NULL, 0, STORE_STEP_MS);
        }
    }
    return rc;
}

/* --- report ------------------------------------------------------------------------------ */

static int report_json(const struct pool *pool)
{
    struct json_object *array = json_object_new_array();

    for (size_t i = 0; i < pool->count; i++) {
        const struct balance_guest *guest = &pool->guests[i];
        struct json_object *out = json_object_new_object();

        json_object_object_add(out, "id", json_object_new_int64(pool->names[i].domid));
        json_object_object_add(out, "name", json_object_new_string(pool->names[i].name));
        json_object_object_add(out, "least_kib", json_object_new_uint64(guest->least_kib));
        json_object_object_add(out, "most_kib", json_object_new_uint64(guest->most_kib));
        json_object_object_add(out, "target_kib", json_object_new_uint64(guest->has_kib));
        json_object_object_add(out, "owned_kib", json_object_new_uint64(pool->names[i].owned_kib));
        if (guest->used_kib != 0) {
            json_object_object_add(out, "used_kib", json_object_new_uint64(guest->used_kib));
            json_object_object_add(out, "need_kib", json_object_new_uint64(guest->need_kib));
        }
        json_object_object_add(out, "proposed_kib", json_object_new_uint64(guest->give_kib));
        json_object_array_add(array, out);
    }
    return vane_print_json(array);
}

static int report(const struct pool *pool)
{
    static const char *const headings[] = {">ID",    "NAME",  ">LEAST", ">MOST",    ">TARGET",
                                           ">OWNED", ">USED", ">NEED",  ">PROPOSED"};
    struct vane_table *table = vane_table_new(headings, 9);

    for (size_t i = 0; i < pool->count; i++) {
        const struct balance_guest *guest = &pool->guests[i];

        vane_table_cell(table, "%u", pool->names[i].domid);
        vane_table_cell(table, "%s", pool->names[i].name);
        vane_table_cell(table, "%" PRIu64, guest->least_kib / 1024);
        vane_table_cell(table, "%" PRIu64, guest->most_kib / 1024);
        vane_table_cell(table, "%" PRIu64, guest->has_kib / 1024);
        vane_table_cell(table, "%" PRIu64, pool->names[i].owned_kib / 1024);
        if (guest->used_kib != 0) {
            vane_table_cell(table, "%" PRIu64, guest->used_kib / 1024);
            vane_table_cell(table, "%" PRIu64, guest->need_kib / 1024);
        } else {
            vane_table_cell(table, "-");
            vane_table_cell(table, "-");
        }
        vane_table_cell(table, "%" PRIu64, guest->give_kib / 1024);
    }
    return vane_table_print(table);
}

/* balloon --least=AMOUNT DOMAIN */
static int set_least(struct life *life, const char *who, uint64_t kib, struct err *err)
{
    struct node memory;
    uint64_t most;
    uint32_t domid;
    int rc = life_find(life, who, &domid, err);

    if (rc != 0) {
        return rc;
    }
    memory = node_at(life->xs, XBT_NULL, "/local/domain/%u/memory", domid);
    rc = node_read_number(&memory, "static-max", &most);
    if (rc != 0) {
        return err_set_errno(err, -rc, "cannot read how much memory %s may have", who);
    }
    if (kib > most) {
        return err_set(err, ERANGE, "%s may have at most %" PRIu64 " MiB", who, most / 1024);
    }
    return life_nodes_ask(life, domid, who, err, "memory/static-min", "%" PRIu64, kib);
}

static int run_balloon(const struct vane_args *args)
{
    const char *least = vane_option(args, 'l');
    struct pool pool = {.count = 0};
    unsigned long seconds;
    uint64_t kib = 0;
    struct err err = {0};
    int status = VANE_OK;

    if (vane_option_number(args, 'd', 1, PERIOD_MAX_S, 5, &seconds) != 0) {
        return VANE_USAGE;
    }
    if ((least != NULL) != (args->count > 0) ||
        (least != NULL && (!vane_amount(least, &kib) || kib < CONFIG_MIN_MEMORY_KIB))) {
        vane_error("balloon: what a guest keeps is set as in --least=64 DOMAIN (at least %llu MiB)",
                   CONFIG_MIN_MEMORY_KIB / 1024);
        return VANE_USAGE;
    }

    int rc = life_open(&pool.life, &err);

    if (rc != 0) {
        return vane_fail(&err);
    }
    if (least != NULL) {
        rc = set_least(&pool.life, args->operands[0], kib, &err);
    } else if (vane_option(args, 'f') != NULL) {
        rc = follow(&pool, seconds, &err);
    } else {
        rc = read_pool(&pool, &err);
        if (rc == 0 && vane_option(args, 'm') != NULL) {
            rc = move_once(&pool, &err);
        } else if (rc == 0) {
            status = args->json ? report_json(&pool) : report(&pool);
        }
    }
    pool_free(&pool);
    life_close(&pool.life);
    return rc == 0 ? status : vane_fail(&err);
}

static const struct vane_option balloon_options[] = {
    {'m', "move", NULL, "move memory as proposed, once"},
    {'f', "follow", NULL, "move memory whenever demand changes, until interrupted"},
    {'d', "delay", "SECONDS", "time between two looks with --follow (default 5)"},
    {'l', "least", "AMOUNT", "what DOMAIN always keeps (default: a quarter of its most)"},
    {0, NULL, NULL, NULL},
};

const struct vane_command vane_commands_balloon[] = {
    {
        .name = "balloon",
        .operands = "[DOMAIN]",
        .summary = "show who needs how much memory, or move it between guests",
        .details =
            "In MiB. A guest tells what it uses in its node data/memory-used, in KiB: all it "
            "has but what is available, so with its kernel, and what it has swapped out; a "
            "service in the guest writes it, as in examples/memory-used. Who tells nothing "
            "keeps what it has.\n\n"
            "Memory moves only when somebody lacks some: from what is free, then from those "
            "who have most beyond their need, never below what they keep. A guest gets a "
            "quarter more than it uses, so that it need not swap.",
        .max_operands = 1,
        .json = true,
        .options = balloon_options,
        .run = run_balloon,
    },
    {.name = NULL},
};
