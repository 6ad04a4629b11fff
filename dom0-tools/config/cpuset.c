/* SPDX-License-Identifier: MIT */
/*
 * Sets of processors; see cpuset.h.
 */
#include "dom0-tools/config/cpuset.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

struct cpuset cpuset_all(void)
{
    struct cpuset set = {.named = 0};

    memset(set.bits, 0xff, sizeof(set.bits));
    return set;
}

bool cpuset_has(const struct cpuset *set, unsigned int cpu)
{
    return cpu < CPUSET_MAX && (set->bits[cpu / 8] >> cpu % 8 & 1) != 0;
}

static void put(struct cpuset *set, unsigned int cpu, bool in)
{
    uint8_t bit = (uint8_t)(1u << cpu % 8);

    set->bits[cpu / 8] = (uint8_t)(in ? set->bits[cpu / 8] | bit : set->bits[cpu / 8] & ~bit);
}

/* Takes a processor's number from the front of *text. */
static bool take_number(const char **text, unsigned int *number)
{
    const char *at = *text;

    *number = 0;
    while (*at >= '0' && *at <= '9' && *number < CPUSET_MAX) {
        *number = *number * 10 + (unsigned int)(*at++ - '0');
    }
    if (at == *text || *number >= CPUSET_MAX) {
        return false;
    }
    *text = at;
    return true;
}

/* Takes one item from the front of *text. */
static bool take_item(const char **text, bool first, struct cpuset *set)
{
    bool in = **text != '^';
    unsigned int from;
    unsigned int to;

    *text += in ? 0 : 1;
    if (first && !in) {
        *set = cpuset_all();
    }
    if (in && strncmp(*text, "all", 3) == 0) {
        unsigned int named = set->named;

        *set = cpuset_all();
        set->named = named;
        *text += 3;
        return true;
    }
    if (!take_number(text, &from)) {
        return false;
    }
    to = from;
    if (**text == '-') {
        (*text)++;
        if (!take_number(text, &to) || to < from) {
            return false;
        }
    }
    for (unsigned int cpu = from; cpu <= to; cpu++) {
        put(set, cpu, in);
    }
    set->named = to + 1 > set->named ? to + 1 : set->named;
    return true;
}

int cpuset_parse(const char *text, struct cpuset *set)
{
    bool first = true;

    *set = (struct cpuset){.named = 0};
    do {
        if (!take_item(&text, first, set)) {
            return -EINVAL;
        }
        first = false;
    } while (*text == ',' && *++text != '\0');
    return *text == '\0' && text[-1] != ',' ? 0 : -EINVAL;
}

int cpuset_fit(struct cpuset *set, unsigned int count, struct err *err)
{
    struct cpuset fitted = {.named = set->named};
    bool any = false;

    if (set->named > count) {
        return err_set(err, EINVAL, "there is no processor %u: the machine has %u, from 0 on",
                       set->named - 1, count);
    }
    for (unsigned int cpu = 0; cpu < count && cpu < CPUSET_MAX; cpu++) {
        put(&fitted, cpu, cpuset_has(set, cpu));
        any = any || cpuset_has(set, cpu);
    }
    if (!any) {
        return err_set(err, EINVAL, "no processor is left");
    }
    *set = fitted;
    return 0;
}

void cpuset_format(const struct cpuset *set, unsigned int count, char text[CPUSET_TEXT_BYTES])
{
    unsigned int found = 0;
    size_t at = 0;

    text[0] = '\0';
    count = count < CPUSET_MAX ? count : CPUSET_MAX;
    for (unsigned int cpu = 0; cpu < count; cpu++) {
        unsigned int last = cpu;

        if (!cpuset_has(set, cpu)) {
            continue;
        }
        while (last + 1 < count && cpuset_has(set, last + 1)) {
            last++;
        }
        at += (size_t)snprintf(text + at, CPUSET_TEXT_BYTES - at, last > cpu ? "%s%u-%u" : "%s%u",
                               at > 0 ? "," : "", cpu, last);
        found += last - cpu + 1;
        cpu = last;
    }
    if (found == 0 || found == count) {
        snprintf(text, CPUSET_TEXT_BYTES, "%s", found == 0 ? "none" : "all");
    }
}

void cpuset_format_any(const struct cpuset *set, char text[CPUSET_TEXT_BYTES])
{
    size_t at = 0;

    text[0] = '\0';
    if (set->named == CPUSET_MAX || !cpuset_has(set, CPUSET_MAX - 1)) {
        cpuset_format(set, CPUSET_MAX, text);
        if (strcmp(text, "all") == 0 || strcmp(text, "none") == 0) {
            snprintf(text, CPUSET_TEXT_BYTES, "%s", *text == 'a' ? "" : "0,^0");
        }
        return;
    }
    for (unsigned int cpu = 0; cpu < set->named; cpu++) {
        if (!cpuset_has(set, cpu)) {
            at += (size_t)snprintf(text + at, CPUSET_TEXT_BYTES - at, "%s^%u", at > 0 ? "," : "",
                                   cpu);
        }
    }
}
