/* SPDX-License-Identifier: MIT */
/*
 * Placement advice: which guests to move where so that no host is above a limit.
 *
 * The guests' demand decides, not what they are seen to use: on a crowded host they use less than
 * they want, and whoever goes by use moves one, looks again, moves another. The plan is made in one
 * go: no host's demand above the limit, every guest's memory fits, as few moves as possible, and
 * among those the least memory to carry, each guest moved once at most.
 *
 * Method: the moves are searched for with growing number, guests by falling demand; a branch is
 * cut when the guests still undecided cannot relieve every host within the moves left. That finds
 * the true minimum and is done for as long as PLAN_BUDGET steps last, which is ample for some
 * dozens of guests. Beyond, what a simple rule found stands: take from the host most above its
 * limit the smallest guest that cures it, or its largest, to the host with most room. The result
 * says which of the two it is. Pure; tested by tests/unit/test_usage_plan.c.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dom0-tools/base/err.h"
#include "dom0-tools/usage/usage.h"

#define PLAN_MAX_HOSTS 256u
#define PLAN_MAX_GUESTS 4096u
#define PLAN_BUDGET 100000000ull

/* Demands are in thousandths of a percent of one processor, to be compared exactly. */
#define PLAN_UNITS 1000u

struct plan_host {
    char name[USAGE_NAME_BYTES];
    uint32_t pcpus;
    uint64_t free_kib;
};

struct plan_guest {
    char name[USAGE_NAME_BYTES];
    uint32_t id;
    size_t host; /* index of where it is */
    uint64_t demand;
    uint64_t memory_kib;
    bool movable;
};

struct plan_input {
    struct plan_host *hosts;
    size_t host_count;
    struct plan_guest *guests;
    size_t guest_count;
    unsigned int limit_percent; /* of all a host's processors, 1 to 100 */
};

struct plan_move {
    size_t guest;
    size_t to;
};

struct plan {
    struct plan_move *moves; /* in an order in which memory suffices at every step */
    size_t move_count;
    bool minimum; /* fewer moves do not do */
};

/* Makes a plan; plan_free() it. Errors: ENOSPC when there is none, or none was found; ENOMEM. */
int plan_make(const struct plan_input *input, struct plan *plan, struct err *err);
void plan_free(struct plan *plan);

/* Demand on a host before any move, and after all of a plan's. */
uint64_t plan_load(const struct plan_input *input, const struct plan *plan, size_t host);

/* Demand a host may have. */
uint64_t plan_limit(const struct plan_input *input, size_t host);

/* plan_json.c: adds what a text of JSON documents describes, as docs/accounting.md says; a host
 * described before is replaced. `name` stands for the text in reports.
 * Errors: EBADMSG with the place; ENOMEM. */
int plan_read(const char *name, const char *text, struct plan_input *input, struct err *err);

/* Frees what plan_read() added. */
void plan_input_free(struct plan_input *input);
