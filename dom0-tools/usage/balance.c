/* SPDX-License-Identifier: MIT */
/*
 * Dividing memory between guests; see balance.h.
 */
#include "dom0-tools/usage/balance.h"

/* A guest is given a quarter more than it uses, and this at least. */
#define MARGIN_PART 4u
#define MARGIN_LEAST_KIB 16384u

static uint64_t need_of(const struct balance_guest *guest)
{
    uint64_t margin = guest->used_kib / MARGIN_PART;
    uint64_t need = guest->used_kib + (margin > MARGIN_LEAST_KIB ? margin : MARGIN_LEAST_KIB);

    need = need > guest->least_kib ? need : guest->least_kib;
    return need < guest->most_kib ? need : guest->most_kib;
}

/* part / whole of an amount, without overflow for amounts up to 2^44. */
static uint64_t share_of(uint64_t amount, uint64_t part, uint64_t whole)
{
    return whole == 0 ? 0
                      : (uint64_t)((long double)amount * (long double)part / (long double)whole);
}

/* There is enough: those who lack get it, from what is free and then from those with most beyond
 * their need, by how much they have beyond it. */
static void give_needs(struct balance_guest *guests, size_t count, uint64_t lack, uint64_t beyond,
                       uint64_t free_kib)
{
    uint64_t taken = lack > free_kib ? lack - free_kib : 0;

    for (size_t i = 0; i < count; i++) {
        struct balance_guest *guest = &guests[i];

        if (guest->used_kib == 0) {
            continue;
        }
        if (guest->need_kib > guest->has_kib) {
            guest->give_kib = guest->need_kib;
        } else if (taken != 0) {
            /* Rounded up: what is missing in the end would be somebody's need. */
            uint64_t part = share_of(taken, guest->has_kib - guest->need_kib, beyond) + 1;
            uint64_t most = guest->has_kib - guest->need_kib;

            guest->give_kib = guest->has_kib - (part < most ? part : most);
        }
    }
}

/* There is not: everybody gets its least and the same part of what it needs above. */
static void give_parts(struct balance_guest *guests, size_t count, uint64_t all)
{
    uint64_t least = 0;
    uint64_t above = 0;

    for (size_t i = 0; i < count; i++) {
        if (guests[i].used_kib != 0) {
            least += guests[i].least_kib;
            above += guests[i].need_kib - guests[i].least_kib;
        }
    }
    for (size_t i = 0; i < count; i++) {
        struct balance_guest *guest = &guests[i];

        if (guest->used_kib != 0) {
            guest->give_kib =
                guest->least_kib +
                share_of(all > least ? all - least : 0, guest->need_kib - guest->least_kib, above);
        }
    }
}

void balance(struct balance_guest *guests, size_t count, uint64_t free_kib)
{
    uint64_t lack = 0;
    uint64_t beyond = 0;
    uint64_t has = 0;

    for (size_t i = 0; i < count; i++) {
        struct balance_guest *guest = &guests[i];

        guest->give_kib = guest->has_kib;
        guest->need_kib = 0;
        if (guest->used_kib == 0) {
            continue;
        }
        guest->need_kib = need_of(guest);
        has += guest->has_kib;
        if (guest->need_kib > guest->has_kib) {
            lack += guest->need_kib - guest->has_kib;
        } else {
            beyond += guest->has_kib - guest->need_kib;
        }
    }
    if (lack <= beyond + free_kib) {
        give_needs(guests, count, lack, beyond, free_kib);
    } else {
        give_parts(guests, count, has + free_kib);
    }
    for (size_t i = 0; i < count; i++) {
        struct balance_guest *guest = &guests[i];
        uint64_t change = guest->give_kib > guest->has_kib ? guest->give_kib - guest->has_kib
                                                           : guest->has_kib - guest->give_kib;

        if (change < BALANCE_STEP_KIB) {
            guest->give_kib = guest->has_kib;
        }
    }
}
