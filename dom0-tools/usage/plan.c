/* SPDX-License-Identifier: MIT */
/*
 * Placement advice; see plan.h.
 */
#include "dom0-tools/usage/plan.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define NOWHERE SIZE_MAX

/* Steps spent on putting found moves into an order. */
#define ORDER_BUDGET 100000u

/* The state of a search. Loads and free memory are those after the moves decided so far. */
struct search {
    const struct plan_input *input;
    size_t *order;     /* guests that may move, by falling demand */
    size_t count;      /* of them */
    uint64_t *load;    /* by host */
    uint64_t *limit;   /* by host */
    uint64_t *excess;  /* by host: room for fewest() */
    int64_t *free_kib; /* by host; negative on the way to a plan */
    size_t *guests_of; /* by host: guests it has now */
    struct plan_move *moves;
    size_t move_count;
    uint64_t budget;
    struct plan_move *best; /* the best plan so far */
    size_t best_count;      /* NOWHERE: none */
    uint64_t best_kib;      /* memory it carries */
};

uint64_t plan_limit(const struct plan_input *input, size_t host)
{
    return (uint64_t)input->hosts[host].pcpus * input->limit_percent * PLAN_UNITS;
}

uint64_t plan_load(const struct plan_input *input, const struct plan *plan, size_t host)
{
    uint64_t load = 0;

    for (size_t i = 0; i < input->guest_count; i++) {
        size_t at = input->guests[i].host;

        for (size_t m = 0; plan != NULL && m < plan->move_count; m++) {
            at = plan->moves[m].guest == i ? plan->moves[m].to : at;
        }
        load += at == host ? input->guests[i].demand : 0;
    }
    return load;
}

/* --- one move ---------------------------------------------------------------------------- */

static void apply(struct search *s, size_t guest, size_t from, size_t to)
{
    const struct plan_guest *g = &s->input->guests[guest];

    s->load[from] -= g->demand;
    s->load[to] += g->demand;
    s->free_kib[from] += (int64_t)g->memory_kib;
    s->free_kib[to] -= (int64_t)g->memory_kib;
}

static bool is_good(const struct search *s)
{
    for (size_t h = 0; h < s->input->host_count; h++) {
        if (s->load[h] > s->limit[h] || s->free_kib[h] < 0) {
            return false;
        }
    }
    return true;
}

/* --- order ------------------------------------------------------------------------------- */

/* Tries all orders of the moves from `done` on, the given one first, for one in which no step needs
 * memory that is not free yet. Loads are of no interest here: they only matter in the end. */
static bool put_in_order(struct search *s, struct plan_move *moves, size_t count, size_t done,
                         unsigned int *budget)
{
    if (done == count) {
        return true;
    }
    for (size_t i = done; i<count && * budget> 0; i++) {
        struct plan_move move = moves[i];
        const struct plan_guest *g = &s->input->guests[move.guest];

        (*budget)--;
        if (s->free_kib[move.to] < (int64_t)g->memory_kib) {
            continue;
        }
        moves[i] = moves[done];
        moves[done] = move;
        apply(s, move.guest, g->host, move.to);

        bool good = put_in_order(s, moves, count, done + 1, budget);

        apply(s, move.guest, move.to, g->host);
        if (good) {
            return true;
        }
        moves[done] = moves[i];
        moves[i] = move;
    }
    return false;
}

/* Keeps the moves decided on if they are the best so far and can be done one after the other. */
static void keep(struct search *s)
{
    struct plan_move *moves = malloc((s->move_count + 1) * sizeof(*moves));
    unsigned int budget = ORDER_BUDGET;
    uint64_t kib = 0;

    for (size_t i = 0; i < s->move_count; i++) {
        kib += s->input->guests[s->moves[i].guest].memory_kib;
    }
    if (moves == NULL || (s->best_count != NOWHERE && kib >= s->best_kib)) {
        free(moves);
        return;
    }
    memcpy(moves, s->moves, s->move_count * sizeof(*moves));
    /* Back to the start, for the order to be tried from there. */
    for (size_t i = 0; i < s->move_count; i++) {
        apply(s, moves[i].guest, moves[i].to, s->input->guests[moves[i].guest].host);
    }
    if (put_in_order(s, moves, s->move_count, 0, &budget)) {
        memcpy(s->best, moves, s->move_count * sizeof(*moves));
        s->best_count = s->move_count;
        s->best_kib = kib;
    }
    for (size_t i = 0; i < s->move_count; i++) {
        apply(s, s->moves[i].guest, s->input->guests[s->moves[i].guest].host, s->moves[i].to);
    }
    free(moves);
}

/* --- search ------------------------------------------------------------------------------ */

/* Fewest moves of guests from `next` on that bring every host below its limit, targets aside;
 * NOWHERE if even all of them do not. */
static size_t fewest(struct search *s, size_t next)
{
    size_t above = 0; /* hosts still above their limits */
    size_t moves = 0;

    for (size_t h = 0; h < s->input->host_count; h++) {
        s->excess[h] = s->load[h] > s->limit[h] ? s->load[h] - s->limit[h] : 0;
        above += s->excess[h] > 0;
    }
    s->budget -= s->budget < s->input->host_count ? s->budget : s->input->host_count;
    for (size_t i = next; i < s->count && above > 0; i++) {
        const struct plan_guest *g = &s->input->guests[s->order[i]];
        uint64_t *excess = &s->excess[g->host];

        s->budget -= s->budget > 0;
        if (*excess > 0) {
            *excess -= g->demand < *excess ? g->demand : *excess;
            above -= *excess == 0;
            moves++;
        }
    }
    return above > 0 ? NOWHERE : moves;
}

/* Whether an earlier empty host is as good a target: then this one need not be tried. */
static bool has_twin(const struct search *s, size_t host)
{
    for (size_t h = 0; h < host && s->guests_of[host] == 0; h++) {
        if (s->guests_of[h] == 0 && s->load[h] == s->load[host] && s->limit[h] == s->limit[host] &&
            s->free_kib[h] == s->free_kib[host]) {
            return true;
        }
    }
    return false;
}

/* Decides on the guests from `next` on with exactly `left` moves. */
static void decide(struct search *s, size_t next, size_t left)
{
    size_t needed = fewest(s, next);

    if (s->budget == 0 || needed == NOWHERE || needed > left || s->count - next < left) {
        return;
    }
    if (left == 0) {
        if (is_good(s)) {
            keep(s);
        }
        return;
    }

    size_t guest = s->order[next];
    const struct plan_guest *g = &s->input->guests[guest];

    for (size_t h = 0; h < s->input->host_count; h++) {
        if (h == g->host || has_twin(s, h)) {
            continue;
        }
        s->moves[s->move_count++] = (struct plan_move){.guest = guest, .to = h};
        apply(s, guest, g->host, h);
        decide(s, next + 1, left - 1);
        apply(s, guest, h, g->host);
        s->move_count--;
    }
    decide(s, next + 1, left);
}

/* --- the simple rule --------------------------------------------------------------------- */

/* The host most above its limit; NOWHERE if none is. */
static size_t worst_host(const struct search *s)
{
    size_t worst = NOWHERE;

    for (size_t h = 0; h < s->input->host_count; h++) {
        if (s->load[h] > s->limit[h] &&
            (worst == NOWHERE || s->load[h] - s->limit[h] > s->load[worst] - s->limit[worst])) {
            worst = h;
        }
    }
    return worst;
}

/* The host with most room that a guest fits on; NOWHERE if there is none. */
static size_t roomiest_host(const struct search *s, const struct plan_guest *g)
{
    size_t best = NOWHERE;

    for (size_t h = 0; h < s->input->host_count; h++) {
        if (h == g->host || s->load[h] + g->demand > s->limit[h] ||
            s->free_kib[h] < (int64_t)g->memory_kib) {
            continue;
        }
        if (best == NOWHERE || s->limit[h] - s->load[h] > s->limit[best] - s->load[best]) {
            best = h;
        }
    }
    return best;
}

/* The guest to take from a host: by falling demand the last that alone cures it, or the first. */
static size_t guest_to_take(const struct search *s, const bool *moved, size_t host)
{
    size_t choice = NOWHERE;

    for (size_t i = 0; i < s->count; i++) {
        const struct plan_guest *g = &s->input->guests[s->order[i]];
        bool cures = s->load[host] - g->demand <= s->limit[host];

        if (g->host == host && !moved[i] && g->demand > 0 && (choice == NOWHERE || cures) &&
            roomiest_host(s, g) != NOWHERE) {
            choice = i;
        }
    }
    return choice;
}

/* Finds a plan by the simple rule, in an order in which it can be done, into `best`. */
static int simple_rule(struct search *s)
{
    bool *moved = calloc(s->count + 1, sizeof(*moved));
    size_t count = 0;
    uint64_t kib = 0;
    size_t host;

    if (moved == NULL) {
        return -ENOMEM;
    }
    while ((host = worst_host(s)) != NOWHERE) {
        size_t i = guest_to_take(s, moved, host);

        if (i == NOWHERE) {
            break;
        }

        const struct plan_guest *g = &s->input->guests[s->order[i]];
        size_t to = roomiest_host(s, g);

        moved[i] = true;
        s->best[count++] = (struct plan_move){.guest = s->order[i], .to = to};
        apply(s, s->order[i], host, to);
        kib += g->memory_kib;
    }
    if (host == NOWHERE) {
        s->best_count = count;
        s->best_kib = kib;
    }
    for (size_t i = 0; i < count; i++) {
        apply(s, s->best[i].guest, s->best[i].to, s->input->guests[s->best[i].guest].host);
    }
    free(moved);
    return 0;
}

/* --- the whole --------------------------------------------------------------------------- */

static int by_demand(const void *left, const void *right, void *context)
{
    const struct plan_input *input = context;
    size_t a = *(const size_t *)left;
    size_t b = *(const size_t *)right;
    uint64_t x = input->guests[a].demand;
    uint64_t y = input->guests[b].demand;

    return x != y ? (x < y) - (x > y) : (a > b) - (a < b);
}

static void search_free(struct search *s)
{
    free(s->order);
    free(s->load);
    free(s->limit);
    free(s->excess);
    free(s->free_kib);
    free(s->guests_of);
    free(s->moves);
    free(s->best);
}

/* Errors: ENOMEM; search_free() it in any case. */
static int search_init(struct search *s, const struct plan_input *input)
{
    size_t hosts = input->host_count + 1;
    size_t guests = input->guest_count + 1;

    *s = (struct search){
        .input = input,
        .order = calloc(guests, sizeof(*s->order)),
        .load = calloc(hosts, sizeof(*s->load)),
        .limit = calloc(hosts, sizeof(*s->limit)),
        .excess = calloc(hosts, sizeof(*s->excess)),
        .free_kib = calloc(hosts, sizeof(*s->free_kib)),
        .guests_of = calloc(hosts, sizeof(*s->guests_of)),
        .moves = calloc(guests, sizeof(*s->moves)),
        .best = calloc(guests, sizeof(*s->best)),
        .best_count = NOWHERE,
        .budget = PLAN_BUDGET,
    };
    if (s->order == NULL || s->load == NULL || s->limit == NULL || s->excess == NULL ||
        s->free_kib == NULL || s->guests_of == NULL || s->moves == NULL || s->best == NULL) {
        return -ENOMEM;
    }
    for (size_t h = 0; h < input->host_count; h++) {
        s->limit[h] = plan_limit(input, h);
        s->free_kib[h] = (int64_t)input->hosts[h].free_kib;
    }
    for (size_t i = 0; i < input->guest_count; i++) {
        s->load[input->guests[i].host] += input->guests[i].demand;
        s->guests_of[input->guests[i].host]++;
        if (input->guests[i].movable) {
            s->order[s->count++] = i;
        }
    }
    qsort_r(s->order, s->count, sizeof(*s->order), by_demand, (void *)(uintptr_t)input);
    return 0;
}

/* Looks for the minimum below, or at, what the simple rule needs. Returns: whether what is in
 * `best` then is known to be the minimum, or that there is none known to be true. */
static bool search_minimum(struct search *s)
{
    size_t least = fewest(s, 0);
    size_t most = s->best_count != NOWHERE ? s->best_count : s->count;

    if (least == NOWHERE) {
        return true;
    }
    for (size_t moves = least; moves <= most; moves++) {
        size_t rule_count = s->best_count;

        /* An equal number of moves with less memory is worth a search, too. */
        if (rule_count != moves) {
            s->best_count = NOWHERE;
        }
        decide(s, 0, moves);
        if (s->best_count == moves) {
            return true;
        }
        s->best_count = rule_count;
        if (s->budget == 0) {
            return false;
        }
    }
    return true;
}

static int report_none(const struct search *s, bool certain, struct err *err)
{
    const struct plan_input *input = s->input;
    uint64_t fixed[PLAN_MAX_HOSTS] = {0};

    for (size_t i = 0; i < input->guest_count; i++) {
        fixed[input->guests[i].host] += input->guests[i].movable ? 0 : input->guests[i].demand;
    }
    for (size_t h = 0; h < input->host_count; h++) {
        if (fixed[h] > s->limit[h]) {
            return err_set(err, ENOSPC,
                           "what cannot move from host %s wants %" PRIu64 " %% of a processor; "
                           "its limit is %" PRIu64 " %%",
                           input->hosts[h].name, fixed[h] / PLAN_UNITS, s->limit[h] / PLAN_UNITS);
        }
    }
    return err_set(err, ENOSPC,
                   certain ? "there is no way to place these guests with every host below %u %% "
                             "and enough memory"
                           : "no way was found to place these guests with every host below %u %% "
                             "and enough memory",
                   input->limit_percent);
}

int plan_make(const struct plan_input *input, struct plan *plan, struct err *err)
{
    struct search search;
    int rc = search_init(&search, input);

    *plan = (struct plan){.minimum = true};
    if (rc == 0) {
        rc = simple_rule(&search);
    }
    if (rc != 0) {
        search_free(&search);
        return err_set(err, ENOMEM, "no memory");
    }
    plan->minimum = search_minimum(&search);
    if (search.best_count == NOWHERE) {
        rc = report_none(&search, plan->minimum, err);
    } else {
        plan->moves = search.best;
        plan->move_count = search.best_count;
        search.best = NULL;
    }
    search_free(&search);
    return rc;
}

void plan_free(struct plan *plan)
{
    free(plan->moves);
    *plan = (struct plan){.moves = NULL};
}
